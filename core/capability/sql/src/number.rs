//! Conversion between numeric types. A number is converted to a float only if the float has the
//! same decimal digits.

use blockyard_model::exact::is_same_number;
pub(super) use blockyard_model::literal::float_text;

/// Returns the double with the decimal digits of a 32-bit float: 0.1, not 0.10000000149011612.
pub(super) fn widened(value: f32) -> f64 {
    let exact = f64::from(value);
    let written = value.to_string().parse().unwrap_or(exact);
    #[allow(clippy::cast_possible_truncation, reason = "the result is compared with the original")]
    let same = (written as f32).to_bits() == value.to_bits();
    if same { written } else { exact }
}

/// Returns the double that is equal to this integer, if there is one.
pub(super) fn double_of_integer(value: i64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "a loss of precision is detected below")]
    let double = value as f64;
    #[allow(clippy::cast_possible_truncation, reason = "a 128-bit integer holds every double of this size")]
    let back = double as i128;
    (back == i128::from(value)).then_some(double)
}

/// Returns the double with the decimal digits of a string, or the value of a word such as `NaN`.
pub(super) fn double_of_text(text: &str) -> Option<f64> {
    let text = text.trim();
    let double: f64 = text.parse().ok()?;
    let exact = if double.is_finite() { is_same_number(text, &float_text(double)) } else { is_word(text) };
    exact.then_some(double)
}

/// Returns the 32-bit float that is equal to this double, or has its decimal digits.
pub(super) fn single_of_double(value: f64) -> Option<f32> {
    #[allow(clippy::cast_possible_truncation, reason = "a loss of precision is detected below")]
    let single = value as f32;
    if value.is_nan() || f64::from(single).to_bits() == value.to_bits() {
        return Some(single);
    }
    (single.is_finite() && is_same_number(&single.to_string(), &float_text(value))).then_some(single)
}

/// Returns the 32-bit float with the decimal digits of a string, or the value of a word such as
/// `NaN`.
pub(super) fn single_of_text(text: &str) -> Option<f32> {
    let text = text.trim();
    let single: f32 = text.parse().ok()?;
    let exact = if single.is_finite() { is_same_number(text, &single.to_string()) } else { is_word(text) };
    exact.then_some(single)
}

/// Checks whether a string is a word such as `NaN`, `Infinity` or `inf`: it has no digits. A number
/// out of range, which is parsed as infinity, has digits.
fn is_word(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn conversions_to_double_are_exact_or_rejected() {
        assert_eq!(double_of_integer(9_007_199_254_740_992), Some(9_007_199_254_740_992.0));
        assert_eq!(double_of_integer(9_007_199_254_740_993), None);
        assert_eq!(double_of_integer(i64::MAX), None);
        assert_eq!(double_of_integer(i64::MIN), Some(-9_223_372_036_854_775_808.0));
        for (text, double) in
            [("0.1", 0.1), ("1.50", 1.5), ("+5", 5.0), ("1e300", 1e300), ("-Infinity", f64::NEG_INFINITY)]
        {
            assert_eq!(double_of_text(text), Some(double), "{text}");
        }
        assert!(double_of_text("NaN").is_some_and(f64::is_nan));
        for text in ["9007199254740993", "0.12345678901234567890", "1e400", "x", ""] {
            assert_eq!(double_of_text(text), None, "{text}");
        }
        assert_eq!(single_of_text("0.1"), Some(0.1));
        assert_eq!(single_of_text("16777217"), None);
        assert_eq!(single_of_text("1e40"), None);
        assert_eq!(single_of_double(0.1), Some(0.1));
        assert_eq!(single_of_double(f64::from(0.1f32)), Some(0.1));
        assert_eq!(single_of_double(0.300_000_000_000_000_04), None);
        assert_eq!(single_of_double(1e300), None);
        assert_eq!(single_of_double(f64::INFINITY), Some(f32::INFINITY));
        assert!(is_same_number(&float_text(widened(0.1)), "0.1"));
    }

    proptest! {
        #[test]
        fn a_32_bit_float_round_trips(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(single_of_double(widened(value)).map(f32::to_bits), Some(bits));
            prop_assert_eq!(single_of_text(&value.to_string()).map(f32::to_bits), Some(bits));
        }

        #[test]
        fn a_double_round_trips(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(double_of_text(&float_text(value)).map(f64::to_bits), Some(bits));
        }
    }
}
