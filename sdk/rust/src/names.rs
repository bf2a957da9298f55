//! Checks of names at compile time, for the code that the macros generate. The message of a failed
//! check names the cause, so it is composed without an allocation.

/// Maximum length of a message in bytes. A longer one is truncated.
const MESSAGE_BYTES: usize = 512;

/// Message that is composed at compile time.
struct Message {
    bytes: [u8; MESSAGE_BYTES],
    length: usize,
}

impl Message {
    const fn new() -> Self {
        Self { bytes: [0; MESSAGE_BYTES], length: 0 }
    }

    const fn and(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() && self.length < MESSAGE_BYTES {
            self.bytes[self.length] = text[at];
            self.length += 1;
            at += 1;
        }
        self
    }

    const fn fail(&self) -> ! {
        match core::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => panic!("{}", text),
            Err(_) => panic!("a name is not valid"),
        }
    }
}

const fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Returns whether a list contains a name.
#[must_use]
pub const fn contains(names: &[&str], name: &str) -> bool {
    let mut at = 0;
    while at < names.len() {
        if equal(names[at], name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn any_contains(lists: &[&[&str]], name: &str) -> bool {
    let mut at = 0;
    while at < lists.len() {
        if contains(lists[at], name) {
            return true;
        }
        at += 1;
    }
    false
}

/// Requires that no name is in the lists twice.
///
/// # Panics
/// A name is in the lists twice. The message begins with `problem` and names it.
pub const fn require_unique(problem: &str, lists: &[&[&str]]) {
    let mut list = 0;
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            let (name, rest) = (lists[list][at], lists[list].split_at(at + 1).1);
            if contains(rest, name) || any_contains(lists.split_at(list + 1).1, name) {
                Message::new().and(problem).and(" `").and(name).and("`; rename one of them").fail();
            }
            at += 1;
        }
        list += 1;
    }
}

/// Requires that the lists contain all names.
///
/// # Panics
/// A name is missing. The message begins with `problem` and names it.
pub const fn require_all(problem: &str, required: &[&str], lists: &[&[&str]]) {
    let mut at = 0;
    while at < required.len() {
        if !any_contains(lists, required[at]) {
            Message::new().and(problem).and(" `").and(required[at]).and("`").fail();
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(check: impl Fn() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(check).expect_err("the check fails");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn a_duplicate_is_named() {
        require_unique("two", &[&["a", "b"], &[], &["c"]]);
        let expected = "two `b`; rename one of them";
        assert_eq!(message(|| require_unique("two", &[&["a", "b"], &["b"]])), expected);
        assert_eq!(message(|| require_unique("two", &[&["b", "a", "b"]])), expected);
    }

    #[test]
    fn a_missing_name_is_named() {
        require_all("lacks", &["a", "b"], &[&["b"], &["a", "c"]]);
        assert_eq!(message(|| require_all("lacks", &["a", "d"], &[&["b"], &["a"]])), "lacks `d`");
        let long = "x".repeat(2 * MESSAGE_BYTES);
        assert_eq!(message(move || require_all(&long, &["a"], &[])).len(), MESSAGE_BYTES);
    }
}
