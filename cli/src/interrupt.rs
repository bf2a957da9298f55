//! Signals that end a command.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of [`Held`] values.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// While this value exists, Ctrl-C does not end the command. It is for the time in which another
/// program uses the terminal: the terminal sends the signal to both.
pub(crate) struct Held(());

/// Ignores Ctrl-C until the result is dropped.
pub(crate) fn hold() -> Held {
    HELD.fetch_add(1, Ordering::SeqCst);
    Held(())
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits for SIGTERM, or for Ctrl-C that is not held.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            () = ctrl_c() => {}
        }
        return;
    }
    ctrl_c().await;
}

async fn ctrl_c() {
    loop {
        let received = tokio::signal::ctrl_c().await;
        if received.is_err() || HELD.load(Ordering::SeqCst) == 0 {
            return;
        }
    }
}
