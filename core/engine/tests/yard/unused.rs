//! Recorded uses of capabilities, and grants without a use.

use std::time::Duration;

use blockyard::model::BundleName;
use blockyard::{Agreement, AuditFilter, KeySource, Timestamp, UNUSED_DAYS};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::attack;
use crate::fixture::{TestYard, source};

on_both!(
    the_first_use_of_a_day_is_recorded,
    a_grant_without_a_use_is_reported_after_the_period,
    a_failed_call_records_its_uses,
);

/// Uses `clock` in the call, and `random` when the output is read.
const CODE: &str = r#";; capabilities: log, clock, random
(import "[export]blockyard:bundle/block-types@0.1.0" "[resource-new]parts" (func $parts (param i32) (result i32)))
(import "blockyard:bundle/streams@0.1.0" "[static]body.from-bytes" (func $body (param i32 i32 i32 i32) (result i32)))
(import "blockyard:bundle/clock@0.1.0" "now" (func $now (result i64)))
(import "blockyard:bundle/random@0.1.0" "fill" (func $fill (param i32 i32)))
(func $next (param i32) (result i32)
    (call $fill (i32.const 4) (i32.const 320))
    (i32.store (i32.const 256) (i32.const 0))
    (i32.store (i32.const 260) (i32.const 1))
    (i32.store (i32.const 264) (call $body (i32.const 96) (i32.const 4) (i32.const 96) (i32.const 1)))
    (i32.const 256))
(func $invoke (type $call)
    (drop (call $now))
    (call $output (i32.const 2) (call $parts (i32.const 1))))
"#;

async fn install(yard: &TestYard, name: &str, code: &str) {
    let staged = yard.yard.stage(attack::build(name, code), source()).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    yard.create(&format!("{name}/a"), json!({})).await;
}

/// Calls the bundle twice in one process, and reads the first bytes of each output.
async fn call_twice(yard: &TestYard) {
    let process = yard.open_with(KeySource::Default).await.unwrap();
    for _ in 0..2 {
        let block = process.block("clocks/a").await.unwrap();
        let mut output = block.call("go", json!({})).await.unwrap().output.unwrap().1;
        output.next().await.unwrap().unwrap();
    }
    process.close().await;
}

/// Returns action and used capabilities of the calls, oldest first.
async fn recorded(yard: &TestYard) -> Vec<(String, Value)> {
    let lines = yard.yard.audit(&AuditFilter::default()).await.unwrap();
    let calls = lines.into_iter().rev().filter(|line| ["call", "use", "check"].contains(&line.action.as_str()));
    let used = |detail: &str| serde_json::from_str::<Value>(detail).unwrap()["used"].clone();
    calls.map(|line| (line.action.clone(), used(&line.detail))).collect()
}

async fn the_first_use_of_a_day_is_recorded(yard: &TestYard) {
    install(yard, "clocks", CODE).await;
    call_twice(yard).await;
    let lines = recorded(yard).await;
    // The random number is drawn while the output is read. If the line of the call is written before
    // that, a line of its own records it.
    assert!(lines.iter().all(|(action, used)| action == "call" || *used == json!(["random"])), "{lines:?}");
    let used: Vec<&Value> = lines.iter().filter_map(|(_, used)| used.as_array()).flatten().collect();
    // If midnight (UTC) is between the calls, both are recorded.
    let (once, twice) = (json!(["clock", "random"]), json!(["clock", "random", "clock", "random"]));
    assert!(json!(used) == once || json!(used) == twice, "{lines:?}");
    // History is about changes only.
    let history = yard.yard.history(&"clocks/a".parse().unwrap()).await.unwrap();
    assert_eq!(history[0].action.as_deref(), Some("create"));
}

/// Returns bundle and capability of the grants that are unused at a time.
async fn unused(yard: &TestYard, now: Timestamp) -> Vec<String> {
    let found = yard.yard.unused_grants(now).await.unwrap();
    found.unused.into_iter().map(|grant| format!("{} {}", grant.bundle, grant.capability)).collect()
}

fn after(time: Timestamp, days: i64) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond() + days * 24 * 60 * 60 * 1_000).unwrap()
}

async fn a_grant_without_a_use_is_reported_after_the_period(yard: &TestYard) {
    install(yard, "clocks", CODE).await;
    // Times of the yard have a precision of milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let between = Timestamp::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    call_twice(yard).await;
    assert_eq!(unused(yard, after(between, UNUSED_DAYS)).await, ["clocks log", "zoo reveal"]);
    // The yard did not exist during the complete period.
    assert!(unused(yard, after(between, UNUSED_DAYS - 1)).await.is_empty());
    assert!(unused(yard, Timestamp::now()).await.is_empty());
    // The last use was more than 30 days ago.
    let all = ["clocks clock", "clocks log", "clocks random", "zoo reveal"];
    assert_eq!(unused(yard, after(between, UNUSED_DAYS + 1)).await, all);
    // A grant that was revoked is not reported, nor one of an uninstalled bundle.
    yard.yard.revoke(&BundleName::new("clocks").unwrap(), &"log".parse().unwrap()).await.unwrap();
    let plan = yard.yard.plan_uninstall(&BundleName::new("zoo").unwrap(), None).await.unwrap();
    yard.yard.uninstall(plan).await.unwrap();
    assert!(unused(yard, after(between, UNUSED_DAYS)).await.is_empty());
}

async fn a_failed_call_records_its_uses(yard: &TestYard) {
    let code = CODE.replace("(drop (call $now))", "(drop (call $now)) (unreachable)");
    install(yard, "clocks", &code).await;
    let failed = yard.yard.block("clocks/a").await.unwrap().call("go", json!({})).await;
    assert_eq!(failed.err().unwrap().kind().as_str(), "bundle");
    assert_eq!(recorded(yard).await, [("call".to_owned(), json!(["clock"]))]);
}
