//! Calls operations and checks blocks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blockyard_host::{
    Block as HostBlock, ByteStream, CallSecret, Deadline, GuessingHook, HostError, Input, Invocation, LogLine, Problem,
    RevealHook, Usage,
};
use blockyard_model::reference::SECRET_STORE;
use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{
    Address, Effect, Operation, PinnedAddress, Pointer, Schema, SecretSource, SecretValue, Violation,
};
use blockyard_store::BundleRecord;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tracing::Instrument as _;
use zeroize::Zeroize as _;

use crate::audit_writer::line;
use crate::block::Block;
use crate::reference::{Material, ResolvedSecret, type_of};
use crate::reply::{CallReply, OK, word};
use crate::time::now;
use crate::trace::CallTrace;
use crate::{Code, Error, ErrorKind, Yard};

/// Maximum size in bytes of a secret that is read from a source: enough for a key or a certificate.
const SOURCE_BYTES: u64 = 1 << 20;

/// Outcome in the audit trail of a check with a failed step.
const FAILED: &str = "failed";

/// Minimum time for validating the result of a call whose caller set no deadline.
const RESULT_TIME: Duration = Duration::from_secs(30);

/// Maximum length of a chain of `block:` sources: a secret store may read its own secret from
/// another secret store.
const SOURCE_DEPTH: usize = 8;

/// Result of checking whether a block works.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// `true` if every step passed.
    pub passed: bool,
    /// Steps, in the order in which they ran.
    pub steps: Vec<CheckStep>,
    /// Lines that the bundle logged.
    #[serde(skip)]
    pub log: Vec<LogLine>,
}

/// A step of a check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckStep {
    /// Name of the step.
    pub name: String,
    /// `passed`, `failed` or `skipped`.
    pub status: String,
    /// Finding, or reason for the failure.
    #[serde(default)]
    pub detail: Option<String>,
    /// Duration of the step in milliseconds.
    #[serde(default)]
    pub milliseconds: Option<u64>,
}

/// A schema of an operation.
#[derive(Clone, Copy)]
enum Part {
    Arguments,
    Result,
}

impl Part {
    fn of(self, operation: &Operation) -> &Schema {
        match self {
            Self::Arguments => &operation.arguments,
            Self::Result => &operation.result,
        }
    }
}

/// Runs CPU-bound work on a thread for blocking tasks, so that it does not block async tasks.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and no longer polls its tasks.
            Err(_) => std::future::pending().await,
        },
    }
}

impl Block {
    /// Returns the operations of the block's type.
    ///
    /// # Errors
    /// Returns an error if the bundle does not define the block's type.
    pub fn operations(&self) -> Result<&[Operation], Error> {
        Ok(&type_of(self.bundle.manifest(), &self.address)?.operations)
    }

