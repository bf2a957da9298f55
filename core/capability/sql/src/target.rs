//! Access checks for databases: compares the database that a bundle asks for with those that the
//! block's configuration names.

use std::path::Path;

use blockyard_call::{Problem, quoted};
use blockyard_model::capability::Dialect;
use blockyard_model::{Pointer, SqlTarget, TlsMode};

use crate::bindings::blockyard::bundle::sql::Target;

/// Name of a SQLite database in memory, which exists as long as its connection.
pub(super) const MEMORY: &str = ":memory:";

/// A database that may be opened, with its connection options.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Permitted {
    pub(super) dialect: Dialect,
    /// Host and port; `None` for SQLite.
    pub(super) server: Option<(String, u16)>,
    pub(super) database: String,
    pub(super) username: Option<String>,
    pub(super) tls: TlsMode,
    /// CA certificates in PEM; `None` for the system's root certificates.
    pub(super) ca: Option<String>,
    /// Name under which the server lists the connection.
    pub(super) application_name: Option<String>,
}

impl Permitted {
    pub(super) fn is_memory(&self) -> bool {
        self.dialect == Dialect::Sqlite && self.database == MEMORY
    }

    /// Returns the host and the port; an empty host for a file.
    pub(super) fn address(&self) -> (&str, u16) {
        self.server.as_ref().map_or(("", default_port(self.dialect)), |(host, port)| (host.as_str(), *port))
    }

    /// Returns the server or the file, for messages and as a key.
    pub(super) fn server_or_file(&self) -> String {
        match &self.server {
            Some((host, port)) => format!("{host}:{port}"),
            None => self.database.clone(),
        }
    }
}

/// Returns the default port of a dialect's servers, as registered with IANA.
pub(super) fn default_port(dialect: Dialect) -> u16 {
    if dialect == Dialect::Mysql { 3306 } else { 5432 }
}

/// Checks that the block names a database with the requested host, port, database and user, all in
/// the same entry. The password is accepted only for the database of the block that contains it.
/// The TLS mode is at least as strict as the one in the block.
pub(super) fn permit(
    named: &[SqlTarget],
    target: &Target,
    dialect: Dialect,
    password: Option<&Pointer>,
) -> Result<Permitted, Problem> {
    let requested = Requested::new(target, dialect)?;
    if named.is_empty() {
        return Err(not_granted("the block's configuration does not name a valid database").hint(
            "check its dialect, port and TLS mode (`sslmode`: `disable`, `prefer`, `require`, `verify-ca`, \
                 `verify-full`); if the block type does not declare which fields name a database, the bundle author \
                 must add `sql(database = \"/FIELD\", …)` to `#[block(…)]` (`x-sql` in the schema)",
        ));
    }
    let named: Vec<&SqlTarget> =
        named.iter().filter(|named| named.dialect.is_none_or(|expected| expected == dialect)).collect();
    if named.is_empty() {
        return Err(not_granted(format!("the block's configuration names no {} database", dialect.product())));
    }
    // Reports the first property that no remaining database matches, in the order of the checks.
    let mut left = named;
    for (describe, matches) in requested.properties() {
        left.retain(|named| matches(&requested, named));
        if left.is_empty() {
            return Err(not_granted(format!("the block's configuration does not name the {}", describe(&requested))));
        }
    }
    if let Some(password) = password {
        left.retain(|named| named.passwords.contains(password));
        if left.is_empty() {
            return Err(not_granted(format!(
                "the secret `{password}` may not be used for this database: its block names another"
            )));
        }
    }
    // Among databases that differ only in their options, the strictest TLS mode applies.
    let Some(named) = left.into_iter().max_by_key(|named| named.tls) else {
        return Err(not_granted("the block's configuration does not name the database"));
    };
    requested.options(target, named)
}

fn not_granted(message: impl Into<String>) -> Problem {
    Problem::new("not-granted", message)
}

/// The database that the bundle asks for.
struct Requested<'target> {
    dialect: Dialect,
    host: Option<&'target str>,
    port: u16,
    database: &'target str,
    username: Option<&'target str>,
}

type Property = (fn(&Requested<'_>) -> String, fn(&Requested<'_>, &SqlTarget) -> bool);

