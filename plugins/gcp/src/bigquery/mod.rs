//! Block type `bigquery-warehouse`: queries, tables, loads, extracts and jobs of BigQuery.

mod arrow;
mod cell;
mod field;
mod job;
mod load;
mod parameter;
mod query;
mod result;
mod row;
mod statement;
mod table;
mod validation;

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::clock;
use blockyard_sdk::http;
use blockyard_sdk::prelude::*;

use crate::api;
use crate::credentials::GcpCredentials;
use field::Field;
use job::Job;
use load::{Format, Source, Write};
use query::{PAGE_ROWS, WAIT};
use result::{DryRun, Executed, Queried, describe};
use statement::Statement;
use table::{Inserted, NewTable, TableDescription, TableEntry};

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
#[block(type = "bigquery-warehouse", version = 1, title = "BigQuery", interfaces("database", "job"))]
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

#[operations]
impl BigqueryWarehouse {
    /// Runs a read-only statement and returns its rows as an Arrow IPC stream.
    #[operation(read, safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn query(
        &self,
        /// SQL statement with parameters as `:name` or `@name`, e.g. `SELECT * FROM sales.orders
        /// WHERE id = :id`.
        statement: String,
        /// Parameter values by name, e.g. `{"id": 7}`.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON values do not imply: `DATE`, `NUMERIC`, `ARRAY<INT64>`, …
        #[serde(default)]
        types: Types,
        /// Maximum number of bytes that the query may read.
        maximum_bytes: Option<u64>,
        /// Labels of the job, in addition to those of the block.
        #[serde(default)]
        labels: BTreeMap<String, String>,
    ) -> Result<InParts<Queried>> {
        let client = self.client(labels)?;
        let query = self.configuration(&Statement::parse(&statement), &parameters, &types, maximum_bytes)?;
        let pages = self.read(&client, &query, maximum_bytes, PAGE_ROWS)?;
        Ok(InParts { result: Queried { columns: describe(&pages.fields) }, parts: arrow::parts(pages)? })
    }

    /// Returns the first row of a query, or null.
    #[operation(read, safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn fetch_one(
        &self,
        /// SQL statement with parameters as `:name` or `@name`.
        statement: String,
        /// Parameter values by name.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON values do not imply, e.g. `{"day": "DATE"}`.
        #[serde(default)]
        types: Types,
    ) -> Result<Option<Row>> {
        Ok(self.rows(&statement, &parameters, &types, 1)?.pop())
    }

    /// Returns at most the first `size` rows of a query.
    #[operation(read, safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn fetch_many(
        &self,
        /// SQL statement with parameters as `:name` or `@name`.
        statement: String,
        /// Parameter values by name.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON values do not imply, e.g. `{"day": "DATE"}`.
        #[serde(default)]
        types: Types,
        /// Maximum number of rows.
        size: u32,
    ) -> Result<Vec<Row>> {
        self.rows(&statement, &parameters, &types, size as usize)
    }

    /// Returns all rows of a query as values. Use `query` for results that do not fit in memory.
    #[operation(read, safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn fetch_all(
        &self,
        /// SQL statement with parameters as `:name` or `@name`.
        statement: String,
        /// Parameter values by name.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON values do not imply, e.g. `{"day": "DATE"}`.
        #[serde(default)]
        types: Types,
    ) -> Result<Vec<Row>> {
        self.rows(&statement, &parameters, &types, usize::MAX)
    }

    /// Analyzes a statement without running it: returns its kind, its columns and the number of
    /// bytes that it would read. Not billed.
    #[operation(read, safe(JOBS, JOBS_OF_UNIVERSE, JOBS_OF_ENDPOINT))]
    fn dry_run(
        &self,
        /// SQL statement with parameters as `:name` or `@name`.
        statement: String,
        /// Parameter values by name.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON values do not imply, e.g. `{"day": "DATE"}`.
        #[serde(default)]
        types: Types,
    ) -> Result<DryRun> {
        let query = self.configuration(&Statement::parse(&statement), &parameters, &types, None)?;
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

    /// Runs a statement that changes data and returns the number of rows changed.
    #[operation(write)]
    fn execute(
        &self,
        /// SQL statement, or several separated by semicolons, with parameters as `:name` or
        /// `@name`.
        statement: String,
        /// Parameter values by name.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON values do not imply: `DATE`, `NUMERIC`, `ARRAY<INT64>`, …
        #[serde(default)]
        types: Types,
        /// Maximum number of bytes that the statement may read.
        maximum_bytes: Option<u64>,
        /// Labels of the job, in addition to those of the block.
        #[serde(default)]
        labels: BTreeMap<String, String>,
    ) -> Result<Executed> {
        let query = self.configuration(&Statement::parse(&statement), &parameters, &types, maximum_bytes)?;
        self.change(&self.client(labels)?, &query)
    }

    /// Runs a statement once for each set of parameters, atomically. Use `load` or `insert-rows`
    /// for large numbers of rows.
    #[operation(write)]
    fn execute_many(
        &self,
        /// SQL statement with parameters as `:name` or `@name`.
        statement: String,
        /// Sets of parameter values, e.g. `[{"id": 1}, {"id": 2}]`.
        parameters: Vec<Parameters>,
        /// Types of parameters that JSON values do not imply, for all sets.
        #[serde(default)]
        types: Types,
    ) -> Result<Executed> {
        self.change_many(&statement, &parameters, &types)
    }

    /// Runs a query and writes its rows to a table.
    #[operation(write)]
    fn query_into(
        &self,
        /// SQL statement with parameters as `:name` or `@name`.
        statement: String,
        /// Parameter values by name.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON values do not imply, e.g. `{"day": "DATE"}`.
        #[serde(default)]
        types: Types,
        /// Destination table, e.g. `sales.orders`; created if it does not exist.
        table: String,
        /// Treatment of existing rows.
        #[serde(default)]
        write: Write,
        /// Maximum number of bytes that the query may read.
        maximum_bytes: Option<u64>,
    ) -> Result<Job> {
        let mut query = self.configuration(&Statement::parse(&statement), &parameters, &types, maximum_bytes)?;
        query["destinationTable"] = self.table(&table)?.reference();
        query["writeDisposition"] = write.disposition().into();
        query["createDisposition"] = "CREATE_IF_NEEDED".into();
        self.client(BTreeMap::new())?.run(&json!({ "query": query }), WAIT)
    }

    /// Creates a table, and its dataset if it does not exist.
    #[operation(write)]
    fn create_table(
        &self,
        /// Table: `TABLE`, `DATASET.TABLE` or `PROJECT.DATASET.TABLE`.
        table: String,
        /// Columns of the table.
        columns: Vec<Field>,
        /// DATE, DATETIME or TIMESTAMP column to partition the table by.
        partition_by: Option<String>,
        /// Partition granularity: `HOUR`, `DAY`, `MONTH` or `YEAR`. Without `partition_by`, rows
        /// are partitioned by ingestion time.
        partition_unit: Option<String>,
        /// Columns to cluster the table by, at most four.
        #[serde(default)]
        cluster_by: Vec<String>,
        /// Seconds after which the table is deleted.
        expires_after: Option<u64>,
        /// Description of the table.
        description: Option<String>,
        /// Succeeds if the table already exists.
        #[serde(default)]
        if_absent: bool,
    ) -> Result<TableDescription> {
        let expires = expires_after
            .map(|seconds| clock::now().saturating_add(Duration::from_secs(seconds)))
            .map(|time| {
                i64::try_from(time.as_millis()).map_err(|_| Problem::invalid("`expires_after` is out of range"))
            })
            .transpose()?;
        let new = NewTable { columns, partition_by, partition_unit, cluster_by, expires, description };
        self.table(&table)?.create(&self.client(BTreeMap::new())?, &new, if_absent)
    }

    /// Loads files from Cloud Storage into a table.
    #[operation(write)]
    fn load_uri(
        &self,
        /// Destination table, e.g. `sales.orders`; created if it does not exist.
        table: String,
        /// Files: `gs://BUCKET/PATH`, where `*` matches any part of the name.
        uris: Vec<String>,
        /// File format. Defaults to the one implied by the extension of the first file.
        format: Option<Format>,
        /// Treatment of existing rows.
        #[serde(default)]
        write: Write,
        /// Columns of the table if it is created.
        #[serde(default)]
        columns: Vec<Field>,
        /// Detects the columns from the data. Defaults to `true` for CSV and NDJSON if the table
        /// does not exist and `columns` is empty.
        autodetect: Option<bool>,
        /// Number of header lines before the rows of a CSV file. Defaults to 1; detected with
        /// `autodetect`.
        header_rows: Option<u64>,
        /// Maximum number of invalid rows, which are skipped.
        #[serde(default)]
        max_bad_rows: u64,
    ) -> Result<Job> {
        if let Some(wrong) = uris.iter().find(|uri| !uri.starts_with("gs://")) {
            return Err(Problem::invalid(format!("`{wrong}` does not begin with `gs://`")));
        }
        let format = Format::of(format, uris.first().map(String::as_str))?;
        let source = Source { format, write, columns, autodetect, header_rows, max_bad_rows };
        let (client, table) = (self.client(BTreeMap::new())?, self.table(&table)?);
        let mut configuration = source.configuration(&client, &table)?;
        configuration["load"]["sourceUris"] = json!(uris);
        client.run(&configuration, WAIT)
    }

    /// Loads the input into a table.
    #[operation(write)]
    fn load(
        &self,
        /// Destination table, e.g. `sales.orders`; created if it does not exist.
        table: String,
        /// Format of the input.
        format: Format,
        /// Treatment of existing rows.
        #[serde(default)]
        write: Write,
        /// Columns of the table if it is created.
        #[serde(default)]
        columns: Vec<Field>,
        /// Detects the columns from the data. Defaults to `true` for CSV and NDJSON if the table
        /// does not exist and `columns` is empty.
        autodetect: Option<bool>,
        /// Number of header lines before the rows of a CSV file. Defaults to 1; detected with
        /// `autodetect`.
        header_rows: Option<u64>,
        /// Maximum number of invalid rows, which are skipped.
        #[serde(default)]
        max_bad_rows: u64,
        input: Body,
    ) -> Result<Job> {
        let source = Source { format, write, columns, autodetect, header_rows, max_bad_rows };
        let (client, table) = (self.client(BTreeMap::new())?, self.table(&table)?);
        let configuration = source.configuration(&client, &table)?;
        let job = client.upload(&configuration, &input, &table.subject())?;
        client.wait(job, WAIT)
    }

    /// Inserts rows into a table immediately (streaming inserts), in requests of 500 rows. If a row
    /// is invalid, no row of its request is inserted.
    #[operation(write)]
    fn insert_rows(
        &self,
        /// Destination table, e.g. `sales.orders`.
        table: String,
        /// Rows: values by column name. `{"$bytes": "3q0="}` is base64-encoded bytes.
        rows: Vec<Row>,
        /// Inserts the valid rows and returns the invalid ones.
        #[serde(default)]
        skip_invalid: bool,
        /// Ignores columns that the table does not have.
        #[serde(default)]
        ignore_unknown: bool,
    ) -> Result<Inserted> {
        let rows = row::prepared(rows)?;
        self.table(&table)?.insert(&self.client(BTreeMap::new())?, &rows, skip_invalid, ignore_unknown)
    }

    /// Exports a table to files in Cloud Storage.
    #[operation(write)]
    fn extract(
        &self,
        /// Source table, e.g. `sales.orders`.
        table: String,
        /// Files: `gs://BUCKET/PATH`, with a `*` to allow several files.
        uris: Vec<String>,
        /// File format. Defaults to the one implied by the extension of the first file.
        format: Option<Format>,
        /// Compression: `GZIP`, `DEFLATE`, `SNAPPY` or `ZSTD`, depending on the format. Defaults to
        /// `GZIP` for files named `.gz`.
        compression: Option<String>,
    ) -> Result<Job> {
        let format = Format::of(format, uris.first().map(String::as_str))?;
        let zipped = uris.first().is_some_and(|uri| uri.ends_with(".gz"));
        let compression = compression.or_else(|| zipped.then(|| "GZIP".to_owned()));
        let mut extract = json!({
            "sourceTable": self.table(&table)?.reference(),
            "destinationUris": uris,
            "destinationFormat": format.name(),
        });
        if let Some(compression) = compression {
            extract["compression"] = compression.to_ascii_uppercase().into();
        }
        self.client(BTreeMap::new())?.run(&json!({ "extract": extract }), WAIT)
    }

    /// Lists the tables and views of a dataset.
    #[operation(read)]
    fn tables(
        &self,
        /// Dataset. Defaults to the dataset of the block.
        dataset: Option<String>,
    ) -> Result<Vec<TableEntry>> {
        let dataset = dataset.as_ref().or(self.dataset.as_ref()).ok_or_else(|| {
            Problem::invalid("no dataset is specified").hint("set `dataset` in the call or in the block")
        })?;
        table::tables(&self.client(BTreeMap::new())?, dataset)
    }

    /// Returns the columns, the size and the partitioning of a table or view.
    #[operation(read)]
    fn describe_table(
        &self,
        /// Table: `TABLE`, `DATASET.TABLE` or `PROJECT.DATASET.TABLE`.
        table: String,
    ) -> Result<TableDescription> {
        self.table(&table)?.describe(&self.client(BTreeMap::new())?)
    }

    /// Returns the current state of a job.
    #[operation(read)]
    fn job_status(
        &self,
        /// Job ID.
        job_id: String,
        /// Location of the job, if it is not the block's.
        location: Option<String>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        client.job(&job_id, location.as_deref().or(self.location.as_deref()))
    }

    /// Waits for a job to finish.
    #[operation(read)]
    fn job_wait(
        &self,
        /// Job ID.
        job_id: String,
        /// Location of the job, if it is not the block's.
        location: Option<String>,
        /// Maximum wait in seconds. Defaults to 240.
        timeout_seconds: Option<u64>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        let job = client.job(&job_id, location.as_deref().or(self.location.as_deref()))?;
        client.wait(job, timeout_seconds.map_or(WAIT, Duration::from_secs))
    }

    /// Requests the cancellation of a job. The job may still complete.
    #[operation(write)]
    fn job_cancel(
        &self,
        /// Job ID.
        job_id: String,
        /// Location of the job, if it is not the block's.
        location: Option<String>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        client.cancel(&job_id, location.as_deref().or(self.location.as_deref()))
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
