//! `blockyard cp`: copies objects to, from and between object storages. Bytes are streamed. A file
//! is renamed to its final name only when it is complete and has been verified against the object's
//! metadata.

mod names;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use blockyard::{ByteStream, Error, ErrorKind, Input, ObjectStorage, PutOptions, Yard};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::json;

use super::objects::{Endpoint, Stored, size};
use crate::arguments::Cp;
use crate::context::Context;
use crate::folder::Folder;
use crate::input;
use crate::outcome::{DONE, Outcome};
use crate::output::{self, Destination};
use crate::progress::Progress;
use crate::terminal::Failure;

use names::{BadName, Target};

/// Totals of the copied objects.
#[derive(Debug, Default, Clone, Copy)]
struct Copied {
    objects: u64,
    bytes: u64,
}

/// State of one `cp` command.
struct Copying<'a> {
    arguments: &'a Cp,
    progress: Progress,
    copied: Copied,
    /// Objects that were skipped because their names are not valid file names.
    left_out: Vec<BadName>,
}

pub(super) async fn run(arguments: &Cp, context: &Context) -> Outcome {
    let (from, to) = (Endpoint::parse(&arguments.from), Endpoint::parse(&arguments.to));
    if let (Endpoint::Local(_), Endpoint::Local(_)) = (&from, &to) {
        return Err(Error::new(ErrorKind::Usage, "neither the source nor the destination is an object path")
            .hint("specify one of them as `TYPE/NAME:PATH`, such as `gcs-bucket/zoo:data/flights.csv`")
            .into());
    }
    let to_stdout = matches!(&to, Endpoint::Local(path) if is_standard(path));
    let yard = context.open().await?;
    let mut copying =
        Copying { arguments, progress: context.progress(), copied: Copied::default(), left_out: Vec::new() };
    match (&from, &to) {
        (Endpoint::Local(from), Endpoint::Stored(to)) => copying.upload(from, to, &yard).await?,
        (Endpoint::Stored(from), Endpoint::Local(to)) => copying.download(from, to, &yard).await?,
        (Endpoint::Stored(from), Endpoint::Stored(to)) => copying.copy_between(from, to, &yard).await?,
        (Endpoint::Local(_), Endpoint::Local(_)) => {}
    }
    let Copying { progress, copied: Copied { objects, bytes }, left_out, .. } = copying;
    drop(progress);
    let summary = || format!("{objects} object{} copied, {}", if objects == 1 { "" } else { "s" }, size(bytes));
    if to_stdout {
        context.terminal.note(&summary());
    } else {
        context.terminal.document(&json!({ "objects": objects, "bytes": bytes }), summary)?;
    }
    yard.close().await;
    match &from {
        Endpoint::Stored(from) if !left_out.is_empty() => {
            Err(names::refused(&left_out, &from.address.to_string(), "the others were copied").into())
        }
        _ => Ok(DONE),
    }
}

