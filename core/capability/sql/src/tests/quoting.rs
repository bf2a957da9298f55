//! Text of the guest that a database quotes in its messages. A secret in it is not masked.

use std::collections::BTreeMap;
use std::sync::Arc;

use blockyard_call::bindings::blockyard::bundle::types::Host as _;
use blockyard_call::{CallContext, CallSecret, Fault, Problem};
use blockyard_model::{Effect, Pointer, SecretUse, SecretValue};

use super::{Access, Server, begin, run};
use crate::bindings::blockyard::bundle::sql::{HostTransaction as _, Timestamp, Value};
use crate::connection::{Claimed, Transaction};
use crate::{SqlContext, SqlView, literal, quotable};

fn call(secret: &str) -> CallContext {
    let secret = CallSecret { value: SecretValue::new(secret.to_owned()), uses: SecretUse::default() };
    let secrets = BTreeMap::from([(Pointer::new("/password"), secret)]);
    let config = serde_json::Value::Null;
    CallContext::new("zoo".to_owned(), Effect::Write, config, "zoo/a".to_owned(), secrets, Arc::default())
}

/// Returns the message that the guest receives.
fn masked_message(call: &mut CallContext, problem: Problem) -> String {
    call.convert_problem(Fault::Problem(problem)).unwrap().message
}

#[test]
fn the_names_of_an_insert_are_not_masked() {
    let server = Server::sqlite();
    server.runtime.block_on(async {
        for (table, column) in [("hunter7", "a"), ("t", "hunter7")] {
            let mut call = call("hunter7");
            let slot = server.open(Access::ReadWrite).await;
            run(&slot, "create table if not exists t (a)").await;
            begin(&mut Claimed::of(&slot).unwrap(), Access::ReadWrite).await.unwrap();
            let transaction = Transaction { slot, access: Access::ReadWrite, finished: false };
            let transaction = call.table.push(transaction).unwrap();
            let rows = vec![vec![Value::Integer(1)]];
            let sql = SqlContext::new(Arc::default(), Vec::new());
            let mut view = SqlView { call: &mut call, sql: &sql };
            let inserted = view.insert(transaction, vec![table.to_owned()], vec![column.to_owned()], rows).await;
            let Err(Fault::Problem(problem)) = inserted else { panic!("the table {table} has no {column}") };
            let message = masked_message(&mut call, problem);
            assert!(message.contains("hunter7"), "{message}");
        }
    });
}

#[test]
fn values_are_not_masked_in_the_forms_of_the_servers() {
    let timestamp = |micros| Value::Timestamp(Timestamp { micros, offset_minutes: None });
    for (value, secret) in [
        (Value::Text("hunter7".to_owned()), "hunter7"),
        (Value::Bytes(b"\xffhunter7".to_vec()), "hunter7"),
        (Value::Integer(123_456), "123456"),
        (Value::Date(15_744), "2013-02-08"),
        (Value::Date(literal::days(-43, 3, 15).unwrap()), "0044-03-15 BC"),
        (Value::Time(39_600_000_000), "11:00:00"),
        (timestamp(1_360_321_200_000_000), "2013-02-08 11:00:00"),
        (timestamp(1_360_321_200_000_000), "2013-02-08T11:00:00"),
    ] {
        let mut call = call(secret);
        let quoted = format!("invalid value: {secret}");
        let problem = || Problem::from_database("invalid", quoted.as_str());
        assert_ne!(masked_message(&mut call, problem()), quoted, "{value:?}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(call.record_sent(quotable("select ?", [value.clone()].iter())));
        assert_eq!(masked_message(&mut call, problem()), quoted, "{value:?}");
    }
}
