//! Signatures of the fake host: those of other implementations.

use blockyard_sdk::crypto;
use blockyard_sdk::fake::Host;
use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::bytes_to_base64;

/// Private key of this test, which `openssl genpkey` has created. It is used nowhere else.
const KEY: &str = include_str!("keys/rsa.pem");

/// Signature of `GOOG4-RSA-SHA256\nx` with [`KEY`], by `openssl dgst -sha256 -sign`.
const SIGNATURE: &str = "\
    JtVyayAffkAA8KQmZTiCAkAK5GJaijebJgekGdX0uU2t55Ghax143vS+dFVNusGY99YrKlkKthWB/JD7Esg34H\
    99h3edE5Q+rp/5tPo9Pu0CZocitYv2uGi2NlRHWwhyaOltMc0ovl0EKbc0om2y8SR4MTepqidBkSL/NJPvYEs/\
    auTR2KxdiCH7SHYxU1xlT8ugukIcdrYezg3jkzKfMKedsqe0qWY3ak32KN+HOEVryS7UGe8rv/aQB+T00PJRp+\
    4vsFYo4KZq+zl2l5+hUMoRKLVaQ/RL1vl12R9htEHfopgLhCkK6EUVosTTFLRAdA12hHO/kPzwTLeVe/ArJQ==";

/// Block type with a key.
#[derive(Block)]
#[block(type = "signer", version = 1, title = "Signer")]
struct Signer {
    /// Key.
    #[block(audience = "https://a.example", sign = "goog4-rsa-sha256 timestamp-hmac-sha256")]
    key: Secret<String>,
}

#[operations]
impl Signer {}

/// Runs code with the key.
fn with<R>(key: &str, code: impl FnOnce(&Secret<String>) -> R) -> R {
    let host = Host::new().secret("/key", key);
    host.block::<Signer>(json!({})).run(|signer| code(&signer.key))
}

/// RFC 4231, test case 2.
#[test]
fn hmac_is_that_of_the_rfc() {
    let code = with("Jefe", |key| crypto::hmac_sha256(key, b"what do ya want for nothing?")).expect("a code");
    let code: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(code, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#[test]
fn rs256_is_that_of_openssl() {
    let signature = with(KEY, |key| crypto::sign_rs256(key, b"GOOG4-RSA-SHA256\nx")).expect("a signature");
    assert_eq!(bytes_to_base64(&signature), SIGNATURE);
}

#[test]
fn a_key_that_cannot_sign_is_an_error() {
    let empty = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (key, message) in [("hunter7", "it is not PEM"), (empty, "InvalidEncoding")] {
        let problem = with(key, |key| crypto::sign_rs256(key, b"x")).expect_err("not a key");
        assert_eq!(problem.message(), format!("the private key cannot be used: {message}"));
    }
}
