//! Calls of operations: each runs in a new store, with the granted interfaces, within a deadline.
//!
//! The deadline covers everything from the wait for a permit to the decoded result. Dropping the
//! future of a call stops the guest, also while it waits in a host function, and closes all of its
//! resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use blockyard_call::bindings::blockyard::bundle::types;
use blockyard_call::{Body, ByteStream, CallContext, CallSecret, Input, Problem, Redactor, Usage, cut, limits};
use blockyard_http::HttpContext;
use blockyard_model::{Effect, Pointer, SafeRequest, SqlTarget};
use blockyard_sql::SqlContext;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::{Instrument as _, Span};
use wasmtime::component::ResourceAny;
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::exports::blockyard::bundle::block_types::{self, Output};
use crate::bindings::{BundleReveal as Exports, BundleRevealPre as BundlePre};
use crate::bundle::Bundle;
use crate::capability::CallState;
use crate::capability::log::LogLine;
use crate::capability::reveal::RevealHook;
use crate::deadline::{Clock, Deadline};
use crate::drive::{Halt, drive};
use crate::error::HostError;
use crate::failure::{Ended, guest_problem};
use crate::notice::GuessingHook;
use crate::sandbox::Sandbox;
use crate::ticker::Running;

/// The block on which an operation is called.
#[derive(Debug, Clone)]
pub struct Block {
    /// Slug of the block type, e.g. `gcs-bucket`.
    pub type_slug: String,
    /// Name of the block.
    pub name: String,
    /// Revision number.
    pub revision: u64,
    /// The configuration, with `{"$secret": pointer}` in place of each secret.
    pub config: Value,
}

/// The context of a call: the block, its secrets and the permissions.
#[derive(Debug)]
pub struct Invocation {
    /// The called block.
    pub block: Block,
    /// The declared effect of the operation, which the host enforces.
    pub effect: Effect,
    /// Requests that a `read` operation may send although their method is neither GET nor HEAD.
    pub safe: Vec<SafeRequest>,
    /// The block's secrets, by the JSON Pointer of their field.
    pub secrets: BTreeMap<Pointer, CallSecret>,
    /// The databases that the block's configuration names.
    pub sql: Vec<SqlTarget>,
    /// The granted capabilities, and the record of those that the call uses.
    pub usage: Usage,
    /// The deadline of the call.
    pub deadline: Deadline,
    /// Called before a secret is revealed to the bundle, e.g. to write the audit trail.
    pub reveal: RevealHook,
    /// Called when the bundle is stopped because it tried to guess a secret.
    pub guessed: GuessingHook,
}

/// The result of an operation.
pub struct Reply {
    /// The result, as JSON.
    pub result: Value,
    /// The media type and the stream of the output, if the operation has one.
    pub output: Option<(String, ByteStream)>,
    /// The lines that the bundle logged.
    pub log: Vec<LogLine>,
    /// Number of secrets that were masked in the responses that the bundle read.
    pub masked: usize,
}

impl Sandbox {
    /// Calls an operation. The caller must have validated the arguments against their schema.
    ///
    /// # Errors
    /// Returns [`HostError::Problem`] if the bundle reports a problem; otherwise the [`HostError`]
    /// of the missing grant, the exceeded limit or the crash.
    pub async fn invoke(
        &self,
        bundle: &Bundle,
        invocation: Invocation,
        operation: &str,
        arguments: &Value,
        input: Option<Input>,
    ) -> Result<Reply, HostError> {
        let (operation, arguments) = (operation.to_owned(), arguments.to_string());
        self.call(bundle, invocation, move |mut call, block| async move {
            call.store.data_mut().call.record_arguments(&arguments);
            let input = match input {
                Some(input) => {
                    let pushed = call.store.data_mut().call.table.push(Body::input(call.clock.input(input)));
                    Some(pushed.map_err(|error| call.ended(&error.into()))?)
                }
                None => None,
            };
            let types = call.exports.blockyard_bundle_block_types();
            let result = types.call_invoke(&mut call.store, &block, &operation, &arguments, input).await;
            let reply = call.result(result)?;
            let result = call.json(reply.result, "the result").await?;
            let log = call.store.data_mut().log.take();
            let masked = call.store.data().call.watch.masked();
            let output = match reply.output {
                Output::None => None,
                Output::Body(body) => {
                    let body = call.store.data_mut().call.table.delete(body);
                    let body = body.map_err(|error| call.invalid_result(format!("{error:#}")))?;
                    let media_type = body.media_type().to_owned();
                    Some((media_type, call.clock.output(redacted(body.into_stream(), call.redactor()))))
                }
                Output::Parts(parts) => Some(("application/octet-stream".to_owned(), call.pull(parts))),
            };
            Ok(Reply { result, output, log, masked })
        })
        .await
    }

