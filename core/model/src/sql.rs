//! Databases that a block's configuration declares. The keyword `x-sql` at the root of a type's
//! schema names the fields for host, port, database and so on:
//!
//! ```json
//! "x-sql": {"dialect": "/dialect", "host": "/host", "port": "/port", "database": "/database",
//!           "username": "/username", "tls": "/options/sslmode", "ca": "/ca",
//!           "application_name": "/options/application_name"}
//! ```
//!
//! Each member is a JSON Pointer into the resolved configuration, which includes the referenced
//! blocks. Only `database` is required. A type with several databases has a list of such objects.
//! Without the keyword, blocks of the type declare no database.

use std::str::FromStr;

use serde_json::{Map, Value};

use crate::capability::Dialect;
use crate::pointer::Pointer;
use crate::reference::REFERENCE_KEYWORD;
use crate::schema::Schema;

/// Schema keyword that declares databases.
pub const SQL_KEYWORD: &str = "x-sql";

/// Members of the keyword.
const MEMBERS: [&str; 8] = ["dialect", "host", "port", "database", "username", "tls", "ca", "application_name"];

/// TLS mode of a connection, from the weakest to the strictest, with the names that PostgreSQL
/// uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS if the server supports it.
    Prefer,
    /// TLS without verification of the certificate.
    Require,
    /// TLS with a certificate from a trusted authority.
    VerifyCa,
    /// TLS with a certificate from a trusted authority for the host name.
    VerifyFull,
}

impl FromStr for TlsMode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(()),
        })
    }
}

/// A database that a block's configuration declares, with its connection parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlTarget {
    /// Location of the declaring block within the resolved configuration; empty for the block
    /// itself.
    pub block: Pointer,
    /// Dialect; `None` if the type declares no field for it.
    pub dialect: Option<Dialect>,
    /// Host name or address.
    pub host: Option<String>,
    /// Port; `None` for the default port of the dialect.
    pub port: Option<u16>,
    /// Name of the database, or path of its file.
    pub database: String,
    /// User name; the outer `None` if the type leaves the user to the bundle.
    pub username: Option<Option<String>>,
    /// Weakest permitted TLS mode.
    pub tls: Option<TlsMode>,
    /// PEM-encoded CA certificates that verify the server; `None` for those of this machine.
    pub ca: Option<String>,
    /// Application name that the server displays for the connection; `None` for the host's default.
    pub application_name: Option<String>,
    /// Locations of the secrets that may be the password: those of the declaring block, and of
    /// blocks that depend on it. A block never selects the server that receives the password of
    /// another block.
    pub passwords: Vec<Pointer>,
}

impl SqlTarget {
    /// Returns the databases that a configuration of this schema declares. `block` is the location
    /// of the configuration within the resolved one.
    #[must_use]
    pub fn of(schema: &Schema, config: &Value, block: &Pointer) -> Vec<Self> {
        members(schema.document()).into_iter().filter_map(|members| Self::read(members, config, block)).collect()
    }

    /// Returns true if a password for this database reaches only the server that a password for
    /// `other` reaches, over a connection that is protected at least as strictly.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let server =
            |target: &Self| (target.dialect, target.host.clone(), target.port.or(default_port(target.dialect)));
        // Without a host, the database is a file, or the bundle selects the server.
        let same_file = self.host.is_some() || self.database == other.database;
        // `None` is a default of the host, which is not compared with the modes.
        let as_strict = self.tls == other.tls || other.tls.is_some() && self.tls > other.tls;
        server(self) == server(other) && same_file && as_strict && self.ca == other.ca
    }

    fn read(members: &Map<String, Value>, config: &Value, block: &Pointer) -> Option<Self> {
        let field = |member: &str| config.pointer(members.get(member)?.as_str()?).filter(|value| !value.is_null());
        // A value that cannot be interpreted invalidates the declaration: no part of it is ignored.
        let text = |member: &str| match field(member) {
            None => Some(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())),
        };
        Some(Self {
            block: block.clone(),
            dialect: text("dialect")?.map(|text| text.parse()).transpose().ok()?,
            host: text("host")?,
            port: match field("port") {
                None => None,
                Some(value) => Some(value.as_u64().and_then(|port| u16::try_from(port).ok())?),
            },
            database: text("database")??,
            username: members
                .contains_key("username")
                .then(|| text("username"))
                .map_or(Some(None), |user| user.map(Some))?,
            tls: text("tls")?.map(|text| text.parse()).transpose().ok()?,
            ca: text("ca")?,
            application_name: text("application_name")?,
            passwords: Vec::new(),
        })
    }
}

/// Returns the port that a dialect uses by default.
fn default_port(dialect: Option<Dialect>) -> Option<u16> {
    match dialect? {
        Dialect::Postgres => Some(5432),
        Dialect::Mysql => Some(3306),
        Dialect::Sqlite => None,
    }
}

