//! Calls: a fresh store, the granted interfaces, a deadline, an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use blockyard_model::{Audience, Capability, Effect, Pointer, SafeRequest, SecretValue};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use wasmtime::component::{ResourceAny, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::bindings::BundleReveal as Exports;
use crate::bindings::exports::blockyard::bundle::block_types::{self, Output};
use crate::capability::http::EffectViolation;
use crate::capability::reveal::RevealHook;
use crate::capability::streams::Body;
use crate::output::{ByteStream, Input};
use crate::problem::cut;
use crate::redact::Redactor;
use crate::sandbox::Sandbox;
use crate::state::CallState;
use crate::{Bundle, HostError, Problem, limits};

/// A block as a call sees it.
#[derive(Debug, Clone)]
pub struct Block {
    /// The type's slug.
    pub type_slug: String,
    /// The block's name.
    pub name: String,
    /// The revision.
    pub revision: u64,
    /// The configuration, with `{"$secret": pointer}` where a secret stands.
    pub config: Value,
}

/// A secret of the block under call, and what it may be used for.
#[derive(Debug, Clone)]
pub struct CallSecret {
    /// The plain text.
    pub value: SecretValue,
    /// For whom, with the fields of its block's configuration in place.
    pub audience: Vec<Audience>,
}

/// How long a call may take, waiting included.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Duration);

/// All that a call needs besides the operation.
#[derive(Debug)]
pub struct Invocation {
    /// The block.
    pub block: Block,
    /// What the operation may do to the outside world.
    pub effect: Effect,
    /// Requests of an operation that reads which are safe although their method is not.
    pub safe: Vec<SafeRequest>,
    /// The block's secrets by their place.
    pub secrets: BTreeMap<Pointer, CallSecret>,
    /// What the bundle may use.
    pub grants: BTreeSet<Capability>,
    /// How long it may take.
    pub deadline: Deadline,
    /// What is done before the bundle is shown a secret.
    pub reveal: RevealHook,
}

/// A bundle's answer.
pub struct Reply {
    /// The result.
    pub result: Value,
    /// The stream of bytes, and what kind they are.
    pub output: Option<(String, ByteStream)>,
    /// What the bundle logged.
    pub log: Vec<LogLine>,
}

/// A line that a bundle logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How grave it is.
    pub level: LogLevel,
    /// The text, without control characters and secrets.
    pub message: String,
}

/// How grave a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For the bundle's author.
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// For whoever wants to know.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

impl Default for Deadline {
    fn default() -> Self {
        Self(limits::CALL_TIME)
    }
}

impl Sandbox {
    /// Calls an operation. Arguments are checked by the caller, who knows their schema.
    ///
    /// # Errors
    /// [`HostError::Problem`] where the bundle says why not; otherwise which grant is missing,
    /// which limit was hit, how it crashed.
    pub async fn invoke(
        &self,
        bundle: &Bundle,
        invocation: Invocation,
        operation: &str,
        arguments: &Value,
        input: Option<Input>,
    ) -> Result<Reply, HostError> {
        let mut call = self.begin(bundle, invocation).await?;
        let arguments = arguments.to_string();
        let deadline = call.deadline;
        let answered = call
            .within(async |exports: &Exports, store: &mut Store<CallState>, block| {
                let input = match input {
                    Some(input) => Some(store.data_mut().table.push(Body::input(input))?),
                    None => None,
                };
                exports
                    .blockyard_bundle_block_types()
                    .call_invoke(&mut *store, block, operation, &arguments, input)
                    .await
            })
            .await?;
        let reply = answered.map_err(|problem| call.problem(problem))?;
        let result = call.json(&reply.result, "the result")?;
        let log = std::mem::take(&mut call.store.data_mut().log);
        let output = match reply.output {
            Output::None => None,
            Output::Body(body) => {
                let body =
                    call.store.data_mut().table.delete(body).map_err(|error| call.bad_answer(format!("{error:#}")))?;
                let media_type = body.media_type().to_owned();
                Some((media_type, redacted(body.into_stream(), call.redactor())))
            }
            Output::Parts(parts) => Some(("application/octet-stream".to_owned(), call.pull(parts, deadline))),
        };
        Ok(Reply { result, output, log })
    }

