//! Starts jobs. The client chooses the job ID, so that a request can be repeated after its response
//! was lost without starting a second job. A caller who chooses the ID can repeat the whole call.

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::RetriedResponse;

use super::job::{Client, Job, job_id, with_position};
use crate::api;

/// Maximum length of a job ID that a caller chooses. BigQuery permits 1,024 characters, of which
/// the number of a restart needs some.
const ID_LENGTH: usize = 1_000;
/// Maximum number of jobs that are started for one job ID: the first, and restarts after failures.
const STARTS: usize = 20;
/// Members of a job's configuration that are compared before its outcome is returned.
const COMPARED: [(&str, &str); 6] = [
    ("/query/query", "statement"),
    ("/query/destinationTable", "destination table"),
    ("/load/sourceUris", "source files"),
    ("/load/destinationTable", "destination table"),
    ("/extract/sourceTable", "source table"),
    ("/extract/destinationUris", "destination files"),
];

/// Job ID that the caller chooses.
#[data]
#[derive(Default)]
pub(super) struct JobKey {
    /// ID of the job, which makes the call repeatable: if a job with this ID exists, its outcome is
    /// returned and no second job is started, unless it failed and changed nothing. Use another
    /// ID for other parameters, which are not compared. Letters, digits, `-` and `_`. Defaults to
    /// a random ID.
    #[block(idempotency_key)]
    job_id: Option<String>,
}

impl JobKey {
    fn checked(self) -> Result<Option<String>> {
        let Some(id) = self.job_id else { return Ok(None) };
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=ID_LENGTH).contains(&id.len()) && id.bytes().all(known) {
            return Ok(Some(id));
        }
        Err(Problem::invalid(format!(
            "`{}` is not a valid job ID: 1 to {ID_LENGTH} letters, digits, `-` and `_`",
            id.escape_debug()
        )))
    }
}

impl Client {
    /// Returns a client whose next job has the ID that the caller chose.
    pub(super) fn with_key(self, key: JobKey) -> Result<Self> {
        Ok(Self { job_id: key.checked()?, ..self })
    }

    /// Starts a job, or returns the one that an earlier call with the same job ID started.
    pub(super) fn start(&self, configuration: &Value) -> Result<Job> {
        let Some(key) = &self.job_id else { return self.start_new(&job_id(), configuration) };
        for number in 0..STARTS {
            let id = if number == 0 { key.clone() } else { format!("{key}_{number}") };
            match self.start_once(&id, configuration)? {
                Some(job) => return Ok(job),
                None => {
                    let job = self.existing(&id, configuration)?;
                    if !failed_without_effect(&job) {
                        return Ok(job);
                    }
                }
            }
        }
        Err(Problem::new("conflict", format!("{STARTS} jobs with the ID `{key}` have failed"))
            .hint("use another `job_id`, or omit it"))
    }

    /// Starts a job with a random ID.
    fn start_new(&self, id: &str, configuration: &Value) -> Result<Job> {
        match self.start_once(id, configuration)? {
            Some(job) => Ok(job),
            // An earlier attempt started the job, but its response was lost.
            None => self.job(id, self.location.as_deref()),
        }
    }

    /// Starts a job with this ID. Returns `None` if a job with the ID exists.
    fn start_once(&self, id: &str, configuration: &Value) -> Result<Option<Job>> {
        let (url, request) = (self.url("/jobs"), self.request(configuration, &[("jobId", id)]));
        let may_have_started = |problem| with_job(problem, id);
        let sent = api::send_counting(|| Ok(self.credentials.sign(http::post(url.as_str()).json(&request))));
        let RetriedResponse { response, attempts } = sent.map_err(may_have_started)?;
        if response.status == 409 && (attempts > 1 || self.job_id.is_some()) {
            return Ok(None);
        }
        let response = api::ok(response, "the job").map_err(|problem| may_have_started(with_position(problem)))?;
        Job::read(&response.json().map_err(may_have_started)?).map(Some)
    }

