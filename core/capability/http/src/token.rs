//! OAuth 2.0 access tokens. The host fetches them with a secret that the bundle cannot read, caches
//! them per secret and scope, and refreshes them before they expire. Concurrent calls that need the
//! same token share one token request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blockyard_call::{CallContext, Problem, Redactor, cut, limits, sign};
use blockyard_model::{Digest, Origin, Pointer, RequestUrl, SecretValue};
use http_body_util::{BodyExt as _, Limited};
use ipnet::IpNet;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::{HttpClient, USER_AGENT, Upload};

/// Resource `token-source`: the parameters for obtaining an access token.
#[derive(Debug, Clone)]
pub struct TokenSource {
    /// Secrets of the block with which the token is obtained.
    pub(super) secrets: Vec<Pointer>,
    pub(super) exchange: Arc<Exchange>,
}

/// Parameters of a token request.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) url: RequestUrl,
    pub(super) scopes: Vec<String>,
    pub(super) grant: Grant,
}

#[derive(Debug)]
pub(super) enum Grant {
    /// JWT bearer grant (RFC 7523, section 2.1).
    JwtBearer { issuer: String, subject: Option<String>, key_id: Option<String>, key: SecretValue },
    /// Client credentials grant (RFC 6749, section 4.4).
    ClientCredentials { client: String, secret: SecretValue },
    /// Refresh token grant (RFC 6749, section 6).
    RefreshToken { client: String, secret: Option<SecretValue>, token: SecretValue },
}

/// The access tokens of a sandbox, cached in memory only.
#[derive(Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<Digest, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    /// Locked while a token is fetched, so that other calls wait for the same token.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The last failed attempt. Calls that waited for it return the same error, and do not retry.
    failed: Option<(Instant, TokenError)>,
}

/// The error of a token request. Concurrent calls share it, and each masks its secrets in it.
#[derive(Clone)]
pub(super) enum TokenError {
    /// The token server sent an error response.
    Refused(Refusal),
    /// There is no valid response.
    Failed(Problem),
}

/// An error response of a token server (RFC 6749, section 5.2). Its text may contain secrets.
#[derive(Clone)]
pub(super) struct Refusal {
    origin: Origin,
    status: http::StatusCode,
    /// Error code that the server sent.
    error: Zeroizing<String>,
    /// Description of the error that the server sent.
    description: Option<Zeroizing<String>>,
}

#[derive(Clone)]
struct Token {
    value: SecretValue,
    /// Time after which a new token is fetched while this one is still used.
    refresh: Instant,
    /// Time after which this token is no longer used.
    end: Instant,
}

