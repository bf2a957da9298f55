//! A bundle that sends valid and forbidden HTTP requests.

mod hook;
mod thief;

use hook::Hook;
use thief::Thief;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_sdk::http::{self, Assertion, Client, Request, TokenSource};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{crypto, log, random};

/// An HTTP server and the credentials for it.
#[derive(Block)]
#[block(type = "courier", version = 1, title = "Courier")]
pub struct Courier {
    /// Base URL of the requests.
    base_url: String,
    /// Token endpoint for the credentials `jwt`, `client` and `refresh`.
    token_url: Option<String>,
    /// Label in the name of a host: the manifest requests
    /// `https://{config.region}.courier.example`.
    #[allow(dead_code, reason = "a part of an origin that the bundle asks for")]
    region: Option<String>,
    /// Secret for the server.
    #[block(audience = "{config.base_url}", header = "authorization x-api-key")]
    token: Option<Secret<String>>,
    /// Secret for the token endpoint. The server receives the issued token.
    #[block(audience = "{config.base_url}", token = "{config.token_url}")]
    key: Option<Secret<String>>,
    /// Secret for databases only.
    #[block(audience = "sql")]
    password: Option<Secret<String>>,
    /// Secret that can only sign.
    #[block(sign = "goog4-rsa-sha256 timestamp-hmac-sha256 slack-hmac-sha256")]
    signing_key: Option<Secret<String>>,
}

/// A block that uses the secret of another block.
#[derive(Block)]
#[block(type = "courier-round", version = 1, title = "Round")]
pub struct Round {
    /// The block whose token is used.
    courier: BlockRef<Courier>,
    /// Base URL of the requests.
    base_url: String,
}

/// Authentication of a request.
#[data]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Auth {
    #[default]
    None,
    Bearer,
    Basic,
    Header,
    Jwt,
    Client,
    Refresh,
    /// A bearer token from a secret whose audience is a database.
    WrongAudience,
}

/// Response of the server.
#[data]
struct Answer {
    /// HTTP status.
    status: u16,
    /// Response headers.
    headers: BTreeMap<String, String>,
    /// Response body.
    text: String,
}

type Headers = BTreeMap<String, String>;

#[operations]
impl Courier {
    /// Sends a GET request.
    #[operation(read)]
    fn get(
        &self,
        /// Path on the server, or an absolute URL.
        path: String,
        /// Request headers.
        #[serde(default)]
        headers: Headers,
        /// Authentication of the request.
        #[serde(default)]
        auth: Auth,
        /// Timeout in milliseconds.
        timeout_ms: Option<u32>,
    ) -> Result<Answer> {
        let mut request = self.request("GET", &path, headers, auth)?;
        if let Some(milliseconds) = timeout_ms {
            request = request.timeout(std::time::Duration::from_millis(milliseconds.into()));
        }
        answer(request)
    }

    /// Sends a request with any method.
    #[operation(write)]
    fn send(
        &self,
        /// HTTP method.
        method: String,
        /// Path on the server, or an absolute URL.
        path: String,
        /// Request headers.
        #[serde(default)]
        headers: Headers,
        /// Authentication of the request.
        #[serde(default)]
        auth: Auth,
        /// Request body.
        #[serde(default)]
        text: String,
    ) -> Result<Answer> {
        let body = Body::from_bytes("text/plain", text.as_bytes());
        answer(self.request(&method, &path, headers, auth)?.body(body))
    }

    /// Sends a request with any method, although it declares the effect `read`.
    #[operation(read, safe("POST {config.base_url}/search/*"))]
    fn send_in_read(
        &self,
        /// HTTP method.
        method: String,
        /// Path on the server, or an absolute URL.
        path: String,
        /// Request headers.
        #[serde(default)]
        headers: Headers,
    ) -> Result<Answer> {
        // Hides the error of the host in a successful result.
        match answer(self.request(&method, &path, headers, Auth::None)?) {
            Err(problem) => Ok(Answer { status: 0, headers: Headers::new(), text: problem.to_string() }),
            answered => answered,
        }
    }

    /// Returns a response body without reading it.
    #[operation(read)]
    fn fetch(
        &self,
        /// Path on the server.
        path: String,
        /// Authentication of the request.
        #[serde(default)]
        auth: Auth,
    ) -> Result<Streamed<u16>> {
        let answer = self.request("GET", &path, Headers::new(), auth)?.send()?.ok()?;
        Ok(Streamed { result: answer.status, body: answer.body })
    }

