//! Queries and statements: their configuration, and the check that a query is read-only.

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::prelude::*;

use super::job::{Client, Pages, WAIT_SECONDS, number};
use super::result::Executed;
use super::start::JobKey;
use super::statement::Statement;
use super::table::TableName;
use super::{BigqueryWarehouse, Parameters, Query, Row, Types, cell, parameter};

/// Maximum number of rows per page. BigQuery additionally limits a page to 10 MB.
pub(super) const PAGE_ROWS: usize = 8 << 10;
/// Maximum number of parameter values per request, over all sets ("Quotas and limits", BigQuery:
/// query parameters).
const PARAMETERS: usize = 10_000;
/// Default maximum time that a call waits for a job.
pub(super) const WAIT: Duration = Duration::from_secs(WAIT_SECONDS);

impl BigqueryWarehouse {
    pub(super) fn client(&self, labels: BTreeMap<String, String>) -> Result<Client> {
        Ok(Client {
            credentials: self.credentials.get()?.clone(),
            project: self.project()?.to_owned(),
            location: self.location.clone(),
            labels: self.labels.clone().into_iter().chain(labels).collect(),
            job_id: None,
        })
    }

    pub(super) fn project(&self) -> Result<&str> {
        match &self.project {
            Some(project) => Ok(project),
            None => self.credentials.get()?.need_project(),
        }
    }

    pub(super) fn table(&self, name: &str) -> Result<TableName> {
        TableName::parse(name, self.project()?, self.dataset.as_deref())
    }

    /// Returns the query configuration of a job.
    pub(super) fn configuration(&self, query: &Query, maximum_bytes: Option<u64>) -> Result<Value> {
        let statement = Statement::parse(&query.statement);
        let parameters = parameter::parameters(&statement, &query.parameters, &query.types)?;
        self.query_of(&statement.text(), parameters, maximum_bytes)
    }

    pub(super) fn query_of(
        &self,
        statement: &str,
        parameters: Vec<Value>,
        maximum_bytes: Option<u64>,
    ) -> Result<Value> {
        let mut query = json!({ "query": statement, "useLegacySql": false });
        if !parameters.is_empty() {
            query["parameterMode"] = "NAMED".into();
            query["queryParameters"] = parameters.into();
        }
        if let Some(most) = self.byte_limit(maximum_bytes) {
            query["maximumBytesBilled"] = most.to_string().into();
        }
        if let Some(dataset) = &self.dataset {
            query["defaultDataset"] = json!({ "projectId": self.project()?, "datasetId": dataset });
        }
        Ok(query)
    }

    /// Returns the lower of the block's limit and the call's.
    pub(super) fn byte_limit(&self, maximum_bytes: Option<u64>) -> Option<u64> {
        self.maximum_bytes.into_iter().chain(maximum_bytes).min()
    }

    /// Runs a read-only query. A dry run first verifies that it is a `SELECT` and how many bytes it
    /// reads.
    pub(super) fn read(
        &self,
        client: &Client,
        query: &Value,
        maximum_bytes: Option<u64>,
        page_rows: usize,
    ) -> Result<Pages> {
        let dry = client.dry_run(query)?;
        let statistics = &dry["statistics"]["query"];
        let kind = statistics["statementType"].as_str().unwrap_or("statement of an unknown kind");
        if kind != "SELECT" {
            return Err(Problem::invalid(format!("this operation is read-only, but the statement is a {kind}"))
                .hint("use `execute` for statements that change data"));
        }
        let reads =
            number(&dry["statistics"]["totalBytesProcessed"]).or_else(|| number(&statistics["totalBytesProcessed"]));
        if let (Some(reads), Some(most)) = (reads, self.byte_limit(maximum_bytes))
            && reads > most
        {
            return Err(Problem::invalid(format!("the query would read {reads} bytes, more than the limit of {most}"))
                .hint("read less, or increase `maximum_bytes`; the query was not run")
                .with_details(json!({ "bytes_processed": reads, "maximum_bytes": most })));
        }
        client.query(query, page_rows)
    }

    /// Returns the first `most` rows of a query.
    pub(super) fn rows(&self, query: &Query, most: usize) -> Result<Vec<Row>> {
        let client = self.client(BTreeMap::new())?;
        let query = self.configuration(query, None)?;
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
    pub(super) fn change(&self, client: &Client, query: &Value) -> Result<Executed> {
        let job = client.run(&json!({ "query": query }), WAIT)?;
        let rows =
            if job.statement_type.as_deref() == Some("SCRIPT") { client.rows_of_script(&job)? } else { job.rows };
        Ok(Executed { rows_affected: rows.unwrap_or_default(), job_id: job.job_id })
    }

    /// Runs a statement once for each set of parameters, as one statement or one transaction.
    pub(super) fn change_many(
        &self,
        statement: &str,
        parameters: &[Parameters],
        types: &Types,
        key: JobKey,
    ) -> Result<Executed> {
        let parsed = Statement::parse(statement);
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
            let of_set = parameter::parameters(&parsed, given, types)
                .map_err(|problem| problem.context(format!("set {} of the parameters", set + 1)))?;
            all.extend(of_set.into_iter().map(|mut parameter| {
                parameter["name"] = format!("{}_{set}", parameter["name"].as_str().unwrap_or_default()).into();
                parameter
            }));
        }
        let query = self.query_of(&parsed.repeated(parameters.len()), all, None)?;
        self.change(&self.client(BTreeMap::new())?.with_key(key)?, &query)
    }
}
