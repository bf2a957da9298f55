//! Values that are written to a database are read back unchanged, as values and in Arrow: random
//! values of every kind, in every dialect.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt64Type,
};
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::DataType;
use base64::Engine as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Access, Claimed, Server, batches, fetch, run, value};
use crate::bindings::blockyard::bundle::sql::{Timestamp, Value};
use crate::{literal, many, number};

/// Random values of one column: the value to write, and the value that is expected back.
type Values = BoxedStrategy<(Value, Value)>;

fn same(values: impl Strategy<Value = Value> + 'static) -> Values {
    values.prop_map(|value| (value.clone(), value)).boxed()
}

fn integers<T: Arbitrary + Into<i64> + 'static>() -> Values {
    same(any::<T>().prop_map(|value| Value::Integer(value.into())))
}

fn floats() -> Values {
    same(any::<f64>().prop_filter("no NaN", |value| !value.is_nan()).prop_map(Value::Float))
}

fn short_floats() -> impl Strategy<Value = Value> {
    use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, ZERO};
    (POSITIVE | NEGATIVE | NORMAL | ZERO).prop_map(|value| Value::Float(number::widened(value)))
}

fn strings() -> Values {
    same("[^\0]{0,20}|[a-z'\"\\\\;:?$-]{0,12}".prop_map(Value::Text))
}

fn bytes() -> Values {
    same(proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes))
}

fn days(from: i32, to: i32) -> Values {
    same((from..to).prop_map(Value::Date))
}

fn times() -> Values {
    same((0..86_400_000_000i64).prop_map(Value::Time))
}

fn timestamps(from: i64, to: i64, offset_minutes: Option<i16>) -> Values {
    same((from..to).prop_map(move |micros| Value::Timestamp(Timestamp { micros, offset_minutes })))
}

fn uuid() -> impl Strategy<Value = String> {
    // UUIDs of version 4 (RFC 9562), because MariaDB refuses some that no generator produces.
    "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
}

fn booleans() -> Values {
    same(any::<bool>().prop_map(Value::Boolean))
}

fn decimals(digits: &'static str) -> Values {
    let not_minus_zero = |text: &String| !text.starts_with('-') || text.contains(|c: char| ('1'..='9').contains(&c));
    same(digits.prop_filter("zero has no sign", not_minus_zero).prop_map(Value::Decimal))
}

/// Doubles with a fraction, because SQLite stores doubles without one as integers.
fn real_numbers() -> Values {
    let fractions = (-1_000_000i32..1_000_000).prop_map(|n| f64::from(n) + 0.5);
    same(fractions.prop_map(Value::Float))
}

/// Values of a type that only the server knows, in its text form.
fn native(type_name: &'static str, pattern: &'static str) -> Values {
    same(pattern.prop_map(move |text| Value::Other((type_name.to_owned(), text))))
}

/// Strings that are written as one kind of value, and read back as text.
fn as_text(values: impl Strategy<Value = String> + 'static, kind: fn(String) -> Value) -> Values {
    values.prop_map(move |text| (kind(text.clone()), Value::Text(text))).boxed()
}

/// Microseconds of PostgreSQL's first year, and of a late year that 64 bits can hold.
const YEAR_4712_BC: i64 = -210_800_000_000_000_000;
const YEAR_200000: i64 = 6_200_000_000_000_000_000;
/// Microseconds of the years 1 and 9999, the limits in MySQL.
const YEAR_1: i64 = -62_135_596_800_000_000;
const YEAR_9999: i64 = 253_402_300_799_999_999;

