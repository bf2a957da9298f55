//! Limits on schemas and on checking documents against them. Schemas come from bundles, and so do the
//! results that they are checked against: both are guest-controlled. `blockyard_host::limits` re-exports
//! these constants beside all others.

/// JSON values in one schema: the largest known, with a description for each of 900 fields, has 9,000.
pub const SCHEMA_VALUES: usize = 50_000;
/// Schemas that apply to the same value one inside another, through `$ref`, `allOf`, `anyOf`, `oneOf` and
/// conditions. Generated schemas have up to 6. Recursion is bounded by this times [`DOCUMENT_DEPTH`].
pub const SCHEMA_DEPTH: usize = 32;
/// Schemas that apply to the same value in all, each counted as many times as it is reached. An enum
/// with documented variants has one for each variant.
pub const SCHEMA_BRANCHES: u64 = 20_000;
/// Levels of the longest path through all definitions of a schema: the stack that compiling it needs.
/// 400 definitions of usual depth have 2,000.
pub const SCHEMA_LEVELS: usize = 4_096;
/// Regular expressions in all schemas of a bundle.
pub const SCHEMA_PATTERNS: usize = 128;
/// Subschemas that are compiled for all schemas of a bundle; below `unevaluatedProperties` each counts as
/// many times as it is reached. One takes about 1 KiB.
pub const SCHEMA_NODES: u64 = 200_000;
/// Size of one compiled regular expression, bytes. All of a bundle together take
/// [`SCHEMA_PATTERNS`] times as much.
pub const PATTERN_BYTES: usize = 1 << 20;
/// Nesting of a document. The JSON parser has the same limit.
pub const DOCUMENT_DEPTH: usize = 128;
/// Steps that checking one document may take; a step is one keyword on one value, about 20 ns. A result
/// of 16 MiB (8 million values) has 25 steps for each value.
pub const CHECK_STEPS: u64 = 200_000_000;
/// Steps of a check that is made at once; a longer one runs on a thread of its own, under the deadline
/// of its call.
pub const QUICK_STEPS: u64 = 20_000;
/// Steps up to which all problems of a document are listed; a problem takes up to 300 bytes. A
/// document that needs more is only reported as not valid.
pub const LISTED_STEPS: u64 = 500_000;
/// Pairs of a schema and a value that a search for secrets and references looks at.
pub const PLACE_STEPS: usize = 20_000_000;
/// Problems that are listed for one document.
pub const DOCUMENT_VIOLATIONS: usize = 200;
/// Questions of a form, and fields that are looked at for them.
pub const FORM_FIELDS: usize = 2_000;
