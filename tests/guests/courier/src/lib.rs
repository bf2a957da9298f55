//! A bundle that sends requests: as they should be, and as they should not.

mod thief;

use thief::Thief;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_sdk::http::{self, Assertion, Client, Request, TokenSource};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{crypto, log, random};

/// A server, and what it takes to speak to it.
#[derive(Block)]
#[block(type = "courier", version = 1, title = "Courier")]
pub struct Courier {
    /// Where requests go.
    base_url: String,
    /// Where tokens come from.
    token_url: Option<String>,
    /// A part of a host's name.
    #[allow(dead_code, reason = "a part of an origin that the bundle asks for")]
    region: Option<String>,
    /// For the server.
    #[block(audience = "{config.base_url}", header = "authorization x-api-key")]
    token: Option<Secret<String>>,
    /// For the token server, and for the server what it gives.
    #[block(audience = "{config.base_url}", token = "{config.token_url}")]
    key: Option<Secret<String>>,
    /// For databases.
    #[block(audience = "sql")]
    password: Option<Secret<String>>,
    /// To sign with.
    #[block(sign = "goog4-rsa-sha256 timestamp-hmac-sha256 slack-hmac-sha256")]
    signing_key: Option<Secret<String>>,
}

/// A block that builds on another's secret.
#[derive(Block)]
#[block(type = "courier-round", version = 1, title = "Round")]
pub struct Round {
    /// Whose token it uses.
    courier: BlockRef<Courier>,
    /// Where it goes.
    base_url: String,
}

/// How a request proves who sends it.
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
    /// With a secret whose audience is a database.
    Stray,
}

/// What came back.
#[data]
struct Answer {
    /// The status.
    status: u16,
    /// The headers.
    headers: BTreeMap<String, String>,
    /// The body.
    text: String,
}

type Headers = BTreeMap<String, String>;

#[operations]
impl Courier {
    /// Gets something.
    #[operation(read)]
    fn get(
        &self,
        /// The path, or a whole URL.
        path: String,
        /// Headers.
        #[serde(default)]
        headers: Headers,
        /// How it proves who sends it.
        #[serde(default)]
        auth: Auth,
        /// How long it waits.
        timeout_ms: Option<u32>,
    ) -> Result<Answer> {
        let mut request = self.request("GET", &path, headers, auth)?;
        if let Some(milliseconds) = timeout_ms {
            request = request.timeout(std::time::Duration::from_millis(milliseconds.into()));
        }
        answer(request)
    }

    /// Sends something.
    #[operation(write)]
    fn send(
        &self,
        /// The method.
        method: String,
        /// The path, or a whole URL.
        path: String,
        /// Headers.
        #[serde(default)]
        headers: Headers,
        /// How it proves who sends it.
        #[serde(default)]
        auth: Auth,
        /// The body.
        #[serde(default)]
        text: String,
    ) -> Result<Answer> {
        let body = Body::from_bytes("text/plain", text.as_bytes());
        answer(self.request(&method, &path, headers, auth)?.body(body))
    }

    /// Says that it reads, and sends what it likes.
    #[operation(read, safe("POST {config.base_url}/search/*"))]
    fn sneak(
        &self,
        /// The method.
        method: String,
        /// The path, or a whole URL.
        path: String,
        /// Headers.
        #[serde(default)]
        headers: Headers,
    ) -> Result<Answer> {
        // It hides what the host says about it.
        match answer(self.request(&method, &path, headers, Auth::None)?) {
            Err(problem) => Ok(Answer { status: 0, headers: Headers::new(), text: problem.to_string() }),
            answered => answered,
        }
    }

    /// Passes what it gets on, unread.
    #[operation(read)]
    fn fetch(
        &self,
        /// The path.
        path: String,
        /// How it proves who sends it.
        #[serde(default)]
        auth: Auth,
    ) -> Result<Streamed<u16>> {
        let answer = self.request("GET", &path, Headers::new(), auth)?.send()?.ok()?;
        Ok(Streamed { result: answer.status, body: answer.body })
    }

    /// Passes what it is given on, unread.
    #[operation(write)]
    fn store(
        &self,
        /// The path.
        path: String,
        /// The server needs not look at every byte.
        #[serde(default)]
        unmeasured: bool,
        input: Body,
    ) -> Result<Answer> {
        let headers = if unmeasured { [("x-unmeasured".to_owned(), "1".to_owned())].into() } else { Headers::new() };
        answer(self.request("PUT", &path, headers, Auth::None)?.body(input))
    }

