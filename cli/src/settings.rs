//! Files that say which yard is meant: the project file and the user's configuration.
//!
//! ```toml
//! # blockyard.toml, in the current folder or above it
//! yard = "prod"
//!
//! # config.toml, in the folder `blockyard` of the platform's configuration folder
//! [yards.prod]
//! url = "postgres://loader@db.example.com/blockyard"
//! ```

use std::path::Path;

use blockyard::model::suggestion::did_you_mean;
use blockyard::{BlockName, Error, ErrorKind, ProjectError, ProjectFile};
use toml::Table;

/// The yard that the nearest project file names, from the current folder upwards.
pub(crate) fn project_yard() -> Result<Option<String>, Error> {
    let Ok(here) = std::env::current_dir() else { return Ok(None) };
    let found = here.ancestors().map(|folder| folder.join(ProjectFile::NAME)).find(|path| path.is_file());
    let Some(path) = found else { return Ok(None) };
    let project = ProjectFile::parse(&text(&path)?).map_err(|error| {
        let wrong = Error::new(ErrorKind::Invalid, format!("`{}`: {error}", path.display()));
        match error {
            ProjectError::Unknown { hint, .. } => wrong.maybe_hint(hint),
            ProjectError::NamesAServer => wrong.hint(
                "give it a name in the user's configuration, `[yards.NAME]` with a `url`, and write the name here",
            ),
            ProjectError::Syntax { .. } | ProjectError::NotAText => wrong,
        }
    })?;
    // A path is that of the file, wherever the command runs.
    Ok(project.yard.map(|yard| match (yard.strip_prefix("sqlite:"), path.parent()) {
        (Some(file), Some(folder)) => format!("sqlite:{}", folder.join(file).display()),
        _ => yard,
    }))
}

/// The address of a yard that the user's configuration names.
pub(crate) fn named_yard(name: &str, configuration: &Path) -> Result<String, Error> {
    let path = configuration.join("blockyard").join("config.toml");
    let table = if path.is_file() { read(&path)? } else { Table::new() };
    let yards = table.get("yards").and_then(toml::Value::as_table);
    let url = yards.and_then(|yards| yards.get(name)).and_then(|yard| yard.get("url")).and_then(toml::Value::as_str);
    url.map(str::to_owned).ok_or_else(|| {
        if yards.is_some_and(|yards| yards.contains_key(name)) {
            return Error::new(ErrorKind::Invalid, format!("`[yards.{name}]` in `{}` has no `url`", path.display()));
        }
        // What is no name may be an address gone wrong, with a password in it.
        let name = if BlockName::new(name).is_ok() { name } else { "…" };
        let known = yards.into_iter().flat_map(|yards| yards.keys()).map(String::as_str);
        Error::new(ErrorKind::Usage, format!("`{name}` is neither the address of a yard nor the name of one"))
            .maybe_hint(did_you_mean(name, known))
            .hint(format!(
                "an address is `sqlite:PATH` or `postgres://USER@HOST/DATABASE`; a name has a table `[yards.{name}]` with a `url` in `{}`",
                path.display()
            ))
    })
}

fn read(path: &Path) -> Result<Table, Error> {
    let text = text(path)?;
    // The library shows the line, which may have a password in it.
    text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        cannot_be_read(path, &format!("line {line}: {}", error.message()))
    })
}

fn text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| cannot_be_read(path, &error.to_string()))
}

fn cannot_be_read(path: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("`{}` cannot be read", path.display())).because(reason)
}
