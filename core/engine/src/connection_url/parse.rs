//! Strict parser for connection URLs. Every byte must be significant: a component that is ignored
//! or misread could select another database.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Query options that PostgreSQL clients interpret as other components of the URL.
const PARTS_AS_OPTIONS: [&str; 7] = ["user", "username", "host", "hostaddr", "port", "dbname", "database"];

/// Characters to percent-encode: all except the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A parsed connection URL, without the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Path of a file, or `:memory:`.
    File(String),
    /// A database on a server.
    Server(Server),
}

#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Server {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    /// Host name or IP address. IPv6 addresses have no brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) database: String,
    pub(super) options: Vec<(String, String)>,
}

/// A rejected connection URL, with the reason. The reason quotes no value of the URL, which may
/// contain a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

type Result<T> = std::result::Result<T, Refused>;

fn refused<T>(what: impl Into<String>) -> Result<T> {
    Err(Refused(what.into()))
}

/// Splits a URL into its scheme and the rest after the colon. A driver name after `+`, as in
/// SQLAlchemy's `postgresql+psycopg2`, is ignored, because it is meaningful in Python only.
pub(super) fn scheme(text: &str) -> Result<(&str, &str)> {
    // A URL read from a file may end with a line break.
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    let Some((scheme, rest)) = text.split_once(':') else { return refused("is not a URL: it has no scheme") };
    let plain =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let (scheme, driver) = scheme.split_once('+').map_or((scheme, None), |(scheme, driver)| (scheme, Some(driver)));
    if !plain(scheme) || driver.is_some_and(|driver| !plain(driver)) {
        return refused("is not a URL: it does not begin with a scheme and a colon");
    }
    if rest.chars().any(char::is_control) {
        return refused("is not a URL: it has control characters");
    }
    Ok((scheme, rest))
}

/// Parses `:memory:`, `//PATH` with an absolute path, or a path.
pub(super) fn file(rest: &str) -> Result<Target> {
    if matches!(rest, ":memory:" | "//:memory:" | "///:memory:") {
        return Ok(Target::File(":memory:".to_owned()));
    }
    if rest.trim() != rest {
        return refused("has blanks at its end, which are written `%20` in a file's name");
    }
    if rest.contains('?') {
        return refused("has options after `?`, which a file does not take; a `?` in a file's name is written `%3F`");
    }
    if rest.contains('#') {
        return refused("has a fragment after `#`, which is not supported; a `#` in a file's name is written `%23`");
    }
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some("") => return refused("names no file; a database in memory is `sqlite::memory:`"),
        Some(_) => return refused("names a server, which a file does not have; an absolute path is `sqlite:///PATH`"),
        None => rest,
    };
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if first.starts_with('~') {
        return refused(
            "has a `~`, which only a shell replaces by the home folder; write the whole path, or `%7E` for a `~` in a name",
        );
    }
    if first.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return refused("has `file:` in its path; write the path without it, or `%3A` for a `:` in a name");
    }
    let path = decoded(path, "path")?;
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return refused("has an empty part in its path; an absolute path is `sqlite:///PATH`");
    }
    if parts.iter().any(|part| part.starts_with(':')) {
        return refused("has a path part that begins with `:`; a database in memory is `sqlite::memory:`");
    }
    Ok(Target::File(path))
}

/// Parses `//USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE`.
pub(super) fn server(rest: &str) -> Result<Target> {
    let Some(rest) = rest.strip_prefix("//") else { return refused("has no `//` after its scheme") };
    if rest.contains(char::is_whitespace) {
        return refused("has blanks, which are written `%20` in a password or a name");
    }
    if rest.contains('#') {
        return refused("has a `#`, which is written `%23` in a password");
    }
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    let Some((authority, database)) = before.split_once('/') else { return refused("names no database") };
    if query.is_some_and(|query| query.contains('@')) || database.contains('@') {
        return refused("has an `@` after its host: a `/`, `?` or `@` in a password is written `%2F`, `%3F` or `%40`");
    }
    let mut server = Server::default();
    let host = match authority.split_once('@') {
        Some((userinfo, host)) => {
            server.userinfo(userinfo)?;
            host
        }
        None => authority,
    };
    if host.contains('@') {
        return refused("has more than one `@`: in a password it is written `%40`");
    }
    server.host(host)?;
    match database {
        "" => return refused("names no database"),
        name if name.contains('/') => {
            return refused("has more than one part in its path; a `/` in the database's name is written `%2F`");
        }
        name if name.contains(['&', ';']) => {
            return refused(
                "has a `&` or `;` in its database's name: options begin with `?`, and in a name they are written `%26` and `%3B`",
            );
        }
        name => server.database = decoded(name, "database's name")?,
    }
    if let Some(query) = query {
        server.query(query)?;
    }
    Ok(Target::Server(server))
}

