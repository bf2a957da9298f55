//! BigQuery: queries as a `database`, tables, loads and extracts, and its jobs.

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

/// Rows of a page: BigQuery ends a page at 10 MB before.
const PAGE_ROWS: usize = 8 << 10;
/// Values of all sets of parameters together ("Quotas and limits", BigQuery: query parameters).
const PARAMETERS: usize = 10_000;
/// Where jobs are started: BigQuery takes questions by POST. What they are is asked before they run.
const JOBS: &str = "POST https://bigquery.googleapis.com/bigquery/v2/projects/*/jobs";
/// The same in a cloud of its own.
const JOBS_OF_A_CLOUD: &str =
    "POST https://bigquery.{config.credentials.config.service_account.universe_domain}/bigquery/v2/projects/*/jobs";
/// The same where the credentials name another server.
const JOBS_ELSEWHERE: &str = "POST {config.credentials.config.endpoint}/bigquery/v2/projects/*/jobs";
/// The media type of an Arrow IPC stream.
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// BigQuery in one project: a warehouse that is asked in SQL, and its jobs.
#[derive(Block, Debug)]
#[block(type = "bigquery-warehouse", version = 1, title = "BigQuery", interfaces("database", "job"))]
pub(crate) struct BigqueryWarehouse {
    /// Who calls.
    credentials: BlockRef<GcpCredentials>,
    /// The project that jobs run in and pay from; where none is given, that of the credentials.
    project: Option<String>,
    /// The dataset of tables that are named without one.
    dataset: Option<String>,
    /// Where jobs run and datasets are made: `US`, `EU`, `europe-west3`, …
    location: Option<String>,
    /// The most that a query may read, bytes; one that would read more fails before it costs anything.
    maximum_bytes: Option<u64>,
    /// Labels of all jobs.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Values by the names of the parameters.
type Parameters = Map<String, Value>;
/// Types by the names of the parameters.
type Types = BTreeMap<String, String>;
/// A row by the names of its columns.
type Row = Map<String, Value>;

/// What a query gives.
#[data]
struct Queried {
    /// Its columns.
    columns: Vec<ColumnDescription>,
}

/// A column of a query.
#[data]
struct ColumnDescription {
    /// Its name.
    name: String,
    /// BigQuery's name of its type; `ARRAY<…>` where it repeats.
    type_name: String,
}

/// What a query would do.
#[data]
struct DryRun {
    /// How many bytes it would read.
    bytes_processed: u64,
    /// `SELECT`, `INSERT`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    statement_type: Option<String>,
    /// Its columns.
    columns: Vec<ColumnDescription>,
}

/// What a statement did.
#[data]
struct Executed {
    /// How many rows it changed.
    rows_affected: u64,
    /// The job that did it.
    job_id: String,
}

#[operations]
impl BigqueryWarehouse {
    /// Runs a statement that only reads; its rows come as an Arrow IPC stream.
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
    fn query(
        &self,
        /// The statement, with parameters as `:name` or `@name`.
        statement: String,
        /// Values for the parameters.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON does not tell: `DATE`, `NUMERIC`, `ARRAY<INT64>`, …
        #[serde(default)]
        types: Types,
        /// The most that it may read, bytes.
        maximum_bytes: Option<u64>,
        /// Labels of the job, beside the block's.
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

    /// The first row of a query, or null.
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
    fn fetch_one(
        &self,
        /// The statement, with parameters as `:name` or `@name`.
        statement: String,
        /// Values for the parameters.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON does not tell.
        #[serde(default)]
        types: Types,
    ) -> Result<Option<Row>> {
        Ok(self.rows(&statement, &parameters, &types, 1)?.pop())
    }

    /// The first rows of a query, at most `size`.
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
    fn fetch_many(
        &self,
        /// The statement, with parameters as `:name` or `@name`.
        statement: String,
        /// Values for the parameters.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON does not tell.
        #[serde(default)]
        types: Types,
        /// How many rows at the most.
        size: u32,
    ) -> Result<Vec<Row>> {
        self.rows(&statement, &parameters, &types, size as usize)
    }

    /// All rows of a query, as values. For results that do not fit into memory there is `query`.
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
    fn fetch_all(
        &self,
        /// The statement, with parameters as `:name` or `@name`.
        statement: String,
        /// Values for the parameters.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON does not tell.
        #[serde(default)]
        types: Types,
    ) -> Result<Vec<Row>> {
        self.rows(&statement, &parameters, &types, usize::MAX)
    }

    /// Says what a statement would do and how much it would read; nothing runs, nothing is charged.
    #[operation(read, safe(JOBS, JOBS_OF_A_CLOUD, JOBS_ELSEWHERE))]
    fn dry_run(
        &self,
        /// The statement, with parameters as `:name` or `@name`.
        statement: String,
        /// Values for the parameters.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON does not tell.
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

    /// Runs a statement that changes something; says how many rows it changed.
    #[operation(write)]
    fn execute(
        &self,
        /// The statement, or several with semicolons between them, with parameters as `:name` or `@name`.
        statement: String,
        /// Values for the parameters.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON does not tell: `DATE`, `NUMERIC`, `ARRAY<INT64>`, …
        #[serde(default)]
        types: Types,
        /// The most that it may read, bytes.
        maximum_bytes: Option<u64>,
        /// Labels of the job, beside the block's.
        #[serde(default)]
        labels: BTreeMap<String, String>,
    ) -> Result<Executed> {
        let query = self.configuration(&Statement::parse(&statement), &parameters, &types, maximum_bytes)?;
        self.change(&self.client(labels)?, &query)
    }

    /// Runs a statement once for each set of parameters, all or nothing. Many rows go into a table by
    /// `load` or `insert-rows`.
    #[operation(write)]
    fn execute_many(
        &self,
        /// The statement, with parameters as `:name` or `@name`.
        statement: String,
        /// The sets of values for the parameters.
        parameters: Vec<Parameters>,
        /// Types of parameters that JSON does not tell, the same in all sets.
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
                "{values} values are more than the {PARAMETERS} that BigQuery takes"
            ))
            .hint("`load` and `insert-rows` take more"));
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

