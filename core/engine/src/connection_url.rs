//! Addresses of databases as people have them: `postgres://ada:secret@db.example.com:5432/zoo?sslmode=require`.
//! They are taken apart when a block is saved, into the fields that stand for their parts; the password
//! into its secret. A field that takes such an address says so in its schema:
//! `"x-connection-url": {"dialect": {"postgresql": "postgres", …}}`, the schemes with what they mean for the
//! field that is named.

use blockyard_model::{Pointer, Schema, Violation};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use url::Url;

use crate::{Error, ErrorKind};

/// The field, and the option, of the password.
const PASSWORD: &str = "password";

/// The keyword of such a field.
const KEYWORD: &str = "x-connection-url";

/// Whether a text for a field is an address with a password in it.
pub(crate) fn has_password(schema: &Schema, field: &Pointer, value: &Value) -> bool {
    let takes_one = fields(schema).any(|(name, _)| Pointer::from_dotted(name) == *field);
    let parsed = value.as_str().and_then(|text| Url::parse(text).ok());
    takes_one && parsed.is_some_and(|url| password(&url).is_some())
}

/// Puts the parts of a configuration's addresses in their places.
pub(crate) fn take_apart(schema: &Schema, config: &mut Value) -> Result<(), Error> {
    let given: Vec<(String, &Value)> = fields(schema)
        .filter(|(name, _)| config.get(*name).is_some_and(Value::is_string))
        .map(|(name, schemes)| (name.to_owned(), schemes))
        .collect();
    for (name, schemes) in given {
        let Some(config) = config.as_object_mut() else { return Ok(()) };
        let Some(Value::String(text)) = config.remove(&name) else { continue };
        for (field, value) in parts(&name, &text, schemes)? {
            match (config.get_mut(&field).and_then(Value::as_object_mut), value) {
                // Options that the address does not name stay.
                (Some(there), Value::Object(more)) => there.extend(more),
                (_, value) => {
                    config.insert(field, value);
                }
            }
        }
    }
    Ok(())
}

/// The same for what a file of blocks says, which may not have a password in it.
pub(crate) fn take_apart_of_file(schema: &Schema, config: &mut Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, _) in fields(schema) {
        let Some(Value::String(text)) = config.get_mut(name) else { continue };
        let Ok(mut url) = Url::parse(text) else { continue };
        if password(&url).is_some() {
            violations.push(Violation::new(Pointer::default().child(name), "has a password in it, and a file has none: leave it out, and give the secret a source, or the yard the secret"));
            let _ = url.set_password(None);
            let others: Vec<(String, String)> = options(&url).collect();
            url.query_pairs_mut().clear().extend_pairs(others);
            *text = url.into();
        }
    }
    if let Err(error) = take_apart(schema, config) {
        violations.push(Violation::new(Pointer::default(), error.to_string()));
    }
    violations
}

/// The password, percent-encoded as it stands: before the host, or, as libpq has it, among the options.
fn password(url: &Url) -> Option<String> {
    let option = || {
        let pairs = url.query().unwrap_or_default().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == PASSWORD).map(|(_, value)| value)
    };
    url.password().or_else(option).map(str::to_owned)
}

/// The options, without what is none.
fn options(url: &Url) -> impl Iterator<Item = (String, String)> {
    url.query_pairs().filter(|(name, _)| name != PASSWORD).map(|(name, value)| (name.into_owned(), value.into_owned()))
}

/// The fields that take addresses, with their schemes.
fn fields(schema: &Schema) -> impl Iterator<Item = (&str, &Value)> {
    let properties = schema.document().get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().filter_map(|(name, field)| Some((name.as_str(), field.get(KEYWORD)?)))
}

/// The fields that an address stands for. No message repeats it: it may have a password in it.
fn parts(field: &str, text: &str, schemes: &Value) -> Result<Vec<(String, Value)>, Error> {
    let wrong = |what: &str| {
        Error::new(ErrorKind::Invalid, format!("field `{field}` {what}"))
            .hint("the form is `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`, or `sqlite:///PATH`")
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    let (kind, known) = schemes
        .as_object()
        .and_then(|kinds| kinds.iter().next())
        .ok_or_else(|| Error::new(ErrorKind::Bundle, format!("the schema of `{field}` names no schemes")))?;
    // `postgresql+psycopg2://`, as SQLAlchemy has it: what stands behind the plus is of another program.
    let scheme = url.scheme().split('+').next().unwrap_or_default();
    let meaning = known.get(scheme).ok_or_else(|| wrong(&format!("begins with `{scheme}:`, which is not known")))?;
    let decoded = |text: &str| -> Result<Value, Error> {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| wrong("has bytes that are no text"))?;
        Ok(Value::from(text.into_owned()))
    };
    let mut parts = vec![(kind.clone(), meaning.clone())];
    let path = url.path();
    if url.host_str().is_none_or(str::is_empty) {
        // A file: the path is all there is.
        parts.push(("database".to_owned(), decoded(path)?));
        return Ok(parts);
    }
    let database = path.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'));
    parts.push(("database".to_owned(), decoded(database.ok_or_else(|| wrong("names no database"))?)?));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    parts.push(("host".to_owned(), host.into()));
    parts.extend(url.port().map(|port| ("port".to_owned(), port.into())));
    if !url.username().is_empty() {
        parts.push(("username".to_owned(), decoded(url.username())?));
    }
    if let Some(password) = password(&url) {
        parts.push(("password".to_owned(), decoded(&password)?));
    }
    let options: serde_json::Map<String, Value> = options(&url).map(|(name, value)| (name, value.into())).collect();
    if !options.is_empty() {
        parts.push(("options".to_owned(), json!(options)));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<Value, Error> {
        let schemes = json!({"dialect": {"postgres": "postgres", "postgresql": "postgres", "sqlite": "sqlite"}});
        parts("url", text, &schemes).map(|parts| parts.into_iter().collect::<serde_json::Map<_, _>>().into())
    }

    #[test]
    fn an_address_stands_for_fields() {
        assert_eq!(
            taken("postgresql+psycopg2://ada:p%40ss%2Fword@[::1]:6000/zoo?sslmode=require").expect("an address"),
            json!({
                "dialect": "postgres", "host": "::1", "port": 6000, "database": "zoo", "username": "ada",
                "password": "p@ss/word", "options": {"sslmode": "require"},
            })
        );
        assert_eq!(
            taken("postgres://ada@db/zoo?sslmode=require&password=p%40ss").expect("an address"),
            json!({
                "dialect": "postgres", "host": "db", "database": "zoo", "username": "ada", "password": "p@ss",
                "options": {"sslmode": "require"},
            })
        );
        assert_eq!(
            taken("postgres://db.example.com/zoo").expect("an address"),
            json!({"dialect": "postgres", "host": "db.example.com", "database": "zoo"})
        );
        assert_eq!(
            taken("sqlite:///var/my%20zoo.db").expect("an address"),
            json!({"dialect": "sqlite", "database": "/var/my zoo.db"})
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, wrong) in [
            ("oracle://ada:s3cret@db/zoo", "begins with `oracle:`"),
            ("postgres://ada:s3cret@db", "names no database"),
            ("postgres://ada:s3cret@db:port/zoo", "is not a URL"),
            ("ada s3cret", "is not a URL"),
        ] {
            let error = taken(text).expect_err(text).to_string();
            assert!(error.contains(wrong) && !error.contains("s3cret"), "{error}");
        }
    }
}
