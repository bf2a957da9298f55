//! BigQuery jobs, run with the REST API (version 2).

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::http::{self, Request, Response};
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::Policy;
use blockyard_sdk::{clock, random};

use super::cell::{Cell, Row};
use super::field::Field;
use crate::api;
use crate::credentials::GcpCredentials;
use crate::encryption::Key;
use crate::resumable::{self, Session, Target};

/// Restarts of a job that fails for a transient reason.
const RESTARTS: Policy = Policy::new(4).jitter(random::bytes).time_limit(Duration::from_secs(WAIT_SECONDS));
/// Milliseconds that BigQuery waits for a query to finish before it responds.
const LONG_POLL: &str = "20000";
/// First and maximum wait between two requests for the state of a job.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Default maximum time that a call waits for a job, in seconds; less than the time limit of a
/// call.
pub(crate) const WAIT_SECONDS: u64 = 240;
/// Maximum number of job errors that are reported.
const ERRORS: usize = 20;

/// Client of the BigQuery API for one project.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) credentials: GcpCredentials,
    pub(crate) project: String,
    /// Location of jobs.
    pub(crate) location: Option<String>,
    /// Labels of all jobs.
    pub(crate) labels: BTreeMap<String, String>,
    /// ID of the next job, if the caller chose it.
    pub(super) job_id: Option<String>,
}

/// A BigQuery job.
#[data]
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Job ID.
    pub(crate) job_id: String,
    /// Location of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// `PENDING`, `RUNNING` or `DONE`.
    pub(crate) state: String,
    /// `SELECT`, `INSERT`, …; queries only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) statement_type: Option<String>,
    /// Error that made the job fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<JobError>,
    /// All errors, including non-fatal ones, e.g. rows that a load skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<JobError>,
    /// Number of rows changed, loaded or written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u64>,
    /// Number of rows that a load skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bad_rows: Option<u64>,
    /// Number of bytes read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_processed: Option<u64>,
}

/// An error of a job.
#[data]
#[derive(Debug, Clone)]
pub(crate) struct JobError {
    /// Machine-readable reason: `invalidQuery`, `notFound`, …
    pub(crate) reason: String,
    /// Error message.
    pub(crate) message: String,
    /// Location of the error, e.g. a field or a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
}

/// A page of query results.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultPage {
    #[serde(default)]
    job_complete: bool,
    schema: Option<ResultSchema>,
    #[serde(default)]
    rows: Vec<Row>,
    page_token: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
struct ResultSchema {
    #[serde(default)]
    fields: Vec<Field>,
}

/// Pages of a query result, fetched one at a time.
#[derive(Debug)]
pub(crate) struct Pages {
    client: Client,
    job: Job,
    page_rows: usize,
    pub(crate) fields: Vec<Field>,
    first: Option<Vec<Vec<Cell>>>,
    token: Option<String>,
}

impl Client {
    pub(crate) fn url(&self, path: &str) -> String {
        let base = self.credentials.base("bigquery");
        format!("{base}/bigquery/v2/projects/{}{path}", http::percent_encode(&self.project))
    }

    /// Sends an idempotent request and returns the response, or an error if its status is not 2xx.
    pub(crate) fn send(&self, request: impl Fn() -> Request, subject: &str) -> Result<Response> {
        api::ok(api::send(|| self.credentials.sign(request()))?, subject)
    }

    pub(crate) fn get(&self, path: &str, subject: &str) -> Result<Value> {
        let url = self.url(path);
        self.send(|| http::get(url.as_str()), subject)?.json()
    }

    /// Returns the statistics of a query without running it. Not billed.
    pub(crate) fn dry_run(&self, query: &Value) -> Result<Value> {
        let (url, request) = (self.url("/jobs"), self.request(&json!({ "query": query, "dryRun": true }), &[]));
        let answer = self.send(|| http::post(url.as_str()).json(&request), "the query").map_err(with_position)?;
        let answer: Value = answer.json()?;
        match Job::read(&answer)?.problem() {
            Some(problem) => Err(problem),
            None => Ok(answer),
        }
    }

    /// Starts a job and waits at most `wait` for it to finish.
    pub(crate) fn run(&self, configuration: &Value, wait: Duration) -> Result<Job> {
        self.attempt(|| self.wait(self.start(configuration)?, wait))
    }