    /// Returns the job that an earlier call started, if it has the same configuration.
    fn existing(&self, id: &str, configuration: &Value) -> Result<Job> {
        let resource = self.resource(id, self.location.as_deref())?;
        match difference(&resource["configuration"], configuration) {
            None => Job::read(&resource),
            Some(part) => Err(Problem::new("conflict", format!("job `{id}` exists, but has another {part}"))
                .hint("use another `job_id`, or omit it")),
        }
    }
}

/// Returns the first part of a job's configuration that differs from the requested one.
fn difference(existing: &Value, requested: &Value) -> Option<&'static str> {
    let differs = |pointer: &str| match (existing.pointer(pointer), requested.pointer(pointer)) {
        (Some(existing), Some(requested)) => existing != requested,
        _ => false,
    };
    COMPARED.iter().find(|(pointer, _)| differs(pointer)).map(|(_, name)| *name)
}

/// Checks whether a job failed and changed nothing. The first statements of a script may have been
/// committed, and a cancelled job is not restarted.
fn failed_without_effect(job: &Job) -> bool {
    let failed = job.error.as_ref().is_some_and(|error| error.reason != "stopped");
    failed && job.statement_type.as_deref() != Some("SCRIPT")
}

/// Names the job in an error after which it may be running, because BigQuery may have received the
/// request. A repeated statement that changes data would then take effect twice.
fn with_job(problem: Problem, job_id: &str) -> Problem {
    let is_refused = matches!(problem.details()["status"].as_u64(), Some(403 | 429));
    if problem.is_retryable() && !is_refused {
        problem.consequence(format!("job `{job_id}` may have started"))
    } else {
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_a_job_that_may_have_started() {
        let message = |problem: Problem, status: u16| {
            with_job(problem.with_details(json!({ "status": status })), "j").message().to_owned()
        };
        let unavailable = || Problem::new("unavailable", "busy").retryable();
        assert_eq!(message(unavailable(), 503), "busy; job `j` may have started");
        assert_eq!(message(unavailable(), 403), "busy");
        assert_eq!(message(Problem::invalid("wrong"), 400), "wrong");
        assert_eq!(with_job(unavailable(), "j").message(), "busy; job `j` may have started");
    }

    #[test]
    fn job_ids_of_callers_are_checked() {
        let checked = |id: &str| JobKey { job_id: Some(id.to_owned()) }.checked();
        assert_eq!(checked("load-2024_01").expect("an ID").as_deref(), Some("load-2024_01"));
        assert_eq!(JobKey::default().checked().expect("no ID"), None);
        for wrong in ["", "a b", "a/b", "ä", &"a".repeat(ID_LENGTH + 1)] {
            assert_eq!(checked(wrong).expect_err(wrong).code(), "invalid");
        }
    }

    #[test]
    fn a_job_with_another_configuration_is_found() {
        let query = |text: &str| json!({ "query": { "query": text, "useLegacySql": false } });
        // BigQuery adds members.
        let existing = json!({ "jobType": "QUERY", "query": { "query": "select 1", "priority": "INTERACTIVE" } });
        assert_eq!(difference(&existing, &query("select 1")), None);
        assert_eq!(difference(&existing, &query("select 2")), Some("statement"));
        let load = |uri: &str| json!({ "load": { "sourceUris": [uri] } });
        assert_eq!(difference(&load("gs://a/b"), &load("gs://a/c")), Some("source files"));
    }

    #[test]
    fn only_jobs_without_effect_are_restarted() {
        let job = |reason: Option<&str>, kind: &str| {
            let error = reason.map(|reason| json!({ "reason": reason, "message": "it failed" }));
            let job = json!({
                "jobReference": { "jobId": "j" },
                "status": { "state": "DONE", "errorResult": error },
                "statistics": { "query": { "statementType": kind } },
            });
            Job::read(&job).expect("a job")
        };
        assert!(failed_without_effect(&job(Some("backendError"), "INSERT")));
        assert!(!failed_without_effect(&job(Some("backendError"), "SCRIPT")));
        assert!(!failed_without_effect(&job(Some("stopped"), "INSERT")));
        assert!(!failed_without_effect(&job(None, "INSERT")));
    }
}
