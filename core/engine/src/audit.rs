//! The audit trail. What changes the yard writes its line in the same transaction; calls hand
//! theirs to a writer that gathers them, so that a call does not wait for the disk. A line that has to be
//! on disk before something happens is written at once, together with all that wait.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blockyard_store::{AuditChain, AuditFilter, AuditLine, Millis, Store, StoreError};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
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
    sender: Mutex<Option<mpsc::Sender<Entry>>>,
    /// There will be no more lines.
    ending: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// A line to write.
struct Entry {
    line: AuditLine,
    /// Told when the line is on disk, or is not going to be.
    written: Option<oneshot::Sender<bool>>,
}

impl AuditWriter {
    pub(crate) fn start(store: Store) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let ending = Arc::new(Notify::new());
        let task = tokio::spawn(write_all(store.clone(), receiver, ending.clone()));
        Self { store, sender: Mutex::new(Some(sender)), ending, task: Mutex::new(Some(task)) }
    }

    /// Writes the line of a call that failed, and waits for it: many programs end there, without
    /// closing the yard.
    pub(crate) async fn write_now(&self, line: AuditLine) {
        if let Err(error) = self.store.append_audit(&line).await {
            not_written(&error, &line);
        }
    }

    /// Hands over a line, which is written together with others.
    pub(crate) async fn write(&self, line: AuditLine) {
        self.send(Entry { line, written: None }).await;
    }

    /// Writes a line and returns when it is on disk. Calls that begin at the same time share one
    /// transaction.
    ///
    /// # Errors
    /// The database's error: the line is not written.
    pub(crate) async fn write_before(&self, line: AuditLine) -> Result<(), Error> {
        let (sender, written) = oneshot::channel();
        self.send(Entry { line: line.clone(), written: Some(sender) }).await;
        if written.await == Ok(true) {
            return Ok(());
        }
        // The batch failed: written alone, the line gets the error that is about it.
        self.store.append_audit(&line).await.map_err(|error| {
            let error = Error::from(error);
            Error::new(error.kind(), "the audit trail cannot be written, so the call does not begin").because(error)
        })
    }

    async fn send(&self, entry: Entry) {
        let sender = self.sender.lock().await.clone();
        if let Some(sender) = sender {
            let _ = sender.send(entry).await;
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

async fn write_all(store: Store, mut receiver: mpsc::Receiver<Entry>, ending: Arc<Notify>) {
    let mut entries = Vec::new();
    while let Some(first) = receiver.recv().await {
        entries.push(first);
        gather(&mut entries, &mut receiver, &ending).await;
        while let Ok(entry) = receiver.try_recv() {
            entries.push(entry);
            if entries.len() == AT_ONCE {
                append(&store, &mut entries).await;
            }
        }
        append(&store, &mut entries).await;
    }
}

/// Waits for more lines, unless a call waits for one of these.
async fn gather(entries: &mut Vec<Entry>, receiver: &mut mpsc::Receiver<Entry>, ending: &Notify) {
    let late = tokio::time::sleep(GATHER);
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
    tracing::error!(%error, action, subject, "a line of the audit trail was not written");
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

/// A time of the yard.
pub(crate) fn timestamp(at: Millis) -> Timestamp {
    let nearest = if at < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(at).unwrap_or(nearest)
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
