//! Named parameters `:name` (the SQLAlchemy syntax) and positional parameters `?`, and their
//! conversion to the placeholders of each database. A `:` or `?` in a string, a quoted identifier,
//! a comment or a `::` cast is not a parameter.

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::lexer::{Kind, tokens};
use blockyard_sdk::sql::{self, Value as SqlValue};
use blockyard_sdk::{schemars, serde};

use crate::Dialect;
use crate::list::Parentheses;
use crate::script;

/// Parameter values of a statement.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
#[serde(crate = "blockyard_sdk::serde", untagged)]
#[schemars(crate = "blockyard_sdk::schemars")]
pub(crate) enum Parameters {
    /// Values by name, for `:name`.
    Named(Map<String, Value>),
    /// Values in order, for `?`.
    Positional(Vec<Value>),
}

/// Statement with its parameter values.
#[data]
pub(crate) struct Query {
    /// SQL statement with parameters as `:name` or `?`, e.g. `SELECT * FROM flights WHERE id =
    /// :id`.
    #[block(language = "sql")]
    pub(crate) statement: String,
    /// Parameter values: an object for `:name`, e.g. `{"id": 7}`, or a list for `?`, e.g. `[7]`.
    /// `{"$bytes": "3q0="}` is base64-encoded bytes.
    #[serde(default)]
    pub(crate) parameters: Parameters,
}

/// Implemented manually, because the derived implementation for untagged enums rejects integers of
/// more than 64 bits.
impl<'de> serde::Deserialize<'de> for Parameters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(named) => Ok(Self::Named(named)),
            Value::Array(values) => Ok(Self::Positional(values)),
            _ => Err(serde::de::Error::custom(
                "expected an object of named parameters or an array of positional parameters",
            )),
        }
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self::Named(Map::new())
    }
}

/// Returns the statement with the placeholders of the database, and its values.
pub(crate) fn bound(statement: &str, parameters: &Parameters, dialect: Dialect) -> Result<(String, Vec<SqlValue>)> {
    check_comments(statement, dialect)?;
    match parameters {
        Parameters::Named(arguments) => {
            let statement = Statement::parse(statement, dialect);
            let values = statement.values(arguments)?;
            Ok((statement.text, values))
        }
        Parameters::Positional(values) => {
            let (text, in_lists) = numbered(statement, dialect);
            let placeholders = in_lists.len();
            if placeholders != 0 && placeholders != values.len() {
                let wrong = format!(
                    "the number of positional parameters (`?`) is {placeholders}, but the number of values is {}",
                    values.len()
                );
                return Err(Problem::invalid(wrong));
            }
            let values = values.iter().enumerate().map(|(index, value)| {
                let in_list = in_lists.get(index).copied().unwrap_or_default();
                parameter(value, in_list, dialect)
                    .map_err(|problem| problem.context(format!("parameter {}", index + 1)))
            });
            Ok((text, values.collect::<Result<_>>()?))
        }
    }
}

/// Converts a parameter value. `in_list` is set for a parameter inside the parentheses of `in (…)`.
fn parameter(value: &Value, in_list: bool, dialect: Dialect) -> Result<SqlValue> {
    if in_list && value.is_array() {
        let hint = match dialect {
            Dialect::Sqlite => "write `in (select value from json_each(:name))`",
            Dialect::Postgres => "write `= any(:name)`, which accepts a list",
            Dialect::Mysql => "write one parameter per element, or `json_contains(:name, json_quote(column))`",
        };
        return Err(Problem::invalid("the value is a list, but `in (…)` compares with it as a single value").hint(hint));
    }
    sql::parameter(value)
}

/// Rejects a statement with a comment that is never closed. SQLite and MySQL would ignore the rest
/// of the statement.
fn check_comments(statement: &str, dialect: Dialect) -> Result<()> {
    let mut tokens = tokens(statement, dialect.syntax());
    match tokens.find(|token| token.kind == Kind::Comment && !token.is_closed) {
        Some(comment) => Err(script::unclosed(&comment, statement, "statement")),
        None => Ok(()),
    }
}

/// Replaces `?` by the placeholders of the database, and returns for each whether it is inside the
/// parentheses of `in (…)`. `\?` is a literal `?`, which PostgreSQL uses in operators.
fn numbered(statement: &str, dialect: Dialect) -> (String, Vec<bool>) {
    let mut text = String::with_capacity(statement.len());
    let mut in_lists = Vec::new();
    let mut parentheses = Parentheses::new(dialect);
    for token in tokens(statement, dialect.syntax()) {
        match token.kind {
            Kind::Placeholder => {
                in_lists.push(parentheses.is_list());
                match dialect {
                    Dialect::Postgres => text.push_str(&format!("${}", in_lists.len())),
                    Dialect::Sqlite | Dialect::Mysql => text.push('?'),
                }
            }
            Kind::Escape if token.text == "\\?" => text.push('?'),
            _ => text.push_str(token.text),
        }
        parentheses.token(&token);
    }
    (text, in_lists)
}

