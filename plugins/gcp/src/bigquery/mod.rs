//! Block type `bigquery-warehouse`: queries, tables, loads, extracts and jobs of BigQuery.

mod arrow;
mod cell;
mod field;
mod job;
mod job_operations;
mod load;
mod parameter;
mod query;
mod result;
mod row;
mod start;
mod statement;
mod table;
mod table_operations;
mod validation;

use std::collections::BTreeMap;

use blockyard_sdk::clock;
use blockyard_sdk::http;
use blockyard_sdk::prelude::*;

use crate::api;
use crate::credentials::GcpCredentials;
use field::Field;
use job::Job;
use load::Write;
use query::{PAGE_ROWS, WAIT};
use result::{DryRun, Executed, Queried, describe};
use start::JobKey;

/// Endpoint that starts jobs. BigQuery runs queries by POST, so read operations declare it as safe;
/// a dry run verifies that the statement is a `SELECT` before it runs.
const JOBS: &str = "POST https://bigquery.googleapis.com/bigquery/v2/projects/*/jobs";
/// The same endpoint in another universe.
const JOBS_OF_UNIVERSE: &str =
    "POST https://bigquery.{config.credentials.config.service_account.universe_domain}/bigquery/v2/projects/*/jobs";
/// The same endpoint on a server that the credentials configure.
const JOBS_OF_ENDPOINT: &str = "POST {config.credentials.config.endpoint}/bigquery/v2/projects/*/jobs";

/// BigQuery in one project: SQL queries, tables and jobs.
#[derive(Block, Debug)]
#[block(type = "bigquery-warehouse", version = 1, title = "BigQuery", interfaces(interface::Database, interface::Job))]
pub(crate) struct BigqueryWarehouse {
    /// Credentials for the requests, e.g. `gcp-credentials/prod`.
    credentials: BlockRef<GcpCredentials>,
    /// Project ID in which jobs run and are billed. Defaults to the project of the credentials.
    project: Option<String>,
    /// Default dataset of table names without a dataset, e.g. `sales`.
    dataset: Option<String>,
    /// Location in which jobs run and datasets are created: `US`, `EU`, `europe-west3`, …
    location: Option<String>,
    /// Maximum number of bytes that a query may read. A query that would read more fails before it
    /// runs and is not billed.
    maximum_bytes: Option<u64>,
    /// Labels of all jobs, e.g. `{"team": "data"}`.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Values by parameter name.
type Parameters = Map<String, Value>;
/// GoogleSQL types by parameter name.
type Types = BTreeMap<String, String>;
/// A row: values by column name.
type Row = Map<String, Value>;

/// Statement with its parameter values.
#[data]
struct Query {
    /// SQL statement with parameters as `:name` or `@name`, e.g. `SELECT * FROM sales.orders WHERE
    /// id = :id`.
    #[block(language = "sql")]
    statement: String,
    /// Parameter values by name, e.g. `{"id": 7}`.
    #[serde(default)]
    parameters: Parameters,
    /// Types of parameters that JSON values do not imply, e.g. `{"day": "DATE"}`: `DATE`,
    /// `NUMERIC`, `ARRAY<INT64>`, …
    #[serde(default)]
    types: Types,
}

/// Options of the job that runs a statement.
#[data]
struct JobOptions {
    /// Maximum number of bytes that the statement may read.
    maximum_bytes: Option<u64>,
    /// Labels of the job, in addition to those of the block.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[operations]
impl interface::Database for BigqueryWarehouse {
    /// Runs a read-only statement and returns its rows as an Arrow IPC stream.
    #[operation(safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn query(&self, #[flatten] query: Query, #[flatten] options: JobOptions) -> Result<InParts<Queried>> {
        let JobOptions { maximum_bytes, labels } = options;
        let client = self.client(labels)?;
        let query = self.configuration(&query, maximum_bytes)?;
        let pages = self.read(&client, &query, maximum_bytes, PAGE_ROWS)?;
        Ok(InParts { result: Queried { columns: describe(&pages.fields) }, parts: arrow::parts(pages)? })
    }

