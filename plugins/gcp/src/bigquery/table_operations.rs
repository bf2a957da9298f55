//! Operations on tables: creation, loads, inserts and exports.

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::clock;
use blockyard_sdk::prelude::*;

use super::field::Field;
use super::job::Job;
use super::load::{Format, Source, Write};
use super::query::WAIT;
use super::start::JobKey;
use super::table::{self, Inserted, NewTable, TableDescription, TableEntry};
use super::{BigqueryWarehouse, Row, row};

#[operations(part)]
impl BigqueryWarehouse {
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
        #[flatten] key: JobKey,
    ) -> Result<Job> {
        if let Some(wrong) = uris.iter().find(|uri| !uri.starts_with("gs://")) {
            return Err(Problem::invalid(format!("`{wrong}` does not begin with `gs://`")));
        }
        let format = Format::of(format, uris.first().map(String::as_str))?;
        let source = Source { format, write, columns, autodetect, header_rows, max_bad_rows };
        let (client, table) = (self.client(BTreeMap::new())?.with_key(key)?, self.table(&table)?);
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
        #[flatten] key: JobKey,
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
        self.client(BTreeMap::new())?.with_key(key)?.run(&json!({ "extract": extract }), WAIT)
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
}
