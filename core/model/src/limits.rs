//! Limits on schemas and on validating documents against them. Schemas come from bundles, and so do
//! the results that are validated: both are guest-controlled. `blockyard_call::limits` re-exports
//! these constants beside its own.

/// Maximum number of JSON values in one schema. The largest known schema, with a description for
/// each of 900 fields, has 9,000.
pub const SCHEMA_VALUES: usize = 50_000;
/// Maximum number of schemas that apply to the same value, one inside another, through `$ref`,
/// `allOf`, `anyOf`, `oneOf` and conditions. Generated schemas have up to 6. The depth of recursion
/// is limited by this number times [`DOCUMENT_DEPTH`].
pub const SCHEMA_DEPTH: usize = 32;
/// Maximum total number of schemas that apply to the same value, each counted as often as it is
/// reached. An enum with documented variants has one for each variant.
pub const SCHEMA_BRANCHES: u64 = 20_000;
/// Maximum number of levels on the longest path through all definitions of a schema, which
/// determines the stack size for compiling it. 400 definitions of typical depth have 2,000.
pub const SCHEMA_LEVELS: usize = 4_096;
/// Maximum number of regular expressions in all schemas of a bundle.
pub const SCHEMA_PATTERNS: usize = 128;
/// Maximum number of compiled subschemas in all schemas of a bundle. Below `unevaluatedProperties`
/// each counts as often as it is reached. One takes about 1 KiB.
pub const SCHEMA_NODES: u64 = 200_000;
/// Maximum size of one compiled regular expression in bytes. All expressions of a bundle together
/// take at most [`SCHEMA_PATTERNS`] times as much.
pub const PATTERN_BYTES: usize = 1 << 20;
/// Maximum nesting depth of a document. The JSON parser has the same limit.
pub const DOCUMENT_DEPTH: usize = 128;
/// Maximum number of steps for validating one document. A step is one keyword on one value and
/// takes about 20 ns. A result of 16 MiB (8 million values) has 25 steps for each value.
pub const CHECK_STEPS: u64 = 200_000_000;
/// Maximum number of steps of a validation that runs on the current thread. A longer one runs on a
/// separate thread, under the deadline of its call.
pub const QUICK_STEPS: u64 = 20_000;
/// Maximum number of steps up to which all errors of a document are listed; an error takes up to
/// 300 bytes. A document that needs more steps is only reported as invalid.
pub const LISTED_STEPS: u64 = 500_000;
/// Maximum number of pairs of a schema and a value that a search for secrets and references visits.
pub const LOCATION_STEPS: usize = 20_000_000;
/// Maximum number of violations that are listed for one document.
pub const DOCUMENT_VIOLATIONS: usize = 200;
/// Maximum number of fields in a form, and of subschemas that describe one of them.
pub const FORM_FIELDS: usize = 2_000;
/// Maximum number of steps for one operation on a form, such as listing the members of a group. A
/// step is one subschema of one field.
pub const FORM_STEPS: usize = 200_000;
/// Maximum number of parts of a schema that are compiled for a form: conditions, variants, and fields
/// whose answers are validated.
pub const FORM_PARTS: usize = 1_000;
/// Maximum number of values of a document that are converted into separate answers of a form.
pub const FORM_VALUES: usize = 20_000;
