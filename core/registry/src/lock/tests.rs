//! Tests of the format of lock files.

use expect_test::expect;
use proptest::prelude::*;

use super::*;

const KEYS: [&str; 2] = [
    "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
    "RWQAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYn",
];

fn name(text: &str) -> BundleName {
    BundleName::new(text).expect("a name")
}

fn requirement(text: &str) -> VersionReq {
    VersionReq::parse(text).expect("a requirement")
}

fn locked(version: &str, signer: Option<&str>, capabilities: &[&str]) -> LockedBundle {
    let folder = LockedLocation::Folder(Some("registries/acme".parse().expect("a path")));
    LockedBundle {
        version: version.parse().expect("a version"),
        source: LockedSource::new("acme", Some(folder)),
        sha256: Digest::of(version.as_bytes()),
        signer: signer.map(|key| key.parse().expect("a key")),
        wit: WIT_VERSION.to_owned(),
        capabilities: capabilities.iter().map(|text| text.parse().expect("a capability")).collect(),
    }
}

fn example() -> LockFile {
    let mut lock = LockFile::default();
    lock.insert(name("zoo"), locked("1.2.3", Some(KEYS[0]), &["sql sqlite", "log", "http https://a.example"]));
    let mut sec = locked("0.1.0", None, &[]);
    sec.source = LockedSource::new("a \"zoo\"\u{1b}[2J", LockedLocation::url("https://acme.example/r"));
    lock.insert(name("sec"), sec);
    lock
}

