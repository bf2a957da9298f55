//! Results of conformance tests.

use serde::Serialize;

use crate::{Error, ErrorKind};

/// Result of one conformance test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConformanceResult {
    /// Name of the test, with the block type that it applies to.
    pub name: String,
    /// Result.
    pub status: ConformanceStatus,
    /// Findings of a failed test, or the reason for skipping it.
    pub reasons: Vec<String>,
}

/// Result of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConformanceStatus {
    /// The bundle conforms.
    Ok,
    /// The bundle does not conform.
    Failed,
    /// The test does not apply, or cannot run.
    Skipped,
}

impl ConformanceResult {
    /// Creates a result: failed if there are findings.
    pub(crate) fn of(name: impl Into<String>, findings: Vec<String>) -> Self {
        let status = if findings.is_empty() { ConformanceStatus::Ok } else { ConformanceStatus::Failed };
        Self { name: name.into(), status, reasons: findings }
    }

    pub(crate) fn skipped(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), status: ConformanceStatus::Skipped, reasons: vec![reason.into()] }
    }
}

/// Returns the text of an error and its causes.
pub(crate) fn text(error: &Error) -> String {
    let mut reasons = vec![error.to_string()];
    reasons.extend(error.causes());
    reasons.join(": ")
}

/// Returns the finding that an error is: a crash, an exceeded limit or invalid data. Other errors, such as problems
/// that the bundle reports, are permitted.
pub(crate) fn finding(error: &Error) -> Option<String> {
    matches!(error.kind(), ErrorKind::Bundle | ErrorKind::Internal).then(|| text(error))
}
