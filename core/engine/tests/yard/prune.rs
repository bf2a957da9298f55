//! Block files with a set: the deletion of blocks that the file does not contain any more.

use blockyard::{BlockFile, Plan, PlannedBlock, Reason};
use expect_test::expect;
use serde_json::json;

use crate::fixture::{TestYard, at, document, rejected};

on_both!(
    blocks_that_left_the_file_are_deleted,
    dependents_are_deleted_first,
    blocks_of_other_origins_are_not_deleted,
    blocks_of_another_file_are_not_deleted,
    a_block_in_use_prevents_the_plan,
    a_reference_that_the_file_removes_does_not_prevent_the_plan,
    a_file_without_a_set_is_rejected,
    a_block_that_changed_since_the_plan_is_not_deleted,
    deletions_have_the_reason_in_the_audit_trail,
);

/// Returns a block file of a set with these keepers.
fn keepers(set: &str, names: &[&str]) -> String {
    let blocks = names.iter().map(|name| format!("[blocks.\"zoo-keeper/{name}\"]\nname = \"{name}\"\n"));
    format!("version = 1\nset = \"{set}\"\n{}", blocks.collect::<String>())
}

async fn plan(yard: &TestYard, text: &str) -> Result<Plan, blockyard::Error> {
    yard.yard.plan_with_deletions(&BlockFile::parse(text)?).await
}

/// Plans with deletions, and applies the plan. Returns the changes, `ACTION ADDRESS`.
async fn prune(yard: &TestYard, text: &str) -> Vec<String> {
    let plan = plan(yard, text).await.unwrap();
    let planned = listed(plan.blocks().into_iter());
    let applied = yard.yard.apply(plan, &mut |_| ()).await.unwrap();
    assert_eq!(listed(applied.iter()), planned);
    planned.into_iter().filter(|line| !line.starts_with("Unchanged")).collect()
}

fn listed<'a>(blocks: impl Iterator<Item = &'a PlannedBlock>) -> Vec<String> {
    blocks.map(|block| format!("{:?} {}", block.action, block.address)).collect()
}

async fn blocks_that_left_the_file_are_deleted(yard: &TestYard) {
    assert_eq!(prune(yard, &keepers("zoo", &["ada", "bob"])).await, ["Create zoo-keeper/ada", "Create zoo-keeper/bob"]);
    // Without the deletion, a block that the file omits stays unchanged.
    let kept = yard.yard.plan(&BlockFile::parse(&keepers("zoo", &["ada"])).unwrap()).await.unwrap();
    assert!(!kept.changes_anything());
    let planned = plan(yard, &keepers("zoo", &["ada"])).await.unwrap();
    assert!(planned.changes_anything());
    assert_eq!(yard.addresses().await, ["zoo-keeper/ada", "zoo-keeper/bob"]);
    assert_eq!(prune(yard, &keepers("zoo", &["ada"])).await, ["Delete zoo-keeper/bob"]);
    assert_eq!(yard.addresses().await, ["zoo-keeper/ada"]);
    assert!(prune(yard, &keepers("zoo", &["ada"])).await.is_empty());
    // A tombstone remains.
    yard.yard.restore(&at("zoo-keeper/bob")).await.unwrap();
    assert_eq!(yard.config("zoo-keeper/bob").await, json!({"name": "bob"}));
    // An empty file deletes all blocks of the set, also after changes by hand.
    yard.set("zoo-keeper/ada", json!({"name": "Ida"})).await;
    assert_eq!(prune(yard, &keepers("zoo", &[])).await, ["Delete zoo-keeper/ada", "Delete zoo-keeper/bob"]);
}

async fn dependents_are_deleted_first(yard: &TestYard) {
    let chain = "[blocks.\"zoo-keeper/a\"]\nname = \"A\"\n\
                 [blocks.\"zoo-keeper/b\"]\nname = \"B\"\nteacher = \"zoo-keeper/a\"\n\
                 [blocks.\"zoo-keeper/c\"]\nname = \"C\"\nteacher = \"zoo-keeper/b\"\n\
                 [blocks.\"zoo-cage/a\"]\nanimal = \"cat\"\nkeeper = \"zoo-keeper/c\"\nhelpers = [\"zoo-keeper/a\"]\n";
    prune(yard, &(keepers("zoo", &[]) + chain)).await;
    assert_eq!(
        prune(yard, &keepers("zoo", &["d"])).await,
        [
            "Create zoo-keeper/d",
            "Delete zoo-cage/a",
            "Delete zoo-keeper/c",
            "Delete zoo-keeper/b",
            "Delete zoo-keeper/a"
        ]
    );
    assert_eq!(yard.addresses().await, ["zoo-keeper/d"]);
}

