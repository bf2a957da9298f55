//! Plaintext access to secrets, by a user who confirms it and by a bundle with the grant. Each
//! access is one line of the audit trail.

use blockyard_tests::{Backend, TestYard, on_both};
use serde_json::{Value, json};

on_both!(
    each_reveal_adds_one_audit_line,
    reveal_requires_confirmation,
    unknown_field_error_lists_the_known_fields,
    each_reveal_to_a_bundle_adds_one_audit_line,
    audit_trail_distinguishes_bundles_from_users,
    reveal_through_a_parent_is_recorded_for_the_owner,
    reveal_requires_the_grant,
    nothing_is_revealed_if_the_audit_trail_cannot_be_written,
);

fn with_cage(yard: &TestYard) {
    yard.keeper("ada", "ada's badge");
    yard.create(
        "zoo-cage/lion",
        &json!({
            "animal": "lion", "keeper": {"$block": "zoo-keeper/ada"}, "spares": ["spare-0", "spare-1"],
            "doors": {"to/the~south": "door"}, "place": {"house": "cats", "code": "code"},
            "lock": {"how": "key", "pattern": "pattern"},
        }),
    );
}

/// Returns the subject, the field and the bundle of the audit lines about reveals, oldest first.
fn reveals(yard: &TestYard) -> Value {
    let audit = yard.json(&["audit"]);
    let lines = audit["audit"].as_array().expect("lines").iter().rev();
    let reveals = lines.filter(|line| line["action"] == "reveal");
    reveals.map(|line| json!([line["subject"], line["detail"]["field"], line["detail"]["bundle"]])).collect()
}

fn each_reveal_adds_one_audit_line(yard: &TestYard) {
    with_cage(yard);
    yard.ok_with_input(&["set", "zoo-keeper/ada", "--secret", "badge=-"], "her second");
    for (field, secret) in [
        ("spares.1", "spare-1"),
        ("doors.to/the~south", "door"),
        ("place.code", "code"),
        ("lock.pattern", "pattern"),
        ("keeper.config.badge", "her second"),
    ] {
        assert_eq!(yard.reveal("zoo-cage/lion", field), secret);
    }
    assert_eq!(yard.reveal("zoo-keeper/ada@1", "badge"), "ada's badge");
    let shown = yard.json(&["reveal", "zoo-keeper/ada", "badge", "--yes"]);
    assert_eq!(shown, json!({"address": "zoo-keeper/ada", "field": "badge", "value": "her second"}));
    assert_eq!(
        reveals(yard),
        json!([
            ["zoo-cage/lion", "spares.1", null],
            ["zoo-cage/lion", "doors.to/the~south", null],
            ["zoo-cage/lion", "place.code", null],
            ["zoo-cage/lion", "lock.pattern", null],
            // The secret of the keeper is recorded in the keeper's trail.
            ["zoo-keeper/ada", "badge", null],
            ["zoo-keeper/ada", "badge", null],
            ["zoo-keeper/ada", "badge", null],
        ])
    );
    let through = yard.json(&["audit", "--block", "zoo-keeper/ada"]);
    let through: Vec<&Value> = through["audit"]
        .as_array()
        .expect("lines")
        .iter()
        .filter(|line| line["detail"]["through"].is_string())
        .collect();
    assert_eq!(through.len(), 1);
    assert_eq!(through[0]["detail"]["through"], json!("zoo-cage/lion@1"));
    let revisions: Vec<Value> = yard.json(&["audit", "--block", "zoo-keeper/ada", "--limit", "2"])["audit"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| line["detail"]["revision"].clone())
        .collect();
    assert_eq!(revisions, [json!(2), json!(1)]);
}

fn reveal_requires_confirmation(yard: &TestYard) {
    with_cage(yard);
    let refused = yard.fails(2, &["reveal", "zoo-keeper/ada", "badge"]);
    assert!(
        refused.contains("revealing `badge` of `zoo-keeper/ada` prints a secret and was not confirmed"),
        "{refused}"
    );
    assert!(refused.contains("confirm with `--yes`"), "{refused}");
    // Input that does not come from a terminal is not accepted as confirmation.
    yard.fails_with_input(2, &["reveal", "zoo-keeper/ada", "badge"], "y\n");
    assert_eq!(reveals(yard), json!([]));
}

fn unknown_field_error_lists_the_known_fields(yard: &TestYard) {
    with_cage(yard);
    yard.ok(&["create", "zoo-keeper/bob", "--set", "name=Bob"]);
    for field in ["spares.2", "spares", "animal", "place", "lock.word", ""] {
        let refused = yard.fails(3, &["reveal", "zoo-cage/lion", field, "--yes"]);
        assert!(refused.contains(&format!("block `zoo-cage/lion` has no secret `{field}`")), "{refused}");
        for known in ["`spares.0`", "`spares.1`", "`doors.to/the~south`", "`place.code`", "`lock.pattern`"] {
            assert!(refused.contains(known), "{refused}");
        }
    }
    assert!(yard.fails(3, &["reveal", "zoo-keeper/bob", "badge", "--yes"]).contains("it has no secrets"));
    assert!(yard.fails(3, &["reveal", "zoo-keeper/ade", "badge", "--yes"]).contains("did you mean `zoo-keeper/ada`?"));
    assert!(yard.fails(3, &["reveal", "zoo-keeper/ada@7", "badge", "--yes"]).contains("has no revision 7"));
    assert_eq!(reveals(yard), json!([]));
}

