//! Ranges and precision of dates, times and timestamps.

use super::shown;
use crate::Dialect;
use blockyard_sdk::calendar;

/// Seconds since 1970 that `timestamp` stores on at least one version of MySQL or MariaDB. Most end
/// in 2038, which the server reports.
pub(super) const MYSQL_TIMESTAMPS: std::ops::RangeInclusive<i64> = 1..=4_294_967_295;

/// Maximum year of a PostgreSQL date.
pub(super) const LAST_DATE_YEAR: i64 = 5_874_897;

/// Maximum year of a PostgreSQL timestamp.
pub(super) const LAST_TIMESTAMP_YEAR: i64 = 294_276;

/// Checks that the database supports the year: 0 to 9999 for MySQL, 4713 BC to `last` for
/// PostgreSQL.
pub(super) fn has_year(dialect: Dialect, days: i32, last: i64) -> std::result::Result<(), String> {
    let year = calendar::year(days);
    let years = match dialect {
        Dialect::Mysql => 0..=9_999,
        Dialect::Postgres => -4_712..=last,
        Dialect::Sqlite => return Ok(()),
    };
    if years.contains(&year) { Ok(()) } else { Err(format!("the database does not support the year {year}")) }
}

/// Checks that the fraction of a second fits the precision of the column.
pub(super) fn has_places(micros: i64, places: u32, text: &str) -> std::result::Result<(), String> {
    if micros % 10_i64.pow(6 - places.min(6)) == 0 {
        return Ok(());
    }
    Err(format!("`{}` has more than the {places} fractional second digits of the column", shown(text)))
}

/// Checks for PostgreSQL's `infinity` and `-infinity`.
pub(super) fn is_endless(dialect: Dialect, text: &str) -> bool {
    dialect == Dialect::Postgres && matches!(text, "infinity" | "-infinity")
}

/// Checks for a MySQL `time` of more than a day: `[-]HHH:MM:SS`.
pub(super) fn is_long_time(text: &str, places: u32) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let Some((hours, rest)) = digits.split_once(':') else { return false };
    let plain = (2..=3).contains(&hours.len()) && hours.bytes().all(|byte| byte.is_ascii_digit());
    let micros = calendar::time(&format!("00:{rest}")).filter(|_| rest.len() >= 5);
    plain && micros.is_some_and(|micros| has_places(micros, places, text).is_ok())
}
