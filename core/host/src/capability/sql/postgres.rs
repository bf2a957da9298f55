//! PostgreSQL through sqlx. Values cross in the binary format
//! (https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES), read
//! and written here so that nothing is lost on the way: decimals keep their scale, dates their
//! whole range. The server infers each parameter's type from the statement, as `psql` does.

use std::borrow::Cow;

use blockyard_model::SecretValue;
use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgConnection, PgPoolOptions, PgRow, PgSslMode, PgTypeInfo,
    PgTypeKind,
};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Either, Encode, Executor as _, PgPool, Postgres, Row as _,
    SqlSafeStr as _, Statement as _, Type, TypeInfo as _, ValueRef as _,
};

use super::cell::{Cell, ColumnKind};
use super::rows::{Head, Sink, Stop};
use super::{Access, Scope, Statement};
use crate::bindings::blockyard::bundle::sql::{Column, Execution, Target, Value};
use crate::limits;
use crate::problem::Problem;

/// The port that PostgreSQL has with IANA.
pub(super) const DEFAULT_PORT: u16 = 5432;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;
/// The last day, counted from 1970-01-01 in both directions, that others can read, too: it is in the
/// year 262,069. The extremes that stand for infinity are beyond it.
const LAST_DAY: i32 = 95_000_000;

/// Statements that only read. A read-only operation is held to them, since a statement such as
/// `COMMIT` would end the transaction that keeps it read-only.
const READING: [&str; 6] = ["select", "with", "values", "table", "show", "explain"];

pub(super) fn pool(target: &Target, password: Option<&SecretValue>) -> Result<PgPool, Problem> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(target.host.as_deref().unwrap_or_default())
        .port(target.port.unwrap_or(DEFAULT_PORT))
        .database(&target.database)
        .username(target.username.as_deref().unwrap_or("postgres"))
        // Always set: the driver would look into the environment otherwise.
        .password(password.map_or("", SecretValue::expose))
        .application_name("blockyard")
        .ssl_mode(PgSslMode::Prefer)
        .options([("statement_timeout", limits::STATEMENT_TIME.as_millis().to_string())]);
    for (name, value) in &target.options {
        options = match (name.as_str(), value.as_str()) {
            ("sslmode", "disable") => options.ssl_mode(PgSslMode::Disable),
            ("sslmode", "prefer") => options.ssl_mode(PgSslMode::Prefer),
            ("sslmode", "require") => options.ssl_mode(PgSslMode::Require),
            ("sslmode", "verify-ca") => options.ssl_mode(PgSslMode::VerifyCa),
            ("sslmode", "verify-full") => options.ssl_mode(PgSslMode::VerifyFull),
            ("application_name", value) => options.application_name(value),
            (name, value) => {
                return Err(Problem::new(
                    "invalid",
                    format!("option `{name}` = `{value}` is not known for PostgreSQL"),
                )
                .hint(
                    "there are `sslmode` (disable, prefer, require, verify-ca, verify-full) and `application_name`",
                ));
            }
        };
    }
    Ok(PgPoolOptions::new()
        .max_connections(limits::POOL_CONNECTIONS)
        .acquire_timeout(limits::CONNECT_TIME)
        .idle_timeout(limits::IDLE_TIME)
        .connect_lazy_with(options))
}

/// A connection that was refused after the server was reached.
pub(super) fn refused(error: &sqlx::Error, target: &Target) -> Problem {
    let step = json!({ "step": "authenticate" });
    match error {
        sqlx::Error::PoolTimedOut => {
            Problem::new("unavailable", format!("no connection within {} seconds", limits::CONNECT_TIME.as_secs()))
                .retryable()
                .details(&json!({ "step": "connect" }))
        }
        sqlx::Error::Tls(reason) => {
            Problem::new("unavailable", format!("TLS: {reason}")).details(&json!({ "step": "connect" }))
        }
        error => {
            let database = &target.database;
            let mut problem = problem(error);
            if problem.code == "not-found" {
                problem = problem.hint(format!("make the database `{database}`, or name another in the block"));
            }
            problem.details(&step)
        }
    }
}

