//! Inference of column types from strings. A column becomes numeric or boolean only if formatting
//! the parsed values reproduces every string, and a date or timestamp only if every string is a
//! valid one. Other columns remain strings, so that codes such as `00501`, `557E90` and `1.10` are
//! preserved.

use crate::Dialect;
use crate::kind::Kind;
use crate::number;
use blockyard_sdk::calendar;

/// A format that all strings of a column have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Integer,
    /// Doubles in the format of a program.
    Float(Printer),
    /// Doubles with a fixed number of decimal places.
    FloatPlaces(usize),
    /// Doubles as `d.dde±xx`, with a fixed number of decimal places.
    FloatScientific {
        places: usize,
        upper: bool,
    },
    /// Exact numbers without trailing zeros.
    Decimal,
    /// Exact numbers with a fixed number of decimal places.
    DecimalPlaces(usize),
    Boolean,
    Date,
    Timestamp,
    Instant,
    Text,
}

/// Format in which a program prints doubles: the shortest digits, with an exponent outside of a
/// range of powers of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Printer {
    /// Integral values end in `.0`.
    point: bool,
    /// Range of powers of ten that are printed without an exponent.
    plain: (i32, i32),
    /// Letter `e` or `E`, and whether a positive exponent has a `+`.
    exponent: (char, bool),
    /// Minimum number of digits of an exponent.
    digits: usize,
}

const fn printer(point: bool, plain: (i32, i32), exponent: (char, bool), digits: usize) -> Printer {
    Printer { point, plain, exponent, digits }
}

/// Uses an exponent if the text is shorter with it.
const SHORTER: (i32, i32) = (0, -1);
/// Formats of programs that write CSV.
const PRINTERS: [Printer; 17] = [
    // Rust's `Display`, which never uses an exponent.
    printer(false, (i32::MIN, i32::MAX), ('e', false), 1),
    // Rust's `Debug`, serde_json, arrow-rs, Polars.
    printer(true, (-5, 15), ('e', false), 1),
    // `unload` and JSON output of Blockyard.
    printer(true, (-5, 15), ('e', true), 1),
    printer(true, (-4, 15), ('e', false), 1),
    // Python, pandas, pyarrow, DuckDB.
    printer(true, (-4, 15), ('e', true), 2),
    // PostgreSQL; C's `%.17g` and variants with fewer digits.
    printer(false, (-4, 14), ('e', true), 2),
    printer(false, (-4, 16), ('e', true), 2),
    printer(false, (-4, 5), ('e', true), 2),
    printer(true, (-4, 14), ('e', true), 2),
    printer(true, (-4, 16), ('e', true), 2),
    // JavaScript, Go.
    printer(false, (-6, 20), ('e', true), 1),
    printer(false, (-4, 20), ('e', true), 2),
    // Java.
    printer(true, (-3, 6), ('E', false), 1),
    // .NET, spreadsheets.
    printer(false, (-5, 14), ('E', true), 2),
    printer(false, (-4, 10), ('E', true), 2),
    // R.
    printer(false, SHORTER, ('e', true), 2),
    // MySQL.
    printer(false, (-15, 14), ('e', false), 1),
];

/// Accepted spellings of booleans; other spellings could not be reproduced.
const BOOLEANS: [&str; 2] = ["true", "false"];

/// Formats that match all strings of a column so far. They have the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Styles(Vec<Style>);

/// Returns the formats that match all strings. Null values must be omitted.
pub(crate) fn of_texts<'text>(texts: impl Iterator<Item = &'text str>, dialect: Dialect) -> Styles {
    let text = || Styles(vec![Style::Text]);
    let mut left: Option<Styles> = None;
    let (mut has_words, mut measured, mut long) = (false, false, false);
    for next in texts {
        if dialect == Dialect::Sqlite && is_minus_zero(next) {
            return text();
        }
        if is_word(next) {
            has_words = true;
            if !accepts_word(dialect, next) {
                return text();
            }
            continue;
        }
        measured |= next.contains(['.', 'e', 'E']);
        long |= next.parse::<i64>().is_err();
        if !left.get_or_insert_with(|| Styles(candidates(next))).narrow(next) {
            return text();
        }
    }
    // A column with only `NaN` or infinities may contain names.
    let Some(Styles(mut left)) = left else { return text() };
    left.retain(|style| !has_words || style.kind() == Kind::Float);
    // Integers of more than 64 bits are usually keys, so they do not become doubles even if a
    // double has the same digits.
    left.retain(|style| measured || !long || style.kind() != Kind::Float);
    let Some(kind) = left.first().map(|style| style.kind()) else { return text() };
    left.retain(|style| style.kind() == kind);
    Styles(left)
}

