//! Blocks as code: `export`, `plan` and `apply`.

use blockyard_tests::{TestYard, on_both, run_command};
use expect_test::expect;
use serde_json::{Value, json};

on_both!(
    deeply_nested_values_are_exported_and_planned,
    plan_changes_nothing_and_apply_is_idempotent,
    plan_lists_each_field_of_a_new_block,
    plan_lists_each_changed_field,
    json_plan_has_actions_changes_and_revisions,
    dependencies_are_applied_first,
    applying_an_export_changes_nothing,
    rewritten_file_preserves_comments_order_and_other_blocks,
    unrelated_file_is_not_overwritten,
    secret_in_a_file_is_rejected_without_quoting_it,
    plan_shows_changed_sources_but_no_sealed_secrets,
    deleted_blocks_are_not_exported,
    apply_is_atomic,
    invalid_block_files_are_rejected,
);

fn file(blocks: &str) -> String {
    format!("version = 1\n{blocks}")
}

fn apply(yard: &TestYard, blocks: &str) -> String {
    let applied = yard.run_with_input(&["apply", "-"], &file(blocks));
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    applied.stdout
}

/// Returns the output of a plan. The exit code is 8 if there are changes, otherwise 0.
fn plan(yard: &TestYard, code: i32, blocks: &str) -> String {
    let planned = yard.run_with_input(&["plan", "-"], &file(blocks));
    assert_eq!(planned.code, code, "{}{}", planned.stdout, planned.stderr);
    planned.stdout
}

fn refused(yard: &TestYard, blocks: &str) -> String {
    let message = yard.fails_with_input(4, &["plan", "-"], &file(blocks));
    assert_eq!(yard.fails_with_input(4, &["apply", "-"], &file(blocks)), message);
    message
}

fn plan_changes_nothing_and_apply_is_idempotent(yard: &TestYard) {
    let blocks = "[blocks.\"zoo-keeper/ada\"]\nname = \"Ada\"\n[blocks.\"zoo-keeper/bob\"]\nname = \"Bob\"\n";
    std::fs::write(yard.path("blocks.toml"), file(blocks)).expect("a file");
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob" }));
    yard.create("zoo-keeper/cy", &json!({ "name": "Cy" }));
    for _ in 0..2 {
        let planned = yard.run(&["plan", "blocks.toml"]);
        assert_eq!(planned.code, 8, "{planned:?}");
        assert!(planned.stdout.starts_with("would create zoo-keeper/ada\n"), "{planned:?}");
        assert!(planned.stdout.ends_with("1 to create, 0 to change, 1 unchanged\n"), "{planned:?}");
    }
    yard.fails(3, &["show", "zoo-keeper/ada"]);
    let applied = yard.ok(&["apply", "blocks.toml"]);
    assert!(applied.starts_with("created zoo-keeper/ada@1\n"), "{applied}");
    assert!(applied.ends_with("1 created, 0 changed, 1 unchanged\n"), "{applied}");
    assert_eq!(yard.ok(&["apply", "blocks.toml"]), "0 created, 0 changed, 2 unchanged\n");
    assert_eq!(yard.ok(&["plan", "blocks.toml"]), "0 to create, 0 to change, 2 unchanged\n");
    // Blocks that the file does not name are unchanged.
    assert_eq!(yard.addresses(&[]), ["zoo-keeper/ada", "zoo-keeper/bob", "zoo-keeper/cy"]);
    assert_eq!(yard.json(&["show", "zoo-keeper/ada"])["newest"], json!(1));
}