    /// Returns the operation with the given name.
    ///
    /// # Errors
    /// Returns an error if the block's type has no such operation.
    pub fn operation(&self, name: &str) -> Result<&Operation, Error> {
        let block_type = type_of(self.bundle.manifest(), &self.address)?;
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
    /// Returns an error if the operation does not exist, if the arguments violate its schema, if a
    /// grant is missing, if the remote service reports an error, or if the bundle fails.
    pub async fn call(&self, operation: &str, arguments: Value) -> Result<CallReply, Error> {
        self.call_with(operation, arguments, None, Deadline::default()).await
    }

    /// Like [`call`](Self::call), with an input stream and a deadline.
    ///
    /// # Errors
    /// Same as [`call`](Self::call).
    pub async fn call_with(
        &self,
        operation: &str,
        arguments: Value,
        input: Option<Input>,
        deadline: Deadline,
    ) -> Result<CallReply, Error> {
        self.call_at(operation, arguments, input, deadline, 0).await
    }

    /// Calls an operation at the given nesting depth. Calls nest when a secret is read from this
    /// block.
    async fn call_at(
        &self,
        operation: &str,
        arguments: Value,
        input: Option<Input>,
        deadline: Deadline,
        depth: usize,
    ) -> Result<CallReply, Error> {
        let described = self.operation(operation)?;
        let trace = CallTrace::begin(self, operation, described.effect);
        let called = self.call_now(described, arguments, input, deadline, depth).instrument(trace.span()).await;
        trace.completed(called)
    }

    async fn call_now(
        &self,
        described: &Operation,
        arguments: Value,
        input: Option<Input>,
        deadline: Deadline,
        depth: usize,
    ) -> Result<CallReply, Error> {
        let operation = described.name.as_str();
        let began = Instant::now();
        let (arguments, violations) = self.checked(operation, Part::Arguments, arguments, deadline).await?;
        if !violations.is_empty() {
            return Err(Error::violations(&format!("the call of `{operation}`"), &violations));
        }
        if input.is_some() && !described.input {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("operation `{operation}` does not accept an input stream"),
            ));
        }
        let mut detail = json!({ "operation": operation, "effect": described.effect });
        // The call is audited even if it fails before it starts, for example because a secret is
        // missing.
        let invocation = self.invocation(described.effect, deadline.after(began.elapsed()), depth).await;
        let usage = invocation.as_ref().map(|invocation| invocation.usage.clone()).unwrap_or_default();
        let outcome = match invocation {
            Ok(invocation) => self.invoked(described, invocation, arguments, input, began, deadline).await,
            Err(error) => Err(error),
        };
        let outcome = match outcome {
            Err(error) => Err(self.explain_missing_grant(error).await),
            done => done,
        };
        if let Some(masked) = outcome.as_ref().ok().map(|reply| reply.masked).filter(|masked| *masked > 0) {
            detail["masked"] = json!(masked);
        }
        let used = self.add_used(&mut detail, &usage);
        self.audited("call", detail, word(&outcome)).await;
        outcome.map(|mut reply| {
            let audited = |(media_type, stream)| (media_type, self.audited_output(described, usage, used, stream));
            reply.output = reply.output.take().map(audited);
            reply
        })
    }

    /// Adds a hint to an error about missing grants if they ended because the bundle was uninstalled.
    async fn explain_missing_grant(&self, error: Error) -> Error {
        if !matches!(error.as_code(), Some(Code::NotGranted { .. })) {
            return error;
        }
        match self.yard.store().bundle(&self.bundle.digest()).await {
            Ok(Some(BundleRecord { name, version, uninstalled_at: Some(_), .. })) => error
                .hint(format!("version {version} of bundle `{name}` is uninstalled, which ended its grants"))
                .code(Code::BundleUninstalled { bundle: name, version }),
            _ => error,
        }
    }

    /// Adds a line to the audit trail if the output fails, or if the bundle uses a further capability
    /// while it produces the output: the line of the call was written with its result, when the call
    /// had used `used` capabilities.
    fn audited_output(&self, described: &Operation, usage: Usage, used: usize, stream: ByteStream) -> ByteStream {
        let detail = json!({ "operation": described.name, "effect": described.effect });
        stream::unfold((stream, self.clone(), usage, Some(detail), used), async |state| {
            let (mut stream, block, usage, mut detail, used) = state;
            let chunk = stream.next().await;
            let now_used = usage.count();
            if now_used != used {
                block.audit_late_use(detail.clone().unwrap_or_else(|| json!({})), &usage).await;
            }
            let chunk = chunk?;
            if let Err(problem) = &chunk
                && let Some(detail) = detail.take()
            {
                block.audited("call-failed", detail, Error::from(problem.clone()).kind().as_str()).await;
            }
            Some((chunk, (stream, block, usage, detail, now_used)))
        })
        .boxed()
    }

    /// Adds the capabilities that a call used to the line of the call, the first time on a day. Returns
    /// how many the call used so far. The guest may use more at any time while it produces an output,
    /// so the number is read before the capabilities.
    fn add_used(&self, detail: &mut Value, usage: &Usage) -> usize {
        let count = usage.count();
        let used = self.yard.use_record().unrecorded(self.bundle.digest(), usage, now());
        if !used.is_empty() {
            detail["used"] = json!(used);
        }
        count
    }

    /// Adds a line for the capabilities that a bundle used after the line of the call was written.
    async fn audit_late_use(&self, mut detail: Value, usage: &Usage) {
        self.add_used(&mut detail, usage);
        if !detail["used"].is_null() {
            self.audited("use", detail, OK).await;
        }
    }

    async fn invoked(
        &self,
        described: &Operation,
        mut invocation: Invocation,
        arguments: Value,
        input: Option<Input>,
        began: Instant,
        deadline: Deadline,
    ) -> Result<CallReply, Error> {
        let operation = described.name.as_str();
        invocation.safe = described.safe.clone();
        self.begin(operation, described.effect, !invocation.secrets.is_empty()).await?;
        let reply = self.yard.sandbox()?.invoke(&self.bundle, invocation, operation, &arguments, input).await?;
        // The extra time that the call's bytes added is not known here, so a minimum remains for
        // the result.
        let mut left = deadline.after(began.elapsed());
        if deadline.grows() && left.left() < RESULT_TIME {
            left = Deadline::within(RESULT_TIME);
        }
        let (result, violations) = self
            .checked(operation, Part::Result, reply.result, left)
            .await
            .map_err(|_| Error::from(HostError::Deadline(deadline.time())))?;
        match violations.first() {
            None => Ok(CallReply { result, output: reply.output, log: reply.log, masked: reply.masked }),
            Some(first) => Err(Error::new(
                ErrorKind::Bundle,
                format!(
                    "bundle `{}` returned a result of `{operation}` that is not valid: {} {}",
                    self.bundle.manifest().name,
                    first.pointer,
                    first.message
                ),
            )),
        }
    }

    /// Records in the audit trail that a call begins, if it may modify external data or lets a
    /// bundle use a secret. The line is on disk before the bundle runs, so it remains even if the
    /// bundle ends the process.
    async fn begin(&self, operation: &str, effect: Effect, secrets: bool) -> Result<(), Error> {
        if effect == Effect::Read && !secrets {
            return Ok(());
        }
        let detail = json!({ "operation": operation, "effect": effect, "revision": self.revision.number() });
        let begun = line(self.yard.actor(), "begin-call", &self.address, &detail);
        self.yard.audit_writer().write_before(begun).await
    }

    /// Validates arguments or a result against the operation's schema, which the bundle controls,
    /// within the deadline. A slow validation runs on a separate thread, which is abandoned at the
    /// deadline; the number of its steps is limited.
    async fn checked(
        &self,
        operation: &str,
        part: Part,
        value: Value,
        deadline: Deadline,
    ) -> Result<(Value, Vec<Violation>), Error> {
        let quick = part.of(self.operation(operation)?).is_quick(&value);
        let (block, operation) = (self.clone(), operation.to_owned());
        let check = move || {
            let violations = block.operation(&operation).map(|described| match part {
                Part::Arguments => described.arguments.check_closed(&value),
                Part::Result => described.result.check(&value),
            })?;
            Ok((value, violations))
        };
        if quick {
            return check();
        }
        match tokio::time::timeout(deadline.left(), run_blocking(check)).await {
            Ok(checked) => checked,
            Err(_) => Err(HostError::Deadline(deadline.time()).into()),
        }
    }

    /// Checks whether the block works, for example whether its remote service accepts the
    /// credentials.
    ///
    /// # Errors
    /// Returns an error if the check cannot run. A failed step is not an error.
    pub async fn check(&self) -> Result<Check, Error> {
        let trace = CallTrace::begin(self, "check", Effect::Read);
        let mut usage = Usage::default();
        let checked = self.check_now(&mut usage).instrument(trace.span()).await;
        let outcome = trace.ended(checked);
        let failed = outcome.as_ref().is_ok_and(|check| !check.passed);
        let mut detail = json!({});
        self.add_used(&mut detail, &usage);
        self.audited("check", detail, if failed { FAILED } else { word(&outcome) }).await;
        outcome
    }

    /// Runs the check. `usage` is set to the record of the capabilities that it uses.
    async fn check_now(&self, usage: &mut Usage) -> Result<Check, Error> {
        let invocation = self.invocation(Effect::Read, Deadline::default(), 0).await?;
        *usage = invocation.usage.clone();
        self.begin("check", Effect::Read, !invocation.secrets.is_empty()).await?;
        let (steps, log) = self.yard.sandbox()?.check(&self.bundle, invocation).await?;
        let steps: Vec<CheckStep> = serde_json::from_value(steps).map_err(|error| {
            Error::new(
                ErrorKind::Bundle,
                format!("bundle `{}` returned an invalid check result", self.bundle.manifest().name),
            )
            .because(error)
        })?;
        Ok(Check { passed: steps.iter().all(|step| step.status == "passed"), steps, log })
    }

    async fn invocation(&self, effect: Effect, deadline: Deadline, depth: usize) -> Result<Invocation, Error> {
        let began = Instant::now();
        let granted = self.yard.granted(&self.bundle.manifest().name).await?;
        // A capability must be requested by the manifest and granted by the yard.
        let grants = granted.iter().filter(|grant| self.bundle.manifest().requests(grant)).cloned().collect();
        let mut secrets = BTreeMap::new();
        for secret in &self.resolved.secrets {
            let value = self.yard.read_secret(secret, deadline.after(began.elapsed()), depth).await?;
            secrets.insert(secret.pointer.clone(), CallSecret { value, uses: secret.uses.clone() });
        }
        Ok(Invocation {
            block: HostBlock {
                type_slug: self.address.type_slug.to_string(),
                name: self.address.name.to_string(),
                revision: self.revision.number(),
                config: self.resolved.config.clone(),
            },
            effect,
            safe: Vec::new(),
            secrets,
            sql: self.resolved.sql.clone(),
            usage: Usage::new(Arc::new(grants)),
            // The time for reading the secrets counts towards the deadline.
            deadline: deadline.after(began.elapsed()),
            reveal: self.reveal_hook(),
            guessed: self.guess_notice(),
        })
    }

    /// Returns the hook that the host runs before it reveals a secret to a bundle: it writes a line
    /// to the audit trail on disk.
    fn reveal_hook(&self) -> RevealHook {
        let (yard, address, revision, resolved) =
            (self.yard.clone(), self.address.clone(), self.revision, self.resolved.clone());
        let bundle = self.bundle.manifest().name.to_string();
        RevealHook::new(move |pointer: Pointer| {
            // The audit line is recorded for the block that owns the secret, which may be a
            // dependency of this block.
            let known = resolved.secrets.iter().find(|secret| secret.pointer == pointer);
            let (owner, field) = known.map_or((&address, &pointer), |secret| (&secret.owner, &secret.field));
            let through = format!("{address}@{revision}");
            let detail = json!({ "field": field.dotted(), "bundle": bundle, "call": through });
            let shown = line(yard.actor(), "reveal", owner, &detail);
            let store = yard.store().clone();
            async move {
                store
                    .append_audit(&shown)
                    .await
                    .map_err(|error| Problem::new("failed", format!("the audit trail cannot be written: {error}")))
            }
        })
    }

    /// Returns the hook that records in the audit trail that a bundle tried to guess a secret.
    fn guess_notice(&self) -> GuessingHook {
        let (yard, address, revision) = (self.yard.clone(), self.address.clone(), self.revision.number());
        let bundle = self.bundle.digest().to_string();
        GuessingHook::new(move |reason| {
            let detail = json!({ "revision": revision, "bundle": bundle, "reason": reason });
            let stopped = line(yard.actor(), "stop-guessing", &address, &detail);
            let yard = yard.clone();
            async move { yard.audit_writer().write_now(stopped).await }
        })
    }

    async fn audited(&self, action: &str, mut detail: Value, outcome: &'static str) {
        detail["revision"] = json!(self.revision.number());
        detail["bundle"] = json!(self.bundle.digest().to_string());
        detail["outcome"] = json!(outcome);
        let line = line(self.yard.actor(), action, &self.address, &detail);
        if outcome == OK {
            self.yard.audit_writer().write(line).await;
        } else {
            self.yard.audit_writer().write_now(line).await;
        }
    }
}