async fn blocks_of_other_origins_are_not_deleted(yard: &TestYard) {
    yard.create("zoo-keeper/by-hand", json!({"name": "by-hand"})).await;
    yard.apply("[blocks.\"zoo-keeper/no-set\"]\nname = \"no-set\"\n").await;
    prune(yard, &keepers("zoo", &["by-hand", "no-set", "own"])).await;
    let original = "zoo-keeper/own".parse().unwrap();
    yard.yard.copy(&original, &at("zoo-keeper/copied"), blockyard::Patch::default()).await.unwrap();
    // The file contained and changed them, but did not create them.
    let changed = keepers("zoo", &["by-hand", "no-set"]).replace("name = \"", "name = \"new ");
    assert_eq!(
        prune(yard, &changed).await,
        ["Change zoo-keeper/by-hand", "Change zoo-keeper/no-set", "Delete zoo-keeper/own"]
    );
    assert!(prune(yard, &keepers("zoo", &[])).await.is_empty());
    assert!(prune(yard, &keepers("other", &[])).await.is_empty());
    assert_eq!(yard.addresses().await, ["zoo-keeper/by-hand", "zoo-keeper/copied", "zoo-keeper/no-set"]);
}

async fn blocks_of_another_file_are_not_deleted(yard: &TestYard) {
    prune(yard, &keepers("north", &["ada", "bob", "cy"])).await;
    // They are moved to other files, which changes nothing in them.
    assert!(prune(yard, &keepers("south", &["ada"])).await.is_empty());
    assert!(
        yard.apply("[blocks.\"zoo-keeper/bob\"]\nname = \"bob\"\n").await.iter().all(|block| block.revision.is_none())
    );
    assert_eq!(prune(yard, &keepers("north", &[])).await, ["Delete zoo-keeper/cy"]);
    // The file that did not create a block does not delete it.
    assert!(prune(yard, &keepers("south", &[])).await.is_empty());
    // An edit does not belong to a file.
    let text = keepers("north", &["ada", "bob"]).replace("set = \"north\"\n", "").replace("name = \"", "name = \"new ");
    prune(yard, &keepers("north", &["ada", "bob"])).await;
    let edited = yard.yard.plan(&BlockFile::parse(&text).unwrap()).await.unwrap();
    yard.yard.apply(edited.with_origin(blockyard::RevisionOrigin::Edit), &mut |_| ()).await.unwrap();
    // They are back in the file that created them.
    assert_eq!(prune(yard, &keepers("north", &[])).await, ["Delete zoo-keeper/ada", "Delete zoo-keeper/bob"]);
}

