//! Text forms of dates, times, UUIDs and bytes: parsing and formatting.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
pub(super) use blockyard_model::literal::{date_text, time_text, timestamp_text as iso_timestamp_text};
use serde_json::Value as Json;

use crate::bindings::blockyard::bundle::sql::Value;

/// Standard base64 (RFC 4648), encoded with padding, and decoded with or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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

/// Parses bytes: standard base64, with or without padding, or `\\x` followed by hexadecimal digits,
/// as PostgreSQL writes them. No string is valid in both forms.
pub(super) fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        None => BASE64.decode(text).ok(),
        Some(digits) if digits.is_ascii() && digits.len() % 2 == 0 => {
            (0..digits.len()).step_by(2).map(|at| hex_byte(&digits[at..at + 2])).collect()
        }
        Some(_) => None,
    }
}

/// Name of the only member of an object that represents bytes in a parameter.
pub(super) const BYTES: &str = "$bytes";

/// Returns the bytes of `{"$bytes": "3q0="}`; `None` for any other JSON.
pub(super) fn bytes_of_object(json: &Json) -> Option<Vec<u8>> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    BASE64.decode(object.get(BYTES)?.as_str()?).ok()
}

/// Checks that no list contains an object with the member `$bytes`. Such a list would be stored as
/// its JSON text, because JSON has no bytes.
pub(super) fn without_bytes_in_list(value: &Value) -> Result<(), String> {
    let Value::Json(text) = value else { return Ok(()) };
    if !text.starts_with('[') || !text.contains(BYTES) {
        return Ok(());
    }
    match serde_json::from_str(text) {
        Ok(list) if has_bytes(&list) => Err(format!(
            "an element of the list has the member `{BYTES}`, and a list cannot contain bytes here: pass each of them \
             as a parameter, and a list that is meant as JSON as a string"
        )),
        _ => Ok(()),
    }
}

/// Checks whether an element of a list, or of a list in it, has the member `$bytes`.
fn has_bytes(json: &Json) -> bool {
    match json {
        Json::Array(elements) => elements.iter().any(|element| element.get(BYTES).is_some() || has_bytes(element)),
        _ => false,
    }
}

/// Parses a byte of two hexadecimal digits, without a sign.
fn hex_byte(digits: &str) -> Option<u8> {
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Checks that a string has no NUL character, which PostgreSQL cannot store.
pub(super) fn without_nul(text: &str) -> Result<(), String> {
    match text.chars().position(|character| character == '\0') {
        None => Ok(()),
        Some(at) => {
            Err(format!("the string has a NUL character at position {}, which PostgreSQL cannot store", at + 1))
        }
    }
}

/// Parses an ISO 8601 date to days since 1970-01-01: `YYYY-MM-DD`, or with a sign and more digits
/// (`-0043-03-15`, `+15000-12-31`; year 0 is 1 BC). PostgreSQL's `0044-03-15 BC` is accepted, too.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let text = text.trim();
    let (text, before) = match text.strip_suffix("BC") {
        Some(rest) => (rest.trim_end(), true),
        None => (text, false),
    };
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    let mut parts = digits.splitn(3, '-');
    let year = parts.next().filter(|year| (4..=7).contains(&year.len())).and_then(parse_digits)?;
    let year = match (before, sign) {
        (true, 1) if year >= 1 => 1 - year,
        (true, _) => return None,
        (false, sign) => sign * year,
    };
    days(year, parts.next().and_then(short)?, parts.next().and_then(short)?)
}

/// Parses a number that consists of digits only.
fn parse_digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses a number of one or two digits.
fn short(text: &str) -> Option<i64> {
    parse_digits(text).filter(|_| text.len() <= 2)
}

