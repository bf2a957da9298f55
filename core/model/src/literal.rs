//! Text forms of floats, dates and times, which are the same in all outputs. The SDK has the same
//! functions for bundles.

/// Microseconds per day.
const DAY_MICROS: i64 = 86_400_000_000;

/// Returns the shortest text that is parsed as the same double, or `NaN`, `Infinity` or
/// `-Infinity`.
#[must_use]
pub fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    match serde_json::Number::from_f64(value) {
        Some(number) => number.to_string(),
        None if value > 0.0 => "Infinity".to_owned(),
        None => "-Infinity".to_owned(),
    }
}

/// Returns a number of days since 1970-01-01 as `YYYY-MM-DD`. Years with more than four digits and
/// years before 0 have a sign (ISO 8601, expanded). Year 0 is 1 BC. (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.)
#[must_use]
pub fn date_text(days: i32) -> String {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year {
        0..=9999 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:+05}-{month:02}-{day:02}"),
    }
}

/// Returns microseconds since midnight as `HH:MM:SS`, with six fractional digits if there is a
/// fraction.
#[must_use]
pub fn time_text(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let clock = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 { clock } else { format!("{clock}.{fraction:06}") }
}

/// Returns microseconds since 1970-01-01 as `YYYY-MM-DDTHH:MM:SS`, with a `Z` for an instant. All
/// 64-bit values are within 300,000 years of that date.
#[must_use]
pub fn timestamp_text(micros: i64, instant: bool) -> String {
    let days = i32::try_from(micros.div_euclid(DAY_MICROS)).expect("64 bits of microseconds are 31 bits of days");
    let zone = if instant { "Z" } else { "" };
    format!("{}T{}{zone}", date_text(days), time_text(micros.rem_euclid(DAY_MICROS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_one_form() {
        assert_eq!(float_text(0.1), "0.1");
        assert_eq!(float_text(1.0), "1.0");
        assert_eq!(float_text(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(float_text(f64::INFINITY), "Infinity");
        assert_eq!(float_text(-f64::NAN), "NaN");
        assert_eq!(date_text(11_016), "2000-02-29");
        assert_eq!(date_text(-735_160), "-0043-03-15");
        assert_eq!(date_text(4_759_474), "+15000-12-31");
        assert_eq!(date_text(-719_528), "0000-01-01");
        assert_eq!(time_text(DAY_MICROS), "24:00:00");
        assert_eq!(time_text(-3_600_000_000), "-01:00:00");
        assert_eq!(timestamp_text(1_360_321_200_000_000, true), "2013-02-08T11:00:00Z");
        assert_eq!(timestamp_text(-1, false), "1969-12-31T23:59:59.999999");
        assert!(timestamp_text(i64::MAX, false).starts_with("+294247-01-10T04:00:54"));
        assert!(timestamp_text(i64::MIN, false).starts_with("-290308-12-21T19:59:05"));
    }
}
