//! `sql`: access to the databases that the block's configuration names. The host opens the
//! connection, with a password that the guest holds as a handle. The guest sends statements and
//! receives rows, either as values or as an Arrow IPC stream that it passes on by handle.
//!
//! In an operation with the effect `read`, every statement runs where nothing can be written: in a
//! SQLite file that is opened read-only, or in a `READ ONLY` session and transaction of PostgreSQL
//! or MySQL. This does not rely on a scanner of statements: the database itself reports, before a
//! statement runs, that it returns rows, and afterwards, that the transaction is still the one that
//! the host began.
//!
//! A statement is canceled if its caller stops waiting. When a call is stopped while the database
//! works (by its deadline or by Ctrl-C), or when a guest drops its rows, the database stops, too.

mod arrow;
mod background;
pub mod bindings;
mod cell;
mod connection;
mod error;
mod insert;
mod lease;
pub mod lexer;
mod literal;
mod many;
#[cfg_attr(not(feature = "mysql"), path = "mysql_absent.rs")]
mod mysql;
mod number;
mod pool;
mod postgres;
mod rows;
mod sink;
mod sqlite;
mod statement;
mod target;
#[cfg(test)]
mod tests;
mod word;

use std::borrow::Cow;
use std::str::FromStr as _;
use std::sync::Arc;

use blockyard_call::bindings::blockyard::bundle::types;
use blockyard_call::{Body, CallContext, EffectViolation, Fault, Problem, Secret, quoted, trace};
use blockyard_model::capability::Dialect;
use blockyard_model::{Audience, Capability, Effect, SqlTarget};
use tokio::sync::Mutex;
use wasmtime::component::{HasData, Linker, Resource};

use self::connection::{Claimed, End, begin, end, execute};
use self::pool::Request;
use self::sqlite::budget::Budget;
use self::statement::{Access, LEFT_TRANSACTION, Statement};
use crate::bindings::blockyard::bundle::sql::{
    self, Column, Execution, Host, HostConnection, HostRows, HostTransaction, Target, Value,
};

pub use background::settled;
pub use connection::{Connection, Transaction};
pub use pool::Pools;
pub use rows::Rows;
pub use sqlite::budget::install as count_sqlite_memory;

/// Media type of Arrow IPC streams, as registered with IANA.
const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// The databases of a call.
pub struct SqlContext {
    pools: Arc<Pools>,
    /// Databases that the block's configuration names.
    targets: Vec<SqlTarget>,
    /// Memory and temporary files that the statements of the call use in SQLite.
    budget: Arc<Budget>,
}

/// View of a call that `sql` needs.
pub struct SqlView<'call> {
    /// The context of the call.
    pub call: &'call mut CallContext,
    /// The databases of the call.
    pub sql: &'call SqlContext,
}

/// Names [`SqlView`] as the data of the interface.
struct HasSql;

impl HasData for HasSql {
    type Data<'call> = SqlView<'call>;
}

/// Links the interface `sql`.
///
/// # Errors
/// Returns an error if the linker already defines the interface.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> SqlView<'_>,
) -> wasmtime::Result<()> {
    sql::add_to_linker::<T, HasSql>(linker, view)
}

impl SqlContext {
    /// Creates the context of a call. `targets` are the databases that the block's configuration names.
    #[must_use]
    pub fn new(pools: Arc<Pools>, targets: Vec<SqlTarget>) -> Self {
        Self { pools, targets, budget: Arc::default() }
    }
}

impl types::Host for SqlView<'_> {
    fn convert_problem(&mut self, fault: Fault) -> wasmtime::Result<types::Problem> {
        self.call.convert_problem(fault)
    }
}

impl Host for SqlView<'_> {}

