//! Creating a block by answering questions on a terminal.

use blockyard_tests::{TestYard, attack, bundle};
use serde_json::{Value, json};

use crate::prompts::Conversation;
use crate::screen::Screen;

/// Installs a bundle with the block type `shop` of this schema.
fn yard_with(schema: &Value) -> TestYard {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let manifest = json!({
        "manifest": 1, "name": "shop", "version": "0.1.0", "wit": "0.1", "capabilities": [],
        "types": [{"slug": "shop", "version": 1, "title": "Shop", "operations": [], "schema": schema}],
    });
    // WebAssembly text rejects characters that reorder text.
    let escaped = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    let manifest: String = manifest.to_string().chars().map(escaped).collect();
    let file = yard.path("shop.wasm");
    std::fs::write(&file, attack::build("shop", &format!(";; manifest: {manifest}\n"))).expect("a file");
    yard.ok(&["install", &file.display().to_string(), "--yes"]);
    yard
}

/// A type whose fields depend on a choice, by variants and by a condition.
fn store() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["store"],
        "properties": {
            "store": {"enum": ["file", "server"], "x-order": 1, "description": "Kind of storage that this shop uses for its orders and its customers."},
            "path": {"type": "string", "pattern": "^/", "x-order": 2, "description": "Absolute path of the file in which the orders of this shop are stored."},
            "host": {"type": "string", "x-order": 3}, "tls": {"type": "boolean", "x-order": 4, "description": "Encrypts the connection."},
            "ca": {"type": "string", "format": "multi-line", "x-order": 5},
            "note": {"type": "string", "x-order": 6, "description": "Remark for other users of the block, such as the name of the team that is responsible for it."}
        },
        "oneOf": [
            {"required": ["store", "path"], "properties": {"store": {"const": "file", "description": "A file on this machine."}, "host": false, "tls": false, "ca": false}},
            {"required": ["store", "host"], "properties": {"store": {"const": "server", "description": "A server."}, "path": false},
             "if": {"properties": {"tls": {"const": true}}, "required": ["tls"]}, "else": {"properties": {"ca": false}}}
        ]
    })
}

#[test]
fn only_applicable_fields_are_asked_at_every_width() {
    let yard = yard_with(&store());
    for columns in [60, 80, 120] {
        let (address, again) = (format!("shop/w{columns}"), format!("shop/again{columns}"));
        let mut conversation = Conversation::sized(&mut yard.command(&["create", &address]), columns);
        conversation.answer("store (required): ", "\u{1b}[B");
        conversation.answer("host (required): ", "shop.example");
        conversation.answer("tls (optional): ", "no");
        conversation.answer("note (optional): ", "it's ours");
        conversation.answer("next: ", "");
        let (code, output) = conversation.end();
        assert_eq!(code, 0, "{output}");
        let config = json!({"store": "server", "host": "shop.example", "tls": false, "note": "it's ours"});
        assert_eq!(yard.config(&address), config);

        let screen = Screen::of(&output, usize::from(columns));
        let text = screen.text();
        assert_eq!(screen.broken, [""; 0], "{text}");
        assert!(!text.contains("path") && !text.contains("ca (optional)"), "{text}");
        // The command that is shown creates the same block.
        let (_, command) = text.split_once("equivalent command:\n").expect("a command");
        let command = command.split("\ncreated").next().expect("its text").replace(&address, &again);
        let script = command.replacen("blockyard", "\"$0\"", 1);
        let binary = blockyard_tests::binary();
        let run = yard.program("sh").args(["-c", &script, &binary]).output().expect("sh runs");
        assert!(run.status.success(), "{script}: {}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(yard.config(&again), config, "{script}");
    }
}

#[test]
fn answers_are_validated_at_once_and_retained() {
    let yard = yard_with(&store());
    let mut conversation = Conversation::begin(&yard, &["create", "shop/a"]);
    conversation.answer("store (required): ", "fi");
    conversation.answer("path (required): ", "orders.db");
    // The typed text is offered again: only the missing character is inserted, at its beginning.
    conversation.answer("does not match", "\u{1}/");
    conversation.answer("note (optional): ", "");
    conversation.answer("next: ", "change");
    conversation.answer("change: ", "store");
    conversation.answer("store (required): ", "server");
    conversation.answer("host (required): ", "h");
    conversation.answer("tls (optional): ", "yes");
    conversation.answer("ca (optional): ", "-----BEGIN\r-----END\r");
    conversation.answer("next: ", "change");
    conversation.answer("change: ", "store");
    conversation.answer("store (required): ", "file");
    // The path was not lost when it did not apply.
    conversation.answer("path: /orders.db", "");
    let (code, output) = conversation.end();
    assert_eq!(code, 0, "{output}");
    assert_eq!(yard.config("shop/a"), json!({"store": "file", "path": "/orders.db"}));
}

#[test]
fn rejected_save_asks_only_for_the_wrong_field() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    let mut conversation = Conversation::begin(&yard, &["create", "zoo-cage/u"]);
    conversation.answer("animal (required): ", "unicorn");
    conversation.answer("does not live in cages", "");
    conversation.press("keeper (optional): ", "\u{1b}");
    conversation.answer("next: ", "");
    conversation.answer("`animal`: does not live in cages", "\u{15}lion");
    conversation.answer("next: ", "");
    let (code, output) = conversation.end();
    assert_eq!(code, 0, "{output}");
    assert_eq!(yard.config("zoo-cage/u"), json!({"animal": "lion"}));
}

