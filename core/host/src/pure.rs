//! Pure calls of a bundle, which use no capability: `describe`, and those in
//! [`configuration`](crate::configuration).
//!
//! They run on a separate, deterministic engine, so that the result is the same on every machine:
//! execution is limited by fuel instead of time, NaNs are canonicalized, and no capability is
//! linked. Each import is linked to a function that traps, so that the component can be
//! instantiated; only `log` is implemented, to receive the message of a panic and the notes of a
//! migration.

use std::sync::Arc;

use blockyard_call::{Body, Redactor, cut, limits};
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker, ResourceType};

use crate::bindings::blockyard::bundle::log::{self, Level};
use crate::bindings::{BundleReveal as Exports, BundleRevealPre as BundlePre};
use crate::capability::log::{PANIC_PREFIX, one_line};
use crate::deadline::Deadline;
use crate::drive::{Halt, drive};
use crate::error::HostError;
use crate::failure::Ended;
use crate::memory::MemoryLimiter;
use crate::sandbox::Sandbox;

/// A component that is linked for the pure functions.
pub(crate) type Pure = BundlePre<State>;

/// Store state of a pure call.
#[derive(Default)]
pub(crate) struct State {
    memory: MemoryLimiter,
    panic: Option<String>,
    /// Log lines at the level `info` or above, for the user.
    notes: Vec<String>,
}

/// An instance that executes a pure call.
pub(crate) struct PureCall {
    pub(crate) bundle: String,
    pub(crate) store: Store<State>,
    pub(crate) exports: Exports,
}

impl Sandbox {
    /// Calls `describe` and returns the manifest as JSON. The bundle's name in errors is empty,
    /// because it is not known before.
    pub(crate) async fn describe(&self, pure: &Pure) -> Result<String, HostError> {
        let pure = pure.clone();
        let described = self.run_pure(String::new(), async move {
            let mut call = PureCall::new(String::new(), &pure).await?;
            let types = call.exports.blockyard_bundle_block_types();
            types.call_describe(&mut call.store).await.map_err(|error| call.ended(&error))
        });
        let text = described.await.map_err(|error| match error {
            HostError::Crash { reason, .. } | HostError::Limit { limit: reason, .. } => {
                HostError::NotABundle(format!("`describe` failed: {reason}"))
            }
            HostError::Deadline(time) => {
                HostError::NotABundle(format!("`describe` did not return within {} seconds", time.as_secs()))
            }
            other => other,
        })?;
        if text.len() > limits::MANIFEST_BYTES {
            return Err(HostError::NotABundle(format!(
                "its manifest has {} bytes; the limit is {}",
                text.len(),
                limits::MANIFEST_BYTES
            )));
        }
        Ok(text)
    }

    /// Waits for a permit and runs one pure call, within [`limits::PURE_TIME`] in total.
    pub(crate) async fn run_pure<T: Send + 'static>(
        &self,
        bundle: String,
        work: impl Future<Output = Result<T, HostError>> + Send + 'static,
    ) -> Result<T, HostError> {
        let permits = self.pure_permits.clone();
        let with_permit = async move {
            let _permit = permits.acquire_owned().await.expect("the semaphore is never closed");
            work.await
        };
        match drive(with_permit, Deadline::within(limits::PURE_TIME).begin()).await {
            Ok(result) => result,
            Err(Halt::Deadline) => Err(HostError::Deadline(limits::PURE_TIME)),
            Err(Halt::Panic(reason)) => Err(HostError::Panic { bundle, reason }),
        }
    }

    /// Links a component for pure calls, with traps in place of its imports.
    pub(crate) fn link_pure(&self, component: &Component) -> Result<Pure, HostError> {
        traps(component)
            .and_then(|linker| linker.instantiate_pre(component))
            .and_then(BundlePre::new)
            .map_err(|error| HostError::NotABundle(format!("{error:#}")))
    }
}

impl PureCall {
    pub(crate) async fn new(bundle: String, pure: &Pure) -> Result<Self, HostError> {
        let mut store = Store::new(pure.engine(), State::default());
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits::HOST_CALL_BYTES);
        store.set_max_component_handles(limits::HANDLES);
        store
            .set_fuel(limits::PURE_FUEL)
            .and_then(|()| store.fuel_async_yield_interval(Some(limits::PURE_FUEL_TICK)))
            .map_err(HostError::Engine)?;
        match pure.instantiate_async(&mut store).await {
            Ok(exports) => Ok(Self { bundle, store, exports }),
            Err(error) => Err(ended(&bundle, store.data(), &error)),
        }
    }

    /// Takes the log lines of the call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.store.data_mut().notes)
    }

    pub(crate) fn ended(&self, error: &wasmtime::Error) -> HostError {
        ended(&self.bundle, self.store.data(), error)
    }
}

fn ended(bundle: &str, state: &State, error: &wasmtime::Error) -> HostError {
    let nothing = Redactor::default();
    Ended { bundle, memory: &state.memory, panic: state.panic.as_deref(), redactor: &nothing }.by(error)
}

/// Returns a linker in which every imported function of the component traps, except for `log`. The
/// resource `body` is linked with its real type, because it appears in the signatures of exports.
fn traps(component: &Component) -> wasmtime::Result<Linker<State>> {
    let engine = component.engine();
    let mut linker = Linker::new(engine);
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if name.starts_with("blockyard:bundle/log@") {
            log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
            continue;
        }
        let short: Arc<str> = name.trim_start_matches("blockyard:bundle/").split('@').next().unwrap_or(name).into();
        let mut instance = linker.instance(name)?;
        for (item, exported) in interface.exports(engine) {
            match exported.ty {
                ComponentItem::ComponentFunc(_) => {
                    let short = short.clone();
                    instance.func_new(item, move |_, _, _, _| {
                        Err(wasmtime::Error::msg(format!(
                            "`{short}` is not available during `describe`, `validate` or `migrate`"
                        )))
                    })?;
                }
                ComponentItem::Resource(_) if item == "body" => {
                    instance.resource(item, ResourceType::host::<Body>(), |_, _| Ok(()))?;
                }
                ComponentItem::Resource(_) => {
                    instance.resource(item, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(linker)
}

impl log::Host for State {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        if level == Level::Error && message.starts_with(PANIC_PREFIX) {
            self.panic = Some(one_line(&Redactor::default(), message));
        } else if !matches!(level, Level::Trace | Level::Debug) && self.notes.len() < limits::MIGRATION_NOTES {
            self.notes.push(cut(one_line(&Redactor::default(), message), limits::MESSAGE_BYTES));
        }
        Ok(())
    }
}
