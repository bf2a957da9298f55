//! Jobs of BigQuery, by its REST API (version 2): started under a name of ours, so that a request whose
//! answer was lost can be sent again and starts nothing twice.

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::http::{self, Request, Response};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{clock, random};

use super::cell::{Cell, Row};
use super::field::Field;
use crate::api;
use crate::credentials::GcpCredentials;
use crate::encryption::Key;
use crate::resumable::{self, Session, Target};

/// How often a job is started anew that failed for a reason which passes.
const ATTEMPTS: u32 = 4;
/// How long BigQuery waits for a query before it answers that it is not done, milliseconds.
const LONG_POLL: &str = "20000";
/// The first wait between two questions after a job, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a call waits for a job where it is not said, seconds: less than a call may take.
pub(crate) const WAIT_SECONDS: u64 = 240;
/// How many errors of a job are kept.
const ERRORS: usize = 20;

/// A project's part of the API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) credentials: GcpCredentials,
    pub(crate) project: String,
    /// Where jobs run.
    pub(crate) location: Option<String>,
    /// On every job.
    pub(crate) labels: BTreeMap<String, String>,
}

/// A job.
#[data]
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Its name in the project.
    pub(crate) job_id: String,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// `PENDING`, `RUNNING` or `DONE`.
    pub(crate) state: String,
    /// `SELECT`, `INSERT`, …; of queries only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) statement_type: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<JobError>,
    /// All that was wrong, which need not have made it fail: the rows that a load skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<JobError>,
    /// How many rows it changed, loaded or wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u64>,
    /// How many rows of a load were skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bad_rows: Option<u64>,
    /// How many bytes it read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_processed: Option<u64>,
}

/// Something that was wrong.
#[data]
#[derive(Debug, Clone)]
pub(crate) struct JobError {
    /// In one word of BigQuery's: `invalidQuery`, `notFound`, …
    pub(crate) reason: String,
    /// For people.
    pub(crate) message: String,
    /// Where: a field, a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
}

/// A page of a query's rows.
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

