//! The JSON Schemas in `schemas/json/files` accept the files that the parsers accept.

use std::fs;
use std::path::{Path, PathBuf};

use blockyard_model::{BundleName, Digest, Schema, Violation};
use blockyard_registry::{
    LockFile, LockedBundle, LockedLocation, LockedSource, ProjectFile, Registry, UserConfiguration,
};
use toml::Value;

/// Keys that no table has. The first is also a valid name.
const UNKNOWN: [&str; 2] = ["unknown", "Unknown_Key"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Registry,
    Lock,
    Project,
    Configuration,
    /// A file without a schema.
    Other,
}

/// The TOML listings of the book, by page and in the order of the page.
const LISTINGS: [(&str, &[File]); 7] = [
    ("bundles.md", &[File::Configuration, File::Configuration, File::Configuration]),
    ("code.md", &[File::Other, File::Other]),
    ("projects.md", &[File::Project, File::Lock, File::Project]),
    ("secrets.md", &[File::Configuration]),
    ("testing-a-bundle.md", &[File::Other]),
    ("upgrades.md", &[File::Other]),
    ("yards.md", &[File::Configuration, File::Project]),
];

impl File {
    fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry.toml",
            Self::Lock => "blockyard.lock",
            Self::Project => "blockyard.toml",
            Self::Configuration => "config.toml",
            Self::Other => panic!("it has no schema"),
        }
    }

    fn schema(self) -> Schema {
        let path = root().join(format!("schemas/json/files/{}.json", self.name()));
        let text = fs::read_to_string(&path).expect("a schema");
        Schema::compile(serde_json::from_str(&text).expect("JSON")).expect("a valid schema")
    }

    fn parse(self, text: &str) -> Result<(), String> {
        match self {
            Self::Registry => {
                let registry = Registry::parse(text, PathBuf::from("/registry"))?;
                registry.broken.first().map_or(Ok(()), |broken| Err(broken.to_string()))
            }
            Self::Lock => LockFile::parse(text).map(drop).map_err(|error| error.to_string()),
            Self::Project => ProjectFile::parse(text).map(drop).map_err(|error| error.to_string()),
            Self::Configuration => {
                UserConfiguration::parse(text, Path::new("/config")).map(drop).map_err(|error| error.to_string())
            }
            Self::Other => panic!("it has no parser here"),
        }
    }

    fn violations(self, document: &Value) -> Vec<Violation> {
        self.schema().check(&serde_json::to_value(document).expect("JSON"))
    }

    /// Checks that the parser and the schema accept a file, and that they agree about each file that
    /// has an unknown key in one of its tables.
    fn check(self, text: &str) {
        self.parse(text).unwrap_or_else(|error| panic!("{self:?}: {error}\n{text}"));
        let document = Value::Table(text.parse().expect("TOML"));
        assert_eq!(self.violations(&document), [], "{self:?}: {text}");
        let mut rejected = 0;
        for changed in with_unknown_keys(&document) {
            let text = toml::to_string(&changed).expect("TOML");
            let (parsed, violations) = (self.parse(&text), self.violations(&changed));
            assert_eq!(parsed.is_err(), !violations.is_empty(), "{self:?}: {parsed:?} {violations:?}\n{text}");
            rejected += usize::from(parsed.is_err());
        }
        assert!(rejected > 0, "no unknown key was tried: {text}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns copies of a document, each with an unknown key in one of its tables. Its value is that of
/// another key, so that the new entry is valid if the keys of the table are names.
fn with_unknown_keys(document: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    match document {
        Value::Table(table) => {
            let with = |key: &str, value: Value| {
                let mut changed = table.clone();
                changed.insert(key.to_owned(), value);
                Value::Table(changed)
            };
            let value = table.values().next().cloned().unwrap_or_else(|| Value::from("1"));
            found.extend(UNKNOWN.iter().map(|key| with(key, value.clone())));
            for (key, member) in table {
                found.extend(with_unknown_keys(member).into_iter().map(|changed| with(key, changed)));
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                for changed in with_unknown_keys(element) {
                    let mut elements = elements.clone();
                    elements[index] = changed;
                    found.push(Value::Array(elements));
                }
            }
        }
        _ => {}
    }
    found
}

/// Returns the TOML listings of a page.
fn listings(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("```toml\n") {
        let (listing, after) = after.split_once("```").expect("the end of the listing");
        found.push(listing.to_owned());
        rest = after;
    }
    found
}

#[test]
fn registry_of_this_repository_is_valid() {
    File::Registry.check(&fs::read_to_string(root().join("registry.toml")).expect("a file"));
}

#[test]
fn signed_registry_is_valid() {
    let text = format!(
        "version = 1\nname = \"zoos\"\nkey = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n\
         [[bundle]]\nname = \"zoo\"\n[[bundle.release]]\nversion = \"1.0.0-beta.1\"\nwit = \"0.1\"\n\
         source = {{ url = \"zoo.wasm\" }}\nsha256 = \"{}\"\nsignature = \"…\"\nyanked = true\n",
        "a".repeat(64)
    );
    File::Registry.check(&text);
}

#[test]
fn written_lock_file_is_valid() {
    let source = |location| LockedSource::new("acme", location);
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let mut lock = LockFile::default();
    for (name, source, signer) in [
        ("zoo", source(Some(LockedLocation::Folder(None))), None),
        ("ark", source(LockedLocation::url("oci://acme.example/bundles")), Some(key)),
        ("sec", source(None), None),
    ] {
        let locked = LockedBundle {
            version: "1.2.3-beta.1".parse().expect("a version"),
            source,
            sha256: Digest::of(name.as_bytes()),
            signer: signer.map(|key| key.parse().expect("a key")),
            wit: "0.1".to_owned(),
            capabilities: ["log".parse().expect("a capability")].into(),
        };
        lock.insert(BundleName::new(name).expect("a name"), locked);
    }
    File::Lock.check(&lock.to_string());
}

#[test]
fn configurations_in_all_forms_are_valid() {
    File::Configuration.check(
        "[yards.prod]\nurl = \"postgres://u@h/d\"\n[sources]\nallow = [\"env:A_*\"]\n[registries]\n\
         near = { url = \"near\", unsigned = true }\nfar = { url = \"https://a.example\", ca = \"a.pem\" }\n",
    );
    File::Project.check("yard = \"prod\"\n[registries]\nours = { url = \"registry\" }\n[bundles]\nzoo = \"^1\"\n");
}

#[test]
fn listings_of_the_book_are_valid() {
    let mut pages: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    pages.sort();
    for page in pages {
        let name = page.file_name().expect("a name").to_string_lossy();
        let listings = listings(&fs::read_to_string(&page).expect("a page"));
        let files = LISTINGS.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, files)| *files);
        assert_eq!(listings.len(), files.len(), "the TOML listings of {name} in `LISTINGS`");
        for (listing, file) in listings.iter().zip(files).filter(|(_, file)| **file != File::Other) {
            file.check(listing);
        }
    }
}

