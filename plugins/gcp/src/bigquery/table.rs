//! Tables: names, descriptions, and streaming inserts.

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::random;
use blockyard_sdk::retry::RetriedResponse;

use super::field::Field;
use super::job::{Client, number, text};
use crate::api;

/// Maximum number of rows per streaming insert request ("Quotas and limits", BigQuery: 500
/// recommended, at most 50,000).
const INSERTED_ROWS: usize = 500;
/// Maximum size of a streaming insert request in bytes; BigQuery allows 10 MB.
const INSERTED_BYTES: usize = 8 << 20;
/// Maximum number of rejected rows listed in an error.
const REPORTED_ROWS: usize = 50;

/// Fully qualified name of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) project: String,
    pub(crate) dataset: String,
    pub(crate) table: String,
}

/// A table or view in a listing.
#[data]
#[derive(Debug)]
pub(crate) struct TableEntry {
    /// Dataset of the table.
    dataset: String,
    /// Table name.
    name: String,
    /// `TABLE`, `VIEW`, `MATERIALIZED_VIEW`, `EXTERNAL` or `SNAPSHOT`.
    #[serde(rename = "type")]
    kind: String,
}

/// Description of a table.
#[data]
#[derive(Debug)]
pub(crate) struct TableDescription {
    /// Fully qualified name: `PROJECT.DATASET.TABLE`.
    pub(crate) name: String,
    /// `TABLE`, `VIEW`, `MATERIALIZED_VIEW`, `EXTERNAL` or `SNAPSHOT`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Columns of the table.
    pub(crate) columns: Vec<Field>,
    /// Number of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u64>,
    /// Size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// Column that the table is partitioned by; `_PARTITIONTIME` for ingestion time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partitioned_by: Option<String>,
    /// Columns that the table is clustered by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clustered_by: Vec<String>,
    /// Expiration time, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
    /// Description of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

/// Properties of a table to create.
pub(crate) struct NewTable {
    pub(crate) columns: Vec<Field>,
    pub(crate) partition_by: Option<String>,
    pub(crate) partition_unit: Option<String>,
    pub(crate) cluster_by: Vec<String>,
    /// Expiration time, in milliseconds since 1970-01-01 UTC.
    pub(crate) expires: Option<i64>,
    pub(crate) description: Option<String>,
}

/// Result of a streaming insert.
#[data]
#[derive(Debug)]
pub(crate) struct Inserted {
    /// Number of rows inserted.
    pub(crate) inserted: u64,
    /// Rejected rows, if `skip_invalid` is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused: Vec<RefusedRow>,
}

/// A rejected row.
#[data]
#[derive(Debug)]
pub(crate) struct RefusedRow {
    /// Position of the row in `rows`, counted from 1.
    pub(crate) row: u64,
    /// Reason for the rejection.
    pub(crate) message: String,
    /// Column that caused the rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<String>,
}

impl TableName {
    /// Parses `TABLE`, `DATASET.TABLE` or `PROJECT.DATASET.TABLE`. Missing parts default to those
    /// of the block.
    pub(crate) fn parse(name: &str, project: &str, dataset: Option<&str>) -> Result<Self> {
        let parts: Vec<&str> = name.trim_matches('`').split('.').collect();
        let (project, dataset, table) = match (parts.as_slice(), dataset) {
            ([table], Some(dataset)) => (project, dataset, *table),
            ([_], None) => {
                return Err(Problem::invalid(format!("table name `{name}` has no dataset"))
                    .hint("write `DATASET.TABLE`, or set `dataset` in the block"));
            }
            ([dataset, table], _) => (project, *dataset, *table),
            ([project, dataset, table], _) => (*project, *dataset, *table),
            _ => return Err(Self::wrong(name)),
        };
        if !is_identifier(dataset) || !is_table(table) || project.is_empty() || project.contains(['/', '%', '?', '#']) {
            return Err(Self::wrong(name));
        }
        Ok(Self { project: project.to_owned(), dataset: dataset.to_owned(), table: table.to_owned() })
    }

    fn wrong(name: &str) -> Problem {
        Problem::invalid(format!("`{name}` is not a valid table name")).hint(
            "use `DATASET.TABLE`: letters, digits and `_`; in a table name also `-`, spaces and `$` before a partition",
        )
    }

    /// Returns the `TableReference` of the API.
    pub(crate) fn reference(&self) -> Value {
        json!({ "projectId": self.project, "datasetId": self.dataset, "tableId": self.table })
    }

    pub(crate) fn subject(&self) -> String {
        format!("table `{}.{}`", self.dataset, self.table)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.list_path(), http::percent_encode(&self.table))
    }

    fn list_path(&self) -> String {
        format!("/datasets/{}/tables", http::percent_encode(&self.dataset))
    }

    /// Returns a client for the project of the table.
    fn client(&self, client: &Client) -> Client {
        Client { project: self.project.clone(), ..client.clone() }
    }

    pub(crate) fn describe(&self, client: &Client) -> Result<TableDescription> {
        TableDescription::read(&self.client(client).get(&self.path(), &self.subject())?)
    }