    /// Starts a query and returns its rows.
    pub(crate) fn query(&self, query: &Value, page_rows: usize) -> Result<Pages> {
        self.attempt(|| {
            let job = self.start(&json!({ "query": query }))?;
            match job.problem() {
                Some(problem) => Err(problem),
                None => Pages::open(self.clone(), job, page_rows),
            }
        })
    }

    /// Restarts a job that failed for a transient reason. Such a job has changed nothing, except
    /// for scripts, whose first statements may have been committed; scripts are not restarted.
    fn attempt<T>(&self, run: impl Fn() -> Result<T>) -> Result<T> {
        let mut backoff = RESTARTS.start();
        loop {
            let outcome = run();
            let restarts = outcome.as_ref().is_err_and(may_restart);
            if !restarts || !backoff.wait(None) {
                return outcome;
            }
        }
    }

    /// Starts a load job with the bytes of `input`.
    pub(crate) fn upload(&self, configuration: &Value, input: &Body, subject: &str) -> Result<Job> {
        let base = self.credentials.base("bigquery");
        let project = http::percent_encode(&self.project);
        let url = format!("{base}/upload/bigquery/v2/projects/{project}/jobs?uploadType=resumable");
        let request = self.request(configuration, &[("jobId", &job_id())]);
        let target = Target { url: &url, content_type: "application/octet-stream", subject };
        let session = Session::begin(&self.credentials, target, Key(None), &request)?;
        let uploaded = session.send(resumable::chunk(input)?, input, |_| Ok(()))?;
        Job::read(&uploaded)
    }

    pub(super) fn request(&self, configuration: &Value, reference: &[(&str, &str)]) -> Value {
        let mut configuration = configuration.clone();
        if !self.labels.is_empty() {
            configuration["labels"] = json!(self.labels);
        }
        let location = self.location.as_deref().map(|location| ("location", location));
        let reference: Map<String, Value> = reference
            .iter()
            .copied()
            .chain([("projectId", self.project.as_str())])
            .chain(location)
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        json!({ "jobReference": reference, "configuration": configuration })
    }

    /// Returns the current state of a job.
    pub(crate) fn job(&self, job_id: &str, location: Option<&str>) -> Result<Job> {
        Job::read(&self.resource(job_id, location)?)
    }

    /// Returns the API resource of a job.
    pub(super) fn resource(&self, job_id: &str, location: Option<&str>) -> Result<Value> {
        let url = self.url(&format!("/jobs/{}", http::percent_encode(job_id)));
        let location: Vec<(&str, &str)> = location.map(|location| ("location", location)).into_iter().collect();
        self.send(|| http::get(url.as_str()).query(location.iter().copied()), &format!("job `{job_id}`"))?.json()
    }

    /// Waits at most `wait` for a job to finish. Returns an error if the job failed.
    pub(crate) fn wait(&self, job: Job, wait: Duration) -> Result<Job> {
        let until = clock::now().saturating_add(wait);
        let mut pause = FIRST_WAIT;
        let mut job = job;
        while job.state != "DONE" {
            if clock::now() + pause > until {
                let message = format!(
                    "job `{}` did not finish within {} seconds and is still running",
                    job.job_id,
                    wait.as_secs()
                );
                return Err(Problem::new("timeout", message)
                    .hint("run `job-wait` to continue waiting, or `job-cancel` to cancel the job")
                    .with_details(json!({ "job_id": job.job_id, "location": job.location })));
            }
            clock::sleep(pause);
            pause = (pause * 3 / 2).min(LONGEST_WAIT);
            job = self.job(&job.job_id, job.location.as_deref())?;
        }
        match job.problem() {
            Some(problem) => Err(problem),
            None => Ok(job),
        }
    }

    /// Requests the cancellation of a job.
    pub(crate) fn cancel(&self, job_id: &str, location: Option<&str>) -> Result<Job> {
        let url = self.url(&format!("/jobs/{}/cancel", http::percent_encode(job_id)));
        let location: Vec<(&str, &str)> = location.map(|location| ("location", location)).into_iter().collect();
        let request = || http::post(url.as_str()).query(location.iter().copied()).json(&json!({}));
        let answer: Value = self.send(request, &format!("job `{job_id}`"))?.json()?;
        Job::read(&answer["job"])
    }