#[test]
fn invalid_files_are_rejected_by_schema_and_parser() {
    let release = |more: &str| {
        format!("version = 1\n[[bundle]]\nname = \"a\"\n[[bundle.release]]\nversion = \"1.0.0\"\nwit = \"0.1\"\n{more}")
    };
    for (file, text) in [
        (File::Registry, "name = \"x\"".to_owned()),
        (File::Registry, "version = 2".to_owned()),
        (File::Registry, "version = 1\nunsigned = 1".to_owned()),
        (File::Registry, "version = 1\nunsigned = true\nkey = \"x\"".to_owned()),
        (File::Registry, release("")),
        (File::Registry, release("source = {}")),
        (File::Registry, release("source = { url = \"a.wasm\" }")),
        (File::Registry, release("source = { url = \"a.wasm\", path = \"a\" }")),
        (File::Registry, "version = 1\n[[bundle]]\nname = \"A\"".to_owned()),
        (File::Lock, "version = 1\n[[bundle]]\nname = \"a\"".to_owned()),
        (File::Project, "yard = \"sqlite:/etc/yard.db\"".to_owned()),
        (File::Project, "yard = \"postgres://h/d\"".to_owned()),
        (File::Project, "bundles.sql = 1".to_owned()),
        (File::Project, "registries.a = { url = \"a\", unsigned = true }".to_owned()),
        (File::Configuration, "yards.prod = \"x\"".to_owned()),
        (File::Configuration, "yards.Prod.url = \"sqlite:/x\"".to_owned()),
        (File::Configuration, "sources.allow = [\"file:secrets/*\"]".to_owned()),
        (File::Configuration, "registries.a = {}".to_owned()),
        (
            File::Configuration,
            "registries.a = { url = \"oci://a.example/b\", token-service = \"a.example\" }".to_owned(),
        ),
        (File::Project, "registries.a = { url = \"oci://a/b\", token-service = \"https://a\" }".to_owned()),
    ] {
        let document = Value::Table(text.parse().expect("TOML"));
        assert!(file.parse(&text).is_err(), "{text}");
        assert_ne!(file.violations(&document), [], "{text}");
    }
}