    /// Runs a query and keeps its rows in a table.
    #[operation(write)]
    fn query_into(
        &self,
        /// The statement, with parameters as `:name` or `@name`.
        statement: String,
        /// Values for the parameters.
        #[serde(default)]
        parameters: Parameters,
        /// Types of parameters that JSON does not tell.
        #[serde(default)]
        types: Types,
        /// The table; it is made where it is missing.
        table: String,
        /// What becomes of rows that are there.
        #[serde(default)]
        write: Write,
        /// The most that it may read, bytes.
        maximum_bytes: Option<u64>,
    ) -> Result<Job> {
        let mut query = self.configuration(&Statement::parse(&statement), &parameters, &types, maximum_bytes)?;
        query["destinationTable"] = self.table(&table)?.reference();
        query["writeDisposition"] = write.disposition().into();
        query["createDisposition"] = "CREATE_IF_NEEDED".into();
        self.client(BTreeMap::new())?.run(&json!({ "query": query }), WAIT)
    }

    /// Makes a table, and its dataset where that is missing.
    #[operation(write)]
    fn create_table(
        &self,
        /// `TABLE`, `DATASET.TABLE` or `PROJECT.DATASET.TABLE`.
        table: String,
        /// Its columns.
        columns: Vec<Field>,
        /// The DATE, DATETIME or TIMESTAMP column whose time says in which partition a row is.
        partition_by: Option<String>,
        /// How long a partition is: `HOUR`, `DAY`, `MONTH` or `YEAR`; with no column, when a row came decides.
        partition_unit: Option<String>,
        /// The columns by which it is sorted, at most four.
        #[serde(default)]
        cluster_by: Vec<String>,
        /// After how many seconds it is removed.
        expires_after: Option<u64>,
        /// What it is, for people.
        description: Option<String>,
        /// A table that is there is no error.
        #[serde(default)]
        if_absent: bool,
    ) -> Result<TableDescription> {
        let expires = expires_after
            .map(|seconds| clock::now().saturating_add(Duration::from_secs(seconds)))
            .map(|time| i64::try_from(time.as_millis()).map_err(|_| Problem::invalid("`expires_after` is too far off")))
            .transpose()?;
        let new = NewTable { columns, partition_by, partition_unit, cluster_by, expires, description };
        self.table(&table)?.create(&self.client(BTreeMap::new())?, &new, if_absent)
    }

