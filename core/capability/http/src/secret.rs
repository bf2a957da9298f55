//! Secrets in requests: headers derived from secrets, and access tokens obtained with secrets.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_call::{Fault, Problem, Secret, limits, quoted};
use blockyard_model::{Digest, Pointer, RequestUrl, SecretValue};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use wasmtime::component::Resource;
use zeroize::Zeroizing;

use super::headers;
use super::request::Injected;
use super::token::{Exchange, Grant, TokenSource};
use crate::bindings::blockyard::bundle::http::{
    Auth, ClientGrant, HostTokenSource, JwtGrant, SecretForm, SecretHeader,
};
use crate::view::HttpView;

impl HttpView<'_> {
    /// Returns the credentials of a request: a header, or the source of its access token.
    pub(super) fn credential(&mut self, auth: Auth) -> Result<(Option<Injected>, Option<TokenSource>), Fault> {
        let header = match auth {
            // A secret in the URL or in the body adds no header.
            Auth::None | Auth::Url(_) | Auth::Member(_) => return Ok((None, None)),
            Auth::Token(source) => return Ok((None, Some(self.call.table.get(&source)?.clone()))),
            Auth::Bearer(secret) => {
                let (secret, value) = self.secret(&secret)?;
                self.may_hold(&AUTHORIZATION, &secret)?;
                Injected { name: AUTHORIZATION, value: bearer(&value)?, secret }
            }
            Auth::Basic((user, secret)) => {
                let (secret, value) = self.secret(&secret)?;
                self.may_hold(&AUTHORIZATION, &secret)?;
                self.call.check_for_secrets([user.as_bytes()])?;
                // RFC 7617: the first colon ends the user name, so the name cannot contain one.
                if user.contains(':') || user.chars().any(char::is_control) {
                    return Err(
                        Problem::new("invalid", "a user name must not contain `:` or control characters").into()
                    );
                }
                let pair = Zeroizing::new(format!("{user}:{}", value.expose()));
                let encoded = SecretValue::new(STANDARD.encode(pair.as_bytes()));
                self.call.add_secret(&encoded);
                let value = sensitive(&format!("Basic {}", encoded.expose()))?;
                Injected { name: AUTHORIZATION, value, secret }
            }
            Auth::Scheme((scheme, secret)) => {
                let (secret, value) = self.secret(&secret)?;
                self.may_hold(&AUTHORIZATION, &secret)?;
                self.call.check_for_secrets([scheme.as_bytes()])?;
                if !is_scheme(&scheme) {
                    let message = format!("`{}` is not a scheme of the header `authorization`", quoted(&scheme));
                    return Err(Problem::new("invalid", message).into());
                }
                let value = sensitive(&format!("{scheme} {}", value.expose()))?;
                Injected { name: AUTHORIZATION, value, secret }
            }
        };
        Ok((Some(header), None))
    }

    /// Builds a header that contains a secret or a digest of it.
    pub(super) fn secret_header(&mut self, header: &SecretHeader) -> Result<Injected, Fault> {
        let (secret, value) = self.secret(&header.secret)?;
        let name = headers::header_name(&header.name)?;
        self.may_hold(&name, &secret)?;
        let value = match header.form {
            SecretForm::Plain => sensitive(value.expose())?,
            SecretForm::Base64Sha256 => {
                let bytes = STANDARD.decode(value.expose().trim()).map(Zeroizing::new);
                let bytes = bytes.map_err(|_| {
                    Problem::new("invalid", format!("the secret `{secret}` is not base64"))
                        .hint("create a key with `openssl rand -base64 32`")
                })?;
                let digest = SecretValue::new(STANDARD.encode(Digest::of(&bytes).as_bytes()));
                // A key with low entropy could be guessed from its digest, so the digest is masked
                // as well.
                self.call.add_secret(&digest);
                sensitive(digest.expose())?
            }
        };
        Ok(Injected { name, value, secret })
    }

    /// Checks that the schema of the secret allows this header.
    fn may_hold(&self, name: &HeaderName, secret: &Pointer) -> Result<(), Problem> {
        let named = self.call.secrets.get(secret).map(|secret| secret.uses.headers.as_slice()).unwrap_or_default();
        if named.iter().any(|named| named == name.as_str()) {
            return Ok(());
        }
        let shown = quoted(name.as_str());
        let problem = Problem::new("denied", format!("the secret `{secret}` may not be sent in the header `{shown}`"));
        Err(match named {
            [] => problem.hint("upgrade the bundle: the schema of the block type names no header for this secret"),
            named => {
                problem.hint(format!("use a header that the schema of the block type names: `{}`", named.join("`, `")))
            }
        })
    }

    /// Returns the location and the value of the secret behind a handle.
    fn secret(&self, secret: &Resource<Secret>) -> Result<(Pointer, SecretValue), Fault> {
        let (pointer, secret) = self.call.secret(secret)?;
        Ok((pointer.clone(), secret.value.clone()))
    }

    /// Checks that the audience of every secret includes the origin of the URL.
    pub(super) fn for_origin(&self, secrets: &[Pointer], url: &RequestUrl) -> Result<(), Problem> {
        for pointer in secrets {
            let audience =
                self.call.secrets.get(pointer).map(|secret| secret.uses.audience.as_slice()).unwrap_or_default();
            if !audience.iter().any(|audience| audience.is_origin(&url.origin)) {
                let meant: Vec<String> = audience.iter().map(|audience| format!("`{audience}`")).collect();
                let meant = if meant.is_empty() { "empty".to_owned() } else { meant.join(", ") };
                let message =
                    format!("the secret `{pointer}` may not be sent to `{}`; its audience is {meant}", url.origin);
                return Err(Problem::new("not-granted", message));
            }
        }
        Ok(())
    }

    fn exchange(
        &mut self,
        token_url: &str,
        scopes: Vec<String>,
        secrets: Vec<Pointer>,
        grant: Grant,
    ) -> Result<Resource<TokenSource>, Fault> {
        let url = RequestUrl::parse(token_url).map_err(|error| Problem::new("invalid", error.to_string()))?;
        self.permit(&url.origin)?;
        self.is_token_server(&secrets, &url)?;
        if scopes.iter().any(|scope| scope.contains(char::is_whitespace)) {
            return Err(Problem::new("invalid", "a scope must not contain white space").into());
        }
        let words: Vec<String> = scopes.iter().cloned().chain(grant.words()).collect();
        self.call.check_for_secrets(words.iter().map(String::as_bytes))?;
        Ok(self.call.table.push(TokenSource { secrets, exchange: Arc::new(Exchange { url, scopes, grant }) })?)
    }

    /// Checks that the schema of every secret names this token URL. The host sends a POST request
    /// with the secret to it, even if the operation's effect is `read`.
    fn is_token_server(&self, secrets: &[Pointer], url: &RequestUrl) -> Result<(), Problem> {
        for pointer in secrets {
            let tokens = self.call.secrets.get(pointer).map(|secret| secret.uses.tokens.as_slice()).unwrap_or_default();
            if !tokens.contains(url) {
                let message = format!("the secret `{pointer}` may not be used at this token URL of `{}`", url.origin);
                let problem = Problem::new("not-granted", message);
                return Err(match tokens {
                    [] => problem
                        .hint("upgrade the bundle: the schema of the block type names no token URL for this secret"),
                    named => {
                        let named: Vec<String> = named.iter().map(|url| format!("`{url}`")).collect();
                        problem.hint(format!("use a URL that the schema of the block type names: {}", named.join(", ")))
                    }
                });
            }
        }
        Ok(())
    }
}

