//! Messages of the macros: all mistakes of an item at once, each at its position and with the fix.
//! `TRYBUILD=overwrite cargo test -p blockyard-sdk --test mistakes` updates the expected messages
//! for review.

#[test]
fn macros_report_all_mistakes_with_their_fix() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
