//! Blocks as files: export, plan and apply.

use blockyard::{BlockFile, PlanAction};
use expect_test::expect;
use serde_json::json;

use crate::fixture::{TestYard, at, block, file, rejected, secret, setting};

on_both!(
    a_plan_changes_nothing_and_an_apply_is_idempotent,
    a_plan_lists_the_changes_of_each_block,
    dependencies_are_applied_first,
    an_exported_file_changes_nothing,
    an_exported_block_is_the_same_in_another_yard,
    many_blocks_are_exported_and_planned_on_all_pages,
    a_rewritten_file_keeps_comments_inside_of_tables,
    secrets_are_exported_as_sources_only,
    a_secret_in_a_file_is_rejected_and_not_repeated,
    a_secret_in_another_form_is_rejected_and_not_repeated,
    a_secret_in_a_file_that_is_not_toml_is_not_repeated,
    a_kept_secret_must_be_stored_in_the_yard,
    a_change_that_removes_a_secret_can_be_applied,
    cycles_in_a_file_are_rejected,
    a_cycle_is_reported_without_the_blocks_that_only_lead_to_it,
    a_cycle_through_the_yard_is_rejected_before_anything_is_saved,
    a_reference_can_be_reversed_in_one_file,
    references_to_blocks_of_the_same_file_are_checked,
    deleted_blocks_are_not_in_files,
    the_problems_of_all_blocks_are_reported_at_once,
    files_without_blocks_are_rejected,
    numbers_of_a_file_lose_no_digits,
    a_block_that_changed_since_the_plan_is_not_applied,
);

/// Returns the error of a plan, before which nothing can be applied.
async fn refused(yard: &TestYard, blocks: &str) -> String {
    let planned = match BlockFile::parse(&file(blocks)) {
        Ok(file) => yard.yard.plan(&file).await,
        Err(error) => Err(error),
    };
    let told = rejected(planned);
    assert!(told.starts_with("invalid: "), "{told}");
    told
}

/// Returns the actions of a plan, `ACTION ADDRESS`.
async fn planned(yard: &TestYard, text: &str) -> Vec<String> {
    let plan = yard.yard.plan(&BlockFile::parse(text).unwrap()).await.unwrap();
    plan.blocks().iter().map(|block| format!("{:?} {}", block.action, block.address)).collect()
}

async fn a_plan_changes_nothing_and_an_apply_is_idempotent(yard: &TestYard) {
    let blocks = "[blocks.\"zoo-keeper/ada\"]\nname = \"Ada\"\n[blocks.\"zoo-keeper/bob\"]\nname = \"Bob\"\n";
    yard.create("zoo-keeper/bob", json!({"name": "Bob"})).await;
    yard.create("zoo-keeper/cy", json!({"name": "Cy"})).await;
    for _ in 0..2 {
        assert_eq!(planned(yard, &file(blocks)).await, ["Create zoo-keeper/ada", "Unchanged zoo-keeper/bob"]);
    }
    assert_eq!(yard.addresses().await, ["zoo-keeper/bob", "zoo-keeper/cy"]);
    let applied = yard.apply(blocks).await;
    assert_eq!(applied.iter().map(|block| block.revision).collect::<Vec<_>>(), [Some(1), None]);
    let again = yard.apply(blocks).await;
    assert!(again.iter().all(|block| block.action == PlanAction::Unchanged), "{again:?}");
    // Blocks that the file does not name are unchanged.
    assert_eq!(yard.addresses().await, ["zoo-keeper/ada", "zoo-keeper/bob", "zoo-keeper/cy"]);
    assert_eq!(yard.newest("zoo-keeper/ada").await, 1);
}

