//! Blocks that depend on other blocks: validation on save, cycles, protection against deletion.

use expect_test::expect;
use serde_json::json;

use crate::fixture::{TestYard, at, block, document, rejected, setting, sourced, unset};

on_both!(
    replacing_one_of_two_references_leaves_the_other,
    a_reference_that_does_not_fit_is_reported_with_both_types,
    a_reference_to_a_deleted_block_is_rejected,
    a_reference_to_an_unknown_type_names_the_remedy,
    a_dependency_is_not_deleted,
    old_revisions_and_deleted_blocks_protect_nothing,
    an_old_revision_reports_its_missing_dependency,
    a_block_is_restored_after_its_dependencies,
    cycles_are_rejected_with_their_path,
    a_rollback_that_would_form_a_cycle_is_rejected,
);

/// Creates a cage in a house in a garden, and two keepers, one of whom is the other's teacher.
async fn zoo(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    yard.create("zoo-keeper/bob", json!({"name": "Bob", "teacher": block("zoo-keeper/ada")})).await;
    yard.create("zoo-cage/garden", json!({"animal": "garden", "keeper": block("zoo-keeper/bob")})).await;
    let house = json!({
        "animal": "house", "inside": block("zoo-cage/garden"), "keeper": block("zoo-keeper/ada"),
        "helpers": [block("zoo-keeper/ada"), block("zoo-keeper/bob")],
    });
    yard.create("zoo-cage/house", house).await;
    yard.create("zoo-cage/box", json!({"animal": "cat", "inside": block("zoo-cage/house")})).await;
}

/// Creates a cage whose keeper is Ada.
async fn cat_of_ada(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.create("zoo-cage/cat", json!({"animal": "cat", "keeper": block("zoo-keeper/ada")})).await;
}

async fn delete(yard: &TestYard, address: &str) {
    yard.yard.delete(&at(address)).await.unwrap();
}

async fn restore(yard: &TestYard, address: &str) {
    yard.yard.restore(&at(address)).await.unwrap();
}

async fn replacing_one_of_two_references_leaves_the_other(yard: &TestYard) {
    zoo(yard).await;
    yard.create("zoo-keeper/cy", json!({"name": "Cy"})).await;
    let (ada, bob, cy) = (block("zoo-keeper/ada"), block("zoo-keeper/bob"), block("zoo-keeper/cy"));
    yard.change("zoo-cage/house", setting("keeper", cy.clone())).await.unwrap();
    let config = yard.config("zoo-cage/house").await;
    assert_eq!((&config["keeper"], &config["helpers"]), (&cy, &json!([ada, bob])));
    yard.change("zoo-cage/house", setting("helpers.1", cy.clone())).await.unwrap();
    assert_eq!(yard.config("zoo-cage/house").await["helpers"], json!([ada, cy]));
    yard.change("zoo-cage/house", unset(&["helpers.0"])).await.unwrap();
    let config = yard.config("zoo-cage/house").await;
    assert_eq!((&config["keeper"], &config["helpers"]), (&cy, &json!([cy])));
    assert_eq!(config["inside"], block("zoo-cage/garden"));
    assert_eq!(yard.used_by("zoo-keeper/ada").await, ["zoo-keeper/bob teacher"]);
}

