//! Behavior of blocks on every backend: names, revisions, values, deletion and purge.

use std::process::Stdio;

use blockyard_tests::{Backend, TestYard, available, on_both, run_command};
use expect_test::expect;
use serde_json::{Value, json};

on_both!(
    first_revision_is_1_and_addresses_are_unique,
    invalid_block_names_are_rejected,
    no_command_renames_a_block,
    missing_block_type_and_revision_have_distinct_messages,
    changing_one_field_preserves_the_others,
    unchanged_configuration_is_not_saved,
    outdated_revision_error_names_the_newest_revision,
    concurrent_writers_lose_no_update,
    all_violations_are_reported_with_their_pointers,
    boundary_values_round_trip,
    lossy_numbers_are_rejected,
    control_characters_of_blocks_are_escaped_on_the_terminal,
    call_receives_secrets_of_unusual_keys,
    filtered_lists_match_their_count,
    pages_concatenate_to_the_complete_list,
    list_filters_are_literal,
    rollback_adds_a_revision_equal_to_the_old_one,
    rollback_is_recorded_as_such,
    diff_does_not_show_secrets,
    blocks_of_one_type_can_be_compared,
    deleted_names_are_not_reused_and_restore_is_complete,
    purge_destroys_secrets_and_preserves_the_history,
);