#[test]
fn values_round_trip_in_postgres() {
    let Some(server) = Server::postgres() else { return };
    let list = proptest::collection::vec(proptest::option::of(any::<i32>()), 0..5)
        .prop_map(|list| Value::Json(serde_json::to_string(&list).unwrap()));
    let word_lists = proptest::collection::vec("[^\0]{0,6}", 0..4)
        .prop_map(|list| Value::Json(serde_json::to_string(&list).unwrap()));
    let byte_lists = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..4).prop_map(|list| {
        let elements: Vec<String> = list.iter().map(|bytes| literal::BASE64.encode(bytes)).collect();
        Value::Json(serde_json::to_string(&elements).unwrap())
    });
    let day_lists = proptest::collection::vec(-2_440_588i32..2_145_042_541, 0..4).prop_map(|list| {
        let elements: Vec<String> = list.iter().map(|days| literal::date_text(*days)).collect();
        Value::Json(serde_json::to_string(&elements).unwrap())
    });
    let setup = ["create type pg_temp.mood as enum ('sad', 'glad')", "create domain pg_temp.age as int8"];
    check(
        &server,
        &setup,
        "",
        vec![
            ("bool", booleans()),
            ("int2", integers::<i16>()),
            ("int4", integers::<i32>()),
            ("int8", integers::<i64>()),
            ("oid", integers::<u32>()),
            ("float4", same(short_floats())),
            ("float8", floats()),
            ("numeric", decimals("-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?")),
            ("text", strings()),
            ("bytea", bytes()),
            // The first and the last day in PostgreSQL.
            ("date", days(-2_440_588, 2_145_042_541)),
            ("time", times()),
            ("timestamp", timestamps(YEAR_4712_BC, YEAR_200000, None)),
            ("timestamptz", timestamps(YEAR_4712_BC, YEAR_200000, Some(0))),
            ("bytea[]", same(byte_lists)),
            ("date[]", same(day_lists)),
            ("uuid", same(uuid().prop_map(Value::Uuid))),
            ("json", same("\\{\"a\": ?[1-9][0-9]{0,2}\\.[0-9]{2}\\}".prop_map(Value::Json))),
            ("jsonb", same("\\{\"a\": [1-9][0-9]{0,30}\\.[0-9]{2}\\}".prop_map(Value::Json))),
            ("pg_temp.mood", as_text("sad|glad", Value::Text)),
            ("pg_temp.age", integers::<i64>()),
            ("int4[]", same(list)),
            ("text[]", same(word_lists)),
            ("interval", native("interval", "[2-9] days 0[1-9]:[0-5][0-9]:[0-5][0-9]")),
            ("inet", native("inet", "10\\.[1-9]\\.[1-9]\\.[1-9]/2[1-9]")),
            ("int4range", native("int4range", "\\[[1-9],1[0-9]\\)")),
            ("bit(4)", native("bit", "[01]{4}")),
            ("point", native("point", "\\([1-9],-[1-9]\\)")),
        ],
    );
}

/// The vectors of PostgreSQL's system catalogs, whose subscripts start at 0, are lists.
#[test]
fn postgres_vectors_are_lists() {
    let Some(server) = Server::postgres() else { return };
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        run(&slot, "create temporary table v (a int, b int, primary key (b, a))").await;
        let keys = value(&slot, "select indkey from pg_index where indrelid = 'v'::regclass").await;
        assert!(matches!(&keys, Value::Json(text) if text == "[2,1]"), "{keys:?}");
        let types = value(&slot, "select proargtypes from pg_proc where oid = 'atan2'::regproc").await;
        assert!(matches!(&types, Value::Json(text) if text == r#"["701","701"]"#), "{types:?}");
        for (vector, list) in [("int2vector", keys), ("oidvector", types)] {
            let text = format!("select $1::{vector}");
            let kept = fetch(&slot, &text, std::slice::from_ref(&list)).await.unwrap().remove(0).remove(0);
            assert_eq!(format!("{kept:?}"), format!("{list:?}"));
        }
        let other = value(&slot, "select '[0:1]={1,2}'::int2[]").await;
        assert!(matches!(&other, Value::Json(text) if text == "\"[0:1]={1,2}\""), "{other:?}");
    });
}

