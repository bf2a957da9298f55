//! Members of the types `enum` and `set` of MySQL.

use blockyard_sdk::sql::lexer::{Kind, Syntax, tokens};

use super::shown;

/// Maximum number of members of a type shown in messages.
const SHOWN_MEMBERS: usize = 10;

/// Checks that a string is a member of an `enum`, or consists of different members of a `set`.
pub(super) fn check(type_name: &str, is_set: bool, text: &str) -> std::result::Result<(), String> {
    let members = members(type_name);
    let mut values: Vec<&str> = if is_set { text.split(',').collect() } else { vec![text] };
    if is_set && text.is_empty() {
        return Ok(());
    }
    if let Some(other) = values.iter().find(|value| !members.iter().any(|member| member == *value)) {
        let members: Vec<String> = members.iter().take(SHOWN_MEMBERS).map(|member| format!("`{member}`")).collect();
        return Err(format!(
            "`{}` is not a member of the column's type, which has {}",
            shown(other),
            members.join(", ")
        ));
    }
    let length = values.len();
    values.sort_unstable();
    values.dedup();
    if values.len() == length { Ok(()) } else { Err(format!("`{}` has a member twice", shown(text))) }
}

/// Returns the members in a type name such as `enum('a','it''s')`.
fn members(type_name: &str) -> Vec<String> {
    let strings = tokens(type_name, Syntax::Mysql).filter(|token| token.kind == Kind::String);
    strings.map(|token| member(token.text)).collect()
}

/// Decodes a string literal. The server escapes backslashes and control characters.
fn member(literal: &str) -> String {
    let inner = literal.strip_prefix('\'').unwrap_or(literal);
    let mut characters = inner.strip_suffix('\'').unwrap_or(inner).chars();
    let mut member = String::new();
    while let Some(character) = characters.next() {
        member.push(match character {
            // A quote is doubled.
            '\'' => characters.next().unwrap_or('\''),
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('0') => '\0',
                other => other.unwrap_or('\\'),
            },
            other => other,
        });
    }
    member
}

#[cfg(test)]
mod tests {
    use super::{check, members};

    #[test]
    fn enum_and_set_members_match_exactly() {
        assert_eq!(members("enum('a','it''s','b\\\\c','e\\nf','g,h(')"), ["a", "it's", "b\\c", "e\nf", "g,h("]);
        assert_eq!(members("enum('a"), ["a"]);
        let of = |type_name: &str, text: &str| check(type_name, type_name.starts_with("set"), text).is_ok();
        assert!(of("enum('A','10')", "A") && of("enum('A','10')", "10"));
        assert!(!of("enum('A','10')", "a") && !of("enum('A','10')", "1") && !of("enum('A','10')", "A "));
        assert!(of("set('x','y')", "y,x") && of("set('x','y')", "") && of("set('x','y')", "x"));
        assert!(!of("set('x','y')", "3") && !of("set('x','y')", "x,x") && !of("set('x','y')", "x,"));
    }
}
