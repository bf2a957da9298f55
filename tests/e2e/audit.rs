//! The audit trail: its queries, its protection against changes, and its verification by `doctor`.

use blockyard_tests::{Backend, TestYard, on_both, run_command};
use serde_json::Value;

on_both!(
    every_change_adds_one_audit_line,
    call_with_a_secret_is_recorded_before_it_begins,
    rejected_call_has_an_audit_line,
    failed_check_is_recorded_as_failed,
    times_in_json_are_rfc_3339,
    lines_are_filtered_by_block_and_count,
    lines_are_filtered_by_time,
    invalid_durations_are_rejected,
    doctor_detects_a_changed_line,
    doctor_detects_a_truncated_trail,
    doctor_detects_a_missing_old_revision,
    doctor_detects_a_missing_newest_revision,
    doctor_detects_a_block_reset_to_an_old_revision,
    doctor_detects_changed_bundle_bytes,
    doctor_detects_a_damaged_secret,
    doctor_detects_a_missing_secret,
);

/// Returns the action and the subject of the audit lines, newest first.
fn lines(yard: &TestYard, arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<&str> = ["audit"].iter().chain(arguments).copied().collect();
    let audit = yard.json(&arguments);
    let lines = audit["audit"].as_array().expect("lines").iter();
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    lines.map(|line| word(&line["action"]) + " " + &word(&line["subject"])).collect()
}

/// Returns the name and the detail of each failed step of `doctor`.
fn doctor(yard: &TestYard) -> Vec<(String, String)> {
    let output = yard.run(&["doctor", "--json"]);
    let found: Value = serde_json::from_str(&output.stdout).expect("one JSON document");
    let steps = found["steps"].as_array().expect("steps").iter().filter(|step| step["status"] == "failed");
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    let wrong: Vec<_> = steps.map(|step| (word(&step["name"]), word(&step["detail"]))).collect();
    assert_eq!(output.code, i32::from(!wrong.is_empty()), "{}{}", output.stdout, output.stderr);
    wrong
}

/// Checks that this is the only failed step of `doctor`, and that its detail contains `expected`.
fn assert_finding(yard: &TestYard, step: &str, expected: &str) {
    let wrong = doctor(yard);
    assert!(matches!(wrong.as_slice(), [(name, detail)] if name == step && detail.contains(expected)), "{wrong:?}");
}

