//! Requests to a registry with the user's credentials, which are sent when the server asks for them.
//!
//! A server that answers 401 names a scheme: `Basic`, or `Bearer` with the address of a service that
//! issues tokens (<https://distribution.github.io/distribution/spec/auth/token/>) for a password, or for
//! an identity token (<https://distribution.github.io/distribution/spec/auth/oauth/>). Tokens are cached
//! per scope, because many services issue them for one repository each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use blockyard_model::SecretValue;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::credentials::{Credentials, Stored, StoredSecret};
use super::http::{Http, Incoming, Outgoing, permitted};
use crate::access::RemoteTimes;
use crate::remote_error::RemoteError;
use crate::token_service::TokenService;
use crate::used_credentials::UsedCredentials;

/// Maximum size of the answer of a token service in bytes.
const TOKEN_BYTES: u64 = 256 << 10;
/// Name of this program for token services.
const CLIENT: &str = "blockyard";

/// The credentials that a session has sent, for the caller.
pub(crate) type Used = Arc<Mutex<UsedCredentials>>;

/// A client for one registry, with its credentials.
#[derive(Debug)]
pub(crate) struct Session {
    http: Http,
    /// The server that receives the credentials. `None` if the registry is a folder.
    registry: Option<Url>,
    credentials: Credentials,
    used: Used,
    /// Values of `Authorization`, by scope.
    authorizations: Mutex<HashMap<String, SecretValue>>,
}

/// What was tried to answer a challenge.
#[derive(Default)]
struct Attempt {
    /// Each source of credentials, with its result.
    tried: Vec<String>,
    /// The token service that did not receive the stored credentials.
    not_permitted: Option<TokenService>,
}

/// A challenge that the session can answer.
enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// A request to a token service.
struct TokenRequest<'a> {
    realm: Url,
    service: Option<String>,
    scope: &'a str,
}

#[derive(Deserialize)]
struct TokenFormat {
    token: Option<String>,
    access_token: Option<String>,
}

