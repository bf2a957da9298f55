//! What strangers write, in every form. Each function reads bytes as one part of Blockyard does, and
//! panics where something does not hold that must hold for all of them.

use std::sync::{Arc, OnceLock};

use blockyard::model::{Manifest, OriginPattern, RequestUrl, SecretValue};
use blockyard::{BlockFile, ProjectFile, ProjectYard, Registry};
use blockyard_host::{Redactor, Sandbox, SandboxConfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A function that reads what a stranger wrote.
pub type Target = fn(&[u8]);

/// All of them, by the name of their folder in `corpus`.
pub const TARGETS: [(&str, Target); 8] = [
    ("manifest", manifest),
    ("bundle", bundle),
    ("smith", smith),
    ("origin", origin),
    ("redactor", redactor),
    ("registry", registry),
    ("project", project),
    ("blocks", blocks),
];

/// The manifest of a bundle, and the schemas in it.
///
/// # Panics
/// Where a manifest that was accepted has what it must not have.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(manifest) = Manifest::parse(text) else { return };
    assert!(!manifest.types.is_empty());
    assert!(
        manifest.name.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    );
    let documents =
        [json!({}), json!({"note": "a", "token": "b", "list": [1, 2.5, null]}), json!([[[{}]]]), Value::Null];
    for block_type in &manifest.types {
        for document in &documents {
            let _ = block_type.schema.check(document);
            let _ = block_type.schema.places(document);
            for operation in &block_type.operations {
                let _ = operation.arguments.check(document);
                let _ = operation.result.check(document);
            }
        }
    }
}

/// A component file, up to where it would be installed: it is examined, compiled, and asked.
///
/// # Panics
/// Where the compiler does.
pub fn bundle(bytes: &[u8]) {
    static SANDBOX: OnceLock<(Runtime, Sandbox)> = OnceLock::new();
    let (runtime, sandbox) = SANDBOX.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        (runtime.expect("a runtime"), Sandbox::new(&SandboxConfig::default()).expect("a sandbox"))
    });
    if let Err(error) = runtime.block_on(sandbox.load(Arc::new(bytes.to_vec()))) {
        let error = error.to_string();
        assert!(!error.contains("compiler crashed"), "the compiler crashed: {error}");
    }
}

/// Bytes of which wasm-smith makes a component: what is valid, and what nobody would write.
///
/// # Panics
/// Where the compiler does.
pub fn smith(bytes: &[u8]) {
    let config =
        wasm_smith::Config { max_imports: 8, max_exports: 8, max_components: 2, ..wasm_smith::Config::default() };
    let made = wasm_smith::Component::new(config, &mut arbitrary::Unstructured::new(bytes));
    if let Ok(component) = made {
        bundle(&component.to_bytes());
    }
}

/// A URL and a pattern of origins, a line each.
///
/// # Panics
/// Where another parser reads the URL otherwise, or a pattern matches what it does not name.
pub fn origin(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (url, pattern) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(ours) = RequestUrl::parse(url) else { return };
    let Ok(theirs) = url::Url::parse(url) else {
        assert!(url.to_ascii_lowercase().contains("xn--"), "{url} is no URL");
        return;
    };
    assert_eq!(Some(ours.origin.port), theirs.port_or_known_default());
    assert_eq!((theirs.username(), theirs.password()), ("", None));
    if let Ok(pattern) = pattern.parse::<OriginPattern>()
        && pattern.matches(&ours.origin)
        && let Some(exact) = pattern.exact()
    {
        assert_eq!(*exact, ours.origin);
    }
}

/// A secret, and a text in which it may stand.
///
/// # Panics
/// Where the secret is still there.
pub fn redactor(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (secret, text) = text.split_once('\n').unwrap_or((text, ""));
    let value = SecretValue::new(secret.to_owned());
    let redactor = Redactor::new([&value].into_iter());
    let redacted = redactor.text(text.to_owned());
    // Asterisks stand for a secret; one that is made of them, or is shorter than what is searched for, is
    // in every text.
    if secret.len() >= 4 && !secret.contains('*') {
        assert!(!redacted.contains(secret), "{redacted}");
        assert!(!redactor.text(format!("{text}{secret}{text}")).contains(secret));
        assert_eq!(redactor.text(redacted.clone()), redacted, "twice is another text");
    }
}

/// `registry.toml`.
pub fn registry(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = Registry::parse(text, std::path::PathBuf::from("/registry"));
}

/// `blockyard.toml`.
///
/// # Panics
/// Where a file that was accepted names anything but a file inside its folder or a name.
pub fn project(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(file) = ProjectFile::parse(text) {
        match file.yard {
            Some(ProjectYard::File(path)) => {
                let path = path.to_string();
                let mut components = std::path::Path::new(&path).components();
                assert!(components.all(|part| matches!(part, std::path::Component::Normal(_))), "{path}");
            }
            Some(ProjectYard::Named(name)) => assert!(!name.as_str().contains([':', '/']), "{name}"),
            None => {}
        }
    }
}

/// Blocks as a file.
///
/// # Panics
/// Where a file that was accepted has addresses that are none.
pub fn blocks(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(file) = BlockFile::parse(text) else { return };
    file.addresses().expect("it was accepted");
    let _ = file.to_json();
}
