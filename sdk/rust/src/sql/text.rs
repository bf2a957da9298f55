//! Text form of floats, dates and times, the same in all outputs.

/// Microseconds per day.
pub(super) const DAY_MICROS: i64 = 86_400_000_000;

/// Formats a float as the shortest text that parses to the same double, or as `NaN`, `Infinity` or
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

/// Formats days since 1970-01-01 as `YYYY-MM-DD`. Years outside of 0 to 9999 have a sign (ISO 8601,
/// expanded representation). Year 0 is 1 BC. Algorithm: `civil_from_days` in Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms".
#[must_use]
pub fn date_text(days: i64) -> String {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year {
        0..=9999 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:+05}-{month:02}-{day:02}"),
    }
}

/// Formats microseconds since midnight as `HH:MM:SS`, with six fractional digits unless they are
/// zero.
#[must_use]
pub fn time_text(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let clock = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 { clock } else { format!("{clock}.{fraction:06}") }
}

/// Formats microseconds since 1970-01-01 as `YYYY-MM-DDTHH:MM:SS`, with `Z` for an instant.
#[must_use]
pub fn timestamp_text(micros: i64, instant: bool) -> String {
    let (days, clock) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    let zone = if instant { "Z" } else { "" };
    format!("{}T{}{zone}", date_text(days), time_text(clock))
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
        assert_eq!(date_text(-719_529), "-0001-12-31");
        assert_eq!(date_text(-719_528), "0000-01-01");
        assert_eq!(time_text(DAY_MICROS), "24:00:00");
        assert_eq!(time_text(-3_600_000_000), "-01:00:00");
        assert_eq!(timestamp_text(1_360_321_200_000_000, true), "2013-02-08T11:00:00Z");
        assert_eq!(timestamp_text(-1, false), "1969-12-31T23:59:59.999999");
    }
}