    /// Uploads the input without reading it.
    #[operation(write)]
    fn store(
        &self,
        /// Path on the server.
        path: String,
        /// Tells the test server to compute no digest of the body.
        #[serde(default)]
        unmeasured: bool,
        input: Body,
    ) -> Result<Answer> {
        let headers = if unmeasured { [("x-unmeasured".to_owned(), "1".to_owned())].into() } else { Headers::new() };
        answer(self.request("PUT", &path, headers, Auth::None)?.body(input))
    }

    /// Uploads the input in parts, and repeats a part if the server responds with 503.
    #[operation(write)]
    fn store_in_parts(
        &self,
        /// Path on the server, to which the number of the part is appended.
        path: String,
        /// Size of a part in bytes.
        size: u32,
        input: Body,
    ) -> Result<u32> {
        let mut parts = 0;
        while let Some(part) = input.take(size)? {
            let send =
                |body| self.request("PUT", &format!("{path}/{parts}"), Headers::new(), Auth::None)?.body(body).send();
            let copy = part.again()?;
            let answer = send(part)?;
            if answer.status == 503 { send(copy)? } else { answer }.ok()?;
            parts += 1;
        }
        Ok(parts)
    }

    /// Fetches pages and returns them as one stream.
    #[operation(read)]
    fn pages(
        &self,
        /// Number of pages.
        count: u32,
    ) -> Result<InParts<u32>> {
        let base = self.base_url.clone();
        let mut page = 0;
        let parts = Parts::new(move || {
            if page == count {
                return Ok(None);
            }
            page += 1;
            Ok(Some(http::get(format!("{base}/page/{page}")).send()?.ok()?.body))
        });
        Ok(InParts { result: count, parts })
    }

    /// Reads a response body in parts and sends each part in a request.
    #[operation(write)]
    fn relay(
        &self,
        /// Path of the source.
        path: String,
        /// Path of the destination.
        to: String,
        /// Authentication of the first request.
        #[serde(default)]
        auth: Auth,
    ) -> Result<u32> {
        let answer = self.request("GET", &path, Headers::new(), auth)?.send()?.ok()?;
        let mut parts = 0;
        while let Some(part) = answer.body.take(7)? {
            self.request("PUT", &to, Headers::new(), Auth::None)?.body(part).send()?.ok()?;
            parts += 1;
        }
        Ok(parts)
    }

    /// Returns the signature of a text in hexadecimal digits.
    #[operation(read)]
    fn sign(
        &self,
        /// Text to sign.
        text: String,
        /// Uses HMAC instead of RSA.
        #[serde(default)]
        hmac: bool,
        /// Uses a secret that is not meant for signing.
        #[serde(default)]
        other_secret: bool,
    ) -> Result<String> {
        let key = if other_secret { &self.token } else { &self.signing_key };
        let key = key.as_ref().ok_or_else(|| Problem::invalid("there is no key"))?;
        let signature =
            if hmac { crypto::hmac_sha256(key, text.as_bytes())? } else { crypto::sign_rs256(key, text.as_bytes())? };
        Ok(signature.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns random bytes, base64-encoded.
    #[operation(read)]
    fn chance(
        &self,
        /// Number of bytes.
        count: u32,
    ) -> Result<String> {
        Ok(STANDARD.encode(random::bytes(count)))
    }

    /// Tries every way to read its secret, and discloses what it received in results, logs and
    /// errors.
    #[operation(write)]
    fn spy(
        &self,
        /// Path of a resource that echoes the request.
        echo: String,
        /// Texts to search for in the memory of the instance. Each byte is inverted, so that the
        /// arguments themselves do not match.
        hidden: Vec<Vec<u8>>,
    ) -> Result<SecretReport> {
        let mut outcomes = vec![format!("{:?} {:?}", self.token, self.key)];
        for auth in [Auth::Bearer, Auth::Basic, Auth::Header, Auth::Jwt] {
            for wrapped in ["", "?as=base64", "?as=hex", "?as=percent", "?as=json"] {
                let request = self.request("GET", &format!("{echo}{wrapped}"), Headers::new(), auth)?;
                outcomes.push(match request.send() {
                    Ok(answer) => format!("{:?} {}", answer.headers, slowly(&answer.body)?),
                    Err(problem) => format!("{problem:?}"),
                });
            }
        }
        for line in &outcomes {
            log::warn(line);
        }
        let in_memory = (0..hidden.len()).filter(|index| is_in_memory(&hidden[*index])).collect();
        let refused = Problem::invalid(outcomes.join("\n")).hint(outcomes.join("\n"));
        if echo.ends_with("fail") { Err(refused) } else { Ok(SecretReport { outcomes, in_memory }) }
    }
}

/// Result of `spy`.
#[data]
struct SecretReport {
    /// Texts received from the host and the server.
    outcomes: Vec<String>,
    /// Indexes of the hidden texts that were found in memory.
    in_memory: Vec<usize>,
}

/// Checks whether a text, given with inverted bytes, is anywhere in this instance's memory.
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "it looks at every byte that it has, as an attacker would")]
fn is_in_memory(hidden: &[u8]) -> bool {
    let size = core::arch::wasm32::memory_size(0) * 65_536;
    // SAFETY: a linear memory is readable up to its size; nothing else runs in this instance.
    let memory = unsafe { core::slice::from_raw_parts(8 as *const u8, size - 8) };
    memory.windows(hidden.len()).any(|window| window.iter().zip(hidden).all(|(byte, hidden)| *byte == !*hidden))
}