pub(super) async fn begin(connection: &mut PgConnection, access: Access) -> Result<(), Problem> {
    match access {
        Access::ReadWrite => run(connection, "BEGIN").await,
        Access::ReadOnly => {
            run(connection, "BEGIN READ ONLY").await?;
            // With its snapshot taken, a transaction cannot become READ WRITE any more.
            run(connection, "SELECT 1").await
        }
    }
}

pub(super) async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), Problem> {
    connection.execute(statement).await.map(drop).map_err(|error| problem(&error))
}

pub(super) async fn execute(connection: &mut PgConnection, statement: Statement) -> Result<Execution, Problem> {
    let wrapped = statement.scope == Scope::Statement(Access::ReadOnly);
    if wrapped {
        only_reads(&statement.text)?;
        begin(connection, Access::ReadOnly).await?;
    }
    let executed = execute_one(connection, &statement.text, statement.parameters).await;
    if wrapped {
        run(connection, "ROLLBACK").await?;
    }
    executed
}

async fn execute_one(connection: &mut PgConnection, text: &str, parameters: Vec<Value>) -> Result<Execution, Problem> {
    let (_, arguments) = prepare(connection, text, parameters).await?;
    let result =
        sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await.map_err(|error| problem(&error))?;
    Ok(Execution { rows_affected: result.rows_affected(), last_insert_id: None })
}

/// One statement for many sets of parameters, in the transaction that is open.
pub(super) async fn execute_many(
    connection: &mut PgConnection,
    text: &str,
    sets: Vec<Vec<Value>>,
) -> Result<Execution, Problem> {
    let mut rows_affected = 0;
    for (index, parameters) in sets.into_iter().enumerate() {
        let executed = execute_one(connection, text, parameters).await.map_err(|problem| Problem {
            message: format!("set {} of the parameters: {}", index + 1, problem.message),
            ..problem
        })?;
        rows_affected += executed.rows_affected;
    }
    Ok(Execution { rows_affected, last_insert_id: None })
}

pub(super) async fn query(connection: &mut PgConnection, statement: Statement, sink: &mut Sink) -> Result<(), Stop> {
    let wrapped = statement.scope == Scope::Statement(Access::ReadOnly);
    if wrapped {
        only_reads(&statement.text)?;
        begin(connection, Access::ReadOnly).await?;
    }
    let read = read(connection, &statement.text, statement.parameters, sink).await;
    if wrapped && !matches!(read, Err(Stop::Unread)) {
        run(connection, "ROLLBACK").await?;
    }
    read
}

