//! The epoch ticker: a thread that increments the engine's epoch every [`limits::TICK`], so that a
//! running guest yields at every tick and other tasks can run.
//!
//! The thread is parked while no guest runs, and exits when the engine is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use blockyard_call::limits;
use wasmtime::Engine;

/// The ticker thread. Dropping this value stops the thread.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    running: AtomicUsize,
    ended: AtomicBool,
}

/// Guard of a guest that may run. The ticker ticks while at least one guard exists.
pub(crate) struct Running {
    shared: Arc<Shared>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { running: AtomicUsize::new(0), ended: AtomicBool::new(false) });
        let thread = std::thread::Builder::new().name("blockyard-ticks".to_owned()).spawn({
            let (shared, engine) = (shared.clone(), engine.weak());
            move || {
                while !shared.ended.load(Ordering::Acquire) {
                    if shared.running.load(Ordering::Acquire) == 0 {
                        // `Ticker::run` unparks this thread when it increments `running` from zero.
                        // An `unpark` before this call is not lost: `park` then returns
                        // immediately.
                        std::thread::park();
                        continue;
                    }
                    std::thread::sleep(limits::TICK);
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                }
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Keeps the ticker running until the returned guard is dropped.
    pub(crate) fn run(&self) -> Running {
        if self.shared.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.wake();
        }
        Running { shared: self.shared.clone() }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // The thread sleeps for at most one tick and cannot panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn engine() -> Engine {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        Engine::new(&config).expect("an engine")
    }

    #[test]
    fn the_thread_ends_when_the_ticker_is_dropped() {
        let ticker = Ticker::start(&engine()).expect("a thread");
        let shared = Arc::downgrade(&ticker.shared);
        let running = ticker.run();
        drop(ticker);
        drop(running);
        assert!(shared.upgrade().is_none(), "the thread still runs");
    }

    #[test]
    fn ticks_occur_only_while_a_guest_runs() {
        let engine = engine();
        let ticker = Ticker::start(&engine).expect("a thread");
        let running = ticker.run();
        let began = Instant::now();
        // An endless loop traps at the next tick.
        let module = wasmtime::Module::new(&engine, LOOP).expect("a module");
        let mut store = wasmtime::Store::new(&engine, ());
        store.set_epoch_deadline(2);
        let trap = wasmtime::Instance::new(&mut store, &module, &[]).expect_err("it loops");
        assert_eq!(trap.downcast_ref(), Some(&wasmtime::Trap::Interrupt), "{trap:#}");
        assert!(began.elapsed() < Duration::from_secs(30));
        drop(running);
        assert_eq!(ticker.shared.running.load(Ordering::Acquire), 0);
    }

    /// `(module (func $f (loop br 0)) (start $f))`
    const LOOP: &[u8] =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x08\x01\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";
}
