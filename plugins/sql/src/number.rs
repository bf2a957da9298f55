//! Numbers as text: their significant digits, and whether a float type preserves them.

/// Significant digits of a number without leading and trailing zeros, its power of ten and its
/// sign. Zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digits {
    negative: bool,
    digits: String,
    /// Power of ten of the last digit.
    exponent: i64,
}

impl Digits {
    /// Parses a number such as `-12.50e3`; returns `None` for any other text.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if integer.len() + fraction.len() == 0 || !plain(integer) || !plain(fraction) {
            return None;
        }
        let all = format!("{integer}{fraction}");
        let significant = all.trim_end_matches('0');
        let exponent = i64::from(exponent) - fraction.len() as i64 + (all.len() - significant.len()) as i64;
        let digits = significant.trim_start_matches('0').to_owned();
        let exponent = if digits.is_empty() { 0 } else { exponent };
        Some(Self { negative: negative && !digits.is_empty(), digits, exponent })
    }

    /// Returns the number of digits required after the decimal point.
    pub(crate) fn scale(&self) -> i64 {
        (-self.exponent).max(0)
    }

    /// Checks whether a column with this scale, which may be negative in PostgreSQL, preserves the
    /// number.
    pub(crate) fn fits_scale(&self, scale: i64) -> bool {
        self.digits.is_empty() || self.exponent >= -scale
    }

    /// Returns the number of digits required before the decimal point.
    pub(crate) fn integer_digits(&self) -> i64 {
        (self.digits.len() as i64 + self.exponent).max(0)
    }

    /// Checks whether the number is less than this power of ten.
    pub(crate) fn is_below_power(&self, power: i64) -> bool {
        self.digits.is_empty() || self.digits.len() as i64 + self.exponent <= power
    }

    /// Returns the number as a 128-bit integer, if it is one.
    pub(crate) fn integer(&self) -> Option<i128> {
        if self.exponent < 0 || self.integer_digits() > 38 {
            return None;
        }
        self.plain().parse().ok()
    }

    /// Formats without an exponent. Only for numbers with a bounded number of digits.
    pub(crate) fn plain(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        if self.exponent >= 0 {
            return format!("{sign}{}{}", self.digits, "0".repeat(usize::try_from(self.exponent).unwrap_or(0)));
        }
        let scale = usize::try_from(self.scale()).unwrap_or(0);
        let padded = format!("{:0>width$}", self.digits, width = scale + 1);
        let (integer, fraction) = padded.split_at(padded.len() - scale);
        format!("{sign}{integer}.{fraction}")
    }

    /// Returns the double that reproduces the digits, in its shortest form or with the same number
    /// of digits.
    pub(crate) fn double(&self, text: &str) -> Option<f64> {
        let float: f64 = text.parse().ok().filter(|float: &f64| float.is_finite())?;
        self.round_trips(&format!("{float:e}"), |places| format!("{float:.places$e}")).then_some(float)
    }

    /// Returns the 32-bit float that reproduces the digits.
    pub(crate) fn single(&self, text: &str) -> Option<f32> {
        let float: f32 = text.parse().ok().filter(|float: &f32| float.is_finite())?;
        self.round_trips(&format!("{float:e}"), |places| format!("{float:.places$e}")).then_some(float)
    }

    fn round_trips(&self, shortest: &str, with_places: impl Fn(usize) -> String) -> bool {
        // Python's `%.17g` and C's `%.18e` print more digits than required; they are still exact
        // digits of the double.
        let exact = (16..=1_100).contains(&self.digits.len());
        Self::of(shortest).as_ref() == Some(self)
            || exact && Self::of(&with_places(self.digits.len() - 1)).as_ref() == Some(self)
            || exact && Self::of(&with_places(self.digits.len())).as_ref() == Some(self)
    }
}

/// Checks for digits with an optional minus sign and decimal point, without leading zeros. Excludes
/// negative zero.
pub(crate) fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let zero = text.starts_with('-') && digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    plain(integer) && plain(fraction) && (integer == "0" || !integer.starts_with('0')) && !zero
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_with_equal_digits_are_equal() {
        let of = |text: &str| Digits::of(text).expect(text);
        assert_eq!(of("1.50"), of("15e-1"));
        assert_eq!(of("-0"), of("0.00"));
        assert_eq!((of("12.50").scale(), of("12.50").integer_digits()), (1, 2));
        assert_eq!((of("0.05").scale(), of("0.05").integer_digits()), (2, 0));
        assert_eq!((of("1e3").scale(), of("1e3").integer_digits(), of("1e3").integer()), (0, 4, Some(1000)));
        assert_eq!((of("-5.0").integer(), of("5.5").integer()), (Some(-5), None));
        assert_eq!(
            (of("0.05").plain(), of("-12e2").plain(), of("1.50").plain()),
            ("0.05".into(), "-1200".into(), "1.5".into())
        );
        assert!(of("0.00099").is_below_power(-3) && !of("0.001").is_below_power(-3) && of("0").is_below_power(-3));
        for text in ["", "-", ".", "e5", "1e", "1_0", "0x1", "1.2.3", " 1", "1e99999999999"] {
            assert_eq!(Digits::of(text), None, "{text}");
        }
    }

    #[test]
    fn lossy_conversion_to_floats_is_rejected() {
        let double = |text: &str| Digits::of(text).and_then(|digits| digits.double(text));
        for text in ["0.1", "0.30000000000000004", "9007199254740992", "1e22", "0.10000000000000001", "5e-324"] {
            assert!(double(text).is_some(), "{text}");
        }
        assert!(double("0.10000000000000000555").is_some());
        for text in ["9007199254740993", "0.1234567890123456789", "1e400", "12345678901234567890123"] {
            assert_eq!(double(text), None, "{text}");
        }
        let single = |text: &str| Digits::of(text).and_then(|digits| digits.single(text));
        assert!(single("0.1").is_some() && single("16777216").is_some());
        assert!(single("16777217").is_none() && single("0.123456789").is_none() && single("1e39").is_none());
    }

    proptest! {
        #[test]
        fn every_double_round_trips(float in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            for text in [format!("{float}"), format!("{float:e}"), format!("{float:.16e}"), format!("{float:.20e}")] {
                prop_assert_eq!(Digits::of(&text).and_then(|digits| digits.double(&text)), Some(float), "{}", text);
            }
        }

        #[test]
        fn plain_notation_is_the_same_number(text in "-?[0-9]{1,20}(\\.[0-9]{1,20})?(e-?[0-9]{1,2})?") {
            let digits = Digits::of(&text).expect("a number");
            prop_assert_eq!(Digits::of(&digits.plain()), Some(digits));
        }
    }
}