impl Server {
    fn userinfo(&mut self, text: &str) -> Result<()> {
        let (user, password) = text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
        if user.is_empty() {
            return refused("has no user before its `@`");
        }
        if password == Some("") {
            return refused("has an empty password; leave out the `:`");
        }
        self.username = Some(decoded(user, "user")?);
        self.password = password.map(|password| decoded(password, "password")).transpose()?;
        Ok(())
    }

    fn host(&mut self, text: &str) -> Result<()> {
        if text.contains(',') {
            return refused("has several hosts, but a block supports only one");
        }
        if text.contains('%') {
            return refused("has a `%` in its host: sockets and zones are not supported, name a host or an address");
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let Some((address, after)) = rest.split_once(']') else {
                    return refused("has an IPv6 address without its `]`");
                };
                let Ok(address) = address.parse::<Ipv6Addr>() else {
                    return refused("has brackets around an invalid IPv6 address");
                };
                let port = match after.strip_prefix(':') {
                    None if after.is_empty() => None,
                    Some(port) => Some(port),
                    None => return refused("has unexpected characters between its host and its port"),
                };
                (address.to_string(), port)
            }
            None if text.matches(':').count() > 1 => {
                return refused(
                    "has more than one `:` in its host and port; an IPv6 address is written in brackets, `[::1]`",
                );
            }
            None => {
                let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
                if let Some(wrong) = host_mistake(host) {
                    return refused(wrong);
                }
                (host.to_owned(), port)
            }
        };
        self.host = host;
        self.port = port.map(port_number).transpose()?;
        Ok(())
    }

    fn query(&mut self, text: &str) -> Result<()> {
        for pair in text.split('&') {
            let Some((name, value)) = pair.split_once('=') else {
                return refused("has an option without `=`; a `?` or `&` in a value is written `%3F` or `%26`");
            };
            let name_is_plain =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
            if !name_is_plain {
                return refused("has an option whose name is not letters, digits, `_`, `-` and `.`");
            }
            if value.is_empty() {
                return refused(format!("has the option `{name}` without a value"));
            }
            if value.contains('+') {
                return refused(format!("has a `+` in the option `{name}`: a plus is written `%2B`, a blank `%20`"));
            }
            if PARTS_AS_OPTIONS.contains(&name) {
                return refused(format!("has the option `{name}`, which must be written before the `?`"));
            }
            let value = decoded(value, "option's value")?;
            let known = self.options.iter().any(|(other, _)| other == name);
            if known || name == "password" && self.password.is_some() {
                return refused(format!("has `{name}` twice"));
            }
            // `password` is accepted as an option, as in libpq.
            if name == "password" { self.password = Some(value) } else { self.options.push((name.to_owned(), value)) }
        }
        Ok(())
    }
}

/// Returns the reason why a host is invalid, or `None` if it is valid.
fn host_mistake(host: &str) -> Option<&'static str> {
    if host.is_empty() {
        return Some("names no host; sockets are not supported");
    }
    if !host.is_ascii() {
        return Some("has a host with non-ASCII characters; write it in its ASCII form (`xn--…`)");
    }
    let labels: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    let plain = |label: &&str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if host.len() > 253 || !labels.iter().all(plain) {
        return Some(
            "has a host that is neither a name nor an address; in a password, `/ # ? @ %` are written `%2F %23 %3F %40 %25`",
        );
    }
    let numeric = labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    (numeric && host.parse::<Ipv4Addr>().is_err()).then_some("has an address that is not four decimal numbers")
}

fn port_number(text: &str) -> Result<u16> {
    let digits = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits => Ok(port),
        _ => refused(
            "has an invalid port number: it is 1 to 65535; in a password, `/ # ? @ %` are written `%2F %23 %3F %40 %25`",
        ),
    }
}

