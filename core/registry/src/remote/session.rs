//! Requests to a registry with the user's credentials, which are sent when the server asks for them.
//!
//! A server that answers 401 names a scheme: `Basic`, or `Bearer` with the address of a service that
//! issues tokens (<https://distribution.github.io/distribution/spec/auth/token/>). Tokens are kept
//! per scope, because many services issue them for one repository each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use blockyard_model::SecretValue;
use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;
use serde::Deserialize;
use url::Url;

use super::credentials::Credentials;
use super::http::{Http, Incoming, Outgoing, permitted};
use crate::access::RemoteTimes;
use crate::remote_error::RemoteError;

/// Maximum size of the answer of a token service in bytes.
const TOKEN_BYTES: u64 = 256 << 10;

/// A client for one registry, with its credentials.
#[derive(Debug)]
pub(crate) struct Session {
    http: Http,
    /// The server that receives the credentials. `None` if the registry is a folder.
    registry: Option<Url>,
    credentials: Credentials,
    /// Values of `Authorization`, by scope.
    authorizations: Mutex<HashMap<String, SecretValue>>,
}

/// A challenge that the session can answer.
enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

#[derive(Deserialize)]
struct TokenFormat {
    token: Option<String>,
    access_token: Option<String>,
}

impl Session {
    pub(crate) fn new(http: Http, registry: Option<Url>, credentials: Credentials) -> Self {
        Self { http, registry, credentials, authorizations: Mutex::default() }
    }

    /// Sends a request. `scope` is what the request needs, as `repository:NAME:pull`; empty if the
    /// registry is a folder of files.
    ///
    /// # Errors
    /// Returns [`RemoteError::Credentials`] if the server requires others, and the errors of
    /// [`Http::send`].
    pub(crate) async fn send(&self, request: &Outgoing, scope: &str) -> Result<Incoming, RemoteError> {
        if !self.is_registry(&request.url) {
            return self.http.send(request, None).await;
        }
        let known = self.known(scope).or_else(|| self.credentials.bearer());
        let response = self.http.send(request, known.as_ref()).await?;
        if !is_refused(&response) || !self.is_registry(&response.url) {
            return Ok(response);
        }
        if self.credentials.bearer().is_some() {
            let variable = self.credentials.variable().unwrap_or_default();
            return Err(self.refused(&response, vec![format!("{variable}: rejected by the server")]));
        }
        let mut tried: Vec<String> =
            self.credentials.variable().iter().map(|variable| format!("{variable}: not set")).collect();
        let Some(authorization) = self.authorization(&response, scope, &mut tried).await? else {
            return Err(self.refused(&response, tried));
        };
        let response = self.http.send(request, Some(&authorization)).await?;
        if is_refused(&response) {
            return Err(self.refused(&response, tried));
        }
        self.authorizations.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned(), authorization);
        Ok(response)
    }

    /// Returns the time limits.
    pub(crate) fn times(&self) -> RemoteTimes {
        self.http.times()
    }

    /// Returns whether a URL has the origin of the registry, which may receive its credentials.
    fn is_registry(&self, url: &Url) -> bool {
        self.registry.as_ref().is_some_and(|registry| registry.origin() == url.origin())
    }

    fn known(&self, scope: &str) -> Option<SecretValue> {
        self.authorizations.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned()
    }

    fn refused(&self, response: &Incoming, tried: Vec<String>) -> RemoteError {
        RemoteError::Credentials {
            url: response.url.to_string(),
            host: self.credentials.host().to_owned(),
            variable: self.credentials.variable().map(str::to_owned),
            tried,
        }
    }

    /// Answers the challenge of a response. Returns `None` if there is nothing to answer it with.
    async fn authorization(
        &self,
        response: &Incoming,
        scope: &str,
        tried: &mut Vec<String>,
    ) -> Result<Option<SecretValue>, RemoteError> {
        let login = self.credentials.login(tried).await;
        if let Some(login) = &login {
            tried.push(format!("the password of `{}`: rejected by the server", login.user));
        }
        let (realm, service) = match challenge(response) {
            Some(Challenge::Bearer { realm, service }) => (realm, service),
            Some(Challenge::Basic) => return Ok(login.map(|login| login.basic())),
            None => return Ok(None),
        };
        if let Err(reason) = permitted(&response.url, &realm) {
            tried.push(format!("the token service `{realm}`: {reason}"));
            return Ok(None);
        }
        // The password goes to the host for which the user stored it, and to no other.
        let is_own = realm.host() == response.url.host() && realm.scheme() == response.url.scheme();
        match &login {
            Some(_) if is_own => {}
            Some(_) => {
                tried.pop();
                tried.push(format!(
                    "the password for `{}`: not sent to the other host `{realm}`",
                    self.credentials.host()
                ));
            }
            None => tried.push(format!("a token without credentials from `{realm}`: rejected")),
        }
        self.token(realm, service, scope, login.filter(|_| is_own).map(|login| login.basic())).await
    }

    /// Requests a token for a scope. Returns `None` if the service refuses.
    async fn token(
        &self,
        mut realm: Url,
        service: Option<String>,
        scope: &str,
        login: Option<SecretValue>,
    ) -> Result<Option<SecretValue>, RemoteError> {
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = &service {
                query.append_pair("service", service);
            }
            if !scope.is_empty() {
                query.append_pair("scope", scope);
            }
        }
        let request = Outgoing::get(realm.clone(), TOKEN_BYTES, self.http.times().document);
        let response = self.http.send(&request, login.as_ref()).await?;
        match response.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
            _ => return Err(response.unexpected()),
        }
        let invalid = || RemoteError::Invalid { url: realm.to_string(), reason: "it contains no token".to_owned() };
        let answer: TokenFormat = serde_json::from_slice(&response.body).map_err(|_| invalid())?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty()).ok_or_else(invalid)?;
        Ok(Some(SecretValue::new(format!("Bearer {token}"))))
    }
}

