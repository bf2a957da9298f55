//! Notices: what the embedder writes down about a call besides its outcome.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

/// Called when a call is stopped because its bundle looked for a secret, with the reason. The engine writes it to the
/// audit trail, also where the bundle is stopped long after the call gave its result, in a stream.
#[derive(Clone)]
pub struct GuessNotice(Arc<Notice>);

type Notice = dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync;

impl GuessNotice {
    /// A notice from a function.
    pub fn new<F>(notice: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move |reason| Box::pin(notice(reason))))
    }

    /// A notice that is written nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self::new(async |_| {})
    }

    pub(crate) async fn give(&self, reason: String) {
        (self.0)(reason).await;
    }
}

impl fmt::Debug for GuessNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuessNotice")
    }
}