#[test]
fn values_round_trip_in_mysql() {
    let Some(server) = Server::mysql() else { return };
    let big = any::<u64>()
        .prop_map(|value| i64::try_from(value).map_or_else(|_| Value::Json(value.to_string()), Value::Integer));
    let bits = (0..=i64::MAX).prop_map(Value::Integer);
    let finite = short_floats().prop_filter(
        "MySQL has no infinity",
        |value| matches!(value, Value::Float(value) if value.is_finite() && value.abs() > 1e-37),
    );
    let doubles = any::<f64>().prop_filter("MySQL has no infinity", |value| value.is_normal()).prop_map(Value::Float);
    check(
        &server,
        &["create database if not exists test_types character set utf8mb4"],
        "test_types.",
        vec![
            ("boolean", booleans()),
            ("tinyint", integers::<i8>()),
            ("tinyint unsigned", integers::<u8>()),
            ("smallint", integers::<i16>()),
            ("smallint unsigned", integers::<u16>()),
            ("mediumint", same((-8_388_608i64..8_388_608).prop_map(Value::Integer))),
            ("int", integers::<i32>()),
            ("int unsigned", integers::<u32>()),
            ("bigint", integers::<i64>()),
            ("bigint unsigned", same(big)),
            ("bit(64)", same(bits)),
            ("year", same((1901i64..2155).prop_map(Value::Integer))),
            ("float", same(finite)),
            ("double", same(doubles)),
            ("decimal(40,10)", decimals("-?(0|[1-9][0-9]{0,29})\\.[0-9]{10}")),
            ("text", strings()),
            ("longblob", bytes()),
            ("date", days(-719_162, 2_932_896)),
            ("time(6)", times()),
            ("datetime(6)", timestamps(YEAR_1, YEAR_9999, None)),
            ("timestamp(6) null", timestamps(1_000_000, 2_147_483_647_000_000, Some(0))),
            ("enum('sad', 'glad')", as_text("sad|glad", Value::Text)),
            ("set('x', 'y')", as_text("x|y|x,y", Value::Text)),
            // MariaDB implements these types as text.
            ("json", as_text("\\{\"a\": [1-9]{1,3}\\}", Value::Json)),
            ("uuid", as_text(uuid(), Value::Uuid)),
        ],
    );
}

#[test]
fn values_round_trip_in_sqlite() {
    let truth = any::<bool>().prop_map(|value| (Value::Boolean(value), Value::Integer(value.into()))).boxed();
    let not_minus_zero = |value: &f64| !value.is_nan() && (*value != 0.0 || value.is_sign_positive());
    let real = same(any::<f64>().prop_filter("neither NaN nor minus zero", not_minus_zero).prop_map(Value::Float));
    check(
        &Server::sqlite(),
        &[],
        "",
        vec![
            ("integer", integers::<i64>()),
            ("integer", truth),
            ("", integers::<i64>()),
            // A column of type `real` stores numbers without a fraction as integers, which have no
            // negative zero (https://www.sqlite.org/datatype3.html).
            ("real", real),
            ("", floats()),
            ("text", same(".{0,20}".prop_map(Value::Text))),
            ("", strings()),
            ("", bytes()),
            ("blob", bytes()),
            ("text", as_text("-?[1-9][0-9]{0,8}\\.[0-9]{1,5}", Value::Decimal)),
            ("numeric", real_numbers()),
            ("text", as_text(uuid(), Value::Uuid)),
            ("text", as_text("\\{\"a\": [1-9]{1,3}\\}", Value::Json)),
        ],
    );
}

