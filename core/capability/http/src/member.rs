//! Secrets in the body of a request: a member of a JSON object, for services that read their credentials
//! from there.

use blockyard_call::{Body, Fault, Problem, Secret, limits, quoted};
use blockyard_model::{Pointer, RequestUrl, SecretValue};
use bytes::Bytes;
use serde_json::{Map, Value};
use wasmtime::component::Resource;
use zeroize::Zeroizing;

use super::client::Upload;
use crate::view::HttpView;

/// A secret that is added to the body of a request.
pub(super) struct Member {
    name: String,
    value: SecretValue,
    /// Location of the secret in the block's configuration.
    secret: Pointer,
}

impl HttpView<'_> {
    /// Returns the secret behind a handle, as a member of the body of a request to a URL. Its schema must
    /// name the member, and its audience must include the server.
    pub(super) fn member(&self, name: &str, handle: &Resource<Secret>, url: &RequestUrl) -> Result<Member, Fault> {
        let (pointer, secret) = self.call.secret(handle)?;
        if !secret.uses.members.iter().any(|member| member == name) {
            let message = format!("the secret `{pointer}` may not be sent as the member `{}` of a body", quoted(name));
            let problem = Problem::new("denied", message);
            return Err(problem.hint("use a member that the schema of the block type names for this secret").into());
        }
        self.for_origin(std::slice::from_ref(pointer), url)?;
        Ok(Member { name: name.to_owned(), value: secret.value.clone(), secret: pointer.clone() })
    }

    /// Takes a JSON object that the guest wrote, and adds the member.
    pub(super) fn with_member(&mut self, member: &Member, body: Option<Resource<Body>>) -> Result<Upload, Fault> {
        let body = body.ok_or_else(|| not_an_object(member))?;
        let bytes = self.call.take_written(body)?;
        Ok(Upload::bytes(insert(member, &bytes)?))
    }
}

/// Returns the text of a JSON object with the member as its first one. The rest is not changed.
fn insert(member: &Member, text: &[u8]) -> Result<Bytes, Problem> {
    if text.len() > limits::MEMBER_BODY_BYTES {
        let message = format!("a body with a secret has more than {} bytes", limits::MEMBER_BODY_BYTES);
        return Err(Problem::new("invalid", message));
    }
    let object: Map<String, Value> = serde_json::from_slice(text).map_err(|_| not_an_object(member))?;
    if object.contains_key(&member.name) {
        let message = format!("the body has a member `{}`, which the host adds from a secret", member.name);
        return Err(Problem::new("invalid", message));
    }
    let value = Zeroizing::new(Value::from(member.value.expose()).to_string());
    let separator = if object.is_empty() { "" } else { "," };
    let rest = &text.trim_ascii_start()[1..];
    let mut bytes = format!("{{\"{}\":{}{separator}", member.name, *value).into_bytes();
    bytes.extend_from_slice(rest);
    Ok(bytes.into())
}

fn not_an_object(member: &Member) -> Problem {
    Problem::new("invalid", format!("the body must be a JSON object, to which the secret `{}` is added", member.secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(text: &str) -> Result<String, String> {
        let (value, secret) = (SecretValue::new("a\"b\\c".to_owned()), Pointer::new("/key"));
        let member = Member { name: "routing_key".to_owned(), value, secret };
        match insert(&member, text.as_bytes()) {
            Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).expect("text")),
            Err(problem) => Err(problem.message),
        }
    }

    #[test]
    fn a_member_is_added_and_the_rest_is_unchanged() {
        for (text, expected) in [
            ("{}", r#"{"routing_key":"a\"b\\c"}"#),
            (" {\n}", "{\"routing_key\":\"a\\\"b\\\\c\"\n}"),
            (r#"{"n":1.10,"n":2}"#, r#"{"routing_key":"a\"b\\c","n":1.10,"n":2}"#),
        ] {
            assert_eq!(inserted(text).as_deref(), Ok(expected), "{text}");
            let parsed: Value = serde_json::from_str(expected).expect("JSON");
            assert_eq!(parsed["routing_key"], "a\"b\\c");
        }
    }

    #[test]
    fn other_bodies_are_refused() {
        for text in ["", "[]", "1", "{", "{} {}", "\"{}\"", "x{}"] {
            assert!(inserted(text).is_err_and(|error| error.contains("must be a JSON object")), "{text}");
        }
        for text in [r#"{"routing_key":1}"#, r#"{"routing\u005fkey":null}"#, r#"{"a":1,"routing_key":""}"#] {
            assert!(inserted(text).is_err_and(|error| error.contains("which the host adds")), "{text}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(limits::MEMBER_BODY_BYTES));
        assert!(inserted(&long).is_err_and(|error| error.contains("more than")));
    }
}
