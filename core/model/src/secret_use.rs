//! Permitted uses of a secret: the `x-secret` keyword of its field in a schema, and the expanded
//! form for one configuration, which the host enforces.

use serde_json::{Map, Value};

use crate::audience::Audience;
use crate::header::{AUTHORIZATION, check_secret_header};
use crate::origin::{Origin, OriginError, RequestUrl, config_field, config_value};
use crate::sign::{SignForm, SignFormError};
use crate::value::plain;

/// Schema keyword that declares a secret.
pub const SECRET_KEYWORD: &str = "x-secret";

/// The `x-secret` keyword of a schema:
///
/// ```json
/// {"audience": ["https://api.example.com"], "header": ["x-api-key"],
///  "token": ["{config.token_url}"], "sign": ["goog4-rsa-sha256"], "url": false,
///  "member": ["api_key"]}
/// ```
///
/// `url` is a boolean. Each other member is a string or a list of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretKeyword {
    /// `sql`, or patterns of the origins that may receive the secret in requests.
    pub audience: Vec<Audience>,
    /// Headers that may contain the secret; `None` for `Authorization`.
    pub header: Option<Vec<String>>,
    /// URLs of token servers that exchange the secret for a token.
    pub token: Vec<TokenUrl>,
    /// Forms of text that the secret may sign.
    pub sign: Vec<SignForm>,
    /// Whether the secret is a URL to which requests are sent.
    pub url: bool,
    /// Members of the JSON object in the body of a request that may contain the secret.
    pub members: Vec<String>,
}

/// URL of a token server. It has no query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenUrl {
    /// This URL.
    Exact(RequestUrl),
    /// The value of this configuration field.
    Field(String),
}

/// Permitted uses of one secret, expanded for one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretUse {
    /// Databases and origins.
    pub audience: Vec<Audience>,
    /// Headers that may contain the secret, in lower case.
    pub headers: Vec<String>,
    /// URLs of token servers.
    pub tokens: Vec<RequestUrl>,
    /// Forms of text that the secret may sign.
    pub sign: Vec<SignForm>,
    /// Whether the secret is a URL to which requests are sent.
    pub url: bool,
    /// Members of the JSON object in the body of a request that may contain the secret.
    pub members: Vec<String>,
}

impl SecretKeyword {
    /// Reads the keywords of a field; `None` if they do not declare a secret. A password field
    /// without `x-secret` is a secret without permitted uses.
    pub(crate) fn of(keywords: &Map<String, Value>) -> Option<Self> {
        let marked = keywords.get("writeOnly") == Some(&Value::Bool(true))
            && keywords.get("format").is_some_and(|format| format == "password");
        match keywords.get(SECRET_KEYWORD) {
            Some(secret) => Some(Self::read(secret)),
            None => marked.then(Self::default),
        }
    }

    /// Reads the value of `x-secret`. Invalid items permit nothing and are dropped.
    #[must_use]
    pub fn read(secret: &Value) -> Self {
        Self::parse(secret, &mut Vec::new())
    }

    /// Returns the problems of a value of `x-secret`, for manifest validation.
    #[must_use]
    pub fn problems(secret: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        Self::parse(secret, &mut problems);
        problems
    }

    fn parse(secret: &Value, problems: &mut Vec<String>) -> Self {
        let Some(secret) = secret.as_object() else { return Self::default() };
        let list = |name: &str| strings(secret, name).unwrap_or_default();
        let (tokens, members) = (list("token"), list("member"));
        let url = match secret.get("url") {
            None => false,
            Some(Value::Bool(url)) => *url,
            Some(_) => {
                problems.push("`url` must be `true` or `false`".to_owned());
                false
            }
        };
        Self {
            audience: valid(list("audience"), problems, |text| {
                text.parse().map_err(|error| format!("an audience must be `sql` or an origin: {error}"))
            }),
            header: match strings(secret, "header") {
                Some(names) => Some(valid(names, problems, |name| match check_secret_header(name) {
                    Ok(()) => Ok(name.to_owned()),
                    Err(reason) => Err(format!("the header `{}` {reason}", name.escape_debug())),
                })),
                None if tokens.is_empty() && members.is_empty() && !url => None,
                // By default, no header may contain a secret that is exchanged for tokens, sent in a
                // body, or a URL.
                None => Some(Vec::new()),
            },
            token: valid(tokens, problems, |text| {
                TokenUrl::parse(text).map_err(|error| {
                    format!("a token server must be a URL without a query, or `{{config.FIELD}}`: {error}")
                })
            }),
            sign: valid(list("sign"), problems, |text| text.parse().map_err(|error: SignFormError| error.to_string())),
            url,
            members: valid(members, problems, |name| match is_member(name) {
                true => Ok(name.to_owned()),
                false => {
                    Err(format!("the member `{}` is not a word of letters, digits, `_` and `-`", name.escape_debug()))
                }
            }),
        }
    }

