//! History, differences and rollback.

use blockyard::{BlockFile, Reason, Revision, RevisionOrigin};
use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::{TestYard, at, document, file, rejected, secret, sourced, unset};

on_both!(
    history_lists_every_revision_and_its_changes,
    history_names_the_origin_of_each_revision,
    the_reason_of_a_change_is_recorded,
    a_reason_with_a_secret_is_rejected,
    a_rollback_is_a_new_revision_equal_to_the_old,
    a_difference_between_secrets_shows_no_value,
    only_blocks_of_one_type_are_compared,
);

async fn history(yard: &TestYard, address: &str) -> Value {
    serde_json::to_value(yard.yard.history(&at(address)).await.unwrap()).unwrap()
}

async fn diff(yard: &TestYard, before: &str, after: &str) -> Value {
    let diff = yard.yard.diff(&before.parse().unwrap(), &after.parse().unwrap()).await.unwrap();
    serde_json::to_value(diff).unwrap()
}

async fn full_cage(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    let config = json!({
        "animal": "cat", "keeper": {"$block": "zoo-keeper/ada"},
        "spares": ["spare-secret-0", "spare-secret-1"], "doors": {"back": "back-secret", "front": "front-secret"},
        "place": {"house": "north", "code": "code-secret"}, "lock": {"how": "key", "pattern": "pattern-secret"},
    });
    yard.create("zoo-cage/cat", config).await;
}

async fn history_lists_every_revision_and_its_changes(yard: &TestYard) {
    full_cage(yard).await;
    yard.set("zoo-cage/cat", json!({"place": {"house": "south"}, "capacity": 1})).await;
    yard.change("zoo-cage/cat", secret("spares.1", "spare-secret-2")).await.unwrap();
    let patch = blockyard::Patch { secrets: sourced("place.code", "env:CODE").secrets, ..unset(&["lock"]) };
    yard.change("zoo-cage/cat", patch).await.unwrap();
    yard.yard.delete(&at("zoo-cage/cat")).await.unwrap();
    let history = history(yard, "zoo-cage/cat").await;
    let changed: Vec<Value> =
        history.as_array().unwrap().iter().map(|revision| json!([revision["revision"], revision["changed"]])).collect();
    assert_eq!(
        json!(changed),
        json!([
            [4, ["lock", "place.code (secret)"]],
            [3, ["spares.1 (secret)"]],
            [2, ["capacity", "place.house"]],
            [1, []],
        ])
    );
    assert!(!history.to_string().contains("-secret"), "{history}");
}

/// Returns number, origin and reason of each revision, newest first.
async fn origins(yard: &TestYard, address: &str) -> Vec<(u64, String, Option<String>)> {
    let history = yard.yard.history(&at(address)).await.unwrap().into_iter();
    history.map(|view| (view.revision, view.origin.unwrap().description(), view.reason)).collect()
}

/// Plans a change of the name of the keeper `ada`.
async fn named(yard: &TestYard, name: &str) -> blockyard::Plan {
    let text = file(&format!("[blocks.\"zoo-keeper/ada\"]\nname = \"{name}\"\n"));
    yard.yard.plan(&BlockFile::parse(&text).unwrap()).await.unwrap()
}

async fn history_names_the_origin_of_each_revision(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.set("zoo-keeper/ada", json!({"name": "Ida"})).await;
    yard.yard.rollback(&at("zoo-keeper/ada"), Revision::FIRST).await.unwrap();
    yard.yard.apply(named(yard, "Eva").await, &mut |_| ()).await.unwrap();
    let edited = named(yard, "Eve").await.with_origin(RevisionOrigin::Edit);
    yard.yard.apply(edited, &mut |_| ()).await.unwrap();
    let history = history(yard, "zoo-keeper/ada").await;
    let origins: Vec<Value> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|revision| json!([revision["revision"], revision["action"], revision["rollback_of"], revision["author"]]))
        .collect();
    assert_eq!(
        json!(origins),
        json!([
            [5, "edit", null, "ada@zoo"],
            [4, "apply", null, "ada@zoo"],
            [3, "rollback", 1, "ada@zoo"],
            [2, "set", null, "ada@zoo"],
            [1, "create", null, "ada@zoo"],
        ])
    );
    let original = "zoo-keeper/ada@2".parse().unwrap();
    yard.yard.copy(&original, &at("zoo-keeper/ida"), blockyard::Patch::default()).await.unwrap();
    let copied = yard.yard.history(&at("zoo-keeper/ida")).await.unwrap().remove(0);
    assert_eq!((copied.action.as_deref(), copied.copied_from.as_deref()), (Some("copy"), Some("zoo-keeper/ada@2")));
    assert_eq!(copied.origin, Some(RevisionOrigin::Copy(original)));
    // The origin of a block that a file creates is the file.
    yard.apply("[blocks.\"zoo-keeper/eve\"]\nname = \"Eve\"\n").await;
    assert_eq!(yard.yard.history(&at("zoo-keeper/eve")).await.unwrap()[0].origin, Some(RevisionOrigin::Apply(None)));
}