fn first_revision_is_1_and_addresses_are_unique(yard: &TestYard) {
    let created = yard.json(&["create", "zoo-keeper/ada", "--set", "name=Ada"]);
    assert_eq!(created, json!({ "address": "zoo-keeper/ada", "revision": 1 }));
    for again in ["name=Ada", "name=Eve"] {
        let refused = yard.fails(6, &["create", "zoo-keeper/ada", "--set", again]);
        expect![[r#"
            error: block `zoo-keeper/ada` already exists
              hint: change it with `blockyard set zoo-keeper/ada`, or choose another name
        "#]]
        .assert_eq(&refused);
    }
    yard.ok(&["create", "zoo-cage/ada", "--set", "animal=cat"]);
    assert_eq!(yard.config("zoo-keeper/ada"), json!({ "name": "Ada" }));
    assert_eq!(yard.config("zoo-cage/ada"), json!({ "animal": "cat" }));
    assert_eq!(yard.json(&["show", "zoo-keeper/ada"])["newest"], json!(1));
}

fn invalid_block_names_are_rejected(yard: &TestYard) {
    let long = "x".repeat(64);
    for (name, message) in [
        ("", "is empty"),
        ("Ada", "has the character `A` at position 1"),
        ("a_b", "has the character `_` at position 2"),
        ("a.b", "has the character `.` at position 2"),
        ("ada\n", r"has the character `\n` at position 4"),
        ("zebra🦓", "has the character `🦓` at position 6"),
        ("-ada", "begins with `-`"),
        ("ada-", "ends with `-`"),
        (&long, "has 64 characters"),
    ] {
        let refused = yard.fails(2, &["create", &format!("zoo-keeper/{name}"), "--set", "name=Ada"]);
        assert!(refused.contains(message), "{refused}");
        assert!(refused.contains("names are 1 to 63 characters of `a-z`, `0-9` and `-`"), "{refused}");
    }
    let longest = format!("zoo-keeper/{}", "x".repeat(63));
    yard.ok(&["create", &longest, "--set", "name=Ada"]);
    assert_eq!(yard.addresses(&[]), [longest]);
}

fn no_command_renames_a_block(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    // The field `name` is unrelated to the name in the address.
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=bob"]);
    for word in ["rename", "mv", "move"] {
        yard.fails(2, &[word, "zoo-keeper/ada", "zoo-keeper/bob"]);
    }
    if yard.backend() == Backend::Postgres || available("BLOCKYARD_TEST_SQLITE3") {
        assert_eq!(yard.sql("update blocks set name = 'bob'"), None);
        assert_eq!(yard.sql("update blocks set type = 'zoo-cage'"), None);
        assert_eq!(yard.sql("delete from blocks"), None);
    }
    assert_eq!(yard.addresses(&[]), ["zoo-keeper/ada"]);
}

fn missing_block_type_and_revision_have_distinct_messages(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    expect![[r#"
        error: block `zoo-keeper/adda` not found
          hint: did you mean `zoo-keeper/ada`?
    "#]]
    .assert_eq(&yard.fails(3, &["show", "zoo-keeper/adda"]));
    expect![[r#"
        error: no installed bundle has a block type `zoo-keper`
          hint: did you mean `zoo-keeper`?
    "#]]
    .assert_eq(&yard.fails(3, &["show", "zoo-keper/ada"]));
    expect![[r#"
        error: block `zoo-keeper/ada` has no revision 7; its newest is 1
    "#]]
    .assert_eq(&yard.fails(3, &["show", "zoo-keeper/ada@7"]));
    expect![[r#"
        error: `ada` is not an address; an address is `TYPE/NAME`, for example `sql-database/flights`
    "#]]
    .assert_eq(&yard.fails(2, &["show", "ada"]));
    expect![[r#"
        error: `0` is not a revision; revisions are numbers from 1, as in `TYPE/NAME@3`
    "#]]
    .assert_eq(&yard.fails(2, &["show", "zoo-keeper/ada@0"]));
    for arguments in [
        &["set", "zoo-keeper/adda", "--set", "name=x"][..],
        &["history", "zoo-keeper/adda"],
        &["diff", "zoo-keeper/ada", "zoo-keeper/adda"],
        &["rollback", "zoo-keeper/adda@1"],
        &["delete", "zoo-keeper/adda"],
        &["restore", "zoo-keeper/adda"],
        &["purge", "zoo-keeper/adda", "--yes"],
        &["call", "zoo-keeper/adda", "introduce"],
    ] {
        let missing = yard.fails(3, arguments);
        assert!(missing.contains("block `zoo-keeper/adda` not found"), "{arguments:?}: {missing}");
        assert!(missing.contains("did you mean `zoo-keeper/ada`?"), "{arguments:?}: {missing}");
    }
}

/// Creates a cage with secrets at every depth, and a keeper. The secrets have three characters,
/// which is too short to be masked in the result of a call.
fn full_cage(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada", "badge": "s-b" }));
    let config = json!({
        "animal": "cat", "keeper": { "$block": "zoo-keeper/ada" },
        "spares": ["s-0", "s-1"], "doors": { "back": "s-d", "front": "s-f" },
        "place": { "house": "north", "code": "s-c" }, "lock": { "how": "key", "pattern": "s-p" },
    });
    yard.create("zoo-cage/cat", &config);
}

/// Returns the plaintext of all secrets of a cage and its keeper.
fn secrets(yard: &TestYard, address: &str) -> Value {
    yard.json(&["call", address, "open-all"])
}

fn changing_one_field_preserves_the_others(yard: &TestYard) {
    full_cage(yard);
    let all = secrets(yard, "zoo-cage/cat");
    assert_eq!(all.as_array().map(Vec::len), Some(7), "{all}");
    let mut expected = yard.config("zoo-cage/cat");

    yard.ok(&["set", "zoo-cage/cat", "--set", "place.house=south"]);
    let merged = yard.run_with_input(&["set", "zoo-cage/cat", "--json-config", "-"], r#"{"capacity": 2}"#);
    assert_eq!(merged.code, 0, "{}", merged.stderr);
    expected["place"]["house"] = json!("south");
    expected["capacity"] = json!(2);
    assert_eq!(yard.config("zoo-cage/cat"), expected);
    assert_eq!(secrets(yard, "zoo-cage/cat"), all);

    // Removing one of two spare keys moves the other up together with its secret.
    yard.ok(&["set", "zoo-cage/cat", "--unset", "spares.0", "--unset", "doors.back", "--unset", "place.code"]);
    let left = ["s-1", "s-f", "s-p", "s-b"];
    assert_eq!(secrets(yard, "zoo-cage/cat"), json!(left));
    assert_eq!(yard.config("zoo-cage/cat")["keeper"], json!({ "$block": "zoo-keeper/ada" }));
    assert_eq!(secrets(yard, "zoo-cage/cat@1"), all);
}

fn unchanged_configuration_is_not_saved(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada", "badge": "badge-secret" }));
    let same = yard.json(&["set", "zoo-keeper/ada", "--set", "name=Ada"]);
    assert_eq!(same, json!({ "address": "zoo-keeper/ada", "changed": false }));
    let same = yard.run_with_input(&["set", "zoo-keeper/ada", "--secret", "badge=-"], "badge-secret\n");
    assert!(same.stdout.contains("nothing was saved"), "{}{}", same.stdout, same.stderr);
    yard.fails(4, &["set", "zoo-keeper/ada", "--unset", "name"]);
    yard.fails(3, &["set", "zoo-keeper/ada", "--unset", "nickname"]);
    assert_eq!(yard.json(&["show", "zoo-keeper/ada"])["newest"], json!(1));
}

fn outdated_revision_error_names_the_newest_revision(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    let saved = yard.json(&["set", "zoo-keeper/ada", "--set", "name=Eve", "--if-revision", "1"]);
    assert_eq!(saved, json!({ "address": "zoo-keeper/ada", "revision": 2, "changed": true }));
    let late = ["set", "zoo-keeper/ada", "--set", "name=Bob", "--if-revision", "1"];
    expect![[r#"
        error: block `zoo-keeper/ada` was changed in the meantime and is now at revision 2
          hint: review it with `blockyard show zoo-keeper/ada`, and try again
    "#]]
    .assert_eq(&yard.fails(6, &late));
    let error: Value =
        serde_json::from_str(&yard.run(&[&late[..], &["--json"]].concat()).stderr).expect("an error as JSON");
    assert_eq!(error["error"]["details"], json!({ "address": "zoo-keeper/ada", "newest": 2 }));
    yard.fails(6, &["set", "zoo-keeper/ada", "--set", "name=Bob", "--if-revision", "3"]);
    yard.fails(2, &["set", "zoo-keeper/ada", "--set", "name=Bob", "--if-revision", "0"]);
    assert_eq!(yard.config("zoo-keeper/ada"), json!({ "name": "Eve" }));
}

fn concurrent_writers_lose_no_update(yard: &TestYard) {
    yard.create("zoo-cage/cat", &json!({ "animal": "cat" }));
    let writers: Vec<_> = (0..8)
        .map(|number| {
            let mut writer = yard.command(&["set", "zoo-cage/cat", "--set", &format!("notes.n{number}={number}")]);
            writer.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    for writer in writers {
        let ended = writer.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let shown = yard.json(&["show", "zoo-cage/cat"]);
    assert_eq!(shown["newest"], json!(9));
    assert_eq!(shown["config"]["notes"].as_object().map(serde_json::Map::len), Some(8), "{shown}");
}

fn all_violations_are_reported_with_their_pointers(yard: &TestYard) {
    let wrong = json!({
        "anmal": "cat", "capacity": -1, "warmth": "hot", "tags": ["a", 7], "spares": [{ "key": 1 }, "fine"],
        "keeper": "ada", "colour": "red"
    });
    let create = ["create", "zoo-cage/cat", "--json-config", "-"];
    // A value that cannot be a secret is reported alone, because nothing else of such a document is
    // read.
    expect![[r#"
        error: block `zoo-cage/cat` is not valid
          /spares/0: must be a string or a secret source
    "#]]
    .assert_eq(&yard.fails_with_input(4, &create, &wrong.to_string()));
    let mut wrong = wrong;
    wrong["spares"] = json!(["fine"]);
    expect![[r#"
        error: block `zoo-cage/cat` is not valid
          /animal: is missing, and it is required
          /anmal: unknown field `anmal`; did you mean `animal`?
          /capacity: the value is less than the minimum of 0
          /colour: unknown field `colour`
          /keeper: must be a reference; write `{"$block": "TYPE/NAME"}`
          /tags/1: must be of type `string`, not `integer`
          /warmth: must be of type `number` or `null`, not `string`
    "#]]
    .assert_eq(&yard.fails_with_input(4, &create, &wrong.to_string()));
    let error = yard.run_with_input(&[&create[..], &["--json"]].concat(), &wrong.to_string());
    let error: Value = serde_json::from_str(&error.stderr).expect("an error as JSON");
    assert_eq!(
        error["error"]["details"][1],
        json!({ "pointer": "/anmal", "message": "unknown field `anmal`", "hint": "did you mean `animal`?" })
    );
    assert_eq!(yard.addresses(&[]), [""; 0]);
}

fn boundary_values_round_trip(yard: &TestYard) {
    let config = json!({
        "animal": "", "capacity": u64::MAX, "warmth": f64::MIN_POSITIVE, "price": "12345678901234567890.10",
        "built": "2024-02-29", "type": "aviary", "tags": ["", "a", "a"], "helpers": [], "doors": {}, "spares": [],
        "keeper": null, "place": { "house": "" }, "lock": { "how": "open" },
        "notes": {
            "null": null, "yes": true, "empty": "", "list": [], "object": {}, "": "no key",
            "most": u64::MAX, "least": i64::MIN, "largest": f64::MAX, "smallest": 5e-324, "tenth": 0.1, "whole": 2.0,
            "deep": [[[{ "a": [{ "b": [null, 1, 1.5, "", false, {}] }] }]]],
        },
    });
    yard.create("zoo-cage/edge", &config);
    assert_eq!(yard.config("zoo-cage/edge"), config);
    // The values survive being read and sealed a second time.
    yard.ok(&["set", "zoo-cage/edge", "--set", "animal=cat"]);
    yard.ok(&["set", "zoo-cage/edge", "--set", "animal="]);
    assert_eq!(yard.config("zoo-cage/edge"), config);
    assert_eq!(yard.json(&["diff", "zoo-cage/edge@1", "zoo-cage/edge"])["changes"], json!([]));
    // The newest revision is the default.
    assert_eq!(yard.json(&["diff", "zoo-cage/edge@1"])["after"], "zoo-cage/edge@3");

    // Values from the command line get the types of the schema.
    let flags = ["animal=7", "capacity=18446744073709551615", "price=1.10", "built=2024-01-31", "type=tank"];
    let create: Vec<&str> =
        ["create", "zoo-cage/flags"].into_iter().chain(flags.iter().flat_map(|flag| ["--set", flag])).collect();
    yard.ok(&create);
    assert_eq!(
        yard.config("zoo-cage/flags"),
        json!({ "animal": "7", "capacity": u64::MAX, "price": "1.10", "built": "2024-01-31", "type": "tank" })
    );
}

fn lossy_numbers_are_rejected(yard: &TestYard) {
    for (field, number, lost) in [
        ("capacity", "18446744073709551616", "line 1, column 31 would lose digits; write it as a string"),
        ("notes", r#"{"least": -9223372036854775809}"#, "would lose digits"),
        ("notes", r#"{"deep": [1, [0.1234567890123456789]]}"#, "would lose digits"),
        ("warmth", "1e400", "would lose digits"),
    ] {
        let document = format!(r#"{{"animal": "cat", "{field}": {number}}}"#);
        let message = yard.fails_with_input(4, &["create", "zoo-cage/cat", "--json-config", "-"], &document);
        assert!(message.contains(lost), "{message}");
    }
    for (flag, message) in [
        ("capacity=18446744073709551616", "/capacity: must be of type `integer`"),
        ("warmth=0.1234567890123456789", "/warmth: must be of type `number`"),
    ] {
        let refused = yard.fails(4, &["create", "zoo-cage/cat", "--set", "animal=cat", "--set", flag]);
        assert!(refused.contains(message), "{refused}");
    }
    assert_eq!(yard.addresses(&[]), [""; 0]);
}

fn control_characters_of_blocks_are_escaped_on_the_terminal(yard: &TestYard) {
    let red = "\u{1b}[31mred\u{7}";
    let config = json!({ "animal": red, "tags": [red], "notes": { red: red }, "doors": { red: "red-secret" } });
    yard.create("zoo-cage/red", &config);
    let other = json!({ "animal": "cat", "notes": { red: 1 }, "doors": { red: "new-secret" } }).to_string();
    let saved = yard.run_with_input(&["set", "zoo-cage/red", "--json-config", "-"], &other);
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    let wrong = json!({ "animal": "cat", red: 1, "doors": { red: 1 } }).to_string();
    for (arguments, input) in [
        (&["show", "zoo-cage/red@1"][..], None),
        (&["history", "zoo-cage/red"], None),
        (&["diff", "zoo-cage/red@1", "zoo-cage/red"], None),
        (&["reveal", "zoo-cage/red", "spares.0", "--yes"], None),
        (&["set", "zoo-cage/red", "--unset", red], None),
        (&["set", "zoo-cage/red", "--set", &format!("animal.{red}=1")], None),
        (&["create", "zoo-cage/wrong", "--json-config", "-"], Some(&*wrong)),
    ] {
        // Colors are removed from output that is not a terminal, and with them the sequences that
        // this test looks for, so colors are forced.
        let output = run_command(yard.command(arguments).env("CLICOLOR_FORCE", "1"), input);
        let all = format!("{}{}", output.stdout, output.stderr);
        assert!(all.contains("red"), "{arguments:?}: {all}");
        assert!(!all.contains("\u{1b}[31mred") && !all.contains('\u{7}'), "{arguments:?}: {all:?}");
    }
}

fn call_receives_secrets_of_unusual_keys(yard: &TestYard) {
    let doors = json!({
        "": "s-0", "a/b": "s-1", "c~d": "s-2", "e.f": "s-3", "~1": "s-4", "x\u{1}": "s-5", "n\u{0}ul": "s-6",
    });
    yard.create("zoo-cage/doors", &json!({ "animal": "cat", "doors": doors }));
    // In the order of the keys.
    assert_eq!(secrets(yard, "zoo-cage/doors"), json!(["s-0", "s-1", "s-2", "s-3", "s-6", "s-5", "s-4"]));
    let set = ["set", "zoo-cage/doors", "--secret", "doors.a/b=-", "--unset", "doors.c~d"];
    yard.ok_with_input(&set, "s-7");
    assert_eq!(secrets(yard, "zoo-cage/doors"), json!(["s-0", "s-7", "s-3", "s-6", "s-5", "s-4"]));
}

fn filtered_lists_match_their_count(yard: &TestYard) {
    for address in ["zoo-keeper/cat", "zoo-keeper/ada", "zoo-keeper/gone"] {
        yard.create(address, &json!({ "name": "x" }));
    }
    yard.create("zoo-cage/cat", &json!({ "animal": "cat" }));
    yard.create("zoo-safe/cats", &json!({ "content": "content-secret" }));
    yard.ok(&["delete", "zoo-keeper/gone"]);
    for (filter, expected) in [
        (&[][..], &["zoo-cage/cat", "zoo-keeper/ada", "zoo-keeper/cat", "zoo-safe/cats"][..]),
        (&["--type", "zoo-keeper"], &["zoo-keeper/ada", "zoo-keeper/cat"]),
        (&["--interface", "secret-store"], &["zoo-safe/cats"]),
        (&["--interface", "secret-store", "--type", "zoo-keeper"], &[]),
        (&["cat"], &["zoo-cage/cat", "zoo-keeper/cat", "zoo-safe/cats"]),
        (&["cat", "--type", "zoo-cage"], &["zoo-cage/cat"]),
        (&["--deleted"], &["zoo-keeper/gone"]),
    ] {
        assert_eq!(yard.addresses(filter), expected, "{filter:?}");
        let count = yard.json(&[&["list", "--count"], filter].concat());
        assert_eq!(count, json!({ "count": expected.len() }), "{filter:?}");
    }
}

fn pages_concatenate_to_the_complete_list(yard: &TestYard) {
    for address in ["zoo-keeper/b", "zoo-keeper/a0", "zoo-keeper/a", "zoo-keeper/a-b", "zoo-keeper/ab"] {
        yard.create(address, &json!({ "name": "x" }));
    }
    yard.create("zoo-cage/z", &json!({ "animal": "cat" }));
    // Sorted by bytes, regardless of the server's collation.
    let expected = ["zoo-cage/z", "zoo-keeper/a", "zoo-keeper/a-b", "zoo-keeper/a0", "zoo-keeper/ab", "zoo-keeper/b"];
    assert_eq!(yard.addresses(&[]), expected);
    let mut joined: Vec<String> = Vec::new();
    let mut page = yard.json(&["list", "--limit", "4"]);
    loop {
        let blocks = page["blocks"].as_array().expect("blocks").clone();
        joined.extend(blocks.iter().filter_map(|block| block["address"].as_str().map(str::to_owned)));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(Some(next), joined.last().map(String::as_str));
        page = yard.json(&["list", "--limit", "4", "--after", next]);
    }
    assert_eq!(joined, expected);
    assert_eq!(yard.json(&["list", "--count", "--limit", "2", "--after", "zoo-keeper/a0"]), json!({ "count": 6 }));
}

fn list_filters_are_literal(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "x" }));
    for word in ["%", "_", "ADA", "a.a", "*", "'"] {
        assert_eq!(yard.addresses(&[word]), [""; 0], "{word}");
    }
    assert_eq!(yard.addresses(&["r/a"]), ["zoo-keeper/ada"]);
    let unknown = yard.fails(3, &["list", "--type", "zoo-kepeer"]);
    assert!(unknown.contains("did you mean `zoo-keeper`?"), "{unknown}");
    let unknown = yard.fails(3, &["list", "--interface", "secret-shop"]);
    assert!(unknown.contains("`secret-shop`"), "{unknown}");
    yard.fails(2, &["list", "--after", "ada"]);
}

fn rollback_adds_a_revision_equal_to_the_old_one(yard: &TestYard) {
    full_cage(yard);
    let (first, opened) = (yard.config("zoo-cage/cat"), secrets(yard, "zoo-cage/cat"));
    yard.ok(&["set", "zoo-cage/cat", "--set", "animal=dog", "--unset", "lock", "--unset", "spares.0"]);
    let rolled_back = yard.json(&["rollback", "zoo-cage/cat@1"]);
    assert_eq!(rolled_back["revision"], json!(3), "{rolled_back}");
    assert_eq!(yard.config("zoo-cage/cat"), first);
    assert_eq!(secrets(yard, "zoo-cage/cat"), opened);
    assert_eq!(yard.json(&["diff", "zoo-cage/cat@1", "zoo-cage/cat"])["changes"], json!([]));
    assert_eq!(yard.config("zoo-cage/cat@2")["animal"], json!("dog"));
    let again = yard.json(&["rollback", "zoo-cage/cat@1"]);
    assert_eq!(again["changed"], json!(false), "{again}");
    yard.fails(3, &["rollback", "zoo-cage/cat@9"]);
    yard.fails(2, &["rollback", "zoo-cage/cat"]);
    assert_eq!(yard.json(&["show", "zoo-cage/cat"])["newest"], json!(3));
}

fn rollback_is_recorded_as_such(yard: &TestYard) {
    yard.keeper("ada", "badge");
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=Ida"]);
    yard.ok(&["rollback", "zoo-keeper/ada@1"]);
    let file = "version = 1\n[blocks.\"zoo-keeper/ada\"]\nname = \"Eva\"\n";
    yard.ok_with_input(&["apply", "-"], file);
    let history = yard.json(&["history", "zoo-keeper/ada"]);
    let revisions: Vec<Value> = history["revisions"]
        .as_array()
        .expect("revisions")
        .iter()
        .map(|revision| json!([revision["revision"], revision["action"], revision["rollback_of"]]))
        .collect();
    assert_eq!(
        json!(revisions),
        json!([[4, "apply", null], [3, "rollback", 1], [2, "set", null], [1, "create", null]])
    );
    assert!(yard.ok(&["history", "zoo-keeper/ada"]).contains("rollback to 1"));
    let audit = yard.json(&["audit", "--block", "zoo-keeper/ada"]);
    let line = audit["audit"].as_array().expect("lines").iter().find(|line| line["action"] == "rollback");
    assert_eq!(line.expect("its line")["detail"]["from"], json!(1));
}

fn diff_does_not_show_secrets(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada", "badge": "badge-secret-1" }));
    let set = ["set", "zoo-keeper/ada", "--secret", "badge=-", "--set", "name=Eve"];
    assert_eq!(yard.run_with_input(&set, "badge-secret-2").code, 0);
    yard.ok(&["set", "zoo-keeper/ada", "--secret", "badge=env:BADGE"]);
    yard.ok(&["set", "zoo-keeper/ada", "--secret", "badge=file:/badge"]);
    yard.ok(&["set", "zoo-keeper/ada", "--unset", "badge"]);
    let mut all = String::new();
    for revision in 1..5 {
        all.push_str(&yard.ok(&[
            "diff",
            &format!("zoo-keeper/ada@{revision}"),
            &format!("zoo-keeper/ada@{}", revision + 1),
        ]));
    }
    expect![[r#"
        zoo-keeper/ada@1 → zoo-keeper/ada@2
          ~ badge: the secret differs
          ~ name: Ada → Eve
        zoo-keeper/ada@2 → zoo-keeper/ada@3
          ~ badge: a secret → env:BADGE
        zoo-keeper/ada@3 → zoo-keeper/ada@4
          ~ badge: env:BADGE → file:/badge
        zoo-keeper/ada@4 → zoo-keeper/ada@5
          - badge: file:/badge
    "#]]
    .assert_eq(&all);
    assert_eq!(
        yard.json(&["diff", "zoo-keeper/ada@2", "zoo-keeper/ada@1"]),
        json!({ "before": "zoo-keeper/ada@2", "after": "zoo-keeper/ada@1", "changes": [
            { "field": "badge", "change": "changed", "secret": true },
            { "field": "name", "change": "changed", "secret": false, "before": "Eve", "after": "Ada" },
        ]})
    );
}

fn blocks_of_one_type_can_be_compared(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada", "badge": "the-same-secret" }));
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob", "badge": "the-same-secret" }));
    yard.create("zoo-cage/cat", &json!({ "animal": "cat" }));
    let compared = yard.ok(&["diff", "zoo-keeper/ada", "zoo-keeper/bob"]);
    assert_eq!(compared, "zoo-keeper/ada@1 → zoo-keeper/bob@1\n  ~ name: Ada → Bob\n");
    let refused = yard.fails(2, &["diff", "zoo-keeper/ada", "zoo-cage/cat"]);
    assert!(refused.contains("are of different types, `zoo-keeper` and `zoo-cage`"), "{refused}");
    assert!(yard.ok(&["diff", "zoo-keeper/ada", "zoo-keeper/ada@1"]).contains("are identical"));
}

fn deleted_names_are_not_reused_and_restore_is_complete(yard: &TestYard) {
    full_cage(yard);
    let opened = secrets(yard, "zoo-cage/cat");
    yard.ok(&["set", "zoo-cage/cat", "--set", "animal=dog"]);
    yard.ok(&["delete", "zoo-cage/cat"]);
    expect![[r#"
        error: the name `zoo-cage/cat` belongs to a deleted block and cannot be reused
          hint: run `blockyard restore zoo-cage/cat`, or choose another name
    "#]]
    .assert_eq(&yard.fails(6, &["create", "zoo-cage/cat", "--set", "animal=cat"]));
    for arguments in [
        &["show", "zoo-cage/cat"][..],
        &["set", "zoo-cage/cat", "--set", "animal=cat"],
        &["rollback", "zoo-cage/cat@1"],
        &["call", "zoo-cage/cat@1", "look"],
        &["delete", "zoo-cage/cat"],
    ] {
        let refused = yard.fails(3, arguments);
        assert!(refused.contains("block `zoo-cage/cat` is deleted"), "{arguments:?}: {refused}");
        assert!(refused.contains("blockyard restore zoo-cage/cat"), "{arguments:?}: {refused}");
    }
    yard.ok(&["restore", "zoo-cage/cat"]);
    assert_eq!(secrets(yard, "zoo-cage/cat@1"), opened);
    assert_eq!(secrets(yard, "zoo-cage/cat"), opened);
    yard.fails(6, &["restore", "zoo-cage/cat"]);
    assert_eq!(yard.json(&["set", "zoo-cage/cat", "--set", "animal=cat"])["revision"], json!(3));
}

/// Returns the values of a query that selects hexadecimal digits, one per row.
fn bytes(yard: &TestYard, query: &str) -> Vec<Vec<u8>> {
    let digits = |line: &str, at| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal digits");
    let rows = yard.sql(query).expect("rows");
    rows.lines().map(|line| (0..line.len()).step_by(2).map(|at| digits(line, at)).collect()).collect()
}

fn purge_destroys_secrets_and_preserves_the_history(yard: &TestYard) {
    if yard.backend() == Backend::Sqlite && !available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    full_cage(yard);
    yard.ok(&["set", "zoo-cage/cat", "--set", "place.house=south"]);
    let [keys, secrets_of_it] = match yard.backend() {
        Backend::Sqlite => ["hex(data_key)", "hex(sealed)"],
        Backend::Postgres => ["encode(data_key, 'hex')", "encode(sealed, 'hex')"],
    };
    let keys = format!("select {keys} from blocks where name = 'cat'");
    let sealed = format!("select {secrets_of_it} from secrets s join blocks b on b.id = s.block where name = 'cat'");
    let destroyed = [bytes(yard, &keys), bytes(yard, &sealed)].concat();
    assert_eq!(destroyed.len(), 1 + 2 * 6);
    yard.fails(2, &["purge", "zoo-cage/cat"]);
    assert_eq!(
        yard.json(&["purge", "zoo-cage/cat", "--yes"]),
        json!({ "address": "zoo-cage/cat", "secrets_destroyed": 12 })
    );

    assert_eq!(bytes(yard, &sealed), Vec::<Vec<u8>>::new());
    assert!(!bytes(yard, &keys).iter().any(|key| destroyed.contains(key)), "the old data key is still there");
    for file in ["yard.db", "yard.db-wal"].map(|name| yard.path(name)).into_iter().filter(|file| file.exists()) {
        let content = std::fs::read(&file).expect("a file of the yard");
        let found = destroyed.iter().any(|secret| content.windows(secret.len()).any(|window| window == secret));
        assert!(!found, "{} contains destroyed secrets", file.display());
    }
    for address in ["zoo-cage/cat@1", "zoo-cage/cat"] {
        let refused = yard.run(&["reveal", address, "lock.pattern", "--yes"]);
        assert_ne!(refused.code, 0, "{refused:?}");
        assert!(refused.stderr.contains("destroyed"), "{refused:?}");
    }
    assert_eq!(yard.config("zoo-cage/cat@1")["place"], json!({ "house": "north", "code": "********" }));
    let history = yard.json(&["history", "zoo-cage/cat"]);
    assert_eq!(history["revisions"][0]["changed"], json!(["place.house"]));
    assert_eq!(yard.run(&["doctor"]).code, 0);
}