impl<'target> Requested<'target> {
    fn new(target: &'target Target, dialect: Dialect) -> Result<Self, Problem> {
        let invalid = |message: String| Err(Problem::new("invalid", message));
        if dialect == Dialect::Sqlite {
            if target.host.is_some() || target.port.is_some() || target.username.is_some() {
                return invalid("a SQLite file has no host, port or user".to_owned());
            }
            if target.database != MEMORY && !Path::new(&target.database).is_absolute() {
                let message =
                    format!("`{}` is a relative path, which depends on the current folder", quoted(&target.database));
                return Err(Problem::new("invalid", message).hint("save the block with an absolute path"));
            }
        } else if target.host.as_deref().is_none_or(str::is_empty) {
            return invalid("a database server needs a host".to_owned());
        }
        Ok(Self {
            dialect,
            host: target.host.as_deref(),
            port: target.port.unwrap_or_else(|| default_port(dialect)),
            database: &target.database,
            username: target.username.as_deref(),
        })
    }

    fn properties(&self) -> Vec<Property> {
        let database: Property = (
            |requested| format!("database `{}`", quoted(requested.database)),
            |requested, named| named.database == requested.database,
        );
        if self.dialect == Dialect::Sqlite {
            // An entry with a host names a server, and cannot name a file.
            return vec![database, (|_| "file: it names a server".to_owned(), |_, named| named.host.is_none())];
        }
        vec![
            (
                |requested| format!("host `{}`", quoted(requested.host.unwrap_or_default())),
                |requested, named| named.host.as_deref() == requested.host,
            ),
            (
                |requested| {
                    format!("port `{}` with the host `{}`", requested.port, quoted(requested.host.unwrap_or_default()))
                },
                |requested, named| named.port.unwrap_or_else(|| default_port(requested.dialect)) == requested.port,
            ),
            database,
            (
                |requested| format!("user `{}`", quoted(requested.username.unwrap_or_default())),
                |requested, named| {
                    named.username.as_ref().is_none_or(|expected| expected.as_deref() == requested.username)
                },
            ),
        ]
    }

    /// Combines the bundle's options with those of the block. An option that is weaker than the
    /// block's is refused or replaced.
    fn options(&self, target: &Target, named: &SqlTarget) -> Result<Permitted, Problem> {
        let mut tls = None;
        for (name, value) in &target.options {
            match name.as_str() {
                _ if self.dialect == Dialect::Sqlite => {
                    return Err(Problem::new("invalid", format!("unknown option `{}` for SQLite", quoted(name))));
                }
                "sslmode" => tls = Some(value.parse().map_err(|()| unknown(self.dialect, name, value))?),
                // The bundle's value is ignored, so that it cannot lead to separate connections.
                "application_name" if self.dialect == Dialect::Postgres => {}
                "ca" if named.ca.as_ref() == Some(value) => {}
                "ca" => {
                    return Err(not_granted("the certificates in `ca` differ from those in the block's configuration"));
                }
                _ => return Err(unknown(self.dialect, name, value)),
            }
        }
        Ok(Permitted {
            dialect: self.dialect,
            server: self.host.map(|host| (host.to_owned(), self.port)),
            database: self.database.to_owned(),
            username: self.username.map(str::to_owned),
            tls: tls.max(named.tls).unwrap_or(TlsMode::Prefer),
            ca: named.ca.clone(),
            application_name: named.application_name.clone(),
        })
    }
}