impl Session {
    pub(crate) fn new(http: Http, registry: Option<Url>, credentials: Credentials, used: Used) -> Self {
        Self { http, registry, credentials, used, authorizations: Mutex::default() }
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
        let variable = self.credentials.bearer();
        if variable.is_some() {
            self.record(UsedCredentials::Variable(self.credentials.variable().unwrap_or_default().to_owned()));
        }
        let known = self.known(scope).or_else(|| variable.clone());
        let response = self.http.send(request, known.as_ref()).await?;
        if !is_refused(&response) || !self.is_registry(&response.url) {
            return Ok(response);
        }
        let mut attempt = Attempt::default();
        let result = if variable.is_some() { "rejected by the server" } else { "not set" };
        attempt.tried.extend(self.credentials.variable().map(|name| format!("{name}: {result}")));
        if variable.is_some() {
            return Err(self.refused(&response, attempt));
        }
        let Some(authorization) = self.authorization(&response, scope, &mut attempt).await? else {
            return Err(self.refused(&response, attempt));
        };
        let response = self.http.send(request, Some(&authorization)).await?;
        if is_refused(&response) {
            return Err(self.refused(&response, attempt));
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

    /// Records which credentials are sent.
    fn record(&self, source: UsedCredentials) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }

    fn refused(&self, response: &Incoming, attempt: Attempt) -> RemoteError {
        RemoteError::Credentials {
            url: response.url.to_string(),
            host: self.credentials.host().to_owned(),
            variable: self.credentials.variable().map(str::to_owned),
            token_service: attempt.not_permitted.map(|service| service.to_string()),
            tried: attempt.tried,
        }
    }

    /// Answers the challenge of a response. Returns `None` if there is nothing to answer it with.
    async fn authorization(
        &self,
        response: &Incoming,
        scope: &str,
        attempt: &mut Attempt,
    ) -> Result<Option<SecretValue>, RemoteError> {
        let stored = self.credentials.stored(&mut attempt.tried).await;
        match challenge(response) {
            Some(Challenge::Basic) => Ok(stored.and_then(|stored| self.basic(stored, attempt))),
            Some(Challenge::Bearer { realm, service }) => match permitted(&response.url, &realm) {
                Ok(()) => self.bearer(&response.url, TokenRequest { realm, service, scope }, stored, attempt).await,
                Err(reason) => {
                    attempt.tried.push(format!("the token service `{realm}`: {reason}"));
                    Ok(None)
                }
            },
            None => {
                let label = stored.map(|stored| stored.label(self.credentials.host()));
                attempt.tried.extend(label.map(|label| format!("{label}: not sent, because the server asks for none")));
                Ok(None)
            }
        }
    }

    /// Answers a challenge of the scheme Basic.
    fn basic(&self, stored: Stored, attempt: &mut Attempt) -> Option<SecretValue> {
        let label = stored.label(self.credentials.host());
        match stored.secret {
            StoredSecret::Password(login) => {
                attempt.tried.push(format!("{label}: rejected by the server"));
                self.record(stored.source);
                Some(login.basic())
            }
            StoredSecret::IdentityToken(_) => {
                attempt.tried.push(format!("{label}: not sent, because the server asks for a password"));
                None
            }
        }
    }

    /// Answers a challenge of the scheme Bearer. Stored credentials are sent only to a token service
    /// that may receive them: a registry could otherwise send the password of its host elsewhere.
    async fn bearer(
        &self,
        registry: &Url,
        request: TokenRequest<'_>,
        stored: Option<Stored>,
        attempt: &mut Attempt,
    ) -> Result<Option<SecretValue>, RemoteError> {
        let (realm, host) = (&request.realm, self.credentials.host());
        let Some(stored) = stored else {
            attempt.tried.push(format!("a token without credentials from `{realm}`: rejected"));
            return self.token(request, None).await;
        };
        if !self.credentials.permits(registry, realm) {
            let what = match &stored.secret {
                StoredSecret::Password(_) => "password",
                StoredSecret::IdentityToken(_) => "identity token",
            };
            attempt.tried.push(match self.credentials.token_service() {
                Some(known) => {
                    format!("the {what} for `{host}`: not sent to `{realm}`, because its `token-service` is `{known}`")
                }
                None => format!("the {what} for `{host}`: not sent to the other host `{realm}`"),
            });
            attempt.not_permitted = TokenService::of(realm);
            return self.token(request, None).await;
        }
        attempt.tried.push(format!("{}: rejected by the server", stored.label(host)));
        self.record(stored.source);
        match stored.secret {
            StoredSecret::Password(login) => self.token(request, Some(login.basic())).await,
            StoredSecret::IdentityToken(token) => self.exchange(request, &token, attempt).await,
        }
    }

    /// Requests a token for a scope. Returns `None` if the service refuses.
    async fn token(
        &self,
        request: TokenRequest<'_>,
        login: Option<SecretValue>,
    ) -> Result<Option<SecretValue>, RemoteError> {
        let mut realm = request.realm.clone();
        for (name, value) in request.parameters() {
            realm.query_pairs_mut().append_pair(name, value);
        }
        let request = Outgoing::get(realm, TOKEN_BYTES, self.http.times().document);
        let response = self.http.send(&request, login.as_ref()).await?;
        match response.status {
            StatusCode::OK => issued(&response).map(Some),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            _ => Err(response.unexpected()),
        }
    }

    /// Exchanges an identity token for a token. Returns `None` if the service refuses.
    async fn exchange(
        &self,
        request: TokenRequest<'_>,
        identity: &SecretValue,
        attempt: &mut Attempt,
    ) -> Result<Option<SecretValue>, RemoteError> {
        let form = request.exchange_form(identity);
        let mut outgoing = Outgoing::get(request.realm, TOKEN_BYTES, self.http.times().document)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        (outgoing.method, outgoing.body) = (Method::POST, Some(Bytes::from(form)));
        let response = self.http.send(&outgoing, None).await?;
        match response.status {
            StatusCode::OK => issued(&response).map(Some),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                attempt.tried.push(format!("the token service `{}`: it exchanges no identity tokens", outgoing.url));
                Ok(None)
            }
            // The text of the response may quote the identity token.
            status => Err(RemoteError::Status { url: outgoing.url.to_string(), status: status.as_u16(), reason: None }),
        }
    }
}