async fn read(connection: &mut PgConnection, text: &str, parameters: Vec<Value>, sink: &mut Sink) -> Result<(), Stop> {
    let (columns, arguments) = prepare(connection, text, parameters).await?;
    let kinds = columns
        .iter()
        .map(|(name, info)| {
            kind(info).ok_or_else(|| {
                Problem::new(
                    "invalid",
                    format!("column `{name}` has the type `{}`, which has no common form", info.name()),
                )
                .hint(format!("ask for its text: `cast({name} as text)`"))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let columns = columns
        .into_iter()
        .map(|(name, info)| Column { name, type_name: info.name().to_ascii_lowercase(), nullable: None })
        .collect();

    let mut rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch(connection);
    let mut next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    sink.head(Head { columns, kinds: kinds.clone() }).await?;
    while let Some(row) = next {
        let cells = kinds.iter().enumerate().map(|(index, kind)| cell(&row, index, *kind)).collect::<Result<_, _>>()?;
        sink.row(cells).await?;
        next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    }
    Ok(())
}

/// Has the server parse the statement, and brings the parameters into the types that it wants.
async fn prepare(
    connection: &mut PgConnection,
    text: &str,
    parameters: Vec<Value>,
) -> Result<(Vec<(String, PgTypeInfo)>, PgArguments), Problem> {
    super::no_transaction_control(text)?;
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    let columns =
        prepared.columns().iter().map(|column| (column.name().to_owned(), column.type_info().clone())).collect();
    let wanted: &[PgTypeInfo] = match prepared.parameters() {
        Some(Either::Left(types)) => types,
        _ => &[],
    };
    if wanted.len() != parameters.len() {
        return Err(Problem::new(
            "invalid",
            format!("the statement takes {} parameters; {} were given", wanted.len(), parameters.len()),
        ));
    }
    let mut arguments = PgArguments::default();
    for (index, (value, info)) in parameters.into_iter().zip(wanted).enumerate() {
        let bytes = encode(&value, info)
            .map_err(|reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1)))?;
        arguments
            .add(Argument { info: info.clone(), bytes })
            .map_err(|error| Problem::new("invalid", format!("parameter {}: {error}", index + 1)))?;
    }
    Ok((columns, arguments))
}

/// A parameter in the binary format of its type.
struct Argument {
    info: PgTypeInfo,
    bytes: Option<Vec<u8>>,
}

impl Type<Postgres> for Argument {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Argument {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(match &self.bytes {
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.info.clone())
    }
}

/// How a type is read; none for types without a common form.
fn kind(info: &PgTypeInfo) -> Option<ColumnKind> {
    // The names are those of the catalogue `pg_type`, as sqlx prints them.
    Some(match info.name() {
        "BOOL" => ColumnKind::Boolean,
        "INT2" => ColumnKind::Int16,
        "INT4" => ColumnKind::Int32,
        "INT8" | "OID" => ColumnKind::Int64,
        "FLOAT4" => ColumnKind::Float32,
        "FLOAT8" => ColumnKind::Float64,
        "NUMERIC" => ColumnKind::Decimal,
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "CITEXT" | "citext" | "\"CHAR\"" => ColumnKind::Text,
        "BYTEA" => ColumnKind::Bytes,
        "DATE" => ColumnKind::Date,
        "TIME" => ColumnKind::Time,
        "TIMESTAMP" => ColumnKind::Timestamp,
        "TIMESTAMPTZ" => ColumnKind::Instant,
        "UUID" => ColumnKind::Uuid,
        "JSON" | "JSONB" => ColumnKind::Json,
        "VOID" => ColumnKind::Text,
        _ => match info.kind() {
            PgTypeKind::Enum(_) => ColumnKind::Text,
            PgTypeKind::Domain(base) => return kind(base),
            _ => return None,
        },
    })
}

fn cell(row: &PgRow, index: usize, kind: ColumnKind) -> Result<Cell<'static>, Problem> {
    let raw = row.try_get_raw(index).map_err(|error| problem(&error))?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    let info = raw.type_info().into_owned();
    let bytes = raw.as_bytes().map_err(|error| Problem::new("failed", error.to_string()))?;
    decode(bytes, kind, info.name() == "JSONB", info.name() == "OID").ok_or_else(|| {
        Problem::new(
            "failed",
            format!("column {} has a value of type `{}` that cannot be read", index + 1, info.name()),
        )
        .hint("ask for its text, with `cast(… as text)`")
    })
}

/// A value from its binary format; none where the bytes are not of the type.
fn decode(bytes: &[u8], kind: ColumnKind, jsonb: bool, oid: bool) -> Option<Cell<'static>> {
    let text = |bytes: &[u8]| Some(Cow::Owned(str::from_utf8(bytes).ok()?.to_owned()));
    Some(match kind {
        ColumnKind::Boolean => Cell::Boolean(*bytes.first()? != 0),
        ColumnKind::Int16 => Cell::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnKind::Int32 => Cell::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnKind::Int64 if oid => Cell::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnKind::Int64 => Cell::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnKind::Float32 => Cell::Float(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        ColumnKind::Float64 => Cell::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnKind::Decimal => Cell::Decimal(decode_numeric(bytes)?.into()),
        ColumnKind::Text => Cell::Text(text(bytes)?),
        ColumnKind::Bytes => Cell::Bytes(Cow::Owned(bytes.to_owned())),
        ColumnKind::Date => {
            let days = i32::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_DAYS)?;
            Cell::Date(Some(days).filter(|days| days.abs() < LAST_DAY)?)
        }
        // PostgreSQL has 24:00:00, which is no time of a day elsewhere.
        ColumnKind::Time => {
            Cell::Time(Some(i64::from_be_bytes(bytes.try_into().ok()?)).filter(|time| *time < DAY_MICROS)?)
        }
        ColumnKind::Timestamp => Cell::Timestamp(decode_micros(bytes)?),
        ColumnKind::Instant => Cell::Instant(decode_micros(bytes)?),
        ColumnKind::Uuid => Cell::Uuid(uuid_text(bytes.try_into().ok()?).into()),
        // jsonb begins with a version byte.
        ColumnKind::Json => Cell::Json(text(if jsonb { bytes.get(1..)? } else { bytes })?),
        ColumnKind::Dynamic => return None,
    })
}

fn decode_micros(bytes: &[u8]) -> Option<i64> {
    let micros = i64::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_MICROS)?;
    (micros.checked_abs()? < i64::from(LAST_DAY) * DAY_MICROS).then_some(micros)
}