    /// Loads files of Cloud Storage into a table.
    #[operation(write)]
    fn load_uri(
        &self,
        /// The table; it is made where it is missing.
        table: String,
        /// The files: `gs://BUCKET/PATH`, where `*` stands for any part of the name.
        uris: Vec<String>,
        /// What they are; where it is not said, the first one's ending tells.
        format: Option<Format>,
        /// What becomes of rows that are there.
        #[serde(default)]
        write: Write,
        /// The table's columns, where it is made.
        #[serde(default)]
        columns: Vec<Field>,
        /// Whether BigQuery finds the columns out; where it is not said, for a table that is missing.
        autodetect: Option<bool>,
        /// How many lines of a CSV come before its rows; where it is not said, one.
        header_rows: Option<u64>,
        /// How many rows may be bad, which are then left out.
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

    /// Loads the bytes of its input into a table.
    #[operation(write)]
    fn load(
        &self,
        /// The table; it is made where it is missing.
        table: String,
        /// What the bytes are.
        format: Format,
        /// What becomes of rows that are there.
        #[serde(default)]
        write: Write,
        /// The table's columns, where it is made.
        #[serde(default)]
        columns: Vec<Field>,
        /// Whether BigQuery finds the columns out; where it is not said, for a table that is missing.
        autodetect: Option<bool>,
        /// How many lines of a CSV come before its rows; where it is not said, one.
        header_rows: Option<u64>,
        /// How many rows may be bad, which are then left out.
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

    /// Puts rows into a table at once (streaming inserts), in requests of 500. Where one does not fit, none of
    /// its request is written.
    #[operation(write)]
    fn insert_rows(
        &self,
        /// The table.
        table: String,
        /// The rows, by the names of their columns. `{"$bytes": "3q0="}` is bytes, as base64.
        rows: Vec<Row>,
        /// Writes the rows that fit, and says which do not.
        #[serde(default)]
        skip_invalid: bool,
        /// Leaves out columns that the table does not have.
        #[serde(default)]
        ignore_unknown: bool,
    ) -> Result<Inserted> {
        let rows = row::prepared(rows)?;
        self.table(&table)?.insert(&self.client(BTreeMap::new())?, &rows, skip_invalid, ignore_unknown)
    }

    /// Writes a table to files of Cloud Storage.
    #[operation(write)]
    fn extract(
        &self,
        /// The table.
        table: String,
        /// The files: `gs://BUCKET/PATH`, with a `*` where there may be several.
        uris: Vec<String>,
        /// What they shall be; where it is not said, the first one's ending tells.
        format: Option<Format>,
        /// `GZIP`, `DEFLATE`, `SNAPPY` or `ZSTD`, as the format allows.
        compression: Option<String>,
    ) -> Result<Job> {
        let format = Format::of(format, uris.first().map(String::as_str))?;
        // What is named so is so.
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

    /// The tables and views of a dataset.
    #[operation(read)]
    fn tables(
        &self,
        /// The dataset; where none is given, the block's.
        dataset: Option<String>,
    ) -> Result<Vec<TableEntry>> {
        let dataset = dataset.as_ref().or(self.dataset.as_ref()).ok_or_else(|| {
            Problem::invalid("it is not known of which dataset").hint("give `dataset`, or set it in the block")
        })?;
        table::tables(&self.client(BTreeMap::new())?, dataset)
    }

    /// The columns of a table or a view, and how large it is.
    #[operation(read)]
    fn describe_table(
        &self,
        /// `TABLE`, `DATASET.TABLE` or `PROJECT.DATASET.TABLE`.
        table: String,
    ) -> Result<TableDescription> {
        self.table(&table)?.describe(&self.client(BTreeMap::new())?)
    }

    /// A job as it stands.
    #[operation(read)]
    fn job_status(
        &self,
        /// Its name.
        job_id: String,
        /// Where it runs, where that is not the block's location.
        location: Option<String>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        client.job(&job_id, location.as_deref().or(self.location.as_deref()))
    }

    /// Waits for a job's end.
    #[operation(read)]
    fn job_wait(
        &self,
        /// Its name.
        job_id: String,
        /// Where it runs, where that is not the block's location.
        location: Option<String>,
        /// How long at the most, seconds; where it is not said, 240.
        timeout_seconds: Option<u64>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        let job = client.job(&job_id, location.as_deref().or(self.location.as_deref()))?;
        client.wait(job, timeout_seconds.map_or(WAIT, Duration::from_secs))
    }

    /// Asks a job to end. It may have done its work before it hears of that.
    #[operation(write)]
    fn job_cancel(
        &self,
        /// Its name.
        job_id: String,
        /// Where it runs, where that is not the block's location.
        location: Option<String>,
    ) -> Result<Job> {
        let client = self.client(BTreeMap::new())?;
        client.cancel(&job_id, location.as_deref().or(self.location.as_deref()))
    }

    /// Gets a token, and asks for the dataset, or for the project's datasets.
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

    /// Names of datasets and labels follow rules.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if self.dataset.as_deref().is_some_and(|dataset| !table::is_identifier(dataset)) {
            violations.push(Violation::new("/dataset", "is not the name of a dataset: letters, digits and `_`"));
        }
        if self.project.as_deref().is_some_and(|project| project.is_empty() || project.contains(['/', '?', '#', '%'])) {
            violations.push(Violation::new("/project", "is not the name of a project"));
        }
        for name in self.labels.keys() {
            let known = |c: char| c.is_lowercase() || c.is_numeric() || c == '_' || c == '-';
            if !name.starts_with(char::is_lowercase) || !name.chars().all(known) || name.chars().count() > 63 {
                let pointer = format!("/labels/{}", name.replace('~', "~0").replace('/', "~1"));
                violations
                    .push(Violation::new(pointer, "is not the name of a label: 1 to 63 of `a-z`, `0-9`, `_`, `-`"));
            }
        }
        violations
    }
}

/// How long a call waits for a job.
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

