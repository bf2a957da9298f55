//! Patterns of origins, such as `https://storage.googleapis.com`, `https://*.example.com`,
//! `https://{config.host}:{config.port}` and `{config.base_url}`, with an optional list of networks
//! in which the servers may be: `... at 10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde_json::Value;

use super::{Host, Origin, OriginError, RequestUrl, Scheme, parse_port, split_port};

/// A valid pattern of origins. It may refer to fields of the block's configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginPattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// A single origin.
    Exact(Origin),
    /// All subdomains of a name. `suffix` begins with a dot, so the name itself does not match.
    Below { scheme: Scheme, suffix: String, port: u16 },
    /// Origin of the URL in a configuration field.
    Field(String),
    /// Origin with configuration fields in host or port.
    Template { scheme: Scheme, authority: Vec<Segment> },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    Text(String),
    Field(String),
}

/// HTTP access of a bundle: the origins that it may send requests to, and the non-public networks
/// in which their servers may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpAccess {
    /// Permitted origins.
    pub origin: OriginPattern,
    /// Non-public networks that the capability names explicitly.
    pub networks: Vec<IpNet>,
}

impl OriginPattern {
    /// Returns the origin if the pattern matches exactly one, otherwise `None`.
    #[must_use]
    pub fn exact(&self) -> Option<&Origin> {
        match &self.0 {
            Kind::Exact(origin) => Some(origin),
            _ => None,
        }
    }

    /// Returns true if the pattern refers to configuration fields.
    #[must_use]
    pub fn has_fields(&self) -> bool {
        matches!(self.0, Kind::Field(_) | Kind::Template { .. })
    }

    /// Replaces the configuration fields by their values. Returns `None` if a field is missing or
    /// the result is not a valid origin; such a pattern matches nothing.
    #[must_use]
    pub fn expand(&self, config: &Value) -> Option<Self> {
        match &self.0 {
            Kind::Exact(_) | Kind::Below { .. } => Some(self.clone()),
            Kind::Field(field) => {
                let url = RequestUrl::parse(lookup(config, field)?.as_str()?).ok()?;
                Some(Self(Kind::Exact(url.origin)))
            }
            Kind::Template { scheme, authority } => {
                let mut text = String::new();
                for segment in authority {
                    match segment {
                        Segment::Text(literal) => text.push_str(literal),
                        Segment::Field(field) => text.push_str(&host_part(lookup(config, field)?)?),
                    }
                }
                concrete(*scheme, &text).ok()
            }
        }
    }

    /// Returns true if the origin matches. A pattern with fields matches nothing: call
    /// [`expand`](Self::expand) first.
    #[must_use]
    pub fn matches(&self, origin: &Origin) -> bool {
        match &self.0 {
            Kind::Exact(own) => own == origin,
            Kind::Below { scheme, suffix, port } => {
                *scheme == origin.scheme
                    && *port == origin.port
                    && matches!(&origin.host, Host::Name(name) if name.len() > suffix.len() && name.ends_with(suffix))
            }
            Kind::Field(_) | Kind::Template { .. } => false,
        }
    }

    /// Returns true if every origin of `other` could match this pattern, so that `other` may be
    /// granted to a bundle that requests this pattern.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (own, others) if own == others => true,
            (Kind::Field(_), Kind::Exact(_)) => true,
            (Kind::Below { .. }, Kind::Exact(origin)) => self.matches(origin),
            (
                Kind::Below { scheme, suffix, port },
                Kind::Below { scheme: other_scheme, suffix: other, port: other_port },
            ) => scheme == other_scheme && port == other_port && other.ends_with(suffix),
            (Kind::Template { scheme, authority }, Kind::Exact(origin)) => {
                let text = origin.to_string();
                let text = text.split_once("://").map_or("", |(_, rest)| rest);
                // A pattern with an explicit port also covers an origin whose port is the default
                // of its scheme.
                let with_port = format!("{}:{}", origin.host, origin.port);
                *scheme == origin.scheme && (fits(authority, text) || fits(authority, &with_port))
            }
            _ => false,
        }
    }
}

