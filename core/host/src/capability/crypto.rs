//! `crypto`: signatures made with a secret. The secret's schema lists the forms of message that it
//! may sign. A message of any other form is refused, so that a bundle cannot sign a token, an
//! assertion or a certificate.

use blockyard_call::bindings::blockyard::bundle::types;
use blockyard_call::{CallContext, Fault, Problem, Secret, sign, trace};
use blockyard_model::{Capability, SecretValue, SignAlgorithm, SignForm};
use wasmtime::component::{HasData, Linker, Resource};

use crate::bindings::blockyard::bundle::crypto::{self, Host};

/// View of a call that `crypto` needs.
pub(crate) struct CryptoView<'call> {
    pub(crate) call: &'call mut CallContext,
}

/// Names [`CryptoView`] as the data of the interface.
struct HasCrypto;

impl HasData for HasCrypto {
    type Data<'call> = CryptoView<'call>;
}

/// Links the interface `crypto`.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> CryptoView<'_>,
) -> wasmtime::Result<()> {
    crypto::add_to_linker::<T, HasCrypto>(linker, view)
}

impl types::Host for CryptoView<'_> {
    fn convert_problem(&mut self, fault: Fault) -> wasmtime::Result<types::Problem> {
        self.call.convert_problem(fault)
    }
}

impl Host for CryptoView<'_> {
    async fn hmac_sha256(&mut self, key: Resource<Secret>, data: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let _traced = trace::host_call("crypto.hmac-sha256");
        let key = self.signing_secret(&key, SignAlgorithm::HmacSha256, &data)?;
        Ok(sign::hmac_sha256(&key, &data))
    }

    async fn sign_rs256(&mut self, key: Resource<Secret>, data: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let _traced = trace::host_call("crypto.sign-rs256");
        let key = self.signing_secret(&key, SignAlgorithm::RsaSha256, &data)?;
        Ok(sign::rs256(&key, &data)?)
    }
}

impl CryptoView<'_> {
    /// Returns the secret if its schema lists a signing form that matches the data.
    fn signing_secret(
        &self,
        secret: &Resource<Secret>,
        algorithm: SignAlgorithm,
        data: &[u8],
    ) -> Result<SecretValue, Fault> {
        self.call.usage.record(&Capability::Crypto);
        let (pointer, secret) = self.call.secret(secret)?;
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