fn every_change_adds_one_audit_line(yard: &TestYard) {
    let created = lines(yard, &[]).len();
    yard.keeper("ada", "badge");
    for (code, arguments) in [
        (0, &["set", "zoo-keeper/ada", "--set", "name=Ida"][..]),
        // A command that changes nothing writes no audit line.
        (0, &["set", "zoo-keeper/ada", "--set", "name=Ida"]),
        (0, &["show", "zoo-keeper/ada"]),
        (4, &["set", "zoo-keeper/ada", "--set", "nane=Ida"]),
        (0, &["rollback", "zoo-keeper/ada@1"]),
        (0, &["call", "zoo-keeper/ada", "introduce"]),
        (0, &["check", "zoo-keeper/ada"]),
        (0, &["delete", "zoo-keeper/ada"]),
        (0, &["restore", "zoo-keeper/ada"]),
        (0, &["purge", "zoo-keeper/ada", "--yes"]),
        (0, &["revoke", "zoo", "reveal"]),
        (0, &["grant", "zoo", "reveal"]),
    ] {
        assert_eq!(yard.run(arguments).code, code, "{arguments:?}");
    }
    let mut recorded = lines(yard, &[]);
    recorded.truncate(recorded.len() - created);
    recorded.reverse();
    let about_ada =
        ["create", "set", "rollback", "begin-call", "call", "begin-call", "check", "delete", "restore", "purge"];
    let expected: Vec<String> = about_ada.iter().map(|action| format!("{action} zoo-keeper/ada")).collect();
    assert_eq!(recorded[..10], expected);
    assert_eq!(recorded[10..], ["revoke zoo", "grant zoo"]);
    let newest = &yard.json(&["audit", "--limit", "1"])["audit"][0];
    assert!(newest["actor"].as_str().is_some_and(|actor| actor.contains('@')), "{newest}");
    assert!(newest["at"].as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')), "{newest}");
}

/// Returns the action and the outcome of the lines about a block, oldest first.
fn outcomes(yard: &TestYard, block: &str) -> Vec<String> {
    let audit = yard.json(&["audit", "--block", block]);
    let lines = audit["audit"].as_array().expect("lines").iter().rev();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    lines.map(|line| word(&line["action"]) + " " + &word(&line["detail"]["outcome"])).collect()
}

fn call_with_a_secret_is_recorded_before_it_begins(yard: &TestYard) {
    yard.keeper("ada", "badge");
    yard.ok(&["create", "zoo-keeper/bob", "--set", "name=Bob"]);
    yard.ok(&["call", "zoo-keeper/ada", "introduce"]);
    yard.ok(&["call", "zoo-keeper/bob", "introduce"]);
    assert_eq!(outcomes(yard, "zoo-keeper/ada"), ["create -", "begin-call -", "call ok"]);
    // A read that receives no secret does not wait for an audit line to reach the disk.
    assert_eq!(outcomes(yard, "zoo-keeper/bob"), ["create -", "call ok"]);
    // A call also receives the secrets of the blocks that its block depends on.
    yard.ok(&["create", "zoo-keeper/eve", "--set", "name=Eve", "--set", "teacher=zoo-keeper/ada"]);
    yard.ok(&["call", "zoo-keeper/eve", "introduce"]);
    assert_eq!(outcomes(yard, "zoo-keeper/eve"), ["create -", "begin-call -", "call ok"]);
}

fn rejected_call_has_an_audit_line(yard: &TestYard) {
    yard.ok(&["create", "zoo-keeper/ada", "--set", "name=Ada", "--secret", "badge=env:THERE_IS_NO_SUCH_VARIABLE"]);
    yard.fails(5, &["call", "zoo-keeper/ada", "introduce"]);
    assert_eq!(outcomes(yard, "zoo-keeper/ada"), ["create -", "call denied"]);
}

fn failed_check_is_recorded_as_failed(yard: &TestYard) {
    yard.ok(&["create", "sql-database/none", "--set", "dialect=sqlite", "--set", "database=/nowhere/at/all.db"]);
    assert_eq!(yard.run(&["check", "sql-database/none"]).code, 1);
    assert_eq!(outcomes(yard, "sql-database/none"), ["create -", "check failed"]);
    let good = format!("database={}", yard.path("good.db").display());
    yard.ok(&["create", "sql-database/good", "--set", "dialect=sqlite", "--set", &good]);
    yard.ok(&["execute", "sql-database/good", "create table t (a)"]);
    yard.ok(&["check", "sql-database/good"]);
    assert_eq!(outcomes(yard, "sql-database/good").last().map(String::as_str), Some("check ok"));
}

fn times_in_json_are_rfc_3339(yard: &TestYard) {
    yard.keeper("ada", "badge");
    yard.keeper("gone", "badge");
    yard.ok(&["delete", "zoo-keeper/gone"]);
    let is_time = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        assert!(text.len() >= 20 && &text[4..5] == "-" && &text[10..11] == "T" && text.ends_with('Z'), "{value}");
    };
    is_time(&yard.json(&["show", "zoo-keeper/ada"])["saved_at"]);
    is_time(&yard.json(&["list"])["blocks"][0]["saved_at"]);
    is_time(&yard.json(&["list", "--deleted"])["blocks"][0]["deleted_at"]);
    is_time(&yard.json(&["history", "zoo-keeper/ada"])["revisions"][0]["saved_at"]);
    is_time(&yard.json(&["bundles"])["bundles"][0]["installed_at"]);
    is_time(&yard.json(&["audit"])["audit"][0]["at"]);
    for command in ["key status", "doctor", "grants", "types", "bundles", "list", "audit"] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let document = yard.json(&arguments).to_string();
        // Timestamps in milliseconds since 1970 have 13 digits and begin with 1 or 2.
        let digits =
            document.split(|c: char| !c.is_ascii_digit()).find(|run| run.len() == 13 && run.starts_with(['1', '2']));
        assert_eq!(digits, None, "{command}: {document}");
    }
}

fn lines_are_filtered_by_block_and_count(yard: &TestYard) {
    for name in ["ada", "ada-2"] {
        yard.keeper(name, "badge");
    }
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=Ida"]);
    yard.ok(&["set", "zoo-keeper/ada-2", "--set", "name=Ida"]);
    assert_eq!(lines(yard, &["--block", "zoo-keeper/ada"]), ["set zoo-keeper/ada", "create zoo-keeper/ada"]);
    assert_eq!(lines(yard, &["--limit", "2"]), ["set zoo-keeper/ada-2", "set zoo-keeper/ada"]);
    assert_eq!(lines(yard, &["--limit", "1", "--block", "zoo-keeper/ada"]), ["set zoo-keeper/ada"]);
    assert_eq!(lines(yard, &["--limit", "0"]), [""; 0]);
    assert_eq!(lines(yard, &["--block", "zoo-keeper/none"]), [""; 0]);
    for wrong in [["--block", "ada"], ["--block", "zoo-keeper/ada@1"], ["--limit", "-1"], ["--limit", "many"]] {
        yard.fails(2, &["audit", wrong[0], wrong[1]]);
    }
}