async fn the_reason_of_a_change_is_recorded(yard: &TestYard) {
    let with = |reason: &str| yard.yard.with_reason(Some(Reason::new(reason).unwrap()));
    let ada = at("zoo-keeper/ada");
    let named_ada = document(json!({"name": "Ada", "badge": "badge-secret"}));
    with("new keeper").create(&ada, named_ada).await.unwrap();
    with("married").set(&ada, document(json!({"name": "Ida"})), None).await.unwrap();
    yard.set("zoo-keeper/ada", json!({"name": "Eda"})).await;
    with("not married").rollback(&ada, Revision::FIRST).await.unwrap();
    with("from the file").apply(named(yard, "Eva").await, &mut |_| ()).await.unwrap();
    with("left the zoo").delete(&ada).await.unwrap();
    with("is back").restore(&ada).await.unwrap();
    with("lost the badge").purge(&ada).await.unwrap();
    let reason = |text: &str| Some(text.to_owned());
    // A purge seals all revisions again, with their reasons.
    assert_eq!(
        origins(yard, "zoo-keeper/ada").await,
        [
            (5, "apply".to_owned(), reason("from the file")),
            (4, "rollback to 1".to_owned(), reason("not married")),
            (3, "set".to_owned(), None),
            (2, "set".to_owned(), reason("married")),
            (1, "create".to_owned(), reason("new keeper")),
        ]
    );
    let filter = blockyard::AuditFilter { subject: Some(ada.to_string()), ..blockyard::AuditFilter::default() };
    let lines = yard.yard.audit(&filter).await.unwrap().into_iter().rev();
    let reasons: Vec<Value> = lines
        .map(|line| {
            let detail: Value = serde_json::from_str(&line.detail).unwrap();
            json!([line.action, detail["reason"]])
        })
        .collect();
    assert_eq!(
        json!(reasons),
        json!([
            ["create", "new keeper"],
            ["set", "married"],
            ["set", null],
            ["rollback", "not married"],
            ["set", "from the file"],
            ["delete", "left the zoo"],
            ["restore", "is back"],
            ["purge", "lost the badge"],
        ])
    );
}

async fn a_reason_with_a_secret_is_rejected(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-canary-1"})).await;
    yard.change("zoo-keeper/ada", secret("badge", "badge-canary-2")).await.unwrap();
    let ada = at("zoo-keeper/ada");
    let with = |reason: &str| yard.yard.with_reason(Some(Reason::new(reason).unwrap()));
    let eve = || document(json!({"name": "Eve"}));
    for leak in ["badge-canary-2", "the badge is badge-canary-2!", "YmFkZ2UtY2FuYXJ5LTI="] {
        let leaking = with(leak);
        let file = "[blocks.\"zoo-keeper/new\"]\nname = \"New\"\n[blocks.\"zoo-keeper/ada\"]\nname = \"Eva\"\n";
        let plan = yard.yard.plan(&BlockFile::parse(&self::file(file)).unwrap()).await.unwrap();
        let refused = [
            leaking
                .create(&at("zoo-keeper/eve"), document(json!({"name": "Eve", "badge": "badge-canary-2"})))
                .await
                .map(drop),
            leaking.set(&ada, eve(), None).await.map(drop),
            leaking.copy(&ada.clone().into(), &at("zoo-keeper/eve"), blockyard::Patch::default()).await.map(drop),
            leaking.rollback(&ada, Revision::FIRST).await.map(drop),
            leaking.apply(plan, &mut |_| ()).await.map(drop),
            leaking.delete(&ada).await,
            leaking.purge(&ada).await.map(drop),
        ];
        for refused in refused {
            let refused = rejected(refused);
            assert!(refused.starts_with("invalid: the reason contains the secret `badge` of the block"), "{refused}");
            assert!(!refused.contains("canary"), "{refused}");
        }
    }
    // The secret that a change replaces, or that only an old revision contains.
    let replaced = with("no longer badge-canary-2").set(&ada, secret("badge", "badge-canary-3"), None).await;
    assert!(rejected(replaced).starts_with("invalid: "));
    assert!(rejected(with("was badge-canary-1").purge(&ada).await).starts_with("invalid: "));
    assert_eq!(yard.newest("zoo-keeper/ada").await, 2);
    assert_eq!(yard.addresses().await, ["zoo-keeper/ada"]);
    yard.no_file_contains("badge-canary");
}

