//! Block type `bigquery-warehouse`: queries, tables, loads, extracts and jobs of BigQuery.

mod arrow;
mod cell;
mod field;
mod job;
mod load;
mod parameter;
mod row;
mod statement;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::clock;
use blockyard_sdk::http;
use blockyard_sdk::prelude::*;

use crate::api;
use crate::credentials::GcpCredentials;
use field::Field;
use job::{Client, Job, Pages, WAIT_SECONDS, number};
use load::{Format, Source, Write};
use statement::Statement;
use table::{Inserted, NewTable, TableDescription, TableEntry, TableName};

/// Maximum number of rows per page. BigQuery additionally limits a page to 10 MB.
const PAGE_ROWS: usize = 8 << 10;
/// Maximum number of parameter values per request, over all sets ("Quotas and limits", BigQuery:
/// query parameters).
const PARAMETERS: usize = 10_000;
/// Endpoint that starts jobs. BigQuery runs queries by POST, so read operations declare it as safe;
/// a dry run verifies that the statement is a `SELECT` before it runs.
const JOBS: &str = "POST https://bigquery.googleapis.com/bigquery/v2/projects/*/jobs";
/// The same endpoint in another universe.
const JOBS_OF_A_CLOUD: &str =
    "POST https://bigquery.{config.credentials.config.service_account.universe_domain}/bigquery/v2/projects/*/jobs";
/// The same endpoint on a server that the credentials configure.
const JOBS_ELSEWHERE: &str = "POST {config.credentials.config.endpoint}/bigquery/v2/projects/*/jobs";
/// Media type of an Arrow IPC stream.
const ARROW: &str = "application/vnd.apache.arrow.stream";

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

/// Description of a query result.
#[data]
struct Queried {
    /// Columns of the result.
    columns: Vec<ColumnDescription>,
}

/// A column of a query result.
#[data]
struct ColumnDescription {
    /// Column name.
    name: String,
    /// BigQuery type; `ARRAY<…>` for a repeated column.
    type_name: String,
}

/// Result of a dry run.
#[data]
struct DryRun {
    /// Number of bytes that the statement would read.
    bytes_processed: u64,
    /// `SELECT`, `INSERT`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    statement_type: Option<String>,
    /// Columns of the result.
    columns: Vec<ColumnDescription>,
}

/// Result of a statement.
#[data]
struct Executed {
    /// Number of rows changed.
    rows_affected: u64,
    /// Job ID.
    job_id: String,
}

#[operations]
impl BigqueryWarehouse {
    /// Runs a read-only statement and returns its rows as an Arrow IPC stream.
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
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
        let mut pages = self.read(&client, &query, maximum_bytes, PAGE_ROWS)?;
        let result = Queried { columns: describe(&pages.fields) };
        let mut stream = Some(arrow::Stream::new(pages.fields.clone())?);
        let parts = Parts::new(move || {
            let Some(open) = &mut stream else { return Ok(None) };
            let bytes = match pages.next()? {
                Some(rows) => open.write(&rows)?,
                None => {
                    let end = open.finish()?;
                    stream = None;
                    end
                }
            };
            Ok(Some(Body::from_bytes(ARROW, &bytes)))
        });
        Ok(InParts { result, parts })
    }

    /// Returns the first row of a query, or null.
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
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
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
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
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
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
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
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
        let parsed = Statement::parse(&statement);
        if parameters.is_empty() {
            return Ok(Executed { rows_affected: 0, job_id: String::new() });
        }
        let values: usize = parameters.iter().map(Map::len).sum();
        if values > PARAMETERS {
            return Err(Problem::invalid(format!(
                "{values} parameter values exceed the BigQuery limit of {PARAMETERS}"
            ))
            .hint("use `load` or `insert-rows`"));
        }
        let mut all = Vec::with_capacity(values);
        for (set, given) in parameters.iter().enumerate() {
            let of_set = parameter::parameters(&parsed, given, &types)
                .map_err(|problem| problem.context(format!("set {} of the parameters", set + 1)))?;
            all.extend(of_set.into_iter().map(|mut parameter| {
                parameter["name"] = format!("{}_{set}", parameter["name"].as_str().unwrap_or_default()).into();
                parameter
            }));
        }
        let query = self.query_of(&parsed.repeated(parameters.len()), all, None)?;
        self.change(&self.client(BTreeMap::new())?, &query)
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
        let job = client.upload(&configuration, &input, &table.what())?;
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
        let (path, what) = match &self.dataset {
            Some(dataset) => (format!("/datasets/{}", http::percent_encode(dataset)), format!("dataset `{dataset}`")),
            None => ("/datasets?maxResults=1".to_owned(), "the project's datasets".to_owned()),
        };
        let answered = self.client(BTreeMap::new()).and_then(|client| {
            let request = http::get(client.url(&path));
            client.credentials.sign(request).send()
        });
        api::check(answered, &what, started, |found| {
            found["location"].as_str().map(|location| format!("dataset in {location}"))
        })
    }

    /// Checks the names of the dataset, the project and the labels.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if self.dataset.as_deref().is_some_and(|dataset| !table::is_identifier(dataset)) {
            violations.push(Violation::new("/dataset", "is not a valid dataset name: letters, digits and `_`"));
        }
        if self.project.as_deref().is_some_and(|project| project.is_empty() || project.contains(['/', '?', '#', '%'])) {
            violations.push(Violation::new("/project", "is not a valid project ID"));
        }
        for name in self.labels.keys() {
            let known = |c: char| c.is_lowercase() || c.is_numeric() || c == '_' || c == '-';
            if !name.starts_with(char::is_lowercase) || !name.chars().all(known) || name.chars().count() > 63 {
                let pointer = format!("/labels/{}", name.replace('~', "~0").replace('/', "~1"));
                violations.push(Violation::new(
                    pointer,
                    "is not a valid label name: 1 to 63 characters of `a-z`, `0-9`, `_`, `-`",
                ));
            }
        }
        violations
    }
}