/// Parses an authority without fields: a name, an IP address, or `*.` and a name.
fn concrete(scheme: Scheme, authority: &str) -> Result<OriginPattern, String> {
    if authority.contains(['@', '/', '?', '#', '\\']) {
        return Err("has more than scheme, host and port".to_owned());
    }
    let (host, port) = split_port(authority);
    let port = port.map(parse_port).transpose()?.unwrap_or(scheme.default_port());
    let Some(name) = host.strip_prefix("*.") else {
        return Ok(OriginPattern(Kind::Exact(Origin { scheme, host: Host::parse(host)?, port })));
    };
    match Host::parse(name)? {
        Host::Name(name) if name.contains('.') => {
            Ok(OriginPattern(Kind::Below { scheme, suffix: format!(".{name}"), port }))
        }
        _ => Err("has a `*.` that is not followed by a name with at least two labels".to_owned()),
    }
}

/// Returns the value of a field as part of a host or port, or `None` if it is not valid there.
fn host_part(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.as_u64()?.to_string()),
        Value::String(text) => {
            let fine = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            (fine && !text.is_empty()).then(|| text.clone())
        }
        _ => None,
    }
}

/// Returns the value of a configuration field by its dotted path.
pub(crate) fn lookup<'a>(config: &'a Value, field: &str) -> Option<&'a Value> {
    field.split('.').try_fold(config, |value, name| value.get(name))
}

/// Returns true if the text matches these literals and fields. Each field matches one or more
/// characters of a host.
fn fits(segments: &[Segment], text: &str) -> bool {
    match segments {
        [] => text.is_empty(),
        [Segment::Text(literal), rest @ ..] => text.strip_prefix(literal.as_str()).is_some_and(|left| fits(rest, left)),
        [Segment::Field(_), rest @ ..] => (1..=text.len())
            .filter(|end| text.is_char_boundary(*end))
            .take_while(|end| !text[..*end].contains([':', '[', ']']))
            .any(|end| fits(rest, &text[end..])),
    }
}

/// Splits an authority into literals and fields (`{config.a.b}`).
fn segments(text: &str) -> Result<Vec<Segment>, String> {
    let mut segments = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        if at > 0 {
            segments.push(Segment::Text(rest[..at].to_ascii_lowercase()));
        }
        let end = rest[at..].find('}').ok_or("has a `{` without a `}`")? + at;
        segments.push(Segment::Field(field(&rest[at..=end]).ok_or("has braces that do not contain `config.FIELD`")?));
        rest = &rest[end + 1..];
    }
    if !rest.is_empty() {
        segments.push(Segment::Text(rest.to_ascii_lowercase()));
    }
    Ok(segments)
}

