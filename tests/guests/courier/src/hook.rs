//! A block type with a secret URL, which it uses and tries to learn.

use blockyard_sdk::bindings::blockyard::bundle::http as host;
use blockyard_sdk::http;
use blockyard_sdk::prelude::*;

/// A webhook.
#[derive(Block)]
#[block(type = "courier-hook", version = 1, title = "Hook")]
pub(crate) struct Hook {
    /// Base URL of the server.
    base_url: String,
    /// Base URL of another server.
    other_url: Option<String>,
    /// Secret URL on the server.
    #[block(audience = "{config.base_url}", url)]
    url: Secret<String>,
    /// Secret for the server that is not declared as a URL.
    #[block(audience = "{config.base_url}", header = "authorization x-api-key")]
    token: Option<Secret<String>>,
    /// Secret that is sent in a body.
    #[block(audience = "{config.base_url}", member = "routing_key")]
    key: Option<Secret<String>>,
}

/// Misuse of a secret URL.
#[data]
#[derive(Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Misuse {
    /// As a bearer token.
    Bearer,
    /// As a password.
    Basic,
    /// As a header.
    Header,
    /// Of a secret that is not declared as a URL.
    Undeclared,
    /// With the URL of another server in the request.
    OtherServer,
    /// With a path in the URL of the request.
    Path,
}

#[operations]
impl Hook {
    /// Posts a text to the secret URL. Returns the headers and the body of the response.
    #[operation(write)]
    fn post(
        &self,
        /// Text to post.
        text: String,
        /// Query to append.
        query: Option<String>,
    ) -> Result<Vec<String>> {
        let query = query.as_deref().map(|query| ("q", query));
        let body = Body::from_bytes("text/plain", text.as_bytes());
        shown(http::to_secret_url("POST", &self.url).query(query).body(body).send()?)
    }

    /// Sends a request to the secret URL, although its effect is `read`.
    #[operation(read, safe("POST {config.base_url}/"))]
    fn read(
        &self,
        /// HTTP method.
        method: String,
    ) -> Result<Vec<String>> {
        shown(http::to_secret_url(method, &self.url).send()?)
    }

    /// Uses the secret URL, or another secret as one, in a way that the schema does not permit.
    #[operation(write)]
    fn misuse(
        &self,
        /// The misuse.
        how: Misuse,
    ) -> Result<Vec<String>> {
        let request = || http::post(self.base_url.as_str());
        let response = match how {
            Misuse::Bearer => request().bearer(&self.url).send()?,
            Misuse::Basic => request().basic("me", &self.url).send()?,
            Misuse::Header => request().secret_header("x-api-key", &self.url).send()?,
            Misuse::Undeclared => {
                let token = self.token.as_ref().ok_or_else(|| Problem::invalid("there is no token"))?;
                http::to_secret_url("POST", token).send()?
            }
            Misuse::OtherServer => return self.send_to(self.other_url.clone().unwrap_or_default()),
            Misuse::Path => return self.send_to(format!("{}/other", self.base_url)),
        };
        shown(response)
    }

    /// Posts a JSON document with a secret as a member.
    #[operation(write)]
    fn member(
        &self,
        /// Name of the member.
        name: String,
        /// The document.
        text: String,
        /// Sends it to the other server.
        #[serde(default)]
        elsewhere: bool,
        /// Sends the secret in a header instead.
        #[serde(default)]
        header: bool,
    ) -> Result<Vec<String>> {
        let key = self.key.as_ref().ok_or_else(|| Problem::invalid("there is no key"))?;
        let server = if elsewhere { self.other_url.clone().unwrap_or_default() } else { self.base_url.clone() };
        let request = http::post(server).body(Body::from_bytes("application/json", text.as_bytes()));
        let request = if header { request.authorization("GenieKey", key) } else { request.secret_member(name, key) };
        shown(request.send()?)
    }

    /// Sends the token with a scheme.
    #[operation(write)]
    fn scheme(
        &self,
        /// Scheme of the header.
        scheme: String,
    ) -> Result<Vec<String>> {
        let token = self.token.as_ref().ok_or_else(|| Problem::invalid("there is no token"))?;
        shown(http::post(self.base_url.as_str()).authorization(scheme, token).send()?)
    }

    /// Fetches an echo of the secret URL and forwards it to another server.
    #[operation(write)]
    fn bounce(&self) -> Result<u16> {
        let echo = http::to_secret_url("GET", &self.url).send()?.body;
        let other = self.other_url.as_deref().unwrap_or_default();
        Ok(http::post(other).body(echo).send()?.status)
    }
}

impl Hook {
    /// Sends a request with the secret URL, and a URL of the guest's choice.
    fn send_to(&self, url: String) -> Result<Vec<String>> {
        let request = host::Request { method: "POST".to_owned(), url, headers: Vec::new(), timeout_ms: None };
        let response = host::send(&request, &host::Auth::Url(&self.url.handle()?), &[], None)?;
        Ok(vec![response.status.to_string()])
    }
}

/// Returns everything that the guest sees of a response.
fn shown(response: http::Response) -> Result<Vec<String>> {
    let mut shown = vec![response.status.to_string()];
    shown.extend(response.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    shown.push(response.text()?);
    Ok(shown)
}