/// Writes and reads many values for each type of column, with few statements.
fn check(server: &Server, setup: &[&str], schema: &str, columns: Vec<(&str, Values)>) {
    // Connections can be returned to their pools only inside a runtime.
    let _inside = server.runtime.enter();
    let slot = server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        for text in setup {
            run(&slot, text).await;
        }
        slot
    });
    for (number, (column, values)) in columns.into_iter().enumerate() {
        let table = format!("{schema}t{number}");
        server.runtime.block_on(run(&slot, &format!("create temporary table {table} (i integer, v {column})")));
        let mut runner =
            TestRunner::new(Config { cases: 6, max_shrink_iters: 40, failure_persistence: None, ..Config::default() });
        let many = proptest::collection::vec(
            proptest::option::weighted(0.9, values).prop_map(|value| value.unwrap_or((Value::Null, Value::Null))),
            1..60,
        );
        let outcome = runner.run(&many, |values| {
            let (written, expected): (Vec<Value>, Vec<Value>) = values.into_iter().unzip();
            let (read, arrow) = server.runtime.block_on(through(&slot, server, &table, &written));
            prop_assert_eq!(format!("{read:?}"), format!("{expected:?}"), "{}", column);
            // A column of SQLite without any value has no type.
            if expected.iter().any(|value| !matches!(value, Value::Null)) {
                prop_assert_eq!(format!("{arrow:?}"), format!("{expected:?}"), "{} in Arrow", column);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            // The values are long; the start of the message shows the difference.
            panic!("{column}: {}", error.to_string().chars().take(3_000).collect::<String>());
        }
    }
}

async fn through(
    slot: &crate::connection::Slot,
    server: &Server,
    table: &str,
    values: &[Value],
) -> (Vec<Value>, Vec<Value>) {
    run(slot, &format!("delete from {table}")).await;
    let insert = match server.dialect.as_str() {
        "postgres" => format!("insert into {table} values ($1, $2)"),
        "mysql" => format!("insert into {table} values (?, ?)"),
        _ => format!("insert into {table} values (?1, ?2)"),
    };
    let sets: Vec<Vec<Value>> =
        (0..).map(Value::Integer).zip(values).map(|(i, value)| vec![i, value.clone()]).collect();
    let count = sets.len() as u64;
    // Values are written in three ways: the first set alone, half of the others together, and the
    // rest as rows.
    let mut rest = sets;
    let first = rest.remove(0);
    let rows = rest.split_off(rest.len() / 2);
    let mut claimed = Claimed::of(slot).unwrap();
    let mut changed = 0;
    for sets in [vec![first], rest] {
        let done = many::execute(claimed.start().unwrap(), &insert, sets, Access::ReadWrite).await;
        claimed.finish();
        changed += done.unwrap_or_else(|problem| panic!("{values:?}: {problem:?}")).rows_affected;
    }
    drop(claimed);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (path, columns) = (names(&table.split('.').collect::<Vec<_>>()), names(&["i", "v"]));
    let done = super::insert(slot, &path, &columns, rows).await;
    changed += done.unwrap_or_else(|problem| panic!("{values:?}: {problem:?}"));
    assert_eq!(changed, count);
    let select = format!("select v from {table} order by i");
    let read = fetch(slot, &select, &[]).await.unwrap_or_else(|problem| panic!("{values:?}: {problem:?}"));
    let arrow = batches(slot, &select).await.iter().flat_map(from_arrow).collect();
    (read.into_iter().map(|mut row| row.remove(0)).collect(), arrow)
}

/// Returns the values of a batch with one column, as a reader of Arrow would.
fn from_arrow(batch: &RecordBatch) -> Vec<Value> {
    let (array, schema) = (batch.column(0), batch.schema());
    let field = schema.field(0);
    let kind = field.metadata().get("blockyard:kind").map(String::as_str);
    (0..array.len())
        .map(|row| {
            if array.is_null(row) {
                return Value::Null;
            }
            match field.data_type() {
                DataType::Boolean => Value::Boolean(array.as_boolean().value(row)),
                DataType::Int16 => Value::Integer(array.as_primitive::<Int16Type>().value(row).into()),
                DataType::Int32 => Value::Integer(array.as_primitive::<Int32Type>().value(row).into()),
                DataType::Int64 => Value::Integer(array.as_primitive::<Int64Type>().value(row)),
                DataType::UInt64 => {
                    let value = array.as_primitive::<UInt64Type>().value(row);
                    i64::try_from(value).map_or_else(|_| Value::Json(value.to_string()), Value::Integer)
                }
                DataType::Float32 => Value::Float(number::widened(array.as_primitive::<Float32Type>().value(row))),
                DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
                DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
                DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
                DataType::Time64(_) => Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row)),
                DataType::Timestamp(_, zone) => Value::Timestamp(Timestamp {
                    micros: array.as_primitive::<TimestampMicrosecondType>().value(row),
                    offset_minutes: zone.as_ref().map(|_| 0),
                }),
                DataType::Utf8 => {
                    let text = array.as_string::<i32>().value(row).to_owned();
                    match kind {
                        Some("decimal") => Value::Decimal(text),
                        Some("uuid") => Value::Uuid(text),
                        Some("json") => Value::Json(text),
                        Some("other") => Value::Other((field.metadata()["blockyard:type"].clone(), text)),
                        _ => Value::Text(text),
                    }
                }
                other => panic!("unexpected Arrow type {other}"),
            }
        })
        .collect()
}

#[test]
fn parameter_sets_are_sent_in_batches() {
    let Some(server) = Server::postgres() else { return };
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        run(&slot, "create temporary table many (i int8 primary key, v text, at timestamptz)").await;
        let set = |i: i64| {
            vec![
                Value::Integer(i),
                Value::Text(format!("it's \\ {i}")),
                Value::Text("2013-02-08T12:00:00+01:00".into()),
            ]
        };
        let many = async |sets| {
            let mut claimed = Claimed::of(&slot).unwrap();
            let pooled = claimed.start().unwrap();
            let insert = "insert into many values ($1, $2, $3) -- one\n;";
            let done = many::execute(pooled, insert, sets, Access::ReadWrite).await;
            claimed.finish();
            done
        };
        let done = many((0..100_000).map(set).collect()).await.unwrap();
        assert_eq!(done.rows_affected, 100_000);
        let seen = "select count(*) from many where v = 'it''s \\ ' || i and at = '2013-02-08 11:00+00'";
        assert!(matches!(value(&slot, seen).await, Value::Integer(100_000)));

        let mut sets: Vec<_> = (200_000..205_000).map(set).collect();
        sets[3_210][0] = Value::Integer(7);
        let refused = many(sets).await.unwrap_err();
        assert!(refused.message.starts_with("set 3211 of the parameters: duplicate key"), "{}", refused.message);
        let mut sets: Vec<_> = (300_000..300_010).map(set).collect();
        sets[8][2] = Value::Text("yesterday".into());
        let refused = many(sets).await.unwrap_err();
        assert!(
            refused.message.starts_with("set 9 of the parameters: parameter 3: the statement expects `timestamptz`"),
            "{}",
            refused.message
        );
    });
}