fn each_reveal_to_a_bundle_adds_one_audit_line(yard: &TestYard) {
    with_cage(yard);
    yard.create("zoo-safe/box", &json!({"content": "what lies in it"}));
    yard.ok(&["call", "zoo-keeper/ada", "show-badge"]);
    assert_eq!(reveals(yard), json!([["zoo-keeper/ada", "badge", "zoo"]]));
    assert_eq!(yard.ok(&["call", "zoo-safe/box", "read"]), "what lies in it");
    yard.ok(&["call", "zoo-cage/lion", "open-all"]);
    let shown = reveals(yard);
    let mut fields: Vec<&str> =
        shown.as_array().expect("lines").iter().skip(2).filter_map(|line| line[1].as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        // The first is the keeper's secret, recorded in the keeper's trail.
        ["badge", "doors.to/the~south", "lock.pattern", "place.code", "spares.0", "spares.1"]
    );
    // A call that reveals nothing leaves no such line.
    yard.ok(&["call", "zoo-cage/lion", "look"]);
    assert_eq!(reveals(yard).as_array().map(Vec::len), Some(8));
}

fn audit_trail_distinguishes_bundles_from_users(yard: &TestYard) {
    with_cage(yard);
    yard.ok(&["call", "zoo-keeper/ada", "show-badge"]);
    let table = yard.ok(&["audit", "--block", "zoo-keeper/ada"]);
    // The line of the call names the capability, too.
    assert!(table.lines().any(|line| line.contains("reveal") && line.contains("bundle zoo")), "{table}");
}

fn reveal_through_a_parent_is_recorded_for_the_owner(yard: &TestYard) {
    with_cage(yard);
    yard.ok(&["call", "zoo-cage/lion", "open-all"]);
    let trail = yard.json(&["audit", "--block", "zoo-keeper/ada"]);
    let lines = trail["audit"].as_array().expect("lines");
    assert!(lines.iter().any(|line| line["action"] == "reveal"), "{trail}");
}

fn reveal_requires_the_grant(yard: &TestYard) {
    with_cage(yard);
    yard.create("zoo-safe/box", &json!({"content": "what lies in it"}));
    yard.ok(&["create", "zoo-keeper/bob", "--set", "name=Bob", "--secret", "badge=block:zoo-safe/box"]);
    yard.ok(&["revoke", "zoo", "reveal"]);
    for arguments in [
        &["call", "zoo-keeper/ada", "show-badge"][..],
        &["call", "zoo-keeper/ada", "introduce"],
        &["call", "zoo-cage/lion", "open-all"],
        &["call", "zoo-safe/box", "read"],
        &["check", "zoo-keeper/ada"],
        &["reveal", "zoo-keeper/bob", "badge", "--yes"],
    ] {
        let refused = yard.fails(5, arguments);
        assert!(refused.contains("bundle `zoo` needs `reveal`, which is not granted"), "{arguments:?}: {refused}");
        assert!(refused.contains("grant it with `blockyard grant zoo 'reveal'`"), "{arguments:?}: {refused}");
    }
    assert_eq!(reveals(yard), json!([]));
    yard.ok(&["grant", "zoo", "reveal"]);
    yard.ok(&["call", "zoo-keeper/ada", "show-badge"]);
    assert_eq!(reveals(yard), json!([["zoo-keeper/ada", "badge", "zoo"]]));
}

fn nothing_is_revealed_if_the_audit_trail_cannot_be_written(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    with_cage(yard);
    yard.create("zoo-safe/box", &json!({"content": "what lies in it"}));
    let statements: &[&str] = match yard.backend() {
        Backend::Sqlite => {
            &["create trigger no_more before insert on audit begin select raise(abort, 'no more lines'); end"]
        }
        Backend::Postgres => &[
            "create function no_more() returns trigger language plpgsql as
             $$ begin raise exception 'no more lines'; end $$",
            "create trigger no_more before insert on audit for each row execute function no_more()",
        ],
    };
    for statement in statements {
        yard.sql(statement).expect("a trigger");
    }
    assert!(yard.fails(1, &["reveal", "zoo-keeper/ada", "badge", "--yes"]).contains("no more lines"));
    for call in [["zoo-keeper/ada", "show-badge"], ["zoo-cage/lion", "open-all"], ["zoo-safe/box", "read"]] {
        let refused = yard.fails(1, &["call", call[0], call[1]]);
        assert!(refused.contains("the audit trail cannot be written"), "{refused}");
    }
}
