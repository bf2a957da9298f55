//! Tables: their names, what they are, and rows that are put into them one by one.

use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::random;

use super::field::Field;
use super::job::{Client, number, text};
use crate::api;

/// Rows of one request of streaming inserts ("Quotas and limits", BigQuery: at most 50,000, 500 are
/// recommended).
const INSERTED_ROWS: usize = 500;
/// Bytes of one request of streaming inserts: it may have 10 MB.
const INSERTED_BYTES: usize = 8 << 20;
/// Refused rows that are told one by one.
const TOLD_ROWS: usize = 50;

/// A table's name, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) project: String,
    pub(crate) dataset: String,
    pub(crate) table: String,
}

/// A table in a list.
#[data]
#[derive(Debug)]
pub(crate) struct TableEntry {
    /// Its dataset.
    dataset: String,
    /// Its name.
    name: String,
    /// `TABLE`, `VIEW`, `MATERIALIZED_VIEW`, `EXTERNAL` or `SNAPSHOT`.
    #[serde(rename = "type")]
    kind: String,
}

/// A table.
#[data]
#[derive(Debug)]
pub(crate) struct TableDescription {
    /// Its name: `PROJECT.DATASET.TABLE`.
    pub(crate) name: String,
    /// `TABLE`, `VIEW`, `MATERIALIZED_VIEW`, `EXTERNAL` or `SNAPSHOT`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Its columns.
    pub(crate) columns: Vec<Field>,
    /// How many rows it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u64>,
    /// How large it is, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// The column whose time says in which partition a row is; `_PARTITIONTIME` for when it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partitioned_by: Option<String>,
    /// The columns by which it is sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clustered_by: Vec<String>,
    /// When it will be removed, milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

/// What a table shall be beside its name.
pub(crate) struct NewTable {
    pub(crate) columns: Vec<Field>,
    pub(crate) partition_by: Option<String>,
    pub(crate) partition_unit: Option<String>,
    pub(crate) cluster_by: Vec<String>,
    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) expires: Option<i64>,
    pub(crate) description: Option<String>,
}

/// What became of rows.
#[data]
#[derive(Debug)]
pub(crate) struct Inserted {
    /// How many are in the table.
    pub(crate) inserted: u64,
    /// Those that are not, where that was allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused: Vec<RefusedRow>,
}

/// A row that is not in the table.
#[data]
#[derive(Debug)]
pub(crate) struct RefusedRow {
    /// Which of those given, from 1.
    pub(crate) row: u64,
    /// Why not.
    pub(crate) message: String,
    /// Which column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<String>,
}

impl TableName {
    /// `TABLE`, `DATASET.TABLE` or `PROJECT.DATASET.TABLE`; what is not said is the block's.
    pub(crate) fn parse(name: &str, project: &str, dataset: Option<&str>) -> Result<Self> {
        let parts: Vec<&str> = name.trim_matches('`').split('.').collect();
        let (project, dataset, table) = match (parts.as_slice(), dataset) {
            ([table], Some(dataset)) => (project, dataset, *table),
            ([_], None) => {
                return Err(Problem::invalid(format!("`{name}` does not say in which dataset"))
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
        Problem::invalid(format!("`{name}` is not the name of a table")).hint(
            "`DATASET.TABLE`: letters, digits and `_`; in a table's name also `-`, spaces and `$` before a partition",
        )
    }

    /// As requests name it.
    pub(crate) fn reference(&self) -> Value {
        json!({ "projectId": self.project, "datasetId": self.dataset, "tableId": self.table })
    }

    pub(crate) fn what(&self) -> String {
        format!("table `{}.{}`", self.dataset, self.table)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.list_path(), http::percent_encode(&self.table))
    }

    fn list_path(&self) -> String {
        format!("/datasets/{}/tables", http::percent_encode(&self.dataset))
    }

    /// The client for the project that the table is in.
    fn client(&self, client: &Client) -> Client {
        Client { project: self.project.clone(), ..client.clone() }
    }

    pub(crate) fn describe(&self, client: &Client) -> Result<TableDescription> {
        TableDescription::read(&self.client(client).get(&self.path(), &self.what())?)
    }

    /// Makes the table, and its dataset where that is missing.
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
        let (answer, sent) =
            api::send_counting(|| Ok(client.credentials.sign(http::post(url.as_str()).json(&resource))))?;
        // It is there already; or it was made, and the answer that said so did not arrive.
        if answer.status == 409 && (if_absent || sent > 1) {
            return self.describe(&client);
        }
        TableDescription::read(&api::ok(answer, &self.what())?.json()?)
    }

    /// Puts rows into the table, each under a name of ours, so that what is sent again is not there
    /// twice ("Best effort de-duplication", BigQuery).
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
            let answer: Value = client
                .send(|| http::post(url.as_str()).json(&request), &self.what())
                .and_then(http::Response::json)
                .map_err(|problem| if done.inserted == 0 { problem } else { problem.context(partly(done.inserted)) })?;
            let refused = refused_rows(&answer, before);
            if !refused.is_empty() && !skip {
                return Err(self.refusal(&refused, batch.len(), done.inserted));
            }
            done.inserted += (batch.len() - refused.len()) as u64;
            done.refused.extend(refused);
        }
        Ok(done)
    }

    /// Of a request that has rows which do not fit BigQuery takes none.
    fn refusal(&self, refused: &[RefusedRow], of: usize, before: u64) -> Problem {
        let first = &refused[0];
        let column = first.column.as_ref().map(|column| format!(", column `{column}`")).unwrap_or_default();
        let done = if before == 0 { "nothing was written".to_owned() } else { partly(before) };
        let count = refused.len();
        Problem::invalid(format!(
            "{count} of {of} rows do not fit {}, and {done}; row {}{column}: {}",
            self.what(),
            first.row,
            first.message
        ))
        .hint("`skip_invalid` writes the others")
        .with_details(json!({ "rows": refused.iter().take(TOLD_ROWS).collect::<Vec<_>>(), "inserted": before }))
    }
}