/// Returns the days from 1970-01-01 to a date of the proleptic Gregorian calendar; `None` if there
/// is no such date.
pub(super) fn days(year: i64, month: i64, day: i64) -> Option<i32> {
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
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil. The types of
    // libraries end before PostgreSQL's last year, 5874897.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// Formats a date as PostgreSQL reads it: without a sign, and with `BC` for years before 1.
pub(super) fn postgres_date_text(days: i32) -> String {
    let text = date_text(days);
    match text.strip_prefix('+') {
        Some(rest) => rest.to_owned(),
        None => match text.strip_prefix('-').unwrap_or(&text).split_once('-') {
            Some((year, rest)) if text.starts_with('-') || year == "0000" => {
                let year: i64 = year.parse().unwrap_or_default();
                format!("{:04}-{rest} BC", year + 1)
            }
            _ => text,
        },
    }
}

/// Formats a timestamp as PostgreSQL reads it, followed by `zone` (`+00`, or empty).
pub(super) fn postgres_timestamp_text(micros: i64, zone: &str) -> String {
    let days = i32::try_from(micros.div_euclid(DAY_MICROS)).expect("64-bit microseconds are fewer than 2^31 days");
    let date = postgres_date_text(days);
    let (date, era) = date.split_once(' ').map_or((date.as_str(), ""), |(date, _)| (date, " BC"));
    format!("{date} {}{zone}{era}", time_text(micros.rem_euclid(DAY_MICROS)))
}

/// Formats microseconds since 1970-01-01 as `YYYY-MM-DD HH:MM:SS`, which all servers read.
#[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "used for parameters of MySQL"))]
pub(super) fn timestamp_text(micros: i64) -> String {
    iso_timestamp_text(micros, false).replacen('T', " ", 1)
}

/// Parses `HH:MM[:SS[.ffffff]]` to microseconds since midnight, up to `24:00:00`. Digits of the
/// fraction after the sixth must be zero.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.trim().splitn(3, ':');
    let hours = parts.next().and_then(short)?;
    let minutes = parts.next().and_then(short)?;
    let (seconds, micros) = match parts.next() {
        None => (0, 0),
        Some(rest) => {
            let (seconds, fraction) = rest.split_once('.').unwrap_or((rest, ""));
            let padded = format!("{:0<6}", fraction.trim_end_matches('0'));
            let micros = parse_digits(fraction).or_else(|| fraction.is_empty().then_some(0)).and_then(|_| {
                // Further digits would be lost.
                parse_digits(&padded).filter(|_| padded.len() == 6)
            })?;
            (short(seconds)?, micros)
        }
    };
    let valid = (0..=24).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    let time = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
    (valid && time <= DAY_MICROS).then_some(time)
}

/// A parsed timestamp, with the offset from UTC that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    /// Microseconds since 1970-01-01T00:00:00, as written.
    pub(super) local: i64,
    /// Microseconds by which the zone is ahead of UTC; `None` if the text names no zone.
    pub(super) offset: Option<i64>,
}

impl Read {
    /// Returns microseconds since 1970-01-01 UTC; `None` if the zone is not known.
    pub(super) fn instant(self) -> Option<i64> {
        self.local.checked_sub(self.offset?)
    }
}

/// Parses `DATE[T| ]TIME[Z|±HH[:MM]]`, or a date alone.
pub(super) fn parse_timestamp(text: &str) -> Option<Read> {
    let text = text.trim();
    let (text, era) = text.strip_suffix("BC").map_or((text, ""), |rest| (rest.trim_end(), " BC"));
    let (date, rest) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00"));
    let (time, offset) = match rest.find(['Z', 'z', '+', '-']) {
        None => (rest, None),
        Some(at) => (&rest[..at], Some(parse_offset(&rest[at..])?)),
    };
    let days = parse_date(&format!("{date}{era}"))?;
    let local = i64::from(days).checked_mul(DAY_MICROS)?.checked_add(parse_time(time)?)?;
    Some(Read { local, offset })
}

/// Parses `Z`, `±HH`, `±HHMM` or `±HH:MM[:SS]` to microseconds.
fn parse_offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let zone = zone.strip_prefix(['+', '-'])?;
    let mut parts = zone.splitn(3, ':');
    let first = parts.next()?;
    let (hours, minutes) = match parts.next() {
        Some(minutes) => (short(first)?, short(minutes)?),
        None if first.len() == 4 => (short(first.get(..2)?)?, short(first.get(2..)?)?),
        None => (short(first)?, 0),
    };
    let seconds = parts.next().map_or(Some(0), short)?;
    let valid = (0..=15).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    valid.then_some(sign * ((hours * 60 + minutes) * 60 + seconds) * 1_000_000)
}