impl Copying<'_> {
    /// Uploads a file or folder.
    async fn upload(&mut self, from: &Path, to: &Stored, yard: &Yard) -> Result<(), Failure> {
        let storage = to.open(yard).await?;
        if !from.is_dir() {
            let name = from.file_name().and_then(|name| name.to_str()).filter(|_| !is_standard(from));
            return self.put(from, &storage, &target(&to.path, name)?).await;
        }
        if !self.arguments.recursive {
            return Err(folder(&from.display().to_string()).into());
        }
        let base = to.path.trim_end_matches('/');
        // All names are collected first, so that an invalid name stops the copy before anything is
        // stored.
        for (file, below) in self.files(from)? {
            let path = if base.is_empty() { below } else { format!("{base}/{below}") };
            self.put(&file, &storage, &path).await?;
        }
        Ok(())
    }

    /// Returns the files below a folder with their object paths. Two files never have the same
    /// object path.
    fn files(&self, folder: &Path) -> Result<Vec<(PathBuf, String)>, Failure> {
        let mut files = Vec::new();
        let mut taken: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut waiting = vec![folder.to_owned()];
        while let Some(subfolder) = waiting.pop() {
            let cannot = |error| {
                Error::new(ErrorKind::Remote, format!("`{}` cannot be read", subfolder.display())).because(error)
            };
            let mut entries: Vec<PathBuf> = std::fs::read_dir(&subfolder)
                .map_err(cannot)?
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<_, _>>()
                .map_err(cannot)?;
            entries.sort();
            for entry in entries {
                let kind = std::fs::symlink_metadata(&entry).map_err(cannot)?.file_type();
                if kind.is_dir() {
                    waiting.push(entry);
                } else if kind.is_file() {
                    let below = slashed(entry.strip_prefix(folder).unwrap_or(&entry))?;
                    if let Some(other) = taken.insert(below.clone(), entry.clone()) {
                        let message =
                            format!("`{}` and `{}` both map to the object `{below}`", other.display(), entry.display());
                        return Err(Error::new(ErrorKind::Conflict, message).into());
                    }
                    files.push((entry, below));
                } else {
                    // A link may lead outside of the folder, and a pipe may never end.
                    self.progress.report(&format!("skipped `{}`, which is not a regular file", entry.display()));
                }
            }
        }
        Ok(files)
    }

    /// Downloads an object, or with `-r` all objects below a path.
    async fn download(&mut self, from: &Stored, to: &Path, yard: &Yard) -> Result<(), Failure> {
        let storage = from.open(yard).await?;
        if self.arguments.recursive {
            return self.download_all(from, &storage, to).await;
        }
        let into = to.is_dir() || to.as_os_str().to_string_lossy().ends_with('/');
        if !into || is_standard(to) {
            return self.get(&storage, &from.path, to).await;
        }
        // The storage determines the file name, so it is validated like the names of a recursive
        // copy.
        let name = from.path.rsplit('/').next().unwrap_or_default();
        let parts = names::parts(name).map_err(|reason| {
            Error::new(ErrorKind::Invalid, format!("cannot save object `{}` as a file: its name {reason}", from.path))
                .hint("specify a file name as the destination")
        })?;
        self.get_into(&storage, &mut Folder::open(to)?, &Target { object: from.path.clone(), parts }, to).await
    }

    /// Downloads all objects below a path. All names are validated before the first file is
    /// written.
    async fn download_all(&mut self, from: &Stored, storage: &ObjectStorage, to: &Path) -> Result<(), Failure> {
        let beginning = folder_prefix(&from.path);
        let (mut targets, mut bad) = names::targets(self.objects(storage, &beginning).await?, &beginning);
        names::leave_out_collisions(&mut targets, &mut bad, to)?;
        if !bad.is_empty() && !self.arguments.skip_bad_names {
            return Err(names::refused(&bad, &from.address.to_string(), "nothing was copied").into());
        }
        self.left_out = bad;
        if targets.is_empty() && self.left_out.is_empty() {
            return self.no_objects(from);
        }
        // Conflicts with existing entries are also detected before anything is written.
        if to.exists() {
            let folder = Folder::open(to)?;
            targets.iter().try_for_each(|target| folder.check(&target.parts))?;
        }
        let mut folder = Folder::open(to)?;
        for target in &targets {
            self.get_into(storage, &mut folder, target, to).await?;
        }
        Ok(())
    }

    /// Returns the paths and sizes of all objects that begin with a prefix.
    async fn objects(&self, storage: &ObjectStorage, beginning: &str) -> Result<Vec<(String, u64)>, Error> {
        let mut objects = Vec::new();
        let mut pages = storage.pages(beginning, None);
        while let Some(page) = pages.next().await? {
            objects.extend(page.objects.into_iter().map(|object| (object.path, object.size)));
            self.progress.count(|| format!("{} objects", objects.len()));
        }
        Ok(objects)
    }

    /// Copies between two storages, or within one.
    async fn copy_between(&mut self, from: &Stored, to: &Stored, yard: &Yard) -> Result<(), Failure> {
        let (source, target_storage) = (from.open(yard).await?, to.open(yard).await?);
        let same = from.address == to.address;
        if !self.arguments.recursive {
            let name = from.path.rsplit('/').next();
            return self.move_over(&source, &target_storage, &from.path, &target(&to.path, name)?, same).await;
        }
        let beginning = folder_prefix(&from.path);
        let base = to.path.trim_end_matches('/');
        // All paths are listed first: copies into the same storage would appear in the listing.
        let objects = self.objects(&source, &beginning).await?;
        for (path, _) in objects {
            let name = path.strip_prefix(&beginning).unwrap_or(&path);
            let copy = if base.is_empty() { name.to_owned() } else { format!("{base}/{name}") };
            self.move_over(&source, &target_storage, &path, &copy, same).await?;
        }
        self.no_objects(from)
    }

    fn no_objects(&self, from: &Stored) -> Result<(), Failure> {
        if self.copied.objects == 0 {
            return Err(Error::new(ErrorKind::NotFound, format!("no objects below `{from}`")).into());
        }
        Ok(())
    }

    async fn put(&mut self, from: &Path, storage: &ObjectStorage, path: &str) -> Result<(), Failure> {
        let Input { media_type, size, stream } = input::stream(from).await?;
        let input = Input { media_type, size, stream: self.counted(stream, path) };
        let object = storage.put(path, input, &self.options(None)).await?;
        self.count(object.size);
        Ok(())
    }

    /// Downloads an object to a file, a device or standard output at a path given by the user.
    async fn get(&mut self, storage: &ObjectStorage, path: &str, to: &Path) -> Result<(), Failure> {
        if !is_standard(to) {
            self.need_absent(to)?;
        }
        let (_, stream) = storage.get(path).await?;
        let mut destination = Destination::new(Some(to))?;
        let bytes = output::copy(self.counted(stream, path), &mut destination).await?;
        destination.finish()?;
        self.count(bytes);
        Ok(())
    }

    /// Downloads an object to a file below a folder, at a path determined by the storage.
    async fn get_into(
        &mut self,
        storage: &ObjectStorage,
        folder: &mut Folder,
        target: &Target,
        shown: &Path,
    ) -> Result<(), Failure> {
        self.need_absent(&target.parts.iter().fold(shown.to_owned(), |path, part| path.join(part)))?;
        folder.check(&target.parts)?;
        let (_, stream) = storage.get(&target.object).await?;
        let mut file = folder.create(&target.parts)?;
        let mut stream = self.counted(stream, &target.object);
        let mut bytes = 0;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(Error::from)?;
            bytes += chunk.len() as u64;
            file.write_all(&chunk)?;
        }
        folder.persist(file, &target.object)?;
        self.count(bytes);
        Ok(())
    }

    /// With `--if-absent`, returns an error if the file exists.
    fn need_absent(&self, file: &Path) -> Result<(), Error> {
        if self.arguments.if_absent && std::fs::symlink_metadata(file).is_ok() {
            return Err(Error::new(ErrorKind::Conflict, format!("`{}` already exists", file.display())));
        }
        Ok(())
    }

    async fn move_over(
        &mut self,
        source: &ObjectStorage,
        storage: &ObjectStorage,
        from: &str,
        to: &str,
        same: bool,
    ) -> Result<(), Failure> {
        // A server-side copy does not support `--if-absent`.
        let object = if same && !self.arguments.if_absent {
            self.progress.count(|| from.to_owned());
            source.copy(from, to).await?
        } else {
            let (object, stream) = source.get(from).await?;
            let media_type = object.content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
            let options = self.options(Some(&media_type));
            // The size of a decoded object is unknown.
            let size = (!object.decoded).then_some(object.size);
            let input = Input { media_type, size, stream: self.counted(stream, from) };
            storage.put(to, input, &options).await?
        };
        self.count(object.size);
        Ok(())
    }

    fn options(&self, media_type: Option<&str>) -> PutOptions {
        PutOptions {
            content_type: self.arguments.content_type.clone().or_else(|| media_type.map(str::to_owned)),
            if_absent: self.arguments.if_absent,
        }
    }

    fn count(&mut self, bytes: u64) {
        self.copied.objects += 1;
        self.copied.bytes += bytes;
    }

    /// Wraps a stream to update the progress display.
    fn counted(&self, stream: ByteStream, name: &str) -> ByteStream {
        let (bar, name) = (self.progress.clone(), name.to_owned());
        let mut bytes = 0;
        stream
            .inspect(move |chunk| {
                bytes += chunk.as_ref().map_or(0, Bytes::len) as u64;
                bar.count(|| format!("{name} {}", size(bytes)));
            })
            .boxed()
    }
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Returns the destination path of one object. A path that is empty or ends with a slash is a
/// folder, to which the name is appended.
fn target(path: &str, name: Option<&str>) -> Result<String, Error> {
    if !path.is_empty() && !path.ends_with('/') {
        return Ok(path.to_owned());
    }
    let name = name.filter(|name| !name.is_empty());
    name.map(|name| format!("{path}{name}")).ok_or_else(|| {
        Error::new(ErrorKind::Usage, "the destination object has no name")
            .hint("specify the full object path as the destination")
    })
}

/// Returns the prefix of all paths below a folder.
fn folder_prefix(path: &str) -> String {
    let path = path.trim_end_matches('/');
    if path.is_empty() { String::new() } else { format!("{path}/") }
}

fn folder(name: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("`{name}` is a folder")).hint("use `-r` to copy its content")
}

/// Converts a relative file path to an object path.
fn slashed(path: &Path) -> Result<String, Error> {
    let parts: Option<Vec<&str>> = path.components().map(|part| part.as_os_str().to_str()).collect();
    parts
        .map(|parts| parts.join("/"))
        .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("the name of `{}` is not valid UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_into_a_folder_keeps_the_file_name() {
        assert_eq!(target("a/b", Some("x")).expect("a path"), "a/b");
        assert_eq!(target("a/", Some("x")).expect("a path"), "a/x");
        assert_eq!(target("", Some("x")).expect("a path"), "x");
        assert!(target("a/", None).is_err());
        assert_eq!(
            (folder_prefix("a"), folder_prefix("a/"), folder_prefix("")),
            ("a/".to_owned(), "a/".to_owned(), String::new())
        );
    }
}
