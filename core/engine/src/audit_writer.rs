//! Writes the audit trail.
//!
//! An operation that modifies the yard writes its audit line in the same transaction. Calls pass
//! their lines to a background writer that batches them, so that a call does not wait for the disk.
//! A line that must be on disk before the call continues is written immediately, together with all
//! pending lines.

use std::sync::Arc;
use std::time::Duration;

use blockyard_store::{AuditLine, Store, StoreError};
use serde_json::Value;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Error;
use crate::time::now;

/// Maximum number of pending lines. When the queue is full, the caller waits.
const WAITING: usize = 1_024;
/// Maximum number of lines per transaction. Batching helps because most of a transaction's time is
/// spent waiting for the disk.
const AT_ONCE: usize = 256;
/// Time for which the writer waits for further lines before it writes a batch. Waking up for each
/// line would add as much time to a small call as its sandbox does, because the threads compete for
/// the CPU.
const BATCH_DELAY: Duration = Duration::from_millis(10);

/// Background writer for the audit lines of calls.
pub(crate) struct AuditWriter {
    store: Store,
    sender: Mutex<Option<mpsc::Sender<Entry>>>,
    /// Signals that no more lines will be sent.
    ending: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// A line to write.
struct Entry {
    line: AuditLine,
    /// Receives `true` when the line is on disk, `false` if it could not be written.
    written: Option<oneshot::Sender<bool>>,
}

impl AuditWriter {
    pub(crate) fn start(store: Store) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let ending = Arc::new(Notify::new());
        let task = tokio::spawn(write_all(store.clone(), receiver, ending.clone()));
        Self { store, sender: Mutex::new(Some(sender)), ending, task: Mutex::new(Some(task)) }
    }

    /// Writes the line of a failed call and waits until it is on disk, because many programs exit
    /// after a failure without closing the yard.
    pub(crate) async fn write_now(&self, line: AuditLine) {
        if let Err(error) = self.store.append_audit(&line).await {
            not_written(&error, &line);
        }
    }

    /// Queues a line, to be written in a batch.
    pub(crate) async fn write(&self, line: AuditLine) {
        self.send(Entry { line, written: None }).await;
    }

    /// Writes a line and returns when it is on disk. Calls that begin at the same time share one
    /// transaction.
    ///
    /// # Errors
    /// Returns the database error. In that case, the line was not written.
    pub(crate) async fn write_before(&self, line: AuditLine) -> Result<(), Error> {
        let (sender, written) = oneshot::channel();
        self.send(Entry { line: line.clone(), written: Some(sender) }).await;
        if written.await == Ok(true) {
            return Ok(());
        }
        // The batch failed. Writing the line separately returns the error that concerns this line.
        self.store.append_audit(&line).await.map_err(|error| {
            let error = Error::from(error);
            Error::new(error.kind(), "the audit trail cannot be written, so the call was not started").because(error)
        })
    }

    async fn send(&self, entry: Entry) {
        let sender = self.sender.lock().await.clone();
        if let Some(sender) = sender {
            let _ = sender.send(entry).await;
        }
    }

    /// Waits until all pending lines are written.
    pub(crate) async fn finish(&self) {
        drop(self.sender.lock().await.take());
        self.ending.notify_one();
        let task = self.task.lock().await.take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

async fn write_all(store: Store, mut receiver: mpsc::Receiver<Entry>, ending: Arc<Notify>) {
    let mut entries = Vec::new();
    while let Some(first) = receiver.recv().await {
        entries.push(first);
        collect_batch(&mut entries, &mut receiver, &ending).await;
        while let Ok(entry) = receiver.try_recv() {
            entries.push(entry);
            if entries.len() == AT_ONCE {
                append(&store, &mut entries).await;
            }
        }
        append(&store, &mut entries).await;
    }
}

/// Waits for more lines, unless a caller is waiting for the last one.
async fn collect_batch(entries: &mut Vec<Entry>, receiver: &mut mpsc::Receiver<Entry>, ending: &Notify) {
    let late = tokio::time::sleep(BATCH_DELAY);
    tokio::pin!(late);
    while entries.len() < AT_ONCE && entries.last().is_some_and(|last| last.written.is_none()) {
        tokio::select! {
            () = ending.notified() => return ending.notify_one(),
            () = &mut late => return,
            next = receiver.recv() => match next {
                Some(entry) => entries.push(entry),
                None => return,
            },
        }
    }
}

async fn append(store: &Store, entries: &mut Vec<Entry>) {
    if entries.is_empty() {
        return;
    }
    let (lines, waiting): (Vec<_>, Vec<_>) = entries.drain(..).map(|entry| (entry.line, entry.written)).unzip();
    let done = store.append_audit_lines(&lines).await;
    for (line, written) in lines.iter().zip(waiting) {
        match (written, &done) {
            (Some(written), done) => drop(written.send(done.is_ok())),
            (None, Err(error)) => not_written(error, line),
            (None, Ok(())) => {}
        }
    }
}

fn not_written(error: &StoreError, line: &AuditLine) {
    let AuditLine { action, subject, .. } = line;
    tracing::error!(%error, action, subject, "cannot write a line of the audit trail");
}

/// Creates a line for an action of `actor` at the current time.
pub(crate) fn line(actor: &str, action: &str, subject: impl ToString, detail: &Value) -> AuditLine {
    AuditLine {
        at: now(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: subject.to_string(),
        detail: detail.to_string(),
    }
}