    /// Returns the first row of a query, or null.
    #[operation(safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn fetch_one(&self, #[flatten] query: Query) -> Result<Option<Row>> {
        Ok(self.rows(&query, 1)?.pop())
    }

    /// Returns at most the first `size` rows of a query.
    #[operation(safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn fetch_many(
        &self,
        #[flatten] query: Query,
        /// Maximum number of rows.
        size: u32,
    ) -> Result<Vec<Row>> {
        self.rows(&query, size as usize)
    }

    /// Returns all rows of a query as values. Use `query` for results that do not fit in memory.
    #[operation(safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn fetch_all(&self, #[flatten] query: Query) -> Result<Vec<Row>> {
        self.rows(&query, usize::MAX)
    }

    /// Runs a statement, or several separated by semicolons, that changes data. Returns the number
    /// of rows changed.
    fn execute(
        &self,
        #[flatten] query: Query,
        #[flatten] options: JobOptions,
        #[flatten] key: JobKey,
    ) -> Result<Executed> {
        let JobOptions { maximum_bytes, labels } = options;
        let query = self.configuration(&query, maximum_bytes)?;
        self.change(&self.client(labels)?.with_key(key)?, &query)
    }

    /// Runs a statement once for each set of parameters, atomically. Use `load` or `insert-rows`
    /// for large numbers of rows.
    fn execute_many(
        &self,
        /// SQL statement with parameters as `:name` or `@name`.
        #[block(language = "sql")]
        statement: String,
        /// Sets of parameter values, e.g. `[{"id": 1}, {"id": 2}]`.
        parameters: Vec<Parameters>,
        /// Types of parameters that JSON values do not imply, for all sets.
        #[serde(default)]
        types: Types,
        #[flatten] key: JobKey,
    ) -> Result<Executed> {
        self.change_many(&statement, &parameters, &types, key)
    }
}

#[operations(parts(table_operations))]
impl BigqueryWarehouse {
    /// Analyzes a statement without running it: returns its kind, its columns and the number of
    /// bytes that it would read. Not billed.
    #[operation(read, safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn dry_run(&self, #[flatten] query: Query) -> Result<DryRun> {
        let query = self.configuration(&query, None)?;
        let answer = self.client(BTreeMap::new())?.dry_run(&query)?;
        let fields = &answer["statistics"]["query"]["schema"]["fields"];
        let fields: Vec<Field> = serde::Deserialize::deserialize(fields).unwrap_or_default();
        let job = Job::read(&answer)?;
        Ok(DryRun {
            bytes_processed: job.bytes_processed.unwrap_or_default(),
            statement_type: job.statement_type,
            columns: describe(&fields),
        })
    }

    /// Runs a query and writes its rows to a table.
    #[operation(write)]
    fn query_into(
        &self,
        #[flatten] query: Query,
        /// Destination table, e.g. `sales.orders`; created if it does not exist.
        table: String,
        /// Treatment of existing rows.
        #[serde(default)]
        write: Write,
        /// Maximum number of bytes that the query may read.
        maximum_bytes: Option<u64>,
        #[flatten] key: JobKey,
    ) -> Result<Job> {
        let mut query = self.configuration(&query, maximum_bytes)?;
        query["destinationTable"] = self.table(&table)?.reference();
        query["writeDisposition"] = write.disposition().into();
        query["createDisposition"] = "CREATE_IF_NEEDED".into();
        self.client(BTreeMap::new())?.with_key(key)?.run(&json!({ "query": query }), WAIT)
    }

    /// Requests an access token, then the metadata of the dataset, or the project's datasets if
    /// none is configured.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let (path, subject) = match &self.dataset {
            Some(dataset) => (format!("/datasets/{}", http::percent_encode(dataset)), format!("dataset `{dataset}`")),
            None => ("/datasets?maxResults=1".to_owned(), "the project's datasets".to_owned()),
        };
        let answered = self.client(BTreeMap::new()).and_then(|client| {
            let request = http::get(client.url(&path));
            client.credentials.sign(request).send()
        });
        api::check(answered, &subject, started, |found| {
            found["location"].as_str().map(|location| format!("dataset in {location}"))
        })
    }

    /// Checks the names of the dataset, the project and the labels.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        validation::violations(self)
    }
}
