//! Binary format of `numeric`.

/// Values of the sign field in the binary format of `numeric` (`src/backend/utils/adt/numeric.c`,
/// `numeric_send`).
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Decodes the binary format: digits of base 10,000, the weight of the first digit, a sign and the
/// scale.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let word = |index: usize| Some(u16::from_be_bytes(bytes.get(2 * index..2 * index + 2)?.try_into().ok()?));
    let count = usize::from(word(0)?);
    #[allow(clippy::cast_possible_wrap, reason = "the format sends it as a signed word")]
    let weight = word(1)? as i16;
    let sign = word(2)?;
    let scale = usize::from(word(3)?);
    match sign {
        NAN => return Some("NaN".to_owned()),
        INFINITY => return Some("Infinity".to_owned()),
        NEGATIVE_INFINITY => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let digits = (0..count).map(|index| word(4 + index)).collect::<Option<Vec<u16>>>()?;
    let digit = |group: i32| {
        usize::try_from(i32::from(weight) - group).ok().and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let mut text = String::new();
    if sign == NEGATIVE {
        text.push('-');
    }
    let integer: String = (0..=i32::from(weight).max(0)).rev().map(|group| format!("{:04}", digit(group))).collect();
    let integer = integer.trim_start_matches('0');
    text.push_str(if integer.is_empty() { "0" } else { integer });
    if scale > 0 {
        let groups_after_point = i32::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=groups_after_point).map(|group| format!("{:04}", digit(-group))).collect();
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

pub(super) fn encode(text: &str) -> Option<Vec<u8>> {
    let header = |count: u16, weight: i16, sign: u16, scale: u16| {
        [count.to_be_bytes(), weight.to_be_bytes(), sign.to_be_bytes(), scale.to_be_bytes()].concat()
    };
    match text {
        "NaN" => return Some(header(0, 0, NAN, 0)),
        "Infinity" | "inf" => return Some(header(0, 0, INFINITY, 0)),
        "-Infinity" | "-inf" => return Some(header(0, 0, NEGATIVE_INFINITY, 0)),
        _ => {}
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (NEGATIVE, rest),
        None => (0, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() < 20_000)?),
        None => (rest, 0),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if integer.is_empty() && fraction.is_empty() || !all_digits(integer) || !all_digits(fraction) {
        return None;
    }
    // All digits, and the position of the decimal point among them.
    let mut digits = format!("{integer}{fraction}");
    let mut point = i32::try_from(integer.len()).ok()? + exponent;
    let scale = (i32::try_from(digits.len()).ok()? - point).max(0);
    if point < 0 {
        digits.insert_str(0, &"0".repeat(usize::try_from(-point).ok()?));
        point = 0;
    }
    let point = usize::try_from(point).ok()?;
    if digits.len() < point {
        digits.push_str(&"0".repeat(point - digits.len()));
    }
    let (integer, fraction) = digits.split_at(point);
    let integer = format!("{}{integer}", "0".repeat((4 - integer.len() % 4) % 4));
    let fraction = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let groups = |part: &str| -> Vec<u16> {
        part.as_bytes()
            .chunks(4)
            .map(|group| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')))
            .collect()
    };
    let mut weight = i32::try_from(integer.len() / 4).ok()? - 1;
    let mut words: Vec<u16> = groups(&integer);
    words.extend(groups(&fraction));
    let leading = words.iter().take_while(|word| **word == 0).count();
    words.drain(..leading);
    weight -= i32::try_from(leading).ok()?;
    while words.last() == Some(&0) {
        words.pop();
    }
    if words.is_empty() {
        weight = 0;
    }
    let mut bytes = header(
        words.len().try_into().ok()?,
        weight.try_into().ok()?,
        if words.is_empty() { 0 } else { sign },
        scale.try_into().ok()?,
    );
    for word in words {
        bytes.extend(word.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numerics_round_trip_with_their_scale(integer in "(0|[1-9][0-9]{0,24})", fraction in "([0-9]{0,20})", negative in any::<bool>()) {
            let zero = integer == "0" && fraction.bytes().all(|b| b == b'0');
            let sign = if negative && !zero { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let text = format!("{sign}{integer}{point}{fraction}");
            let encoded = encode(&text).expect("a decimal");
            prop_assert_eq!(decode(&encoded), Some(text));
        }

        #[test]
        fn the_decoder_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn the_encoder_does_not_panic(text in "\\PC{0,30}") {
            let _ = encode(&text);
        }
    }

    #[test]
    fn exponents_are_written_out() {
        let through = |text: &str| encode(text).as_deref().and_then(decode);
        assert_eq!(through("1e3").as_deref(), Some("1000"));
        assert_eq!(through("1.5e-3").as_deref(), Some("0.0015"));
        assert_eq!(through("-Infinity").as_deref(), Some("-Infinity"));
        assert_eq!(through("NaN").as_deref(), Some("NaN"));
    }
}
