//! `migrate`: conversion of a configuration from an older version of its type.

use blockyard_host::{HostError, Migrated, limits};
use serde_json::json;

use super::{load, sandbox};

async fn migrated(text: &str) -> Result<Migrated, HostError> {
    let sandbox = sandbox();
    let bundle = load(&sandbox, "moves", text).await.expect("a bundle");
    sandbox.migrate(&bundle, "moves", 1, &json!({"note": "here"})).await
}

#[tokio::test]
async fn a_configuration_is_migrated() {
    // Discriminant 0 (ok), then the address and length of the string.
    let text = r#"
        (data (i32.const 512) "\00\00\00\00\20\02\00\00\0d\00\00\00")
        (data (i32.const 544) "{\"note\": \"a\"}")
        (func $migrate (param i32 i32 i32 i32 i32) (result i32)
            (if (i32.ne (local.get 2) (i32.const 1)) (then (unreachable)))
            (i32.const 512))
    "#;
    let expected = Migrated { config: json!({"note": "a"}), notes: Vec::new() };
    assert_eq!(migrated(text).await.expect("a configuration"), expected);
}

#[tokio::test]
async fn log_lines_of_a_migration_are_notes_for_the_user() {
    let text = r#"
;; capabilities: log
        (import "blockyard:bundle/log@0.1.0" "write" (func $log (param i32 i32 i32)))
        (data (i32.const 512) "\00\00\00\00\60\00\00\00\04\00\00\00")
        (data (i32.const 544) "gone\n")
        (func $migrate (param i32 i32 i32 i32 i32) (result i32)
            (local $more i32)
            ;; Level 1 (debug) is for the bundle's author, 2 (info) is for the user.
            (call $log (i32.const 1) (i32.const 544) (i32.const 4))
            (local.set $more (i32.const 20))
            (loop $again
                (call $log (i32.const 2) (i32.const 544) (i32.const 5))
                (local.set $more (i32.sub (local.get $more) (i32.const 1)))
                (br_if $again (local.get $more)))
            (i32.const 512))
    "#;
    let Migrated { config, notes } = migrated(text).await.expect("a configuration");
    assert_eq!((config, notes.len()), (serde_json::Value::Null, limits::MIGRATION_NOTES));
    assert_eq!(notes[0], "gone\\n");
}

#[tokio::test]
async fn a_migration_error_is_returned() {
    // Discriminant 1 (error), then a problem: code and message, no hint, not retryable, no details.
    let text = r#"
        (data (i32.const 512) "\01\00\00\00\40\02\00\00\07\00\00\00\47\02\00\00\06\00\00\00")
        (data (i32.const 576) "invalidno way")
        (func $migrate (param i32 i32 i32 i32 i32) (result i32) (i32.const 512))
    "#;
    let Err(HostError::Problem(problem)) = migrated(text).await else { panic!("it has no way") };
    assert_eq!((problem.code.as_str(), problem.message.as_str()), ("invalid", "no way"));
}

#[tokio::test]
async fn a_migration_result_must_be_json() {
    let text = r#"
        (data (i32.const 512) "\00\00\00\00\60\00\00\00\03\00\00\00")
        (func $migrate (param i32 i32 i32 i32 i32) (result i32) (i32.const 512))
    "#;
    assert!(matches!(migrated(text).await, Err(HostError::BadAnswer { .. })));
}

#[tokio::test]
async fn migrations_have_no_capabilities_and_a_limit() {
    let clock = r#"
;; capabilities: clock
        (import "blockyard:bundle/clock@0.1.0" "now" (func $now (result i64)))
        (func $migrate (param i32 i32 i32 i32 i32) (result i32) (drop (call $now)) (i32.const 192))
    "#;
    let Err(HostError::Crash { reason, .. }) = migrated(clock).await else { panic!("it knows the time") };
    assert_eq!(reason, "`clock` is not available during `describe`, `validate` or `migrate`");
    let spins = "(func $migrate (param i32 i32 i32 i32 i32) (result i32) (loop $again (br $again)) (unreachable))";
    assert!(matches!(migrated(spins).await, Err(HostError::Limit { .. })));
}