impl HostConnection for SqlView<'_> {
    async fn open(
        &mut self,
        target: Target,
        password: Option<Resource<Secret>>,
    ) -> Result<Resource<Connection>, Fault> {
        let traced = trace::host_call("sql.open");
        self.call.record_sent(std::iter::once(Cow::Owned(format!("{target:?}").into_bytes()))).await;
        let dialect = Dialect::from_str(&target.dialect)
            .map_err(|()| Problem::new("invalid", format!("unknown SQL dialect `{}`", quoted(&target.dialect))))?;
        let capability = Capability::Sql(dialect);
        if !self.call.grants.contains(&capability) {
            return Err(Problem::not_granted(&self.call.bundle, &capability.to_string()).into());
        }
        let pointer = match &password {
            None => None,
            Some(secret) => Some(&self.call.table.get(secret)?.pointer),
        };
        let permitted = target::permit(&self.sql.targets, &target, dialect, pointer)?;
        self.call.usage.record(&capability);
        traced.dialect(dialect.as_str());
        if let Some((host, port)) = &permitted.server {
            traced.server(host, *port);
        }
        let password = match pointer {
            None => None,
            Some(pointer) => {
                let secret = &self.call.secrets[pointer];
                if !secret.uses.audience.contains(&Audience::Sql) {
                    let problem =
                        Problem::new("not-granted", format!("the secret `{pointer}` may not be used for databases"));
                    return Err(problem.into());
                }
                Some(secret.value.clone())
            }
        };
        let access = match self.call.effect {
            Effect::Read => Access::ReadOnly,
            Effect::Write | Effect::Destructive => Access::ReadWrite,
        };
        let request = Request {
            block: &self.call.block,
            target: permitted,
            password: password.as_ref(),
            access,
            budget: &self.sql.budget,
        };
        let pooled = self.sql.pools.open(request).await?;
        let connection = Connection { slot: Arc::new(Mutex::new(Some(pooled))), access };
        Ok(self.call.table.push(connection)?)
    }

    async fn query(
        &mut self,
        connection: Resource<Connection>,
        text: String,
        parameters: Vec<Value>,
    ) -> Result<Resource<Rows>, Fault> {
        let _traced = trace::host_call("sql.query");
        self.call.record_sent(quotable(&text, parameters.iter())).await;
        let Connection { slot, access } = self.call.table.get(&connection)?;
        let statement = Statement { text, parameters, access: *access, in_transaction: false };
        let rows = rows::start(Claimed::of(slot)?, statement).await.map_err(|problem| stopping(problem, *access))?;
        Ok(self.call.table.push(rows)?)
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        text: String,
        parameters: Vec<Value>,
    ) -> Result<Execution, Fault> {
        let _traced = trace::host_call("sql.execute");
        self.call.record_sent(quotable(&text, parameters.iter())).await;
        let Connection { slot, access } = self.call.table.get(&connection)?;
        let statement = Statement { text, parameters, access: *access, in_transaction: false };
        execute(Claimed::of(slot)?, statement).await.map_err(|problem| stopping(problem, *access))
    }

    async fn execute_many(
        &mut self,
        connection: Resource<Connection>,
        text: String,
        parameters: Vec<Vec<Value>>,
    ) -> Result<Execution, Fault> {
        let _traced = trace::host_call("sql.execute-many");
        self.call.record_sent(quotable(&text, parameters.iter().flatten())).await;
        let Connection { slot, access } = self.call.table.get(&connection)?;
        let access = *access;
        let mut claimed = Claimed::of(slot)?;
        begin(&mut claimed, access).await?;
        let result = many::execute(claimed.start()?, &text, parameters, access).await;
        claimed.finish();
        let ended = end(&mut claimed, if result.is_ok() { End::Commit } else { End::Rollback }).await;
        let done = result.map_err(|problem| stopping(problem, access))?;
        ended.map_err(|problem| stopping(problem, access))?;
        Ok(done)
    }

    async fn begin(&mut self, connection: Resource<Connection>) -> Result<Resource<Transaction>, Fault> {
        let _traced = trace::host_call("sql.begin");
        let Connection { slot, access } = self.call.table.get(&connection)?;
        let (slot, access) = (slot.clone(), *access);
        let mut claimed = Claimed::of(&slot)?;
        begin(&mut claimed, access).await?;
        drop(claimed);
        Ok(self.call.table.push(Transaction { slot, access, finished: false })?)
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.call.table.delete(connection)?;
        Ok(())
    }
}

/// Returns the texts of a statement that a database may quote in an error message, see
/// [`CallContext::record_sent`].
fn quotable<'a>(text: &'a str, values: impl Iterator<Item = &'a Value>) -> impl Iterator<Item = Cow<'a, [u8]>> {
    std::iter::once(Cow::Borrowed(text.as_bytes())).chain(values.map(text_of))
}

/// Returns a value as the text that a database may quote, or several such texts on separate lines.
fn text_of(value: &Value) -> Cow<'_, [u8]> {
    let text = match value {
        Value::Text(text) | Value::Decimal(text) | Value::Uuid(text) | Value::Json(text) | Value::Other((_, text)) => {
            return Cow::Borrowed(text.as_bytes());
        }
        Value::Bytes(bytes) => return Cow::Borrowed(bytes),
        Value::Null | Value::Boolean(_) => return Cow::Borrowed(&[]),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number::float_text(*number),
        Value::Date(days) => [literal::date_text(*days), literal::postgres_date_text(*days)].join("\n"),
        Value::Time(micros) => literal::time_text(*micros),
        Value::Timestamp(timestamp) => [
            literal::timestamp_text(timestamp.micros),
            literal::iso_timestamp_text(timestamp.micros, true),
            literal::postgres_timestamp_text(timestamp.micros, "+00"),
        ]
        .join("\n"),
    };
    Cow::Owned(text.into_bytes())
}