fn lines_are_filtered_by_time(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    yard.keeper("month", "badge");
    yard.keeper("week", "badge");
    yard.keeper("hour", "badge");
    yard.keeper("now", "badge");
    yard.disable_triggers("audit");
    for (name, hours) in [("month", 30 * 24), ("week", 6 * 24), ("hour", 1)] {
        let offset = i64::from(hours) * 3_600_000;
        yard.sql(&format!("update audit set at = at - {offset} where subject = 'zoo-keeper/{name}'")).expect("moved");
    }
    assert_eq!(lines(yard, &["--since", "2999-01-01"]), [""; 0]);
    let since = |time: &str| -> Vec<String> {
        let lines = lines(yard, &["--since", time]).into_iter();
        lines.filter_map(|line| line.strip_prefix("create zoo-keeper/").map(str::to_owned)).collect()
    };
    assert_eq!(since("30m"), ["now"]);
    assert_eq!(since("2h"), ["now", "hour"]);
    assert_eq!(since("7d"), ["now", "hour", "week"]);
    assert_eq!(since("2024-01-31"), ["now", "hour", "week", "month"]);
    assert_eq!(since("2024-01-31T10:00:00Z").len(), 4);
    assert_eq!(since("2999-01-31T10:00:00+02:00").len(), 0);
    for nonsense in ["yesterday", "", "7", "7x", "2026-13-01", "2026-02-30", "99999999999999999999d"] {
        let refused = yard.fails(2, &["audit", "--since", nonsense]);
        assert!(refused.contains(&format!("`{nonsense}` is not a valid time")), "{refused}");
        assert!(refused.contains("use a date (`"), "{refused}");
    }
}

fn invalid_durations_are_rejected(yard: &TestYard) {
    for ahead in ["-7d", "-2h", "99999999999999999d"] {
        let refused = yard.fails(2, &["audit", &format!("--since={ahead}")]);
        assert!(refused.contains(&format!("`{ahead}` is not a valid time")), "{refused}");
    }
}

/// Fills the audit trail to eight lines and removes its triggers. Returns `false` if the database's
/// shell is missing.
fn fill_and_disable_triggers(yard: &TestYard) -> bool {
    if !yard.has_shell() {
        return false;
    }
    let created = lines(yard, &[]).len();
    for number in created..8 {
        yard.keeper(&format!("k{number}"), "badge");
    }
    assert_eq!(doctor(yard), []);
    yard.disable_triggers("audit");
    true
}

fn doctor_detects_a_changed_line(yard: &TestYard) {
    if !fill_and_disable_triggers(yard) {
        return;
    }
    for (line, column) in [(8, "detail"), (6, "subject"), (5, "actor"), (4, "action")] {
        yard.sql(&format!("update audit set {column} = 'another' where id = {line}")).expect("changed");
        assert_finding(yard, "audit", &format!("line {line} does not match its hash"));
    }
    yard.sql("update audit set at = at + 1 where id = 3").expect("changed");
    assert_finding(yard, "audit", "line 3 does not match its hash");
    yard.sql("update audit set chain = (select a.chain from audit a where a.id = 5) where id = 2").expect("changed");
    assert_finding(yard, "audit", "line 2 does not match its hash");
}

fn doctor_detects_a_truncated_trail(yard: &TestYard) {
    if !fill_and_disable_triggers(yard) {
        return;
    }
    yard.sql("delete from audit where id > 6").expect("cut off");
    assert_finding(yard, "audit", "the lines after 6 are missing; 8 were written");
    // Adjusting the stored number of lines does not hide it either.
    yard.sql("update audit_head set lines = 6").expect("changed");
    assert_finding(yard, "audit", "line 6 is not the last line that was written");
    yard.sql("delete from audit_head").expect("gone");
    assert_finding(yard, "audit", "the end of the trail is missing");
}

/// Deletes a revision of a keeper, with its secrets and references.
fn delete_revision(yard: &TestYard, keeper: &str, revision: u32) {
    for table in ["secrets", "block_references", "revisions"] {
        let of = format!("(select id from blocks where name = '{keeper}')");
        yard.sql(&format!("delete from {table} where block = {of} and revision = {revision}")).expect("lost");
    }
}

