//! The audit trail. What changes the yard writes its line in the same transaction; calls hand
//! theirs to a writer that gathers them, so that a call does not wait for the disk.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blockyard_store::{AuditChain, AuditFilter, AuditLine, Millis, Store};
use serde_json::Value;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;

use crate::{Error, Yard};

/// Lines that wait to be written; a caller waits when there are more.
const WAITING: usize = 1_024;
/// Lines that are written at once: a transaction waits for the disk, which is what takes its time.
const AT_ONCE: usize = 256;
/// How long the first line of several waits for the others. A writer that wakes for each line takes as
/// long from a small call as its sandbox does: the threads of a process get in each other's way.
const GATHER: Duration = Duration::from_millis(10);

/// Writes the lines of calls.
pub(crate) struct AuditWriter {
    store: Store,
    sender: Mutex<Option<mpsc::Sender<AuditLine>>>,
    /// There will be no more lines.
    ending: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl AuditWriter {
    pub(crate) fn start(store: Store) -> Self {
        let (sender, mut receiver) = mpsc::channel::<AuditLine>(WAITING);
        let ending = Arc::new(Notify::new());
        let (own, ended) = (store.clone(), ending.clone());
        let task = tokio::spawn(async move {
            let mut lines = Vec::new();
            while let Some(first) = receiver.recv().await {
                lines.push(first);
                tokio::select! {
                    () = ended.notified() => ended.notify_one(),
                    () = tokio::time::sleep(GATHER) => {}
                }
                while let Ok(line) = receiver.try_recv() {
                    lines.push(line);
                    if lines.len() == AT_ONCE {
                        append(&own, &lines).await;
                        lines.clear();
                    }
                }
                append(&own, &lines).await;
                lines.clear();
            }
        });
        Self { store, sender: Mutex::new(Some(sender)), ending, task: Mutex::new(Some(task)) }
    }

    /// Writes the line of a call that failed, and waits for it: many programs end there, without
    /// closing the yard.
    pub(crate) async fn write_now(&self, line: AuditLine) {
        append(&self.store, &[line]).await;
    }

    /// Hands over a line, which is written together with others.
    pub(crate) async fn write(&self, line: AuditLine) {
        let sender = self.sender.lock().await.clone();
        if let Some(sender) = sender {
            let _ = sender.send(line).await;
        }
    }

    /// Waits until all lines are written.
    pub(crate) async fn finish(&self) {
        drop(self.sender.lock().await.take());
        self.ending.notify_one();
        let task = self.task.lock().await.take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

async fn append(store: &Store, lines: &[AuditLine]) {
    if lines.is_empty() {
        return;
    }
    if let Err(error) = store.append_audit_lines(lines).await {
        for AuditLine { action, subject, .. } in lines {
            tracing::error!(%error, action, subject, "a line of the audit trail was not written");
        }
    }
}

/// A line about something that `actor` did now.
pub(crate) fn line(actor: &str, action: &str, subject: impl ToString, detail: &Value) -> AuditLine {
    AuditLine {
        at: now(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: subject.to_string(),
        detail: detail.to_string(),
    }
}

/// Milliseconds since 1970-01-01T00:00:00 UTC.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

impl Yard {
    /// Lines of the audit trail, the newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditLine>, Error> {
        Ok(self.store().audit(filter).await?)
    }

    /// Walks the whole audit trail and checks that each line is what was written.
    ///
    /// # Errors
    /// What the database says.
    pub async fn check_audit(&self) -> Result<AuditChain, Error> {
        Ok(self.store().check_audit().await?)
    }
}
