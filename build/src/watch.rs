//! Watches the files of a crate for changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use blockyard::{Error, ErrorKind};
use notify::event::{AccessKind, AccessMode, MetadataKind, ModifyKind};
use notify::{Config, Event, EventHandler, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Time without further changes after which a change is reported. Editors and formatters write several files.
const QUIET: Duration = Duration::from_millis(200);
/// Interval at which files are compared if the system does not report changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A watch on the sources of a crate: the folder `src`, and `Cargo.toml`, `build.rs` and other Rust files beside it.
///
/// Folders are watched, not files, because editors replace a file when they save it.
pub struct Watch {
    changes: UnboundedReceiver<()>,
    is_polling: bool,
    _watcher: Box<dyn Watcher + Send>,
}

/// Method of finding changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMethod {
    /// Notifications of the system or, if they are not available, polling.
    Automatic,
    /// Polling, for file systems without notifications.
    Polling,
}

impl Watch {
    /// Starts to watch the crate in a folder.
    ///
    /// # Errors
    /// Returns an error if the folder has no files to watch, or if they cannot be watched.
    pub fn start(folder: &Path, method: WatchMethod) -> Result<Self, Error> {
        let failed = |error: String| {
            Error::new(ErrorKind::Remote, format!("`{}` cannot be watched", folder.display())).because(error)
        };
        // Notifications contain the path that is watched, and a relative one would depend on the current folder.
        let folder = folder.canonicalize().map_err(|error| failed(error.to_string()))?;
        let targets = targets(&folder);
        if targets.is_empty() {
            let message = format!("`{}` has no files to watch", folder.display());
            return Err(Error::new(ErrorKind::NotFound, message)
                .hint("name the folder of a crate, with a Cargo.toml and a folder `src`"));
        }
        let notified = match method {
            WatchMethod::Automatic => Self::notified(&folder, &targets).ok(),
            WatchMethod::Polling => None,
        };
        match notified {
            Some(watch) => Ok(watch),
            None => Self::polled(&folder, &targets).map_err(|error| failed(error.to_string())),
        }
    }

    fn notified(folder: &Path, targets: &[(PathBuf, RecursiveMode)]) -> notify::Result<Self> {
        let (handler, changes) = handler(folder);
        let mut watcher = RecommendedWatcher::new(handler, Config::default())?;
        for (target, mode) in targets {
            watcher.watch(target, *mode)?;
        }
        Ok(Self { changes, is_polling: false, _watcher: Box::new(watcher) })
    }

    fn polled(folder: &Path, targets: &[(PathBuf, RecursiveMode)]) -> notify::Result<Self> {
        let (handler, changes) = handler(folder);
        // Some file systems store times in whole seconds.
        let config = Config::default().with_poll_interval(POLL_INTERVAL).with_compare_contents(true);
        let mut watcher = PollWatcher::new(handler, config)?;
        for (target, mode) in targets {
            watcher.watch(target, *mode)?;
        }
        Ok(Self { changes, is_polling: true, _watcher: Box::new(watcher) })
    }

    /// Returns `true` if files are compared at an interval, because the system does not report changes.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        self.is_polling
    }

    /// Waits for a change, and then until no further change occurs for 200 ms. Changes since the last call count, so
    /// that those that occur during a build are reported once after it.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // The watcher has ended, which happens only when the process ends.
            std::future::pending::<()>().await;
        }
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
    }
}

/// Returns the folders to watch.
fn targets(folder: &Path) -> Vec<(PathBuf, RecursiveMode)> {
    let mut targets = Vec::new();
    if folder.join("Cargo.toml").is_file() {
        targets.push((folder.to_owned(), RecursiveMode::NonRecursive));
    }
    let sources = folder.join("src");
    if sources.is_dir() {
        targets.push((sources, RecursiveMode::Recursive));
    }
    targets
}

/// Returns a handler of notifications, and the changes that it reports.
fn handler(folder: &Path) -> (impl EventHandler, UnboundedReceiver<()>) {
    let (sender, changes) = unbounded_channel();
    let folder = folder.to_owned();
    let handler = move |event: notify::Result<Event>| {
        // After an error, such as a queue that is full, files may have changed.
        if event.map_or(true, |event| is_change(&event, &folder)) {
            let _ = sender.send(());
        }
    };
    (handler, changes)
}

