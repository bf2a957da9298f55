//! Rejected configurations: all problems at once, each with its location and the nearest valid
//! value.

use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::{TestYard, at, document, rejected};

on_both!(
    all_problems_are_reported_at_once,
    violations_are_available_as_values,
    unknown_fields_are_reported_with_the_nearest_known_one,
    an_invalid_enum_value_is_reported_with_the_nearest_one,
    a_fraction_in_an_integer_is_reported_at_its_location,
    a_check_saves_nothing,
    a_rejected_change_saves_nothing,
);

async fn create(yard: &TestYard, config: Value) -> String {
    rejected(yard.try_create("zoo-cage/cat", config).await)
}

async fn all_problems_are_reported_at_once(yard: &TestYard) {
    let wrong = json!({
        "anmal": "cat", "capacity": -1, "warmth": "hot", "tags": ["a", 7], "keeper": "ada", "colour": "red",
    });
    expect![[r#"
        invalid: block `zoo-cage/cat` is not valid
          /animal: is missing, and it is required
          /anmal: unknown field `anmal`; did you mean `animal`?
          /capacity: the value is less than the minimum of 0
          /colour: unknown field `colour`
          /keeper: must be a reference; write `{"$block": "TYPE/NAME"}`
          /tags/1: must be of type `string`, not `integer`
          /warmth: must be of type `number` or `null`, not `string`
    "#]]
    .assert_eq(&create(yard, wrong).await);
    // A value that cannot be a secret is reported alone, because nothing else of such a document is
    // read.
    expect![[r#"
        invalid: block `zoo-cage/cat` is not valid
          /spares/0: must be a string or a secret source
    "#]]
    .assert_eq(&create(yard, json!({"anmal": "cat", "spares": [{"key": 1}, "fine"]})).await);
    assert!(yard.addresses().await.is_empty());
}

async fn violations_are_available_as_values(yard: &TestYard) {
    let error = yard.try_create("zoo-cage/cat", json!({"anmal": "cat"})).await.unwrap_err();
    assert_eq!(
        error.values(),
        Some(json!([
            {"pointer": "/animal", "message": "is missing, and it is required", "hint": null},
            {"pointer": "/anmal", "message": "unknown field `anmal`", "hint": "did you mean `animal`?"},
        ]))
    );
}

async fn unknown_fields_are_reported_with_the_nearest_known_one(yard: &TestYard) {
    let wrong = json!({"animal": "cat", "place": {"hose": "north"}, "lock": {"how": "key", "patern": "x"}});
    expect![[r#"
        invalid: block `zoo-cage/cat` is not valid
          /lock/patern: unknown field `patern`; did you mean `pattern`?
          /lock/pattern: is missing, and it is required
          /place/hose: unknown field `hose`; did you mean `house`?
          /place/house: is missing, and it is required
    "#]]
    .assert_eq(&create(yard, wrong).await);
}

async fn an_invalid_enum_value_is_reported_with_the_nearest_one(yard: &TestYard) {
    let wrong = json!({"animal": "cat", "type": "tnk", "lock": {"how": "opn"}});
    expect![[r#"
        invalid: block `zoo-cage/cat` is not valid
          /lock/how: must be one of `open`, `key`, `guarded`; did you mean `open`?
          /type: must be one of `tank`, `aviary`; did you mean `tank`?
    "#]]
    .assert_eq(&create(yard, wrong).await);
}

async fn a_fraction_in_an_integer_is_reported_at_its_location(yard: &TestYard) {
    for number in ["1.5", "5.0"] {
        let number: Value = serde_json::from_str(number).unwrap();
        let refused = create(yard, json!({"animal": "cat", "capacity": number})).await;
        assert!(refused.starts_with("invalid: ") && refused.contains("/capacity: "), "{refused}");
        assert!(!refused.contains("u64"), "the error names a Rust type: {refused}");
    }
}

async fn a_check_saves_nothing(yard: &TestYard) {
    let address = at("zoo-cage/cat");
    yard.yard.check_new(&address, document(json!({"animal": "cat"}))).await.unwrap();
    expect![[r#"
        invalid: block `zoo-cage/cat` is not valid
          /animal: is missing, and it is required
    "#]]
    .assert_eq(&rejected(yard.yard.check_new(&address, document(json!({}))).await));
    assert!(yard.addresses().await.is_empty());
}

async fn a_rejected_change_saves_nothing(yard: &TestYard) {
    yard.create("zoo-cage/cat", json!({"animal": "cat"})).await;
    let before = yard.yard.audit(&blockyard::AuditFilter::default()).await.unwrap();
    let refused = yard.change("zoo-cage/cat", document(json!({"animal": "dog", "capacity": -1}))).await;
    expect![[r#"
        invalid: block `zoo-cage/cat` is not valid
          /capacity: the value is less than the minimum of 0
    "#]]
    .assert_eq(&rejected(refused));
    assert_eq!(yard.config("zoo-cage/cat").await, json!({"animal": "cat"}));
    assert_eq!(yard.newest("zoo-cage/cat").await, 1);
    assert_eq!(yard.yard.audit(&blockyard::AuditFilter::default()).await.unwrap(), before);
}
