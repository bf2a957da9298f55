//! Access tokens (OAuth 2.0), fetched by the host with a secret that the bundle cannot read, kept per
//! secret and scope, refreshed ahead of their end, one request at a time however many calls want it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blockyard_model::{Digest, Pointer, RequestUrl, SecretValue};
use http_body_util::{BodyExt as _, Limited};
use ipnet::IpNet;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::{HttpClient, Upload};
use crate::capability::crypto::sign_rs256;
use crate::limits;
use crate::problem::{Problem, cut};
use crate::redact::Redactor;

/// What the guest holds as `token-source`.
#[derive(Debug, Clone)]
pub struct TokenSource {
    /// The secrets of the block that it is made from.
    pub(super) secrets: Vec<Pointer>,
    pub(super) exchange: Arc<Exchange>,
}

/// How a token is got.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) url: RequestUrl,
    pub(super) scopes: Vec<String>,
    pub(super) grant: Grant,
}

#[derive(Debug)]
pub(super) enum Grant {
    /// RFC 7523, section 2.1.
    JwtBearer { issuer: String, subject: Option<String>, key_id: Option<String>, key: SecretValue },
    /// RFC 6749, section 4.4.
    ClientCredentials { client: String, secret: SecretValue },
    /// RFC 6749, section 6.
    RefreshToken { client: String, secret: Option<SecretValue>, token: SecretValue },
}

/// The tokens of a sandbox, in memory only.
#[derive(Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<Digest, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    /// Held while a token is fetched: those who want the same one wait for it.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The last attempt that failed: who waited for it gets the same answer, and asks no second time.
    failed: Option<(Instant, Problem)>,
}

#[derive(Clone)]
struct Token {
    value: SecretValue,
    /// From then on a new one is fetched while this one is still used.
    refresh: Instant,
    end: Instant,
}

impl Tokens {
    /// A token that is good for a request now.
    pub(super) async fn get(
        self: &Arc<Self>,
        client: &Arc<HttpClient>,
        exchange: &Arc<Exchange>,
        networks: Vec<IpNet>,
    ) -> Result<SecretValue, Problem> {
        let asked = Instant::now();
        let slot = self.slot(exchange.digest());
        let mut state = slot.state.lock().await;
        if let Some(token) = state.token.clone().filter(|token| Instant::now() < token.end) {
            if Instant::now() >= token.refresh {
                drop(state);
                tokio::spawn(renew(slot, client.clone(), exchange.clone(), networks, token.refresh));
            }
            return Ok(token.value);
        }
        if let Some((at, problem)) = &state.failed
            && *at >= asked
        {
            return Err(problem.clone());
        }
        // The lock is held over the request on purpose: one flight at a time.
        match exchange.fetch(client, networks).await {
            Ok(token) => {
                state.failed = None;
                state.token = Some(token.clone());
                Ok(token.value)
            }
            Err(problem) => {
                state.failed = Some((Instant::now(), problem.clone()));
                Err(problem)
            }
        }
    }

    /// Forgets a token that a server refused, unless a newer one is there already.
    pub(super) async fn forget(&self, exchange: &Exchange, refused: &SecretValue) {
        let slot = self.slot(exchange.digest());
        let mut state = slot.state.lock().await;
        if state.token.as_ref().is_some_and(|token| token.value.expose() == refused.expose()) {
            state.token = None;
        }
    }

    fn slot(&self, digest: Digest) -> Arc<Slot> {
        let mut slots = self.slots.lock().expect("nothing panics while it holds this lock");
        if slots.len() >= limits::TOKENS && !slots.contains_key(&digest) {
            // Those that nobody waits for; a forgotten token is fetched again.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(digest).or_default().clone()
    }
}

/// Fetches the next token while the one at hand is still good. Where that fails, the next call tries.
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
    /// The bundle's own words in the request for a token.
    pub(super) fn words(&self) -> Vec<String> {
        match self {
            Self::JwtBearer { issuer, subject, key_id, .. } => {
                [Some(issuer), subject.as_ref(), key_id.as_ref()].into_iter().flatten().cloned().collect()
            }
            Self::ClientCredentials { client, .. } | Self::RefreshToken { client, .. } => vec![client.clone()],
        }
    }

    /// The secrets in it.
    fn secrets(&self) -> impl Iterator<Item = &SecretValue> {
        match self {
            Self::JwtBearer { key, .. } => [Some(key), None],
            Self::ClientCredentials { secret, .. } => [Some(secret), None],
            Self::RefreshToken { secret, token, .. } => [Some(token), secret.as_ref()],
        }
        .into_iter()
        .flatten()
    }
}