    /// Asks a block whether it can do its work now. The answer is a list of steps.
    ///
    /// # Errors
    /// As [`invoke`](Self::invoke).
    pub async fn check(&self, bundle: &Bundle, invocation: Invocation) -> Result<Value, HostError> {
        let mut call = self.begin(bundle, invocation).await?;
        let answered = call
            .within(async |exports: &Exports, store: &mut Store<CallState>, block| {
                exports.blockyard_bundle_block_types().call_check(store, block).await
            })
            .await?;
        let text = answered.map_err(|problem| call.problem(problem))?;
        call.json(&text, "the steps of the check")
    }

    /// What the bundle says is wrong with a configuration, beyond its schema. Nothing is linked
    /// but the log, for the message of a panic.
    ///
    /// # Errors
    /// How the bundle failed to answer.
    pub async fn validate(
        &self,
        bundle: &Bundle,
        type_slug: &str,
        config: &Value,
    ) -> Result<Vec<(Pointer, String)>, HostError> {
        let pre = self.pure(bundle.component())?;
        let mut store = self.pure_store();
        let config = config.to_string();
        let answered = async {
            let exports = pre.instantiate_async(&mut store).await?;
            exports.blockyard_bundle_block_types().call_validate(&mut store, type_slug, &config).await
        }
        .await;
        let violations = answered.map_err(|error| failure(bundle, store.data(), &error))?;
        Ok(violations
            .err()
            .into_iter()
            .flatten()
            .map(|violation| (Pointer::new(violation.pointer), cut(violation.message, limits::MESSAGE_BYTES)))
            .collect())
    }

    async fn begin(&self, bundle: &Bundle, invocation: Invocation) -> Result<Call, HostError> {
        let linked = bundle.linked(self, &invocation.grants)?;
        let turn = self.turns.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Invocation { block, effect, safe, secrets, grants, deadline, reveal } = invocation;
        let mut state = CallState::new(
            effect,
            block.config.clone(),
            format!("{}/{}@{}", block.type_slug, block.name, block.revision),
            secrets,
            Arc::new(grants),
            self.pools.clone(),
        );
        state.bundle = bundle.name();
        state.manifest = Some(bundle.shared_manifest());
        state.safe = safe;
        state.http = self.http.clone();
        state.reveal = reveal;
        let mut store = self.store(state, limits::CPU_TICKS);
        let exports =
            linked.instantiate_async(&mut store).await.map_err(|error| failure(bundle, store.data(), &error))?;
        Ok(Call {
            bundle: bundle.clone(),
            block: block_types::Block {
                type_: block.type_slug,
                name: block.name,
                revision: block.revision,
                config: block.config.to_string(),
            },
            store,
            exports,
            deadline: tokio::time::Instant::now() + deadline.0,
            time: deadline.0,
            _turn: turn,
        })
    }