impl HostTokenSource for HttpView<'_> {
    async fn jwt_bearer(&mut self, grant: JwtGrant, key: Resource<Secret>) -> Result<Resource<TokenSource>, Fault> {
        let (pointer, key) = self.secret(&key)?;
        let JwtGrant { token_url, issuer, subject, scopes, key_id } = grant;
        self.exchange(&token_url, scopes, vec![pointer], Grant::JwtBearer { issuer, subject, key_id, key })
    }

    async fn client_credentials(
        &mut self,
        grant: ClientGrant,
        secret: Resource<Secret>,
    ) -> Result<Resource<TokenSource>, Fault> {
        let (pointer, secret) = self.secret(&secret)?;
        let client = grant.client_id;
        self.exchange(&grant.token_url, grant.scopes, vec![pointer], Grant::ClientCredentials { client, secret })
    }

    async fn refresh_token(
        &mut self,
        grant: ClientGrant,
        secret: Option<Resource<Secret>>,
        token: Resource<Secret>,
    ) -> Result<Resource<TokenSource>, Fault> {
        let (pointer, token) = self.secret(&token)?;
        let mut secrets = vec![pointer];
        let secret = match secret {
            None => None,
            Some(secret) => {
                let (pointer, value) = self.secret(&secret)?;
                secrets.push(pointer);
                Some(value)
            }
        };
        let client = grant.client_id;
        self.exchange(&grant.token_url, grant.scopes, secrets, Grant::RefreshToken { client, secret, token })
    }

    async fn drop(&mut self, source: Resource<TokenSource>) -> wasmtime::Result<()> {
        self.call.table.delete(source)?;
        Ok(())
    }
}

pub(super) fn bearer(token: &SecretValue) -> Result<HeaderValue, Problem> {
    sensitive(&format!("Bearer {}", token.expose()))
}

/// Checks the name of a scheme (RFC 9110, section 11.1). It has letters, digits and `-` only: the other
/// characters of a token occur in no registered scheme.
fn is_scheme(text: &str) -> bool {
    (1..=limits::AUTH_SCHEME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Creates a header value that is hidden in debug output.
fn sensitive(text: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Problem::new("invalid", "the secret contains a character that is invalid in a header, such as a line break")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_one_word() {
        for scheme in ["GenieKey", "Bearer", "AWS4-HMAC-SHA256", "Token"] {
            assert!(is_scheme(scheme), "{scheme}");
        }
        for scheme in ["", "Genie Key", "a\r\nHost:", "a:", "token=", "\u{e9}", &"a".repeat(65)] {
            assert!(!is_scheme(scheme), "{scheme:?}");
        }
    }
}