/// Returns the field of `{config.FIELD}`.
pub(crate) fn field(text: &str) -> Option<String> {
    let field = text.strip_prefix("{config.")?.strip_suffix('}')?;
    let fine = field.split('.').all(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    fine.then(|| field.to_owned())
}

impl From<Origin> for OriginPattern {
    /// Returns the pattern that matches this origin only.
    fn from(origin: Origin) -> Self {
        Self(Kind::Exact(origin))
    }
}

impl FromStr for OriginPattern {
    type Err = OriginError;
    fn from_str(text: &str) -> Result<Self, OriginError> {
        let bad = |reason: String| OriginError::new(text, reason);
        if let Some(field) = field(text) {
            return Ok(Self(Kind::Field(field)));
        }
        let (scheme, authority) = Scheme::split(text)?;
        if !authority.contains('{') {
            // A trailing slash, as in `https://example.com/`, is accepted. A path is rejected,
            // because it would not restrict the requests.
            return concrete(scheme, authority.strip_suffix('/').unwrap_or(authority)).map_err(bad);
        }
        let authority = segments(authority).map_err(bad)?;
        // Checks that the fields are used only in host names and the port, by inserting sample
        // values.
        let mut sample = String::new();
        for segment in &authority {
            match segment {
                Segment::Text(literal) => sample.push_str(literal),
                Segment::Field(_) if sample.contains(':') => sample.push('1'),
                Segment::Field(_) => sample.push('a'),
            }
        }
        match concrete(scheme, &sample).map_err(bad)?.0 {
            Kind::Exact(_) => Ok(Self(Kind::Template { scheme, authority })),
            _ => Err(bad("has both `*` and a field".to_owned())),
        }
    }
}

impl HttpAccess {
    /// Returns the non-public networks that are named explicitly: after `at`, or by an origin whose
    /// host is an IP address or `localhost` (RFC 6761). A host that comes from a configuration
    /// field does not count.
    #[must_use]
    pub fn special_networks(&self) -> Vec<IpNet> {
        let mut networks = self.networks.clone();
        match self.origin.exact().map(|origin| &origin.host) {
            Some(Host::Address(address)) => networks.push(IpNet::from(*address)),
            Some(Host::Name(name)) if name == "localhost" || name.ends_with(".localhost") => {
                networks.extend(["127.0.0.0/8", "::1/128"].map(|net| net.parse::<IpNet>().expect("a network")));
            }
            _ => {}
        }
        networks
    }
}

impl FromStr for HttpAccess {
    type Err = OriginError;
    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (origin, networks) = text.split_once(" at ").map_or((text, None), |(origin, rest)| (origin, Some(rest)));
        let network = |part: &str| {
            let network = part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
            network.map(|network| network.trunc()).map_err(|_| {
                OriginError::new(part, "is not a network; write an address or a network such as `10.0.0.0/8`")
            })
        };
        let mut networks: Vec<IpNet> =
            networks.into_iter().flat_map(|list| list.split(',')).map(network).collect::<Result<_, _>>()?;
        networks.sort();
        networks.dedup();
        Ok(Self { origin: origin.parse()?, networks })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exact(origin) => origin.fmt(f),
            Kind::Below { scheme, suffix, port } => {
                write!(f, "{}://*{suffix}", scheme.as_str())?;
                if *port == scheme.default_port() { Ok(()) } else { write!(f, ":{port}") }
            }
            Kind::Field(field) => write!(f, "{{config.{field}}}"),
            Kind::Template { scheme, authority } => {
                write!(f, "{}://", scheme.as_str())?;
                authority.iter().try_for_each(|segment| match segment {
                    Segment::Text(text) => f.write_str(text),
                    Segment::Field(field) => write!(f, "{{config.{field}}}"),
                })
            }
        }
    }
}

