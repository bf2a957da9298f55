//! The audit trail: order, selection and the hash chain.

use blockyard_store::{AuditFilter, AuditLine};
use expect_test::expect;

use crate::fixture::{NOW, TestStore, at, line};

on_both!(
    lines_are_returned_newest_first,
    lines_are_selected,
    text_of_a_line_survives_byte_for_byte,
    lines_about_calls_are_not_saves,
    an_intact_chain_has_a_head_that_each_line_changes,
    a_changed_line_is_detected,
    a_removed_line_is_detected,
    a_removed_end_is_detected,
    an_inserted_line_is_detected,
    a_line_after_the_end_is_detected,
    many_lines_are_one_transaction,
);

/// Name of the triggers that protect the trail in SQLite.
const GUARDS: &[&str] = &["audit_stays", "audit_is_kept", "audit_is_not_replaced"];

fn timed(number: i64) -> AuditLine {
    AuditLine { at: NOW + number, ..line("call", &format!("zoo/block-{}", number % 2)) }
}

async fn lines_are_returned_newest_first(yard: &TestStore) {
    for number in 0..3 {
        yard.store.append_audit(&timed(number)).await.unwrap();
    }
    let lines = yard.store.audit(&AuditFilter::default()).await.unwrap();
    assert_eq!(lines, [timed(2), timed(1), timed(0), line("install", "zoo")]);
}

async fn lines_are_selected(yard: &TestStore) {
    for number in 1..7 {
        yard.store.append_audit(&timed(number)).await.unwrap();
    }
    let select = async |filter: AuditFilter| {
        yard.store.audit(&filter).await.unwrap().iter().map(|line| line.at - NOW).collect::<Vec<_>>()
    };
    let subject = || Some("zoo/block-0".to_owned());
    assert_eq!(select(AuditFilter { subject: subject(), ..AuditFilter::default() }).await, [6, 4, 2]);
    assert_eq!(select(AuditFilter { since: Some(NOW + 5), ..AuditFilter::default() }).await, [6, 5]);
    assert_eq!(select(AuditFilter { limit: Some(2), ..AuditFilter::default() }).await, [6, 5]);
    assert_eq!(select(AuditFilter { limit: Some(0), ..AuditFilter::default() }).await, [0_i64; 0]);
    assert_eq!(select(AuditFilter { subject: subject(), since: Some(NOW + 3), limit: Some(1) }).await, [6]);
    assert_eq!(select(AuditFilter { subject: Some("zoo/%".to_owned()), ..AuditFilter::default() }).await, [0_i64; 0]);
}

async fn text_of_a_line_survives_byte_for_byte(yard: &TestStore) {
    let written = AuditLine {
        at: -1,
        actor: "\u{202e}o'brien@haus-ü 👩‍🚒".to_owned(),
        action: String::new(),
        subject: "a\nb\t\"c\"".to_owned(),
        detail: format!("{{\"note\":\"{}\"}}", "ä".repeat(100_000)),
    };
    yard.store.append_audit(&written).await.unwrap();
    assert_eq!(yard.store.audit(&AuditFilter { limit: Some(1), ..AuditFilter::default() }).await.unwrap(), [written]);
    assert_eq!(yard.store.check_audit().await.unwrap().broken, None);
}

async fn lines_about_calls_are_not_saves(yard: &TestStore) {
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    for action in ["call", "begin-call", "check", "reveal", "label"] {
        yard.store.append_audit(&line(action, "zoo/leo")).await.unwrap();
    }
    yard.store.append_audit(&line("label", "zoo/other")).await.unwrap();
    let lines = yard.store.audit_of_saves(&at("zoo/leo")).await.unwrap();
    assert_eq!(lines, [line("create", "zoo/leo"), line("label", "zoo/leo")]);
}

async fn an_intact_chain_has_a_head_that_each_line_changes(yard: &TestStore) {
    let mut heads = Vec::new();
    for number in 0..3 {
        let chain = yard.store.check_audit().await.unwrap();
        assert_eq!((chain.lines, &chain.broken), (number + 1, &None));
        heads.push(chain.head.unwrap());
        // The same line again: the head depends on the position, too.
        yard.store.append_audit(&line("call", "zoo/leo")).await.unwrap();
    }
    heads.sort();
    heads.dedup();
    assert_eq!(heads.len(), 3);
}