/// Formats bytes as PostgreSQL does.
pub(super) fn postgres_bytes_text(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |digit: u8| char::from(DIGITS[usize::from(digit)]);
    "\\x".chars().chain(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dates_and_timestamps_round_trip(days in -2_000_000i32..200_000_000, micros in 0i64..DAY_MICROS) {
            prop_assert_eq!(parse_date(&date_text(days)), Some(days));
            prop_assert_eq!(parse_date(&postgres_date_text(days)), Some(days));
            let days = days % 100_000_000;
            let at = i64::from(days) * DAY_MICROS + micros;
            let read = Some(Read { local: at, offset: None });
            prop_assert_eq!(parse_timestamp(&timestamp_text(at)), read);
            prop_assert_eq!(parse_timestamp(&iso_timestamp_text(at, false)), read);
            prop_assert_eq!(parse_timestamp(&postgres_timestamp_text(at, "")), read);
            let instant = parse_timestamp(&postgres_timestamp_text(at, "+00"));
            prop_assert_eq!(instant.and_then(Read::instant), Some(at));
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in "\\PC{0,30}") {
            let _ = (parse_timestamp(&text), parse_date(&text), parse_time(&text), parse_uuid(&text));
        }

        #[test]
        fn arbitrary_digits_do_not_panic(text in "[-+0-9TZ:. ]{0,30}( BC)?") {
            let _ = (parse_timestamp(&text), parse_date(&text), parse_time(&text));
        }
    }

    #[test]
    fn bytes_are_parsed_from_base64_and_hexadecimal() {
        for text in ["3q0=", "3q0", "\\xdead", "\\xDEAD"] {
            assert_eq!(parse_bytes(text), Some(vec![0xde, 0xad]), "{text}");
        }
        assert_eq!(parse_bytes(""), Some(Vec::new()));
        assert_eq!(parse_bytes("\\x"), Some(Vec::new()));
        for text in ["3q1=", "*", "\\xd", "\\x+f", "\\xäö", "3q0==", "3 q0"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_in_an_untyped_list_are_rejected() {
        let check = |text: &str| without_bytes_in_list(&Value::Json(text.to_owned()));
        for refused in [r#"[{"$bytes":"3q0="}]"#, r#"[1,[{"$bytes":"*"}]]"#, r#"[{"$bytes":"","a":1}]"#] {
            assert!(check(refused).is_err(), "{refused}");
        }
        for accepted in [r#"["$bytes"]"#, r#"[{"a":{"$bytes":"3q0="}}]"#, r#"{"a":[{"$bytes":""}]}"#, "[]", "["] {
            assert_eq!(check(accepted), Ok(()), "{accepted}");
        }
        assert_eq!(without_bytes_in_list(&Value::Text(r#"[{"$bytes":"3q0="}]"#.to_owned())), Ok(()));
        assert_eq!(bytes_of_object(&serde_json::json!({"$bytes": "3q0="})), Some(vec![0xde, 0xad]));
        assert_eq!(bytes_of_object(&serde_json::json!({"$bytes": "3q0=", "a": 1})), None);
    }

    #[test]
    fn dates_and_times_are_parsed() {
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("2013-02-08"), Some(15_744));
        assert_eq!(parse_date("2000-02-29"), Some(11_016));
        assert_eq!(parse_date("-0043-03-15"), Some(-735_160));
        assert_eq!(parse_date("0044-03-15 BC"), Some(-735_160));
        assert_eq!(parse_date("+15000-12-31"), Some(4_759_474));
        assert_eq!(parse_date("15000-12-31"), Some(4_759_474));
        assert_eq!(parse_date("0000-01-01"), Some(-719_528));
        for invalid in ["1900-02-29", "13-02-08", "2013-2-+8", "2013-02-08x", "-0044-03-15 BC", "0000-03-15 BC", ""] {
            assert_eq!(parse_date(invalid), None, "{invalid}");
        }
        assert_eq!(postgres_date_text(-735_160), "0044-03-15 BC");
        assert_eq!(postgres_date_text(-719_528), "0001-01-01 BC");
        assert_eq!(postgres_date_text(4_759_474), "15000-12-31");
        assert_eq!(parse_time("23:59:59.5"), Some(86_399_500_000));
        assert_eq!(parse_time("24:00"), Some(DAY_MICROS));
        for invalid in ["24:00:01", "25:00", "-01:00", "00:60", "00:00:00.1234567", "00:00:00.x"] {
            assert_eq!(parse_time(invalid), None, "{invalid}");
        }
        assert_eq!(parse_time("00:00:00.1234560"), Some(123_456));
        let read = |text: &str| parse_timestamp(text);
        assert_eq!(read("2013-02-08T11:00:00Z").and_then(Read::instant), Some(1_360_321_200_000_000));
        assert_eq!(read("2013-02-08T12:00:00+01:00").and_then(Read::instant), Some(1_360_321_200_000_000));
        assert_eq!(read("2013-02-08 11:00").and_then(Read::instant), None);
        assert_eq!(read("2013-02-08 11:00").map(|read| read.local), Some(1_360_321_200_000_000));
        assert_eq!(read("0044-03-15 00:00:00 BC").map(|read| read.local), Some(-735_160 * DAY_MICROS));
    }
}
