//! `blockyard edit`: opens a block as TOML in an editor, and saves what comes back.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use blockyard::{Address, BlockFile, Error, ErrorKind, PinnedAddress, Yard};

use super::plan::print;
use crate::arguments::BlockArgument;
use crate::context::Context;
use crate::input::read;
use crate::outcome::{DONE, Outcome};
use crate::terminal::Failure;

/// First lines of the file.
const HELP: &str = "\
# Save this file and close the editor to save a new revision of the block.
# A secret is \"kept\", which keeps its value. To replace it with a source, write
# \"env:NAME\", \"file:PATH\" or \"block:TYPE/NAME\".
# If nothing is changed, nothing is saved.

";

pub(super) async fn run(arguments: &BlockArgument, context: &Context) -> Outcome {
    let address = &arguments.address;
    let editor = editor(context)?;
    let yard = context.open().await?;
    let newest = newest(&yard, address).await?;
    let mut exported = BlockFile::new();
    yard.export(std::slice::from_ref(address), &mut exported).await?;
    let before = format!("{HELP}{exported}");
    // The folder is private, because editors write backup files beside the file.
    let folder = private_folder().map_err(cannot_write)?;
    let path = folder.path().join(format!("{}-{}.toml", address.type_slug, address.name));
    std::fs::write(&path, &before).map_err(cannot_write)?;
    loop {
        open(&editor, &path)?;
        match save(&yard, address, newest, &path, &before, context).await {
            Ok(()) => break,
            Err(Failure::Error(error)) if context.terminal.can_ask() => {
                context.terminal.fail(&error);
                if !context.terminal.confirm("edit the file again?") {
                    return Err(keep(folder, &path, error).into());
                }
            }
            Err(Failure::Error(error)) => return Err(keep(folder, &path, error).into()),
            Err(other) => return Err(other),
        }
    }
    yard.close().await;
    Ok(DONE)
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
    path: &Path,
    before: &str,
    context: &Context,
) -> Result<(), Failure> {
    let text = read(path)?;
    if text == before {
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
    let plan = yard.plan(&file).await?;
    let changed = plan.changes_anything();
    let blocks = yard.apply(plan, &mut |_| {}).await?;
    print(&blocks, changed, context)
}

async fn newest(yard: &Yard, address: &Address) -> Result<u64, Error> {
    let pinned = PinnedAddress { address: address.clone(), revision: None };
    Ok(yard.show(&pinned).await?.newest)
}

/// Returns the command of the editor.
fn editor(context: &Context) -> Result<OsString, Error> {
    let named = ["VISUAL", "EDITOR"].iter().filter_map(std::env::var_os).find(|command| !command.is_empty());
    match named {
        Some(editor) => Ok(editor),
        None if context.terminal.can_ask() => Ok("vi".into()),
        None => Err(Error::new(ErrorKind::Usage, "no editor is set, and there is no terminal")
            .hint("set the variable `EDITOR`, or change fields by `blockyard set`")),
    }
}

/// Runs the editor and waits for it. The command may contain arguments, as in `code --wait`.
fn open(editor: &OsString, path: &Path) -> Result<(), Error> {
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
    let status = command.arg(path).status().map_err(|error| {
        Error::new(ErrorKind::NotFound, format!("the editor `{shown}` cannot be run")).because(error)
    })?;
    if status.success() {
        Ok(())
    } else {
        let message = format!("the editor `{shown}` failed with {status}; nothing was saved");
        Err(Error::new(ErrorKind::Usage, message).hint("set the variable `EDITOR` to another editor"))
    }
}

/// Retains the file, and adds its path to the error.
fn keep(folder: tempfile::TempDir, path: &Path, error: Error) -> Error {
    let _ = folder.keep();
    error.hint(format!("the edited text is in `{}`", path.display()))
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Remote, "the file to edit cannot be written").because(error)
}
