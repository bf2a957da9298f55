//! Requests for the bucket and its objects.

use std::time::Duration;

use blockyard_sdk::clock;
use blockyard_sdk::http::{self, Request};
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::RetriedResponse;

use super::GcsBucket;
use super::object::Object;
use crate::api;
use crate::credentials::GcpCredentials;
use crate::encryption::Key;
use crate::path::Prefix;
use crate::signed::{self, Permission};

/// Maximum number of source objects in one `compose` request ("Composite objects", Cloud Storage).
const COMPOSED: usize = 32;

impl GcsBucket {
    pub(crate) fn credentials(&self) -> Result<&GcpCredentials> {
        self.credentials.get()
    }

    pub(super) fn signed(
        &self,
        method: &str,
        path: &str,
        expires_in: Option<u64>,
        content_type: Option<&str>,
    ) -> Result<String> {
        let credentials = self.credentials()?;
        let Some(account) = &credentials.service_account else {
            return Err(
                Problem::invalid("user credentials cannot sign URLs").hint("use credentials with a `service_account`")
            );
        };
        let validity = Duration::from_secs(expires_in.unwrap_or(60 * 60));
        if validity.is_zero() || validity > signed::MAX_VALIDITY {
            return Err(Problem::invalid(format!(
                "`expires_in` must be between 1 and {} seconds",
                signed::MAX_VALIDITY.as_secs()
            )));
        }
        if content_type.is_some_and(|kind| kind.chars().any(char::is_control)) {
            return Err(Problem::invalid("the media type contains a control character"));
        }
        let permission = Permission {
            account: &account.client_email,
            base: &credentials.base("storage"),
            method,
            bucket: &self.bucket,
            object: &self.name(path)?,
            content_type,
            from: clock::now(),
            validity,
        };
        permission.url(&account.private_key)
    }

    /// Deletes an object, or only the given generation of it.
    pub(crate) fn remove(&self, name: &str, generation: Option<&str>) -> Result<()> {
        let url = self.object_url(name)?;
        let parameters: Vec<(&str, &str)> = generation
            .filter(|generation| !generation.is_empty())
            .map(|generation| ("ifGenerationMatch", generation))
            .into_iter()
            .collect();
        let credentials = self.credentials()?;
        let RetriedResponse { response, attempts } =
            api::send_counting(|| Ok(credentials.sign(http::delete(url.as_str()).query(parameters.iter().copied()))))?;
        // An earlier attempt deleted the object, but its response was lost.
        if attempts > 1 && response.status == 404 {
            return Ok(());
        }
        api::ok(response, &self.named(name)).map(drop)
    }

    /// Copies an object within Cloud Storage, or only the given generation of it, in as many
    /// requests as it requires.
    pub(super) fn rewrite(&self, from: &str, to: &str, generation: Option<&str>) -> Result<Value> {
        let to = http::percent_encode(to);
        let url = format!("{}/rewriteTo/b/{}/o/{to}", self.object_url(from)?, http::percent_encode(&self.bucket));
        let mut token: Option<String> = None;
        loop {
            let generation = generation.map(|generation| ("ifSourceGenerationMatch", generation));
            let parameters: Vec<(&str, &str)> =
                token.as_deref().map(|token| ("rewriteToken", token)).into_iter().chain(generation).collect();
            let answer = self.send(|| {
                self.key().with_both(http::post(url.as_str()).query(parameters.iter().copied()).json(&json!({})))
            })?;
            let mut step: Value = api::ok(answer, &self.named(from))?.json()?;
            if step["done"] == true {
                return Ok(step["resource"].take());
            }
            token = step["rewriteToken"].as_str().map(str::to_owned);
            if token.is_none() {
                return Err(Problem::new("failed", "Cloud Storage returned no token to continue the copy"));
            }
        }
    }

    pub(super) fn resource(&self, name: &str) -> Result<Value> {
        let url = self.object_url(name)?;
        let answer = self.send(|| self.key().with(http::get(url.as_str())))?;
        api::ok(answer, &self.named(name))?.json()
    }

    pub(super) fn object(&self, resource: &Value) -> Result<Object> {
        Object::read(resource, &Prefix::new(&self.prefix))
    }

    pub(crate) fn key(&self) -> Key<'_> {
        Key(self.encryption_key.as_ref())
    }

    /// Sends an idempotent request, retrying transient failures.
    pub(super) fn send(&self, request: impl Fn() -> Request) -> Result<http::Response> {
        let credentials = self.credentials()?;
        api::send(|| credentials.sign(request()))
    }

    pub(super) fn url(&self) -> Result<String> {
        Ok(format!("{}/storage/v1/b/{}", self.credentials()?.base("storage"), http::percent_encode(&self.bucket)))
    }

    pub(super) fn object_url(&self, name: &str) -> Result<String> {
        Ok(format!("{}/o/{}", self.url()?, http::percent_encode(name)))
    }

    pub(super) fn name(&self, path: &str) -> Result<String> {
        Prefix::new(&self.prefix).name(path)
    }

    pub(super) fn subject(&self) -> String {
        format!("bucket `{}`", self.bucket)
    }

    pub(super) fn named(&self, name: &str) -> String {
        format!("object `{name}` of bucket `{}`", self.bucket)
    }

    /// Concatenates objects with a `compose` request.
    pub(super) fn concatenate(&self, from: &[String], to: &str, content_type: Option<String>) -> Result<Object> {
        if !(1..=COMPOSED).contains(&from.len()) {
            return Err(Problem::invalid(format!("expected 1 to {COMPOSED} source objects, found {}", from.len())));
        }
        let sources = from.iter().map(|path| self.name(path)).collect::<Result<Vec<_>>>()?;
        let name = self.name(to)?;
        let content_type = content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        let objects: Vec<Value> = sources.iter().map(|name| json!({ "name": name })).collect();
        let request = json!({ "sourceObjects": objects, "destination": { "contentType": content_type } });
        // Requires the current generation: a retry could otherwise append the sources twice if the
        // destination is one of them.
        let before = match self.resource(&name) {
            Ok(resource) => Some(self.object(&resource)?),
            Err(problem) if problem.code() == "not-found" => None,
            Err(problem) => return Err(problem),
        };
        let generation = before.as_ref().map_or(Some("0"), |before| before.generation.as_deref());
        let parameters: Vec<(&str, &str)> =
            generation.map(|generation| ("ifGenerationMatch", generation)).into_iter().collect();
        let url = format!("{}/compose", self.object_url(&name)?);
        let credentials = self.credentials()?;
        let RetriedResponse { response, attempts } = api::send_counting(|| {
            let request = http::post(url.as_str()).query(parameters.iter().copied()).json(&request);
            Ok(credentials.sign(self.key().with(request)))
        })?;
        // An earlier attempt may have succeeded, and its response was lost.
        if attempts > 1
            && response.status == 412
            && let Some(object) = self.composed(&sources, &name, before.as_ref())
        {
            return Ok(object);
        }
        self.object(&api::ok(response, &self.named(&name))?.json()?)
    }

    /// Returns the destination of a `compose` request if it has the size of all sources. `before`
    /// is its state before the request.
    fn composed(&self, sources: &[String], name: &str, before: Option<&Object>) -> Option<Object> {
        let stored = |name: &str| self.object(&self.resource(name).ok()?).ok();
        let mut bytes = 0_u64;
        for source in sources {
            bytes = bytes.checked_add(if source == name { before?.size } else { stored(source)?.size })?;
        }
        stored(name).filter(|object| object.size == bytes)
    }
}
