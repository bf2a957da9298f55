//! A new yard with the bundle `zoo` for each case, and short forms of the engine's calls.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use blockyard::model::{PlainDocument, Pointer, SecretValue};
use blockyard::{
    Address, Agreement, BlockFile, BundleSource, Error, KeySource, NewKey, Patch, PlannedBlock, Revision, SecretInput,
    Trust, Yard, YardConfig,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::Url;

use crate::attack;

/// Manifest of the bundle `zoo`.
const ZOO: &str = include_str!("zoo.json");

/// An open yard.
pub(crate) struct TestYard {
    pub(crate) yard: Yard,
    url: String,
    folder: TempDir,
}

/// Runs a case on a SQLite file.
pub(crate) fn on_sqlite(case: impl AsyncFnOnce(&TestYard)) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite:{}", folder.path().join("yard.db").display());
    runtime().block_on(run(folder, url, case));
}

/// Runs a case on a new schema of the PostgreSQL server. The schema is left to the end of the
/// server, which is temporary.
pub(crate) fn on_postgres(case: impl AsyncFnOnce(&TestYard)) {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let Ok(port) = std::env::var("BLOCKYARD_TEST_POSTGRES_PORT") else {
        assert!(std::env::var_os("CI").is_none(), "BLOCKYARD_TEST_POSTGRES_PORT is not set, as required in CI");
        let name = std::thread::current().name().unwrap_or("a case on PostgreSQL").to_owned();
        // Not `eprintln!`: the test harness hides what a successful test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED {name}: BLOCKYARD_TEST_POSTGRES_PORT is not set");
        return;
    };
    let schema = format!("engine_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::SeqCst));
    let mut url = Url::parse(&format!("postgres://postgres@127.0.0.1:{port}/postgres?schema={schema}")).unwrap();
    url.set_password(std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").ok().as_deref()).unwrap();
    runtime().block_on(run(TempDir::new().unwrap(), url.into(), case));
}

/// Runs a case that needs a folder only.
pub(crate) fn in_folder(case: impl AsyncFnOnce(&Path)) {
    let folder = TempDir::new().unwrap();
    // A path with symbolic links would be shown in another form.
    let path = folder.path().canonicalize().unwrap();
    runtime().block_on(case(&path));
}

async fn run(folder: TempDir, url: String, case: impl AsyncFnOnce(&TestYard)) {
    // A yard on a server can be written by other users, so its sources are permitted explicitly.
    let files = format!("file:{}/*", folder.path().canonicalize().unwrap().display());
    let config = YardConfig { sources: vec![files.parse().unwrap()], ..config(folder.path()) };
    let yard = Yard::init(&url, NewKey::File(None), config).await.unwrap();
    install_zoo(&yard).await;
    let yard = TestYard { yard, url, folder };
    case(&yard).await;
    yard.yard.close().await;
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Returns the configuration of a program whose user keeps keys and trust decisions in this folder.
pub(crate) fn config(folder: &Path) -> YardConfig {
    YardConfig {
        actor: "ada@zoo".to_owned(),
        keys: Some(folder.join("keys")),
        trust: Some(Trust::in_folder(folder.join("trust"))),
        ..YardConfig::default()
    }
}

/// Returns the manifest of the bundle `zoo`.
pub(crate) fn zoo() -> Value {
    serde_json::from_str(ZOO).unwrap()
}

/// Builds the component of a bundle. The text is WebAssembly code in the format of `attack.rs`, for
/// functions that differ from those of a harmless bundle.
pub(crate) fn component(manifest: &Value, code: &str) -> Vec<u8> {
    let manifest = manifest.to_string();
    let mut component = attack::with_manifest("zoo", code, manifest.as_bytes());
    attack::embed(&mut component, manifest.as_bytes());
    component
}

pub(crate) fn source() -> BundleSource {
    BundleSource::file(Path::new("/bundles/zoo.wasm"))
}

pub(crate) async fn install_zoo(yard: &Yard) {
    let staged = yard.stage(component(&zoo(), ""), source()).await.unwrap();
    yard.install(staged, &Agreement::Everything).await.unwrap();
}

impl TestYard {
    /// Returns a path in the folder of the yard and its user.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the folder of the yard and its user.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Opens the yard a second time, as another process does.
    pub(crate) async fn open_with(&self, key: KeySource) -> Result<Yard, Error> {
        Yard::open_with(&self.url, YardConfig { key, ..config(self.folder.path()) }).await
    }

    /// Creates a block, which must succeed.
    pub(crate) async fn create(&self, address: &str, config: Value) {
        self.try_create(address, config).await.unwrap();
    }

    pub(crate) async fn try_create(&self, address: &str, config: Value) -> Result<Revision, Error> {
        self.yard.create(&at(address), document(config)).await
    }

    /// Merges a document into a block, which must succeed. Returns the number of the new revision.
    pub(crate) async fn set(&self, address: &str, config: Value) -> Option<u64> {
        self.change(address, document(config)).await.unwrap()
    }

    pub(crate) async fn change(&self, address: &str, patch: Patch) -> Result<Option<u64>, Error> {
        Ok(self.yard.set(&at(address), patch, None).await?.map(Revision::number))
    }

    /// Returns the configuration of a block, with asterisks instead of secrets.
    pub(crate) async fn config(&self, address: &str) -> Value {
        self.yard.show(&address.parse().unwrap()).await.unwrap().config
    }

    /// Returns the number of the newest revision of a block.
    pub(crate) async fn newest(&self, address: &str) -> u64 {
        self.yard.show(&address.parse().unwrap()).await.unwrap().newest
    }

    /// Returns the plaintext of a secret.
    pub(crate) async fn reveal(&self, address: &str, field: &str) -> String {
        self.yard.reveal(&address.parse().unwrap(), field).await.unwrap().expose().to_owned()
    }

    /// Returns the references to a block, `TYPE/NAME FIELD`.
    pub(crate) async fn used_by(&self, address: &str) -> Vec<String> {
        let view = self.yard.show(&address.parse().unwrap()).await.unwrap();
        view.used_by.into_iter().map(|user| format!("{} {}", user.address, user.field)).collect()
    }

    /// Returns the addresses of all blocks.
    pub(crate) async fn addresses(&self) -> Vec<String> {
        let listed = self.yard.list(blockyard::BlockFilter::default(), None).await.unwrap();
        listed.into_iter().map(|block| block.address).collect()
    }

    /// Applies a block file, given without its first line, which must succeed.
    pub(crate) async fn apply(&self, blocks: &str) -> Vec<PlannedBlock> {
        self.try_apply(blocks).await.unwrap()
    }

    pub(crate) async fn try_apply(&self, blocks: &str) -> Result<Vec<PlannedBlock>, Error> {
        let plan = self.yard.plan(&BlockFile::parse(&file(blocks))?).await?;
        self.yard.apply(plan, &mut |_| ()).await
    }

    /// Returns the blocks of this yard as a block file.
    pub(crate) async fn export(&self) -> String {
        let mut file = BlockFile::new();
        self.yard.export(&[], &mut file).await.unwrap();
        file.to_string()
    }

    /// Checks that no file in the folder of the yard and its user contains a text.
    pub(crate) fn no_file_contains(&self, needle: &str) {
        no_file_contains(self.folder.path(), needle);
    }
}

/// Checks that no file in a folder contains a text.
pub(crate) fn no_file_contains(folder: &Path, needle: &str) {
    let mut folders = vec![folder.to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{} contains the text", path.display());
        }
    }
    assert!(files > 0, "the folder has files");
}

/// Returns a block file with these blocks.
pub(crate) fn file(blocks: &str) -> String {
    format!("version = 1\n{blocks}")
}

pub(crate) fn at(address: &str) -> Address {
    address.parse().unwrap()
}

/// Returns a reference to a block.
pub(crate) fn block(address: &str) -> Value {
    json!({ "$block": address })
}

pub(crate) fn document(config: Value) -> Patch {
    Patch { document: Some(PlainDocument(config)), ..Patch::default() }
}

/// Returns a patch that removes fields, given by their dotted paths.
pub(crate) fn unset(fields: &[&str]) -> Patch {
    Patch { unset: fields.iter().map(|field| Pointer::from_dotted(field)).collect(), ..Patch::default() }
}

/// Returns a patch that sets one field, given by its dotted path.
pub(crate) fn setting(field: &str, value: Value) -> Patch {
    Patch { set: vec![(Pointer::from_dotted(field), value)], ..Patch::default() }
}

/// Returns a patch that seals one secret.
pub(crate) fn secret(field: &str, value: &str) -> Patch {
    let input = SecretInput::Value(SecretValue::new(value.to_owned()));
    Patch { secrets: vec![(Pointer::from_dotted(field), input)], ..Patch::default() }
}

/// Returns a patch that stores the source of one secret.
pub(crate) fn sourced(field: &str, source: &str) -> Patch {
    let input = SecretInput::Source(source.parse().unwrap());
    Patch { secrets: vec![(Pointer::from_dotted(field), input)], ..Patch::default() }
}

/// Returns everything that a caller learns from an error: its kind, message, causes, hints and
/// code.
pub(crate) fn error_report(error: &Error) -> String {
    let mut error_report = format!("{}: {error}\n", error.kind().as_str());
    for cause in error.causes() {
        error_report.push_str(&format!("  caused by: {cause}\n"));
    }
    for hint in error.hints() {
        error_report.push_str(&format!("  hint: {hint}\n"));
    }
    if let Some(code) = error.as_code() {
        error_report.push_str(&format!("  code: {}", code.as_str()));
        // Sorted, because the order of an object depends on the features of `serde_json`.
        let fields = code.fields().unwrap_or_default();
        let fields: BTreeMap<&String, &Value> = fields.as_object().into_iter().flatten().collect();
        for (name, value) in fields {
            error_report.push_str(&format!(" {name}={value}"));
        }
        error_report.push('\n');
    }
    error_report
}

/// Returns what a caller learns from a result that must be an error.
pub(crate) fn rejected<T>(result: Result<T, Error>) -> String {
    error_report(&result.err().expect("an error"))
}