/// Checks whether an event can change the result of a build. Compilers read the files, which is an event, too.
fn is_change(event: &Event, folder: &Path) -> bool {
    let written = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)) => false,
        _ => true,
    };
    event.need_rescan() || written && event.paths.iter().any(|path| is_source(path, folder))
}

fn is_source(path: &Path, folder: &Path) -> bool {
    match path.strip_prefix(folder) {
        Ok(inner) if inner.starts_with("src") => true,
        Ok(inner) if inner.components().count() == 1 => {
            inner == Path::new("Cargo.toml") || inner.extension().is_some_and(|extension| extension == "rs")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, read_to_string, remove_file, rename, write};

    use super::*;

    /// Time within which a change is reported.
    const SOON: Duration = Duration::from_secs(10);

    fn crate_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        create_dir(folder.path().join("src")).expect("a folder");
        write(folder.path().join("Cargo.toml"), "").expect("a file");
        write(folder.path().join("src/lib.rs"), "1").expect("a file");
        folder
    }

    async fn is_reported(watch: &mut Watch) -> bool {
        tokio::time::timeout(SOON, watch.changed()).await.is_ok()
    }

    async fn is_quiet(watch: &mut Watch) -> bool {
        tokio::time::timeout(QUIET * 5, watch.changed()).await.is_err()
    }

    #[tokio::test]
    async fn changes_of_sources_are_reported_once() {
        let folder = crate_folder();
        let path = |name: &str| folder.path().join(name);
        let mut watch = Watch::start(folder.path(), WatchMethod::Automatic).expect("a watch");
        assert!(is_quiet(&mut watch).await, "nothing has changed");
        // As during a build: several changes before the next call.
        for text in ["2", "3", "4"] {
            write(path("src/lib.rs"), text).expect("a file");
        }
        assert!(is_reported(&mut watch).await && is_quiet(&mut watch).await);
        // As an editor saves: a new file replaces the old one.
        write(path("src/lib.rs.tmp"), "5").expect("a file");
        rename(path("src/lib.rs.tmp"), path("src/lib.rs")).expect("a file");
        assert!(is_reported(&mut watch).await && is_quiet(&mut watch).await);
        rename(path("Cargo.toml"), path("old")).expect("moved");
        rename(path("old"), path("Cargo.toml")).expect("moved");
        assert!(is_reported(&mut watch).await && is_quiet(&mut watch).await);
        create_dir(path("src/inner")).expect("a folder");
        assert!(is_reported(&mut watch).await);
        write(path("src/inner/mod.rs"), "").expect("a file");
        assert!(is_reported(&mut watch).await);
        remove_file(path("src/inner/mod.rs")).expect("removed");
        assert!(is_reported(&mut watch).await);
    }

    #[tokio::test]
    async fn a_build_is_not_a_change() {
        let folder = crate_folder();
        let mut watch = Watch::start(folder.path(), WatchMethod::Automatic).expect("a watch");
        read_to_string(folder.path().join("src/lib.rs")).expect("a file");
        create_dir(folder.path().join("target")).expect("a folder");
        write(folder.path().join("target/lib.rs"), "").expect("a file");
        write(folder.path().join("Cargo.lock"), "").expect("a file");
        assert!(is_quiet(&mut watch).await);
    }

    #[tokio::test]
    async fn polling_finds_changes() {
        let folder = crate_folder();
        let mut watch = Watch::start(folder.path(), WatchMethod::Polling).expect("a watch");
        assert!(watch.is_polling());
        write(folder.path().join("src/lib.rs"), "2").expect("a file");
        assert!(is_reported(&mut watch).await);
    }

    #[test]
    fn a_folder_without_sources_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = |path: &Path| Watch::start(path, WatchMethod::Automatic).err().expect("an error");
        assert!(refused(folder.path()).to_string().contains("has no files to watch"));
        assert!(refused(&folder.path().join("missing")).to_string().contains("cannot be watched"));
    }
}
