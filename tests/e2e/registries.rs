//! Installing from registries: signatures, pinned keys, digests, and registries that lie.

use std::fs;
use std::path::PathBuf;

use blockyard_tests::{TestYard, on_both};
use serde_json::json;

use crate::install::sec;

on_both!(
    signed_bundle_is_installed_by_name,
    changed_key_is_rejected_until_accepted,
    signed_registry_must_remain_signed,
    key_is_pinned_for_installed_bytes,
    signing_key_of_other_users_is_rejected,
    unsigned_registry_requires_permission,
    changed_bytes_and_moved_signatures_are_rejected,
    inconsistent_registry_is_rejected,
);

/// Publishes a version of the bundle `sec` in the registry folder `registry`, signed with the key in
/// the file `key`. Returns the folder.
pub(crate) fn publish(yard: &TestYard, version: &str, registry: &str, key: &str) -> String {
    let property = json!({"url": {"type": "string"}});
    let file = sec(yard, version, &["log"], &property, &[]);
    let (folder, key) = (text(yard.path(registry)), text(yard.path(key)));
    yard.ok(&["publish", &file, "--registry", &folder, "--name", "acme", "--new-signing-key", &key]);
    folder
}

pub(crate) fn text(path: PathBuf) -> String {
    path.display().to_string()
}

/// Returns the public key of a registry.
pub(crate) fn key_of(registry: &str) -> String {
    let index: toml::Table = index(registry).parse().expect("TOML");
    index["key"].as_str().expect("a key").to_owned()
}

pub(crate) fn index(registry: &str) -> String {
    fs::read_to_string(format!("{registry}/registry.toml")).expect("an index")
}

pub(crate) fn change_index(registry: &str, from: &str, to: &str) {
    let text = index(registry);
    assert!(text.contains(from), "{from}: {text}");
    fs::write(format!("{registry}/registry.toml"), text.replace(from, to)).expect("a file");
}

pub(crate) fn installed(yard: &TestYard) -> Vec<(String, String)> {
    let bundles = yard.json(&["bundles"]);
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let of_sec = bundles["bundles"].as_array().expect("bundles").iter().filter(|bundle| bundle["name"] == "sec");
    of_sec.map(|bundle| (text(&bundle["version"]), text(&bundle["source"]))).collect()
}

fn signed_bundle_is_installed_by_name(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    publish(yard, "0.2.0", "acme", "key");
    let key = key_of(&registry);
    let refused = yard.fails(2, &["install", "sec", "--registry", &registry]);
    assert!(refused.contains(&format!("signer: {key}")), "{refused}");
    yard.ok(&["install", "sec@=0.1.0", "--registry", &registry, "--yes"]);
    yard.ok(&["install", "sec", "--registry", &registry, "--yes"]);
    let installed = installed(yard);
    assert_eq!(installed.iter().map(|(version, _)| version.as_str()).collect::<Vec<_>>(), ["0.1.0", "0.2.0"]);
    assert!(installed[1].1.contains(&format!("signed {key}")), "{installed:?}");
    let again = yard.json(&["install", "sec", "--registry", &registry, "--yes"]);
    assert_eq!(again["installed"][0]["changed"], false);
    let refused = yard.fails(3, &["install", "sec@^1", "--registry", &registry]);
    assert!(refused.contains("0.2.0 in `acme`: outside of the requirement"), "{refused}");
    // A release is never replaced, and the same one changes nothing.
    let (file, key_file) = (text(yard.path("sec-0.1.0.wasm")), text(yard.path("key")));
    let publish = ["publish", &file, "--registry", &registry, "--signing-key", &key_file];
    assert_eq!(yard.json(&publish)["published"][0]["changed"], false);
    let other = sec(yard, "0.1.0", &["log", "clock"], &json!({}), &[]);
    let before = index(&registry);
    let refused = yard.fails(6, &["publish", &other, "--registry", &registry, "--signing-key", &key_file]);
    assert!(refused.contains("`sec` 0.1.0 is already published with other content"), "{refused}");
    assert_eq!(index(&registry), before);
}

