//! The database rejects changes to what is permanent, whichever program makes them.

use blockyard_model::Pointer;
use blockyard_store::YardLocation;

use crate::fixture::{TestStore, at};

on_both!(
    revisions_are_immutable,
    references_are_immutable,
    names_are_permanent,
    the_audit_trail_is_append_only,
    a_seal_may_be_replaced,
    tables_are_not_emptied,
    rows_are_not_replaced,
);

async fn prepared(yard: &TestStore) {
    yard.create("zoo/leo", r#"{"n":1}"#, &[]).await.unwrap();
    yard.create("zoo/mia", "{}", &[("/x", "zoo/leo")]).await.unwrap();
}

/// Runs each statement, which the database must reject with this message.
async fn all_rejected(yard: &TestStore, message: &str, statements: &[&str]) {
    prepared(yard).await;
    for statement in statements {
        assert_eq!(yard.bypass(statement).await, Err(message.to_owned()), "{statement}");
    }
    unchanged(yard).await;
}

/// Checks that the blocks and the audit trail are those of [`prepared`].
async fn unchanged(yard: &TestStore) {
    assert_eq!(yard.read("zoo/leo").await.config_text, r#"{"n":1}"#);
    assert_eq!(yard.trail().await, ["install zoo", "create zoo/leo", "create zoo/mia"]);
    let users = yard.store.users_of(&at("zoo/leo")).await.unwrap();
    assert_eq!(users, [(at("zoo/mia"), Pointer::new("/x"))]);
    let chain = yard.store.check_audit().await.unwrap();
    assert_eq!((chain.lines, chain.broken), (3, None));
}

/// Runs a statement, which one of the guards must reject.
async fn guarded(yard: &TestStore, statement: &str) {
    let message = yard.bypass(statement).await.expect_err(statement);
    let guards = ["revisions are immutable", "names are for ever", "the audit trail is append-only"];
    assert!(guards.contains(&message.as_str()), "{statement}: {message}");
}

async fn revisions_are_immutable(yard: &TestStore) {
    let statements = [
        "UPDATE revisions SET config = '{}'",
        "UPDATE revisions SET author = 'x'",
        "UPDATE revisions SET created_at = 0",
        "UPDATE revisions SET origin = 'edit'",
        "UPDATE revisions SET reason = NULL",
        "UPDATE revisions SET revision = 7",
        "UPDATE revisions SET block = 7",
        "UPDATE revisions SET bundle = checksum",
        "UPDATE revisions SET checksum = bundle",
        "DELETE FROM revisions",
    ];
    all_rejected(yard, "revisions are immutable", &statements).await;
}

async fn references_are_immutable(yard: &TestStore) {
    let statements = ["UPDATE block_references SET pointer = '/y'", "DELETE FROM block_references"];
    all_rejected(yard, "revisions are immutable", &statements).await;
}

async fn names_are_permanent(yard: &TestStore) {
    let statements = ["UPDATE blocks SET name = 'tom'", "UPDATE blocks SET type = 'zoo-keeper'", "DELETE FROM blocks"];
    all_rejected(yard, "names are for ever", &statements).await;
}

async fn the_audit_trail_is_append_only(yard: &TestStore) {
    let statements = [
        "UPDATE audit SET actor = 'x'",
        "UPDATE audit SET at = 0 WHERE id = 1",
        "UPDATE audit SET chain = NULL",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
    ];
    all_rejected(yard, "the audit trail is append-only", &statements).await;
}

async fn a_seal_may_be_replaced(yard: &TestStore) {
    prepared(yard).await;
    assert_eq!(yard.bypass("UPDATE revisions SET seal = checksum").await, Ok(2));
}

async fn tables_are_not_emptied(yard: &TestStore) {
    prepared(yard).await;
    if let YardLocation::Postgres(_) = yard.location() {
        for table in ["revisions", "blocks", "audit"] {
            guarded(yard, &format!("TRUNCATE {table} CASCADE")).await;
        }
    }
    for table in ["revisions", "blocks", "audit"] {
        guarded(yard, &format!("DELETE FROM {table}")).await;
    }
    unchanged(yard).await;
}

/// Replacing a row deletes it, so it must be rejected as well.
async fn rows_are_not_replaced(yard: &TestStore) {
    prepared(yard).await;
    let statements = match yard.location() {
        YardLocation::Sqlite(_) => [
            "UPDATE OR REPLACE audit SET id = 1 WHERE id = 2",
            "INSERT OR REPLACE INTO audit SELECT * FROM audit",
            "REPLACE INTO revisions SELECT * FROM revisions",
            "INSERT OR REPLACE INTO blocks SELECT * FROM blocks",
        ],
        YardLocation::Postgres(_) => [
            "INSERT INTO audit SELECT * FROM audit ON CONFLICT (id) DO UPDATE SET actor = 'x'",
            "INSERT INTO revisions SELECT * FROM revisions ON CONFLICT (block, revision) DO UPDATE SET author = 'x'",
            "INSERT INTO blocks OVERRIDING SYSTEM VALUE SELECT * FROM blocks ON CONFLICT (id) DO UPDATE SET name = 'x'",
            "MERGE INTO audit USING (SELECT 1) AS one ON TRUE WHEN MATCHED THEN DELETE",
        ],
    };
    for statement in statements {
        guarded(yard, statement).await;
    }
    unchanged(yard).await;
}
