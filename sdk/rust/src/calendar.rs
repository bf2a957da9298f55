//! Exact parsing and formatting of dates, times and timestamps (ISO 8601), for all days that a
//! 32-bit number of days counts. Invalid days and times of day, and fractions finer than
//! microseconds, are rejected.

use crate::sql::Timestamp;

/// Number of microseconds in a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// Parses `YYYY-MM-DD`, or a signed year of at least four digits, to days since 1970-01-01. Year 0
/// is 1 BC.
#[must_use]
pub fn date(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let signed = digits.len() != text.len();
    let (year, rest) = digits.split_once('-')?;
    let length_fits = if signed { (4..=7).contains(&year.len()) } else { year.len() == 4 };
    let (month, day) = rest.split_once('-')?;
    if !length_fits || sign < 0 && year.bytes().all(|byte| byte == b'0') {
        return None;
    }
    days(sign * number(year, year.len())?, number(month, 2)?, number(day, 2)?)
}

/// Parses `HH:MM[:SS[.ffffff]]` to microseconds since midnight; `24:00:00` is the end of the day.
#[must_use]
pub fn time(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let (hours, minutes) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (seconds, micros) = match parts.next() {
        None => (0, 0),
        Some(rest) => {
            let (seconds, fraction) = rest.split_once('.').map_or((rest, None), |(s, f)| (s, Some(f)));
            (number(seconds, 2)?, fraction.map_or(Some(0), fraction_micros)?)
        }
    };
    if hours > 24 || minutes > 59 || seconds > 59 {
        return None;
    }
    let time = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
    (time <= DAY_MICROS).then_some(time)
}

/// Parses `DATE[T| ]TIME[Z|±HH[[:]MM]]`; a space may precede the zone.
#[must_use]
pub fn timestamp(text: &str) -> Option<Timestamp> {
    let (day, rest) = text.split_once(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-', ' ']);
    let (clock, zone) = zone_at.map_or((rest, None), |at| (&rest[..at], Some(&rest[at..])));
    let local = i64::from(date(day)?).checked_mul(DAY_MICROS)?.checked_add(time(clock).filter(|t| *t < DAY_MICROS)?)?;
    let Some(zone) = zone else { return Some(Timestamp { micros: local, offset_minutes: None }) };
    let minutes = offset(zone.strip_prefix(' ').unwrap_or(zone))?;
    let micros = local.checked_sub(minutes * 60_000_000)?;
    Some(Timestamp { micros, offset_minutes: Some(i16::try_from(minutes).ok()?) })
}

/// Parses a UTC offset to minutes.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z" | "UTC") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = &zone[1..];
    let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
        (Some((hours, minutes)), _) => (number(hours, 2)?, number(minutes, 2)?),
        (None, 2) => (number(digits, 2)?, 0),
        (None, 4) => (number(digits.get(..2)?, 2)?, number(digits.get(2..)?, 2)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Parses the digits of a fraction of a second to microseconds. Trailing zeros beyond microseconds
/// are allowed.
fn fraction_micros(digits: &str) -> Option<i64> {
    let significant = digits.trim_end_matches('0');
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (plain && significant.len() <= 6).then(|| format!("{significant:0<6}").parse().ok()).flatten()
}

fn number(digits: &str, length: usize) -> Option<i64> {
    let plain = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Returns the days from 1970-01-01 to a day of the Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
///
/// Not by a library: PostgreSQL has dates up to the year 5874897, and the types of `jiff`, `time` and
/// `chrono` end at the years 9999, 999999 and 262142.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// Returns the year, month and day of days since 1970-01-01 (`civil_from_days`, same source).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + shifted.div_euclid(146_097) * 400 + i64::from(month <= 2), month, day)
}

/// Returns the year of days since 1970-01-01.
#[must_use]
pub fn year(days: i32) -> i64 {
    civil(days.into()).0
}

/// Formats days since 1970-01-01 as `YYYY-MM-DD`. Years outside of 0 to 9999 have a sign (ISO 8601,
/// expanded representation).
#[must_use]
pub fn date_text(days: i64) -> String {
    let (year, month, day) = civil(days);
    match year {
        0..=9_999 => format!("{year:04}-{month:02}-{day:02}"),
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn formatted_values_parse_back(days in -2_000_000i32..4_000_000, rest in 0..DAY_MICROS, zone: bool) {
            prop_assert_eq!(date(&date_text(days.into())), Some(days));
            prop_assert_eq!(time(&time_text(rest)), Some(rest));
            let micros = i64::from(days) * DAY_MICROS + rest;
            prop_assert_eq!(read(&timestamp_text(micros, zone)), Some((micros, zone.then_some(0))));
        }

        #[test]
        fn parsers_do_not_panic_on_arbitrary_text(text in "[-+0-9:.TZ ü]{0,30}") {
            let _ = (date(&text), time(&text), timestamp(&text));
        }
    }

    #[test]
    fn invalid_dates_are_rejected() {
        for (text, days) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(11_016)),
            ("+15000-12-31", Some(4_759_474)),
            ("-0043-03-15", Some(-735_160)),
            ("0000-12-31", Some(-719_163)),
            ("-0000-12-31", None),
            ("1900-02-29", None),
            ("2013-2-8", None),
            ("15000-12-31", None),
            ("0000-00-00", None),
            ("2013-02-08 ", None),
            ("ü", None),
        ] {
            assert_eq!(date(text), days, "{text}");
        }
        assert_eq!(date("-0043-03-15").map(year), Some(-43));
        assert_eq!((year(0), year(-1), year(11_016)), (1970, 1969, 2000));
    }

    #[test]
    fn invalid_times_are_rejected() {
        assert_eq!(time("23:59:59.5"), Some(86_399_500_000));
        assert_eq!(time("24:00:00"), Some(DAY_MICROS));
        assert_eq!(time("12:30"), Some(45_000_000_000));
        assert_eq!(time("12:00:00.1234560"), Some(43_200_123_456));
        for text in ["24:00:01", "23:59:60", "12:00:00.1234567", "-01:00:00", "1:00:00", "12:00:00.", "12"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    /// Returns the microseconds and the offset of a timestamp.
    fn read(text: &str) -> Option<(i64, Option<i16>)> {
        timestamp(text).map(|at| (at.micros, at.offset_minutes))
    }

    #[test]
    fn invalid_timestamps_are_rejected() {
        for (text, expected) in [
            ("2013-02-08T11:00:00Z", (1_360_321_200_000_000, Some(0))),
            ("2013-02-08 12:00:00+01", (1_360_321_200_000_000, Some(60))),
            ("2013-02-08 11:00:00 UTC", (1_360_321_200_000_000, Some(0))),
            ("2013-02-08 11:00", (1_360_321_200_000_000, None)),
            ("-0043-03-15T00:00:00", (-735_160 * DAY_MICROS, None)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        for text in ["2013-02-08", "2013-02-08T24:00:00", "2013-02-08T12:00:60Z", "2013-02-08T12:00:00+1", "x T"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn dates_and_times_have_a_canonical_format() {
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