    /// A query, as jobs have it.
    fn configuration(
        &self,
        statement: &Statement,
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

    /// The lower one of the block's limit and the call's.
    fn most(&self, maximum_bytes: Option<u64>) -> Option<u64> {
        self.maximum_bytes.into_iter().chain(maximum_bytes).min()
    }

    /// Runs a query that only reads. What it is and what it costs is asked before.
    fn read(&self, client: &Client, query: &Value, maximum_bytes: Option<u64>, page_rows: usize) -> Result<Pages> {
        let dry = client.dry_run(query)?;
        let statistics = &dry["statistics"]["query"];
        let kind = statistics["statementType"].as_str().unwrap_or("statement of an unknown kind");
        if kind != "SELECT" {
            return Err(Problem::invalid(format!("this operation only reads, and the statement is a {kind}"))
                .hint("`execute` runs statements that change something"));
        }
        let reads =
            number(&dry["statistics"]["totalBytesProcessed"]).or_else(|| number(&statistics["totalBytesProcessed"]));
        if let (Some(reads), Some(most)) = (reads, self.most(maximum_bytes))
            && reads > most
        {
            return Err(Problem::invalid(format!("the query would read {reads} bytes; {most} are allowed"))
                .hint("nothing ran; read less, or raise `maximum_bytes`")
                .with_details(json!({ "bytes_processed": reads, "maximum_bytes": most })));
        }
        client.query(query, page_rows)
    }

    /// The first rows of a query.
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

    /// Runs what changes something.
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