async fn a_reference_that_does_not_fit_is_reported_with_both_types(yard: &TestYard) {
    zoo(yard).await;
    let wrong = json!({
        "animal": "dog", "keeper": block("zoo-keeper/adda"), "inside": block("zoo-keeper/ada"),
        "papers": block("zoo-keeper/bob"), "lock": {"how": "guarded", "by": block("zoo-cage/box")},
        "helpers": [block("zoo-safe/one"), block("Ada"), block("zoo-keeper/ada@1"), block("zoo-keeper/ada"),
                    {"$block": "zoo-keeper/ada", "revision": 1}, "zoo-keeper/ada"],
    });
    expect![[r#"
        invalid: block `zoo-cage/dog` is not valid
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
    .assert_eq(&rejected(yard.try_create("zoo-cage/dog", wrong).await));
    assert!(!yard.addresses().await.contains(&"zoo-cage/dog".to_owned()));
    let refused = rejected(yard.change("zoo-cage/box", setting("papers", block("zoo-keeper/ada"))).await);
    assert!(refused.contains("/papers: requires a block that implements `secret-store`"), "{refused}");
    yard.create("zoo-safe/one", json!({"content": "content-secret"})).await;
    yard.change("zoo-cage/box", setting("papers", block("zoo-safe/one"))).await.unwrap();
    assert_eq!(yard.config("zoo-cage/box").await["papers"], block("zoo-safe/one"));
}

async fn a_reference_to_a_deleted_block_is_rejected(yard: &TestYard) {
    cat_of_ada(yard).await;
    yard.change("zoo-cage/cat", unset(&["keeper"])).await.unwrap();
    delete(yard, "zoo-keeper/ada").await;
    let keeper = json!({"animal": "dog", "keeper": block("zoo-keeper/ada")});
    for refused in [
        rejected(yard.try_create("zoo-cage/dog", keeper.clone()).await),
        rejected(yard.change("zoo-cage/cat", document(keeper)).await),
        rejected(yard.yard.rollback(&at("zoo-cage/cat"), blockyard::Revision::FIRST).await),
    ] {
        assert!(refused.starts_with("invalid: "), "{refused}");
        assert!(refused.contains("/keeper: requires a block of type `zoo-keeper`"), "{refused}");
        assert!(refused.contains("block `zoo-keeper/ada` is deleted"), "{refused}");
        assert!(refused.contains("restore `zoo-keeper/ada` first"), "{refused}");
    }
    restore(yard, "zoo-keeper/ada").await;
    yard.yard.rollback(&at("zoo-cage/cat"), blockyard::Revision::FIRST).await.unwrap();
    assert_eq!(yard.config("zoo-cage/cat").await["keeper"], block("zoo-keeper/ada"));
}

async fn a_reference_to_an_unknown_type_names_the_remedy(yard: &TestYard) {
    for (field, expected) in [
        ("papers", "/papers: requires a block that implements `secret-store`"),
        ("keeper", "/keeper: requires a block of type `zoo-keeper`"),
    ] {
        let config = json!({"animal": "cat", field: block("vault-secret/papers")});
        let refused = rejected(yard.try_create("zoo-cage/cat", config).await);
        assert!(refused.starts_with("invalid: ") && refused.contains(expected), "{refused}");
        assert!(refused.contains("no installed bundle has a block type `vault-secret`"), "{refused}");
        assert!(refused.contains("install the bundle that defines it"), "{refused}");
    }
}

async fn a_dependency_is_not_deleted(yard: &TestYard) {
    zoo(yard).await;
    let guarded = json!({"how": "guarded", "by": block("zoo-keeper/bob")});
    yard.create("zoo-cage/den", json!({"animal": "fox", "lock": guarded})).await;
    expect![[r#"
        conflict: block `zoo-keeper/bob` is in use: `zoo-cage/den` (`lock.by`), `zoo-cage/garden` (`keeper`), `zoo-cage/house` (`helpers.1`) depend on it
          hint: change these blocks so that they build on another block, or delete them first
          code: in-use used_by=[{"address":"zoo-cage/den","field":"lock.by"},{"address":"zoo-cage/garden","field":"keeper"},{"address":"zoo-cage/house","field":"helpers.1"}]
    "#]]
    .assert_eq(&rejected(yard.yard.delete(&at("zoo-keeper/bob")).await));
    // Deleted in order from the outermost dependent, all blocks can be deleted.
    for address in ["zoo-cage/den", "zoo-cage/box", "zoo-cage/house", "zoo-cage/garden", "zoo-keeper/bob"] {
        delete(yard, address).await;
    }
    assert_eq!(yard.addresses().await, ["zoo-keeper/ada"]);
}

async fn old_revisions_and_deleted_blocks_protect_nothing(yard: &TestYard) {
    cat_of_ada(yard).await;
    yard.create("zoo-cage/dog", json!({"animal": "dog", "keeper": block("zoo-keeper/ada")})).await;
    yard.change("zoo-cage/cat", unset(&["keeper"])).await.unwrap();
    assert!(rejected(yard.yard.delete(&at("zoo-keeper/ada")).await).starts_with("conflict: "));
    delete(yard, "zoo-cage/dog").await;
    assert!(yard.used_by("zoo-keeper/ada").await.is_empty());
    delete(yard, "zoo-keeper/ada").await;
    let config = crate::fixture::config(yard.folder());
    let check = blockyard::Yard::doctor(yard.url(), config, &mut |_| ()).await;
    assert!(check.passed, "{check:?}");
}

async fn an_old_revision_reports_its_missing_dependency(yard: &TestYard) {
    cat_of_ada(yard).await;
    yard.change("zoo-cage/cat", unset(&["keeper"])).await.unwrap();
    delete(yard, "zoo-keeper/ada").await;
    assert_eq!(yard.config("zoo-cage/cat@1").await["keeper"], block("zoo-keeper/ada"));
    expect![[r#"
        not-found: block `zoo-keeper/ada` is deleted
          caused by: block `zoo-cage/cat` depends on it (field `keeper`)
          code: deleted address="zoo-keeper/ada"
    "#]]
    .assert_eq(&rejected(yard.yard.block("zoo-cage/cat@1").await));
    yard.yard.block("zoo-cage/cat").await.unwrap();
}

async fn a_block_is_restored_after_its_dependencies(yard: &TestYard) {
    cat_of_ada(yard).await;
    delete(yard, "zoo-cage/cat").await;
    delete(yard, "zoo-keeper/ada").await;
    expect![[r#"
        conflict: block `zoo-cage/cat` depends on `zoo-keeper/ada`, which is deleted
          code: deleted address="zoo-keeper/ada"
    "#]]
    .assert_eq(&rejected(yard.yard.restore(&at("zoo-cage/cat")).await));
    restore(yard, "zoo-keeper/ada").await;
    restore(yard, "zoo-cage/cat").await;
    yard.yard.block("zoo-cage/cat").await.unwrap();
    assert!(rejected(yard.yard.delete(&at("zoo-keeper/ada")).await).starts_with("conflict: "));
}

async fn cycles_are_rejected_with_their_path(yard: &TestYard) {
    zoo(yard).await;
    for (address, field, target, path) in [
        ("zoo-keeper/ada", "teacher", "zoo-keeper/ada", "`zoo-keeper/ada` → `zoo-keeper/ada`\n"),
        ("zoo-keeper/ada", "teacher", "zoo-keeper/bob", "`zoo-keeper/ada` → `zoo-keeper/bob` → `zoo-keeper/ada`\n"),
        (
            "zoo-cage/garden",
            "inside",
            "zoo-cage/box",
            "`zoo-cage/garden` → `zoo-cage/box` → `zoo-cage/house` → `zoo-cage/garden`\n",
        ),
    ] {
        let refused = rejected(yard.change(address, setting(field, block(target))).await);
        assert!(refused.starts_with("invalid: "), "{refused}");
        let problem = format!("/{field}: would create a cycle of references: {path}");
        assert!(refused.contains(&problem), "{refused}");
        assert_eq!(yard.newest(address).await, 1);
    }
    // A secret source can close a cycle as well.
    yard.create("zoo-safe/one", json!({"content": "content-secret"})).await;
    yard.create("zoo-safe/two", json!({"content": {"$source": "block:zoo-safe/one"}})).await;
    let refused = rejected(yard.change("zoo-safe/one", sourced("content", "block:zoo-safe/two")).await);
    let path = "would create a cycle of references: `zoo-safe/one` → `zoo-safe/two` → `zoo-safe/one`";
    assert!(refused.contains(path), "{refused}");
}

async fn a_rollback_that_would_form_a_cycle_is_rejected(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.create("zoo-keeper/bob", json!({"name": "Bob", "teacher": block("zoo-keeper/ada")})).await;
    yard.change("zoo-keeper/bob", unset(&["teacher"])).await.unwrap();
    yard.change("zoo-keeper/ada", setting("teacher", block("zoo-keeper/bob"))).await.unwrap();
    let refused = rejected(yard.yard.rollback(&at("zoo-keeper/bob"), blockyard::Revision::FIRST).await);
    let path = "would create a cycle of references: `zoo-keeper/bob` → `zoo-keeper/ada` → `zoo-keeper/bob`";
    assert!(refused.contains(path), "{refused}");
    yard.yard.block("zoo-keeper/ada").await.unwrap();
}