/// Decodes the percent-encoding of a component. Delimiters of other components must be escaped.
fn decoded(text: &str, what: &str) -> Result<String> {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let hex = |offset: usize| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        match byte {
            b'%' if !(hex(1) && hex(2)) => {
                return refused(format!(
                    "has a `%` in its {what} that is not followed by two hexadecimal digits; a `%` is written `%25`"
                ));
            }
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']' => {
                return refused(format!("has a `{}` in its {what}, which is written `%{byte:02X}`", char::from(*byte)));
            }
            _ => {}
        }
    }
    let Ok(text) = percent_decode_str(text).decode_utf8() else {
        return refused(format!("has bytes in its {what} that are not UTF-8"));
    };
    if text.chars().any(char::is_control) {
        return refused(format!("has a control character in its {what}"));
    }
    Ok(text.into_owned())
}

fn encoded(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, ESCAPED)
}

/// Formats the URL without its scheme and colon.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) if path == ":memory:" => f.write_str(path),
            Self::File(path) => {
                let part = |part: &str| match part.strip_prefix('~') {
                    Some(rest) => format!("%7E{}", encoded(rest)),
                    None => encoded(part).to_string(),
                };
                let parts: Vec<String> = path.split('/').map(part).collect();
                write!(f, "{}{}", if path.starts_with('/') { "//" } else { "" }, parts.join("/"))
            }
            Self::Server(server) => {
                f.write_str("//")?;
                if let Some(user) = &server.username {
                    write!(f, "{}", encoded(user))?;
                    if let Some(password) = &server.password {
                        write!(f, ":{}", encoded(password))?;
                    }
                    f.write_str("@")?;
                }
                if server.host.contains(':') {
                    write!(f, "[{}]", server.host)?
                } else {
                    f.write_str(&server.host)?
                }
                if let Some(port) = server.port {
                    write!(f, ":{port}")?;
                }
                write!(f, "/{}", encoded(&server.database))?;
                let password = server.password.iter().filter(|_| server.username.is_none());
                let password = password.map(|password| format!("password={}", encoded(password)));
                let options = server.options.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
                let query: Vec<String> = password.chain(options).collect();
                if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
            }
        }
    }
}

/// Omits the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}:{:?}/{})", self.host, self.port, self.database)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9]{1,8}", "[!-~]{1,8}", "\\PC{1,6}", "[/#?@%:+& ]{1,4}"]
            .prop_filter("what is encoded has no control characters", |text| !text.chars().any(char::is_control))
    }

    fn some_server() -> impl Strategy<Value = Target> {
        let host = prop_oneof![
            "[a-z]([a-z0-9]{0,5}\\.){0,2}[a-z]{1,5}".prop_filter("labels", |h| host_mistake(h).is_none()),
            Just("127.0.0.1".to_owned()),
            Just("::1".to_owned()),
            Just("2001:db8::5".to_owned())
        ];
        let options = prop::collection::btree_map("ssl[a-z]{1,5}", some_text(), 0..3);
        (
            prop::option::of(some_text()),
            prop::option::of(some_text()),
            host,
            prop::option::of(1..=u16::MAX),
            some_text(),
            options,
        )
            .prop_map(|(username, password, host, port, database, options)| {
                Target::Server(Server {
                    username,
                    password,
                    host,
                    port,
                    database,
                    options: options.into_iter().collect(),
                })
            })
    }

    proptest! {
        #[test]
        fn server_urls_round_trip(target in some_server()) {
            prop_assert_eq!(server(&target.to_string()), Ok(target));
        }

        #[test]
        fn file_urls_round_trip(parts in prop::collection::vec(some_text(), 1..4), absolute: bool) {
            let parts: Vec<String> = parts.into_iter().map(|part| part.replace('/', "_")).collect();
            prop_assume!(parts.iter().all(|part| !part.starts_with(':')));
            let target = Target::File(format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")));
            prop_assert_eq!(file(&target.to_string()), Ok(target));
        }

        /// Every byte of an accepted URL belongs to a component: formatting the components yields
        /// the same URL.
        #[test]
        fn an_accepted_url_has_no_ignored_characters(
            text in "//([a-z]{1,3}(:[a-z%/@#?]{0,4})?@)?[a-z.:\\[\\]%,]{0,6}(:[0-9]{0,5})?/?[a-z/%]{0,4}(\\?[a-z=&+%]{0,8})?(#[a-z]{0,2})?"
        ) {
            if let Ok(target) = server(&text) {
                let written = target.to_string();
                prop_assert_eq!(server(&written), Ok(target));
                let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
                prop_assert_eq!(plain(&written), plain(&text));
            }
        }
    }
}