impl Yard {
    /// Returns the plaintext of a secret, for use in this call only.
    pub(crate) async fn read_secret(
        &self,
        secret: &ResolvedSecret,
        deadline: Deadline,
        depth: usize,
    ) -> Result<SecretValue, Error> {
        let ResolvedSecret { owner, field, material, .. } = secret;
        match material {
            Material::Value(value) => Ok(value.clone()),
            Material::Source(source) => self.read_source(owner, field, source, deadline, depth).await,
            Material::Destroyed => {
                let field = field.dotted();
                let message = format!("the secret `{field}` of block `{owner}` was destroyed by a purge");
                let code = Code::SecretDestroyed { address: owner.clone(), field };
                Err(Error::new(ErrorKind::Denied, message).code(code))
            }
        }
    }

    /// Reads a secret from its source. There is no fallback.
    async fn read_source(
        &self,
        owner: &Address,
        field: &Pointer,
        source: &SecretSource,
        deadline: Deadline,
        depth: usize,
    ) -> Result<SecretValue, Error> {
        let unreadable = |reason: String| {
            Error::new(
                ErrorKind::Denied,
                format!("the secret `{}` of block `{owner}` cannot be read from `{source}`", field.dotted()),
            )
            .because(reason)
        };
        match source {
            SecretSource::Environment(name) => {
                self.permit_variable(name).map_err(|error| error.caused(&unreadable))?;
                match std::env::var(name) {
                    Ok(value) => Ok(SecretValue::from_file(value)),
                    Err(std::env::VarError::NotPresent) => {
                        Err(unreadable(format!("the environment variable `{name}` is not set"))
                            .hint(format!("set `{name}` in the environment of Blockyard")))
                    }
                    Err(std::env::VarError::NotUnicode(_)) => {
                        Err(unreadable(format!("the environment variable `{name}` is not UTF-8")))
                    }
                }
            }
            SecretSource::File(path) => {
                let file = self.open_source(path).await.map_err(|error| error.caused(&unreadable))?;
                let mut text = Vec::new();
                // The size is checked while reading, because pipes and devices report no size.
                let read = file.take(SOURCE_BYTES + 1).read_to_end(&mut text).await;
                let size = read.map_err(|error| unreadable(error.to_string()))?;
                if size as u64 > SOURCE_BYTES {
                    text.zeroize();
                    return Err(unreadable(format!("the secret is larger than {SOURCE_BYTES} bytes")));
                }
                from_file(text).map_err(unreadable)
            }
            SecretSource::Block(address) => {
                if depth == SOURCE_DEPTH {
                    return Err(unreadable(format!("the chain of secret stores is longer than {SOURCE_DEPTH} blocks")));
                }
                // Recursive async call: `Box::pin` gives the future a known size.
                Box::pin(self.read_from_block(address, deadline, depth + 1))
                    .await
                    .map_err(|error| error.caused(&unreadable))
            }
        }
    }