    /// Creates the table, and its dataset if it does not exist.
    pub(crate) fn create(&self, client: &Client, new: &NewTable, if_absent: bool) -> Result<TableDescription> {
        let client = self.client(client);
        ensure_dataset(&client, &self.dataset)?;
        let mut resource = json!({ "tableReference": self.reference(), "schema": { "fields": new.columns } });
        if new.partition_by.is_some() || new.partition_unit.is_some() {
            let unit = new.partition_unit.as_deref().unwrap_or("DAY").to_ascii_uppercase();
            resource["timePartitioning"] = json!({ "type": unit });
            if let Some(column) = &new.partition_by {
                resource["timePartitioning"]["field"] = column.as_str().into();
            }
        }
        if !new.cluster_by.is_empty() {
            resource["clustering"] = json!({ "fields": new.cluster_by });
        }
        if let Some(expires) = new.expires {
            resource["expirationTime"] = expires.to_string().into();
        }
        if let Some(description) = &new.description {
            resource["description"] = description.as_str().into();
        }
        let url = client.url(&self.list_path());
        let RetriedResponse { response, attempts } =
            api::send_counting(|| Ok(client.credentials.sign(http::post(url.as_str()).json(&resource))))?;
        // The table exists, or an earlier attempt created it and its response was lost.
        if response.status == 409 && (if_absent || attempts > 1) {
            return self.describe(&client);
        }
        TableDescription::read(&api::ok(response, &self.subject())?.json()?)
    }

    /// Inserts rows with generated insert IDs, so that BigQuery discards duplicates when a request
    /// is repeated ("Best effort de-duplication", BigQuery).
    pub(crate) fn insert(
        &self,
        client: &Client,
        rows: &[Map<String, Value>],
        skip: bool,
        ignore: bool,
    ) -> Result<Inserted> {
        let client = self.client(client);
        let url = client.url(&format!("{}/insertAll", self.path()));
        let mut done = Inserted { inserted: 0, refused: Vec::new() };
        let mut left = rows;
        while !left.is_empty() {
            let before = rows.len() - left.len();
            let (batch, rest) = left.split_at(fitting(left));
            left = rest;
            let name = random::bytes(12).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let named: Vec<Value> = batch
                .iter()
                .enumerate()
                .map(|(at, row)| json!({ "insertId": format!("{name}-{at}"), "json": row }))
                .collect();
            let request = json!({ "rows": named, "skipInvalidRows": skip, "ignoreUnknownValues": ignore });
            let answer: Value =
                client
                    .send(|| http::post(url.as_str()).json(&request), &self.subject())
                    .and_then(http::Response::json)
                    .map_err(|problem| {
                        if done.inserted == 0 { problem } else { problem.context(partly_inserted(done.inserted)) }
                    })?;
            let refused = refused_rows(&answer, before);
            if !refused.is_empty() && !skip {
                return Err(self.refusal(&refused, batch.len(), done.inserted));
            }
            done.inserted += (batch.len() - refused.len()) as u64;
            done.refused.extend(refused);
        }
        Ok(done)
    }

    /// Returns the error for rejected rows. BigQuery inserts none of the rows of a request if one
    /// is invalid.
    fn refusal(&self, refused: &[RefusedRow], of: usize, before: u64) -> Problem {
        let first = &refused[0];
        let column = first.column.as_ref().map(|column| format!(", column `{column}`")).unwrap_or_default();
        let done = if before == 0 { "nothing was inserted".to_owned() } else { partly_inserted(before) };
        let count = refused.len();
        Problem::invalid(format!(
            "{count} of {of} rows do not match {}, and {done}; row {}{column}: {}",
            self.subject(),
            first.row,
            first.message
        ))
        .hint("set `skip_invalid` to insert the valid rows")
        .with_details(json!({ "rows": refused.iter().take(REPORTED_ROWS).collect::<Vec<_>>(), "inserted": before }))
    }
}

/// Returns the number of rows that fit into one request, at least one.
fn fitting(rows: &[Map<String, Value>]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take(INSERTED_ROWS).take_while(|row| {
        bytes += blockyard_sdk::serde_json::to_string(row).map_or(0, |text| text.len()) + 100;
        bytes <= INSERTED_BYTES
    });
    fits.count().max(1)
}

fn partly_inserted(rows: u64) -> String {
    format!("the first {rows} rows were inserted")
}

