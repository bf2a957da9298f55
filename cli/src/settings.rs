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
use blockyard::{Error, ErrorKind};
use toml::Table;

/// The project file.
const PROJECT: &str = "blockyard.toml";

/// The yard that the nearest project file names, from the current folder upwards.
pub(crate) fn project_yard() -> Result<Option<String>, Error> {
    let Ok(here) = std::env::current_dir() else { return Ok(None) };
    let Some(path) = here.ancestors().map(|folder| folder.join(PROJECT)).find(|path| path.is_file()) else {
        return Ok(None);
    };
    match read(&path)?.get("yard") {
        None => Ok(None),
        Some(yard) => match yard.as_str() {
            Some(yard) => Ok(Some(yard.to_owned())),
            None => Err(Error::new(ErrorKind::Invalid, format!("`yard` in `{}` is not a text", path.display()))),
        },
    }
}

/// The address of a yard that the user's configuration names.
pub(crate) fn named_yard(name: &str, configuration: &Path) -> Result<String, Error> {
    let path = configuration.join("blockyard").join("config.toml");
    let table = if path.is_file() { read(&path)? } else { Table::new() };
    let yards = table.get("yards").and_then(toml::Value::as_table);
    let url = yards.and_then(|yards| yards.get(name)).and_then(|yard| yard.get("url")).and_then(toml::Value::as_str);
    url.map(str::to_owned).ok_or_else(|| {
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
    let wrong =
        |error: String| Error::new(ErrorKind::Invalid, format!("`{}` cannot be read", path.display())).because(error);
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    // The library shows the line, which may have a password in it.
    text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(format!("line {line}: {}", error.message()))
    })
}