#[test]
fn references_list_fitting_blocks() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    let mut none = Conversation::begin(&yard, &["create", "zoo-keeper/bo"]);
    none.answer("name (required): ", "Bo");
    none.answer("badge (optional) (not shown): ", "");
    none.wait_for("There is none; create one with");
    none.wait_for("`blockyard create zoo-keeper/NAME`");
    none.press("teacher (optional): ", "\u{3}");
    let (code, output) = none.end();
    assert!(code == 130 && output.contains("interrupted; nothing was changed"), "{output}");
    yard.keeper("ada", "b1");
    yard.keeper("eve", "b2");
    let mut some = Conversation::begin(&yard, &["create", "zoo-keeper/bo"]);
    some.answer("name (required): ", "Bo");
    some.answer("badge (optional) (not shown): ", "");
    some.wait_for("zoo-keeper/ada");
    some.answer("zoo-keeper/eve", "eve");
    some.answer("next: ", "");
    let (code, output) = some.end();
    assert_eq!(code, 0, "{output}");
    assert_eq!(yard.config("zoo-keeper/bo"), json!({"name": "Bo", "teacher": {"$block": "zoo-keeper/eve"}}));
}

#[test]
fn secrets_that_look_like_sources_are_a_choice() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    std::fs::write(yard.path("badge.txt"), "from-file-77\n").expect("a file");
    for (name, typed, choice, stored) in [
        ("source", "env:BADGE_OF_ADA", "source", json!({"$source": "env:BADGE_OF_ADA"})),
        ("itself", "env:BADGE_OF_ADA", "text", json!("********")),
        ("file", "@badge.txt", "file", json!("********")),
        ("at", "@badge.txt", "text", json!("********")),
    ] {
        let address = format!("zoo-keeper/{name}");
        let mut conversation = Conversation::begin(&yard, &["create", &address]);
        conversation.answer("name (required): ", "Ada");
        conversation.wait_for("you choose next between the source and the text");
        conversation.answer("badge (optional) (not shown): ", typed);
        conversation.answer("use it as ", choice);
        conversation.press("teacher (optional): ", "\u{1b}");
        conversation.answer("next: ", "");
        let (code, output) = conversation.end();
        assert_eq!(code, 0, "{output}");
        assert_eq!(yard.config(&address)["badge"], stored, "{name}");
        if name == "itself" || name == "at" {
            assert!(!output.contains(typed) && output.contains("--secret badge"), "{output}");
        }
    }
    assert_eq!(yard.reveal("zoo-keeper/itself", "badge"), "env:BADGE_OF_ADA");
    assert_eq!(yard.reveal("zoo-keeper/file", "badge"), "from-file-77");
    assert_eq!(yard.reveal("zoo-keeper/at", "badge"), "@badge.txt");
}