impl Exchange {
    /// What tokens are kept by: everything that decides what is got, the secrets too.
    fn digest(&self) -> Digest {
        let mut scopes = self.scopes.clone();
        scopes.sort();
        let secret = |secret: &SecretValue| Digest::of(secret.expose().as_bytes()).to_string();
        let grant = match &self.grant {
            Grant::JwtBearer { issuer, subject, key_id, key } => {
                json!(["jwt-bearer", issuer, subject, key_id, secret(key)])
            }
            Grant::ClientCredentials { client, secret: own } => json!(["client-credentials", client, secret(own)]),
            Grant::RefreshToken { client, secret: own, token } => {
                json!(["refresh-token", client, own.as_ref().map(secret), secret(token)])
            }
        };
        Digest::of(json!([self.url.to_string(), scopes, grant]).to_string().as_bytes())
    }

    async fn fetch(&self, client: &HttpClient, networks: Vec<IpNet>) -> Result<Token, Problem> {
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
            .header("user-agent", super::USER_AGENT)
            .body(Upload::bytes(form.as_bytes().to_vec().into()))
            .map_err(|error| Problem::new("invalid", error.to_string()))?;
        let asked = Instant::now();
        let answer = async {
            let response = client.send(request, networks).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), limits::TOKEN_ANSWER_BYTES).collect().await;
            let bytes = body.map_err(|error| Problem::new("failed", format!("the token server's answer: {error}")))?;
            Ok::<_, Problem>((status, Zeroizing::new(bytes.to_bytes().to_vec())))
        };
        let (status, bytes) = tokio::time::timeout(limits::TOKEN_TIME, answer).await.unwrap_or_else(|_| {
            Err(Problem::new("timeout", format!("the token server at `{}` did not answer in time", self.url.origin))
                .retryable())
        })?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if !status.is_success() {
            return Err(self.refused(status, &answer, assertion.as_ref().map(|assertion| assertion.as_str())));
        }
        let token = answer["access_token"].as_str().filter(|token| !token.is_empty()).ok_or_else(|| {
            Problem::new("failed", format!("the token server at `{}` gave no `access_token`", self.url.origin))
        })?;
        // RFC 6749, section 5.1: where it is not said, it is known otherwise; an hour is what servers give.
        let lifetime = Duration::from_secs(answer["expires_in"].as_u64().unwrap_or(3_600).min(86_400));
        // Refreshed when a fifth of its life is left; not used in its last moments, which a request may outlast.
        let end = asked + lifetime.saturating_sub((lifetime / 10).min(limits::TOKEN_MARGIN));
        Ok(Token { value: SecretValue::new(token.to_owned()), refresh: asked + lifetime * 4 / 5, end })
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

    /// A signed statement of who asks for what (RFC 7523, section 3; RFC 7515, compact form).
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
        let signature = sign_rs256(key, signed.as_bytes())?;
        Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    /// The server's reason (RFC 6749, section 5.2).
    fn refused(&self, status: http::StatusCode, answer: &Value, assertion: Option<&str>) -> Problem {
        let assertion = assertion.map(|assertion| SecretValue::new(assertion.to_owned()));
        // Masked before it is cut: a part of a secret at the cut would not be found.
        let redactor = Redactor::new(self.grant.secrets().chain(assertion.as_ref()));
        let shown = |text: &str| cut(redactor.text(text.to_owned()), limits::TOKEN_REASON_BYTES);
        let word = shown(answer["error"].as_str().unwrap_or_default());
        let reason = answer["error_description"].as_str().map_or_else(|| word.clone(), shown);
        let said = if reason.is_empty() { status.to_string() } else { reason };
        let message = format!("the token server at `{}` gave no token: {said}", self.url.origin);
        let details = json!({ "step": "authenticate", "status": status.as_u16(), "error": word });
        let problem = match (status.as_u16(), word.as_str()) {
            (429 | 500..=599, _) => Problem::new("unavailable", message).retryable(),
            (_, "invalid_grant" | "invalid_client") => Problem::new("denied", message)
                .hint("the key may be revoked or expired, or this machine's clock may be wrong"),
            (_, "invalid_scope") => Problem::new("denied", message).hint("ask for other scopes"),
            _ => Problem::new("denied", message),
        };
        problem.details(&details)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}