/// How many rows go into one request, at least one.
fn fitting(rows: &[Map<String, Value>]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take(INSERTED_ROWS).take_while(|row| {
        bytes += blockyard_sdk::serde_json::to_string(row).map_or(0, |text| text.len()) + 100;
        bytes <= INSERTED_BYTES
    });
    fits.count().max(1)
}

fn partly(rows: u64) -> String {
    format!("the first {rows} rows were written")
}

/// The rows that were refused themselves; those that were only held up by them are not named.
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

/// Makes a dataset where it is missing.
fn ensure_dataset(client: &Client, dataset: &str) -> Result<()> {
    let what = format!("dataset `{dataset}`");
    match client.get(&format!("/datasets/{}", http::percent_encode(dataset)), &what) {
        Err(problem) if problem.code() == "not-found" => {}
        found => return found.map(drop),
    }
    let mut resource = json!({ "datasetReference": { "projectId": client.project, "datasetId": dataset } });
    if let Some(location) = &client.location {
        resource["location"] = location.as_str().into();
    }
    let url = client.url("/datasets");
    match client.send(|| http::post(url.as_str()).json(&resource), &what) {
        // Somebody else was faster.
        Err(problem) if problem.code() == "conflict" => Ok(()),
        made => made.map(drop),
    }
}

/// All tables of a dataset.
pub(crate) fn tables(client: &Client, dataset: &str) -> Result<Vec<TableEntry>> {
    if !is_identifier(dataset) {
        return Err(Problem::invalid(format!("`{dataset}` is not the name of a dataset: letters, digits and `_`")));
    }
    let what = format!("dataset `{dataset}`");
    // A dataset that is not there has no tables for some servers.
    client.get(&format!("/datasets/{dataset}"), &what)?;
    let url = client.url(&format!("/datasets/{dataset}/tables"));
    let mut all = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let parameters: Vec<(&str, &str)> = token.as_deref().map(|token| ("pageToken", token)).into_iter().collect();
        let page: Value = client.send(|| http::get(url.as_str()).query(parameters.iter().copied()), &what)?.json()?;
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
                .map_err(|_| Problem::new("failed", "BigQuery describes a table in a way that is not known"))?,
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

/// The names that datasets have.
pub(crate) fn is_identifier(name: &str) -> bool {
    (1..=1024).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The names that tables have: letters of all scripts, digits, connectors, dashes, spaces ("Table naming",
/// BigQuery), and `$` before a partition.
fn is_table(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '$');
    (1..=1024).contains(&name.len()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_and_checked() {
        let parse = |name: &str| TableName::parse(name, "demo", Some("own"));
        let parts = |name: TableName| (name.project, name.dataset, name.table);
        let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parts(parse("t").expect("a name")), owned("demo", "own", "t"));
        assert_eq!(parts(parse("d.t$20130101").expect("a name")), owned("demo", "d", "t$20130101"));
        assert_eq!(parts(parse("`p-1.d.t`").expect("a name")), owned("p-1", "d", "t"));
        for wrong in ["", "a.b.c.d", "d/..", "../d.t", "a..t", "d.t/x", "p/q.d.t", "d.t?x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(TableName::parse("t", "demo", None).expect_err("no dataset").message().contains("which dataset"));
    }

    #[test]
    fn only_what_was_refused_itself_is_told() {
        let answer = json!({"insertErrors": [
            {"index": 0, "errors": [{"reason": "stopped", "message": ""}]},
            {"index": 2, "errors": [{"reason": "invalid", "location": "a", "message": "Cannot convert value to integer"}]},
        ]});
        let rows = refused_rows(&answer, 500);
        assert_eq!((rows.len(), rows[0].row, rows[0].column.as_deref()), (1, 503, Some("a")));
        assert_eq!(rows[0].message, "Cannot convert value to integer");
    }
}
