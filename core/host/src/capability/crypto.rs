//! `crypto`: work done with a secret that does not give it away. The secret's audience must name
//! `crypto`: who may have anything signed learns no key, and can speak in its name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blockyard_model::{Audience, SecretValue};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use wasmtime::component::Resource;

use crate::bindings::blockyard::bundle::crypto::Host;
use crate::capability::secrets::Secret;
use crate::problem::{Fault, Problem};
use crate::state::CallState;
use crate::trace;

impl Host for CallState {
    async fn hmac_sha256(&mut self, key: Resource<Secret>, data: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let _traced = trace::host_call("crypto.hmac-sha256");
        let key = self.signing_secret(&key)?;
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.expose().as_bytes());
        Ok(ring::hmac::sign(&key, &data).as_ref().to_vec())
    }

    async fn sign_rs256(&mut self, key: Resource<Secret>, data: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let _traced = trace::host_call("crypto.sign-rs256");
        let key = self.signing_secret(&key)?;
        // A signed statement of this form buys an access token, which the bundle would then hold.
        if is_jws_input(&data) {
            let problem = Problem::new("denied", "a bundle may not sign tokens of its own")
                .hint("`token-source` gets access tokens, and keeps them from the bundle");
            return Err(problem.into());
        }
        Ok(sign_rs256(&key, &data)?)
    }
}

impl CallState {
    fn signing_secret(&self, secret: &Resource<Secret>) -> Result<SecretValue, Fault> {
        let pointer = &self.table.get(secret)?.pointer;
        let known = self.secrets.get(pointer);
        let secret = known.ok_or_else(|| Problem::new("not-found", "the block has no such secret"))?;
        if !secret.audience.contains(&Audience::Crypto) {
            let problem = Problem::new("not-granted", format!("the secret `{pointer}` is not meant for signing"));
            return Err(problem.into());
        }
        Ok(secret.value.clone())
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2); the key as PEM, PKCS#8 or PKCS#1.
pub(crate) fn sign_rs256(key: &SecretValue, data: &[u8]) -> Result<Vec<u8>, Problem> {
    let unreadable = |reason: String| {
        Problem::new("invalid", format!("the private key cannot be used: {reason}"))
            .hint("it must be an RSA key of 2048 to 4096 bits in PEM, beginning with `-----BEGIN PRIVATE KEY-----`")
    };
    let der =
        PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| unreadable("it is not PEM".to_owned()))?;
    let pair = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(unreadable("it is not an RSA key".to_owned())),
    }
    .map_err(|error| unreadable(error.to_string()))?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
        .map_err(|_| unreadable("it does not sign".to_owned()))?;
    Ok(signature)
}

/// Whether bytes are the signing input of a JSON Web Signature (RFC 7515, section 5.1).
fn is_jws_input(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Some((header, _)) = text.split_once('.') else { return false };
    let decoded = URL_SAFE_NO_PAD.decode(header.trim_end_matches('=')).unwrap_or_default();
    matches!(serde_json::from_slice(&decoded), Ok(serde_json::Value::Object(_)))
}

#[cfg(test)]
mod tests {
    use super::is_jws_input;

    #[test]
    fn what_would_buy_a_token_is_known() {
        assert!(is_jws_input(b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0"));
        assert!(is_jws_input(b"eyJhbGciOiJSUzI1NiJ9."));
        assert!(!is_jws_input(b"GOOG4-RSA-SHA256\n20261124T000000Z\n20261124/auto/storage/goog4_request\nabc.def"));
        assert!(!is_jws_input(b"a.b") && !is_jws_input(b"") && !is_jws_input(&[0xff, b'.']));
    }
}