async fn a_plan_lists_the_changes_of_each_block(yard: &TestYard) {
    let config = json!({
        "animal": "cat", "capacity": 1, "warmth": 20.5, "tags": ["a", "b"],
        "place": {"house": "north", "code": "code-secret"},
    });
    yard.create("zoo-cage/cat", config).await;
    let blocks = "[blocks.\"zoo-cage/cat\"]\nanimal = \"dog\"\nwarmth = 20.5\ntags = [\"a\", \"c\", \"d\"]\n\
                  price = \"1.10\"\nplace = { house = \"south\" }\n";
    let plan = yard.yard.plan(&BlockFile::parse(&file(blocks)).unwrap()).await.unwrap();
    assert!(plan.changes_anything());
    assert_eq!(
        serde_json::to_value(plan.blocks()).unwrap(),
        json!([{ "address": "zoo-cage/cat", "action": "change", "changes": [
            {"field": "animal", "change": "changed", "secret": false, "before": "cat", "after": "dog"},
            {"field": "capacity", "change": "removed", "secret": false, "before": 1},
            {"field": "place.house", "change": "changed", "secret": false, "before": "north", "after": "south"},
            {"field": "price", "change": "added", "secret": false, "after": "1.10"},
            {"field": "tags.1", "change": "changed", "secret": false, "before": "b", "after": "c"},
            {"field": "tags.2", "change": "added", "secret": false, "after": "d"},
        ]}])
    );
    yard.yard.apply(plan, &mut |_| ()).await.unwrap();
    assert_eq!(yard.newest("zoo-cage/cat").await, 2);
    // A secret that the file omits is retained.
    assert_eq!(yard.reveal("zoo-cage/cat", "place.code").await, "code-secret");
}

/// Dependents precede their dependencies, and a block with a secret source precedes the block that
/// supplies the secret.
const DEPENDENTS_FIRST: &str = r#"
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

async fn dependencies_are_applied_first(yard: &TestYard) {
    let mut order = Vec::new();
    let plan = yard.yard.plan(&BlockFile::parse(&file(DEPENDENTS_FIRST)).unwrap()).await.unwrap();
    yard.yard.apply(plan, &mut |address| order.push(address.to_owned())).await.unwrap();
    assert_eq!(order, ["zoo-keeper/ada", "zoo-safe/one", "zoo-keeper/bob", "zoo-cage/cat"]);
    assert_eq!(yard.used_by("zoo-safe/one").await, ["zoo-keeper/bob badge"]);
}

/// Creates a cage with values of every kind, and its dependencies.
async fn full_cage(yard: &TestYard) {
    yard.create("zoo-safe/one", json!({"content": {"$source": "env:CONTENT"}})).await;
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": {"$source": "block:zoo-safe/one"}})).await;
    let ada = block("zoo-keeper/ada");
    let config = json!({
        "animal": "\u{1b}\u{0}\"'''\n\\", "capacity": u64::MAX, "warmth": -1.5e300, "price": "1.10",
        "built": "2024-02-29", "type": "tank", "tags": ["", "kept", "env:HOME", "zoo-keeper/ada", "********"],
        "keeper": ada, "helpers": [ada], "papers": block("zoo-safe/one"), "inside": null,
        "lock": {"how": "guarded", "by": ada, "word": {"$source": "file:/word"}},
        "spares": [{"$source": "env:SPARE"}], "doors": {"a/b~c.d \"e\"": {"$source": "env:DOOR"}},
        "place": {"house": "", "code": null},
        "notes": {
            "": [null, [], {}, [{"x": null}]], "a.b/c~d": 1.0, "\u{1}": i64::MIN, "\"": u64::MAX,
            "$json": "1", "deep": {"$json": "{}"}, "date": "2024-01-31T00:00:00Z", "$block": "zoo-keeper/ada",
        },
    });
    yard.create("zoo-cage/cat", config).await;
}

async fn an_exported_file_changes_nothing(yard: &TestYard) {
    full_cage(yard).await;
    let sealed = json!({
        "animal": "dog", "spares": ["secret-0"], "doors": {"a.b/c": "secret-1"},
        "place": {"house": "north", "code": "secret-2"}, "lock": {"how": "key", "pattern": "secret-3"},
    });
    yard.create("zoo-cage/dog", sealed).await;
    let exported = yard.export().await;
    let plan = yard.yard.plan(&BlockFile::parse(&exported).unwrap()).await.unwrap();
    assert!(!plan.changes_anything(), "{:?}", plan.blocks());
    assert_eq!(plan.blocks().len(), 4);
    yard.yard.apply(plan, &mut |_| ()).await.unwrap();
    assert_eq!(yard.export().await, exported);
    assert_eq!(yard.newest("zoo-cage/cat").await, 1);
    for (field, secret) in [
        ("spares.0", "secret-0"),
        ("doors.a.b/c", "secret-1"),
        ("place.code", "secret-2"),
        ("lock.pattern", "secret-3"),
    ] {
        assert_eq!(yard.reveal("zoo-cage/dog", field).await, secret);
    }
}