/// Returns the problems of the keyword in a type's schema, for manifest validation.
pub(crate) fn problems(schema: &Schema) -> Vec<String> {
    let document = schema.document();
    let mut problems = Vec::new();
    let Some(keyword) = document.get(SQL_KEYWORD) else { return problems };
    let objects = match keyword {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    for object in objects {
        let Some(members) = object.as_object() else {
            problems
                .push(format!("`{SQL_KEYWORD}` must be an object, or a list of objects, of JSON Pointers to fields"));
            continue;
        };
        if !members.contains_key("database") {
            problems.push(format!("`{SQL_KEYWORD}` has no `database`"));
        }
        for (member, pointer) in members {
            if !MEMBERS.contains(&member.as_str()) {
                problems.push(format!(
                    "`{SQL_KEYWORD}` has no member `{member}`; its members are `{}`",
                    MEMBERS.join("`, `")
                ));
            } else if !leads_to_a_field(schema, pointer) {
                problems
                    .push(format!("`{SQL_KEYWORD}`: `{member}` is {pointer}, which is not a JSON Pointer to a field"));
            }
        }
    }
    problems
}

/// Returns true if the pointer refers to a field of the type, or to a field of a referenced block.
fn leads_to_a_field(schema: &Schema, pointer: &Value) -> bool {
    let Some(text) = pointer.as_str().filter(|text| text.starts_with('/')) else { return false };
    let pointer = Pointer::new(text);
    let mut at = Pointer::default();
    for token in pointer.tokens() {
        at = at.child(&token);
        match schema.field(&at) {
            None => return false,
            Some(keywords) if keywords.contains_key(REFERENCE_KEYWORD) => return true,
            Some(_) => {}
        }
    }
    !schema.is_secret(&pointer)
}

fn members(document: &Value) -> Vec<&Map<String, Value>> {
    match document.get(SQL_KEYWORD) {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_object).collect(),
        Some(one) => one.as_object().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(keyword: &Value) -> Schema {
        Schema::compile(json!({
            "type": "object",
            "x-sql": keyword,
            "properties": {
                "kind": {"type": "string"}, "host": {"type": "string"}, "port": {"type": "integer"},
                "name": {"type": "string"}, "user": {"type": ["string", "null"]}, "note": {"type": "string"},
                "options": {"type": "object", "additionalProperties": {"type": "string"}},
                "server": {"type": "object", "x-block": "server"},
                "password": {"type": "string", "x-secret": {"audience": "sql"}},
            },
        }))
        .expect("a schema")
    }

    fn full() -> Value {
        json!({"dialect": "/kind", "host": "/host", "port": "/port", "database": "/name", "username": "/user",
               "tls": "/options/sslmode"})
    }

    #[test]
    fn only_named_fields_are_read() {
        let config = json!({"kind": "postgres", "host": "db", "port": 6000, "name": "zoo", "note": "127.0.0.1",
                            "options": {"sslmode": "verify-full"}});
        let targets = SqlTarget::of(&schema(&full()), &config, &Pointer::default());
        assert_eq!(targets.len(), 1);
        let target = &targets[0];
        assert_eq!((target.host.as_deref(), target.port, target.database.as_str()), (Some("db"), Some(6000), "zoo"));
        assert_eq!((target.username.clone(), target.tls), (Some(None), Some(TlsMode::VerifyFull)));
        assert!(
            SqlTarget::of(&schema(&json!({"database": "/name"})), &json!({"name": "x"}), &Pointer::default())[0]
                .username
                .is_none()
        );
    }

    #[test]
    fn a_password_stays_with_its_server() {
        let target = |config: Value| SqlTarget::of(&schema(&full()), &config, &Pointer::default()).remove(0);
        let old = json!({"kind": "postgres", "host": "db", "name": "zoo", "options": {"sslmode": "require"}});
        let within = |field: &str, value: Value| {
            let mut config = old.clone();
            Pointer::from_dotted(field).set(&mut config, value).expect("a field");
            target(config).is_within(&target(old.clone()))
        };
        assert!(within("host", json!("db")) && within("port", json!(5432)) && within("name", json!("other")));
        assert!(within("options.sslmode", json!("verify-full")));
        assert!(!within("host", json!("evil")) && !within("port", json!(5433)) && !within("kind", json!("mysql")));
        assert!(!within("options.sslmode", json!("prefer")) && !within("options", json!({})));
        let file = |name: &str| target(json!({"kind": "sqlite", "name": name}));
        assert!(file("/a.db").is_within(&file("/a.db")) && !file("/b.db").is_within(&file("/a.db")));
    }

    #[test]
    fn invalid_values_name_no_database() {
        for (field, value) in [
            ("kind", json!("oracle")),
            ("host", json!(7)),
            ("port", json!(70_000)),
            ("port", json!("5432")),
            ("name", json!(["zoo"])),
            ("name", Value::Null),
            ("options", json!({"sslmode": "maybe"})),
        ] {
            let mut config = json!({"kind": "postgres", "host": "db", "name": "zoo"});
            config[field] = value.clone();
            assert_eq!(SqlTarget::of(&schema(&full()), &config, &Pointer::default()), [], "{field} {value}");
        }
        assert_eq!(SqlTarget::of(&schema(&Value::Null), &json!({"name": "x"}), &Pointer::default()), []);
    }

    #[test]
    fn fields_of_a_referenced_block_are_read() {
        let keyword = json!([{"host": "/server/config/host", "database": "/name"}]);
        let config = json!({"name": "zoo", "server": {"$block": "server/a", "config": {"host": "inner"}}});
        assert_eq!(SqlTarget::of(&schema(&keyword), &config, &Pointer::default())[0].host.as_deref(), Some("inner"));
        assert_eq!(problems(&schema(&keyword)), [""; 0]);
    }

    #[test]
    fn invalid_sql_keywords_are_rejected() {
        assert_eq!(problems(&schema(&full())), [""; 0]);
        for bad in [
            json!("/name"),
            json!({"host": "/host"}),
            json!({"database": "name"}),
            json!({"database": "/nothing"}),
            json!({"database": "/name", "hosts": "/host"}),
            json!({"database": "/password"}),
            json!([{"database": "/name"}, 7]),
        ] {
            assert!(!problems(&schema(&bad)).is_empty(), "{bad}");
        }
    }

    #[test]
    fn modes_are_in_order() {
        let modes = ["disable", "prefer", "require", "verify-ca", "verify-full"];
        let parsed: Vec<TlsMode> = modes.iter().map(|mode| mode.parse().expect("a mode")).collect();
        assert!(parsed.is_sorted() && "allow".parse::<TlsMode>().is_err());
    }
}
