//! An exclusive lock of a folder, which ends with the process. Programs that wait for it report the
//! program that holds it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blockyard_model::{Digest, visible};
use serde::{Deserialize, Serialize};

use crate::ownership::{make_private_folder, write_private};
use crate::regular_file::read_regular;

/// Maximum time to wait for another program, which may compile a crate or ask its user.
const WAIT: Duration = Duration::from_secs(600);
/// Interval at which the lock is tried. A wait of one interval is not reported.
const STEP: Duration = Duration::from_millis(50);
/// Maximum size of a holder's record, in bytes.
const RECORD_BYTES: u64 = 1 << 10;

/// An exclusive lock of a folder.
#[derive(Debug)]
pub(crate) struct FolderLock {
    /// The lock belongs to this handle, and ends with it.
    _folder: File,
    /// File with the record of this program.
    record: Option<PathBuf>,
}

/// A program that holds a lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Process ID.
    pub(crate) pid: u32,
    /// Name of the program, with the command that it runs.
    pub(crate) program: String,
}

/// The reason why a folder was not locked.
#[derive(Debug)]
pub(crate) enum NotLocked {
    /// Another program held the lock for the maximum time. Its record is missing if it is of
    /// another user.
    Held(Option<Holder>),
    /// The operating system reported an error.
    Failed(io::Error),
}

impl FolderLock {
    /// Locks a folder, or waits for the program that holds its lock. `records` is a folder of this
    /// user, to which the holder's record is written. `waiting` is called once if the lock is held.
    pub(crate) async fn acquire(
        folder: &Path,
        records: Option<&Path>,
        program: &str,
        waiting: &mut (dyn FnMut(Option<&Holder>) + Send),
    ) -> Result<Self, NotLocked> {
        let file = File::open(folder).map_err(NotLocked::Failed)?;
        let record = records.map(|records| records.join(format!("{}.json", digest(folder))));
        let until = Instant::now() + WAIT;
        for attempt in 0_u64.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(NotLocked::Failed(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if attempt == 1 {
                waiting(holder(record.as_deref()).as_ref());
            }
            if Instant::now() >= until {
                return Err(NotLocked::Held(holder(record.as_deref())));
            }
            tokio::time::sleep(STEP).await;
        }
        let own = Holder { pid: std::process::id(), program: program.to_owned() };
        // The record is for messages only: without it, the lock works as well.
        let record = record.filter(|record| write(record, &own).is_ok());
        Ok(Self { _folder: file, record })
    }
}

impl Drop for FolderLock {
    /// Removes the record while the lock is still held.
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            let _ = std::fs::remove_file(record);
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (process {})", visible::line(&self.program), self.pid)
    }
}

/// Describes the holder of a lock.
pub(crate) fn described(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another program".to_owned(), ToString::to_string)
}

fn write(record: &Path, holder: &Holder) -> io::Result<()> {
    make_private_folder(record.parent().unwrap_or(Path::new(".")))?;
    write_private(record, &serde_json::to_vec(holder)?)
}

/// Reads the record of the holder. Ignores the record of a program that was killed.
fn holder(record: Option<&Path>) -> Option<Holder> {
    let bytes = read_regular(record?, RECORD_BYTES).ok()?;
    serde_json::from_slice(&bytes).ok().filter(is_running)
}

#[cfg(unix)]
fn is_running(holder: &Holder) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    // A process of another user reports that signals are not permitted.
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

#[cfg(not(unix))]
fn is_running(_holder: &Holder) -> bool {
    true
}

fn digest(folder: &Path) -> Digest {
    Digest::of(folder.as_os_str().as_encoded_bytes())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_holder_waits_and_learns_who_holds_the_lock() {
        let (folder, records) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let records = records.path().join("locks");
        let acquire = |program: &'static str, sender: tokio::sync::mpsc::UnboundedSender<String>| {
            let (folder, records) = (folder.path().to_owned(), records.clone());
            async move {
                let mut waiting = |holder: Option<&Holder>| drop(sender.send(described(holder)));
                FolderLock::acquire(&folder, Some(&records), program, &mut waiting).await.expect("locked")
            }
        };
        let (sender, mut waiting) = tokio::sync::mpsc::unbounded_channel();
        let first = acquire("first\u{1b}", sender.clone()).await;
        let second = tokio::spawn(acquire("second", sender));
        let reported = waiting.recv().await.expect("the second waits");
        assert_eq!(reported, format!("`first\\u{{1b}}` (process {})", std::process::id()));
        drop(first);
        drop(second.await.expect("locked"));
        assert_eq!(std::fs::read_dir(&records).expect("a folder").count(), 0, "no record is left over");
    }

    #[test]
    fn the_record_of_a_killed_program_is_ignored() {
        let records = tempfile::tempdir().expect("a folder");
        let record = records.path().join("x.json");
        let mut child = std::process::Command::new("true").spawn().expect("a program");
        child.wait().expect("it ends");
        write(&record, &Holder { pid: child.id(), program: "gone".to_owned() }).expect("written");
        assert!(holder(Some(&record)).is_none());
        write(&record, &Holder { pid: std::process::id(), program: "here".to_owned() }).expect("written");
        assert_eq!(described(holder(Some(&record)).as_ref()), format!("`here` (process {})", std::process::id()));
        std::fs::write(&record, "not JSON").expect("written");
        assert_eq!(described(holder(Some(&record)).as_ref()), "another program");
    }
}
