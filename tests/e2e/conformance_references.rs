//! Blocks that depend on other blocks: changes visible to every dependent, validation on save,
//! protection against deletion.

use std::process::{Child, Stdio};

use blockyard_tests::{TestYard, on_both};
use expect_test::expect;
use serde_json::{Value, json};

on_both!(
    a_changed_child_is_seen_through_every_parent_at_the_next_call,
    every_level_can_be_shown_and_used,
    a_secret_of_a_child_is_used_through_its_parents,
    replacing_one_of_two_references_leaves_the_other,
    a_reference_that_does_not_fit_is_refused_with_field_wanted_and_found,
    a_reference_to_a_deleted_block_is_refused,
    a_reference_to_a_type_that_is_not_installed_says_how_to_install_it,
    a_source_that_is_a_block_is_checked_like_a_reference,
    a_dependency_cannot_be_deleted,
    old_revisions_and_deleted_blocks_hold_nothing,
    an_old_revision_says_what_it_misses,
    a_block_is_restored_after_what_it_builds_on,
    cycles_are_rejected_with_their_path,
    a_rollback_that_would_close_a_circle_is_refused,
    of_two_saves_that_close_a_circle_together_one_is_refused,
    no_block_references_a_block_during_its_deletion,
);

/// Creates a cage in a house in a garden, and two keepers, one of whom is the other's teacher.
fn zoo(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada", "badge": "k-1" }));
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob", "teacher": block("zoo-keeper/ada") }));
    yard.create("zoo-cage/garden", &json!({ "animal": "garden", "keeper": block("zoo-keeper/bob") }));
    yard.create(
        "zoo-cage/house",
        &json!({ "animal": "house", "inside": block("zoo-cage/garden"), "keeper": block("zoo-keeper/ada"),
                 "helpers": [block("zoo-keeper/ada"), block("zoo-keeper/bob")] }),
    );
    yard.create("zoo-cage/box", &json!({ "animal": "cat", "inside": block("zoo-cage/house") }));
}

fn block(address: &str) -> Value {
    json!({ "$block": address })
}

fn look(yard: &TestYard, address: &str) -> Value {
    yard.json(&["call", address, "look"])
}

fn a_changed_child_is_seen_through_every_parent_at_the_next_call(yard: &TestYard) {
    zoo(yard);
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=Eve"]);
    assert_eq!(yard.json(&["call", "zoo-keeper/bob", "introduce"]), json!("Bob < Eve"));
    let seen = look(yard, "zoo-cage/box");
    assert_eq!(seen["inside"]["keeper"], json!("Eve"));
    assert_eq!(seen["inside"]["helpers"], json!(["Eve", "Bob < Eve"]));
    assert_eq!(seen["inside"]["inside"]["keeper"], json!("Bob < Eve"));
    // An old revision of a dependent also uses the newest revision of its dependency, but an old
    // revision of the dependency itself is unchanged.
    yard.ok(&["set", "zoo-cage/garden", "--unset", "keeper"]);
    assert_eq!(look(yard, "zoo-cage/garden")["keeper"], json!(null));
    assert_eq!(look(yard, "zoo-cage/garden@1")["keeper"], json!("Bob < Eve"));
    assert_eq!(yard.json(&["call", "zoo-keeper/ada@1", "introduce"]), json!("Ada"));
    assert_eq!(yard.json(&["show", "zoo-cage/box"])["newest"], json!(1));
}

fn every_level_can_be_shown_and_used(yard: &TestYard) {
    zoo(yard);
    let garden = json!({ "animal": "garden", "keeper": "Bob < Ada", "helpers": [], "inside": null });
    let house = json!({ "animal": "house", "keeper": "Ada", "helpers": ["Ada", "Bob < Ada"], "inside": garden });
    let cage = json!({ "animal": "cat", "keeper": null, "helpers": [], "inside": house });
    assert_eq!(look(yard, "zoo-cage/garden"), garden);
    assert_eq!(look(yard, "zoo-cage/house"), house);
    assert_eq!(look(yard, "zoo-cage/box"), cage);
    assert_eq!(yard.config("zoo-cage/box"), json!({ "animal": "cat", "inside": block("zoo-cage/house") }));
    assert!(yard.ok(&["show", "zoo-cage/house"]).contains("zoo-cage/garden"));
    let ada = yard.json(&["show", "zoo-keeper/ada"]);
    assert_eq!(
        ada["used_by"],
        json!([
            { "address": "zoo-cage/house", "field": "helpers.0" },
            { "address": "zoo-cage/house", "field": "keeper" },
            { "address": "zoo-keeper/bob", "field": "teacher" },
        ])
    );
    assert_eq!(yard.run(&["doctor"]).code, 0);
}