impl Styles {
    pub(crate) fn kind(&self) -> Kind {
        self.0.first().map_or(Kind::Text, |style| style.kind())
    }

    /// Removes the formats that do not match another string. Returns `true` if at least one is
    /// left.
    pub(crate) fn narrow(&mut self, text: &str) -> bool {
        if self.kind() == Kind::Float && is_word(text) {
            return true;
        }
        let is_common = is_common(text);
        self.0.retain(|style| matches!(style, Style::Float(_)) && is_common || style.is_of(text));
        !self.0.is_empty()
    }
}

/// Checks whether all printers print this text: a fraction of moderate magnitude.
fn is_common(text: &str) -> bool {
    let fraction = text.contains('.') && !text.ends_with('0') && !text.contains(['e', 'E']);
    fraction && float(text).is_some_and(|float| (1e-3..1e5).contains(&float.abs()) && float.to_string() == text)
}

/// Returns the formats that the number of decimal places of the first string permits.
fn candidates(first: &str) -> Vec<Style> {
    let places = places(first);
    let mut styles = vec![Style::Integer];
    styles.extend(PRINTERS.map(Style::Float));
    if let Some(places) = places {
        styles.push(Style::FloatPlaces(places));
        styles.push(Style::FloatScientific { places, upper: false });
        styles.push(Style::FloatScientific { places, upper: true });
    }
    styles.push(Style::Decimal);
    styles.extend(places.map(Style::DecimalPlaces));
    styles.extend([Style::Boolean, Style::Date, Style::Timestamp, Style::Instant]);
    styles
}

/// Returns the number of digits after the decimal point.
fn places(text: &str) -> Option<usize> {
    let fraction = text.split_once('.')?.1;
    Some(fraction.bytes().take_while(u8::is_ascii_digit).count()).filter(|places| (1..=40).contains(places))
}

/// Checks for a negative zero, whose sign numeric columns of SQLite drop.
pub(crate) fn is_minus_zero(text: &str) -> bool {
    text.starts_with('-') && float(text) == Some(0.0)
}

/// Checks for NaN and the infinities.
pub(crate) fn is_word(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

/// Checks whether the database stores NaN and the infinities: SQLite stores NaN as null, MySQL
/// supports neither.
pub(crate) fn accepts_word(dialect: Dialect, word: &str) -> bool {
    match dialect {
        Dialect::Postgres => true,
        Dialect::Sqlite => word != "NaN",
        Dialect::Mysql => false,
    }
}

impl Style {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Integer => Kind::Integer,
            Self::Float(_) | Self::FloatPlaces(_) | Self::FloatScientific { .. } => Kind::Float,
            Self::Decimal | Self::DecimalPlaces(_) => Kind::Decimal,
            Self::Boolean => Kind::Boolean,
            Self::Date => Kind::Date,
            Self::Timestamp => Kind::Timestamp,
            Self::Instant => Kind::Instant,
            Self::Text => Kind::Text,
        }
    }

    /// Checks whether a string has this format.
    pub(crate) fn is_of(self, text: &str) -> bool {
        match self {
            Self::Integer => text.parse::<i64>().is_ok_and(|number| number.to_string() == text),
            Self::Float(printer) => float(text).is_some_and(|float| printer.print(float) == text),
            Self::FloatPlaces(places) => float(text).is_some_and(|float| format!("{float:.places$}") == text),
            Self::FloatScientific { places, upper } => {
                float(text).is_some_and(|float| scientific(float, places, upper) == text)
            }
            Self::Decimal => number::is_plain(text) && !(text.contains('.') && text.ends_with('0')),
            Self::DecimalPlaces(expected) => number::is_plain(text) && places(text) == Some(expected),
            Self::Boolean => BOOLEANS.contains(&text),
            Self::Date => calendar::date(text).is_some(),
            Self::Timestamp => calendar::timestamp(text).is_some_and(|moment| moment.offset_minutes.is_none()),
            Self::Instant => calendar::timestamp(text).is_some_and(|moment| moment.offset_minutes.is_some()),
            Self::Text => true,
        }
    }
}

