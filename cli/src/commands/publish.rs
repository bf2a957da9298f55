//! `blockyard publish`: signs component files and adds them to a registry: a folder, or an OCI registry.

use std::io::Write as _;
use std::path::Path;

use blockyard::model::visible;
use blockyard::{Error, ErrorKind, Guard, ReleasePermissions, SigningKey, writable_by_others};
use serde_json::json;

use crate::arguments::Publish;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::remote::{Configured, Network};

/// Environment variable with the password of the signing key.
const PASSWORD: &str = "BLOCKYARD_SIGNING_PASSWORD";

pub(super) async fn run(arguments: &Publish, context: &Context) -> Outcome {
    let key = match (&arguments.signing_key, &arguments.new_signing_key) {
        (_, Some(path)) => new_key(path)?,
        (Some(path), None) => read_key(path)?,
        (None, None) => {
            return Err(Error::new(ErrorKind::Usage, "no signing key was given")
                .hint("name the file of a minisign secret key with `--signing-key` or BLOCKYARD_SIGNING_KEY")
                .hint("create a key with `--new-signing-key FILE`")
                .into());
        }
    };
    let registry = Configured::named(&arguments.registry, &context.settings()?)?;
    let access = context.remote_access(Network::Permitted);
    let folder = &arguments.registry;
    let named = folder.canonicalize().unwrap_or_else(|_| folder.clone());
    let name = named.file_name().map_or_else(|| "registry".to_owned(), |name| name.to_string_lossy().into_owned());
    let report = |permissions: &ReleasePermissions| context.terminal.note(&permission_lines(permissions));
    let mut published = Vec::new();
    for file in &arguments.files {
        let bytes = std::fs::read(file).map_err(|error| cannot_read(file, error))?;
        let name = arguments.name.as_deref().unwrap_or(&name);
        published.push(match &registry {
            Configured::Local { path, .. } => blockyard::publish(path, name, &bytes, &key, &report)?,
            Configured::Remote(remote) => blockyard::publish_remotely(remote, &bytes, &key, &access, &report).await?,
        });
    }
    context.terminal.document(&json!({ "published": published }), || {
        let lines = published.iter().map(|release| {
            let done = if release.changed { "published" } else { "already published, nothing changed:" };
            format!("{done} {} {} (sha256 {})\n", release.name, release.version, release.sha256)
        });
        lines.collect::<String>() + &format!("signed with {}\n", key.public())
    })?;
    Ok(DONE)
}

/// Formats the changed permissions of a release, as a review lists them.
fn permission_lines(permissions: &ReleasePermissions) -> String {
    let ReleasePermissions { bundle, version, compared_with, changes } = permissions;
    if changes.is_empty() {
        return format!("{bundle} {version} requests the same permissions as {compared_with}");
    }
    let lines = changes.iter().map(|change| {
        let mark = if change.needs.is_some() { "!" } else { " " };
        format!("\n{mark} {}", visible::line(&change.text))
    });
    let lines: String = lines.collect();
    let consequence = if permissions.is_wider() {
        format!("\nusers of {compared_with} must grant the new capabilities before they can upgrade")
    } else {
        String::new()
    };
    format!("permissions of {bundle} {version}, compared with {compared_with}:{lines}{consequence}")
}

fn read_key(path: &Path) -> Result<SigningKey, Error> {
    only_for_this_user(path)?;
    let text = std::fs::read_to_string(path).map_err(|error| cannot_read(path, error))?;
    let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    SigningKey::parse(&text, password).map_err(|error| {
        let error = Error::from(error);
        // The hint about the password is sufficient.
        if error.as_code().is_some() {
            return error;
        }
        Error::new(error.kind(), format!("the signing key in `{}` cannot be used", path.display()))
            .because(error)
            .hint("name the file of a minisign secret key, and set its password, if any, in BLOCKYARD_SIGNING_PASSWORD")
            .hint("create a key with `--new-signing-key FILE`")
    })
}

/// Checks that no other user can read or replace the key, with which releases can be signed.
fn only_for_this_user(path: &Path) -> Result<(), Error> {
    let refused = |reason: String| {
        Error::new(ErrorKind::Denied, format!("the signing key in `{}` is not used", path.display()))
            .because(reason)
            .hint("store the key in a file that only you can read, with mode 0600")
    };
    if let Some(reason) = writable_by_others(path, Guard::File).map_err(|error| cannot_read(path, error))? {
        return Err(refused(reason));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(path).map_err(|error| cannot_read(path, error))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(refused(format!("other users can read it (mode {:04o})", metadata.mode() & 0o7777)));
        }
    }
    Ok(())
}

/// Creates a signing key in a new file that only the user can read. An existing file is used as it
/// is.
fn new_key(path: &Path) -> Result<SigningKey, Error> {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return read_key(path),
        Err(error) => return Err(cannot_write(path, error)),
    };
    let (key, text) = SigningKey::generate()?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| cannot_write(path, error))?;
    Ok(key)
}

fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Remote };
    Error::new(kind, format!("`{}` cannot be read", path.display())).because(error)
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Remote, format!("`{}` cannot be written", path.display())).because(error)
}
