//! Splits connection URLs, such as `postgres://ada:secret@db.example.com:5432/zoo?sslmode=require`,
//! into the fields of a block.
//!
//! The URL is split when a block is saved; its password is stored in the password's secret field. A
//! field that accepts a connection URL declares it in the schema:
//! `"x-connection-url": {"dialect": {"postgresql": "postgres", …}}` names the field that the scheme
//! sets (`dialect`), and maps each supported scheme to the value of that field.

mod parse;

use std::collections::BTreeSet;

use blockyard_model::{Pointer, Schema, Violation};
use serde_json::{Value, json};

use crate::{Error, ErrorKind};
use parse::{Refused, Server, Target};

/// Schema keyword of fields that accept a connection URL.
const KEYWORD: &str = "x-connection-url";

/// Dialect whose databases are files.
const FILES: &str = "sqlite";

/// Checks whether the value of a field is, or may be, a connection URL with a password. A malformed
/// URL counts if it appears to contain a password, because it must not remain in a shell's history
/// either.
pub fn has_password(schema: &Schema, field: &Pointer, value: &Value) -> bool {
    let Some((_, schemes)) = fields(schema).find(|(name, _)| Pointer::from_dotted(name) == *field) else {
        return false;
    };
    let Some(text) = value.as_str() else { return false };
    match target(text, schemes) {
        Ok((_, Target::Server(server))) => server.password.is_some(),
        Ok((_, Target::File(_))) => false,
        Err(_) => {
            text.contains("password=")
                || text
                    .rsplit_once('@')
                    .is_some_and(|(before, _)| before.split_once("://").map_or(before, |(_, rest)| rest).contains(':'))
        }
    }
}

/// Replaces the connection URLs of a configuration with the fields that they set. `named` lists the
/// fields that the caller gave explicitly: a difference between such a field and the URL is an
/// error, because one of the two values would be lost.
pub(crate) fn expand_urls(schema: &Schema, config: &mut Value, named: &BTreeSet<String>) -> Result<(), Error> {
    let given: Vec<(String, &Value)> = fields(schema)
        .filter(|(name, _)| config.get(*name).is_some_and(Value::is_string))
        .map(|(name, schemes)| (name.to_owned(), schemes))
        .collect();
    for (name, schemes) in given {
        let Some(config) = config.as_object_mut() else { return Ok(()) };
        let Some(Value::String(text)) = config.remove(&name) else { continue };
        for (field, value) in parts(&name, &text, schemes)? {
            let differs = config.get(&field).is_none_or(|given| !agrees(given, &value));
            if named.contains(&field) && differs {
                let message = format!("fields `{name}` and `{field}` have conflicting values");
                return Err(Error::new(ErrorKind::Invalid, message).hint("set only one of them"));
            }
            match (config.get_mut(&field).and_then(Value::as_object_mut), value) {
                // Options that are not in the URL are retained.
                (Some(options), Value::Object(more)) => options.extend(more),
                (_, value) => {
                    config.insert(field, value);
                }
            }
        }
    }
    Ok(())
}

/// Checks that a given field has the value from the URL. Of two option maps, only the options that
/// both contain are compared.
fn agrees(given: &Value, part: &Value) -> bool {
    match (given, part) {
        (Value::Object(given), Value::Object(part)) => {
            part.iter().all(|(name, value)| given.get(name).is_none_or(|given| given == value))
        }
        (given, part) => given == part,
    }
}

/// Like [`expand_urls`], for a block file, in which a URL must not contain a password. Returns all
/// violations.
pub(crate) fn expand_urls_of_file(schema: &Schema, config: &mut Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, schemes) in fields(schema) {
        let Some(Value::String(text)) = config.get_mut(name) else { continue };
        let Ok((scheme, Target::Server(server))) = target(text, schemes) else { continue };
        if server.password.is_some() {
            violations.push(Violation::new(Pointer::default().child(name), "contains a password, which a block file must not contain: remove it, and set the password's field to a source, or store the password in the yard"));
            let without = Target::Server(Server { password: None, ..server });
            *text = format!("{scheme}:{without}");
        }
    }
    let named = config.as_object().into_iter().flat_map(|config| config.keys().cloned()).collect();
    if let Err(error) = expand_urls(schema, config, &named) {
        violations.push(Violation::new(Pointer::default(), error.to_string()));
    }
    violations
}

