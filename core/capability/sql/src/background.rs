//! Background tasks that outlive the call that started them: tasks that read rows, and tasks that
//! tell a server to cancel a statement. A process waits briefly for these tasks before it exits, so
//! that no database continues with a statement whose result is no longer needed.

use std::sync::LazyLock;

use tokio::sync::watch;

/// Number of running tasks.
static RUNNING: LazyLock<watch::Sender<usize>> = LazyLock::new(watch::Sender::default);

/// A running task. It is counted until this value is dropped, even if the task panics.
struct Counted;

impl Counted {
    fn new() -> Self {
        RUNNING.send_modify(|running| *running += 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        RUNNING.send_modify(|running| *running -= 1);
    }
}

/// Starts a task. Does nothing outside of a runtime.
pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let counted = Counted::new();
        runtime.spawn(async move {
            work.await;
            drop(counted);
        });
    }
}

/// Waits until databases have stopped the work of calls that have ended.
pub async fn settled() {
    let _ = RUNNING.subscribe().wait_for(|running| *running == 0).await;
}