    /// Reads a secret from a block that implements `secret-store`.
    async fn read_from_block(&self, address: &Address, deadline: Deadline, depth: usize) -> Result<SecretValue, Error> {
        let block = self.open_block(&PinnedAddress::from(address.clone())).await?;
        block.need_interface(SECRET_STORE)?;
        let reply = block.call_at("read", json!({}), None, deadline, depth).await?;
        let Some((_, mut stream)) = reply.output else {
            return Err(Error::new(ErrorKind::Bundle, format!("block `{address}` returned no secret")));
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() as u64 > SOURCE_BYTES {
                bytes.zeroize();
                let message = format!("block `{address}` returned a secret of more than {SOURCE_BYTES} bytes");
                return Err(Error::new(ErrorKind::Bundle, message));
            }
        }
        SecretValue::from_bytes(bytes)
            .map_err(|_| Error::new(ErrorKind::Remote, format!("the secret of block `{address}` is not UTF-8")))
    }
}

/// Converts the content of a file to a secret, with the same handling of line breaks as all secrets
/// from files.
fn from_file(bytes: Vec<u8>) -> Result<SecretValue, String> {
    String::from_utf8(bytes).map(SecretValue::from_file).map_err(|error| {
        error.into_bytes().zeroize();
        "the file is not UTF-8".to_owned()
    })
}