/// Returns the fields that accept connection URLs, each with its schemes.
fn fields(schema: &Schema) -> impl Iterator<Item = (&str, &Value)> {
    let properties = schema.document().get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().filter_map(|(name, field)| Some((name.as_str(), field.get(KEYWORD)?)))
}

/// Parses a URL into its scheme and target.
fn target(text: &str, schemes: &Value) -> Result<(String, Target), Refused> {
    let (scheme, rest) = parse::scheme(text)?;
    let meaning = known(schemes).and_then(|(_, known)| known.get(scheme));
    let Some(meaning) = meaning else {
        return Err(Refused(format!("begins with `{scheme}:`, which is not a supported scheme")));
    };
    let target = if meaning == FILES { parse::file(rest)? } else { parse::server(rest)? };
    Ok((scheme.to_owned(), target))
}

/// Returns the field that the scheme sets, with the map from scheme to value.
fn known(schemes: &Value) -> Option<(&String, &Value)> {
    schemes.as_object().and_then(|kinds| kinds.iter().next())
}

/// Returns the fields that a URL sets. Error messages do not repeat the URL, because it may contain
/// a password.
fn parts(field: &str, text: &str, schemes: &Value) -> Result<Vec<(String, Value)>, Error> {
    let (kind, meanings) = known(schemes).ok_or_else(|| {
        Error::new(ErrorKind::Bundle, format!("the schema of field `{field}` defines no URL schemes"))
    })?;
    let (scheme, target) = target(text, schemes).map_err(|Refused(what)| {
        Error::new(ErrorKind::Invalid, format!("field `{field}` {what}"))
            .hint("use the form `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`, or `sqlite:///PATH`")
            .hint("in a user or password, write `/` as `%2F`, `#` as `%23`, `?` as `%3F`, `@` as `%40`, `%` as `%25`, `:` as `%3A`")
    })?;
    let mut parts = vec![(kind.clone(), meanings[scheme].clone())];
    match target {
        Target::File(path) => parts.push(("database".to_owned(), path.into())),
        Target::Server(server) => {
            parts.push(("database".to_owned(), server.database.into()));
            parts.push(("host".to_owned(), server.host.into()));
            parts.extend(server.port.map(|port| ("port".to_owned(), port.into())));
            parts.extend(server.username.map(|username| ("username".to_owned(), username.into())));
            parts.extend(server.password.map(|password| ("password".to_owned(), password.into())));
            let options: serde_json::Map<String, Value> =
                server.options.into_iter().map(|(name, value)| (name, value.into())).collect();
            if !options.is_empty() {
                parts.push(("options".to_owned(), json!(options)));
            }
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<Value, Error> {
        let schemes = json!({"dialect": {"postgres": "postgres", "postgresql": "postgres", "sqlite": "sqlite"}});
        parts("url", text, &schemes).map(|parts| parts.into_iter().collect::<serde_json::Map<_, _>>().into())
    }

    #[test]
    fn a_connection_url_sets_the_fields() {
        assert_eq!(
            expanded("postgresql+psycopg2://ada:p%40ss%2Fword@[::1]:6000/zoo?sslmode=require").expect("an address"),
            json!({
                "dialect": "postgres", "host": "::1", "port": 6000, "database": "zoo", "username": "ada",
                "password": "p@ss/word", "options": {"sslmode": "require"},
            })
        );
        assert_eq!(
            expanded("postgres://ada@db/zoo?sslmode=require&password=p%40ss").expect("an address"),
            json!({
                "dialect": "postgres", "host": "db", "database": "zoo", "username": "ada", "password": "p@ss",
                "options": {"sslmode": "require"},
            })
        );
        assert_eq!(
            expanded("postgres://db.example.com/zoo").expect("an address"),
            json!({"dialect": "postgres", "host": "db.example.com", "database": "zoo"})
        );
        assert_eq!(
            expanded("sqlite:///var/my%20zoo.db").expect("an address"),
            json!({"dialect": "sqlite", "database": "/var/my zoo.db"})
        );
    }

    #[test]
    fn reserved_characters_can_be_escaped() {
        assert_eq!(expanded("postgres://db/a%26b%3Bc").expect("an address")["database"], "a&b;c");
        assert_eq!(expanded("sqlite:///%7E/t.db").expect("an address")["database"], "/~/t.db");
        assert_eq!(expanded("sqlite:///tmp/~t.db").expect("an address")["database"], "/tmp/~t.db");
        assert_eq!(expanded("sqlite:///file%3A/t.db").expect("an address")["database"], "/file:/t.db");
    }

    #[test]
    fn memory_databases_are_accepted_in_several_forms() {
        for text in ["sqlite::memory:", "sqlite://:memory:", "sqlite:///:memory:", "sqlite:///:memory:\n"] {
            assert_eq!(expanded(text).expect(text), json!({"dialect": "sqlite", "database": ":memory:"}), "{text}");
        }
    }

    #[test]
    fn a_field_must_agree_with_the_connection_url() {
        let schema = Schema::compile(json!({
            "type": "object", "properties": {"url": {"type": "string", "x-connection-url": {"dialect": {"postgres": "postgres"}}}},
        }))
        .expect("a schema");
        let save = |mut config: Value, named: &[&str]| {
            let named = named.iter().map(|name| (*name).to_owned()).collect();
            expand_urls(&schema, &mut config, &named).map(|()| config)
        };
        let url = "postgres://db/zoo?sslmode=require";
        // Stored fields are replaced; fields given together with the URL are not.
        assert_eq!(save(json!({"url": url, "host": "old"}), &["url"]).expect("saved")["host"], "db");
        assert_eq!(save(json!({"url": url, "host": "db"}), &["url", "host"]).expect("saved")["host"], "db");
        assert!(save(json!({"url": url, "host": "other"}), &["url", "host"]).is_err());
        let options =
            save(json!({"url": url, "options": {"application_name": "x"}}), &["url", "options"]).expect("saved");
        assert_eq!(options["options"], json!({"sslmode": "require", "application_name": "x"}));
        assert!(save(json!({"url": url, "options": {"sslmode": "disable"}}), &["url", "options"]).is_err());
        // A secret that is given separately is not in the configuration yet.
        assert!(save(json!({"url": "postgres://a:b@db/zoo"}), &["url", "password"]).is_err());
    }

    #[test]
    fn possible_passwords_in_urls_are_detected() {
        let schema = Schema::compile(json!({
            "type": "object", "properties": {"url": {"type": "string", "x-connection-url": {"dialect": {"postgres": "postgres"}}}},
        }))
        .expect("a schema");
        let has = |text: &str| has_password(&schema, &Pointer::from_dotted("url"), &json!(text));
        for text in [
            "postgres://a:b@c/d",
            "postgres://a:b/c@d/e",
            "postgres://c/d?password=x",
            "a:b@c",
            "postgres://c?password=x",
        ] {
            assert!(has(text), "{text}");
        }
        for text in ["postgres://a@c/d", "postgres://c:5432/d", "sqlite:///a", "c"] {
            assert!(!has(text), "{text}");
        }
    }

    #[test]
    fn errors_do_not_contain_the_password() {
        for (text, wrong) in [
            ("oracle://ada:s3cret@db/zoo", "begins with `oracle:`"),
            ("postgres://ada:s3cret@db", "names no database"),
            ("postgres://ada:s3cret@db:port/zoo", "invalid port number"),
            ("ada s3cret", "is not a URL"),
            ("postgres://ada:s3cret/x@db.example.com/zoo", "`%2F`"),
            ("postgres://ada:s3cret?x@db.example.com/zoo", "names no database"),
            ("postgres://ada:s3cret#x@db.example.com/zoo", "`%23`"),
            ("postgres://ada:s3c@ret@db.example.com/zoo", "`%40`"),
            ("postgres://ada:s3cret%@db.example.com/zoo", "`%25`"),
            ("postgres://ada:s3cret%zz@db.example.com/zoo", "`%25`"),
            ("postgres://ada:s3cret%00@db/zoo", "control character"),
            ("postgres://u@%2Frun%2Fpg/db", "sockets"),
            ("postgres:///zoo", "sockets"),
            ("postgres:/zoo", "no `//`"),
            ("postgres:zoo", "no `//`"),
            ("postgres://a,b/zoo", "several hosts"),
            ("postgres://a:1,b:2/zoo", "several hosts"),
            ("postgres://@db/zoo", "no user"),
            ("postgres://:s3cret@db/zoo", "no user"),
            ("postgres://ada:@db/zoo", "empty password"),
            ("postgres://db:/zoo", "port number"),
            ("postgres://db:0/zoo", "port number"),
            ("postgres://db:65536/zoo", "port number"),
            ("postgres://db:+5432/zoo", "port number"),
            ("postgres://[::1/zoo", "without its `]`"),
            ("postgres://[db]/zoo", "invalid IPv6 address"),
            ("postgres://127.1/zoo", "four decimal numbers"),
            ("postgres://bücher.example/zoo", "ASCII"),
            ("postgres://db/", "names no database"),
            ("postgres://db/zoo/", "more than one part"),
            ("postgres://db/zoo/x", "more than one part"),
            ("postgres://db//zoo", "more than one part"),
            ("postgres://db/zoo#x", "`#`"),
            ("postgres://db/zoo?", "without `=`"),
            ("postgres://db/zoo?sslmode", "without `=`"),
            ("postgres://db/zoo?sslmode=", "without a value"),
            ("postgres://db/zoo?=x", "whose name"),
            ("postgres://db/zoo?sslmode=a&&x=b", "without `=`"),
            ("postgres://db/zoo?sslmode=a&sslmode=b", "`sslmode` twice"),
            ("postgres://ada:s3cret@db/zoo?password=s3cret", "`password` twice"),
            ("postgres://db/zoo?host=other", "option `host`"),
            ("postgres://db/zoo?application_name=a+b", "`+`"),
            ("postgres://db/zoo ", "blanks"),
            ("postgres://d\nb/zoo", "control characters"),
            ("sqlite://DIR/t.db", "names a server"),
            ("sqlite:///t.db?mode=ro", "options"),
            ("sqlite:///t.db#x", "fragment"),
            ("sqlite:///t.db ", "blanks"),
            ("sqlite:////t.db", "empty part"),
            ("sqlite:///a//t.db", "empty part"),
            ("sqlite:///a/", "empty part"),
            ("sqlite://", "names no file"),
            ("sqlite:", "empty part"),
            ("sqlite:///:memory:?cache=shared", "options"),
            ("sqlite:///:MEMORY:", "begins with `:`"),
            ("sqlite:///a/:memory:", "begins with `:`"),
            ("sqlite:///a%00b", "control character"),
            ("postgres://ada:s3cret@db/zoo&sslmode=disable", "options begin with `?`"),
            ("postgres://ada:s3cret@db/zoo;sslmode=disable", "options begin with `?`"),
            ("postgres://ada:s3cret@-db/zoo", "neither a name nor an address"),
            ("postgres://ada:s3cret@db-.example.com/zoo", "neither a name nor an address"),
            ("postgres://ada:s3cret@::1/zoo", "`[::1]`"),
            ("postgres://ada:s3cret@2001:db8::5/zoo", "`[::1]`"),
            ("sqlite:///~/t.db", "home folder"),
            ("sqlite:~ada/t.db", "home folder"),
            ("sqlite:///file:/tmp/t.db", "`file:`"),
            ("sqlite:FILE:t.db", "`file:`"),
        ] {
            let error = expanded(text).expect_err(text).to_string();
            assert!(error.contains(wrong) && !error.contains("s3cret"), "{error}");
        }
    }
}