/// Parses a finite double that starts with a digit, after an optional minus sign.
fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let first = digits.bytes().next()?;
    first.is_ascii_digit().then(|| text.parse().ok()).flatten().filter(|float: &f64| float.is_finite())
}

/// Formats like C's `%.*e`.
fn scientific(float: f64, places: usize, upper: bool) -> String {
    let text = format!("{float:.places$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}{}{sign}{digits:0>2}", if upper { 'E' } else { 'e' })
}

impl Printer {
    fn print(self, float: f64) -> String {
        let shortest = format!("{float:e}");
        let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
        let power: i32 = exponent.parse().unwrap_or_default();
        let (letter, plus) = self.exponent;
        let sign = if power < 0 {
            "-"
        } else if plus {
            "+"
        } else {
            ""
        };
        let point = if letter == 'E' && self.point && !mantissa.contains('.') { ".0" } else { "" };
        let with_exponent = format!("{mantissa}{point}{letter}{sign}{:0>1$}", power.unsigned_abs(), self.digits);
        let plain = || {
            let plain = format!("{float}");
            if self.point && !plain.contains('.') { plain + ".0" } else { plain }
        };
        match self.plain {
            SHORTER => Some(plain()).filter(|plain| plain.len() <= with_exponent.len()).unwrap_or(with_exponent),
            (low, high) if (low..=high).contains(&power) => plain(),
            _ => with_exponent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(texts: &[&str]) -> Kind {
        of_texts(texts.iter().copied(), Dialect::Postgres).kind()
    }

    #[test]
    fn strings_that_round_trip_as_numbers_become_numbers() {
        for (texts, expected) in [
            (&["1", "-20", "0"][..], Kind::Integer),
            (&["1", "2.5"], Kind::Float),
            (&["1.0", "2.5", "1e+16"], Kind::Float),
            (&["10.5", "9.25", "0.30000000000000004"], Kind::Float),
            (&["1.50", "2.00", "-0.25"], Kind::Float),
            (&["1e-07", "0.5"], Kind::Float),
            (&["1.0E10", "2.5E-5"], Kind::Float),
            (&["1.234560e+00", "-9.100000e-12"], Kind::Float),
            (&["1e16", "0.1"], Kind::Float),
            (&["0.1", "NaN", "-Infinity"], Kind::Float),
            (&["NaN", "NaN"], Kind::Text),
            (&["NaN", "abc"], Kind::Text),
            (&["1", "NaN"], Kind::Float),
            (&["1.1", "1.10"], Kind::Text),
            (&["1", "1.0"], Kind::Text),
            (&["1.50", "2"], Kind::Text),
            (&["557E90", "314659", "12E12"], Kind::Text),
            (&["557e90"], Kind::Text),
            (&["1e5", "3e7"], Kind::Text),
            (&["1E5"], Kind::Text),
            (&["00501"], Kind::Text),
            (&["-0"], Kind::Float),
            (&["-0", "9223372036854775808"], Kind::Text),
            (&["+1"], Kind::Text),
            (&["1_000"], Kind::Text),
            (&["0x1F"], Kind::Text),
            (&[" 1"], Kind::Text),
            (&["1 "], Kind::Text),
            (&["."], Kind::Text),
            (&[".5"], Kind::Text),
            (&["5."], Kind::Text),
            (&["1,5"], Kind::Text),
            (&["٣"], Kind::Text),
            (&["inf"], Kind::Text),
            (&["nan", "1.5"], Kind::Text),
            (&["1e400"], Kind::Text),
            (&["9223372036854775807"], Kind::Integer),
            (&["9223372036854775809"], Kind::Decimal),
            (&["100000000000000000000000", "1"], Kind::Decimal),
            (&["12345678901234567000"], Kind::Decimal),
            (&["9007199254740993", "0.5"], Kind::Decimal),
            (&["1", "12345678.1234567890123"], Kind::Decimal),
            (&["12345678901234567.10", "0.25"], Kind::Decimal),
            (&["1e3", "12345678901234567890"], Kind::Text),
            (&[], Kind::Text),
        ] {
            assert_eq!(kind(texts), expected, "{texts:?}");
        }
    }

    #[test]
    fn kind_requires_the_same_format_in_all_values() {
        for (texts, expected) in [
            (&["true", "false"][..], Kind::Boolean),
            (&["true", "FALSE"], Kind::Text),
            (&["True", "False"], Kind::Text),
            (&["true", "1"], Kind::Text),
            (&["2013-02-08", "+15000-12-31", "-0043-03-15"], Kind::Date),
            (&["2013-02-30"], Kind::Text),
            (&["2013-02-08 11:00:00", "2013-02-08T11:00:00.5"], Kind::Timestamp),
            (&["2013-02-08T11:00:00.1234567"], Kind::Text),
            (&["2013-02-08T11:00:60"], Kind::Text),
            (&["2013-02-08T11:00:00Z", "2013-02-08T11:00:00+01:00"], Kind::Instant),
            (&["2013-02-08T11:00:00Z", "2013-02-08T11:00:00"], Kind::Text),
            (&["1", "x"], Kind::Text),
        ] {
            assert_eq!(kind(texts), expected, "{texts:?}");
        }
        let in_sqlite = |texts: &[&str]| of_texts(texts.iter().copied(), Dialect::Sqlite).kind();
        assert_eq!(in_sqlite(&["0.5", "NaN"]), Kind::Text);
        assert_eq!((in_sqlite(&["-0.0", "0.5"]), in_sqlite(&["-0.5", "0.0"])), (Kind::Text, Kind::Float));
        assert_eq!(in_sqlite(&["0.5", "Infinity"]), Kind::Float);
    }

    #[test]
    fn later_values_may_narrow_the_style() {
        let mut styles = of_texts(["0.5", "12.25"].into_iter(), Dialect::Sqlite);
        assert!(styles.narrow("5.188912636955312e-05") && styles.narrow("1.0") && styles.narrow("-Infinity"));
        assert!(!styles.narrow("1"), "whole numbers had a point before");
        let mut styles = of_texts(["1.50", "2.25"].into_iter(), Dialect::Sqlite);
        assert!(styles.narrow("3.00") && !styles.narrow("3.5"));
    }

    proptest! {
        /// Doubles are recognized in the format of each printer.
        #[test]
        fn printed_doubles_are_inferred_as_floats(floats in proptest::collection::vec(proptest::num::f64::NORMAL, 1..5), at in 0..PRINTERS.len()) {
            let texts: Vec<String> = floats.iter().map(|float| PRINTERS[at].print(*float)).collect();
            let kind = of_texts(texts.iter().map(String::as_str), Dialect::Postgres).kind();
            let integers = texts.iter().all(|text| !text.contains(['.', 'e', 'E']));
            prop_assert!(kind == Kind::Float || integers && kind != Kind::Text, "{:?} {:?}", texts, kind);
        }

        /// A text that `is_common` accepts is printed in the same way by all printers.
        #[test]
        fn common_forms_are_identical_in_all_printers(float in -1e5f64..1e5) {
            let text = float.to_string();
            if is_common(&text) {
                for printer in PRINTERS {
                    prop_assert_eq!(printer.print(float), text.as_str());
                }
            }
        }

        /// Two different strings never become the same number.
        #[test]
        fn different_strings_do_not_become_the_same_number(one in "-?[0-9]{1,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{1,2})?", other in "-?[0-9]{1,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{1,2})?") {
            let kind = of_texts([one.as_str(), other.as_str()].into_iter(), Dialect::Postgres).kind();
            if matches!(kind, Kind::Float | Kind::Integer | Kind::Decimal) && one != other {
                let values: [f64; 2] = [one.parse().expect("a number"), other.parse().expect("a number")];
                prop_assert!(values[0] != values[1] || values[0] == 0.0, "{} {} {:?}", one, other, kind);
            }
        }
    }
}