    /// Checks that a block works, e.g. that its server accepts the credentials. Returns the steps
    /// of the check as a JSON list, and the lines that the bundle logged.
    ///
    /// # Errors
    /// The same as for [`invoke`](Self::invoke).
    pub async fn check(&self, bundle: &Bundle, invocation: Invocation) -> Result<(Value, Vec<LogLine>), HostError> {
        self.call(bundle, invocation, move |mut call, block| async move {
            let types = call.exports.blockyard_bundle_block_types();
            let result = types.call_check(&mut call.store, &block).await;
            let text = call.result(result)?;
            let steps = call.json(text, "the result of `check`").await?;
            Ok((steps, call.store.data_mut().log.take()))
        })
        .await
    }

    /// Waits for a permit and runs `work` on a new instance of the bundle.
    async fn call<T: Send + 'static, W>(
        &self,
        bundle: &Bundle,
        invocation: Invocation,
        work: impl FnOnce(Call, block_types::Block) -> W + Send + 'static,
    ) -> Result<T, HostError>
    where
        W: Future<Output = Result<T, HostError>> + Send + 'static,
    {
        let linked = bundle.linked(self, invocation.usage.grants()).await?;
        let Invocation { block, effect, safe, secrets, sql, usage, deadline, reveal, guessed } = invocation;
        let address = format!("{}/{}@{}", block.type_slug, block.name, block.revision);
        let seen = block_types::Block {
            type_: block.type_slug,
            name: block.name,
            revision: block.revision,
            config: block.config.to_string(),
        };
        let mut call = CallContext::new(bundle.name(), effect, block.config, address, secrets, usage.grants().clone());
        call.usage = usage;
        let sql = SqlContext::new(self.pools.clone(), sql);
        let http = HttpContext::new(self.http.clone(), &bundle.manifest().capabilities, safe);
        let state = CallState::new(call, sql, http, reveal);
        let redactor = state.call.redactor.clone();
        let clock = deadline.begin();
        let (time, notice) = (clock.clone(), guessed.clone());
        let sandbox = self.clone();
        let call = async move {
            // A call holds its permit until its store is dropped. This cannot deadlock: calls that
            // this one depends on (e.g. to read a secret from another block) have completed before.
            let permit = sandbox.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            let call = Call::begin(&sandbox, &linked, state, time, notice, permit).await?;
            work(call, seen).await
        };
        match drive(call, clock.clone()).await {
            Ok(done) => {
                if let Err(HostError::Guessing { reason, .. }) = &done {
                    guessed.give(reason.clone()).await;
                }
                done
            }
            Err(Halt::Deadline) => Err(clock.error()),
            Err(Halt::Panic(reason)) => Err(HostError::Panic {
                bundle: bundle.name(),
                reason: cut(redactor.text(reason), limits::MESSAGE_BYTES),
            }),
        }
    }

    /// Creates a store with the limits of a call.
    fn store(&self, state: CallState) -> Store<CallState> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits::HOST_CALL_BYTES);
        store.set_max_component_handles(limits::HANDLES);
        store.set_epoch_deadline(1);
        let mut left = limits::CPU_TICKS;
        store.epoch_deadline_callback(move |_| {
            left = left.saturating_sub(1);
            Ok(if left == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        store
    }
}

/// A running call.
struct Call {
    store: Store<CallState>,
    exports: Exports,
    clock: Clock,
    guessed: GuessingHook,
    _running: Running,
    _permit: OwnedSemaphorePermit,
}

impl Call {
    async fn begin(
        sandbox: &Sandbox,
        linked: &BundlePre<CallState>,
        state: CallState,
        clock: Clock,
        guessed: GuessingHook,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, HostError> {
        let running = sandbox.ticker.run();
        let mut store = sandbox.store(state);
        match linked.instantiate_async(&mut store).await {
            Ok(exports) => Ok(Self { store, exports, clock, guessed, _running: running, _permit: permit }),
            Err(error) => Err(ended(store.data(), &error)),
        }
    }

    /// Converts the result of an exported function. Secrets in a problem are masked.
    fn result<T>(&self, result: wasmtime::Result<Result<T, types::Problem>>) -> Result<T, HostError> {
        result.map_err(|error| self.ended(&error))?.map_err(|problem| {
            let mut problem = guest_problem(problem, &self.redactor());
            // The codes reserved for the host are accepted only if a host function returned one in
            // this call, so a guest can pass such a problem on but not invent one.
            if problem.is_reserved_for_host() && !self.store.data().call.is_denied_by_host() {
                "failed".clone_into(&mut problem.code);
            }
            HostError::Problem(problem)
        })
    }

    fn ended(&self, error: &wasmtime::Error) -> HostError {
        ended(self.store.data(), error)
    }

    fn redactor(&self) -> Arc<Redactor> {
        self.store.data().call.shown.clone()
    }

    fn invalid_result(&self, reason: String) -> HostError {
        HostError::BadAnswer { bundle: self.store.data().call.bundle.clone(), reason }
    }

    async fn json(&mut self, text: String, what: &str) -> Result<Value, HostError> {
        if text.len() > limits::RESULT_BYTES {
            return Err(HostError::Limit {
                bundle: self.store.data().call.bundle.clone(),
                limit: format!("{what} has {} bytes; the limit is {}", text.len(), limits::RESULT_BYTES),
            });
        }
        let redactor = self.redactor();
        let parse = move |text: String| redactor.json(&text);
        let parsed = if text.len() <= limits::INLINE_BYTES {
            parse(text)
        } else {
            let parsing = tokio::task::spawn_blocking(move || parse(text));
            parsing.await.map_err(|_| self.invalid_result(format!("{what} cannot be read")))?
        };
        parsed.map_err(|error| self.invalid_result(format!("{what} is not JSON: {error}")))
    }

    /// Returns the chunks of an output that the bundle produces while the output is read. The store
    /// is dropped after the last chunk, when the reader is dropped, or at the deadline.
    fn pull(self, parts: ResourceAny) -> ByteStream {
        let (sender, receiver) = mpsc::channel::<Result<Bytes, Problem>>(1);
        let (clock, redactor) = (self.clock.clone(), self.redactor());
        let of_output = clock.clone();
        let pulling = async move {
            let driven = tokio::select! {
                driven = drive(self.send_parts(parts, sender.clone()), clock.clone()) => driven,
                // The reader was dropped.
                () = sender.closed() => return,
            };
            let ended = match driven {
                Ok(ended) => ended,
                Err(Halt::Deadline) => Err(stopped(clock.error().to_string())),
                Err(Halt::Panic(reason)) => Err(stopped(redactor.text(reason))),
            };
            if let Err(problem) = ended {
                let _ = sender.send(Err(problem)).await;
            }
        };
        tokio::spawn(pulling.instrument(Span::current()));
        let chunks =
            stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|chunk| (chunk, receiver)));
        of_output.output(chunks.boxed())
    }

    async fn send_parts(
        mut self,
        parts: ResourceAny,
        sender: mpsc::Sender<Result<Bytes, Problem>>,
    ) -> Result<(), Problem> {
        loop {
            let types = self.exports.blockyard_bundle_block_types();
            let next = types.parts().call_next(&mut self.store, parts).await;
            let body = match self.result(next) {
                Ok(Some(body)) => body,
                Ok(None) => return Ok(()),
                Err(HostError::Problem(problem)) => return Err(problem),
                Err(error) => {
                    if let HostError::Guessing { reason, .. } = &error {
                        self.guessed.give(reason.clone()).await;
                    }
                    return Err(stopped(error.to_string()));
                }
            };
            let body = self.store.data_mut().call.table.delete(body);
            let body = body.map_err(|_| stopped("the bundle returned an unknown body"))?;
            let mut piece = body.into_stream();
            while let Some(chunk) = piece.next().await {
                if sender.send(Ok(chunk?)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Returns the problem that ends an output stream after the bundle crashed or was stopped.
fn stopped(reason: impl Into<String>) -> Problem {
    Problem::new("stopped", reason).hint("only this call is lost; tell the bundle's author")
}

fn redacted(stream: ByteStream, redactor: Arc<Redactor>) -> ByteStream {
    stream.map(move |chunk| chunk.map_err(|problem| redactor.problem(problem))).boxed()
}

fn ended(state: &CallState, error: &wasmtime::Error) -> HostError {
    let CallState { memory, call, log, .. } = state;
    Ended { bundle: &call.bundle, memory, panic: log.panic.as_deref(), redactor: &call.shown }.by(error)
}