    /// Inserts the fields of this configuration. Items that do not expand to a valid origin or URL
    /// are dropped.
    #[must_use]
    pub fn expand(&self, config: &Value) -> SecretUse {
        SecretUse {
            audience: self.audience.iter().filter_map(|audience| audience.expand(config)).collect(),
            headers: self.header.clone().unwrap_or_else(|| vec![AUTHORIZATION.to_owned()]),
            tokens: self.token.iter().filter_map(|url| url.expand(config)).collect(),
            sign: self.sign.clone(),
            url: self.url,
            members: self.members.clone(),
        }
    }
}

/// Checks the name of a member that may contain a secret. It needs no escapes in JSON.
fn is_member(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(is_legal)
}

impl SecretUse {
    /// Returns true if requests to this origin may carry the secret.
    #[must_use]
    pub fn is_for(&self, origin: &Origin) -> bool {
        self.audience.iter().any(|audience| audience.is_origin(origin))
    }

    /// Restricts the audience of a secret URL to the origin of the URL: no other server of a wider
    /// pattern, such as `https://*.example.com`, may know it.
    pub fn restrict_to(&mut self, origin: &Origin) {
        self.audience.retain(|audience| !matches!(audience, Audience::Origin(_)));
        self.audience.push(Audience::Origin(origin.clone().into()));
    }

    /// Describes the uses that this permits and `other` does not, for an upgrade that moves a secret
    /// to another field. Databases are compared by [`SqlTarget`](crate::SqlTarget). Empty if all uses
    /// are permitted by `other`.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for audience in &self.audience {
            match audience {
                // Permits nothing.
                Audience::Crypto => {}
                Audience::Sql if other.audience.contains(&Audience::Sql) => {}
                Audience::Sql => found.push("it may be used as the password of a database".to_owned()),
                Audience::Origin(own) => {
                    let covers = |known: &Audience| matches!(known, Audience::Origin(known) if known.covers(own));
                    if !other.audience.iter().any(covers) {
                        found.push(format!("it may be sent to `{audience}`"));
                    }
                }
            }
        }
        // Without an origin or a token server, no request contains the secret.
        let sent = self.audience.iter().any(|audience| matches!(audience, Audience::Origin(_)));
        let headers = self.headers.iter().filter(|header| sent && !other.headers.contains(header));
        found.extend(headers.map(|header| format!("it may be sent in the header `{header}`")));
        let tokens = self.tokens.iter().filter(|url| !other.tokens.contains(url));
        found.extend(tokens.map(|url| format!("it may be exchanged for a token at `{url}`")));
        let forms = self.sign.iter().filter(|form| !other.sign.contains(form));
        found.extend(forms.map(|form| format!("it may sign data of the form `{}`", form.as_str())));
        if self.url && sent && !other.url {
            found.push("it may be the URL of requests".to_owned());
        }
        let members = self.members.iter().filter(|member| sent && !other.members.contains(member));
        found.extend(members.map(|member| format!("it may be sent in the body, as the member `{member}`")));
        found
    }
}

fn strings(object: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    match object.get(name)? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => Some(many.iter().map(plain).collect()),
        _ => Some(Vec::new()),
    }
}

/// Parses the items of a list. Invalid ones are dropped and described in `problems`.
fn valid<T>(texts: Vec<String>, problems: &mut Vec<String>, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    texts.iter().filter_map(|text| parse(text).map_err(|problem| problems.push(problem)).ok()).collect()
}

impl TokenUrl {
    fn parse(text: &str) -> Result<Self, OriginError> {
        match config_field(text) {
            Some(field) => Ok(Self::Field(field)),
            None => without_query(text).map(Self::Exact),
        }
    }

    fn expand(&self, config: &Value) -> Option<RequestUrl> {
        match self {
            Self::Exact(url) => Some(url.clone()),
            Self::Field(field) => without_query(config_value(config, field)?.as_str()?).ok(),
        }
    }
}