    /// Returns the total number of rows that the statements of a script changed.
    pub(crate) fn rows_of_script(&self, script: &Job) -> Result<Option<u64>> {
        let url = self.url("/jobs");
        let mut total = None;
        let mut token: Option<String> = None;
        loop {
            let mut parameters = vec![("parentJobId", script.job_id.as_str()), ("projection", "full")];
            parameters.extend(token.as_deref().map(|token| ("pageToken", token)));
            let request = || http::get(url.as_str()).query(parameters.iter().copied());
            let page: Value = self.send(request, "the statements of the script")?.json()?;
            let jobs = page["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
            for rows in jobs.iter().filter_map(|job| number(&job["statistics"]["query"]["numDmlAffectedRows"])) {
                total = Some(total.unwrap_or(0) + rows);
            }
            token = text(&page["nextPageToken"]);
            if token.is_none() {
                return Ok(total);
            }
        }
    }
}

fn may_restart(problem: &Problem) -> bool {
    let details = problem.details();
    details["statement_type"] != "SCRIPT" && details["job_reason"].as_str().is_some_and(api::is_transient)
}

/// Returns a unique job ID.
pub(super) fn job_id() -> String {
    random::bytes(16).iter().fold("blockyard_".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

impl Job {
    /// Reads a job from its API resource.
    pub(crate) fn read(resource: &Value) -> Result<Self> {
        let unread = || Problem::new("failed", "BigQuery returned a job in an unexpected format");
        let statistics = &resource["statistics"];
        let (query, load) = (&statistics["query"], &statistics["load"]);
        let errors = resource["status"]["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Self {
            job_id: text(&resource["jobReference"]["jobId"]).unwrap_or_default(),
            location: text(&resource["jobReference"]["location"]),
            state: text(&resource["status"]["state"]).ok_or_else(unread)?,
            statement_type: text(&query["statementType"]),
            error: JobError::read(&resource["status"]["errorResult"]),
            errors: errors.iter().take(ERRORS).filter_map(JobError::read).collect(),
            rows: number(&query["numDmlAffectedRows"]).or_else(|| number(&load["outputRows"])),
            bad_rows: number(&load["badRecords"]),
            bytes_processed: number(&statistics["totalBytesProcessed"])
                .or_else(|| number(&query["totalBytesProcessed"])),
        })
    }

    /// Returns the error of a failed job.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let JobError { reason, message, .. } = self.error.as_ref()?;
        let problem = match reason.as_str() {
            "notFound" => Problem::new("not-found", message.as_str()),
            "accessDenied" | "blocked" | "billingNotEnabled" => Problem::new("denied", message.as_str()),
            "duplicate" => Problem::new("conflict", message.as_str()),
            "stopped" => Problem::new("failed", format!("the job was cancelled: {message}")),
            "timeout" => Problem::new("timeout", message.as_str()),
            "bytesBilledLimitExceeded" => {
                Problem::invalid(message.as_str()).hint("increase `maximum_bytes`, or read less; nothing was billed")
            }
            "quotaExceeded" => Problem::new("unavailable", message.as_str()).retryable(),
            reason if api::is_transient(reason) => Problem::new("unavailable", message.as_str()).retryable(),
            _ => Problem::invalid(message.as_str()),
        };
        let mut details = json!({ "job_id": self.job_id, "job_reason": reason, "errors": self.errors });
        if let Some(kind) = &self.statement_type {
            details["statement_type"] = kind.as_str().into();
        }
        if let Some(position) = position(message) {
            details["position"] = position;
        }
        let further: Vec<&str> =
            self.errors.iter().map(|error| error.message.as_str()).filter(|m| m != message).collect();
        let problem = match further.as_slice() {
            [] => problem,
            [first, ..] => problem.hint(format!("BigQuery also reported: {first}")),
        };
        Some(problem.with_details(details))
    }
}

/// Adds the position in the statement that the message contains to the details of the error.
pub(super) fn with_position(problem: Problem) -> Problem {
    let Some(position) = position(problem.message()) else { return problem };
    let mut details = problem.details();
    details["position"] = position;
    problem.with_details(details)
}

/// Parses the position in a statement from a message such as `… at [1:7]`: line and column, counted
/// from 1.
fn position(message: &str) -> Option<Value> {
    let (_, location) = message.rsplit_once("at [")?;
    let (line, column) = location.split_once(']')?.0.split_once(':')?;
    Some(json!({ "line": line.parse::<u32>().ok()?, "column": column.parse::<u32>().ok()? }))
}

impl JobError {
    fn read(error: &Value) -> Option<Self> {
        let reason = text(&error["reason"])?;
        let message = text(&error["message"]).unwrap_or_else(|| reason.clone());
        Some(Self { reason, message, location: text(&error["location"]).filter(|location| !location.is_empty()) })
    }
}

impl Pages {
    /// Waits for the query to finish and fetches its first page.
    fn open(client: Client, job: Job, page_rows: usize) -> Result<Self> {
        let mut pages = Self { client, job, page_rows, fields: Vec::new(), first: None, token: None };
        let page = pages.fetch()?;
        pages.fields = page.schema.map(|schema| schema.fields).unwrap_or_default();
        pages.first = Some(cells(page.rows));
        pages.token = page.page_token;
        Ok(pages)
    }