/// A statement with the placeholders of the database, and the names of its parameters in order.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    text: String,
    names: Vec<String>,
    /// For each name, `true` if it is inside the parentheses of `in (…)`.
    in_lists: Vec<bool>,
    dialect: Dialect,
}

impl Statement {
    /// Replaces names by placeholders: `?1` for SQLite, `$1` for PostgreSQL. A repeated name has
    /// the same number; MySQL has no numbers, so its value is passed repeatedly. `\:` is a literal
    /// colon before an identifier.
    fn parse(statement: &str, dialect: Dialect) -> Self {
        let mut text = String::with_capacity(statement.len());
        let mut names: Vec<String> = Vec::new();
        let mut in_lists: Vec<bool> = Vec::new();
        let mut parentheses = Parentheses::new(dialect);
        for token in tokens(statement, dialect.syntax()) {
            match token.kind {
                Kind::Parameter => {
                    let known = names.iter().position(|known| known == token.name());
                    let number = match known.filter(|_| dialect != Dialect::Mysql) {
                        Some(known) => {
                            in_lists[known] |= parentheses.is_list();
                            known + 1
                        }
                        None => {
                            names.push(token.name().to_owned());
                            in_lists.push(parentheses.is_list());
                            names.len()
                        }
                    };
                    match dialect {
                        Dialect::Sqlite => text.push_str(&format!("?{number}")),
                        Dialect::Postgres => text.push_str(&format!("${number}")),
                        Dialect::Mysql => text.push('?'),
                    }
                }
                Kind::Escape if token.text == "\\:" => text.push(':'),
                _ => text.push_str(token.text),
            }
            parentheses.token(&token);
        }
        Self { text, names, in_lists, dialect }
    }

