//! Blocks that depend on other blocks: changes visible to every dependent, validation on save,
//! protection against deletion.

use std::process::{Child, Stdio};

use blockyard_tests::{TestYard, on_both};
use expect_test::expect;
use serde_json::{Value, json};

on_both!(
    changed_child_is_visible_to_the_next_call_of_every_parent,
    every_level_of_references_can_be_shown_and_called,
    secret_of_a_child_is_available_to_its_parents,
    block_source_is_validated_like_a_reference,
    changed_reference_is_visible_to_the_next_call,
    deleted_dependency_error_names_the_restore_command,
    concurrent_saves_cannot_form_a_cycle,
    deletion_and_reference_cannot_both_succeed,
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

fn changed_child_is_visible_to_the_next_call_of_every_parent(yard: &TestYard) {
    zoo(yard);
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=Eve"]);
    assert_eq!(yard.json(&["call", "zoo-keeper/bob", "introduce"]), json!("Bob < Eve"));
    let result = look(yard, "zoo-cage/box");
    assert_eq!(result["inside"]["keeper"], json!("Eve"));
    assert_eq!(result["inside"]["helpers"], json!(["Eve", "Bob < Eve"]));
    assert_eq!(result["inside"]["inside"]["keeper"], json!("Bob < Eve"));
    // An old revision of a dependent also uses the newest revision of its dependency, but an old
    // revision of the dependency itself is unchanged.
    yard.ok(&["set", "zoo-cage/garden", "--unset", "keeper"]);
    assert_eq!(look(yard, "zoo-cage/garden")["keeper"], json!(null));
    assert_eq!(look(yard, "zoo-cage/garden@1")["keeper"], json!("Bob < Eve"));
    assert_eq!(yard.json(&["call", "zoo-keeper/ada@1", "introduce"]), json!("Ada"));
    assert_eq!(yard.json(&["show", "zoo-cage/box"])["newest"], json!(1));
}

fn every_level_of_references_can_be_shown_and_called(yard: &TestYard) {
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

fn secret_of_a_child_is_available_to_its_parents(yard: &TestYard) {
    zoo(yard);
    let guarded = json!({ "how": "guarded", "by": block("zoo-keeper/ada") });
    yard.create("zoo-cage/den", &json!({ "animal": "fox", "lock": guarded, "keeper": block("zoo-keeper/ada") }));
    // Secrets of three characters are too short to be masked in a result.
    assert_eq!(yard.json(&["call", "zoo-cage/den", "open-all"]), json!(["k-1", "k-1"]));
    let saved = yard.run_with_input(&["set", "zoo-keeper/ada", "--secret", "badge=-"], "k-2");
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    assert_eq!(yard.json(&["call", "zoo-cage/den", "open-all"]), json!(["k-2", "k-2"]));
    for arguments in [&["show", "zoo-cage/den", "--json"][..], &["call", "zoo-cage/den", "look", "--json"]] {
        let output = yard.ok(arguments);
        assert!(!output.contains("k-2"), "{output}");
    }
}

fn block_source_is_validated_like_a_reference(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    for (source, message) in [
        ("block:zoo-safe/none", "block `zoo-safe/none` not found"),
        ("block:zoo-keeper/ada", "`zoo-keeper/ada` is a block of type `zoo-keeper`"),
    ] {
        let refused = yard.fails(4, &["set", "zoo-keeper/ada", "--secret", &format!("badge={source}")]);
        assert!(refused.contains("/badge: requires a block that implements `secret-store`"), "{refused}");
        assert!(refused.contains(message), "{refused}");
    }
    yard.create("zoo-safe/one", &json!({ "content": "content-secret" }));
    yard.ok(&["set", "zoo-keeper/ada", "--secret", "badge=block:zoo-safe/one"]);
    assert_eq!(yard.ok(&["reveal", "zoo-keeper/ada", "badge", "--yes"]), "content-secret");
    let refused = yard.fails(6, &["delete", "zoo-safe/one"]);
    assert!(refused.contains("`zoo-keeper/ada` (`badge`) depends on it"), "{refused}");
}

fn changed_reference_is_visible_to_the_next_call(yard: &TestYard) {
    zoo(yard);
    yard.create("zoo-keeper/cy", &json!({ "name": "Cy" }));
    yard.create("zoo-safe/one", &json!({ "content": "content-secret" }));
    yard.ok(&["set", "zoo-cage/house", "--set", "helpers.1=zoo-keeper/cy"]);
    assert_eq!(look(yard, "zoo-cage/house")["helpers"], json!(["Ada", "Cy"]));
    yard.ok(&["set", "zoo-cage/house", "--unset", "helpers.0", "--set", "papers=zoo-safe/one"]);
    let seen = look(yard, "zoo-cage/house");
    assert_eq!([&seen["keeper"], &seen["helpers"]], [&json!("Ada"), &json!(["Cy"])]);
    assert_eq!(yard.config("zoo-cage/house")["papers"], block("zoo-safe/one"));
    yard.ok(&["set", "zoo-keeper/bob", "--set", "teacher=zoo-keeper/cy"]);
    assert_eq!(yard.json(&["call", "zoo-keeper/bob", "introduce"]), json!("Bob < Cy"));
    assert_eq!(look(yard, "zoo-cage/house")["inside"]["keeper"], json!("Bob < Cy"));
}

fn deleted_dependency_error_names_the_restore_command(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    yard.create("zoo-cage/cat", &json!({ "animal": "cat", "keeper": block("zoo-keeper/ada") }));
    yard.ok(&["set", "zoo-cage/cat", "--unset", "keeper"]);
    yard.ok(&["delete", "zoo-keeper/ada"]);
    expect![[r#"
        error: block `zoo-keeper/ada` is deleted
          hint: run `blockyard restore zoo-keeper/ada`
    "#]]
    .assert_eq(&yard.fails(3, &["call", "zoo-keeper/ada", "introduce"]));
    expect![[r#"
        error: block `zoo-keeper/ada` is deleted
          caused by: block `zoo-cage/cat` depends on it (field `keeper`)
          hint: run `blockyard restore zoo-keeper/ada`
    "#]]
    .assert_eq(&yard.fails(3, &["call", "zoo-cage/cat@1", "look"]));
    assert_eq!(look(yard, "zoo-cage/cat")["keeper"], json!(null));

    yard.ok(&["restore", "zoo-keeper/ada"]);
    yard.ok(&["rollback", "zoo-cage/cat@1"]);
    assert_eq!(look(yard, "zoo-cage/cat")["keeper"], json!("Ada"));
    yard.ok(&["delete", "zoo-cage/cat"]);
    yard.ok(&["delete", "zoo-keeper/ada"]);
    expect![[r#"
        error: block `zoo-cage/cat` depends on `zoo-keeper/ada`, which is deleted
          hint: run `blockyard restore zoo-keeper/ada`
    "#]]
    .assert_eq(&yard.fails(6, &["restore", "zoo-cage/cat"]));
}

fn concurrent_saves_cannot_form_a_cycle(yard: &TestYard) {
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

fn deletion_and_reference_cannot_both_succeed(yard: &TestYard) {
    yard.create("zoo-keeper/ada", &json!({ "name": "Ada" }));
    let cages: Vec<String> = (0..4).map(|number| format!("zoo-cage/c{number}")).collect();
    let create =
        |cage: &String| spawn(yard, &["create", cage, "--set", "animal=cat", "--set", "keeper=zoo-keeper/ada"]);
    let mut waiting: Vec<Child> = cages[..2].iter().map(create).collect();
    let deletion = spawn(yard, &["delete", "zoo-keeper/ada"]);
    waiting.extend(cages[2..].iter().map(create));
    let created = waiting.into_iter().map(end).filter(|code| *code == 0).count();
    let deleted = end(deletion) == 0;
    // Either the block was in use and was not deleted, or it was deleted and no block uses it.
    assert_eq!(deleted, created == 0, "deleted: {deleted}, dependents: {created}");
    assert_eq!(yard.addresses(&["--type", "zoo-cage"]).len(), created);
    assert_eq!(yard.run(&["doctor"]).code, 0);
}

fn spawn(yard: &TestYard, arguments: &[&str]) -> Child {
    let mut command = yard.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
}

fn end(mut running: Child) -> i32 {
    running.wait().expect("it ends").code().unwrap_or(-1)
}
