//! Notices: events of a call that the embedding program records in addition to the result.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// Callback for a call that was stopped because its bundle tried to guess a secret.
///
/// It receives the reason. The engine writes the reason to the audit trail. The bundle can also be
/// stopped after the call has returned its result, while the output is streamed; this callback
/// reports that case, too.
#[derive(Clone)]
pub struct GuessingHook(Arc<Notice>);

type Notice = dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync;

impl GuessingHook {
    /// Creates a notice that calls `notice` with the reason.
    pub fn new<F>(notice: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move |reason| Box::pin(notice(reason))))
    }

    /// Returns a notice that discards the reason.
    #[must_use]
    pub fn none() -> Self {
        Self::new(async |_| {})
    }

    pub(crate) async fn give(&self, reason: String) {
        (self.0)(reason).await;
    }
}

impl fmt::Debug for GuessingHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuessingHook")
    }
}