async fn an_exported_block_is_the_same_in_another_yard(yard: &TestYard) {
    full_cage(yard).await;
    let exported = yard.export().await;
    let url = format!("sqlite:{}", yard.path("other.db").display());
    let config = crate::fixture::config(yard.folder());
    let other = blockyard::Yard::init(&url, blockyard::NewKey::File(None), config).await.unwrap();
    crate::fixture::install_zoo(&other).await;
    let plan = other.plan(&BlockFile::parse(&exported).unwrap()).await.unwrap();
    other.apply(plan, &mut |_| ()).await.unwrap();
    for address in ["zoo-cage/cat", "zoo-keeper/ada", "zoo-safe/one"] {
        let there = other.show(&address.parse().unwrap()).await.unwrap().config;
        assert_eq!(there, yard.config(address).await);
    }
    let mut again = BlockFile::new();
    other.export(&[], &mut again).await.unwrap();
    assert_eq!(again.to_string(), exported);
    other.close().await;
}

async fn many_blocks_are_exported_and_planned_on_all_pages(yard: &TestYard) {
    let mut blocks = String::new();
    for number in 0..501 {
        blocks.push_str(&format!("[blocks.\"zoo-keeper/k{number:03}\"]\nname = \"{number}\"\n"));
    }
    assert_eq!(yard.apply(&blocks).await.len(), 501);
    let exported = yard.export().await;
    assert_eq!(exported.matches("[blocks.").count(), 501);
    let plan = yard.yard.plan(&BlockFile::parse(&exported).unwrap()).await.unwrap();
    assert_eq!((plan.blocks().len(), plan.changes_anything()), (501, false));
}

async fn a_rewritten_file_keeps_comments_inside_of_tables(yard: &TestYard) {
    let text = r#"version = 1

[blocks."zoo-cage/cat"]
animal = "cat"

# Location of the cage.
[blocks."zoo-cage/cat".place]
# In the north of the zoo.
house = "north" # for now
"#;
    let mut file = BlockFile::parse(text).unwrap();
    let plan = yard.yard.plan(&file).await.unwrap();
    yard.yard.apply(plan, &mut |_| ()).await.unwrap();
    yard.change("zoo-cage/cat", setting("place.house", json!("south"))).await.unwrap();
    yard.yard.export(&[], &mut file).await.unwrap();
    assert_eq!(file.to_string(), text.replace("\"north\"", "\"south\""));
}