/// A parameter in the binary format that the server expects for it; none is NULL.
fn encode(value: &Value, info: &PgTypeInfo) -> Result<Option<Vec<u8>>, String> {
    let mismatch = || {
        format!("the statement wants `{}` here, and {} does not fit", info.name().to_ascii_lowercase(), in_words(value))
    };
    let no_form = || {
        format!(
            "type `{}` has no common form; write `cast(cast(:name as text) as {0})`",
            info.name().to_ascii_lowercase()
        )
    };
    if matches!(value, Value::Null) {
        return Ok(None);
    }
    let kind = kind(info).ok_or_else(no_form)?;
    let text = plain_text(value);
    let integer = || match value {
        Value::Integer(v) => Some(*v),
        Value::Float(v) if v.fract() == 0.0 && v.abs() < 9e15 =>
        {
            #[allow(clippy::cast_possible_truncation, reason = "it is whole and in range")]
            Some(*v as i64)
        }
        _ => text.as_deref().and_then(|text| text.trim().parse().ok()),
    };
    #[allow(clippy::cast_precision_loss, reason = "the statement wants a float")]
    let float = || match value {
        Value::Float(v) => Some(*v),
        Value::Integer(v) => Some(*v as f64),
        _ => text.as_deref().and_then(|text| text.trim().parse().ok()),
    };
    let encoded: Option<Vec<u8>> = match kind {
        ColumnKind::Boolean => match value {
            Value::Boolean(v) => Some(vec![u8::from(*v)]),
            _ => text.as_deref().and_then(boolean).map(|v| vec![u8::from(v)]),
        },
        ColumnKind::Int16 => integer().and_then(|v| i16::try_from(v).ok()).map(|v| v.to_be_bytes().into()),
        ColumnKind::Int32 => integer().and_then(|v| i32::try_from(v).ok()).map(|v| v.to_be_bytes().into()),
        ColumnKind::Int64 if info.name() == "OID" => {
            integer().and_then(|v| u32::try_from(v).ok()).map(|v| v.to_be_bytes().into())
        }
        ColumnKind::Int64 => integer().map(|v| v.to_be_bytes().into()),
        #[allow(clippy::cast_possible_truncation, reason = "the statement wants 32 bit")]
        ColumnKind::Float32 => float().map(|v| (v as f32).to_be_bytes().into()),
        ColumnKind::Float64 => float().map(|v| v.to_be_bytes().into()),
        ColumnKind::Decimal => match value {
            Value::Integer(v) => encode_numeric(&v.to_string()),
            Value::Float(v) => encode_numeric(&v.to_string()),
            _ => text.as_deref().and_then(|text| encode_numeric(text.trim())),
        },
        ColumnKind::Text => Some(match (value, text) {
            (_, Some(text)) => text.into_bytes(),
            (Value::Integer(v), _) => v.to_string().into_bytes(),
            (Value::Float(v), _) => v.to_string().into_bytes(),
            (Value::Boolean(v), _) => v.to_string().into_bytes(),
            _ => return Err(mismatch()),
        }),
        ColumnKind::Bytes => match value {
            Value::Bytes(v) => Some(v.clone()),
            _ => text.map(String::into_bytes),
        },
        ColumnKind::Date => match value {
            Value::Date(days) => days.checked_sub(EPOCH_DAYS),
            _ => text.as_deref().and_then(parse_date).and_then(|days| days.checked_sub(EPOCH_DAYS)),
        }
        .map(|days| days.to_be_bytes().into()),
        ColumnKind::Time => match value {
            Value::Time(micros) => Some(*micros),
            _ => text.as_deref().and_then(parse_time),
        }
        .map(|micros| micros.to_be_bytes().into()),
        ColumnKind::Timestamp | ColumnKind::Instant => match value {
            Value::Timestamp(timestamp) => Some(timestamp.micros),
            Value::Date(days) => Some(i64::from(*days) * 86_400_000_000),
            _ => text.as_deref().and_then(|text| parse_timestamp(text, kind == ColumnKind::Instant)),
        }
        .and_then(|micros| micros.checked_sub(EPOCH_MICROS))
        .map(|micros| micros.to_be_bytes().into()),
        ColumnKind::Uuid => text.as_deref().and_then(parse_uuid).map(|bytes| bytes.into()),
        ColumnKind::Json => {
            let json = match value {
                Value::Json(json) | Value::Text(json) => Some(json.clone()),
                Value::Integer(v) => Some(v.to_string()),
                Value::Float(v) => Some(v.to_string()),
                Value::Boolean(v) => Some(v.to_string()),
                _ => None,
            };
            let version: &[u8] = if info.name() == "JSONB" { &[1] } else { &[] };
            json.map(|json| [version, json.as_bytes()].concat())
        }
        ColumnKind::Dynamic => None,
    };
    encoded.map(Some).ok_or_else(mismatch)
}

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Decimal(text) | Value::Uuid(text) | Value::Json(text) | Value::Other((_, text)) => {
            Some(text.clone())
        }
        _ => None,
    }
}

