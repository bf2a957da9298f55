//! PostgreSQL types whose values pass as text. The server would round, truncate or reinterpret some
//! texts without an error; only texts that it stores exactly are accepted.

use std::collections::BTreeSet;

use super::{ColumnType, shown};
use crate::Dialect;
use crate::number::Digits;
use blockyard_sdk::calendar;

/// A type whose values pass as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Literal<'a> {
    Interval {
        /// The smallest unit that the column stores.
        lowest: Unit,
        /// Number of digits of the fraction of a second.
        places: u32,
    },
    /// `time with time zone`.
    ZonedTime {
        places: u32,
    },
    Money,
    /// `name`, which is truncated to 63 bytes.
    Name,
    /// `"char"`, a single byte.
    OneByte,
    /// Points, boxes, paths and other types that consist of doubles.
    Geometric,
    /// `hstore`, which keeps one of two values with the same key.
    Pairs,
    /// Range or multirange, with the name of the type of its bounds.
    Range(&'a str),
    /// Composite type, with one line per field, the name of its type.
    Record(&'a str),
}

/// Unit of an interval, from the largest to the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// Types without a rule, because the server stores each text that it accepts exactly.
const STORED_EXACTLY: [&str; 17] = [
    "enum",
    "uuid",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "bit",
    "bit varying",
    "xml",
    "pg_lsn",
    "tsvector",
    "tsquery",
    "jsonpath",
    "regclass",
    "regtype",
    "regproc",
    "tid",
];

/// Maximum number of bytes of `name`.
const NAME_BYTES: usize = 63;

/// Checks whether the name of a type determines the values that it stores. That of a domain, a
/// composite type or a type of an extension does not.
pub(super) fn is_known(type_name: &str) -> bool {
    let name = type_name.trim_end_matches("[]");
    match ColumnType::of(Dialect::Postgres, name) {
        ColumnType::Any => STORED_EXACTLY.contains(&super::type_name::parts(name).0.as_str()),
        ColumnType::Literal(Literal::Pairs) => false,
        _ => name != "citext",
    }
}

impl Literal<'_> {
    /// Returns the type with this name, without the numbers in parentheses.
    pub(super) fn of(word: &str, places: u32) -> Option<Self> {
        if let Some(fields) = word.strip_prefix("interval") {
            let lowest = match fields.rsplit(' ').next() {
                Some("") => Unit::Second,
                Some(field) => Unit::of(field)?,
                None => return None,
            };
            return Some(Self::Interval { lowest, places });
        }
        Some(match word {
            "time with time zone" => Self::ZonedTime { places },
            "money" => Self::Money,
            "name" => Self::Name,
            "\"char\"" => Self::OneByte,
            "point" | "lseg" | "box" | "path" | "polygon" | "circle" | "line" => Self::Geometric,
            "int4range" | "int4multirange" => Self::Range("integer"),
            "int8range" | "int8multirange" => Self::Range("bigint"),
            "numrange" | "nummultirange" => Self::Range("numeric"),
            "daterange" | "datemultirange" => Self::Range("date"),
            "tsrange" | "tsmultirange" => Self::Range("timestamp without time zone"),
            "tstzrange" | "tstzmultirange" => Self::Range("timestamp with time zone"),
            // The name has the schema of the extension if it is not in the search path.
            _ if word.rsplit('.').next() == Some("hstore") => Self::Pairs,
            _ => return None,
        })
    }

    /// Checks whether an empty text is a value.
    pub(super) fn has_empty(self) -> bool {
        matches!(self, Self::Name | Self::OneByte | Self::Pairs)
    }

    /// Checks that the server stores the text exactly.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let (is_exact, name) = match self {
            Self::Interval { lowest, places } => (is_interval(text, lowest, places), "interval"),
            Self::ZonedTime { places } => (is_zoned_time(text, places), "time with time zone"),
            Self::Money => (is_money(text), "money"),
            Self::Name => (text.len() <= NAME_BYTES, "name"),
            Self::OneByte => (text.len() <= 1, "\"char\""),
            Self::Geometric => (has_doubles(text), "geometric"),
            Self::Pairs => (has_different_keys(text), "hstore"),
            Self::Range(of) => {
                let bounds = bounds(text).ok_or_else(|| format!("`{}` is not a range", shown(text)))?;
                return bounds.iter().try_for_each(|bound| check(ColumnType::of(Dialect::Postgres, of), bound));
            }
            Self::Record(fields) => return check_record(fields, text),
        };
        if is_exact { Ok(()) } else { Err(changed(text, name)) }
    }
}

/// Returns the reason for a text that the server could change.
fn changed(text: &str, type_name: &str) -> String {
    format!(
        "`{}` is not in a form that the type `{type_name}` of the column is known to keep; load it into a column of \
         type `text` and cast it",
        shown(text)
    )
}