async fn secrets_are_exported_as_sources_only(yard: &TestYard) {
    yard.create("zoo-safe/one", json!({"content": "content-secret"})).await;
    let config = json!({
        "animal": "cat", "spares": ["spare-secret", {"$source": "env:SPARE"}],
        "doors": {"a": "door-secret", "b": {"$source": "block:zoo-safe/one"}},
        "place": {"house": "north", "code": "code-secret"}, "lock": {"how": "key", "pattern": "pattern-secret"},
    });
    yard.create("zoo-cage/cat", config).await;
    // The fields are in the order of the schema.
    expect![[r#"
        version = 1

        [blocks."zoo-cage/cat"]
        animal = "cat"
        lock = { how = "key", pattern = "kept" }
        spares = ["kept", "env:SPARE"]
        doors = { a = "kept", b = "block:zoo-safe/one" }
        place = { code = "kept", house = "north" }

        [blocks."zoo-safe/one"]
        content = "kept"
    "#]]
    .assert_eq(&yard.export().await);
}

async fn a_secret_in_a_file_is_rejected_and_not_repeated(yard: &TestYard) {
    let error_report = refused(
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
    )
    .await;
    for field in ["/spares/0", "/spares/1", "/doors/front", "/place/code", "/lock/pattern"] {
        assert!(error_report.contains(&format!("  {field}: ")), "{field}: {error_report}");
    }
    assert!(error_report.contains("a secret must be written as a source, such as `env:NAME`"), "{error_report}");
    assert!(error_report.contains("`********` is what `show` prints in place of a secret"), "{error_report}");
    assert!(!error_report.contains("hunter2"), "{error_report}");
    yard.no_file_contains("hunter2-secret");
    assert!(yard.addresses().await.is_empty());
}

async fn a_secret_in_another_form_is_rejected_and_not_repeated(yard: &TestYard) {
    for (field, pointer, secret) in [
        (r#"spares = [{ "$json" = '"hunter2-secret"' }]"#, "/spares/0: ", "hunter2"),
        (r#"spares = { "$json" = '["hunter2-secret"]' }"#, "/spares/0: ", "hunter2"),
        (r#"doors = { front = { "$json" = '"hunter2-secret"' } }"#, "/doors/front: ", "hunter2"),
        (r#"lock = { "$json" = '{"how": "key", "pattern": "hunter2-secret"}' }"#, "/lock/pattern: ", "hunter2"),
        (r#"spares = [{ "$source" = "hunter2-secret" }]"#, "/spares/0: ", "hunter2"),
        (r#"spares = [{ hunter2-secret = "" }]"#, "/spares/0: ", "hunter2"),
        ("spares = [20771231]", "/spares/0: ", "2077"),
        ("spares = [2077-12-31]", "/spares/0: ", "2077"),
    ] {
        let error_report = refused(yard, &format!("[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\n{field}\n")).await;
        assert!(error_report.contains(pointer), "{field}: {error_report}");
        assert!(!error_report.contains(secret), "{field}: {error_report}");
    }
    yard.no_file_contains("hunter2-secret");
}

async fn a_secret_in_a_file_that_is_not_toml_is_not_repeated(yard: &TestYard) {
    for line in [
        "badge = hunter2-secret",
        "badge = \"hunter2-secret",
        "badge \"hunter2-secret\"",
        "badge = \"hunter2-secret\" x",
    ] {
        let error_report = refused(yard, &format!("[blocks.\"zoo-keeper/ada\"]\nname = \"Ada\"\n{line}\n")).await;
        assert!(
            error_report.contains("the file is not valid TOML") && error_report.contains("line 4"),
            "{error_report}"
        );
        assert!(!error_report.contains("hunter2"), "{error_report}");
    }
}

async fn a_kept_secret_must_be_stored_in_the_yard(yard: &TestYard) {
    let kept = "[blocks.\"zoo-keeper/ada\"]\nname = \"Ada\"\nbadge = \"kept\"\n";
    let missing = "/badge: the yard stores no secret for this field; write a source";
    assert!(refused(yard, kept).await.contains(missing));
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": {"$source": "env:BADGE"}})).await;
    assert!(refused(yard, kept).await.contains(missing));
    yard.change("zoo-keeper/ada", secret("badge", "badge-secret")).await.unwrap();
    assert_eq!(planned(yard, &file(kept)).await, ["Unchanged zoo-keeper/ada"]);
}

async fn a_change_that_removes_a_secret_can_be_applied(yard: &TestYard) {
    yard.create("zoo-cage/cat", json!({"animal": "cat", "lock": {"how": "key", "pattern": "pattern-secret"}})).await;
    yard.apply("[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\nlock = { how = \"open\" }\n").await;
    assert_eq!(yard.config("zoo-cage/cat").await["lock"], json!({"how": "open"}));
    yard.apply("[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\n").await;
    assert_eq!(yard.config("zoo-cage/cat").await, json!({"animal": "cat"}));
}

/// Returns keepers, each with their teacher, as a block file.
fn keepers(pairs: &[(&str, &str)]) -> String {
    let keeper = |(name, teacher): &(&str, &str)| {
        let teacher = if teacher.is_empty() { String::new() } else { format!("teacher = \"zoo-keeper/{teacher}\"\n") };
        format!("[blocks.\"zoo-keeper/{name}\"]\nname = \"{name}\"\n{teacher}")
    };
    pairs.iter().map(keeper).collect()
}

async fn cycles_in_a_file_are_rejected(yard: &TestYard) {
    for pairs in [&[("a", "a")][..], &[("a", "b"), ("b", "a")], &[("z", ""), ("a", "b"), ("b", "c"), ("c", "a")]] {
        let error_report = refused(yard, &keepers(pairs)).await;
        assert!(error_report.contains("the references of these blocks would form a cycle"), "{error_report}");
        assert!(error_report.contains("`zoo-keeper/a`") && !error_report.contains("`zoo-keeper/z`"), "{error_report}");
    }
    assert!(yard.addresses().await.is_empty());
}

async fn a_cycle_is_reported_without_the_blocks_that_only_lead_to_it(yard: &TestYard) {
    let error_report = refused(yard, &keepers(&[("d", "a"), ("a", "b"), ("b", "c"), ("c", "a")])).await;
    expect![[r#"
        invalid: the references of these blocks would form a cycle: `zoo-keeper/a` → `zoo-keeper/b` → `zoo-keeper/c` → `zoo-keeper/a`
    "#]]
    .assert_eq(&error_report);
}

async fn a_cycle_through_the_yard_is_rejected_before_anything_is_saved(yard: &TestYard) {
    yard.apply(&keepers(&[("a", "b"), ("b", "")])).await;
    let error_report = refused(yard, &keepers(&[("b", "c"), ("c", "a")])).await;
    assert!(error_report.contains("would form a cycle"), "{error_report}");
    assert_eq!(yard.addresses().await, ["zoo-keeper/a", "zoo-keeper/b"]);
}

async fn a_reference_can_be_reversed_in_one_file(yard: &TestYard) {
    yard.apply(&keepers(&[("a", "b"), ("b", "")])).await;
    yard.apply(&keepers(&[("a", ""), ("b", "a")])).await;
    assert_eq!(yard.config("zoo-keeper/b").await, json!({"name": "b", "teacher": block("zoo-keeper/a")}));
    assert_eq!(yard.config("zoo-keeper/a").await, json!({"name": "a"}));
}

async fn references_to_blocks_of_the_same_file_are_checked(yard: &TestYard) {
    let error_report = refused(
        yard,
        r#"
[blocks."zoo-cage/cat"]
animal = "cat"
keeper = "zoo-safe/one"
papers = "zoo-keeper/ada"
helpers = ["zoo-keeper/eve", "zoo-keeper/ada", "ada"]
spares = ["block:zoo-keeper/ada", "block:zoo-safe/one"]
[blocks."zoo-safe/one"]
content = "env:CONTENT"
[blocks."zoo-keeper/ada"]
name = "Ada"
"#,
    )
    .await;
    expect![[r#"
        invalid: block `zoo-cage/cat` is not valid
          /helpers/0: requires a block of type `zoo-keeper`; block `zoo-keeper/eve` not found
          /helpers/2: `ada` is not an address; an address is `TYPE/NAME`, for example `sql-database/flights`
          /keeper: requires a block of type `zoo-keeper`; `zoo-safe/one` is a block of type `zoo-safe`, which implements `secret-store`
          /papers: requires a block that implements `secret-store`; `zoo-keeper/ada` is a block of type `zoo-keeper`
          /spares/0: requires a block that implements `secret-store`; `zoo-keeper/ada` is a block of type `zoo-keeper`
    "#]]
    .assert_eq(&error_report);
    assert!(yard.addresses().await.is_empty());
}

async fn deleted_blocks_are_not_in_files(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.create("zoo-keeper/bob", json!({"name": "Bob"})).await;
    let exported = BlockFile::parse(&yard.export().await).unwrap();
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    assert_eq!(yard.export().await, file("\n[blocks.\"zoo-keeper/bob\"]\nname = \"Bob\"\n"));
    let gone = expect![[r#"
        not-found: block `zoo-keeper/ada` is deleted
          code: deleted address="zoo-keeper/ada"
    "#]];
    gone.assert_eq(&rejected(yard.yard.export(&[at("zoo-keeper/ada")], &mut BlockFile::new()).await));
    gone.assert_eq(&rejected(yard.yard.plan(&exported).await));
    let error_report = refused(yard, "[blocks.\"zoo-keeper/cy\"]\nname = \"Cy\"\nteacher = \"zoo-keeper/ada\"\n").await;
    let problem = "/teacher: requires a block of type `zoo-keeper`; block `zoo-keeper/ada` is deleted";
    assert!(error_report.contains(problem), "{error_report}");
}

async fn the_problems_of_all_blocks_are_reported_at_once(yard: &TestYard) {
    let error_report = refused(
        yard,
        r#"
[blocks."zoo-keeper/ada"]
nam = "Ada"
[blocks."zoo-cage/cat"]
animal = "cat"
spares = ["hunter2-secret"]
warmht = 20.0
"#,
    )
    .await;
    expect![[r#"
        invalid: block `zoo-keeper/ada` is not valid
          /nam: unknown field `nam`; did you mean `name`?
          /name: is missing, and it is required
        block `zoo-cage/cat` is not valid
          /spares/0: a secret must be written as a source, such as `env:NAME`
          /warmht: unknown field `warmht`; did you mean `warmth`?
    "#]]
    .assert_eq(&error_report);
}

async fn files_without_blocks_are_rejected(yard: &TestYard) {
    for (kind, text, problem) in [
        ("invalid", "", "the file has no `version`"),
        ("invalid", "version = 2\n", "the file has format version 2; this version of Blockyard reads version 1"),
        ("invalid", "version = 1\nblcks = {}\n", "the file has an unknown key `blcks`"),
        ("invalid", "version = 1\nblocks = 3\n", "`blocks` must be a table"),
        (
            "invalid",
            "version = 1\n[blocks]\n\"zoo-keeper/ada\" = 3\n",
            "block `zoo-keeper/ada` in the file is not a table",
        ),
        ("usage", "version = 1\n[blocks.\"ada\"]\n", "`ada` is not an address"),
        ("usage", "version = 1\n[blocks.\"zoo-keeper/ada@1\"]\n", "contains a revision"),
        ("not-found", "version = 1\n[blocks.\"zoo-keper/ada\"]\n", "did you mean `zoo-keeper`?"),
        ("invalid", "version = 1\n[blocks.\"zoo-keeper/ada\"]\n[blocks.\"zoo-keeper/ada\"]\n", "duplicate key"),
    ] {
        let planned = match BlockFile::parse(text) {
            Ok(file) => yard.yard.plan(&file).await,
            Err(error) => Err(error),
        };
        let error_report = rejected(planned);
        assert!(
            error_report.starts_with(&format!("{kind}: ")) && error_report.contains(problem),
            "{text}: {error_report}"
        );
    }
    assert!(planned(yard, "version = 1\n").await.is_empty());
}

async fn numbers_of_a_file_lose_no_digits(yard: &TestYard) {
    let big = "[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\ncapacity = { \"$json\" = \"18446744073709551615\" }\n";
    yard.apply(big).await;
    assert_eq!(yard.config("zoo-cage/cat").await["capacity"], json!(u64::MAX));
    for field in [
        "notes = { x = { \"$json\" = \"18446744073709551616\" } }",
        "notes = { x = { \"$json\" = \"[0.1234567890123456789]\" } }",
        "warmth = 0.1234567890123456789",
    ] {
        let error_report = refused(yard, &format!("[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\n{field}\n")).await;
        assert!(error_report.contains("would lose digits"), "{error_report}");
    }
    // TOML has no integers beyond 64 bits with a sign.
    let unsigned = "[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\ncapacity = 18446744073709551615\n";
    assert!(refused(yard, unsigned).await.contains("the file is not valid TOML"));
}

async fn a_block_that_changed_since_the_plan_is_not_applied(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    let text = file("[blocks.\"zoo-keeper/ada\"]\nname = \"Eve\"\n");
    let plan = yard.yard.plan(&BlockFile::parse(&text).unwrap()).await.unwrap();
    yard.set("zoo-keeper/ada", json!({"name": "Ida"})).await;
    expect![[r#"
        conflict: block `zoo-keeper/ada` was changed since the plan was made
          hint: plan again; blocks that were already applied are retained
    "#]]
    .assert_eq(&rejected(yard.yard.apply(plan, &mut |_| ()).await));
    assert_eq!(yard.config("zoo-keeper/ada").await, json!({"name": "Ida"}));
}