/// Returns the invalid rows. Rows that were only rejected because of another row in the request
/// (reason `stopped`) are omitted.
fn refused_rows(answer: &Value, before: usize) -> Vec<RefusedRow> {
    let errors = answer["insertErrors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors
        .iter()
        .filter_map(|row| {
            let error = row["errors"].as_array()?.iter().find(|error| error["reason"] != "stopped")?;
            Some(RefusedRow {
                row: before as u64 + row["index"].as_u64().unwrap_or_default() + 1,
                message: text(&error["message"]).or_else(|| text(&error["reason"])).unwrap_or_default(),
                column: text(&error["location"]).filter(|column| !column.is_empty()),
            })
        })
        .collect()
}

/// Creates a dataset if it does not exist.
fn ensure_dataset(client: &Client, dataset: &str) -> Result<()> {
    let subject = format!("dataset `{dataset}`");
    match client.get(&format!("/datasets/{}", http::percent_encode(dataset)), &subject) {
        Err(problem) if problem.code() == "not-found" => {}
        found => return found.map(drop),
    }
    let mut resource = json!({ "datasetReference": { "projectId": client.project, "datasetId": dataset } });
    if let Some(location) = &client.location {
        resource["location"] = location.as_str().into();
    }
    let url = client.url("/datasets");
    match client.send(|| http::post(url.as_str()).json(&resource), &subject) {
        // A concurrent call created the dataset.
        Err(problem) if problem.code() == "conflict" => Ok(()),
        result => result.map(drop),
    }
}

/// Lists all tables of a dataset.
pub(crate) fn tables(client: &Client, dataset: &str) -> Result<Vec<TableEntry>> {
    if !is_identifier(dataset) {
        return Err(Problem::invalid(format!("`{dataset}` is not a valid dataset name: letters, digits and `_`")));
    }
    let subject = format!("dataset `{dataset}`");
    // Some servers return an empty list for a dataset that does not exist.
    client.get(&format!("/datasets/{dataset}"), &subject)?;
    let url = client.url(&format!("/datasets/{dataset}/tables"));
    let mut all = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let parameters: Vec<(&str, &str)> = token.as_deref().map(|token| ("pageToken", token)).into_iter().collect();
        let page: Value =
            client.send(|| http::get(url.as_str()).query(parameters.iter().copied()), &subject)?.json()?;
        let tables = page["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.extend(tables.iter().filter_map(|table| {
            Some(TableEntry {
                dataset: dataset.to_owned(),
                name: text(&table["tableReference"]["tableId"])?,
                kind: text(&table["type"]).unwrap_or_else(|| "TABLE".to_owned()),
            })
        }));
        token = text(&page["nextPageToken"]).filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(all);
        }
    }
}

impl TableDescription {
    fn read(resource: &Value) -> Result<Self> {
        let part = |name: &str| resource["tableReference"][name].as_str().unwrap_or_default();
        let columns = &resource["schema"]["fields"];
        let columns = if columns.is_null() { Ok(Vec::new()) } else { serde::Deserialize::deserialize(columns) };
        let partitioning = &resource["timePartitioning"];
        let clustering = resource["clustering"]["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Self {
            name: format!("{}.{}.{}", part("projectId"), part("datasetId"), part("tableId")),
            kind: text(&resource["type"]).unwrap_or_else(|| "TABLE".to_owned()),
            columns: columns
                .map_err(|_| Problem::new("failed", "BigQuery returned a table in an unexpected format"))?,
            rows: number(&resource["numRows"]),
            bytes: number(&resource["numBytes"]),
            partitioned_by: partitioning
                .is_object()
                .then(|| text(&partitioning["field"]).unwrap_or_else(|| "_PARTITIONTIME".to_owned()))
                .or_else(|| text(&resource["rangePartitioning"]["field"])),
            clustered_by: clustering.iter().filter_map(text).collect(),
            expires: number(&resource["expirationTime"]),
            description: text(&resource["description"]),
        })
    }
}

/// Checks that `name` is a valid dataset name.
pub(crate) fn is_identifier(name: &str) -> bool {
    (1..=1024).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Checks that `name` is a valid table name: letters of all scripts, digits, connectors, dashes and
/// spaces ("Table naming", BigQuery), and `$` before a partition.
fn is_table(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '$');
    (1..=1024).contains(&name.len()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_qualified_and_validated() {
        let parse = |name: &str| TableName::parse(name, "demo", Some("own"));
        let parts = |name: TableName| (name.project, name.dataset, name.table);
        let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parts(parse("t").expect("a name")), owned("demo", "own", "t"));
        assert_eq!(parts(parse("d.t$20130101").expect("a name")), owned("demo", "d", "t$20130101"));
        assert_eq!(parts(parse("`p-1.d.t`").expect("a name")), owned("p-1", "d", "t"));
        for wrong in ["", "a.b.c.d", "d/..", "../d.t", "a..t", "d.t/x", "p/q.d.t", "d.t?x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(TableName::parse("t", "demo", None).expect_err("no dataset").message().contains("has no dataset"));
    }

    #[test]
    fn only_invalid_rows_are_reported_as_rejected() {
        let answer = json!({"insertErrors": [
            {"index": 0, "errors": [{"reason": "stopped", "message": ""}]},
            {"index": 2, "errors": [{"reason": "invalid", "location": "a", "message": "Cannot convert value to integer"}]},
        ]});
        let rows = refused_rows(&answer, 500);
        assert_eq!((rows.len(), rows[0].row, rows[0].column.as_deref()), (1, 503, Some("a")));
        assert_eq!(rows[0].message, "Cannot convert value to integer");
    }
}
