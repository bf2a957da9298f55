//! Tasks that outlive the calls which began them: those that read rows, and those that have a server stop a
//! statement. A process that ends waits for them for a moment, so that no database goes on with what nobody
//! wants any more.

use std::sync::LazyLock;

use tokio::sync::watch;

/// How many there are.
static RUNNING: LazyLock<watch::Sender<usize>> = LazyLock::new(watch::Sender::default);

/// One of them; counted until it is dropped, however it ends.
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

/// Begins a task. Where there is no runtime any more, nothing is done.
pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let counted = Counted::new();
        runtime.spawn(async move {
            work.await;
            drop(counted);
        });
    }
}

/// Waits until databases have stopped what ended calls had them do.
pub async fn settled() {
    let _ = RUNNING.subscribe().wait_for(|running| *running == 0).await;
}