async fn a_block_in_use_prevents_the_plan(yard: &TestYard) {
    prune(yard, &keepers("zoo", &["ada", "bob", "cy"])).await;
    yard.create("zoo-cage/cat", json!({"animal": "cat", "keeper": {"$block": "zoo-keeper/ada"}})).await;
    yard.create(
        "zoo-cage/dog",
        json!({"animal": "dog", "helpers": [{"$block": "zoo-keeper/ada"}, {"$block": "zoo-keeper/bob"}]}),
    )
    .await;
    let cy = keepers("zoo", &[]) + "[blocks.\"zoo-keeper/new\"]\nname = \"New\"\nteacher = \"zoo-keeper/cy\"\n";
    let refused = rejected(plan(yard, &cy).await);
    expect![[r#"
        conflict: the file does not contain blocks that other blocks depend on
          `zoo-keeper/ada`: required by `zoo-cage/cat` (`keeper`), `zoo-cage/dog` (`helpers.0`)
          `zoo-keeper/bob`: required by `zoo-cage/dog` (`helpers.1`)
          `zoo-keeper/cy`: required by `zoo-keeper/new` (`teacher`)
          hint: keep the blocks in the file, or change the dependent blocks first
          code: in-use used_by=[{"address":"zoo-cage/cat","field":"keeper"},{"address":"zoo-cage/dog","field":"helpers.0"},{"address":"zoo-cage/dog","field":"helpers.1"},{"address":"zoo-keeper/new","field":"teacher"}]
    "#]]
    .assert_eq(&refused);
    // A block that begins to depend on it after the plan prevents the deletion.
    yard.yard.delete(&at("zoo-cage/cat")).await.unwrap();
    yard.yard.delete(&at("zoo-cage/dog")).await.unwrap();
    let late = plan(yard, &keepers("zoo", &["bob", "cy"])).await.unwrap();
    yard.create("zoo-cage/late", json!({"animal": "owl", "keeper": {"$block": "zoo-keeper/ada"}})).await;
    let refused = rejected(yard.yard.apply(late, &mut |_| ()).await);
    assert!(refused.starts_with("conflict: block `zoo-keeper/ada` is in use: `zoo-cage/late` (`keeper`)"), "{refused}");
    assert_eq!(yard.config("zoo-keeper/ada").await, json!({"name": "ada"}));
}

async fn a_reference_that_the_file_removes_does_not_prevent_the_plan(yard: &TestYard) {
    let cage =
        |keeper: &str| format!("[blocks.\"zoo-cage/cat\"]\nanimal = \"cat\"\nkeeper = \"zoo-keeper/{keeper}\"\n");
    prune(yard, &(keepers("zoo", &["ada"]) + &cage("ada"))).await;
    assert_eq!(
        prune(yard, &(keepers("zoo", &["bob"]) + &cage("bob"))).await,
        ["Create zoo-keeper/bob", "Change zoo-cage/cat", "Delete zoo-keeper/ada"]
    );
}

async fn a_file_without_a_set_is_rejected(yard: &TestYard) {
    let refused = async |text: &str| rejected(plan(yard, text).await);
    expect![[r#"
        invalid: the file names no set, so the blocks that it created are not known
          hint: add `set = "NAME"` below `version = 1`; it applies to blocks that are created from then on
    "#]]
    .assert_eq(&refused("version = 1\n").await);
    expect![[r#"
        invalid: set name `The Zoo` has the character `T` at position 1; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit
    "#]]
    .assert_eq(&refused(&keepers("The Zoo", &[])).await);
    expect![[r"
        invalid: `set` in the file must be a string
    "]]
    .assert_eq(&refused("version = 1\nset = [\"zoo\"]\n").await);
}

async fn a_block_that_changed_since_the_plan_is_not_deleted(yard: &TestYard) {
    prune(yard, &keepers("zoo", &["ada", "bob"])).await;
    let before = plan(yard, &keepers("zoo", &[])).await.unwrap();
    yard.set("zoo-keeper/bob", json!({"name": "Bob"})).await;
    let refused = rejected(yard.yard.apply(before, &mut |_| ()).await);
    expect![[r"
        conflict: block `zoo-keeper/bob` was changed since the plan was made
          hint: plan again; blocks that were already applied are retained
    "]]
    .assert_eq(&refused);
    assert_eq!(yard.addresses().await, ["zoo-keeper/bob"]);
    let again = plan(yard, &keepers("zoo", &[])).await.unwrap();
    yard.yard.delete(&at("zoo-keeper/bob")).await.unwrap();
    assert!(rejected(yard.yard.apply(again, &mut |_| ()).await).starts_with("conflict: block `zoo-keeper/bob` was"));
}

async fn deletions_have_the_reason_in_the_audit_trail(yard: &TestYard) {
    prune(yard, &keepers("zoo", &["ada"])).await;
    yard.yard.set(&at("zoo-keeper/ada"), document(json!({"badge": "badge-canary"})), None).await.unwrap();
    let with = |reason: &str| yard.yard.with_reason(Some(Reason::new(reason).unwrap()));
    let before = plan(yard, &keepers("zoo", &["bob"])).await.unwrap();
    let refused = rejected(with("was badge-canary").apply(before, &mut |_| ()).await);
    assert!(refused.starts_with("invalid: the reason contains the secret `badge`"), "{refused}");
    assert_eq!(yard.addresses().await, ["zoo-keeper/ada"]);
    let again = plan(yard, &keepers("zoo", &["bob"])).await.unwrap();
    with("ada left").apply(again, &mut |_| ()).await.unwrap();
    let lines = yard.yard.audit(&blockyard::AuditFilter::default()).await.unwrap();
    let line = format!("{} {} {}", lines[0].action, lines[0].subject, lines[0].detail);
    expect![[r#"delete zoo-keeper/ada {"by":"apply","reason":"ada left","revision":2,"set":"zoo"}"#]].assert_eq(&line);
}