async fn a_rollback_is_a_new_revision_equal_to_the_old(yard: &TestYard) {
    full_cage(yard).await;
    let first = yard.config("zoo-cage/cat").await;
    let patch =
        blockyard::Patch { set: blockyard::Patch::setting([("animal", "dog")]).set, ..unset(&["lock", "spares.0"]) };
    yard.change("zoo-cage/cat", patch).await.unwrap();
    let rollback = async || yard.yard.rollback(&at("zoo-cage/cat"), Revision::FIRST).await.unwrap();
    assert_eq!(rollback().await.map(Revision::number), Some(3));
    assert_eq!(yard.config("zoo-cage/cat").await, first);
    assert_eq!(yard.reveal("zoo-cage/cat", "spares.0").await, "spare-secret-0");
    assert_eq!(yard.reveal("zoo-cage/cat", "lock.pattern").await, "pattern-secret");
    assert_eq!(diff(yard, "zoo-cage/cat@1", "zoo-cage/cat").await["changes"], json!([]));
    assert_eq!(yard.config("zoo-cage/cat@2").await["animal"], json!("dog"));
    // The newest revision already is equal.
    assert_eq!(rollback().await, None);
    let missing = rejected(yard.yard.rollback(&at("zoo-cage/cat"), Revision::new(9).unwrap()).await);
    expect![[r#"
        not-found: block `zoo-cage/cat` has no revision 9; its newest is 3
    "#]]
    .assert_eq(&missing);
}

async fn a_difference_between_secrets_shows_no_value(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret-1"})).await;
    let patch =
        blockyard::Patch { set: blockyard::Patch::setting([("name", "Eve")]).set, ..secret("badge", "badge-secret-2") };
    yard.change("zoo-keeper/ada", patch).await.unwrap();
    yard.change("zoo-keeper/ada", sourced("badge", "env:BADGE")).await.unwrap();
    assert_eq!(
        diff(yard, "zoo-keeper/ada@2", "zoo-keeper/ada@1").await,
        json!({ "before": "zoo-keeper/ada@2", "after": "zoo-keeper/ada@1", "changes": [
            {"field": "badge", "change": "changed", "secret": true},
            {"field": "name", "change": "changed", "secret": false, "before": "Eve", "after": "Ada"},
        ]})
    );
    let changes = diff(yard, "zoo-keeper/ada@2", "zoo-keeper/ada@3").await["changes"].clone();
    assert!(changes.to_string().contains("env:BADGE") && !changes.to_string().contains("-secret"), "{changes}");
}

async fn only_blocks_of_one_type_are_compared(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "the-same-secret"})).await;
    yard.create("zoo-keeper/bob", json!({"name": "Bob", "badge": "the-same-secret"})).await;
    yard.create("zoo-cage/cat", json!({"animal": "cat"})).await;
    // Equal secrets are equal, although each is sealed differently.
    assert_eq!(
        diff(yard, "zoo-keeper/ada", "zoo-keeper/bob").await["changes"],
        json!([{"field": "name", "change": "changed", "secret": false, "before": "Ada", "after": "Bob"}])
    );
    let types = yard.yard.diff(&"zoo-keeper/ada".parse().unwrap(), &"zoo-cage/cat".parse().unwrap()).await;
    expect![[r#"
        usage: `zoo-keeper/ada` and `zoo-cage/cat` are of different types, `zoo-keeper` and `zoo-cage`
          hint: compare two revisions of one block, or two blocks of one type
    "#]]
    .assert_eq(&rejected(types));
}