fn changed_key_is_rejected_until_accepted(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    yard.ok(&["install", "sec", "--registry", &registry, "--yes"]);
    let old = key_of(&registry);
    // Someone who can write the registry signs a new release with a key of their own.
    fs::remove_dir_all(&registry).expect("gone");
    publish(yard, "0.2.0", "acme", "other-key");
    let new = key_of(&registry);
    for flags in [&["--yes"][..], &["--yes", "--replace"]] {
        let refused = yard.fails(5, &[&["install", "sec", "--registry", &registry][..], flags].concat());
        assert!(refused.contains(&old) && refused.contains(&new), "{refused}");
        assert!(refused.contains(&format!("blockyard install sec --accept-key {new}")), "{refused}");
    }
    // A key that the registry does not have is never accepted.
    let refused = yard.fails(5, &["install", "sec", "--registry", &registry, "--yes", "--accept-key", &old]);
    assert!(refused.contains("does not have the accepted key") && refused.contains(&new), "{refused}");
    // Another bundle of the registry, which is not installed yet, must have the known key, too.
    change_index(&registry, "name = \"sec\"", "name = \"other\"");
    let refused = yard.fails(5, &["install", "other", "--registry", &registry, "--yes"]);
    assert!(refused.contains("now has another key"), "{refused}");
    change_index(&registry, "name = \"other\"", "name = \"sec\"");
    assert_eq!(installed(yard).len(), 1);
    // The user has asked the owner, and accepts the key. The review still says that the signer changed.
    let accept = ["install", "sec", "--registry", &registry, "--accept-key", &new, "--yes"];
    let review = yard.fails(2, &accept);
    assert!(review.contains(&format!("signer: {old} → {new}")), "{review}");
    yard.ok(&[&accept[..], &["--replace"]].concat());
    // From now on, the old key is the changed one.
    fs::remove_dir_all(&registry).expect("gone");
    publish(yard, "0.3.0", "acme", "key");
    yard.fails(5, &["install", "sec", "--registry", &registry, "--yes", "--replace"]);
    yard.fails(2, &["install", "sec", "--registry", &registry, "--accept-key", "RWnokey", "--yes"]);
}

fn signed_registry_must_remain_signed(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    yard.ok(&["install", "sec", "--registry", &registry, "--yes"]);
    publish(yard, "0.2.0", "acme", "key");
    change_index(&registry, &format!("key = \"{}\"", key_of(&registry)), "unsigned = true");
    let refused = yard.fails(5, &["install", "sec", "--registry", &registry, "--yes", "--replace"]);
    assert!(
        refused.contains("the registry `acme` offers an unsigned release, but signed its releases before"),
        "{refused}"
    );
    yard.configure(&format!("[registries]\nacme = {{ url = \"{registry}\", unsigned = true }}\n"));
    yard.fails(5, &["install", "sec", "--yes", "--replace"]);
    // Source code has no signature.
    let crate_of_0_2_0 = "source = { path = \"sec\" }";
    change_index(&registry, "source = { url = \"sec-0.2.0.wasm\" }", crate_of_0_2_0);
    let refused = yard.fails(5, &["install", "sec", "--registry", &registry, "--build", "--yes", "--replace"]);
    assert!(refused.contains("offers an unsigned release"), "{refused}");
}