#[test]
fn the_text_is_stable() {
    expect![[r##"
        # The exact bundles of this project. Blockyard writes this file; commit it, and do not edit it.
        version = 1

        [[bundle]]
        name = "sec"
        version = "0.1.0"
        source = { registry = 'a "zoo"\u{1b}[2J', url = "https://acme.example/r" }
        sha256 = "6ad9613a455798d6d92e5f5f390ab4baa70596bc869ed6b17f5cdd2b28635f06"
        signer = "unsigned"
        wit = "0.1"
        capabilities = []

        [[bundle]]
        name = "zoo"
        version = "1.2.3"
        source = { registry = "acme", path = "registries/acme" }
        sha256 = "c47f5b18b8a430e698b9fe15e51f6119984e78334bcf3f45e210d30c37ef2f9e"
        signer = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
        wit = "0.1"
        capabilities = [
            "http https://a.example",
            "log",
            "sql sqlite",
        ]
    "##]]
    .assert_eq(&example().to_string());
    let read = LockFile::parse(&example().to_string()).expect("a good file");
    assert_eq!(read, example());
    assert_eq!((read.line_of(&name("sec")), read.line_of(&name("zoo"))), (Some(5), Some(14)));
    assert_eq!(LockFile::parse("version = 1"), Ok(LockFile::default()));
}

#[test]
fn a_hostile_file_is_rejected_with_the_line() {
    let good = example().to_string();
    let check = |from: &str, to: &str, expected: &str| {
        assert!(good.contains(from), "{from}");
        let error = LockFile::parse(&good.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.starts_with(expected), "{to}: {error}");
        assert!(!error.contains('\u{1b}') && error.len() < 1000, "{error}");
    };
    check("version = 1\n", "version = 2\nnew = 1\n", "line 2: format version 2 is not supported");
    check("version = 1\n", "", "line 1: has no format version");
    check("version = 1\n", "version = \"1\"\n", "line 2: invalid type");
    check("registries/acme", "../acme", "line 16: `source.path`: is not a path inside the folder");
    check("registries/acme", "/srv/acme", "line 16: `source.path`: is not a path inside the folder");
    check("https://acme.example/r", "file:///srv/acme", "line 7: `source.url`: is not the");
    check("https://acme.example/r", "https://u:p@acme.example/", "line 7: `source.url`: is not the");
    check("https://acme.example/r", "/srv/acme", "line 7: `source.url`: is not the");
    check("path = \"reg", "url = \"https://a.example\", path = \"reg", "line 16: `source` has both");
    check("path = \"reg", "folder = \"reg", "line 16: unknown field `folder`");
    check("name = \"zoo\"", "name = \"Zoo\"", "line 14: `name`: ");
    check("name = \"zoo\"", "name = \"sec\"", "line 14: `sec` is locked twice");
    check("name = \"zoo\"", "name = \"zoo\\u001b[2J\"", "line 14: `name` contains control");
    check("registry = \"acme\"", "registry = \"a\\u202ecme\"", "line 16: `source.registry` contains control");
    check("1.2.3", "1.2", "line 15: `version`: ");
    check("c47f5b18", "c47f5b1", "line 17: `sha256`: ");
    check(KEYS[0], "RWQf", "line 18: `signer`: is neither a minisign public key nor `unsigned`");
    check("\"log\"", "\"everything\"", "line 22: `capabilities`: ");
    check("wit = \"0.1\"\ncapabilities = []", "wit = \"x\"\ncapabilities = []", "line 10: `wit`: ");
    check("\n[[bundle]]\nname = \"zoo\"", "\n<<<<<<< ours\n[[bundle]]\nname = \"zoo\"", "line 13: contains the marker");
    check("sha256 = \"c4", &format!("{} = 1\nsha256 = \"c4", "x".repeat(100_000)), "line 17: unknown field");
    check("sha256 = \"c4", "\"\\u001b[2J\" = 1\nsha256 = \"c4", "line 17: unknown field `\\u{1b}[2J`");
    assert!(matches!(LockFile::parse("version = 1\n=======\n"), Err(LockError::MergeConflict { line: 2 })));
}

#[test]
fn a_lock_fits_while_it_satisfies_the_requirements() {
    let lock = example();
    assert!(lock.fitting(&name("zoo"), &requirement("^1.2")).is_some());
    assert!(lock.fitting(&name("zoo"), &requirement("^2")).is_none());
    assert!(lock.fitting(&name("sql"), &VersionReq::STAR).is_none());
    let required: BTreeMap<BundleName, VersionReq> =
        [("zoo", "^1.3"), ("sql", "*")].map(|(key, text)| (name(key), requirement(text))).into();
    let outdated: Vec<String> = lock.outdated(&required).iter().map(ToString::to_string).collect();
    assert_eq!(
        outdated,
        [
            "`sql` is not locked",
            "`zoo` is locked at 1.2.3, which does not fit `^1.3`",
            "`sec` is locked, but the project does not require it"
        ]
    );
    let mut other = locked("1.2.3", None, &[]);
    other.wit = "0.9".to_owned();
    let mut lock = lock;
    lock.insert(name("zoo"), other);
    lock.retain(&required);
    assert!(lock.fitting(&name("zoo"), &VersionReq::STAR).is_none());
    assert_eq!(lock.bundles().len(), 1);
}

#[test]
fn differences_name_the_field_and_both_values() {
    let (old, new) = (locked("1.0.0", Some(KEYS[0]), &["log"]), locked("1.0.0", None, &["log", "clock"]));
    assert_eq!(old.differences(&old), []);
    let differences: Vec<String> = old.differences(&new).iter().map(ToString::to_string).collect();
    assert_eq!(
        differences,
        [
            format!("`signer` is locked as {}, found unsigned", KEYS[0]),
            "`capabilities` is locked as `log`, found `clock`, `log`".to_owned()
        ]
    );
}

#[test]
fn sources_are_compared_by_location() {
    let at = |registry: &str, path: &str| {
        LockedSource::new(registry, Some(LockedLocation::Folder(Some(path.parse().expect("a path")))))
    };
    assert!(at("a", "x").is_same(&at("b", "x")));
    assert!(!at("a", "x").is_same(&at("a", "y")));
    assert!(!at("a", "x").is_same(&LockedSource::new("a", None)));
    assert!(LockedSource::new("a", None).is_same(&LockedSource::new("a", None)));
    assert!(!LockedSource::new("a", None).is_same(&LockedSource::new("b", None)));
}

fn locations() -> impl Strategy<Value = Option<LockedLocation>> {
    prop_oneof![
        Just(None),
        Just(Some(LockedLocation::Folder(None))),
        "[a-z]{1,8}(/[a-z.]{1,8}x){0,2}".prop_map(|path| Some(LockedLocation::Folder(path.parse().ok()))),
        "(https|oci)://[a-z]{1,9}\\.example(/[a-z']{0,9})?".prop_map(|url| LockedLocation::url(&url)),
    ]
}

prop_compose! {
    fn bundles()(
        numbers in any::<(u64, u64, u64)>(),
        pre in "(beta\\.[1-9])?",
        registry in any::<String>(),
        location in locations(),
        sha256 in any::<[u8; 32]>(),
        signer in proptest::option::of(0..2_usize),
        wit in "[0-9]\\.[0-9]",
        capabilities in proptest::sample::subsequence(vec!["log", "clock", "random", "sql sqlite", "http {config.url}"], 0..=5),
    ) -> LockedBundle {
        let mut version = Version::new(numbers.0, numbers.1, numbers.2);
        version.pre = pre.parse().expect("a pre-release");
        LockedBundle {
            version,
            source: LockedSource::new(&registry, location),
            sha256: Digest::from_bytes(sha256),
            signer: signer.map(|index| KEYS[index].parse().expect("a key")),
            wit,
            capabilities: capabilities.iter().map(|text| text.parse().expect("a capability")).collect(),
        }
    }
}

proptest! {
    #[test]
    fn parsing_the_text_returns_the_same_lock(bundles in proptest::collection::btree_map("[a-z]{1,8}", bundles(), 0..5)) {
        let mut lock = LockFile::default();
        let mut reversed = LockFile::default();
        for (key, bundle) in &bundles {
            lock.insert(name(key), bundle.clone());
        }
        for (key, bundle) in bundles.iter().rev() {
            reversed.insert(name(key), bundle.clone());
        }
        let text = lock.to_string();
        prop_assert_eq!(&reversed.to_string(), &text, "the order of the bundles does not depend on their history");
        let read = LockFile::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        prop_assert_eq!(&read, &lock);
        prop_assert_eq!(read.to_string(), text);
    }

    /// A file that is accepted has no hidden character, and no path outside of the project.
    #[test]
    fn a_changed_file_is_rejected_or_safe(at in 0..2000_usize, inserted in "[\u{0}-\u{ff}\u{202e}./\\\\\"\n]{1,4}") {
        let mut text = example().to_string();
        let at = at % text.len();
        text.insert_str(at, &inserted);
        if let Ok(lock) = LockFile::parse(&text) {
            for bundle in lock.bundles().values() {
                let shown = bundle.source.to_string();
                prop_assert_eq!(visible::line(&shown), shown.clone());
                prop_assert!(!shown.contains("/../") && !shown.contains("`/") && !shown.contains("`.."), "{}", shown);
            }
            prop_assert_eq!(LockFile::parse(&lock.to_string()), Ok(lock));
        }
    }
}
