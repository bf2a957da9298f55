//! Numbers that a column stores exactly.

use blockyard_sdk::sql::{Value as SqlValue, float_text};

use super::{ColumnType, Converted, boolean, shown};
use crate::Dialect;
use crate::number::Digits;

impl ColumnType<'_> {
    pub(super) fn float(self, trimmed: &str, text: &str) -> Converted {
        if let Some(word) = float_word(trimmed) {
            return Ok(SqlValue::Float(word));
        }
        // A double preserves any 15 significant digits.
        const PRESERVED_DIGITS: usize = 15;
        let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        if self == Self::Double
            && trimmed.len() <= PRESERVED_DIGITS
            && trimmed.bytes().all(plain)
            && let Ok(float) = trimmed.parse()
        {
            return Ok(SqlValue::Float(float));
        }
        let digits = Digits::of(trimmed).ok_or_else(|| format!("`{}` is not {}", shown(text), self.singular()))?;
        let float = match self {
            Self::Single => digits.single(trimmed).map(f64::from),
            _ => digits.double(trimmed),
        };
        float.map(SqlValue::Float).ok_or_else(|| too_many_digits(text))
    }
}

/// Parses NaN and the infinities in common spellings.
fn float_word(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "infinity" | "inf" | "+infinity" | "+inf" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

pub(super) fn decimal(dialect: Dialect, text: &str, precision: Option<i64>, scale: Option<i64>) -> Converted {
    if let Some(word) = float_word(text) {
        return match dialect {
            Dialect::Postgres => Ok(SqlValue::Decimal(float_text(word))),
            _ => Err(format!("`{text}` is not a decimal number")),
        };
    }
    let digits = Digits::of(text).ok_or_else(|| format!("`{}` is not a number", shown(text)))?;
    if let Some(scale) = scale.filter(|scale| !digits.fits_scale(*scale)) {
        return Err(format!("`{}` has more than the {scale} decimal places of the column", shown(text)));
    }
    if let Some(integer_digits) = precision.map(|precision| precision - scale.unwrap_or(0))
        && !digits.is_below_power(integer_digits)
    {
        if integer_digits < 0 {
            return Err(format!("`{}` is not less than the 1e{integer_digits} of the column", shown(text)));
        }
        return Err(format!(
            "`{}` has more than the {integer_digits} digits before the decimal point of the column",
            shown(text)
        ));
    }
    Ok(SqlValue::Decimal(plain(text)))
}

/// Maximum number of digits that a number is expanded to instead of keeping its exponent.
const PLAIN_DIGITS: i64 = 2_000;

/// Returns a number without an exponent, with unchanged precision.
pub(super) fn plain(text: &str) -> String {
    match Digits::of(text) {
        Some(digits) if text.contains(['e', 'E']) && digits.integer_digits().max(digits.scale()) <= PLAIN_DIGITS => {
            digits.plain()
        }
        _ => text.strip_prefix('+').unwrap_or(text).to_owned(),
    }
}

/// Converts a string for a SQLite column with numeric affinity.
pub(super) fn affinity(text: String, real: bool, is_boolean: bool) -> Converted {
    if is_boolean && let Some(boolean) = boolean(&text).filter(|_| !text.bytes().all(|byte| byte.is_ascii_digit())) {
        return Ok(SqlValue::Boolean(boolean));
    }
    if real && let Some(word) = float_word(&text) {
        return Ok(SqlValue::Float(word));
    }
    let Some(digits) = Digits::of(text.trim()) else { return Ok(SqlValue::Text(text)) };
    let double = || digits.double(text.trim()).map(SqlValue::Float).ok_or_else(|| too_many_digits(&text));
    match digits.integer().and_then(|integer| i64::try_from(integer).ok()) {
        Some(integer) if !real => Ok(SqlValue::Integer(integer)),
        _ => double(),
    }
}

fn too_many_digits(text: &str) -> String {
    format!("`{}` has more digits than a floating-point number keeps", shown(text))
}