/// The bytes are installed from a file at first, and the key of the registry changes later.
fn key_is_pinned_for_installed_bytes(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    yard.ok(&["install", &text(yard.path("sec-0.1.0.wasm")), "--yes"]);
    let install = ["install", "sec", "--registry", &registry, "--yes"];
    assert_eq!(yard.json(&install)["installed"][0]["changed"], false);
    let old = key_of(&registry);
    fs::remove_dir_all(&registry).expect("gone");
    publish(yard, "0.1.0", "acme", "other-key");
    let new = key_of(&registry);
    assert!(yard.fails(5, &install).contains(&old));
    yard.ok(&[&install[..], &["--accept-key", &new]].concat());
    yard.ok(&install);
    let audit = yard.json(&["audit"]).to_string();
    assert!(audit.contains(&old) && audit.contains(&new), "each pinned key has a line: {audit}");
}

fn signing_key_of_other_users_is_rejected(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    let (file, key) = (text(yard.path("sec-0.1.0.wasm")), yard.path("key"));
    let mode = |mode: u32| fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(mode));
    for (bits, reason) in [(0o644, "other users can read it"), (0o666, "can be written by other users")] {
        mode(bits).expect("chmod");
        for flag in ["--signing-key", "--new-signing-key"] {
            let refused = yard.fails(5, &["publish", &file, "--registry", &registry, flag, &text(key.clone())]);
            assert!(refused.contains("is not used") && refused.contains(reason), "{refused}");
        }
    }
    mode(0o600).expect("chmod");
    yard.ok(&["publish", &file, "--registry", &registry, "--signing-key", &text(key.clone())]);
    fs::write(&key, "not a key").expect("a file");
    let refused = yard.fails(4, &["publish", &file, "--registry", &registry, "--signing-key", &text(key.clone())]);
    assert!(refused.contains("the signing key in `FOLDER/key` cannot be used"), "{refused}");
    assert!(refused.contains("create a key with `--new-signing-key FILE`"), "{refused}");
}

fn unsigned_registry_requires_permission(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    change_index(&registry, &format!("key = \"{}\"", key_of(&registry)), "");
    let install = ["install", "sec", "--registry", &registry, "--yes"];
    let refused = yard.fails(5, &install);
    assert!(refused.contains("the registry `acme` is not signed"), "{refused}");
    assert!(refused.contains("unsigned = true"), "{refused}");
    yard.configure(&format!("[registries]\nacme = \"{registry}\"\n"));
    yard.fails(5, &["install", "sec", "--yes"]);
    yard.configure(&format!("[registries]\nacme = {{ url = \"{registry}\", unsigned = true }}\n"));
    let review = yard.fails(2, &["install", "sec"]);
    assert!(review.contains("signer: unsigned"), "{review}");
    yard.ok(&["install", "sec", "--yes"]);
}

fn changed_bytes_and_moved_signatures_are_rejected(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    publish(yard, "0.2.0", "acme", "key");
    let release = |version: &str| format!("{registry}/sec-{version}.wasm");
    let install = ["install", "sec", "--registry", &registry, "--yes"];
    let old = fs::read(release("0.1.0")).expect("a file");
    let good = fs::read(release("0.2.0")).expect("a file");
    // The file of another release, a longer and a shorter file.
    for bytes in [&old[..], &[&good[..], &b"\0\x02\x01x"[..]].concat(), &good[..good.len() - 1], b""] {
        fs::write(release("0.2.0"), bytes).expect("a file");
        let refused = yard.fails(5, &install);
        assert!(refused.contains("does not match the digest in the registry"), "{refused}");
        assert!(refused.contains("expected sha256") && refused.contains("found"), "{refused}");
    }
    // The digest is changed with the file: only the signature tells.
    let digest = |bytes: &[u8]| {
        let file = yard.path("digest");
        fs::write(&file, bytes).expect("a file");
        let output = std::process::Command::new("sha256sum").arg(&file).output().expect("sha256sum runs");
        String::from_utf8(output.stdout).expect("text")[..64].to_owned()
    };
    let text = index(&registry);
    fs::write(release("0.2.0"), &old).expect("a file");
    change_index(&registry, &digest(&good), &digest(&old));
    assert!(yard.fails(5, &install).contains("the signature of `sec` 0.2.0 is not valid"));
    // The signature is moved with the file: it is for another version.
    let parsed: toml::Table = text.parse().expect("TOML");
    let mut moved: toml::Table = index(&registry).parse().expect("TOML");
    moved["bundle"][0]["release"][0]["signature"] = parsed["bundle"][0]["release"][1]["signature"].clone();
    fs::write(format!("{registry}/registry.toml"), moved.to_string()).expect("a file");
    let refused = yard.fails(5, &install);
    assert!(refused.contains("blockyard-bundle:sec:0.1.0:") && refused.contains("not for"), "{refused}");
    // No signature at all.
    fs::write(release("0.2.0"), &good).expect("a file");
    let mut unsigned = parsed.clone();
    unsigned["bundle"][0]["release"][0].as_table_mut().expect("a release").remove("signature");
    fs::write(format!("{registry}/registry.toml"), unsigned.to_string()).expect("a file");
    assert!(yard.fails(5, &install).contains("`sec` 0.2.0 is not signed, although the registry `acme` has a key"));
    assert!(installed(yard).is_empty());
    // The untouched registry installs.
    fs::write(format!("{registry}/registry.toml"), text).expect("a file");
    yard.ok(&install);
}