fn is_refused(response: &Incoming) -> bool {
    matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Returns the first challenge of a response that is supported; `Bearer` before `Basic`.
fn challenge(response: &Incoming) -> Option<Challenge> {
    let headers = response.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges: Vec<_> = headers.filter_map(|text| http_auth::parse_challenges(text).ok()).flatten().collect();
    let bearer = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("Bearer"));
    if let Some(bearer) = bearer {
        let parameter = |name: &str| {
            let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = response.url.join(&parameter("realm")?).ok()?;
        return Some(Challenge::Bearer { realm, service: parameter("service") });
    }
    let is_basic = challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("Basic"));
    is_basic.then_some(Challenge::Basic)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    fn described(url: &str, headers: &[&'static str]) -> String {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, HeaderValue::from_static(header));
        }
        let url = url.parse().expect("a URL");
        let response = Incoming { url, status: StatusCode::UNAUTHORIZED, headers: map, body: Vec::new() };
        match challenge(&response) {
            None => "none".to_owned(),
            Some(Challenge::Basic) => "basic".to_owned(),
            Some(Challenge::Bearer { realm, service }) => format!("{realm} {service:?}"),
        }
    }

    #[test]
    fn challenges_are_parsed() {
        let url = "https://r.example/v2/";
        assert_eq!(described(url, &[]), "none");
        assert_eq!(described(url, &["Negotiate", "nonsense ,,"]), "none");
        assert_eq!(described(url, &["Basic realm=\"x\""]), "basic");
        assert_eq!(described(url, &["Bearer"]), "none");
        let bearer = "Bearer realm=\"https://a.example/token\",service=\"r, \\\"x\\\"\",scope=\"repository:a:pull\"";
        assert_eq!(described(url, &["Basic realm=\"x\"", bearer]), "https://a.example/token Some(\"r, \\\"x\\\"\")");
        assert_eq!(described(url, &["bearer realm=\"/token\""]), "https://r.example/token None");
    }

    /// Asks for the authorization that a challenge gets with the password of docker.
    async fn tried(realm: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("config.json");
        let text = r#"{"auths": {"r.example": {"username": "ada", "password": "hunter2"}}}"#;
        std::fs::write(&config, text).expect("a file");
        let registry: Url = "https://r.example/".parse().expect("a URL");
        let http = Http::new(Some(&registry), None, RemoteTimes::default()).expect("a client");
        let credentials = Credentials::new(None, Some(config), "r.example".to_owned());
        let session = Session::new(http, Some(registry.clone()), credentials);
        let header = HeaderValue::from_str(&format!("Bearer realm=\"{realm}\"")).expect("a header");
        let response = Incoming {
            url: registry,
            status: StatusCode::UNAUTHORIZED,
            headers: HeaderMap::from_iter([(WWW_AUTHENTICATE, header)]),
            body: Vec::new(),
        };
        let mut tried = Vec::new();
        // The token services do not exist; what would be sent to them is in the list.
        let _ = session.authorization(&response, "repository:a:pull", &mut tried).await;
        tried
    }

    #[tokio::test]
    async fn passwords_are_not_sent_to_another_host() {
        for (realm, expected) in [
            (
                "https://127.0.0.1:1/token",
                "the password for `r.example`: not sent to the other host `https://127.0.0.1:1/token`",
            ),
            ("http://r.example/token", "the token service `http://r.example/token`: it is not encrypted"),
        ] {
            let tried = tried(realm).await;
            assert_eq!(tried.last().map(String::as_str), Some(expected), "{tried:?}");
            assert!(!tried.concat().contains("hunter2"), "{tried:?}");
        }
    }
}