/// Checks a value in the server's own form, which is a part of a larger literal.
pub(super) fn check(column_type: ColumnType<'_>, text: &str) -> Result<(), String> {
    match column_type {
        ColumnType::Any | ColumnType::Boolean => Ok(()),
        ColumnType::Bytes { .. } if !text.starts_with("\\x") => {
            Err(format!("`{}` is not `\\x` with hexadecimal digits, as bytes in an array literal are", shown(text)))
        }
        ColumnType::Date | ColumnType::Timestamp { .. } | ColumnType::Instant { .. } => {
            column_type.text(Dialect::Postgres, common_date(text)).map(drop)
        }
        column_type => column_type.text(Dialect::Postgres, text.to_owned()).map(drop),
    }
}

/// Converts a date or timestamp from the server's form to that of ISO 8601. The era is dropped,
/// because it does not affect precision.
fn common_date(text: &str) -> String {
    let text = text.trim().trim_end_matches(" BC");
    let has_long_year = text.find('-').is_some_and(|length| length > 4);
    if has_long_year && text.starts_with(|first: char| first.is_ascii_digit()) {
        format!("+{text}")
    } else {
        text.to_owned()
    }
}

fn check_record(fields: &str, text: &str) -> Result<(), String> {
    let malformed = || format!("`{}` is not a record", shown(text));
    let mut rest = text.trim().strip_prefix('(').ok_or_else(malformed)?;
    for type_name in fields.lines() {
        let column_type = ColumnType::of(Dialect::Postgres, type_name);
        let (part, _, after) = part(rest, &[',', ')']).ok_or_else(malformed)?;
        rest = after;
        if part.text.is_empty() && !part.quoted {
            continue;
        }
        if !is_known(type_name) {
            return Err(changed(text, type_name));
        }
        check(column_type, &part.text)?;
    }
    Ok(())
}

/// Checks an array literal, such as `{1,2}` or `[0:1]={1,2}`.
pub(super) fn check_array(element: ColumnType<'_>, text: &str) -> Result<(), String> {
    let malformed = || format!("`{}` is neither a JSON list nor an array", shown(text));
    let elements = elements(text).ok_or_else(malformed)?;
    elements.iter().try_for_each(|text| check(element, text))
}

/// Returns the elements of an array literal that are not null.
fn elements(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let mut rest = if text.starts_with('[') { text.split_once('=')?.1.trim_start() } else { text };
    let (mut elements, mut depth) = (Vec::new(), 0_usize);
    loop {
        rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            (rest, depth) = (inside, depth + 1);
        } else if let Some(after) = rest.strip_prefix('}') {
            (rest, depth) = (after, depth.checked_sub(1)?);
        } else if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else {
            let (part, end, after) = part(rest, &[',', '}'])?;
            rest = after;
            if end == '}' {
                depth = depth.checked_sub(1)?;
            }
            let text = if part.quoted { part.text.as_str() } else { part.text.trim() };
            if part.quoted || !text.eq_ignore_ascii_case("null") {
                elements.push(text.to_owned());
            }
        }
        if depth == 0 {
            return rest.trim().is_empty().then_some(elements);
        }
    }
}

/// Returns the finite bounds of a range or multirange.
fn bounds(text: &str) -> Option<Vec<String>> {
    const EMPTY: &str = "empty";
    let text = text.trim();
    let ranges = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let (mut rest, mut bounds) = (ranges.unwrap_or(text).trim(), Vec::new());
    while !rest.is_empty() {
        if rest.get(..EMPTY.len()).is_some_and(|word| word.eq_ignore_ascii_case(EMPTY)) {
            rest = &rest[EMPTY.len()..];
        } else {
            let (lower, _, after) = part(rest.strip_prefix(['[', '('])?, &[','])?;
            let (upper, _, after) = part(after, &[']', ')'])?;
            let present = [lower, upper].into_iter().filter(|bound| bound.quoted || !bound.text.is_empty());
            bounds.extend(present.map(|bound| bound.text));
            rest = after;
        }
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(bounds)
}

/// Checks that the keys of pairs such as `"a"=>"1", "b"=>NULL` differ.
fn has_different_keys(text: &str) -> bool {
    let mut keys = BTreeSet::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let Some((key, _, after)) = part(rest, &['=']) else { return false };
        let Some(after) = after.strip_prefix('>') else { return false };
        // White space around a key is not part of it; keys that differ only in it are refused, too.
        if !keys.insert(key.text.trim().to_owned()) {
            return false;
        }
        rest = part(after, &[',']).map_or("", |(_, _, after)| after.trim());
    }
    true
}

/// A part of an array, record, range or pair.
struct Part {
    text: String,
    quoted: bool,
}

