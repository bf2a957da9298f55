//! Checks of the repository's texts and manifests: banned phrases, links between pages, unused
//! dependencies.

use std::path::{Path, PathBuf};

use blockyard_tests::root;

use crate::architecture::crates;

/// Banned phrases, each with its replacement.
const PHRASES: [(&str, &str); 18] = [
    ("is not to be had", "is not available"),
    ("to be had", "available"),
    ("have it back", "restore"),
    ("whoever", "the caller, the user, a program"),
    ("somebody", "a user"),
    ("nobody", "no one, or the passive voice"),
    ("none where", "`None` if"),
    ("none on", "`None` on"),
    ("says whether", "reports, returns, checks whether"),
    ("is told", "is reported, receives"),
    ("in words", "as text"),
    ("of its own words", "its text"),
    ("anew", "again, or the prefix re-"),
    ("so many bytes", "maximum number of bytes"),
    ("at most so many", "maximum number of"),
    ("how often", "number of"),
    ("where it stands", "where it is"),
    ("what is no ", "what is not a"),
];

/// Folders whose text is read by users, bundle authors and developers.
const FOLDERS: [&str; 9] = ["core", "build", "cli", "sdk", "plugins", "schemas", "xtask", "examples", "docs"];

fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// Returns the pages at the root of the repository and in the book.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    files(&root().join("docs"), &[".md"], &mut pages);
    let top = std::fs::read_dir(root()).expect("the repository").flatten().map(|entry| entry.path());
    pages.extend(top.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    pages
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of a line of code: its comment, or its string literals of four words or more.
fn prose(line: &str) -> String {
    if line.trim_start().starts_with("//") {
        return line.to_owned();
    }
    let literals = line.split('"').skip(1).step_by(2);
    literals.filter(|literal| literal.split_whitespace().count() >= 4).collect::<Vec<_>>().join(" ")
}

#[test]
fn texts_contain_no_banned_phrase() {
    let mut texts = pages();
    for folder in FOLDERS {
        files(&root().join(folder), &[".rs", ".wit", ".json"], &mut texts);
    }
    let mut found = Vec::new();
    for path in texts {
        for (number, line) in read(&path).lines().enumerate() {
            let is_code = path.extension().is_some_and(|ending| ending == "rs");
            let line = if is_code { prose(line) } else { line.to_owned() }.to_lowercase();
            for (phrase, instead) in PHRASES {
                let is_word = |(at, _): (usize, &str)| {
                    let before = line[..at].chars().next_back();
                    let after = line[at + phrase.len()..].chars().next();
                    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                    !is_letter(before) && (phrase.ends_with(' ') || !is_letter(after))
                };
                if line.match_indices(phrase).any(is_word) {
                    let path = path.strip_prefix(root()).expect("in the repository").display().to_string();
                    found.push(format!("{path}:{}: `{phrase}`; write {instead}", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Returns the anchor of a heading, as code hosts generate it: lower case, hyphens for spaces,
/// without punctuation.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
}

#[test]
fn links_between_pages_resolve() {
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) =
                target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
            let path = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            assert!(path.exists(), "{}: `{target}` does not exist", page.display());
            if let Some(heading) = heading {
                let known =
                    read(&path).lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
                assert!(known, "{}: `{target}` names no heading", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "only {checked} links were found");
}

#[test]
fn book_lists_each_page() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let mut pages = Vec::new();
    files(&docs, &[".md"], &mut pages);
    for page in pages {
        let page = page.strip_prefix(&docs).expect("a page of the book").display().to_string();
        let listed = summary.matches(&format!("]({page})")).count();
        assert!(page == "SUMMARY.md" || listed == 1, "docs/SUMMARY.md lists {page} {listed} times");
    }
}

#[test]
fn map_of_the_code_names_each_crate() {
    let map = read(&root().join("ARCHITECTURE.md"));
    for package in crates() {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok()).expect("in the repository");
        let name = folder.file_name().expect("a name").to_string_lossy();
        let named = map.contains(&folder.display().to_string()) || map.contains(&format!("`{name}`"));
        assert!(named, "ARCHITECTURE.md does not name {}", folder.display());
    }
}

/// Dependencies that are required although no source uses them: crate, dependency, reason.
const UNNAMED: [(&str, &str); 9] = [
    // tests/src/attack.rs is included by its path.
    ("blockyard", "wat"),
    ("blockyard", "wit-component"),
    ("blockyard", "wit-parser"),
    ("blockyard-host", "wat"),
    ("blockyard-host", "wit-component"),
    ("blockyard-host", "wit-parser"),
    ("blockyard-fuzz", "wat"),
    ("blockyard-fuzz", "wit-component"),
    ("blockyard-fuzz", "wit-parser"),
];

#[test]
fn every_dependency_is_used() {
    let mut unused = Vec::new();
    for package in crates() {
        let name = package["name"].as_str().expect("a name");
        let folder = Path::new(package["manifest_path"].as_str().expect("a path")).parent().expect("a folder");
        let mut sources = Vec::new();
        files(folder, &[".rs"], &mut sources);
        let sources: String = sources.iter().map(|path| read(path)).collect();
        let targets = package["targets"].as_array().expect("targets");
        let has_build_script = targets.iter().any(|target| target["kind"][0] == "custom-build");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            // Without a build script, they only select features of crates that macros use.
            if dependency["kind"] == "build" && !has_build_script {
                continue;
            }
            let dependency = dependency["rename"].as_str().or(dependency["name"].as_str()).expect("a name");
            let identifier = dependency.replace('-', "_");
            let is_named = sources.match_indices(&identifier).any(|(at, _)| {
                let rest = &sources[at + identifier.len()..];
                let before = sources[..at].chars().next_back().unwrap_or(' ');
                !(before.is_alphanumeric() || before == '_')
                    && rest.starts_with(|c: char| !c.is_alphanumeric() && c != '_')
            });
            if !is_named && !UNNAMED.contains(&(name, dependency)) {
                unused.push(format!("`{name}` depends on `{dependency}` and does not use it"));
            }
        }
    }
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}
