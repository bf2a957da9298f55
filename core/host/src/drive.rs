//! How a guest's work is run: within a deadline, without being in anybody's way, and so that what
//! goes wrong in it stays in it.
//!
//! Work begins where it is asked for, which costs nothing. What has computed for longer than
//! [`limits::INLINE`] goes on on a thread of its own: a guest that never ends yields at every tick,
//! and would still keep a worker of the caller's from looking after timers and sockets.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::Poll;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::deadline::{Clock, Over};
use crate::limits;

/// Why work did not come to its end.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The time is over.
    Deadline,
    /// A function of the host panicked, with these words.
    Panic(String),
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Any + Send>>> + Send>>;

/// Runs work to its end or the deadline. Dropping this future drops the work, also one that is on a
/// thread of its own.
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
    let done = match clock.hold(inline).await {
        Err(Over) => return Err(Halt::Deadline),
        Ok(Some(done)) => done,
        Ok(None) => on_its_own_thread(work, clock).await?,
    };
    done.map_err(|panic| Halt::Panic(words(panic.as_ref())))
}

async fn on_its_own_thread<T: Send + 'static>(
    work: Work<T>,
    clock: Clock,
) -> Result<Result<T, Box<dyn Any + Send>>, Halt> {
    let runtime = Handle::current();
    // When this future is dropped, so is `go_on`, and the thread lets go of the work.
    let (go_on, dropped) = oneshot::channel::<()>();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            tokio::select! {
                biased;
                _ = dropped => Err(Halt::Deadline),
                done = clock.hold(work) => done.map_err(|Over| Halt::Deadline),
            }
        })
    });
    let done = thread.await;
    drop(go_on);
    // The work's own panics are caught within it; what else can end the thread is the runtime's end.
    done.unwrap_or(Err(Halt::Deadline))
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
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

    /// Computes, and yields as a guest does.
    async fn spin() {
        loop {
            std::thread::sleep(limits::TICK);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn work_ends_with_its_answer() {
        assert_eq!(drive(async { 7 }, later()).await.expect("an answer"), 7);
    }

    #[tokio::test]
    async fn waiting_and_computing_end_at_the_deadline() {
        assert!(matches!(drive(std::future::pending::<()>(), soon()).await, Err(Halt::Deadline)));
        assert!(matches!(drive(spin(), soon()).await, Err(Halt::Deadline)));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_with_its_words() {
        let at_once = drive(async { panic!("the zebra has left") }, later()).await.map(|(): ()| ());
        assert!(matches!(at_once, Err(Halt::Panic(words)) if words == "the zebra has left"));
        let on_its_thread = async {
            std::thread::sleep(2 * limits::INLINE);
            tokio::task::yield_now().await;
            panic!("the zebra has left {}", "late")
        };
        let late = drive(on_its_thread, later()).await.map(|(): ()| ());
        assert!(matches!(late, Err(Halt::Panic(words)) if words == "the zebra has left late"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_worker_serves_others_beside_many_that_compute() {
        let spinners: Vec<_> = (0..8).map(|_| tokio::spawn(drive(spin(), later()))).collect();
        // All of them had their first turn.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let began = std::time::Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            slowest = slowest.max(began.elapsed());
        }
        // On the worker itself, eight that compute would take 8 ticks of each millisecond's wait, and
        // timers would be looked at after 61 of these.
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        for spinner in &spinners {
            spinner.abort();
        }
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_dropped() {
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
        panic!("the work lives on");
    }
}
