//! Validation of arguments.

use blockyard_sdk::prelude::*;

/// Validates a generation, which is a 64-bit number.
pub(super) fn generation_number(text: String) -> Result<String> {
    match text.parse::<u64>() {
        Ok(0) => Err(Problem::invalid("generation 0 does not identify an object")
            .hint("use `if_absent` to require that the object does not exist")),
        Ok(_) => Ok(text),
        Err(_) => Err(Problem::invalid(format!("`{}` is not a valid generation", text.escape_debug()))),
    }
}

/// `Range` header (RFC 9110, section 14.2), or `None` for the entire object.
pub(super) fn byte_range(offset: Option<u64>, length: Option<u64>) -> Result<Option<String>> {
    let begin = offset.unwrap_or(0);
    Ok(match length {
        Some(0) => return Err(Problem::invalid("`length` must be at least 1")),
        Some(length) => {
            let end = begin
                .checked_add(length - 1)
                .ok_or_else(|| Problem::invalid("the end of the range is out of bounds"))?;
            Some(format!("bytes={begin}-{end}"))
        }
        None if begin == 0 => None,
        None => Some(format!("bytes={begin}-")),
    })
}

#[cfg(test)]
mod tests {
    use super::byte_range;

    #[test]
    fn byte_ranges_are_parsed() {
        let range = |offset, length| byte_range(offset, length).expect("a range");
        assert_eq!(range(None, None), None);
        assert_eq!(range(Some(0), None), None);
        assert_eq!(range(Some(5), None).as_deref(), Some("bytes=5-"));
        assert_eq!(range(Some(5), Some(3)).as_deref(), Some("bytes=5-7"));
        assert!(byte_range(None, Some(0)).is_err());
        assert!(byte_range(Some(u64::MAX), Some(2)).is_err());
    }
}