fn inconsistent_registry_is_rejected(yard: &TestYard) {
    let registry = publish(yard, "0.1.0", "acme", "key");
    let text = index(&registry);
    let key = key_of(&registry);
    let install = ["install", "sec", "--registry", &registry, "--yes"];
    let change = |from: &str, to: &str| {
        fs::write(format!("{registry}/registry.toml"), &text).expect("a file");
        change_index(&registry, from, to);
    };
    // A path that leads out of the registry, absolute or relative, and an unsupported address.
    for url in ["../sec-0.1.0.wasm", "/etc/passwd", "a/../../x.wasm", "file:///etc/passwd", "http://r.example/x"] {
        change("sec-0.1.0.wasm", url);
        let refused = yard.run(&install);
        assert!([2, 4].contains(&refused.code), "{url}: {} {}", refused.code, refused.stderr);
    }
    // A device and a pipe never end.
    let pipe = format!("{registry}/pipe.wasm");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    change("sec-0.1.0.wasm", "pipe.wasm");
    assert!(yard.fails(4, &install).contains("is not a regular file"));
    // A file of more than 64 MiB.
    let large = fs::File::create(format!("{registry}/large.wasm")).expect("a file");
    large.set_len(100 << 20).expect("a sparse file");
    change("sec-0.1.0.wasm", "large.wasm");
    assert!(yard.fails(4, &install).contains("is larger than 64 MiB"));
    // Another version than the file contains: the signature is not for it.
    change("version = \"0.1.0\"", "version = \"0.9.0\"");
    assert!(yard.fails(5, &install).contains("the signature of `sec` 0.9.0 is not valid"));
    // Without signatures, the file itself tells.
    change(&format!("key = \"{key}\""), "unsigned = true");
    change_index(&registry, "version = \"0.1.0\"", "version = \"0.9.0\"");
    let refused = yard.fails(5, &install);
    assert!(
        refused.contains("the registry lists bundle `sec` 0.9.0, but the file contains bundle `sec` 0.1.0"),
        "{refused}"
    );
    change(&format!("key = \"{key}\""), "unsigned = true");
    change_index(&registry, "name = \"sec\"", "name = \"sql\"");
    let refused = yard.fails(5, &["install", "sql", "--registry", &registry, "--yes"]);
    assert!(refused.contains("but the file contains bundle `sec` 0.1.0"), "{refused}");
    // One broken entry does not affect the others.
    let broken = format!("{text}\n[[bundle]]\nname = \"broken\"\nrelease = 1\n");
    fs::write(format!("{registry}/registry.toml"), broken).expect("a file");
    yard.ok(&install);
    assert!(yard.fails(4, &["install", "broken", "--registry", &registry]).contains("`broken`"));
}