/// Returns a row of a number and a word.
fn row(number: i64, word: &str) -> Vec<Value> {
    vec![Value::Integer(number), Value::Text(word.to_owned())]
}

#[test]
fn the_number_of_a_rejected_row_is_reported() {
    for server in Server::all() {
        server.runtime.block_on(async {
            let slot = server.open(Access::ReadWrite).await;
            let table =
                "create temporary table numbered (n integer primary key, word varchar(10) check (word <> 'bad'))";
            run(&slot, table).await;
            let insert = async |rows: Vec<Vec<Value>>| {
                let (table, columns) = (vec!["numbered".to_owned()], vec!["n".to_owned(), "word".to_owned()]);
                super::insert(&slot, &table, &columns, rows).await
            };
            let dialect = server.dialect.as_str();
            assert_eq!(insert((0..2_000).map(|n| row(n, "good")).collect()).await.unwrap(), 2_000, "{dialect}");
            assert_eq!(insert(Vec::new()).await.unwrap(), 0);
            for (at, invalid) in [(1_234, row(7, "good")), (0, row(-1, "bad")), (2, vec![Value::Integer(-1)])] {
                // The numbers of each case are not in the table yet.
                let first = 10_000 * (at + 1);
                let mut rows: Vec<_> = (first..first + 1_500).map(|n| row(n, "good")).collect();
                rows[usize::try_from(at).unwrap()] = invalid;
                let refused = insert(rows).await.expect_err(dialect);
                let details = refused.details.as_deref().unwrap_or("null");
                let details: serde_json::Value = serde_json::from_str(details).unwrap();
                assert_eq!(details["row"], at + 1, "{dialect}: {refused:?}");
            }
        });
    }
}

/// A row is reported even if the check runs after all rows have been inserted.
#[test]
fn the_number_of_a_row_with_a_broken_foreign_key_is_reported() {
    for server in Server::all() {
        server.runtime.block_on(async {
            let slot = server.open(Access::ReadWrite).await;
            let dialect = server.dialect.as_str();
            if dialect == "sqlite" {
                run(&slot, "pragma foreign_keys = on").await;
            }
            for text in [
                "drop table if exists legs_of_birds",
                "drop table if exists birds_with_legs",
                "create table birds_with_legs (n integer primary key)",
                "create table legs_of_birds (n integer, bird varchar(10), of_bird integer, \
                    foreign key (of_bird) references birds_with_legs (n))",
                "insert into birds_with_legs values (1)",
            ] {
                run(&slot, text).await;
            }
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let (table, columns) = (names(&["legs_of_birds"]), names(&["n", "of_bird"]));
            let row = |n: i64| vec![Value::Integer(n), Value::Integer(if n == 900 { 2 } else { 1 })];
            let refused = super::insert(&slot, &table, &columns, (1..=1_000).map(row).collect()).await;
            let refused = refused.expect_err(dialect);
            let details: serde_json::Value = serde_json::from_str(&refused.details.unwrap()).unwrap();
            assert_eq!(details["row"], 900, "{dialect}: {}", refused.message);
            // A mistake in the statement itself is not reported for a row.
            let unknown = super::insert(&slot, &table, &names(&["n", "wings"]), vec![row(1)]).await.expect_err(dialect);
            assert!(!unknown.details.unwrap_or_default().contains("\"row\""), "{dialect}: {}", unknown.message);
            run(&slot, "drop table legs_of_birds").await;
            run(&slot, "drop table birds_with_legs").await;
        });
    }
}