fn unknown(dialect: Dialect, name: &str, value: &str) -> Problem {
    let more = if dialect == Dialect::Postgres { ", `application_name`" } else { "" };
    Problem::new(
        "invalid",
        format!("unknown option `{}` = `{}` for {}", quoted(name), quoted(value), dialect.product()),
    )
    .hint(format!("use `sslmode` (disable, prefer, require, verify-ca, verify-full){more} or `ca`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> SqlTarget {
        SqlTarget {
            block: Pointer::default(),
            dialect: Some(Dialect::Postgres),
            host: Some("db".to_owned()),
            port: None,
            database: "zoo".to_owned(),
            username: Some(Some("ada".to_owned())),
            tls: None,
            ca: None,
            application_name: None,
            passwords: vec![Pointer::new("/password")],
        }
    }

    fn target(host: Option<&str>, port: Option<u16>, database: &str, username: Option<&str>) -> Target {
        Target {
            dialect: String::new(),
            host: host.map(str::to_owned),
            port,
            database: database.to_owned(),
            username: username.map(str::to_owned),
            options: Vec::new(),
        }
    }

    fn zoo() -> Target {
        target(Some("db"), None, "zoo", Some("ada"))
    }

    fn code(permitted: Result<Permitted, Problem>) -> String {
        permitted.map_or_else(|problem| problem.code, |_| "ok".to_owned())
    }

    #[test]
    fn all_fields_of_a_server_must_match() {
        let two = [
            named(),
            SqlTarget { host: Some("two".to_owned()), port: Some(6000), database: "y".to_owned(), ..named() },
        ];
        let permit = |target: Target| code(permit(&two, &target, Dialect::Postgres, None));
        assert_eq!(permit(zoo()), "ok");
        assert_eq!(permit(target(Some("db"), Some(5432), "zoo", Some("ada"))), "ok");
        assert_eq!(permit(target(Some("two"), Some(6000), "y", Some("ada"))), "ok");
        for other in [
            target(Some("db"), Some(6000), "zoo", Some("ada")),
            target(Some("db"), None, "y", Some("ada")),
            target(Some("two"), None, "y", Some("ada")),
            target(Some("two"), Some(6000), "zoo", Some("ada")),
            target(Some("ada"), None, "zoo", Some("ada")),
            target(Some("zoo"), None, "zoo", Some("ada")),
            target(Some("DB"), None, "zoo", Some("ada")),
            target(Some("db"), None, "zoo", Some("db")),
            target(Some("db"), None, "zoo", None),
        ] {
            assert_eq!(permit(other.clone()), "not-granted", "{other:?}");
        }
        assert_eq!(permit(target(None, None, "zoo", Some("ada"))), "invalid");
    }

    #[test]
    fn a_type_without_the_sql_keyword_is_not_granted_a_server() {
        let refused = permit(&[], &zoo(), Dialect::Postgres, None).expect_err("nothing is named");
        assert!(refused.code == "not-granted" && refused.hint.is_some_and(|hint| hint.contains("x-sql")));
        assert_eq!(code(permit(&[named()], &zoo(), Dialect::Mysql, None)), "not-granted");
    }

    #[test]
    fn a_password_is_sent_only_to_the_server_of_its_block() {
        let named = [named()];
        let permit = |password: &str| code(permit(&named, &zoo(), Dialect::Postgres, Some(&Pointer::new(password))));
        assert_eq!((permit("/password").as_str(), permit("/base/config/password").as_str()), ("ok", "not-granted"));
    }

    #[test]
    fn options_do_not_weaken_the_tls_mode_of_the_block() {
        let strict = SqlTarget { tls: Some(TlsMode::VerifyFull), ca: Some("PEM".to_owned()), ..named() };
        let open = |named: &SqlTarget, options: &[(&str, &str)]| {
            let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            permit(std::slice::from_ref(named), &Target { options, ..zoo() }, Dialect::Postgres, None)
        };
        for weaker in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            let permitted = open(&strict, &[("sslmode", weaker)]).expect("it is named");
            assert_eq!((permitted.tls, permitted.ca.as_deref()), (TlsMode::VerifyFull, Some("PEM")), "{weaker}");
        }
        assert_eq!(open(&strict, &[]).expect("it is named").tls, TlsMode::VerifyFull);
        assert_eq!(open(&named(), &[("sslmode", "require")]).expect("it is named").tls, TlsMode::Require);
        assert_eq!(open(&named(), &[]).expect("it is named").tls, TlsMode::Prefer);
        assert_eq!(code(open(&strict, &[("ca", "PEM")])), "ok");
        assert_eq!(code(open(&strict, &[("ca", "OTHER")])), "not-granted");
        assert_eq!(code(open(&named(), &[("ca", "OTHER")])), "not-granted");
        assert_eq!(code(open(&named(), &[("sslmode", "no")])), "invalid");
        assert_eq!(code(open(&named(), &[("options", "-c x=y")])), "invalid");
        // An option that only the bundle sets does not lead to a separate connection.
        assert_eq!(open(&named(), &[("application_name", "a")]).ok(), open(&named(), &[]).ok());
        let listed = SqlTarget { application_name: Some("etl".to_owned()), ..named() };
        let permitted = open(&listed, &[("application_name", "a")]).expect("it is named");
        assert_eq!(permitted.application_name.as_deref(), Some("etl"));
    }

    #[test]
    fn the_path_of_a_file_must_match_exactly() {
        let named = SqlTarget { dialect: None, host: None, username: None, database: "/a/b.db".to_owned(), ..named() };
        let permit = |path: &str| {
            code(permit(std::slice::from_ref(&named), &target(None, None, path, None), Dialect::Sqlite, None))
        };
        assert_eq!(permit("/a/b.db"), "ok");
        for other in ["/a/../a/b.db", "/a/b.db/", "/a//b.db", "/a/c.db", MEMORY] {
            assert_eq!(permit(other), "not-granted", "{other}");
        }
        assert_eq!(permit("b.db"), "invalid");
    }
}