fn plan_lists_each_field_of_a_new_block(yard: &TestYard) {
    let blocks =
        "[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\nspares = [\"env:SPARE\"]\nplace = { house = \"north\" }\n";
    expect![[r#"
        would create zoo-cage/cat
          + animal: cat
          + place: {"house":"north"}
          + spares: [{"$source":"env:SPARE"}]
        1 to create, 0 to change, 0 unchanged
    "#]]
    .assert_eq(&plan(yard, 8, blocks));
}

fn plan_lists_each_changed_field(yard: &TestYard) {
    yard.create(
        "zoo-cage/cat",
        &json!({ "animal": "cat", "capacity": 1, "warmth": 20.5, "tags": ["a", "b"],
                 "place": { "house": "north", "code": "code-secret" } }),
    );
    let blocks = "[blocks.\"zoo-cage/cat\"]\nanimal = \"dog\"\nwarmth = 20.5\ntags = [\"a\", \"c\", \"d\"]\n\
                  price = \"1.10\"\nplace = { house = \"south\" }\n";
    expect![[r#"
        would change zoo-cage/cat
          ~ animal: cat → dog
          - capacity: 1
          ~ place.house: north → south
          + price: 1.10
          ~ tags.1: b → c
          + tags.2: d
        0 to create, 1 to change, 0 unchanged
    "#]]
    .assert_eq(&plan(yard, 8, blocks));
    let applied = apply(yard, blocks);
    assert!(applied.starts_with("changed zoo-cage/cat@2\n"), "{applied}");
    assert_eq!(
        yard.config("zoo-cage/cat"),
        json!({ "animal": "dog", "warmth": 20.5, "tags": ["a", "c", "d"], "price": "1.10",
                "place": { "house": "south", "code": "********" } })
    );
    // A secret that the file omits is retained.
    assert_eq!(yard.ok(&["reveal", "zoo-cage/cat", "place.code", "--yes"]), "code-secret");
}

fn json_plan_has_actions_changes_and_revisions(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob" }));
    let blocks = file("[blocks.\"zoo-keeper/ada\"]\nname = \"Eve\"\n[blocks.\"zoo-keeper/bob\"]\nname = \"Bob\"\n");
    let changes = json!([{ "field": "name", "change": "changed", "secret": false, "before": "Ada", "after": "Eve" }]);
    let document = |arguments: &[&str], code: i32| -> Value {
        let output = yard.run_with_input(arguments, &blocks);
        assert_eq!(output.code, code, "{output:?}");
        serde_json::from_str(&output.stdout).expect("one JSON document")
    };
    assert_eq!(
        document(&["plan", "-", "--json"], 8),
        json!({ "changed": true, "blocks": [
            { "address": "zoo-keeper/ada", "action": "change", "changes": changes },
            { "address": "zoo-keeper/bob", "action": "unchanged", "changes": [] },
        ]})
    );
    assert_eq!(
        document(&["apply", "-", "--json"], 0),
        json!({ "changed": true, "blocks": [
            { "address": "zoo-keeper/ada", "action": "change", "changes": changes, "revision": 2 },
            { "address": "zoo-keeper/bob", "action": "unchanged", "changes": [] },
        ]})
    );
    assert_eq!(document(&["apply", "-", "--json"], 0)["changed"], json!(false));
    assert_eq!(document(&["plan", "-", "--json"], 0)["changed"], json!(false));
}

/// Dependents precede their dependencies, and a block with a secret source precedes the block that
/// supplies the secret.
const PARENTS_FIRST: &str = r#"
[blocks."zoo-cage/cat"]
animal = "cat"
keeper = "zoo-keeper/bob"
lock = { how = "guarded", by = "zoo-keeper/ada" }
helpers = ["zoo-keeper/ada"]

[blocks."zoo-keeper/bob"]
name = "Bob"
badge = "block:zoo-safe/one"
teacher = "zoo-keeper/ada"

[blocks."zoo-keeper/ada"]
name = "Ada"

[blocks."zoo-safe/one"]
content = "env:CONTENT"
"#;

fn dependencies_are_applied_first(yard: &TestYard) {
    yard.permit_sources();
    let applied = apply(yard, PARENTS_FIRST);
    let order: Vec<&str> = applied.lines().filter_map(|line| line.strip_prefix("created ")).collect();
    assert_eq!(order, ["zoo-keeper/ada@1", "zoo-safe/one@1", "zoo-keeper/bob@1", "zoo-cage/cat@1"]);
    let result = run_command(yard.command(&["call", "zoo-cage/cat", "look"]).env("CONTENT", "content-secret"), None);
    assert!(result.stdout.contains("Bob < Ada"), "{result:?}");
    let used_by = yard.json(&["show", "zoo-safe/one"])["used_by"].clone();
    assert_eq!(used_by, json!([{ "address": "zoo-keeper/bob", "field": "badge" }]));
    assert_eq!(plan(yard, 0, PARENTS_FIRST), "0 to create, 0 to change, 4 unchanged\n");
}

/// Creates a cage with values of every kind, and its dependencies.
fn full_cage(yard: &TestYard) {
    yard.create("zoo-safe/one", &json!({ "content": { "$source": "env:CONTENT" } }));
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada", "badge": { "$source": "block:zoo-safe/one" } }));
    let ada = json!({ "$block": "zoo-keeper/ada" });
    yard.create(
        "zoo-cage/cat",
        &json!({
            "animal": "\u{1b}\u{0}\"'''\n\\", "capacity": u64::MAX, "warmth": -1.5e300, "price": "1.10",
            "built": "2024-02-29", "type": "tank", "tags": ["", "kept", "env:HOME", "zoo-keeper/ada", "********"],
            "keeper": ada, "helpers": [ada], "papers": { "$block": "zoo-safe/one" }, "inside": null,
            "lock": { "how": "guarded", "by": ada, "word": { "$source": "file:/word" } },
            "spares": [{ "$source": "env:SPARE" }], "doors": { "a/b~c.d \"e\"": { "$source": "env:DOOR" } },
            "place": { "house": "", "code": null },
            "notes": {
                "": [null, [], {}, [{ "x": null }]], "a.b/c~d": 1.0, "\u{1}": i64::MIN, "\"": u64::MAX,
                "$json": "1", "deep": { "$json": "{}" }, "date": "2024-01-31T00:00:00Z", "$block": "zoo-keeper/ada",
            },
        }),
    );
}

fn applying_an_export_changes_nothing(yard: &TestYard) {
    full_cage(yard);
    // Secrets of three characters are too short to be masked in a result.
    let sealed = json!({ "animal": "dog", "spares": ["s-0"], "doors": { "a.b/c": "s-1" },
                         "place": { "house": "north", "code": "s-2" },
                         "lock": { "how": "key", "pattern": "s-3" } });
    yard.create("zoo-cage/dog", &sealed);
    let exported = yard.ok(&["export"]);
    let planned = yard.run_with_input(&["plan", "-"], &exported);
    assert_eq!((planned.code, &*planned.stdout), (0, "0 to create, 0 to change, 4 unchanged\n"), "{planned:?}");
    let applied = yard.run_with_input(&["apply", "-"], &exported);
    assert_eq!((applied.code, &*applied.stdout), (0, "0 created, 0 changed, 4 unchanged\n"), "{applied:?}");
    assert_eq!(yard.ok(&["export"]), exported);
    assert_eq!(yard.json(&["show", "zoo-cage/cat"])["newest"], json!(1));
    let opened = yard.json(&["call", "zoo-cage/dog", "open-all"]);
    assert_eq!(opened, json!(["s-0", "s-1", "s-2", "s-3"]));
}

fn rewritten_file_preserves_comments_order_and_other_blocks(yard: &TestYard) {
    let text = r#"# Who is where.
version = 1

# The cat comes first.
[blocks."zoo-cage/cat"]
# She is old.
animal = 'cat' # a tabby
warmth = 2.05e1 # degrees
tags = [
    "a", # the first
    "b",
]

# He is gone, and stays in the file.
[blocks."zoo-cage/dog"]
animal = "dog" # a terrier

[blocks."zoo-keeper/ada"]
name = "Ada" # a keeper
badge = "env:BADGE" # hers
"#;
    std::fs::write(yard.path("blocks.toml"), text).expect("a file");
    yard.ok(&["apply", "blocks.toml"]);
    yard.ok(&["export", "--out", "blocks.toml"]);
    assert_eq!(std::fs::read_to_string(yard.path("blocks.toml")).expect("the file"), text);
    yard.ok(&["set", "zoo-cage/cat", "--set", "animal=lynx", "--set", "capacity=2"]);
    yard.ok(&["set", "zoo-keeper/ada", "--secret", "badge=env:OTHER"]);
    yard.ok(&["delete", "zoo-cage/dog"]);
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob" }));
    yard.ok(&["export", "--out", "blocks.toml"]);
    expect![[r##"
        # Who is where.
        version = 1

        # The cat comes first.
        [blocks."zoo-cage/cat"]
        # She is old.
        animal = "lynx" # a tabby
        warmth = 2.05e1 # degrees
        tags = [
            "a", # the first
            "b",
        ]
        capacity = 2

        # He is gone, and stays in the file.
        [blocks."zoo-cage/dog"]
        animal = "dog" # a terrier

        [blocks."zoo-keeper/ada"]
        name = "Ada" # a keeper
        badge = "env:OTHER" # hers

        [blocks."zoo-keeper/bob"]
        name = "Bob"
    "##]]
    .assert_eq(&std::fs::read_to_string(yard.path("blocks.toml")).expect("the file"));
}

fn unrelated_file_is_not_overwritten(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    for text in ["name = 1\n", "version = 2\n", "# half of a\nversion = \"\n"] {
        std::fs::write(yard.path("mine.toml"), text).expect("a file");
        let refused = yard.fails(4, &["export", "--out", "mine.toml"]);
        assert!(refused.contains("existing file `mine.toml` is not a block file"), "{refused}");
        assert_eq!(std::fs::read_to_string(yard.path("mine.toml")).expect("the file"), text);
    }
    yard.fails(3, &["export", "zoo-keeper/eve", "--out", "new.toml"]);
    assert!(!yard.path("new.toml").exists());
}

fn secret_in_a_file_is_rejected_without_quoting_it(yard: &TestYard) {
    let message = refused(
        yard,
        r#"
[blocks."zoo-cage/cat"]
animal = "cat"
spares = ["hunter2-secret", "********"]
doors = { front = "hunter2-secret" }
place = { house = "north", code = "hunter2-secret" }
[blocks."zoo-cage/cat".lock]
how = "key"
pattern = "hunter2-secret"
"#,
    );
    for pointer in ["/spares/0", "/spares/1", "/doors/front", "/place/code", "/lock/pattern"] {
        assert!(message.contains(&format!("  {pointer}: ")), "{pointer}: {message}");
    }
    assert!(message.contains("a secret must be written as a source, such as `env:NAME`"), "{message}");
    assert!(message.contains("`********` is what `show` prints in place of a secret"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    assert_eq!(yard.any_file_contains("hunter2-secret"), None);
    assert_eq!(yard.addresses(&[]), [""; 0]);
}

fn plan_shows_changed_sources_but_no_sealed_secrets(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada", "badge": "badge-secret" }));
    let sourced = |source: &str| format!("[blocks.\"zoo-keeper/ada\"]\nname = \"Ada\"\nbadge = \"{source}\"\n");
    let mut all = plan(yard, 8, &sourced("env:FIRST"));
    apply(yard, &sourced("env:FIRST"));
    all.push_str(&plan(yard, 8, &sourced("file:/second")));
    apply(yard, &sourced("file:/second"));
    let saved = yard.run_with_input(&["rollback", "zoo-keeper/ada@1"], "");
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    all.push_str(&plan(yard, 8, &sourced("file:/second")));
    expect![[r#"
        would change zoo-keeper/ada
          ~ badge: a secret → env:FIRST
        0 to create, 1 to change, 0 unchanged
        would change zoo-keeper/ada
          ~ badge: env:FIRST → file:/second
        0 to create, 1 to change, 0 unchanged
        would change zoo-keeper/ada
          ~ badge: a secret → file:/second
        0 to create, 1 to change, 0 unchanged
    "#]]
    .assert_eq(&all);
    let differ = yard.run_with_input(&["set", "zoo-keeper/ada", "--secret", "badge=-"], "other-secret");
    assert_eq!(differ.code, 0, "{}", differ.stderr);
    let diff = yard.ok(&["diff", "zoo-keeper/ada@1", "zoo-keeper/ada"]);
    assert_eq!(diff, "zoo-keeper/ada@1 → zoo-keeper/ada@5\n  ~ badge: the secret differs\n");
}

fn deleted_blocks_are_not_exported(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob" }));
    let exported = yard.ok(&["export"]);
    yard.ok(&["delete", "zoo-keeper/ada"]);
    assert_eq!(yard.ok(&["export"]), file("\n[blocks.\"zoo-keeper/bob\"]\nname = \"Bob\"\n"));
    for message in [
        yard.fails(3, &["export", "zoo-keeper/ada"]),
        yard.fails_with_input(3, &["plan", "-"], &exported),
        yard.fails_with_input(3, &["apply", "-"], &exported),
    ] {
        assert!(message.contains("block `zoo-keeper/ada` is deleted"), "{message}");
        assert!(message.contains("`blockyard restore zoo-keeper/ada`"), "{message}");
    }
    let message = refused(yard, "[blocks.\"zoo-keeper/cy\"]\nname = \"Cy\"\nteacher = \"zoo-keeper/ada\"\n");
    assert!(
        message.contains("/teacher: requires a block of type `zoo-keeper`; block `zoo-keeper/ada` is deleted"),
        "{message}"
    );
}

fn apply_is_atomic(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    let good = "[blocks.\"zoo-keeper/ada\"]\nname = \"Eve\"\n[blocks.\"zoo-keeper/bob\"]\nname = \"Bob\"\n";
    for (wrong, message) in [
        ("[blocks.\"zoo-cage/cat\"]\nanimal = \"unicorn\"\n", "/animal: does not live in cages"),
        ("[blocks.\"zoo-cage/cat\"]\nanmal = \"cat\"\n", "/anmal: unknown field `anmal`; did you mean `animal`?"),
        ("[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\nwarmth = nan\n", "/warmth: is not a finite number"),
    ] {
        let refused = refused(yard, &format!("{good}{wrong}"));
        assert!(refused.contains(message), "{refused}");
    }
    assert_eq!(yard.addresses(&[]), ["zoo-keeper/ada"]);
    assert_eq!(yard.config("zoo-keeper/ada"), json!({ "name": "Ada" }));
}

fn invalid_block_files_are_rejected(yard: &TestYard) {
    for (code, text, message) in [
        (4, "", "the file has no `version`"),
        (4, "version = 2\n", "the file has format version 2; this version of Blockyard reads version 1"),
        (4, "version = 1\nblcks = {}\n", "the file has an unknown key `blcks`"),
        (4, "version = 1\nblocks = 3\n", "`blocks` must be a table"),
        (4, "version = 1\n[blocks]\n\"zoo-keeper/ada\" = 3\n", "block `zoo-keeper/ada` in the file is not a table"),
        (2, "version = 1\n[blocks.\"ada\"]\n", "`ada` is not an address"),
        (2, "version = 1\n[blocks.\"zoo-keeper/ada@1\"]\n", "contains a revision"),
        (3, "version = 1\n[blocks.\"zoo-keper/ada\"]\n", "did you mean `zoo-keeper`?"),
        (4, "version = 1\n[blocks.\"zoo-keeper/ada\"]\n[blocks.\"zoo-keeper/ada\"]\n", "duplicate key"),
    ] {
        let refused = yard.fails_with_input(code, &["apply", "-"], text);
        assert!(refused.contains(message), "{text}: {refused}");
    }
    let missing = yard.fails(3, &["plan", "none.toml"]);
    assert!(missing.contains("`none.toml` cannot be read"), "{missing}");
    assert_eq!(plan(yard, 0, ""), "0 to create, 0 to change, 0 unchanged\n");
}

fn deeply_nested_values_are_exported_and_planned(yard: &TestYard) {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let config = format!(r#"{{"animal": "cat", "notes": {{"deep": {deep}}}}}"#);
    assert_eq!(yard.run_with_input(&["create", "zoo-cage/deep", "--json-config", "-"], &config).code, 0);
    // Rewriting an existing file preserves its permissions.
    std::fs::write(yard.path("blocks.toml"), "version = 1\n").expect("a file");
    std::fs::set_permissions(yard.path("blocks.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("a mode");
    yard.ok(&["export", "--out", "blocks.toml"]);
    yard.ok(&["plan", "blocks.toml"]);
    let mode = std::fs::metadata(yard.path("blocks.toml")).expect("a file").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
}