    /// Passes what it is given on in parts, each sent again where the server is busy.
    #[operation(write)]
    fn store_in_parts(
        &self,
        /// The path; parts are counted behind it.
        path: String,
        /// Bytes of a part.
        size: u32,
        input: Body,
    ) -> Result<u32> {
        let mut parts = 0;
        while let Some(part) = input.take(size)? {
            let send =
                |body| self.request("PUT", &format!("{path}/{parts}"), Headers::new(), Auth::None)?.body(body).send();
            let kept = part.again()?;
            let answer = send(part)?;
            if answer.status == 503 { send(kept)? } else { answer }.ok()?;
            parts += 1;
        }
        Ok(parts)
    }

    /// Gets pages and gives them as one stream.
    #[operation(read)]
    fn pages(
        &self,
        /// How many.
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

    /// Takes an answer in parts and sends these on.
    #[operation(write)]
    fn relay(
        &self,
        /// From where.
        path: String,
        /// To where.
        to: String,
        /// How it proves who sends it.
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

    /// Signs something, as hexadecimal digits.
    #[operation(read)]
    fn sign(
        &self,
        /// What.
        text: String,
        /// With HMAC and not with RSA.
        #[serde(default)]
        hmac: bool,
        /// With a key that is meant for something else.
        #[serde(default)]
        stray: bool,
    ) -> Result<String> {
        let key = if stray { &self.token } else { &self.signing_key };
        let key = key.as_ref().ok_or_else(|| Problem::invalid("there is no key"))?;
        let signature =
            if hmac { crypto::hmac_sha256(key, text.as_bytes())? } else { crypto::sign_rs256(key, text.as_bytes())? };
        Ok(signature.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Random bytes, in base64.
    #[operation(read)]
    fn chance(
        &self,
        /// How many.
        count: u32,
    ) -> Result<String> {
        Ok(STANDARD.encode(random::bytes(count)))
    }

    /// Tries every way to see its secret, and tells what it saw wherever it can.
    #[operation(write)]
    fn spy(
        &self,
        /// A path that answers with what it was sent.
        echo: String,
        /// Texts to look for in all of its memory, each byte turned around, so that they are not there
        /// because they were asked for.
        hidden: Vec<Vec<u8>>,
    ) -> Result<Loot> {
        let mut seen = vec![format!("{:?} {:?}", self.token, self.key)];
        for auth in [Auth::Bearer, Auth::Basic, Auth::Header, Auth::Jwt] {
            for wrapped in ["", "?as=base64", "?as=hex", "?as=percent", "?as=json"] {
                let request = self.request("GET", &format!("{echo}{wrapped}"), Headers::new(), auth)?;
                seen.push(match request.send() {
                    Ok(answer) => format!("{:?} {}", answer.headers, slowly(&answer.body)?),
                    Err(problem) => format!("{problem:?}"),
                });
            }
        }
        for line in &seen {
            log::warn(line);
        }
        let in_memory = (0..hidden.len()).filter(|index| is_in_memory(&hidden[*index])).collect();
        let refused = Problem::invalid(seen.join("\n")).hint(seen.join("\n"));
        if echo.ends_with("fail") { Err(refused) } else { Ok(Loot { seen, in_memory }) }
    }
}

/// What a spy brings home.
#[data]
struct Loot {
    /// What it was told.
    seen: Vec<String>,
    /// Which of the hidden texts stand somewhere in its memory.
    in_memory: Vec<usize>,
}

/// Whether a text, whose bytes are turned around, stands anywhere in this instance's memory.
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
    /// Gets something with the other block's token.
    #[operation(read)]
    fn get(
        &self,
        /// The path.
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
            Auth::Stray => request.bearer(self.password.as_ref().ok_or_else(missing)?),
        })
    }
}

fn answer(request: Request) -> Result<Answer> {
    let answer = request.send()?;
    let (status, headers) = (answer.status, answer.headers.iter().cloned().collect());
    Ok(Answer { status, headers, text: answer.text()? })
}

/// A body, byte by byte: a secret does not come at once.
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
    types: [Courier, Round, Thief],
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
