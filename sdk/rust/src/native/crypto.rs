//! Interface `crypto`: signatures with the secrets of the fake host, by the library of the real one.

use super::secrets::Secret;
#[cfg(feature = "fake-crypto")]
use super::state::current;
use super::types::Problem;

/// Returns the HMAC-SHA256 (RFC 2104) of `data`.
///
/// # Errors
/// The SDK was compiled without the feature `fake-crypto`.
#[cfg(feature = "fake-crypto")]
pub fn hmac_sha256(key: &Secret, data: &[u8]) -> Result<Vec<u8>, Problem> {
    let state = current("crypto::hmac_sha256");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, state.secrets.borrow()[&key.pointer()].as_bytes());
    Ok(ring::hmac::sign(&key, data).as_ref().to_vec())
}

/// Returns the RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017) of `data`.
///
/// # Errors
/// The secret is not an RSA private key, or the SDK was compiled without the feature `fake-crypto`.
#[cfg(feature = "fake-crypto")]
pub fn sign_rs256(key: &Secret, data: &[u8]) -> Result<Vec<u8>, Problem> {
    use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject as _;

    let state = current("crypto::sign_rs256");
    let pem = state.secrets.borrow()[&key.pointer()].clone();
    let unreadable = |reason: String| {
        Problem::new("invalid", format!("the private key cannot be used: {reason}"))
            .hint("use an RSA key of 2048 to 4096 bits in PEM, beginning with `-----BEGIN PRIVATE KEY-----`")
    };
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unreadable("it is not PEM".to_owned()))?;
    let pair = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(unreadable("it is not an RSA key".to_owned())),
    }
    .map_err(|error| unreadable(error.to_string()))?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &ring::rand::SystemRandom::new(), data, &mut signature)
        .map_err(|_| unreadable("signing failed".to_owned()))?;
    Ok(signature)
}

/// Fails, because the SDK was compiled without the feature `fake-crypto`.
///
/// # Errors
/// Always.
#[cfg(not(feature = "fake-crypto"))]
pub fn hmac_sha256(_: &Secret, _: &[u8]) -> Result<Vec<u8>, Problem> {
    Err(without_feature())
}

/// Fails, because the SDK was compiled without the feature `fake-crypto`.
///
/// # Errors
/// Always.
#[cfg(not(feature = "fake-crypto"))]
pub fn sign_rs256(_: &Secret, _: &[u8]) -> Result<Vec<u8>, Problem> {
    Err(without_feature())
}

#[cfg(not(feature = "fake-crypto"))]
fn without_feature() -> Problem {
    Problem::new("failed", "the fake host was compiled without signatures")
        .hint("enable the feature `fake-crypto` of `blockyard-sdk` under `[dev-dependencies]`")
}