#[test]
fn rows_are_inserted_into_postgres_by_copy() {
    let Some(server) = Server::postgres() else { return };
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        // A trigger records the statement that inserted the rows.
        for text in [
            "create temporary table brought (n integer)",
            "create temporary table said (statement text)",
            "create function pg_temp.say() returns trigger language plpgsql as \
                $$ begin insert into said values (current_query()); return null; end $$",
            "create trigger says after insert on brought for each statement execute function pg_temp.say()",
        ] {
            run(&slot, text).await;
        }
        let names = |name: &str| vec![name.to_owned()];
        let rows = (0..1_000).map(|n| vec![Value::Integer(n)]).collect();
        assert_eq!(super::insert(&slot, &names("brought"), &names("n"), rows).await.unwrap(), 1_000);
        let statements = fetch(&slot, "select statement from said", &[]).await.unwrap();
        assert_eq!(statements.len(), 1, "a single statement");
        assert!(
            matches!(&statements[0][0], Value::Text(text) if text.starts_with("copy \"brought\"")),
            "{statements:?}"
        );
    });
}

#[test]
fn rows_are_inserted_into_views_without_copy() {
    let Some(server) = Server::postgres() else { return };
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        run(&slot, "create temporary table behind (n integer primary key, word text)").await;
        run(&slot, "create temporary view before as select n, word from behind").await;
        let (table, columns) = (vec!["before".to_owned()], vec!["n".to_owned(), "word".to_owned()]);
        let insert = async |rows| super::insert(&slot, &table, &columns, rows).await;
        let rows = (0..10).map(|n| row(n, "a\\b\tc'")).collect();
        assert_eq!(insert(rows).await.unwrap(), 10);
        let same = r"select count(*) from behind where word = E'a\\b\tc\''";
        assert!(matches!(value(&slot, same).await, Value::Integer(10)));
        let refused = insert(vec![row(100, "x"), row(3, "x")]).await;
        let details = refused.unwrap_err().details.unwrap();
        assert!(details.contains("\"row\":2") && details.contains("23505"), "{details}");
    });
}

/// Values that a database cannot store exactly are refused, and the row is reported.
#[test]
fn values_that_would_change_are_rejected() {
    let decimal = |text: &str| Value::Decimal(text.to_owned());
    let text = |text: &str| Value::Text(text.to_owned());
    let long = "12345678901234567890123";
    for server in Server::all() {
        let dialect = server.dialect.as_str();
        let cases: Vec<(&str, Value)> = match dialect {
            "sqlite" => vec![
                ("integer", decimal(long)),
                ("text", decimal(long)),
                ("real", Value::Integer(9_007_199_254_740_993)),
                ("numeric", text(long)),
                ("integer", text("0.1234567890123456789")),
                ("real", Value::Float(f64::NAN)),
            ],
            "postgres" => vec![
                ("float8", Value::Integer(9_007_199_254_740_993)),
                ("float8", decimal(long)),
                ("float4", Value::Float(0.123_456_789_012)),
                ("bytea", text("not base64")),
                ("bytea[]", Value::Json("[\"*\"]".to_owned())),
                ("timestamptz", text("2013-02-08T11:00:00")),
                ("timestamptz", Value::Timestamp(Timestamp { micros: 0, offset_minutes: None })),
                ("timestamp", text("2013-02-08T11:00:00+01:00")),
                ("time", Value::Time(-1)),
                ("time", Value::Time(86_400_000_001)),
                ("text", text("a\0b")),
            ],
            _ => vec![
                ("double", Value::Float(f64::NAN)),
                ("double", Value::Float(f64::INFINITY)),
                ("date", Value::Date(4_759_474)),
                ("date", Value::Date(-735_160)),
                ("time", Value::Time(-1)),
            ],
        };
        server.runtime.block_on(async {
            let slot = server.open(Access::ReadWrite).await;
            for (number, (kind, value)) in cases.into_iter().enumerate() {
                let table = format!("not_kept_{number}");
                run(&slot, &format!("create temporary table {table} (v {kind})")).await;
                let rows = vec![vec![Value::Null], vec![value.clone()]];
                let refused = super::insert(&slot, std::slice::from_ref(&table), &["v".to_owned()], rows).await;
                let refused = refused.expect_err(&format!("{dialect} {kind} {value:?}"));
                let row = refused.details.as_deref().map(|details| details.contains("\"row\":2"));
                assert_eq!(row, Some(true), "{dialect} {kind} {value:?}: {refused:?}");
                let count = super::value(&slot, &format!("select count(*) from {table}")).await;
                assert!(matches!(count, Value::Integer(0)), "{dialect} {kind}");
            }
        });
    }
}