fn in_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "this integer",
        Value::Float(_) => "this float",
        Value::Decimal(_) => "this decimal",
        Value::Text(_) => "this text",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::Timestamp(_) => "a timestamp",
        Value::Uuid(_) => "a uuid",
        Value::Json(_) => "JSON",
        Value::Other(_) => "this value",
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Sign words of the binary form of `numeric` (`src/backend/utils/adt/numeric.c`, `numeric_send`).
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// `numeric` is sent as digits of base 10,000 with the weight of the first, a sign and the scale.
fn decode_numeric(bytes: &[u8]) -> Option<String> {
    let word = |index: usize| Some(u16::from_be_bytes(bytes.get(2 * index..2 * index + 2)?.try_into().ok()?));
    let count = usize::from(word(0)?);
    #[allow(clippy::cast_possible_wrap, reason = "the format sends it as a signed word")]
    let weight = word(1)? as i16;
    let sign = word(2)?;
    let scale = usize::from(word(3)?);
    match sign {
        NAN => return Some("NaN".to_owned()),
        INFINITY => return Some("Infinity".to_owned()),
        NEGATIVE_INFINITY => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let digits = (0..count).map(|index| word(4 + index)).collect::<Option<Vec<u16>>>()?;
    let digit = |place: i32| {
        usize::try_from(i32::from(weight) - place).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let mut text = String::new();
    if sign == NEGATIVE {
        text.push('-');
    }
    let whole: String = (0..=i32::from(weight).max(0)).rev().map(|place| format!("{:04}", digit(place))).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let places = i32::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=places).map(|place| format!("{:04}", digit(-place))).collect();
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

fn encode_numeric(text: &str) -> Option<Vec<u8>> {
    let header = |count: u16, weight: i16, sign: u16, scale: u16| {
        [count.to_be_bytes(), weight.to_be_bytes(), sign.to_be_bytes(), scale.to_be_bytes()].concat()
    };
    match text {
        "NaN" => return Some(header(0, 0, NAN, 0)),
        "Infinity" | "inf" => return Some(header(0, 0, INFINITY, 0)),
        "-Infinity" | "-inf" => return Some(header(0, 0, NEGATIVE_INFINITY, 0)),
        _ => {}
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (NEGATIVE, rest),
        None => (0, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() < 20_000)?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    // All digits in a row, and where the point stands among them.
    let mut digits = format!("{whole}{fraction}");
    let mut point = i32::try_from(whole.len()).ok()? + exponent;
    let scale = (i32::try_from(digits.len()).ok()? - point).max(0);
    if point < 0 {
        digits.insert_str(0, &"0".repeat(usize::try_from(-point).ok()?));
        point = 0;
    }
    let point = usize::try_from(point).ok()?;
    if digits.len() < point {
        digits.push_str(&"0".repeat(point - digits.len()));
    }
    let (whole, fraction) = digits.split_at(point);
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let fraction = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let groups = |part: &str| -> Vec<u16> {
        part.as_bytes()
            .chunks(4)
            .map(|group| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')))
            .collect()
    };
    let mut weight = i32::try_from(whole.len() / 4).ok()? - 1;
    let mut words: Vec<u16> = groups(&whole);
    words.extend(groups(&fraction));
    let leading = words.iter().take_while(|word| **word == 0).count();
    words.drain(..leading);
    weight -= i32::try_from(leading).ok()?;
    while words.last() == Some(&0) {
        words.pop();
    }
    if words.is_empty() {
        weight = 0;
    }
    let mut bytes = header(
        words.len().try_into().ok()?,
        weight.try_into().ok()?,
        if words.is_empty() { 0 } else { sign },
        scale.try_into().ok()?,
    );
    for word in words {
        bytes.extend(word.to_be_bytes());
    }
    Some(bytes)
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hex: String = text.trim().chars().filter(|c| *c != '-').collect();
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// `YYYY-MM-DD` as days since 1970-01-01.
fn parse_date(text: &str) -> Option<i32> {
    let mut parts = text.trim().splitn(3, '-');
    let (year, month, day): (i64, i64, i64) =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=9999).contains(&year) || !(1..=days_in_month).contains(&day) {
        return None;
    }
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// `HH:MM[:SS[.ffffff]]` as microseconds since midnight.
fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.trim().splitn(3, ':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let (seconds, micros) = match parts.next() {
        None => (0, 0),
        Some(rest) => {
            let (seconds, fraction) = rest.split_once('.').unwrap_or((rest, ""));
            let padded = format!("{fraction:0<6}");
            let micros =
                padded.get(..6)?.parse::<i64>().ok().filter(|_| fraction.bytes().all(|b| b.is_ascii_digit()))?;
            (seconds.parse::<i64>().ok()?, micros)
        }
    };
    let valid = (0..24).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    valid.then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

/// `DATE[T| ]TIME[Z|±HH[:MM]]` as microseconds since 1970-01-01. With a zone the result is UTC;
/// an instant without one is refused, because nobody knows which it is.
fn parse_timestamp(text: &str, instant: bool) -> Option<i64> {
    let text = text.trim();
    let (date, rest) = match text.split_once(['T', 't', ' ']) {
        Some((date, rest)) => (date, rest),
        None if !instant => (text, "00:00"),
        None => return None,
    };
    let (time, offset) = match rest.find(['Z', 'z', '+', '-']) {
        None => (rest, None),
        Some(at) => {
            let (time, zone) = rest.split_at(at);
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let zone = zone.trim_start_matches(['Z', 'z', '+', '-']);
            let (hours, minutes) = match zone.split_once(':') {
                Some((hours, minutes)) => (hours.parse().ok()?, minutes.parse().ok()?),
                None if zone.is_empty() => (0, 0),
                None if zone.len() == 4 => (zone.get(..2)?.parse().ok()?, zone.get(2..)?.parse().ok()?),
                None => (zone.parse::<i64>().ok()?, 0i64),
            };
            (time, Some(sign * (hours * 60 + minutes)))
        }
    };
    if instant && offset.is_none() {
        return None;
    }
    let local = i64::from(parse_date(date)?) * 86_400_000_000 + parse_time(time)?;
    Some(local - if instant { offset.unwrap_or(0) * 60_000_000 } else { 0 })
}

/// A read-only operation takes statements that only read.
fn only_reads(text: &str) -> Result<(), Problem> {
    let word = super::first_word(text);
    if READING.contains(&word.as_str()) {
        return Ok(());
    }
    Err(Problem::new("effect", format!("the operation only reads, and the statement begins with `{word}`"))
        .hint("use `execute` for statements that change something"))
}

/// What the server says, sorted by the class of its SQLSTATE
/// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn problem(error: &sqlx::Error) -> Problem {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                Problem::new("unavailable", format!("the connection broke: {error}")).retryable()
            }
            // The driver's own words are about its insides.
            sqlx::Error::Protocol(_) => Problem::new("failed", "the server's answer was not understood")
                .hint("is it PostgreSQL? `copy` is not to be had here"),
            other => Problem::new("failed", other.to_string()),
        };
    };
    let state = database.code().unwrap_or_default().into_owned();
    let mut message = database.message().to_owned();
    let mut details = json!({ "sqlstate": state });
    if let Some(server) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        if let Some(detail) = server.detail() {
            message = format!("{message} ({detail})");
        }
        if let Some(sqlx::postgres::PgErrorPosition::Original(position)) = server.position() {
            details["position"] = json!(position);
        }
    }
    let (code, retryable) = match state.as_str() {
        "25006" => ("effect", false),
        "3D000" => ("not-found", false),
        "42501" => ("denied", false),
        "40001" | "40P01" => ("conflict", true),
        "57014" => ("timeout", false),
        _ => match state.get(..2).unwrap_or_default() {
            "28" => ("denied", false),
            "23" => ("conflict", false),
            "08" | "53" | "57" => ("unavailable", true),
            "22" | "42" | "21" => ("invalid", false),
            _ => ("failed", false),
        },
    };
    let problem = Problem { retryable, ..Problem::new(code, message).details(&details) };
    if code == "effect" { problem.hint("use `execute` for statements that change something") } else { problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numerics_keep_their_digits_and_scale(whole in "(0|[1-9][0-9]{0,24})", fraction in "([0-9]{0,20})", negative in any::<bool>()) {
            let zero = whole == "0" && fraction.bytes().all(|b| b == b'0');
            let sign = if negative && !zero { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let text = format!("{sign}{whole}{point}{fraction}");
            let encoded = encode_numeric(&text).expect("a decimal");
            prop_assert_eq!(decode_numeric(&encoded), Some(text));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode_numeric(&bytes);
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,30}") {
            let _ = (encode_numeric(&text), parse_timestamp(&text, true), parse_timestamp(&text, false), parse_uuid(&text), super::super::first_word(&text));
        }
    }

    #[test]
    fn texts_become_dates_and_times() {
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("2013-02-08"), Some(15_744));
        assert_eq!(parse_date("2000-02-29"), Some(11_016));
        assert_eq!(parse_date("1900-02-29"), None);
        assert_eq!(parse_time("23:59:59.5"), Some(86_399_500_000));
        assert_eq!(parse_time("24:00"), None);
        assert_eq!(parse_timestamp("2013-02-08T11:00:00Z", true), Some(1_360_321_200_000_000));
        assert_eq!(parse_timestamp("2013-02-08T12:00:00+01:00", true), Some(1_360_321_200_000_000));
        assert_eq!(parse_timestamp("2013-02-08 11:00", true), None);
        assert_eq!(parse_timestamp("2013-02-08 11:00", false), Some(1_360_321_200_000_000));
        assert_eq!(encode_numeric("1e3").as_deref().and_then(decode_numeric).as_deref(), Some("1000"));
        assert_eq!(encode_numeric("1.5e-3").as_deref().and_then(decode_numeric).as_deref(), Some("0.0015"));
    }

    #[test]
    fn a_read_only_operation_takes_reading_statements() {
        for text in ["select 1", " ( SELECT 1)", "-- why\nwith x as (select 1) table x", "/* a /* b */ c */ values (1)"]
        {
            assert!(only_reads(text).is_ok(), "{text}");
        }
        for text in ["delete from t", "/* select */ commit", "set transaction read write", "", "begin", "-- select 1"] {
            assert!(only_reads(text).is_err(), "{text}");
        }
    }
}