#[cfg(not(target_family = "wasm"))]
fn is_in_memory(_: &[u8]) -> bool {
    false
}

#[operations]
impl Round {
    /// Sends a GET request with the other block's token.
    #[operation(read)]
    fn get(
        &self,
        /// Path on the server.
        path: String,
    ) -> Result<Answer> {
        let token = self.courier.get()?.token.as_ref().ok_or_else(|| Problem::invalid("there is no token"))?;
        answer(http::get(format!("{}{path}", self.base_url)).bearer(token))
    }
}

impl Courier {
    fn request(&self, method: &str, path: &str, headers: Headers, auth: Auth) -> Result<Request> {
        let url = if path.contains("://") { path.to_owned() } else { format!("{}{path}", self.base_url) };
        let mut request = http::request(method, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let missing = || Problem::invalid("the block has no such secret");
        let token = || self.token.as_ref().ok_or_else(missing);
        let key = || self.key.as_ref().ok_or_else(missing);
        let token_url = self.token_url.as_deref().unwrap_or_default();
        let client = Client { token_url, client_id: "courier", scopes: &["read"] };
        Ok(match auth {
            Auth::None => request,
            Auth::Bearer => request.bearer(token()?),
            Auth::Basic => request.basic("ada", token()?),
            Auth::Header => request.secret_header("x-api-key", token()?),
            Auth::Jwt => {
                let assertion = Assertion {
                    token_url,
                    issuer: "courier@zoo.example",
                    scopes: &["read", "write"],
                    key_id: Some("k1"),
                    ..Assertion::default()
                };
                request.token(TokenSource::jwt_bearer(&assertion, key()?))
            }
            Auth::Client => request.token(TokenSource::client_credentials(&client, key()?)),
            Auth::Refresh => request.token(TokenSource::refresh_token(&client, None, key()?)),
            Auth::WrongAudience => request.bearer(self.password.as_ref().ok_or_else(missing)?),
        })
    }
}

fn answer(request: Request) -> Result<Answer> {
    let answer = request.send()?;
    let (status, headers) = (answer.status, answer.headers.iter().cloned().collect());
    Ok(Answer { status, headers, text: answer.text()? })
}

/// Reads a body one byte at a time, so that a secret is never in a single chunk.
fn slowly(body: &Body) -> Result<String> {
    let mut all = Vec::new();
    while let Some(bytes) = body.read(1)? {
        all.extend(bytes);
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

bundle! {
    name: "courier",
    description: "Requests, well and badly sent",
    types: [Courier, Round, Thief, Hook],
    capabilities: [
        "http {config.base_url}",
        "http {config.token_url}",
        "http {config.other_url}",
        "http https://{config.region}.courier.example",
        "http https://*.wild.example",
        "http https://ungranted.example",
        "crypto",
        "random",
    ],
}