/// Creates three keepers with three revisions each and one with a single revision, and removes the
/// triggers of their tables.
fn with_revisions(yard: &TestYard) -> bool {
    if !yard.has_shell() {
        return false;
    }
    for keeper in ["first", "middle", "newest", "only"] {
        yard.keeper(keeper, "badge");
    }
    for keeper in ["first", "middle", "newest"] {
        for badge in ["second", "third"] {
            yard.ok_with_input(&["set", &format!("zoo-keeper/{keeper}"), "--secret", "badge=-"], badge);
        }
    }
    for table in ["secrets", "block_references", "revisions"] {
        yard.disable_triggers(table);
    }
    true
}

fn doctor_detects_a_missing_old_revision(yard: &TestYard) {
    if !with_revisions(yard) {
        return;
    }
    delete_revision(yard, "first", 1);
    assert_finding(yard, "blocks", "revision 1 of block `zoo-keeper/first` is missing");
    delete_revision(yard, "middle", 2);
    assert_finding(yard, "blocks", "revision 2 of block `zoo-keeper/middle` is missing");
}

fn doctor_detects_a_missing_newest_revision(yard: &TestYard) {
    if !with_revisions(yard) {
        return;
    }
    delete_revision(yard, "newest", 3);
    assert_finding(yard, "blocks", "block `zoo-keeper/newest`");
    delete_revision(yard, "only", 1);
    assert_finding(yard, "blocks", "block `zoo-keeper/only`");
}

fn doctor_detects_a_block_reset_to_an_old_revision(yard: &TestYard) {
    if !with_revisions(yard) {
        return;
    }
    yard.sql("update blocks set newest = 2 where name = 'middle'").expect("set back");
    assert_finding(
        yard,
        "blocks",
        "the revisions of block `zoo-keeper/middle` do not match its recorded newest revision",
    );
}

fn doctor_detects_changed_bundle_bytes(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    yard.keeper("ada", "badge");
    let call = ["call", "zoo-keeper/ada", "introduce"];
    yard.ok(&call);
    let zoo = "where digest = (select digest from bundles where name = 'zoo')";
    let changed = match yard.backend() {
        Backend::Sqlite => "cast(bytes || x'00' as blob)",
        Backend::Postgres => "bytes || '\\x00'::bytea",
    };
    yard.sql(&format!("update bundle_bytes set bytes = {changed} {zoo}")).expect("changed");
    let expected = "the bytes of bundle `zoo` in the yard do not match its digest";
    assert_finding(yard, "bundles", expected);
    // Compiled code is cached by the digest of the bytes, and the changed bytes are not read.
    yard.ok(&call);
    let mut without_cache = yard.command(&call);
    let refused = run_command(without_cache.env("XDG_CACHE_HOME", yard.path("cache")), None);
    assert!(refused.code == 5 && refused.stderr.contains(expected), "{}", refused.stderr);
    yard.sql(&format!("delete from bundle_bytes {zoo}")).expect("lost");
    assert_finding(yard, "bundles", "is missing from the yard");
}

/// Returns the condition that selects the first badge of a keeper.
fn first_badge(keeper: &str) -> String {
    format!("where block = (select id from blocks where name = '{keeper}') and revision = 1")
}

fn doctor_detects_a_damaged_secret(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    for keeper in ["whole", "cut", "moved"] {
        yard.keeper(keeper, "badge");
    }
    // Secrets of old revisions are verified as well.
    yard.ok(&["set", "zoo-keeper/cut", "--set", "name=Cut"]);
    yard.sql(&format!("update secrets set sealed = substr(sealed, 1, 20) {}", first_badge("cut"))).expect("cut");
    assert_finding(yard, "blocks", "cannot open the sealed value");
    assert_finding(yard, "blocks", "zoo-keeper/cut");
    let intact = format!("(select sealed from secrets {})", first_badge("whole"));
    yard.sql(&format!("update secrets set sealed = {intact} {}", first_badge("moved"))).expect("moved");
    assert_finding(yard, "blocks", "zoo-keeper/moved");
}

fn doctor_detects_a_missing_secret(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    for keeper in ["lost", "purged"] {
        yard.keeper(keeper, "badge");
    }
    yard.ok(&["purge", "zoo-keeper/purged", "--yes"]);
    assert_eq!(doctor(yard), [], "a purge is not reported as damage");
    yard.sql(&format!("delete from secrets {}", first_badge("lost"))).expect("lost");
    assert_finding(yard, "blocks", "zoo-keeper/lost");
}