impl TokenRequest<'_> {
    /// Returns the parameters that all kinds of requests have.
    fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let service = self.service.as_deref().map(|service| ("service", service));
        service.into_iter().chain((!self.scope.is_empty()).then_some(("scope", self.scope)))
    }

    /// Returns the form that exchanges an identity token.
    fn exchange_form(&self, identity: &SecretValue) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").extend_pairs(self.parameters());
        form.append_pair("client_id", CLIENT).append_pair("refresh_token", identity.expose());
        form.finish()
    }
}

/// Returns the value of `Authorization` for the token in the response of a token service.
fn issued(response: &Incoming) -> Result<SecretValue, RemoteError> {
    let invalid = || RemoteError::Invalid { url: response.url.to_string(), reason: "it contains no token".to_owned() };
    let answer: TokenFormat = serde_json::from_slice(&response.body).map_err(|_| invalid())?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty()).ok_or_else(invalid)?;
    Ok(SecretValue::new(format!("Bearer {token}")))
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
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::path::Path;

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

    /// Returns a session of a registry with these credentials of docker, and the refusal of the registry,
    /// which names `realm`.
    fn session(folder: &Path, service: Option<&str>, auth: &str, registry: &Url, realm: &str) -> (Session, Incoming) {
        let config = folder.join("config.json");
        let host = format!("{}{}", registry.host_str().unwrap_or_default(), port(registry));
        std::fs::write(&config, format!(r#"{{"auths": {{"{host}": {auth}}}}}"#)).expect("a file");
        let http = Http::new(Some(registry), None, RemoteTimes::default()).expect("a client");
        let service = service.map(|service| service.parse().expect("an origin"));
        let credentials = Credentials::new(None, service, Some(config), host);
        let header = HeaderValue::from_str(&format!("Bearer realm=\"{realm}\",service=\"s\"")).expect("a header");
        let refusal = Incoming {
            url: registry.clone(),
            status: StatusCode::UNAUTHORIZED,
            headers: HeaderMap::from_iter([(WWW_AUTHENTICATE, header)]),
            body: Vec::new(),
        };
        (Session::new(http, Some(registry.clone()), credentials, Used::default()), refusal)
    }

    fn port(url: &Url) -> String {
        url.port().map(|port| format!(":{port}")).unwrap_or_default()
    }

    const PASSWORD: &str = r#"{"username": "ada", "password": "hunter2"}"#;
    const IDENTITY: &str = r#"{"identitytoken": "hunter2"}"#;

    #[tokio::test]
    async fn stored_credentials_are_not_sent_to_another_host() {
        let (other, plain) = ("https://127.0.0.1:1/token", "http://r.example/token");
        let service = Some("https://auth.example:8443");
        let set = "because its `token-service` is `https://auth.example:8443`";
        for (service, auth, realm, expected) in [
            (None, PASSWORD, other, format!("the password for `r.example`: not sent to the other host `{other}`")),
            (
                None,
                IDENTITY,
                other,
                format!("the identity token for `r.example`: not sent to the other host `{other}`"),
            ),
            (service, PASSWORD, other, format!("the password for `r.example`: not sent to `{other}`, {set}")),
            (service, IDENTITY, other, format!("the identity token for `r.example`: not sent to `{other}`, {set}")),
            (None, PASSWORD, plain, format!("the token service `{plain}`: it is not encrypted")),
            (service, IDENTITY, plain, format!("the token service `{plain}`: it is not encrypted")),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let registry: Url = "https://r.example/".parse().expect("a URL");
            let (session, refusal) = session(folder.path(), service, auth, &registry, realm);
            let mut attempt = Attempt::default();
            // The token services do not exist; what would be sent to them is in the list.
            let _ = session.authorization(&refusal, "repository:a:pull", &mut attempt).await;
            assert_eq!(attempt.tried.last(), Some(&expected), "{:?}", attempt.tried);
            assert!(!attempt.tried.concat().contains("hunter2"), "{:?}", attempt.tried);
            let named = attempt.not_permitted.map(|service| service.to_string());
            assert_eq!(named.as_deref(), (realm == other).then_some("https://127.0.0.1:1"));
            assert_eq!(*session.used.lock().expect("no panic"), UsedCredentials::Anonymous);
        }
    }

    /// Starts a token service on this machine that answers each request with a status and a body.
    /// Returns its address, and what it received.
    fn token_service(status: &'static str, body: &'static str) -> (String, Arc<Mutex<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let received: Arc<Mutex<String>> = Arc::default();
        let log = received.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut text, mut buffer) = (String::new(), [0; 4096]);
                // The form of the test ends with the identity token.
                while !(text.ends_with("hunter2") || text.starts_with("GET") && text.ends_with("\r\n\r\n")) {
                    let read = stream.read(&mut buffer).unwrap_or_default();
                    if read == 0 {
                        break;
                    }
                    text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
                log.lock().expect("no panic").push_str(&text);
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all((head + body).as_bytes());
            }
        });
        (address, received)
    }

    #[tokio::test]
    async fn an_identity_token_is_exchanged_by_the_permitted_service() {
        let folder = tempfile::tempdir().expect("a folder");
        let registry: Url = "http://127.0.0.1:1/".parse().expect("a URL");
        let (service, received) = token_service("200 OK", r#"{"access_token": "t0ken"}"#);
        let realm = format!("{service}/token");
        let (session, refusal) = session(folder.path(), Some(&service), IDENTITY, &registry, &realm);
        let mut attempt = Attempt::default();
        let answer = session.authorization(&refusal, "repository:a:pull", &mut attempt).await.expect("a token");
        assert_eq!(answer.as_ref().map(SecretValue::expose), Some("Bearer t0ken"));
        let received = received.lock().expect("no panic").to_lowercase();
        let form =
            "grant_type=refresh_token&service=s&scope=repository%3aa%3apull&client_id=blockyard&refresh_token=hunter2";
        assert!(received.starts_with("post /token http/1.1\r\n") && received.ends_with(form), "{received}");
        assert!(received.contains("content-type: application/x-www-form-urlencoded\r\n"), "{received}");
        assert!(!received.contains("authorization"), "{received}");
        let used = session.used.lock().expect("no panic").clone();
        assert_eq!(used, UsedCredentials::IdentityToken { path: folder.path().join("config.json") });
    }

    #[tokio::test]
    async fn an_identity_token_is_not_quoted_if_it_is_refused() {
        for (status, expected) in [
            ("400 Bad Request", "the identity token for `127.0.0.1:1`: rejected by the server"),
            ("404 Not Found", "/token`: it exchanges no identity tokens"),
            ("302 Found", "with status 302"),
            ("500 Internal Server Error", "with status 500"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let registry: Url = "http://127.0.0.1:1/".parse().expect("a URL");
            let (service, _) = token_service(status, "refresh_token=hunter2");
            let realm = format!("{service}/token");
            let (session, refusal) = session(folder.path(), Some(&service), IDENTITY, &registry, &realm);
            let mut attempt = Attempt::default();
            let text = match session.authorization(&refusal, "repository:a:pull", &mut attempt).await {
                Ok(answer) => {
                    assert!(answer.is_none(), "{status}");
                    format!("{:?}", attempt.tried)
                }
                Err(error) => format!("{error}: {error:?} {:?}", error.reason()),
            };
            assert!(text.contains(expected) && !text.contains("hunter2"), "{status}: {text}");
        }
    }
}