/// Reads the part before one of `ends`. Returns it, the end, and the rest.
fn part<'text>(text: &'text str, ends: &[char]) -> Option<(Part, char, &'text str)> {
    let mut part = Part { text: String::new(), quoted: false };
    let mut is_open = false;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => part.text.push(characters.next()?.1),
            '"' => {
                // A doubled quote is an escaped one.
                if !is_open && text[..at].ends_with('"') {
                    part.text.push('"');
                }
                is_open = !is_open;
                part.quoted = true;
            }
            end if !is_open && ends.contains(&end) => return Some((part, end, &text[at + end.len_utf8()..])),
            other => part.text.push(other),
        }
    }
    None
}

impl Unit {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "y" | "yr" | "yrs" | "year" | "years" | "decade" | "decades" | "century" | "centuries" | "millennium"
            | "millennia" => Self::Year,
            "mon" | "mons" | "month" | "months" => Self::Month,
            "d" | "day" | "days" | "w" | "week" | "weeks" => Self::Day,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hour,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minute,
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            _ => return None,
        })
    }

    /// Returns the unit of a designator of ISO 8601.
    fn of_designator(designator: &str, in_time: bool) -> Option<Self> {
        Some(match (designator, in_time) {
            ("Y", false) => Self::Year,
            ("M", false) => Self::Month,
            ("W" | "D", false) => Self::Day,
            ("H", true) => Self::Hour,
            ("M", true) => Self::Minute,
            ("S", true) => Self::Second,
            _ => return None,
        })
    }
}

/// Checks for an interval such as `1 year 2 mons 3 days 04:05:06.5` or `P1Y2M3DT4H5M6.5S` that has
/// no value below the smallest unit. Only seconds can have a fraction.
fn is_interval(text: &str, lowest: Unit, places: u32) -> bool {
    let text = text.trim();
    let fits = |number: &str, unit: Unit| {
        let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0'));
        let is_zero = number.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let places = if unit == Unit::Second { places as usize } else { 0 };
        fraction.len() <= places && (is_zero || unit <= lowest)
    };
    let is_iso = text.starts_with('P');
    let (mut rest, mut in_time, mut is_first) = (text.strip_prefix('P').unwrap_or(text), false, true);
    loop {
        rest = rest.trim_start_matches([' ', '@']);
        if is_iso && let Some(time) = rest.strip_prefix('T') {
            (rest, in_time) = (time, true);
        }
        if rest.is_empty() || rest == "ago" {
            return !is_first;
        }
        is_first = false;
        let (number, after) = amount(rest);
        rest = after.trim_start();
        if number.contains(':') {
            let units = [Unit::Hour, Unit::Minute, Unit::Second];
            let fields: Vec<&str> = number.split(':').collect();
            let is_clock = (2..=3).contains(&fields.len()) && fields.iter().all(|field| is_number(field));
            if !is_clock || !fields.into_iter().zip(units).all(|(field, unit)| fits(field, unit)) {
                return false;
            }
            continue;
        }
        let length = if is_iso { 1 } else { rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len()) };
        let Some((word, after)) = rest.split_at_checked(length.min(rest.len())) else { return false };
        let unit = match word {
            // In `1 04:05:06`, the first number is days.
            "" if amount(rest).0.contains(':') => Some(Unit::Day),
            word if is_iso => Unit::of_designator(word, in_time),
            word => Unit::of(word),
        };
        if !is_number(number) || !unit.is_some_and(|unit| fits(number, unit)) {
            return false;
        }
        rest = after;
    }
}

/// Splits off the digits of a number or clock time, without their sign.
fn amount(text: &str) -> (&str, &str) {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':')).unwrap_or(unsigned.len());
    unsigned.split_at(end)
}

/// Checks for digits with an optional fraction.
fn is_number(text: &str) -> bool {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    is_plain(integer) && is_plain(fraction)
}

