//! Permitted uses of a secret: the `x-secret` keyword of its field in a schema, and the expanded
//! form for one configuration, which the host enforces.

use serde_json::{Map, Value};

use crate::audience::Audience;
use crate::header::{AUTHORIZATION, check_secret_header};
use crate::origin::{OriginError, RequestUrl, config_field, config_value};
use crate::schema::plain;
use crate::sign::SignForm;

/// The `x-secret` keyword of a schema:
///
/// ```json
/// {"audience": ["https://api.example.com"], "header": ["x-api-key"],
///  "token": ["{config.token_url}"], "sign": ["goog4-rsa-sha256"]}
/// ```
///
/// Each member is a string or a list of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretKeyword {
    /// `sql`, or patterns of the origins that may receive the secret in requests.
    pub audience: Vec<String>,
    /// Headers that may contain the secret; `None` for the default.
    pub header: Option<Vec<String>>,
    /// URLs of token servers that exchange the secret for a token.
    pub token: Vec<String>,
    /// Names of the forms of text that the secret may sign.
    pub sign: Vec<String>,
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
}

impl SecretKeyword {
    /// Reads the value of `x-secret`.
    #[must_use]
    pub fn read(secret: &Value) -> Self {
        let Some(secret) = secret.as_object() else { return Self::default() };
        let list = |name: &str| strings(secret, name);
        Self {
            audience: list("audience").unwrap_or_default(),
            header: list("header"),
            token: list("token").unwrap_or_default(),
            sign: list("sign").unwrap_or_default(),
        }
    }

    /// Returns the problems of the keyword, for manifest validation.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let audience = self.audience.iter().filter_map(|text| {
            let error = text.parse::<Audience>().err()?;
            Some(format!("an audience must be `sql` or an origin: {error}"))
        });
        let header = self.headers().into_iter().filter_map(|name| {
            let reason = check_secret_header(&name).err()?;
            Some(format!("the header `{}` {reason}", name.escape_debug()))
        });
        let token = self.token.iter().filter_map(|text| {
            let error = TokenUrl::parse(text).err()?;
            Some(format!("a token server must be a URL without a query, or `{{config.FIELD}}`: {error}"))
        });
        let sign = self.sign.iter().filter_map(|text| Some(text.parse::<SignForm>().err()?.to_string()));
        audience.chain(header).chain(token).chain(sign).collect()
    }

    /// Returns the headers that may contain the secret. By default no header may contain a secret
    /// that is exchanged for tokens.
    fn headers(&self) -> Vec<String> {
        match &self.header {
            Some(named) => named.clone(),
            None if self.token.is_empty() => vec![AUTHORIZATION.to_owned()],
            None => Vec::new(),
        }
    }

    /// Inserts the fields of this configuration. Items that do not expand to a valid origin or URL
    /// are dropped.
    #[must_use]
    pub fn expand(&self, config: &Value) -> SecretUse {
        let audience = |text: &String| text.parse::<Audience>().ok()?.expand(config);
        SecretUse {
            audience: self.audience.iter().filter_map(audience).collect(),
            headers: self.headers().into_iter().filter(|name| check_secret_header(name).is_ok()).collect(),
            tokens: self.token.iter().filter_map(|text| TokenUrl::parse(text).ok()?.expand(config)).collect(),
            sign: self.sign.iter().filter_map(|text| text.parse().ok()).collect(),
        }
    }
}

fn strings(object: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    match object.get(name)? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => Some(many.iter().map(plain).collect()),
        _ => Some(Vec::new()),
    }
}

/// URL of a token server: a literal, or the value of a configuration field.
enum TokenUrl {
    Exact(RequestUrl),
    Field(String),
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
    }

    #[test]
    fn token_servers_are_whole_urls() {
        let tokens = |token: &str, config: Value| {
            let uses = expanded(json!({"audience": [], "token": token}), config);
            uses.tokens.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(tokens("https://t.example/token", json!({})), ["https://t.example/token"]);
        assert_eq!(tokens("{config.a.url}", json!({"a": {"url": "https://t.example/b"}})), ["https://t.example/b"]);
        assert!(tokens("{config.a.url}", json!({})).is_empty());
        assert!(tokens("{config.url}", json!({"url": "https://t.example/b?delete=1"})).is_empty());
        assert!(tokens("https://t.example/{config.path}", json!({"path": "x"})).is_empty());
        let keyword = SecretKeyword::read(&json!({"token": ["https://t.example/?a=b", "ftp://x"], "sign": "raw",
            "header": "Referer", "audience": "nowhere"}));
        assert_eq!(keyword.problems().len(), 5, "{:?}", keyword.problems());
    }
}
