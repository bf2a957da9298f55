//! Text form of floats, the same in all outputs.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_have_a_canonical_format() {
        assert_eq!(float_text(0.1), "0.1");
        assert_eq!(float_text(1.0), "1.0");
        assert_eq!(float_text(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(float_text(f64::INFINITY), "Infinity");
        assert_eq!(float_text(-f64::NAN), "NaN");
    }
}