    /// Returns the next page, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Vec<Cell>>>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.token.is_none() {
            return Ok(None);
        }
        let page = self.fetch()?;
        self.token = page.page_token;
        Ok(Some(cells(page.rows)))
    }

    fn fetch(&self) -> Result<ResultPage> {
        let url = self.client.url(&format!("/queries/{}", http::percent_encode(&self.job.job_id)));
        let rows = self.page_rows.to_string();
        let mut parameters = vec![
            ("maxResults", rows.as_str()),
            ("timeoutMs", LONG_POLL),
            // Timestamps as integer microseconds: floating-point seconds are not exact.
            ("formatOptions.useInt64Timestamp", "true"),
        ];
        parameters.extend(self.job.location.as_deref().map(|location| ("location", location)));
        parameters.extend(self.token.as_deref().map(|token| ("pageToken", token)));
        loop {
            let request = || http::get(url.as_str()).query(parameters.iter().copied());
            let page: ResultPage = match self.client.send(request, "the query") {
                Ok(answer) => answer.json()?,
                // The job resource contains a more specific error.
                Err(problem) => {
                    let job = self.client.job(&self.job.job_id, self.job.location.as_deref());
                    return Err(job.ok().and_then(|job| job.problem()).unwrap_or(problem));
                }
            };
            if page.job_complete {
                return Ok(page);
            }
        }
    }
}

fn cells(rows: Vec<Row>) -> Vec<Vec<Cell>> {
    rows.into_iter().map(Row::into_cells).collect()
}

pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Reads a 64-bit number, which the API encodes as a JSON string.
pub(crate) fn number(value: &Value) -> Option<u64> {
    value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: &str, message: &str) -> Problem {
        let error = json!({ "reason": reason, "message": message });
        let job = json!({
            "jobReference": { "projectId": "demo", "jobId": "j" },
            "status": { "state": "DONE", "errorResult": error, "errors": [error] },
        });
        Job::read(&job).expect("a job").problem().expect("a problem")
    }

    #[test]
    fn error_reasons_map_to_error_codes() {
        for (reason, code, retryable) in [
            ("invalidQuery", "invalid", false),
            ("notFound", "not-found", false),
            ("accessDenied", "denied", false),
            ("duplicate", "conflict", false),
            ("quotaExceeded", "unavailable", true),
            ("backendError", "unavailable", true),
            ("bytesBilledLimitExceeded", "invalid", false),
        ] {
            let problem = failed(reason, "it failed");
            assert_eq!((problem.code(), problem.is_retryable()), (code, retryable), "{reason}");
        }
    }

    #[test]
    fn error_position_is_parsed_from_the_message() {
        let problem = failed("invalidQuery", "Syntax error: Unexpected identifier \"selec\" at [1:7]");
        assert_eq!(problem.details()["position"], json!({"line": 1, "column": 7}));
        assert_eq!(position("no place"), None);
        assert_eq!(position("at [x:7]"), None);
    }
}