fn a_secret_of_a_child_is_used_through_its_parents(yard: &TestYard) {
    zoo(yard);
    let guarded = json!({ "how": "guarded", "by": block("zoo-keeper/ada") });
    yard.create("zoo-cage/den", &json!({ "animal": "fox", "lock": guarded, "keeper": block("zoo-keeper/ada") }));
    // Secrets of three characters are too short to be masked in a result.
    assert_eq!(yard.json(&["call", "zoo-cage/den", "open-all"]), json!(["k-1", "k-1"]));
    let saved = yard.run_with_input(&["set", "zoo-keeper/ada", "--secret", "badge=-"], "k-2");
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    assert_eq!(yard.json(&["call", "zoo-cage/den", "open-all"]), json!(["k-2", "k-2"]));
    for arguments in [&["show", "zoo-cage/den", "--json"][..], &["call", "zoo-cage/den", "look", "--json"]] {
        let said = yard.ok(arguments);
        assert!(!said.contains("k-2"), "{said}");
    }
}

fn replacing_one_of_two_references_leaves_the_other(yard: &TestYard) {
    zoo(yard);
    yard.create("zoo-keeper/cy", &json!({ "name": "Cy" }));
    yard.ok(&["set", "zoo-cage/house", "--set", "keeper=zoo-keeper/cy"]);
    let seen = look(yard, "zoo-cage/house");
    assert_eq!([&seen["keeper"], &seen["helpers"]], [&json!("Cy"), &json!(["Ada", "Bob < Ada"])]);
    yard.ok(&["set", "zoo-cage/house", "--set", "helpers.1=zoo-keeper/cy"]);
    assert_eq!(look(yard, "zoo-cage/house")["helpers"], json!(["Ada", "Cy"]));
    yard.ok(&["set", "zoo-cage/house", "--unset", "helpers.0"]);
    let seen = look(yard, "zoo-cage/house");
    assert_eq!([&seen["keeper"], &seen["helpers"]], [&json!("Cy"), &json!(["Cy"])]);
    assert_eq!(seen["inside"]["animal"], json!("garden"));
    let used_by = yard.json(&["show", "zoo-keeper/ada"])["used_by"].clone();
    assert_eq!(used_by, json!([{ "address": "zoo-keeper/bob", "field": "teacher" }]));
}