    /// Returns the values in the order of the placeholders.
    fn values(&self, arguments: &Map<String, Value>) -> Result<Vec<SqlValue>> {
        let missing: Vec<&str> =
            self.names.iter().filter(|name| !arguments.contains_key(*name)).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(Problem::invalid(format!(
                "the statement has parameters without a value: `:{}`",
                missing.join("`, `:")
            )));
        }
        if let Some(unknown) = arguments.keys().find(|key| !self.names.contains(key)) {
            return Err(Problem::invalid(format!("the statement has no parameter `:{unknown}`")));
        }
        let values = self.names.iter().zip(&self.in_lists).map(|(name, in_list)| {
            let value = parameter(&arguments[name], *in_list, self.dialect);
            value.map_err(|problem| problem.context(format!("parameter `:{name}`")))
        });
        values.collect()
    }
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::serde_json;

    use super::*;

    #[test]
    fn parameters_preserve_numbers_of_any_length() {
        for text in
            [r#"{"a":{"id":12345678901234567890123},"b":0.12345678901234567890123}"#, "[-99999999999999999999,1.10]"]
        {
            let read: Parameters =
                serde_json::from_value(serde_json::from_str(text).expect("JSON")).expect("parameters");
            assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
        }
        assert!(serde_json::from_value::<Parameters>(json!(1)).is_err());
    }

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(statement: &str, expected: Expect) {
        check_in(Dialect::Postgres, statement, expected);
    }

    fn check_in(dialect: Dialect, statement: &str, expected: Expect) {
        let parsed = Statement::parse(statement, dialect);
        expected.assert_eq(&format!("{} {:?}", parsed.text, parsed.names));
    }

    #[test]
    fn named_parameters_become_numbered_placeholders() {
        check("select :a, :b, :a", expect![[r#"select $1, $2, $1 ["a", "b"]"#]]);
        check("where x=:from_date and y<:n2", expect![[r#"where x=$1 and y<$2 ["from_date", "n2"]"#]]);
        check("values(:a,:b)", expect![[r#"values($1,$2) ["a", "b"]"#]]);
    }

    #[test]
    fn colons_outside_of_parameters_are_unchanged() {
        check("select ':a', 'it''s :b', :c", expect![[r#"select ':a', 'it''s :b', $1 ["c"]"#]]);
        check_in(Dialect::Sqlite, r#"select ":a", `:b`, [:c]"#, expect![[r#"select ":a", `:b`, [:c] []"#]]);
        check(r#"select ":a""#, expect![[r#"select ":a" []"#]]);
        check("select 1 -- :a\n, :b", expect!["select 1 -- :a\n, $1 [\"b\"]"]);
        check("select /* :a /* :b */ :c */ :d", expect![[r#"select /* :a /* :b */ :c */ $1 ["d"]"#]]);
        check("select :a::date, x::text", expect![[r#"select $1::date, x::text ["a"]"#]]);
        check("select $$ :a $$, $t$ :b $$ $t$, :c", expect![[r#"select $$ :a $$, $t$ :b $$ $t$, $1 ["c"]"#]]);
        check(r"select E'\':a', type':b', :c", expect![[r#"select E'\':a', type':b', $1 ["c"]"#]]);
        check("select a[1:n], x := :y", expect![[r#"select a[1:n], x := $1 ["y"]"#]]);
        check(r"select '{}' \:raw, :a", expect![[r#"select '{}' :raw, $1 ["a"]"#]]);
        check("select 'open :a", expect!["select 'open :a []"]);
    }

    #[test]
    fn missing_and_unknown_parameters_are_rejected() {
        let statement = Statement::parse("select :a, :b", Dialect::Sqlite);
        let arguments = |value: Value| value.as_object().cloned().expect("an object");
        assert_eq!(statement.values(&arguments(json!({"b": 2, "a": "x"}))).expect("both are there").len(), 2);
        let missing = statement.values(&arguments(json!({"a": 1}))).expect_err("b is missing");
        assert!(missing.message().contains("`:b`"));
        let unknown = statement.values(&arguments(json!({"a": 1, "b": 2, "c": 3}))).expect_err("c is unknown");
        assert!(unknown.message().contains("`:c`"));
    }

    #[test]
    fn positional_parameters_become_numbered_placeholders() {
        let check = |dialect, statement: &str, text: &str, placeholders: usize| {
            let (found, in_lists) = numbered(statement, dialect);
            assert_eq!((found.as_str(), in_lists.len()), (text, placeholders), "{statement}");
        };
        check(Dialect::Postgres, "select ?, '?', ? -- ?", "select $1, '?', $2 -- ?", 2);
        check(Dialect::Postgres, r"select data \? 'a', $1", "select data ? 'a', $1", 0);
        check(Dialect::Sqlite, "select ?, ?2", "select ?, ?2", 1);
        check(Dialect::Mysql, "select ?, \"?\" # ?", "select ?, \"?\" # ?", 1);
        let few =
            bound("select ?, ?", &Parameters::Positional(vec![json!(1)]), Dialect::Mysql).expect_err("one is missing");
        assert!(few.message().contains("positional parameters (`?`) is 2, but the number of values is 1"), "{few}");
    }

    #[test]
    fn mysql_strings_and_comments_contain_no_parameters() {
        let check = |statement, expected| check_in(Dialect::Mysql, statement, expected);
        check("select :a, :b, :a", expect![[r#"select ?, ?, ? ["a", "b", "a"]"#]]);
        check(r#"select '\':a', "\":b", `:c`, :d"#, expect![[r#"select '\':a', "\":b", `:c`, ? ["d"]"#]]);
        check("select 1 # :a\n, 2 -- :b\n, 5--:c", expect!["select 1 # :a\n, 2 -- :b\n, 5--? [\"c\"]"]);
        check("select /* :a /* :b */ :c", expect![[r#"select /* :a /* :b */ ? ["c"]"#]]);
        check("select @a := :a, $:b", expect![[r#"select @a := ?, $? ["a", "b"]"#]]);
    }

    #[test]
    fn parameter_names_may_contain_unicode_letters() {
        check("select :größe, größe:x, :名", expect![[r#"select $1, größe:x, $2 ["größe", "名"]"#]]);
        assert_eq!(Statement::parse("select :gro\u{308}ße", Dialect::Sqlite).names, ["gro\u{308}ße"]);
    }

    #[test]
    fn list_in_parentheses_of_in_is_rejected() {
        for (dialect, hint) in
            [(Dialect::Sqlite, "json_each"), (Dialect::Postgres, "any(:name)"), (Dialect::Mysql, "json_contains")]
        {
            let refused = |statement: &str, parameters: Parameters| {
                let refused = bound(statement, &parameters, dialect).expect_err(statement);
                assert!(refused.message().contains("the value is a list"), "{refused}");
                assert!(format!("{refused:?}").contains(hint), "{refused:?}");
            };
            let named = || Parameters::Named(Map::from_iter([("l".to_owned(), json!([1, 2]))]));
            for statement in
                ["select 1 where x in (:l)", "select 1 where x not IN /* a */ ( :l )", "select x in(1, f(2), :l)"]
            {
                refused(statement, named());
            }
            refused("select 1 where x in (?)", Parameters::Positional(vec![json!([1])]));
            for statement in [
                "select 1 where x in ((:l))",
                "select 1 where x not in ((1), (:l))",
                "select 1 where x in (values (:l))",
                "select 1 where (x, y) in ((1, :l), (2, 3))",
                "select 1 where x in (case when y then (:l) end)",
            ] {
                refused(statement, named());
            }
            for statement in [
                "select f(:l)",
                "select 1 where x in (select value from json_each(:l))",
                "select 1 where x in (with l as (select value from json_each(:l)) select value from l)",
                "select 1 where x in (json_extract(:l, '$[0]'))",
                "select 1 where x in (1, 2) and f((:l))",
                "select x = any(:l)",
                "select :in, (:l)",
            ] {
                let parameters = Parameters::Named(match named() {
                    Parameters::Named(mut named) if statement.contains(":in") => {
                        named.insert("in".to_owned(), json!(1));
                        named
                    }
                    Parameters::Named(named) => named,
                    Parameters::Positional(_) => Map::new(),
                });
                assert!(bound(statement, &parameters, dialect).is_ok(), "{statement}");
            }
            // Functions of PostgreSQL take arrays.
            let coalesced = bound("select 1 where x in (coalesce(:l, 0))", &named(), dialect);
            assert_eq!(coalesced.is_ok(), dialect == Dialect::Postgres);
        }
    }

    #[test]
    fn unclosed_comment_is_rejected() {
        for (statement, dialect, ok) in [
            ("select 1\n/* why; select 2", Dialect::Sqlite, false),
            ("select 1\n/*/", Dialect::Mysql, false),
            ("select 1\n/* a /* b */", Dialect::Postgres, false),
            ("select 1\n/* a /* b */", Dialect::Sqlite, true),
            ("select '/*', 1 -- /*", Dialect::Postgres, true),
        ] {
            match bound(statement, &Parameters::default(), dialect) {
                Ok(_) => assert!(ok, "{statement}"),
                Err(problem) => {
                    assert!(!ok, "{statement}: {problem}");
                    let expected = "line 2 of the statement begins a comment that is never closed";
                    assert!(problem.message().contains(expected), "{problem}");
                }
            }
        }
    }

    #[test]
    fn bytes_are_accepted_as_a_parameter() {
        let arguments = Parameters::Positional(vec![json!({"$bytes": "3q0="})]);
        let (_, values) = bound("select ?", &arguments, Dialect::Mysql).expect("bytes");
        assert!(matches!(&values[0], SqlValue::Bytes(bytes) if *bytes == [0xde, 0xad]));
        let wrong = Parameters::Named(Map::from_iter([("b".to_owned(), json!({"$bytes": "*"}))]));
        let refused = bound("select :b", &wrong, Dialect::Sqlite).expect_err("no base64");
        assert!(refused.message().contains("parameter `:b`"), "{refused}");
    }

    fn dialects() -> impl Strategy<Value = Dialect> {
        prop_oneof![Just(Dialect::Sqlite), Just(Dialect::Postgres), Just(Dialect::Mysql)]
    }

    proptest! {
        /// No string makes the scanner panic or loop, and without a colon nothing changes.
        #[test]
        fn text_without_colons_is_unchanged(text in "[^:]{0,60}", dialect in dialects()) {
            let parsed = Statement::parse(&text, dialect);
            prop_assert_eq!(&parsed.text, &text);
            prop_assert!(parsed.names.is_empty());
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in "\\PC{0,60}", dialect in dialects()) {
            let _ = Statement::parse(&text, dialect);
            let _ = numbered(&text, dialect);
        }

        /// Quoted text is unchanged, and a parameter after it is found.
        #[test]
        fn quoted_text_is_unchanged(inner in "[a-z: #$-]{0,20}", way in 0usize..3, dialect in dialects()) {
            let (open, close) = [("'", "'"), ("\"", "\""), ("/* ", " */")][way];
            let statement = format!("select {open}{inner}{close}, :p");
            let parsed = Statement::parse(&statement, dialect);
            let sign = match dialect { Dialect::Sqlite => "?1", Dialect::Postgres => "$1", Dialect::Mysql => "?" };
            prop_assert_eq!(parsed.text, format!("select {open}{inner}{close}, {sign}"));
            prop_assert_eq!(parsed.names, ["p"]);
        }

        /// The statement has one placeholder per value, and each refers to its name.
        #[test]
        fn every_placeholder_refers_to_its_name(names in proptest::collection::vec("[a-c]", 1..8), dialect in dialects()) {
            let placeholders: Vec<String> = names.iter().map(|name| format!(":{name}")).collect();
            let parsed = Statement::parse(&format!("select {}", placeholders.join(", ")), dialect);
            let written: Vec<&str> = parsed.text["select ".len()..].split(", ").collect();
            prop_assert_eq!(written.len(), names.len());
            for (index, (written, name)) in written.into_iter().zip(&names).enumerate() {
                let number = written[1..].parse::<usize>().unwrap_or(index + 1);
                prop_assert_eq!(&parsed.names[number - 1], name);
            }
        }
    }
}
