//! Explains a module with foreign imports: names the crate that brings each import, and the action.

use std::path::Path;

use blockyard::{Code, Error};
use blockyard_toolchain::{ImportingCrate, TARGET, importing_crates};

/// Maximum number of imports that an error explains. Further ones have the same cause.
const EXPLAINED: usize = 8;

/// Adds the crates that brought the foreign imports of a module to the error that names the imports. Other errors
/// are returned unchanged.
pub(crate) fn explained(error: Error, folder: &Path) -> Error {
    let Some(Code::ForeignImports { imports }) = error.as_code() else { return error };
    let imports = &imports[..imports.len().min(EXPLAINED)];
    let found = importing_crates(folder, imports);
    let hints = hints(&found);
    let causes: Vec<String> = found.iter().map(cause).collect();
    let error = hints.into_iter().fold(error, Error::hint);
    if causes.is_empty() { error } else { error.because(causes.join("; ")) }
}

fn cause(found: &ImportingCrate) -> String {
    let ImportingCrate { import, path } = found;
    match path.as_slice() {
        [] | [_] => format!("`{import}` is declared in the crate itself"),
        [_, last] => {
            format!("`{import}` is declared by the crate `{last}`, a dependency")
        }
        [_, between @ .., last] => {
            let users: Vec<&str> = between.iter().rev().map(String::as_str).collect();
            format!("`{import}` is declared by the crate `{last}`, a dependency of `{}`", users.join("`, of `"))
        }
    }
}

/// Returns one hint for each direct dependency that leads to an import.
fn hints(found: &[ImportingCrate]) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for ImportingCrate { path, .. } in found {
        let hint = match path.as_slice() {
            [] | [_] => "remove the `extern` block from the crate; use the capabilities of the SDK instead".to_owned(),
            [_, direct, ..] => {
                let direct = direct.split(' ').next().unwrap_or_default();
                let last = path.last().and_then(|last| last.split(' ').next()).unwrap_or_default();
                format!(
                    "remove `{direct}` from the dependencies, or disable its features that require `{last}`, e.g. with \
                     `default-features = false`; `cargo tree --target {TARGET} --invert {last}` lists them"
                )
            }
        };
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &[&str]) -> ImportingCrate {
        ImportingCrate { import: "env now".to_owned(), path: path.iter().map(|&name| name.to_owned()).collect() }
    }

    #[test]
    fn the_dependency_to_change_is_named() {
        let path = found(&["acme 0.1.0", "chrono 0.4.1", "iana 0.1.0", "wasm-bindgen 0.2.9"]);
        assert_eq!(
            cause(&path),
            "`env now` is declared by the crate `wasm-bindgen 0.2.9`, a dependency of `iana 0.1.0`, of `chrono 0.4.1`"
        );
        assert_eq!(cause(&found(&["acme 0.1.0"])), "`env now` is declared in the crate itself");
        assert_eq!(
            cause(&found(&["acme 0.1.0", "wasi 0.11.0"])),
            "`env now` is declared by the crate `wasi 0.11.0`, a dependency"
        );
        let hints = hints(&[path.clone(), path]);
        assert_eq!(hints.len(), 1);
        assert!(hints[0].starts_with("remove `chrono` from the dependencies"), "{hints:?}");
    }
}
