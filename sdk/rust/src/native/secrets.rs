//! Interfaces `secrets` and `reveal`: handles to the secrets of the fake host.

use super::state::current;
use super::types::Problem;

/// Handle to a secret. It has no value.
#[derive(Debug)]
pub struct Secret {
    pointer: String,
}

impl Secret {
    /// Returns the JSON Pointer (RFC 6901) of the field.
    pub fn pointer(&self) -> String {
        self.pointer.clone()
    }
}

/// Returns a handle to the secret at a JSON Pointer.
///
/// # Errors
/// The host has no such secret.
pub fn open(pointer: &str) -> Result<Secret, Problem> {
    if current("Secret::handle").secrets.borrow().contains_key(pointer) {
        return Ok(Secret { pointer: pointer.to_owned() });
    }
    let message = format!("the block has no secret at `{pointer}`");
    Err(Problem::new("not-found", message).hint("give the fake host its value with `Host::secret`"))
}

/// Interface `reveal`: values of secrets.
pub mod reveal {
    use super::{Problem, Secret, current};

    /// Returns the value of a secret.
    ///
    /// # Errors
    /// The capability `reveal` is not granted.
    pub fn reveal(secret: &Secret) -> Result<Vec<u8>, Problem> {
        let state = current("Secret::reveal");
        if !state.reveal.get() {
            let problem = Problem::new("not-granted", "the capability `reveal` is not granted");
            return Err(problem.hint("grant it to the fake host with `Host::grant_reveal`"));
        }
        Ok(state.secrets.borrow()[&secret.pointer].clone().into_bytes())
    }
}