fn is_zoned_time(text: &str, places: u32) -> bool {
    let text = text.trim();
    let Some(zone_at) = text.find(['+', '-', 'Z', 'z']) else { return false };
    let (clock, zone) = text.split_at(zone_at);
    let is_offset = zone[1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let has_digits = matches!(zone, "Z" | "z") || zone.starts_with(['+', '-']) && zone.len() > 1;
    let micros = calendar::time(clock.trim_end());
    is_offset && has_digits && micros.is_some_and(|micros| micros % 10_i64.pow(6 - places.min(6)) == 0)
}

/// Checks for an amount with at most two decimal places, such as `-$1,234.50`.
fn is_money(text: &str) -> bool {
    let text = text.trim();
    let text = text.strip_prefix('-').unwrap_or(text);
    let text = text.strip_prefix('$').unwrap_or(text);
    let (integer, cents) = text.split_once('.').unwrap_or((text, "0"));
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = integer.split(',');
    let first = groups.next().unwrap_or_default();
    let has_groups = integer.contains(',');
    is_plain(first)
        && (!has_groups || first.len() <= 3)
        && groups.all(|group| is_plain(group) && group.len() == 3)
        && is_plain(cents)
        && cents.len() <= 2
}

/// Checks that doubles keep all numbers of the text.
fn has_doubles(text: &str) -> bool {
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    let mut numbers = text.split(|c: char| !is_of_number(c)).filter(|word| word.contains(|c: char| c.is_ascii_digit()));
    numbers.all(|number| Digits::of(number).is_some_and(|digits| digits.double(number).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_would_lose_units_are_rejected() {
        for text in [
            "1 year 2 mons 3 days 04:05:06.5",
            "-1 days -02:00:00",
            "@ 1 day ago",
            "P1Y2M3DT4H5M6.5S",
            "00:00:00",
            "1 12:00:00",
            "1h30m",
            "90 seconds",
        ] {
            assert!(is_interval(text, Unit::Second, 6), "{text}");
        }
        for text in ["", "1-2", "1.5 years", "0.0000001 s", "1e-7 s", "1 x", "1", "00:00:00.1234567", "P1.5D", "ago"] {
            assert!(!is_interval(text, Unit::Second, 6), "{text}");
        }
        assert!(!is_interval("00:00:01.5", Unit::Second, 0) && is_interval("00:00:02.0", Unit::Second, 0));
        assert!(!is_interval("1 year 2 mons 3 days", Unit::Month, 6) && is_interval("1 year 2 mons", Unit::Month, 6));
        assert!(!is_interval("00:01:59", Unit::Minute, 6) && is_interval("00:01:00", Unit::Minute, 6));
    }

    #[test]
    fn lossy_literals_are_rejected() {
        let of = |word: &str, places| Literal::of(word, places).expect(word);
        for (literal, text) in [
            (of("time with time zone", 0), "12:00:00+00"),
            (of("time with time zone", 6), "12:00:00.123456-05:30"),
            (of("money", 6), "-$1,234.50"),
            (of("money", 6), "1.5"),
            (of("\"char\"", 6), "a"),
            (of("point", 6), "(0.1,-Infinity)"),
            (of("tsrange", 6), "[\"2013-02-08 11:00:00\",)"),
            (of("tstzrange", 6), "[\"2013-02-08 11:00:00+00\",\"2013-02-09 11:00:00.5+00\")"),
            (of("datemultirange", 6), "{[2013-02-08,2013-02-10),(,infinity)}"),
            (of("int4range", 6), "empty"),
            (of("hstore", 6), "\"a\"=>\"1\", b=>NULL, \"=>\"=>\",\""),
            (of("hstore", 6), ""),
            (Literal::Record("numeric(5,2)\ntext\ninteger[]"), "(1.00,\"a \"\"b\",\"{1,2}\")"),
            (Literal::Record("numeric(5,2)\nd"), "(1.00,)"),
        ] {
            assert_eq!(literal.check(text), Ok(()), "{text}");
        }
        for (literal, text) in [
            (of("time with time zone", 0), "12:00:00.7+00"),
            (of("time with time zone", 6), "12:00:00"),
            (of("time with time zone", 6), "now"),
            (of("money", 6), "1.005"),
            (of("money", 6), "1,5"),
            (of("\"char\"", 6), "ab"),
            (of("name", 6), &"a".repeat(64)),
            (of("point", 6), "(9007199254740993,0)"),
            (of("tsrange", 6), "[2013-02-08 11:00:00+05,)"),
            (of("tsrange", 6), "[2013-02-08 11:00:00.1234567,)"),
            (of("daterange", 6), "[\"2013-02-08 11:00:00\",)"),
            (of("public.hstore", 6), "a=>1, \"a\"=>2"),
            (Literal::Record("numeric(5,2)"), "(1.005)"),
            (Literal::Record("d"), "(1.00)"),
        ] {
            assert!(literal.check(text).is_err(), "{text}");
        }
        assert!(is_known("numeric(5,2)[]") && is_known("bit(3)") && is_known("interval(3)"));
        assert!(!is_known("d") && !is_known("public.d[]"));
    }

    #[test]
    fn array_elements_are_validated() {
        let of = |text: &str| elements(text);
        let some = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(of("{1,NULL,\"NULL\",\"a \\\" \\\\ ,}\"}"), some(&["1", "NULL", "a \" \\ ,}"]));
        assert_eq!(of("[0:1][2:3]={{1,2},{ 3 ,4}}"), some(&["1", "2", "3", "4"]));
        assert_eq!((of("{}"), of("{{},{}}")), (some(&[]), some(&[])));
        for text in ["", "{", "{1", "{1}}", "{1} x", "[0:1]", "{\"a}", "1"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