fn without_query(text: &str) -> Result<RequestUrl, OriginError> {
    let url = RequestUrl::parse(text)?;
    if url.target.contains('?') { Err(OriginError::new(text, "has a query")) } else { Ok(url) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expanded(secret: Value, config: Value) -> SecretUse {
        SecretKeyword::read(&secret).expand(&config)
    }

    #[test]
    fn a_secret_is_in_the_authorization_header_unless_the_schema_names_another() {
        let plain = expanded(json!({"audience": "https://a.example"}), json!({}));
        assert_eq!(plain.headers, ["authorization"]);
        let named =
            expanded(json!({"audience": "https://a.example", "header": ["x-api-key", "user-agent"]}), json!({}));
        assert_eq!(named.headers, ["x-api-key"], "a name that is never allowed is dropped");
        let exchanged =
            expanded(json!({"audience": "https://a.example", "token": "https://t.example/token"}), json!({}));
        assert!(exchanged.headers.is_empty());
        let invalid = expanded(json!({"audience": "https://a.example", "token": "ftp://t.example"}), json!({}));
        assert!(invalid.headers.is_empty(), "an invalid token server does not permit the header");
        let url = expanded(json!({"audience": "https://a.example", "url": true}), json!({}));
        assert!(url.url && url.headers.is_empty());
        let not = expanded(json!({"audience": "https://a.example", "url": "true"}), json!({}));
        assert!(!not.url && not.headers == ["authorization"]);
        let member = expanded(json!({"audience": "https://a.example", "member": "routing_key"}), json!({}));
        assert!(member.headers.is_empty() && member.members == ["routing_key"]);
    }

    #[test]
    fn additional_uses_are_described() {
        let old =
            json!({"audience": ["https://*.a.example", "https://{config.host}:{config.port}"], "header": "x-key"});
        let config = json!({"host": "b.example", "port": 8443, "url": "https://b.example:8443/v1"});
        let old = expanded(old, config.clone());
        let beyond = |secret: Value| expanded(secret, config.clone()).beyond(&old);
        for same in [
            json!({"audience": "https://x.a.example", "header": "x-key"}),
            json!({"audience": "{config.url}", "header": "x-key"}),
            json!({"audience": ["https://*.x.a.example", "crypto"], "header": []}),
            json!({"audience": []}),
            // Expands to nothing.
            json!({"audience": "https://{config.missing}", "header": "x-key"}),
            json!({"audience": "https://{config.missing}", "url": true}),
        ] {
            assert!(beyond(same.clone()).is_empty(), "{same}");
        }
        let wider = json!({
            "audience": ["https://a.example", "sql"], "header": ["x-key", "x-other"], "token": "https://t.example/",
            "sign": "timestamp-hmac-sha256", "url": true, "member": "key",
        });
        assert_eq!(
            beyond(wider),
            [
                "it may be sent to `https://a.example`",
                "it may be used as the password of a database",
                "it may be sent in the header `x-other`",
                "it may be exchanged for a token at `https://t.example/`",
                "it may sign data of the form `timestamp-hmac-sha256`",
                "it may be the URL of requests",
                "it may be sent in the body, as the member `key`",
            ]
        );
    }

    #[test]
    fn a_secret_url_is_restricted_to_its_origin() {
        let mut uses = expanded(json!({"audience": ["https://*.a.example", "sql"], "url": true}), json!({}));
        let origin = |text: &str| RequestUrl::parse(text).expect("a URL").origin;
        let (own, other) = (origin("https://x.a.example"), origin("https://y.a.example"));
        assert!(uses.is_for(&own) && uses.is_for(&other));
        uses.restrict_to(&own);
        assert!(uses.is_for(&own) && !uses.is_for(&other));
        assert!(uses.audience.contains(&Audience::Sql));
    }

    #[test]
    fn token_servers_must_be_complete_urls() {
        let tokens = |token: &str, config: Value| {
            let uses = expanded(json!({"audience": [], "token": token}), config);
            uses.tokens.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(tokens("https://t.example/token", json!({})), ["https://t.example/token"]);
        assert_eq!(tokens("{config.a.url}", json!({"a": {"url": "https://t.example/b"}})), ["https://t.example/b"]);
        assert!(tokens("{config.a.url}", json!({})).is_empty());
        assert!(tokens("{config.url}", json!({"url": "https://t.example/b?delete=1"})).is_empty());
        assert!(tokens("https://t.example/{config.path}", json!({"path": "x"})).is_empty());
        let secret = json!({"token": ["https://t.example/?a=b", "ftp://x"], "sign": "raw", "header": "Referer",
            "audience": "nowhere", "url": "https://a.example", "member": ["routing_key", "a b", "\""]});
        assert_eq!(SecretKeyword::problems(&secret).len(), 8, "{:?}", SecretKeyword::problems(&secret));
    }
}