impl fmt::Display for HttpAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)?;
        for (index, network) in self.networks.iter().enumerate() {
            write!(f, "{}{network}", if index == 0 { " at " } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pattern(text: &str) -> OriginPattern {
        text.parse().expect(text)
    }

    fn matches(text: &str, config: &Value, url: &str) -> bool {
        let origin = RequestUrl::parse(url).expect(url).origin;
        pattern(text).expand(config).is_some_and(|pattern| pattern.matches(&origin))
    }

    #[test]
    fn patterns_match_only_their_origins() {
        let none = json!({});
        assert!(matches("https://Storage.googleapis.com", &none, "https://storage.googleapis.com/b/o"));
        assert!(matches("https://a.example:443/", &none, "https://A.example"));
        assert!(!matches("https://a.example", &none, "http://a.example"));
        assert!(!matches("https://a.example", &none, "https://a.example:8443"));
        assert!(!matches("https://a.example", &none, "https://evil-a.example"));
        assert!(!matches("https://a.example", &none, "https://a.example.evil.example"));
        assert!(matches("https://*.a.example", &none, "https://x.y.a.example"));
        assert!(!matches("https://*.a.example", &none, "https://a.example"));
        assert!(!matches("https://*.a.example", &none, "https://evila.example"));
        assert!(matches("http://127.0.0.1:80", &none, "http://[::ffff:127.0.0.1]"));
    }

    #[test]
    fn patterns_substitute_fields_of_the_configuration() {
        let config = json!({"host": "db.example", "port": 8443, "region": "eu-west1", "url": "https://a.example/v1",
            "bad": "a.example/@b", "nested": {"url": "http://b.example:81"}, "secret": {"$secret": "/secret"}});
        assert!(matches("https://{config.host}:{config.port}", &config, "https://db.example:8443/x"));
        assert!(matches("https://{config.region}-run.example.com", &config, "https://eu-west1-run.example.com"));
        assert!(matches("{config.url}", &config, "https://a.example/elsewhere"));
        assert!(matches("{config.nested.url}", &config, "http://b.example:81"));
        assert!(!matches("{config.url}", &config, "http://a.example"));
        for missing in
            ["{config.none}", "https://{config.none}", "https://{config.bad}", "{config.secret}", "{config.bad}"]
        {
            assert_eq!(pattern(missing).expand(&config), None, "{missing}");
        }
    }

    #[test]
    fn patterns_round_trip() {
        for text in [
            "https://a.example",
            "http://a.example:8080",
            "https://*.a.example",
            "https://*.a.example:444",
            "{config.url}",
            "https://{config.host}:{config.port}",
            "http://[::1]:81",
            "https://{config.a.b-c_d}.example.com",
        ] {
            assert_eq!(pattern(text).to_string(), text);
        }
        for text in [
            "",
            "a.example",
            "*",
            "https://*",
            "https://*.com",
            "https://a.*.example",
            "https://a.example/path",
            "https://a@b",
            "https://{host}",
            "https://{config.}",
            "https://{config.a",
            "https://*.{config.a}",
            "https://{config.a}/x",
            "{config.a}.example",
            "file:///etc",
            "https://{config.a b}",
        ] {
            assert!(text.parse::<OriginPattern>().is_err(), "{text}");
        }
        let access: HttpAccess = "https://a.example at 10.1.2.3/8,192.168.0.1".parse().expect("access");
        assert_eq!(access.to_string(), "https://a.example at 10.0.0.0/8,192.168.0.1/32");
        assert!("https://a.example at nowhere".parse::<HttpAccess>().is_err());
    }

    #[test]
    fn requested_patterns_cover_narrower_grants() {
        let covers = |requested: &str, granted: &str| pattern(requested).covers(&pattern(granted));
        assert!(covers("{config.url}", "http://127.0.0.1:4443"));
        assert!(covers("https://{config.host}:{config.port}", "https://db.example:8443"));
        assert!(covers("https://{config.host}:{config.port}", "https://db.example"));
        assert!(covers("https://*.a.example", "https://b.a.example"));
        assert!(covers("https://*.a.example", "https://*.b.a.example"));
        assert!(!covers("https://*.a.example", "https://b.example"));
        assert!(!covers("https://{config.region}.a.example", "https://evil.example"));
        assert!(!covers("https://a.example", "https://b.example"));
        assert!(!covers("https://a.example", "{config.url}"));
        assert!(!covers("https://b.a.example", "https://*.a.example"));
    }

    #[test]
    fn only_literal_hosts_and_networks_name_a_network() {
        let networks = |text: &str| -> Vec<String> {
            let access: HttpAccess = text.parse().expect(text);
            access.special_networks().iter().map(ToString::to_string).collect()
        };
        assert_eq!(networks("http://127.0.0.1:80"), ["127.0.0.1/32"]);
        assert_eq!(networks("http://localhost:80"), ["127.0.0.0/8", "::1/128"]);
        assert_eq!(networks("https://vault.corp.example at 10.0.0.0/8"), ["10.0.0.0/8"]);
        assert!(networks("{config.url}").is_empty());
        assert!(networks("https://vault.corp.example").is_empty());
    }
}
