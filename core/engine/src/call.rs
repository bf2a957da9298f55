//! Calling operations, and checking blocks.

use std::collections::BTreeMap;

use blockyard_host::{Block as HostBlock, ByteStream, CallSecret, Deadline, Input, Invocation, LogLine};
use blockyard_model::document::handles;
use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{Effect, Operation, Pointer, SecretSource, SecretValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::line;
use crate::block::Block;
use crate::save::type_of;
use crate::{Error, ErrorKind};

/// The largest file that a secret is read from, bytes: a key or a certificate, not a data set.
const SOURCE_BYTES: u64 = 1 << 20;

/// What an operation gave.
pub struct CallReply {
    /// The result.
    pub result: Value,
    /// The stream of bytes and its media type, where there is one.
    pub output: Option<(String, ByteStream)>,
    /// What the bundle logged.
    pub log: Vec<LogLine>,
}

/// Whether a block can do its work now.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Whether every step passed.
    pub passed: bool,
    /// The steps in their order.
    pub steps: Vec<CheckStep>,
}

/// One step of a check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckStep {
    /// What was tried.
    pub name: String,
    /// `passed`, `failed` or `skipped`.
    pub status: String,
    /// Why, or what was found.
    #[serde(default)]
    pub detail: Option<String>,
    /// How long it took.
    #[serde(default)]
    pub milliseconds: Option<u64>,
}

impl Block {
    /// The operations of the block's type.
    ///
    /// # Errors
    /// The block's bundle is damaged.
    pub fn operations(&self) -> Result<&[Operation], Error> {
        Ok(&type_of(&self.bundle, &self.address)?.operations)
    }

