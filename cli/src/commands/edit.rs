//! `blockyard edit`: opens a block as TOML in an editor, and saves what comes back.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use blockyard::{Address, BlockFile, Error, ErrorKind, PinnedAddress, RevisionOrigin, Yard};

use super::plan::print;
use crate::arguments::ChangedBlock;
use crate::context::Context;
use crate::input::read;
use crate::interrupt;
use crate::outcome::{DONE, Outcome};
use crate::terminal::{Failure, Terminal};

/// First lines of the file.
const HELP: &str = "\
# Save this file and close the editor to save a new revision of the block.
# A secret is \"kept\", which keeps its value. To replace it with a source, write
# \"env:NAME\", \"file:PATH\" or \"block:TYPE/NAME\".
# If nothing is changed, nothing is saved.

";

pub(super) async fn run(arguments: &ChangedBlock, context: &Context) -> Outcome {
    let address = &arguments.address;
    let editor = editor(context)?;
    let reason = arguments.message.reason()?;
    let yard = context.open().await?.with_reason(reason);
    let newest = newest(&yard, address).await?;
    let mut exported = BlockFile::new();
    yard.export(std::slice::from_ref(address), &mut exported).await?;
    let mut draft = Draft::create(address, format!("{HELP}{exported}"), &context.terminal)?;
    loop {
        let outcome = match open(&editor, &draft.path).await {
            Ok(()) => save(&yard, address, newest, &draft, context).await,
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(()) => break,
            Err(Failure::Error(error)) if draft.is_changed() => {
                let error = error.hint(format!("the edited text is in `{}`", draft.path.display()));
                draft.reported = true;
                if !context.terminal.can_ask() {
                    return Err(error.into());
                }
                let code = context.terminal.fail(&error);
                if !context.terminal.confirm("edit the file again?") {
                    return Ok(code);
                }
            }
            Err(other) => return Err(other),
        }
    }
    draft.saved = true;
    yard.close().await;
    Ok(DONE)
}

/// The file that the user edits. Dropping it deletes the file, unless that would lose changes that
/// are not saved.
struct Draft<'a> {
    folder: tempfile::TempDir,
    path: PathBuf,
    /// Content before the first edit.
    before: String,
    /// The changes are saved as a revision.
    saved: bool,
    /// The user knows the path of the file.
    reported: bool,
    terminal: &'a Terminal,
}

impl<'a> Draft<'a> {
    fn create(address: &Address, before: String, terminal: &'a Terminal) -> Result<Self, Error> {
        // The folder is private, because editors write backup files beside the file.
        let mut folder = private_folder().map_err(cannot_write)?;
        // A process that is ended by a signal leaves the file, too.
        folder.disable_cleanup(true);
        let path = folder.path().join(format!("{}-{}.toml", address.type_slug, address.name));
        std::fs::write(&path, &before).map_err(cannot_write)?;
        Ok(Self { folder, path, before, saved: false, reported: false, terminal })
    }

    /// Returns whether the file has changes. A file that cannot be read may have some.
    fn is_changed(&self) -> bool {
        std::fs::read(&self.path).map_or(self.path.exists(), |content| content != self.before.as_bytes())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.saved || !self.is_changed() {
            self.folder.disable_cleanup(false);
        } else if !self.reported {
            self.terminal.note(&format!("nothing was saved; the edited text is in `{}`", self.path.display()));
        }
    }
}

/// Creates a folder that only this user can access.
fn private_folder() -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("blockyard-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir()
}

/// Saves the edited file, if it is different.
async fn save(
    yard: &Yard,
    address: &Address,
    edited: u64,
    draft: &Draft<'_>,
    context: &Context,
) -> Result<(), Failure> {
    let text = read(&draft.path)?;
    if text == draft.before {
        context.terminal.note("the file was not changed; nothing was saved");
        return Ok(());
    }
    let file = BlockFile::parse(&text)?;
    if file.addresses()? != [address.clone()] {
        let message = format!("the file must contain the block `{address}` and no other");
        return Err(Error::new(ErrorKind::Invalid, message)
            .hint("create and delete blocks by `create`, `delete` and `apply`")
            .into());
    }
    let now = newest(yard, address).await?;
    if now != edited {
        let message = format!("block `{address}` was changed by another user: revision {now} is newer than {edited}");
        return Err(Error::new(ErrorKind::Conflict, message)
            .hint(format!("compare them by `blockyard diff {address}@{edited} {address}@{now}`, and edit it again"))
            .into());
    }
    let plan = yard.plan(&file).await?.with_origin(RevisionOrigin::Edit);
    let changed = plan.changes_anything();
    let blocks = yard.apply(plan, &mut |_| {}).await?;
    print(&blocks, changed, context)
}

async fn newest(yard: &Yard, address: &Address) -> Result<u64, Error> {
    let pinned = PinnedAddress { address: address.clone(), revision: None };
    Ok(yard.show(&pinned).await?.newest)
}

/// Returns the editor that an environment variable names, and the variable.
pub(super) fn configured_editor() -> Option<(OsString, &'static str)> {
    let commands =
        ["VISUAL", "EDITOR"].into_iter().filter_map(|variable| Some((std::env::var_os(variable)?, variable)));
    commands.into_iter().find(|(command, _)| !command.is_empty())
}

/// Returns the command of the editor.
fn editor(context: &Context) -> Result<OsString, Error> {
    match configured_editor() {
        Some((editor, _)) => Ok(editor),
        None if context.terminal.can_ask() => Ok("vi".into()),
        None => Err(Error::new(ErrorKind::Usage, "no editor is set, and no terminal is available")
            .hint("set the variable `EDITOR`, or change fields by `blockyard set`")),
    }
}

/// Runs the editor and waits for it. The command may contain arguments, as in `code --wait`.
async fn open(editor: &OsString, path: &Path) -> Result<(), Error> {
    let mut command = if cfg!(unix) {
        let mut script = editor.clone();
        script.push(" \"$@\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg("editor");
        command
    } else {
        Command::new(editor)
    };
    let shown = editor.to_string_lossy();
    command.arg(path);
    // Ctrl-C in the terminal is for the editor.
    let held = interrupt::hold();
    let status = tokio::task::spawn_blocking(move || command.status()).await.map_err(std::io::Error::from);
    drop(held);
    let status = status.flatten().map_err(|error| {
        Error::new(ErrorKind::NotFound, format!("the editor `{shown}` cannot be run")).because(error)
    })?;
    if status.success() {
        Ok(())
    } else {
        let message = format!("the editor `{shown}` failed with {status}; nothing was saved");
        Err(Error::new(ErrorKind::Usage, message).hint("set the variable `EDITOR` to another editor"))
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Remote, "the file to edit cannot be written").because(error)
}
