//! The execution of guest work: within a deadline, without blocking the caller's runtime, and with
//! panics contained.
//!
//! Work starts inline, on the task that requested it, which has no overhead. Work that has used
//! more than [`limits::INLINE`] of processor time continues on a dedicated thread: a guest in an
//! endless loop yields at every tick, but would still keep a worker of the caller's runtime from
//! polling timers and sockets.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::Poll;

use blockyard_call::limits;
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};

use crate::deadline::{Clock, DeadlinePassed};

/// The reason why work was not completed.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The deadline has passed.
    Deadline,
    /// A host function panicked, with this message.
    Panic(String),
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Any + Send>>> + Send>>;

/// Runs work until it completes or the deadline passes. Dropping this future drops the work, also
/// on a dedicated thread.
pub(crate) async fn drive<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
    clock: Clock,
) -> Result<T, Halt> {
    let mut work: Work<T> = Box::pin(AssertUnwindSafe(work).catch_unwind());
    let mut spent = std::time::Duration::ZERO;
    let inline = std::future::poll_fn(|context| {
        let began = std::time::Instant::now();
        let polled = work.as_mut().poll(context);
        spent += began.elapsed();
        match polled {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if spent > limits::INLINE => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let done = match clock.run_within(inline).await {
        Err(DeadlinePassed) => return Err(Halt::Deadline),
        Ok(Some(done)) => done,
        Ok(None) => on_its_own_thread(work, clock).await?,
    };
    done.map_err(|panic| Halt::Panic(panic_message(panic.as_ref())))
}

async fn on_its_own_thread<T: Send + 'static>(
    work: Work<T>,
    clock: Clock,
) -> Result<Result<T, Box<dyn Any + Send>>, Halt> {
    let runtime = Handle::current();
    // The thread is not in the span of the call.
    let work = work.instrument(Span::current());
    // When this future is dropped, `go_on` is dropped with it, which makes the thread drop the
    // work.
    let (go_on, dropped) = oneshot::channel::<()>();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            tokio::select! {
                biased;
                _ = dropped => Err(Halt::Deadline),
                done = clock.run_within(work) => done.map_err(|DeadlinePassed| Halt::Deadline),
            }
        })
    });
    let done = thread.await;
    drop(go_on);
    // Panics of the work are caught by `catch_unwind`; the thread can otherwise end early only
    // because the runtime shuts down.
    done.unwrap_or(Err(Halt::Deadline))
}

/// Returns the message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::deadline::Deadline;

    fn soon() -> Clock {
        Deadline::within(Duration::from_millis(300)).begin()
    }

    fn later() -> Clock {
        Deadline::within(Duration::from_secs(60)).begin()
    }

    /// Loops forever and yields at each tick, as a guest does.
    async fn spin() {
        loop {
            std::thread::sleep(limits::TICK);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn completed_work_returns_its_result() {
        assert_eq!(drive(async { 7 }, later()).await.expect("an answer"), 7);
    }

    #[tokio::test]
    async fn waiting_and_computing_stop_at_the_deadline() {
        assert!(matches!(drive(std::future::pending::<()>(), soon()).await, Err(Halt::Deadline)));
        assert!(matches!(drive(spin(), soon()).await, Err(Halt::Deadline)));
    }

    #[tokio::test]
    async fn a_panic_returns_its_message() {
        let at_once = drive(async { panic!("the zebra has left") }, later()).await.map(|(): ()| ());
        assert!(matches!(at_once, Err(Halt::Panic(panic_message)) if panic_message == "the zebra has left"));
        let on_its_thread = async {
            std::thread::sleep(2 * limits::INLINE);
            tokio::task::yield_now().await;
            panic!("the zebra has left {}", "late")
        };
        let late = drive(on_its_thread, later()).await.map(|(): ()| ());
        assert!(matches!(late, Err(Halt::Panic(panic_message)) if panic_message == "the zebra has left late"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_worker_stays_responsive_beside_computing_tasks() {
        let spinners: Vec<_> = (0..8).map(|_| tokio::spawn(drive(spin(), later()))).collect();
        // By now, each of them was polled at least once.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let began = std::time::Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            slowest = slowest.max(began.elapsed());
        }
        // On the worker itself, the eight loops would take 8 ticks per round, and tokio polls
        // timers only every 61 tasks.
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        for spinner in &spinners {
            spinner.abort();
        }
    }

    #[tokio::test]
    async fn canceled_work_is_dropped() {
        let held = std::sync::Arc::new(());
        let guard = held.clone();
        let spinner = tokio::spawn(drive(
            async move {
                let _guard = guard;
                spin().await;
            },
            later(),
        ));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(std::sync::Arc::strong_count(&held), 2);
        spinner.abort();
        for _ in 0..1_000 {
            if std::sync::Arc::strong_count(&held) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the work was not dropped");
    }
}
