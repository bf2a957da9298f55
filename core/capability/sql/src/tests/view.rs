//! The functions that a bundle calls, on a view of a call. They need no engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use blockyard_call::{CallContext, EffectViolation, Fault};
use blockyard_model::{Capability, Effect, Pointer, SqlTarget};
use serde_json::Value as Json;
use wasmtime::component::Resource;

use crate::bindings::blockyard::bundle::sql::{HostConnection, HostRows, HostTransaction, Target, Value};
use crate::target::MEMORY;
use crate::{SqlContext, SqlView};

fn call(effect: Effect, grants: &[&str]) -> CallContext {
    let grants = grants.iter().map(|grant| grant.parse::<Capability>().unwrap()).collect();
    let (bundle, block) = ("test".to_owned(), "test/test@1".to_owned());
    CallContext::new(bundle, effect, Json::Null, block, BTreeMap::new(), Arc::new(grants))
}

/// Returns the context of a call of a block that names a database in memory.
fn sql() -> SqlContext {
    let memory = SqlTarget {
        block: Pointer::default(),
        dialect: None,
        host: None,
        port: None,
        database: MEMORY.to_owned(),
        username: None,
        tls: None,
        ca: None,
        application_name: None,
        passwords: Vec::new(),
    };
    SqlContext::new(Arc::default(), vec![memory])
}

fn target(database: &str) -> Target {
    Target {
        dialect: "sqlite".to_owned(),
        host: None,
        port: None,
        database: database.to_owned(),
        username: None,
        options: Vec::new(),
    }
}

/// Returns a borrowed handle, as the guest passes it.
fn borrow<T: 'static>(owned: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(owned.rep())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reads_the_rows_of_a_statement() {
    let (mut call, sql) = (call(Effect::Write, &["sql sqlite"]), sql());
    let mut view = SqlView { call: &mut call, sql: &sql };
    let connection = HostConnection::open(&mut view, target(MEMORY), None).await.unwrap();
    let parameters = vec![Value::Integer(41)];
    let query = HostConnection::query(&mut view, borrow(&connection), "select ? + 1".to_owned(), parameters);
    let rows = query.await.unwrap();
    let all = HostRows::next(&mut view, borrow(&rows), 10).await.unwrap();
    assert!(matches!(all.as_slice(), [row] if matches!(row.as_slice(), [Value::Integer(42)])), "{all:?}");
    HostRows::drop(&mut view, rows).await.unwrap();
    HostConnection::drop(&mut view, connection).await.unwrap();
    assert!(call.table.is_empty(), "all handles are dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_needs_a_grant_and_a_name_in_the_block() {
    let sql = sql();
    for (grants, database, message) in [
        (&["sql postgres"][..], MEMORY, "bundle `test` needs `sql sqlite`, which is not granted"),
        (&["sql sqlite"][..], "/zoo.db", "the block's configuration does not name the database `/zoo.db`"),
    ] {
        let mut call = call(Effect::Write, grants);
        let opened = HostConnection::open(&mut SqlView { call: &mut call, sql: &sql }, target(database), None).await;
        let Err(Fault::Problem(problem)) = opened else { panic!("{database}: the connection must be refused") };
        assert_eq!((problem.code.as_str(), problem.message.as_str()), ("not-granted", message));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_inserts_rows_ends_the_call() {
    let (mut call, sql) = (call(Effect::Read, &["sql sqlite"]), sql());
    let mut view = SqlView { call: &mut call, sql: &sql };
    let connection = HostConnection::open(&mut view, target(MEMORY), None).await.unwrap();
    let transaction = HostConnection::begin(&mut view, borrow(&connection)).await.unwrap();
    let (table, columns) = (vec!["animal".to_owned()], vec!["name".to_owned()]);
    let rows = vec![vec![Value::Text("zebra".to_owned())]];
    let inserted = HostTransaction::insert(&mut view, borrow(&transaction), table, columns, rows).await;
    let Err(Fault::Trap(trap)) = inserted else { panic!("the call must end") };
    assert!(trap.is::<EffectViolation>(), "{trap:?}");
}
