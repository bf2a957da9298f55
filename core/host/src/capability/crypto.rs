//! `crypto`: signatures made with a secret. The secret's schema lists the forms of message that it
//! may sign. A message of any other form is refused, so that a bundle cannot sign a token, an
//! assertion or a certificate.

use blockyard_model::{SecretValue, SignAlgorithm, SignForm};
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
        let key = self.signing_secret(&key, SignAlgorithm::HmacSha256, &data)?;
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.expose().as_bytes());
        Ok(ring::hmac::sign(&key, &data).as_ref().to_vec())
    }

    async fn sign_rs256(&mut self, key: Resource<Secret>, data: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let _traced = trace::host_call("crypto.sign-rs256");
        let key = self.signing_secret(&key, SignAlgorithm::RsaSha256, &data)?;
        Ok(sign_rs256(&key, &data)?)
    }
}

impl CallState {
    /// Returns the secret if its schema lists a signing form that matches the data.
    fn signing_secret(
        &self,
        secret: &Resource<Secret>,
        algorithm: SignAlgorithm,
        data: &[u8],
    ) -> Result<SecretValue, Fault> {
        let pointer = &self.table.get(secret)?.pointer;
        let known = self.secrets.get(pointer);
        let secret = known.ok_or_else(|| Problem::new("not-found", "the block has no such secret"))?;
        let forms: Vec<SignForm> =
            secret.uses.sign.iter().copied().filter(|form| form.algorithm() == algorithm).collect();
        if forms.is_empty() {
            let problem = Problem::new("not-granted", format!("the secret `{pointer}` may not be used for signing"))
                .hint("upgrade the bundle: the schema of the block type names no signing form for this secret");
            return Err(problem.into());
        }
        if !forms.iter().any(|form| form.matches(data)) {
            let forms: Vec<String> = forms.iter().map(|form| format!("`{form}`")).collect();
            let message = format!("the secret `{pointer}` signs only messages of the form {}", forms.join(", "));
            let problem = Problem::new("denied", message)
                .hint("use `token-source` to obtain access tokens; a bundle cannot sign tokens itself");
            return Err(problem.into());
        }
        Ok(secret.value.clone())
    }
}

/// Signs data with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017, section 8.2). The key is an RSA private
/// key in PEM, as PKCS#8 or PKCS#1.
pub(crate) fn sign_rs256(key: &SecretValue, data: &[u8]) -> Result<Vec<u8>, Problem> {
    let unreadable = |reason: String| {
        Problem::new("invalid", format!("the private key cannot be used: {reason}"))
            .hint("use an RSA key of 2048 to 4096 bits in PEM, beginning with `-----BEGIN PRIVATE KEY-----`")
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
        .map_err(|_| unreadable("signing failed".to_owned()))?;
    Ok(signature)
}