    /// A fresh store with its limits.
    pub(crate) fn store(&self, state: CallState, ticks: u64) -> Store<CallState> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits::HOST_CALL_BYTES);
        store.set_epoch_deadline(1);
        let mut left = ticks;
        store.epoch_deadline_callback(move |_| {
            left = left.saturating_sub(1);
            Ok(if left == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        store
    }
}

/// A call under way.
struct Call {
    bundle: Bundle,
    block: block_types::Block,
    store: Store<CallState>,
    exports: Exports,
    deadline: tokio::time::Instant,
    time: Duration,
    _turn: OwnedSemaphorePermit,
}

impl Call {
    /// Runs one export within the call's deadline. Dropping the future ends the guest, also one
    /// that waits in a function of the host.
    async fn within<T>(
        &mut self,
        export: impl AsyncFnOnce(&Exports, &mut Store<CallState>, &block_types::Block) -> wasmtime::Result<T>,
    ) -> Result<T, HostError> {
        let running = export(&self.exports, &mut self.store, &self.block);
        match tokio::time::timeout_at(self.deadline, running).await {
            Err(_) => Err(HostError::Deadline(self.time)),
            Ok(Err(error)) => Err(failure(&self.bundle, self.store.data(), &error)),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    fn redactor(&self) -> Arc<Redactor> {
        self.store.data().redactor.clone()
    }

    fn problem(&self, problem: crate::bindings::blockyard::bundle::types::Problem) -> HostError {
        HostError::Problem(self.redactor().problem(Problem::from_guest(problem)))
    }

    fn bad_answer(&self, reason: String) -> HostError {
        HostError::BadAnswer { bundle: self.bundle.name(), reason }
    }

    fn json(&self, text: &str, what: &str) -> Result<Value, HostError> {
        if text.len() > limits::RESULT_BYTES {
            return Err(HostError::Limit {
                bundle: self.bundle.name(),
                limit: format!("{what} has {} bytes; the limit is {}", text.len(), limits::RESULT_BYTES),
            });
        }
        serde_json::from_str(&self.redactor().text(text.to_owned()))
            .map_err(|error| self.bad_answer(format!("{what} is not JSON: {error}")))
    }

    /// The pieces of an output that the bundle makes as they are read. The store lives until the
    /// last piece, or until nobody reads any more.
    fn pull(mut self, parts: ResourceAny, deadline: tokio::time::Instant) -> ByteStream {
        let (sender, receiver) = mpsc::channel::<Result<Bytes, Problem>>(1);
        tokio::spawn(async move {
            let work = async {
                loop {
                    let types = self.exports.blockyard_bundle_block_types();
                    let next = types.parts().call_next(&mut self.store, parts).await;
                    let mut piece = match next {
                        Ok(Ok(Some(body))) => match self.store.data_mut().table.delete(body) {
                            Ok(body) => body.into_stream(),
                            Err(_) => return Err(Problem::new("failed", "the bundle gave a body that is not there")),
                        },
                        Ok(Ok(None)) => return Ok(()),
                        Ok(Err(problem)) => return Err(self.redactor().problem(Problem::from_guest(problem))),
                        Err(error) => {
                            let failure = failure(&self.bundle, self.store.data(), &error);
                            return Err(Problem::new("failed", failure.to_string()));
                        }
                    };
                    while let Some(chunk) = piece.next().await {
                        if sender.send(Ok(chunk?)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            };
            let ended = tokio::time::timeout_at(deadline, work)
                .await
                .unwrap_or_else(|_| Err(Problem::new("timeout", "the output took longer than the call may")));
            if let Err(problem) = ended {
                let _ = sender.send(Err(problem)).await;
            }
        });
        stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|chunk| (chunk, receiver))).boxed()
    }
}

fn redacted(stream: ByteStream, redactor: Arc<Redactor>) -> ByteStream {
    stream.map(move |chunk| chunk.map_err(|problem| redactor.problem(problem))).boxed()
}

/// What ended a guest, in words: its own panic message before anything else.
fn failure(bundle: &Bundle, state: &CallState, error: &wasmtime::Error) -> HostError {
    let bundle = bundle.name();
    let limit = |limit: String| HostError::Limit { bundle: bundle.clone(), limit };
    if state.memory.exceeded {
        return limit(format!("it asked for more than {} MiB of memory", limits::MEMORY_BYTES >> 20));
    }
    if let Some(panic) = &state.panic {
        return HostError::Crash { bundle, reason: panic.clone() };
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return limit(format!("it holds more than {} handles", limits::HANDLES));
    }
    if let Some(violation) = error.downcast_ref::<EffectViolation>() {
        return HostError::Effect { bundle, reason: violation.to_string() };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => limit(format!(
            "it computed for more than {} seconds",
            limits::TICK.as_secs() + limits::CPU_TICKS * u64::try_from(limits::TICK.as_millis()).unwrap_or(0) / 1000
        )),
        Some(Trap::StackOverflow) => limit(format!("its stack is deeper than {} KiB", limits::STACK_BYTES >> 10)),
        _ => HostError::Crash { bundle, reason: state.redactor.text(error.root_cause().to_string()) },
    }
}