/// The rows of a query, page by page.
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

    /// Sends a request that may be repeated; gives the answer where it is a good one.
    pub(crate) fn send(&self, request: impl Fn() -> Request, what: &str) -> Result<Response> {
        api::ok(api::send(|| self.credentials.sign(request()))?, what)
    }

    pub(crate) fn get(&self, path: &str, what: &str) -> Result<Value> {
        let url = self.url(path);
        self.send(|| http::get(url.as_str()), what)?.json()
    }

    /// What a query would do: nothing runs, nothing is charged.
    pub(crate) fn dry_run(&self, query: &Value) -> Result<Value> {
        let (url, request) = (self.url("/jobs"), self.request(&json!({ "query": query, "dryRun": true }), &[]));
        let answer = self.send(|| http::post(url.as_str()).json(&request), "the query").map_err(placed)?;
        let answer: Value = answer.json()?;
        match Job::read(&answer)?.problem() {
            Some(problem) => Err(problem),
            None => Ok(answer),
        }
    }

    /// Starts a job and waits for its end, at most so long.
    pub(crate) fn run(&self, configuration: &Value, wait: Duration) -> Result<Job> {
        self.attempt(|| self.wait(self.start(configuration)?, wait))
    }

    /// Starts a query and gives its rows.
    pub(crate) fn query(&self, query: &Value, page_rows: usize) -> Result<Pages> {
        self.attempt(|| {
            let job = self.start(&json!({ "query": query }))?;
            match job.problem() {
                Some(problem) => Err(problem),
                None => Pages::open(self.clone(), job, page_rows),
            }
        })
    }

    /// Starts anew what failed for a reason which passes. Such a job has changed nothing, unless it is a
    /// script, whose first statements may have done their work.
    fn attempt<T>(&self, run: impl Fn() -> Result<T>) -> Result<T> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match run() {
                Err(problem) if attempt < ATTEMPTS && may_start_anew(&problem) => api::wait(attempt),
                outcome => return outcome,
            }
        }
    }

    /// Starts a job.
    pub(crate) fn start(&self, configuration: &Value) -> Result<Job> {
        let job_id = job_id();
        let (url, request) = (self.url("/jobs"), self.request(configuration, &[("jobId", &job_id)]));
        let (answer, sent) = api::send_counting(|| Ok(self.credentials.sign(http::post(url.as_str()).json(&request))))?;
        // It was started, and the answer that said so did not arrive.
        if sent > 1 && answer.status == 409 {
            return self.job(&job_id, self.location.as_deref());
        }
        Job::read(&api::ok(answer, "the job").map_err(placed)?.json()?)
    }

    /// Starts a load of these bytes.
    pub(crate) fn upload(&self, configuration: &Value, input: &Body, what: &str) -> Result<Job> {
        let base = self.credentials.base("bigquery");
        let project = http::percent_encode(&self.project);
        let url = format!("{base}/upload/bigquery/v2/projects/{project}/jobs?uploadType=resumable");
        let request = self.request(configuration, &[("jobId", &job_id())]);
        let target = Target { url: &url, content_type: "application/octet-stream", what };
        let session = Session::begin(&self.credentials, target, Key(None), &request)?;
        let made = session.send(resumable::chunk(input)?, input, |_| Ok(()))?;
        Job::read(&made)
    }

    fn request(&self, configuration: &Value, reference: &[(&str, &str)]) -> Value {
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

    /// A job as it stands.
    pub(crate) fn job(&self, job_id: &str, location: Option<&str>) -> Result<Job> {
        let url = self.url(&format!("/jobs/{}", http::percent_encode(job_id)));
        let location: Vec<(&str, &str)> = location.map(|location| ("location", location)).into_iter().collect();
        let answer =
            self.send(|| http::get(url.as_str()).query(location.iter().copied()), &format!("job `{job_id}`"))?;
        Job::read(&answer.json()?)
    }

    /// Waits for a job's end, at most so long; a job that failed is a problem.
    pub(crate) fn wait(&self, job: Job, wait: Duration) -> Result<Job> {
        let until = clock::now().saturating_add(wait);
        let mut pause = FIRST_WAIT;
        let mut job = job;
        while job.state != "DONE" {
            if clock::now() + pause > until {
                let message = format!("job `{}` is not done after {} seconds; it goes on", job.job_id, wait.as_secs());
                return Err(Problem::new("timeout", message)
                    .hint("`job-wait` waits on, `job-cancel` ends it")
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

    /// Asks a job to end.
    pub(crate) fn cancel(&self, job_id: &str, location: Option<&str>) -> Result<Job> {
        let url = self.url(&format!("/jobs/{}/cancel", http::percent_encode(job_id)));
        let location: Vec<(&str, &str)> = location.map(|location| ("location", location)).into_iter().collect();
        let request = || http::post(url.as_str()).query(location.iter().copied()).json(&json!({}));
        let answer: Value = self.send(request, &format!("job `{job_id}`"))?.json()?;
        Job::read(&answer["job"])
    }

    /// How many rows the statements of a script changed, all together.
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

fn may_start_anew(problem: &Problem) -> bool {
    let details = problem.details();
    details["statement_type"] != "SCRIPT" && details["job_reason"].as_str().is_some_and(api::is_passing)
}

/// A name that no other job has.
fn job_id() -> String {
    random::bytes(16).iter().fold("blockyard_".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

impl Job {
    /// From its resource.
    pub(crate) fn read(resource: &Value) -> Result<Self> {
        let unread = || Problem::new("failed", "BigQuery describes a job in a way that is not known");
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

    /// Why it failed, where it did.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let JobError { reason, message, .. } = self.error.as_ref()?;
        let problem = match reason.as_str() {
            "notFound" => Problem::new("not-found", message.as_str()),
            "accessDenied" | "blocked" | "billingNotEnabled" => Problem::new("denied", message.as_str()),
            "duplicate" => Problem::new("conflict", message.as_str()),
            "stopped" => Problem::new("failed", format!("the job was cancelled: {message}")),
            "timeout" => Problem::new("timeout", message.as_str()),
            "bytesBilledLimitExceeded" => {
                Problem::invalid(message.as_str()).hint("raise `maximum_bytes`, or read less; nothing was charged")
            }
            "quotaExceeded" => Problem::new("unavailable", message.as_str()).retryable(),
            reason if api::is_passing(reason) => Problem::new("unavailable", message.as_str()).retryable(),
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
            [first, ..] => problem.hint(format!("BigQuery says further: {first}")),
        };
        Some(problem.with_details(details))
    }
}

/// The problem with the place in the statement that its message names.
fn placed(problem: Problem) -> Problem {
    let Some(position) = position(problem.message()) else { return problem };
    let mut details = problem.details();
    details["position"] = position;
    problem.with_details(details)
}

/// The place in a statement that a message names: `… at [1:7]`, line and column from 1.
fn position(message: &str) -> Option<Value> {
    let (_, place) = message.rsplit_once("at [")?;
    let (line, column) = place.split_once(']')?.0.split_once(':')?;
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
    /// Waits for the query and fetches its first rows.
    fn open(client: Client, job: Job, page_rows: usize) -> Result<Self> {
        let mut pages = Self { client, job, page_rows, fields: Vec::new(), first: None, token: None };
        let page = pages.fetch()?;
        pages.fields = page.schema.map(|schema| schema.fields).unwrap_or_default();
        pages.first = Some(cells(page.rows));
        pages.token = page.page_token;
        Ok(pages)
    }

    /// The next rows; none at the end.
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
            // Timestamps as whole microseconds: as floating-point seconds they are not exact.
            ("formatOptions.useInt64Timestamp", "true"),
        ];
        parameters.extend(self.job.location.as_deref().map(|location| ("location", location)));
        parameters.extend(self.token.as_deref().map(|token| ("pageToken", token)));
        loop {
            let request = || http::get(url.as_str()).query(parameters.iter().copied());
            let page: ResultPage = match self.client.send(request, "the query") {
                Ok(answer) => answer.json()?,
                // The job knows better why it failed.
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

/// A number of 64 bits, which JSON has as a text.
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
    fn reasons_become_codes() {
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
    fn positions_are_found() {
        let problem = failed("invalidQuery", "Syntax error: Unexpected identifier \"selec\" at [1:7]");
        assert_eq!(problem.details()["position"], json!({"line": 1, "column": 7}));
        assert_eq!(position("no place"), None);
        assert_eq!(position("at [x:7]"), None);
    }
}