    /// One operation of the block's type.
    ///
    /// # Errors
    /// It has no such operation.
    pub fn operation(&self, name: &str) -> Result<&Operation, Error> {
        let block_type = type_of(&self.bundle, &self.address)?;
        block_type.operation(name).ok_or_else(|| {
            let known: Vec<&str> = block_type.operations.iter().map(|operation| operation.name.as_str()).collect();
            Error::new(ErrorKind::NotFound, format!("type `{}` has no operation `{name}`", block_type.slug))
                .maybe_hint(did_you_mean(name, known.iter().copied()))
                .hint(format!("it has `{}`", known.join("`, `")))
        })
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// There is none of that name; the arguments do not fit its schema; a grant is missing; the
    /// outside system says no; the bundle fails.
    pub async fn call(&self, operation: &str, arguments: Value) -> Result<CallReply, Error> {
        self.call_with(operation, arguments, None, Deadline::default()).await
    }

    /// As [`call`](Self::call), with a stream of bytes to read and a deadline.
    ///
    /// # Errors
    /// As `call`.
    pub async fn call_with(
        &self,
        operation: &str,
        arguments: Value,
        input: Option<Input>,
        deadline: Deadline,
    ) -> Result<CallReply, Error> {
        let described = self.operation(operation)?;
        let violations = described.arguments.check(&arguments);
        if !violations.is_empty() {
            return Err(Error::violations(&format!("the call of `{operation}`"), &violations));
        }
        if input.is_some() && !described.input {
            return Err(Error::new(ErrorKind::Usage, format!("operation `{operation}` reads no stream of bytes")));
        }
        let invocation = self.invocation(described.effect, deadline).await?;
        let called = self.yard.sandbox()?.invoke(&self.bundle, invocation, operation, &arguments, input).await;
        let outcome = called.map_err(Error::from).and_then(|reply| {
            let violations = described.result.check(&reply.result);
            match violations.first() {
                None => Ok(reply),
                Some(first) => Err(Error::new(
                    ErrorKind::Bundle,
                    format!(
                        "bundle `{}` gave a result of `{operation}` that is not valid: {} {}",
                        self.bundle.manifest().name,
                        first.pointer,
                        first.message
                    ),
                )),
            }
        });
        self.audited("call", json!({ "operation": operation, "effect": described.effect }), &outcome).await;
        let reply = outcome?;
        Ok(CallReply { result: reply.result, output: reply.output, log: reply.log })
    }

    /// Asks whether the block can do its work now.
    ///
    /// # Errors
    /// The check itself could not be made; a step that fails is no error.
    pub async fn check(&self) -> Result<Check, Error> {
        let outcome = self.check_now().await;
        self.audited("check", json!({}), &outcome).await;
        outcome
    }

    async fn check_now(&self) -> Result<Check, Error> {
        let invocation = self.invocation(Effect::Read, Deadline::default()).await?;
        let steps = self.yard.sandbox()?.check(&self.bundle, invocation).await?;
        let steps: Vec<CheckStep> = serde_json::from_value(steps).map_err(|error| {
            Error::new(
                ErrorKind::Bundle,
                format!("bundle `{}` gave a check that is not valid", self.bundle.manifest().name),
            )
            .because(error)
        })?;
        Ok(Check { passed: steps.iter().all(|step| step.status == "passed"), steps })
    }

    async fn invocation(&self, effect: Effect, deadline: Deadline) -> Result<Invocation, Error> {
        let granted = self.yard.store().grants(self.bundle.manifest().name.as_str()).await?;
        Ok(Invocation {
            block: HostBlock {
                type_slug: self.address.type_slug.to_string(),
                name: self.address.name.to_string(),
                revision: self.revision.number(),
                config: handles(&self.document.config),
            },
            effect,
            secrets: self.secrets().await?,
            // What the manifest asks for AND the yard grants.
            grants: granted.intersection(&self.bundle.manifest().capabilities).cloned().collect(),
            deadline,
        })
    }

    /// The block's secrets, sealed ones and those from sources, with what each may be used for.
    async fn secrets(&self) -> Result<BTreeMap<Pointer, CallSecret>, Error> {
        let sources: BTreeMap<Pointer, SecretSource> = self.document.sources().into_iter().collect();
        let mut secrets = BTreeMap::new();
        for place in type_of(&self.bundle, &self.address)?.schema.secrets(&self.document.config) {
            let value = match (self.document.secrets.get(&place.pointer), sources.get(&place.pointer)) {
                (Some(value), _) => value.clone(),
                (None, Some(source)) => self.read_source(&place.pointer, source).await?,
                (None, None) => continue,
            };
            secrets.insert(place.pointer, CallSecret { value, audience: place.audience });
        }
        Ok(secrets)
    }

    /// Reads a secret from its source. There is nothing that it falls back to.
    async fn read_source(&self, pointer: &Pointer, source: &SecretSource) -> Result<SecretValue, Error> {
        let unreadable = |reason: String| {
            Error::new(
                ErrorKind::Denied,
                format!("the secret `{}` of block `{}` cannot be read from `{source}`", pointer.dotted(), self.address),
            )
            .because(reason)
        };
        match source {
            SecretSource::Environment(name) => match std::env::var(name) {
                Ok(value) => Ok(SecretValue::new(value)),
                Err(std::env::VarError::NotPresent) => {
                    Err(unreadable(format!("the environment variable `{name}` is not set"))
                        .hint(format!("set `{name}` where Blockyard runs")))
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    Err(unreadable(format!("the environment variable `{name}` is not UTF-8")))
                }
            },
            SecretSource::File(path) => {
                let size = tokio::fs::metadata(path).await.map_err(|error| unreadable(error.to_string()))?.len();
                if size > SOURCE_BYTES {
                    return Err(unreadable(format!("the file has {size} bytes; a secret has at most {SOURCE_BYTES}")));
                }
                let mut text = tokio::fs::read_to_string(path).await.map_err(|error| unreadable(error.to_string()))?;
                // Editors end files with a newline; a secret that ends with one is sealed, not sourced.
                if text.ends_with('\n') {
                    text.truncate(text.trim_end_matches(['\r', '\n']).len());
                }
                Ok(SecretValue::new(text))
            }
            SecretSource::Block(_) => Err(unreadable("no installed bundle implements `secret-store`".to_owned())),
        }
    }

    async fn audited<T>(&self, action: &str, mut detail: Value, outcome: &Result<T, Error>) {
        detail["revision"] = json!(self.revision.number());
        detail["bundle"] = json!(self.bundle.digest().to_string());
        detail["outcome"] = json!(outcome.as_ref().err().map_or("ok", |error| error.kind().as_str()));
        self.yard.audit_writer().write(line(self.yard.actor(), action, &self.address, &detail)).await;
    }
}

impl std::fmt::Debug for CallReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CallReply({})", self.result)
    }
}