#[test]
fn lists_maps_and_files_are_answered() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["names", "place"],
        "properties": {
            "names": {"type": "array", "items": {"type": "string"}, "minItems": 1, "x-order": 1},
            "place": {"type": "object", "required": ["house"], "properties": {"house": {"type": "string"}, "zip": {"type": "integer"}}},
            "options": {"type": "object", "additionalProperties": {"type": "integer"}, "x-order": 2},
            "either": {"x-order": 3, "oneOf": [{"type": "string"}, {"type": "object", "title": "Pair", "required": ["a"], "properties": {"a": {"type": "number"}}}]},
            "text": {"type": "string", "x-order": 4}, "more": {"type": "object", "x-order": 5}
        }
    });
    let yard = yard_with(&schema);
    std::fs::write(yard.path("text.txt"), "two\nlines\n").expect("a file");
    let mut conversation = Conversation::begin(&yard, &["create", "shop/all"]);
    conversation.answer("names.0 (required): ", "a");
    conversation.answer("names.1 (optional): ", "b");
    conversation.answer("names.2 (optional): ", "");
    conversation.answer("place.house (required): ", "cats");
    conversation.answer("place.zip (optional): ", "08540");
    conversation.answer("expected an integer", "\u{15}8540");
    conversation.answer("options, name of entry 1: ", "k.1");
    conversation.answer("options.k.1 (", "5");
    conversation.answer("options, name of entry 2: ", "");
    conversation.answer("either (optional): ", "pair");
    conversation.answer("either.a (required): ", "1.50");
    conversation.answer("text (optional): ", "@nosuch.txt");
    conversation.answer("cannot be read", "\u{15}@text.txt");
    conversation.answer("more (optional): ", "{\"x\":\r[1,\r2]}");
    conversation.answer("next: ", "");
    let (code, output) = conversation.end();
    assert_eq!(code, 0, "{output}");
    let config = json!({
        "names": ["a", "b"], "place": {"house": "cats", "zip": 8540}, "options": {"k.1": 5}, "either": {"a": 1.5},
        "text": "two\nlines\n", "more": {"x": [1, 2]}
    });
    assert_eq!(yard.config("shop/all"), config);
}

#[test]
fn a_taken_name_is_reported_before_the_questions() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    yard.keeper("ada", "b");
    let (code, output) = Conversation::begin(&yard, &["create", "zoo-keeper/ada"]).end();
    assert!(code == 6 && !output.contains("name (required)"), "{output}");
    // Without a terminal nothing is asked.
    let refused = yard.fails(4, &["create", "zoo-keeper/bo"]);
    assert!(refused.contains("/name: is missing"), "{refused}");
}

#[test]
fn interrupts_change_nothing() {
    let yard = yard_with(&store());
    let mut by_key = Conversation::begin(&yard, &["create", "shop/a"]);
    by_key.answer("store (required): ", "file");
    by_key.press("path (required): ", "/x\u{3}");
    let mut by_signal = Conversation::begin(&yard, &["create", "shop/a"]);
    by_signal.interrupt("store (required): ");
    let mut at_end = Conversation::begin(&yard, &["create", "shop/a"]);
    at_end.answer("store (required): ", "file");
    at_end.answer("path (required): ", "/x");
    at_end.answer("note (optional): ", "");
    at_end.answer("next: ", "stop");
    for conversation in [by_key, by_signal, at_end] {
        let (code, output) = conversation.end();
        assert!(code == 130 && output.contains("interrupted; nothing was changed"), "{code}: {output}");
    }
    assert_eq!(yard.addresses(&[]), [""; 0]);
}

/// A schema may contain any text: it cannot move the cursor or imitate a prompt.
#[test]
fn text_of_the_schema_is_escaped() {
    let text = "a\u{1b}[2J\u{202e}b\rc\u{7}";
    let yard = yard_with(&json!({
        "type": "object", "additionalProperties": false, "required": ["x"],
        "properties": {"x": {"oneOf": [{"const": text, "description": text}, {"const": "ok"}], "description": text}, "y": {"type": "string", "default": text, "description": text}}
    }));
    let mut conversation = Conversation::begin(&yard, &["create", "shop/a"]);
    conversation.answer("x (required): ", "ok");
    conversation.answer("y (optional)", "");
    conversation.answer("next: ", "");
    let (code, output) = conversation.end();
    assert_eq!(code, 0, "{output:?}");
    assert!(!output.contains(['\u{202e}', '\u{7}']) && !output.contains("\u{1b}[2J"), "{output:?}");
}