impl Tokens {
    /// Returns a token that is valid now.
    pub(super) async fn get(
        self: &Arc<Self>,
        client: &Arc<HttpClient>,
        exchange: &Arc<Exchange>,
        networks: Vec<IpNet>,
    ) -> Result<SecretValue, TokenError> {
        let requested_at = Instant::now();
        let slot = self.slot(exchange.digest());
        let mut state = slot.state.lock().await;
        if let Some(token) = state.token.clone().filter(|token| Instant::now() < token.end) {
            if Instant::now() >= token.refresh {
                drop(state);
                tokio::spawn(renew(slot, client.clone(), exchange.clone(), networks, token.refresh));
            }
            return Ok(token.value);
        }
        if let Some((at, error)) = &state.failed
            && *at >= requested_at
        {
            return Err(error.clone());
        }
        // The lock is held during the request, so that only one request for the token is in flight.
        match exchange.fetch(client, networks).await {
            Ok(token) => {
                state.failed = None;
                state.token = Some(token.clone());
                Ok(token.value)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Removes a token that a server rejected, unless it has been replaced in the meantime.
    pub(super) async fn discard(&self, exchange: &Exchange, refused: &SecretValue) {
        let slot = self.slot(exchange.digest());
        let mut state = slot.state.lock().await;
        if state.token.as_ref().is_some_and(|token| token.value.expose() == refused.expose()) {
            state.token = None;
        }
    }

    fn slot(&self, digest: Digest) -> Arc<Slot> {
        let mut slots = self.slots.lock().expect("nothing panics while it holds this lock");
        if slots.len() >= limits::TOKENS && !slots.contains_key(&digest) {
            // Removes slots that no call is using; their tokens are fetched again when needed.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(digest).or_default().clone()
    }
}

/// Fetches the next token while the current one is still valid. If that fails, the next call tries
/// again.
async fn renew(
    slot: Arc<Slot>,
    client: Arc<HttpClient>,
    exchange: Arc<Exchange>,
    networks: Vec<IpNet>,
    since: Instant,
) {
    let Ok(mut state) = slot.state.try_lock() else { return };
    if state.token.as_ref().is_some_and(|token| token.refresh == since)
        && let Ok(token) = exchange.fetch(&client, networks).await
    {
        state.token = Some(token);
    }
}

impl Grant {
    /// Returns the strings that the bundle chose for the token request, except for the scopes.
    pub(super) fn words(&self) -> Vec<String> {
        match self {
            Self::JwtBearer { issuer, subject, key_id, .. } => {
                [Some(issuer), subject.as_ref(), key_id.as_ref()].into_iter().flatten().cloned().collect()
            }
            Self::ClientCredentials { client, .. } | Self::RefreshToken { client, .. } => vec![client.clone()],
        }
    }
}

impl Exchange {
    /// Returns the key under which tokens are cached: a digest of all parameters, secrets included.
    fn digest(&self) -> Digest {
        let mut scopes = self.scopes.clone();
        scopes.sort();
        let digest = |secret: &SecretValue| Digest::of(secret.expose().as_bytes()).to_string();
        let grant = match &self.grant {
            Grant::JwtBearer { issuer, subject, key_id, key } => {
                json!(["jwt-bearer", issuer, subject, key_id, digest(key)])
            }
            Grant::ClientCredentials { client, secret } => json!(["client-credentials", client, digest(secret)]),
            Grant::RefreshToken { client, secret, token } => {
                json!(["refresh-token", client, secret.as_ref().map(digest), digest(token)])
            }
        };
        Digest::of(json!([self.url.to_string(), scopes, grant]).to_string().as_bytes())
    }

    async fn fetch(&self, client: &HttpClient, networks: Vec<IpNet>) -> Result<Token, TokenError> {
        let assertion = match &self.grant {
            Grant::JwtBearer { issuer, subject, key_id, key } => {
                Some(self.assertion(issuer, subject.as_deref(), key_id.as_deref(), key)?)
            }
            _ => None,
        };
        let form = Zeroizing::new(self.form(assertion.as_ref().map(|assertion| assertion.as_str())));
        let request = http::Request::post(self.url.to_string())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .header("user-agent", USER_AGENT)
            .body(Upload::bytes(form.as_bytes().to_vec().into()))
            .map_err(|error| Problem::new("invalid", error.to_string()))?;
        let requested_at = Instant::now();
        let reading = async {
            let response = client.send(request, networks).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), limits::TOKEN_RESPONSE_BYTES).collect().await;
            let bytes = body
                .map_err(|error| Problem::new("failed", format!("cannot read the token server's response: {error}")))?;
            Ok::<_, Problem>((status, Zeroizing::new(bytes.to_bytes().to_vec())))
        };
        let (status, bytes) = tokio::time::timeout(limits::TOKEN_TIME, reading).await.unwrap_or_else(|_| {
            Err(Problem::new("timeout", format!("the token server at `{}` did not respond in time", self.url.origin))
                .retryable())
        })?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            return Err(TokenError::Refused(self.refused(status, &body, assertion)));
        }
        let token = body["access_token"].as_str().filter(|token| !token.is_empty()).ok_or_else(|| {
            Problem::new("failed", format!("the token server at `{}` returned no `access_token`", self.url.origin))
        })?;
        // `expires_in` is optional (RFC 6749, section 5.1); one hour is a common lifetime.
        let lifetime = Duration::from_secs(body["expires_in"].as_u64().unwrap_or(3_600).min(86_400));
        // The token is refreshed when a fifth of its lifetime is left. It is not used shortly
        // before it expires, because it could expire while a request is in flight.
        let end = requested_at + lifetime.saturating_sub((lifetime / 10).min(limits::TOKEN_MARGIN));
        Ok(Token { value: SecretValue::new(token.to_owned()), refresh: requested_at + lifetime * 4 / 5, end })
    }

    fn form(&self, assertion: Option<&str>) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        match &self.grant {
            Grant::JwtBearer { .. } => {
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.append_pair("assertion", assertion.unwrap_or_default());
                return form.finish();
            }
            Grant::ClientCredentials { client, secret } => {
                form.append_pair("grant_type", "client_credentials");
                form.append_pair("client_id", client).append_pair("client_secret", secret.expose());
            }
            Grant::RefreshToken { client, secret, token } => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("client_id", client).append_pair("refresh_token", token.expose());
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret.expose());
                }
            }
        }
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        form.finish()
    }

    /// Builds the signed assertion (RFC 7523, section 3) as a compact JWS (RFC 7515).
    fn assertion(
        &self,
        issuer: &str,
        subject: Option<&str>,
        key_id: Option<&str>,
        key: &SecretValue,
    ) -> Result<Zeroizing<String>, Problem> {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(key_id) = key_id {
            header["kid"] = key_id.into();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut claims = json!({ "iss": issuer, "aud": self.url.to_string(), "iat": now, "exp": now + 3_600 });
        if let Some(subject) = subject {
            claims["sub"] = subject.into();
        }
        if !self.scopes.is_empty() {
            claims["scope"] = self.scopes.join(" ").into();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = sign::rs256(key, signed.as_bytes())?;
        Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    /// Reads an error response of the token server. Masks the assertion, which is no secret of a call.
    fn refused(&self, status: http::StatusCode, body: &Value, assertion: Option<Zeroizing<String>>) -> Refusal {
        let assertion = assertion.map(|assertion| SecretValue::new(assertion.as_str().to_owned()));
        let redactor = Redactor::new(assertion.iter());
        let masked = |text: &str| Zeroizing::new(redactor.text(text.to_owned()));
        Refusal {
            origin: self.url.origin.clone(),
            status,
            error: masked(body["error"].as_str().unwrap_or_default()),
            description: body["error_description"].as_str().map(masked),
        }
    }
}

impl TokenError {
    /// Converts the error to a problem of a call, in which the text of the token server is masked.
    pub(super) fn problem(self, call: &CallContext) -> Problem {
        match self {
            Self::Failed(problem) => problem,
            Self::Refused(refusal) => refusal.problem(call),
        }
    }
}

impl Refusal {
    fn problem(self, call: &CallContext) -> Problem {
        // Masked before it is cut, because a secret that is cut in the middle would not be found.
        let shown = |mut text: Zeroizing<String>| {
            cut(call.mask_remote_text(std::mem::take(&mut text)).0, limits::TOKEN_REASON_BYTES)
        };
        let word = shown(self.error);
        let reason = self.description.map_or_else(|| word.clone(), shown);
        let detail = if reason.is_empty() { self.status.to_string() } else { reason };
        let message = format!("the token server at `{}` refused the request: {detail}", self.origin);
        let details = json!({ "step": "authenticate", "status": self.status.as_u16(), "error": word });
        let problem = match (self.status.as_u16(), word.as_str()) {
            (429 | 500..=599, _) => Problem::new("unavailable", message).retryable(),
            (_, "invalid_grant" | "invalid_client") => Problem::new("denied", message)
                .hint("check that the key is not revoked or expired, and that this machine's clock is correct"),
            (_, "invalid_scope") => Problem::new("denied", message).hint("request other scopes"),
            _ => Problem::new("denied", message),
        };
        problem.details(&details)
    }
}

impl From<Problem> for TokenError {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}