/// Appends five lines to the first one, and disables the guards of the trail.
async fn unguarded(yard: &TestStore) {
    for number in 1..=5 {
        yard.store.append_audit(&timed(number)).await.unwrap();
    }
    yard.unguard("audit", GUARDS).await;
}

/// Runs a statement that changes one row, and returns the reported inconsistency.
async fn broken(yard: &TestStore, statement: &str) -> String {
    assert_eq!(yard.bypass(statement).await, Ok(1), "{statement}");
    yard.store.check_audit().await.unwrap().broken.unwrap_or_else(|| "intact".to_owned())
}

async fn a_changed_line_is_detected(yard: &TestStore) {
    unguarded(yard).await;
    // From the end: the first inconsistency is reported.
    for (line, change) in [
        (6, "detail = '[]'"),
        (5, "subject = 'another'"),
        (4, "actor = 'another'"),
        (3, "action = 'another'"),
        (2, "at = at + 1"),
        (1, "chain = (SELECT a.chain FROM audit a WHERE a.id = 5)"),
    ] {
        let found = broken(yard, &format!("UPDATE audit SET {change} WHERE id = {line}")).await;
        assert_eq!(found, format!("line {line} does not match its hash"));
    }
}

async fn a_removed_line_is_detected(yard: &TestStore) {
    unguarded(yard).await;
    expect!["the lines between 2 and 4 are missing"].assert_eq(&broken(yard, "DELETE FROM audit WHERE id = 3").await);
    // Renumbering the following lines does not hide the gap.
    for line in 4..=6 {
        broken(yard, &format!("UPDATE audit SET id = {line} - 1 WHERE id = {line}")).await;
    }
    expect!["line 3 does not match its hash"].assert_eq(&broken(yard, "UPDATE audit_head SET lines = 5").await);
}

async fn a_removed_end_is_detected(yard: &TestStore) {
    unguarded(yard).await;
    expect!["the lines after 5 are missing; 6 were written"]
        .assert_eq(&broken(yard, "DELETE FROM audit WHERE id = 6").await);
    // Adjusting the stored number of lines does not hide it either.
    expect!["line 5 is not the last line that was written"]
        .assert_eq(&broken(yard, "UPDATE audit_head SET lines = 5").await);
    expect!["the end of the trail is missing"].assert_eq(&broken(yard, "DELETE FROM audit_head").await);
}

/// Copies line `from` to line `to`.
fn copy(from: u32, to: u32) -> String {
    format!(
        "INSERT INTO audit (id, at, actor, action, subject, detail, chain)
         SELECT {to}, at, actor, action, subject, detail, chain FROM audit WHERE id = {from}"
    )
}

async fn an_inserted_line_is_detected(yard: &TestStore) {
    unguarded(yard).await;
    for line in (4..=6).rev() {
        broken(yard, &format!("UPDATE audit SET id = {line} + 1 WHERE id = {line}")).await;
    }
    broken(yard, &copy(3, 4)).await;
    expect!["line 4 does not match its hash"].assert_eq(&broken(yard, "UPDATE audit_head SET lines = 7").await);
}

async fn a_line_after_the_end_is_detected(yard: &TestStore) {
    unguarded(yard).await;
    expect!["line 7 is after the end of the trail"].assert_eq(&broken(yard, &copy(6, 7)).await);
}

async fn many_lines_are_one_transaction(yard: &TestStore) {
    // More than one statement inserts them.
    let lines: Vec<AuditLine> = (0..100).map(timed).collect();
    yard.store.append_audit_lines(&lines).await.unwrap();
    yard.store.append_audit_lines(&[]).await.unwrap();
    let mut read = yard.store.audit(&AuditFilter::default()).await.unwrap();
    read.reverse();
    assert_eq!(read[1..], lines);
    let chain = yard.store.check_audit().await.unwrap();
    assert_eq!((chain.lines, chain.broken), (101, None));
}