/// Default maximum time that a call waits for a job.
const WAIT: Duration = Duration::from_secs(WAIT_SECONDS);

impl BigqueryWarehouse {
    fn client(&self, labels: BTreeMap<String, String>) -> Result<Client> {
        Ok(Client {
            credentials: self.credentials.get()?.clone(),
            project: self.project()?.to_owned(),
            location: self.location.clone(),
            labels: self.labels.clone().into_iter().chain(labels).collect(),
        })
    }

    fn project(&self) -> Result<&str> {
        match &self.project {
            Some(project) => Ok(project),
            None => self.credentials.get()?.need_project(),
        }
    }

    fn table(&self, name: &str) -> Result<TableName> {
        TableName::parse(name, self.project()?, self.dataset.as_deref())
    }

    /// Returns the query configuration of a job.
    fn configuration(
        &self,
        statement: &Statement<'_>,
        parameters: &Parameters,
        types: &Types,
        maximum_bytes: Option<u64>,
    ) -> Result<Value> {
        self.query_of(&statement.text(), parameter::parameters(statement, parameters, types)?, maximum_bytes)
    }

    fn query_of(&self, statement: &str, parameters: Vec<Value>, maximum_bytes: Option<u64>) -> Result<Value> {
        let mut query = json!({ "query": statement, "useLegacySql": false });
        if !parameters.is_empty() {
            query["parameterMode"] = "NAMED".into();
            query["queryParameters"] = parameters.into();
        }
        if let Some(most) = self.most(maximum_bytes) {
            query["maximumBytesBilled"] = most.to_string().into();
        }
        if let Some(dataset) = &self.dataset {
            query["defaultDataset"] = json!({ "projectId": self.project()?, "datasetId": dataset });
        }
        Ok(query)
    }

    /// Returns the lower of the block's limit and the call's.
    fn most(&self, maximum_bytes: Option<u64>) -> Option<u64> {
        self.maximum_bytes.into_iter().chain(maximum_bytes).min()
    }

    /// Runs a read-only query. A dry run first verifies that it is a `SELECT` and how many bytes it
    /// reads.
    fn read(&self, client: &Client, query: &Value, maximum_bytes: Option<u64>, page_rows: usize) -> Result<Pages> {
        let dry = client.dry_run(query)?;
        let statistics = &dry["statistics"]["query"];
        let kind = statistics["statementType"].as_str().unwrap_or("statement of an unknown kind");
        if kind != "SELECT" {
            return Err(Problem::invalid(format!("this operation is read-only, but the statement is a {kind}"))
                .hint("use `execute` for statements that change data"));
        }
        let reads =
            number(&dry["statistics"]["totalBytesProcessed"]).or_else(|| number(&statistics["totalBytesProcessed"]));
        if let (Some(reads), Some(most)) = (reads, self.most(maximum_bytes))
            && reads > most
        {
            return Err(Problem::invalid(format!("the query would read {reads} bytes, more than the limit of {most}"))
                .hint("read less, or increase `maximum_bytes`; the query was not run")
                .with_details(json!({ "bytes_processed": reads, "maximum_bytes": most })));
        }
        client.query(query, page_rows)
    }

    /// Returns the first `most` rows of a query.
    fn rows(&self, statement: &str, parameters: &Parameters, types: &Types, most: usize) -> Result<Vec<Row>> {
        let client = self.client(BTreeMap::new())?;
        let query = self.configuration(&Statement::parse(statement), parameters, types, None)?;
        let mut pages = self.read(&client, &query, None, most.min(PAGE_ROWS))?;
        let mut rows = Vec::new();
        while rows.len() < most
            && let Some(page) = pages.next()?
        {
            let left = most - rows.len();
            for cells in page.iter().take(left) {
                rows.push(cell::object(&pages.fields, cells)?);
            }
        }
        Ok(rows)
    }

    /// Runs a statement that changes data.
    fn change(&self, client: &Client, query: &Value) -> Result<Executed> {
        let job = client.run(&json!({ "query": query }), WAIT)?;
        let rows =
            if job.statement_type.as_deref() == Some("SCRIPT") { client.rows_of_script(&job)? } else { job.rows };
        Ok(Executed { rows_affected: rows.unwrap_or_default(), job_id: job.job_id })
    }
}

fn describe(fields: &[Field]) -> Vec<ColumnDescription> {
    fields
        .iter()
        .map(|field| {
            let kind = &field.kind;
            let type_name = if field.is_repeated() { format!("ARRAY<{kind}>") } else { kind.clone() };
            ColumnDescription { name: field.name.clone(), type_name }
        })
        .collect()
}