impl HostTransaction for SqlView<'_> {
    async fn query(
        &mut self,
        transaction: Resource<Transaction>,
        text: String,
        parameters: Vec<Value>,
    ) -> Result<Resource<Rows>, Fault> {
        let _traced = trace::host_call("sql.transaction.query");
        self.call.record_sent(quotable(&text, parameters.iter())).await;
        let Transaction { slot, access, .. } = self.call.table.get(&transaction)?;
        let statement = Statement { text, parameters, access: *access, in_transaction: true };
        let rows = rows::start(Claimed::of(slot)?, statement).await.map_err(|problem| stopping(problem, *access))?;
        Ok(self.call.table.push(rows)?)
    }

    async fn execute(
        &mut self,
        transaction: Resource<Transaction>,
        text: String,
        parameters: Vec<Value>,
    ) -> Result<Execution, Fault> {
        let _traced = trace::host_call("sql.transaction.execute");
        self.call.record_sent(quotable(&text, parameters.iter())).await;
        let Transaction { slot, access, .. } = self.call.table.get(&transaction)?;
        let statement = Statement { text, parameters, access: *access, in_transaction: true };
        execute(Claimed::of(slot)?, statement).await.map_err(|problem| stopping(problem, *access))
    }

    async fn insert(
        &mut self,
        transaction: Resource<Transaction>,
        table: Vec<String>,
        columns: Vec<String>,
        rows: Vec<Vec<Value>>,
    ) -> Result<u64, Fault> {
        let _traced = trace::host_call("sql.transaction.insert");
        let names = table.iter().chain(&columns).map(|name| Cow::Borrowed(name.as_bytes()));
        self.call.record_sent(names.chain(rows.iter().flatten().map(text_of))).await;
        let Transaction { slot, access, .. } = self.call.table.get(&transaction)?;
        if *access == Access::ReadOnly {
            return Err(EffectViolation("insert rows into a table".to_owned()).into());
        }
        Ok(many::insert(Claimed::of(slot)?, &table, &columns, rows).await?)
    }

    async fn commit(&mut self, transaction: Resource<Transaction>) -> Result<(), Fault> {
        let _traced = trace::host_call("sql.transaction.commit");
        let mut transaction = self.call.table.delete(transaction)?;
        let mut claimed = Claimed::of(&transaction.slot)?;
        end(&mut claimed, End::Commit).await.map_err(|problem| stopping(problem, transaction.access))?;
        transaction.finished = true;
        Ok(())
    }

    async fn drop(&mut self, transaction: Resource<Transaction>) -> wasmtime::Result<()> {
        let mut transaction = self.call.table.delete(transaction)?;
        if let Ok(mut claimed) = Claimed::of(&transaction.slot) {
            // The result is ignored: a connection that fails to roll back is closed.
            transaction.finished = end(&mut claimed, End::Rollback).await.is_ok();
        }
        Ok(())
    }
}

impl HostRows for SqlView<'_> {
    async fn columns(&mut self, rows: Resource<Rows>) -> wasmtime::Result<Vec<Column>> {
        Ok(self.call.table.get(&rows)?.columns())
    }

    async fn next(&mut self, rows: Resource<Rows>, max: u32) -> Result<Vec<Vec<Value>>, Fault> {
        let _traced = trace::inner_call("sql.rows.next");
        let access = if self.call.effect == Effect::Read { Access::ReadOnly } else { Access::ReadWrite };
        let next = self.call.table.get_mut(&rows)?.next(max as usize).await;
        next.map_err(|problem| stopping(problem, access))
    }

    async fn into_arrow(&mut self, rows: Resource<Rows>) -> wasmtime::Result<Resource<Body>> {
        let _traced = trace::inner_call("sql.rows.into-arrow");
        let rows = self.call.table.delete(rows)?;
        let body = Body::stream(ARROW_STREAM, rows.into_arrow());
        Ok(self.call.table.push(body)?)
    }

    async fn drop(&mut self, rows: Resource<Rows>) -> wasmtime::Result<()> {
        self.call.table.delete(rows)?;
        Ok(())
    }
}

/// Converts a problem to a fault. In an operation with the effect `read`, a statement that left the
/// host's transaction ends the call, because its only purpose is to circumvent the read-only mode.
fn stopping(problem: Problem, access: Access) -> Fault {
    match access {
        Access::ReadOnly if problem.code == LEFT_TRANSACTION => {
            EffectViolation("end its read-only transaction".to_owned()).into()
        }
        _ => problem.into(),
    }
}