fn a_reference_that_does_not_fit_is_refused_with_field_wanted_and_found(yard: &TestYard) {
    zoo(yard);
    let wrong = json!({
        "animal": "dog", "keeper": block("zoo-keeper/adda"), "inside": block("zoo-keeper/ada"),
        "papers": block("zoo-keeper/bob"), "lock": { "how": "guarded", "by": block("zoo-cage/box") },
        "helpers": [block("zoo-safe/one"), block("Ada"), block("zoo-keeper/ada@1"), block("zoo-keeper/ada"),
                    { "$block": "zoo-keeper/ada", "revision": 1 }, "zoo-keeper/ada"],
    });
    expect![[r#"
        error: block `zoo-cage/dog` is not valid
          /helpers/0: requires a block of type `zoo-keeper`; `zoo-safe/one` is a block of type `zoo-safe`, which implements `secret-store`
          /helpers/1: `Ada` is not an address; an address is `TYPE/NAME`, for example `sql-database/flights`
          /helpers/2: `zoo-keeper/ada@1` contains a revision, but only a block is accepted; write `TYPE/NAME`
          /helpers/4: must be a reference; write `{"$block": "TYPE/NAME"}`
          /helpers/5: must be a reference; write `{"$block": "TYPE/NAME"}`
          /inside: requires a block of type `zoo-cage`; `zoo-keeper/ada` is a block of type `zoo-keeper`
          /keeper: requires a block of type `zoo-keeper`; block `zoo-keeper/adda` not found; did you mean `zoo-keeper/ada`?
          /lock/by: requires a block of type `zoo-keeper`; `zoo-cage/box` is a block of type `zoo-cage`
          /papers: requires a block that implements `secret-store`; `zoo-keeper/bob` is a block of type `zoo-keeper`
    "#]]
    .assert_eq(&yard.fails_with_input(4, &["create", "zoo-cage/dog", "--json-config", "-"], &wrong.to_string()));
    yard.fails(3, &["show", "zoo-cage/dog"]);
    let refused = yard.fails(4, &["set", "zoo-cage/box", "--set", "papers=zoo-keeper/ada"]);
    assert!(refused.contains("/papers: requires a block that implements `secret-store`"), "{refused}");
    yard.create("zoo-safe/one", &json!({ "content": "content-secret" }));
    yard.ok(&["set", "zoo-cage/box", "--set", "papers=zoo-safe/one"]);
    assert_eq!(yard.config("zoo-cage/box")["papers"], block("zoo-safe/one"));
}

fn a_reference_to_a_deleted_block_is_refused(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-cage/cat", &json!({ "animal": "cat", "keeper": block("zoo-keeper/ada") }));
    yard.ok(&["set", "zoo-cage/cat", "--unset", "keeper"]);
    yard.ok(&["delete", "zoo-keeper/ada"]);
    for arguments in [
        &["create", "zoo-cage/dog", "--set", "animal=dog", "--set", "keeper=zoo-keeper/ada"][..],
        &["set", "zoo-cage/cat", "--set", "keeper=zoo-keeper/ada"],
        &["rollback", "zoo-cage/cat@1"],
    ] {
        let refused = yard.fails(4, arguments);
        assert!(refused.contains("/keeper: requires a block of type `zoo-keeper`"), "{refused}");
        assert!(refused.contains("block `zoo-keeper/ada` is deleted"), "{refused}");
        assert!(refused.contains("restore `zoo-keeper/ada` first"), "{refused}");
    }
    yard.ok(&["restore", "zoo-keeper/ada"]);
    yard.ok(&["rollback", "zoo-cage/cat@1"]);
    assert_eq!(look(yard, "zoo-cage/cat")["keeper"], json!("Ada"));
}

fn a_reference_to_a_type_that_is_not_installed_says_how_to_install_it(yard: &TestYard) {
    for (flag, wanted) in [
        ("papers=vault-secret/papers", "/papers: requires a block that implements `secret-store`"),
        ("keeper=vault-secret/papers", "/keeper: requires a block of type `zoo-keeper`"),
    ] {
        let refused = yard.fails(4, &["create", "zoo-cage/cat", "--set", "animal=cat", "--set", flag]);
        assert!(refused.contains(wanted), "{refused}");
        assert!(refused.contains("no installed bundle has a block type `vault-secret`"), "{refused}");
        assert!(refused.contains("install the bundle that defines it"), "{refused}");
    }
}

fn a_source_that_is_a_block_is_checked_like_a_reference(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    for (source, told) in [
        ("block:zoo-safe/none", "block `zoo-safe/none` not found"),
        ("block:zoo-keeper/ada", "`zoo-keeper/ada` is a block of type `zoo-keeper`"),
    ] {
        let refused = yard.fails(4, &["set", "zoo-keeper/ada", "--secret", &format!("badge={source}")]);
        assert!(refused.contains("/badge: requires a block that implements `secret-store`"), "{refused}");
        assert!(refused.contains(told), "{refused}");
    }
    yard.create("zoo-safe/one", &json!({ "content": "content-secret" }));
    yard.ok(&["set", "zoo-keeper/ada", "--secret", "badge=block:zoo-safe/one"]);
    assert_eq!(yard.ok(&["reveal", "zoo-keeper/ada", "badge", "--yes"]), "content-secret");
    let refused = yard.fails(6, &["delete", "zoo-safe/one"]);
    assert!(refused.contains("`zoo-keeper/ada` (`badge`) depends on it"), "{refused}");
}

fn a_dependency_cannot_be_deleted(yard: &TestYard) {
    zoo(yard);
    let guarded = json!({ "how": "guarded", "by": block("zoo-keeper/bob") });
    yard.create("zoo-cage/den", &json!({ "animal": "fox", "lock": guarded }));
    expect![[r#"
        error: block `zoo-keeper/bob` is in use: `zoo-cage/den` (`lock.by`), `zoo-cage/garden` (`keeper`), `zoo-cage/house` (`helpers.1`) depend on it
          hint: change these blocks so that they build on another block, or delete them first
    "#]]
    .assert_eq(&yard.fails(6, &["delete", "zoo-keeper/bob"]));
    let told: Value =
        serde_json::from_str(&yard.run(&["delete", "zoo-cage/house", "--json"]).stderr).expect("an error as JSON");
    assert_eq!(told["error"]["details"], json!({ "used_by": [{ "address": "zoo-cage/box", "field": "inside" }] }));
    // Deleted in order from the outermost dependent, all blocks can be deleted.
    for address in ["zoo-cage/den", "zoo-cage/box", "zoo-cage/house", "zoo-cage/garden", "zoo-keeper/bob"] {
        yard.ok(&["delete", address]);
    }
    assert_eq!(yard.addresses(&[]), ["zoo-keeper/ada"]);
}

fn old_revisions_and_deleted_blocks_hold_nothing(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    for cage in ["zoo-cage/cat", "zoo-cage/dog"] {
        yard.create(cage, &json!({ "animal": "x", "keeper": block("zoo-keeper/ada") }));
    }
    yard.ok(&["set", "zoo-cage/cat", "--unset", "keeper"]);
    yard.fails(6, &["delete", "zoo-keeper/ada"]);
    yard.ok(&["delete", "zoo-cage/dog"]);
    assert_eq!(yard.json(&["show", "zoo-keeper/ada"])["used_by"], json!([]));
    yard.ok(&["delete", "zoo-keeper/ada"]);
    assert_eq!(yard.run(&["doctor"]).code, 0);
}

fn an_old_revision_says_what_it_misses(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-cage/cat", &json!({ "animal": "cat", "keeper": block("zoo-keeper/ada") }));
    yard.ok(&["set", "zoo-cage/cat", "--unset", "keeper"]);
    yard.ok(&["delete", "zoo-keeper/ada"]);
    assert_eq!(yard.config("zoo-cage/cat@1")["keeper"], block("zoo-keeper/ada"));
    expect![[r#"
        error: block `zoo-keeper/ada` is deleted
          caused by: block `zoo-cage/cat` depends on it (field `keeper`)
          hint: run `blockyard restore zoo-keeper/ada`
    "#]]
    .assert_eq(&yard.fails(3, &["call", "zoo-cage/cat@1", "look"]));
    assert_eq!(look(yard, "zoo-cage/cat")["keeper"], json!(null));
}

fn a_block_is_restored_after_what_it_builds_on(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-cage/cat", &json!({ "animal": "cat", "keeper": block("zoo-keeper/ada") }));
    yard.ok(&["delete", "zoo-cage/cat"]);
    yard.ok(&["delete", "zoo-keeper/ada"]);
    expect![[r#"
        error: block `zoo-cage/cat` depends on `zoo-keeper/ada`, which is deleted
          hint: run `blockyard restore zoo-keeper/ada`
    "#]]
    .assert_eq(&yard.fails(6, &["restore", "zoo-cage/cat"]));
    yard.ok(&["restore", "zoo-keeper/ada"]);
    yard.ok(&["restore", "zoo-cage/cat"]);
    assert_eq!(look(yard, "zoo-cage/cat")["keeper"], json!("Ada"));
    yard.fails(6, &["delete", "zoo-keeper/ada"]);
}

fn cycles_are_rejected_with_their_path(yard: &TestYard) {
    zoo(yard);
    for (block, flag, told) in [
        (
            "zoo-keeper/ada",
            "teacher=zoo-keeper/ada",
            "/teacher: would create a cycle of references: `zoo-keeper/ada` → `zoo-keeper/ada`\n",
        ),
        (
            "zoo-keeper/ada",
            "teacher=zoo-keeper/bob",
            "would create a cycle of references: `zoo-keeper/ada` → `zoo-keeper/bob` → `zoo-keeper/ada`\n",
        ),
        (
            "zoo-cage/garden",
            "inside=zoo-cage/box",
            "/inside: would create a cycle of references: \
             `zoo-cage/garden` → `zoo-cage/box` → `zoo-cage/house` → `zoo-cage/garden`\n",
        ),
    ] {
        let refused = yard.fails(4, &["set", block, "--set", flag]);
        assert!(refused.contains(told), "{refused}");
        assert_eq!(yard.json(&["show", block])["newest"], json!(1));
    }
    // A secret source can close a cycle as well.
    yard.create("zoo-safe/one", &json!({ "content": "content-secret" }));
    yard.create("zoo-safe/two", &json!({ "content": { "$source": "block:zoo-safe/one" } }));
    let refused = yard.fails(4, &["set", "zoo-safe/one", "--secret", "content=block:zoo-safe/two"]);
    assert!(
        refused.contains("would create a cycle of references: `zoo-safe/one` → `zoo-safe/two` → `zoo-safe/one`"),
        "{refused}"
    );
}

fn a_rollback_that_would_close_a_circle_is_refused(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob", "teacher": block("zoo-keeper/ada") }));
    yard.ok(&["set", "zoo-keeper/bob", "--unset", "teacher"]);
    yard.ok(&["set", "zoo-keeper/ada", "--set", "teacher=zoo-keeper/bob"]);
    let refused = yard.fails(4, &["rollback", "zoo-keeper/bob@1"]);
    assert!(
        refused.contains("would create a cycle of references: `zoo-keeper/bob` → `zoo-keeper/ada` → `zoo-keeper/bob`"),
        "{refused}"
    );
    assert_eq!(yard.json(&["call", "zoo-keeper/ada", "introduce"]), json!("Ada < Bob"));
}

fn of_two_saves_that_close_a_circle_together_one_is_refused(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-keeper/bob", &json!({ "name": "Bob" }));
    let saves = [
        spawn(yard, &["set", "zoo-keeper/ada", "--set", "teacher=zoo-keeper/bob"]),
        spawn(yard, &["set", "zoo-keeper/bob", "--set", "teacher=zoo-keeper/ada"]),
    ];
    let mut ends = saves.map(end);
    ends.sort_unstable();
    assert!(matches!(ends, [0, 4 | 6]), "{ends:?}");
    for keeper in ["zoo-keeper/ada", "zoo-keeper/bob"] {
        yard.ok(&["call", keeper, "introduce"]);
    }
}

fn no_block_references_a_block_during_its_deletion(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    let cages: Vec<String> = (0..4).map(|number| format!("zoo-cage/c{number}")).collect();
    let create =
        |cage: &String| spawn(yard, &["create", cage, "--set", "animal=cat", "--set", "keeper=zoo-keeper/ada"]);
    let mut waiting: Vec<Child> = cages[..2].iter().map(create).collect();
    let deletion = spawn(yard, &["delete", "zoo-keeper/ada"]);
    waiting.extend(cages[2..].iter().map(create));
    let made = waiting.into_iter().map(end).filter(|code| *code == 0).count();
    let deleted = end(deletion) == 0;
    // Either the block was in use and was not deleted, or it was deleted and no block uses it.
    assert_eq!(deleted, made == 0, "deleted: {deleted}, dependents: {made}");
    assert_eq!(yard.addresses(&["--type", "zoo-cage"]).len(), made);
    assert_eq!(yard.run(&["doctor"]).code, 0);
}

fn spawn(yard: &TestYard, arguments: &[&str]) -> Child {
    let mut command = yard.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
}

fn end(mut running: Child) -> i32 {
    running.wait().expect("it ends").code().unwrap_or(-1)
}
