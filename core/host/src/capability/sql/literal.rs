//! Dates, times and identifiers as people write them, and back.

/// Microseconds of a day.
pub(super) const DAY_MICROS: i64 = 86_400_000_000;

pub(super) fn uuid_text(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

pub(super) fn parse_uuid(text: &str) -> Option<[u8; 16]> {
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
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let mut parts = text.trim().splitn(3, '-');
    let year = parts.next()?.parse().ok().filter(|year| *year >= 1)?;
    days(year, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; none where there is no such day.
pub(super) fn days(year: i64, month: i64, day: i64) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(0..=9999).contains(&year) || !(1..=days_in_month).contains(&day) {
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

/// `YYYY-MM-DD` of days since 1970-01-01 (`civil_from_days`, from the same source).
pub(super) fn date_text(days: i32) -> String {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `HH:MM:SS.ffffff` of microseconds since midnight.
pub(super) fn time_text(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `YYYY-MM-DD HH:MM:SS.ffffff` of microseconds since 1970-01-01; none beyond the days that can be counted.
pub(super) fn timestamp_text(micros: i64) -> Option<String> {
    let days = i32::try_from(micros.div_euclid(DAY_MICROS)).ok()?;
    Some(format!("{} {}", date_text(days), time_text(micros.rem_euclid(DAY_MICROS))))
}

/// `HH:MM[:SS[.ffffff]]` as microseconds since midnight.
pub(super) fn parse_time(text: &str) -> Option<i64> {
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
pub(super) fn parse_timestamp(text: &str, instant: bool) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dates_and_timestamps_come_back(days in -719_162i32..2_932_897, micros in 0i64..DAY_MICROS) {
            prop_assert_eq!(parse_date(&date_text(days)), Some(days));
            let at = i64::from(days) * DAY_MICROS + micros;
            let text = timestamp_text(at).expect("a day that can be counted");
            prop_assert_eq!(parse_timestamp(&text, false), Some(at));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,30}") {
            let _ = (parse_timestamp(&text, true), parse_timestamp(&text, false), parse_uuid(&text));
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
    }
}
