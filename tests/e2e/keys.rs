//! Locations of the yard's key: a file, the environment, and the keyring of a Secret Service.

use base64::Engine as _;
use blockyard_tests::{TestYard, available, binary, run_command};

fn key(byte: u8) -> String {
    base64::engine::general_purpose::STANDARD.encode([byte; 32])
}

#[test]
fn key_is_read_from_the_environment() {
    let yard = TestYard::empty();
    let run = |arguments: &[&str], key: Option<&str>| {
        let mut command = yard.command(arguments);
        if let Some(key) = key {
            command.env("BLOCKYARD_KEY", key);
        }
        run_command(&mut command, None)
    };
    let missing = run(&["init", "--key", "env"], None);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("BLOCKYARD_KEY, which is not set"), "{}", missing.stderr);
    assert_eq!(run(&["init", "--key", "env"], Some(&key(1))).code, 0);
    assert!(!yard.path("yard.key").exists());
    assert_eq!(run(&["list"], Some(&key(1))).code, 0);

    let none = run(&["list"], None);
    assert_eq!(none.code, 5);
    assert!(none.stderr.contains("give the yard's key with BLOCKYARD_KEY"), "{}", none.stderr);
    let wrong = run(&["list"], Some(&key(2)));
    assert_eq!(wrong.code, 5);
    assert!(wrong.stderr.contains("the key from BLOCKYARD_KEY is not this yard's key"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains(&key(2)), "{}", wrong.stderr);
    let short = run(&["list"], Some("c2hvcnQ="));
    assert_eq!(short.code, 5);
    assert!(short.stderr.contains("the key has 5 bytes, but must have 32"), "{}", short.stderr);
}

#[test]
fn key_is_read_from_another_file() {
    let yard = TestYard::empty();
    let file = yard.path("keys/prod.key");
    let run = |arguments: &[&str]| run_command(yard.command(arguments).env("BLOCKYARD_KEY_FILE", &file), None);
    assert_eq!(run(&["init"]).code, 0);
    assert!(file.exists());
    assert_eq!(run(&["list"]).code, 0);
    // The yard stores the location of its key.
    assert_eq!(yard.run(&["list"]).code, 0);
}

#[test]
fn key_is_stored_in_a_private_file_without_a_keyring() {
    let yard = TestYard::empty();
    let output = yard.ok(&["init"]);
    assert!(output.contains("yard.key"), "{output}");
    assert_eq!(yard.fails(5, &["init", "--key", "keyring", "--yard", "sqlite:other.db"]).matches("keyring").count(), 2);
    assert!(!yard.path("other.db").exists());
}

/// Uses gnome-keyring in a separate D-Bus session, and `secret-tool` to verify the entry.
#[test]
fn key_is_stored_in_the_keyring() {
    if !available("BLOCKYARD_TEST_KEYRING") {
        return;
    }
    let yard = TestYard::empty();
    let script = format!(
        r#"set -e
        printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
        {binary} init --key keyring
        test ! -e yard.key
        {binary} list
        account=$({binary} list --json >/dev/null; sqlite3 yard.db 'select id from yard' 2>/dev/null || true)
        echo "account $account"
        secret-tool lookup service blockyard username "$account" | wc -c
        secret-tool clear service blockyard username "$account"
        {binary} list || echo "exit $?"
        "#,
        binary = binary()
    );
    let mut session = yard.program("dbus-run-session");
    session.args(["--", "bash", "-c", &script]);
    std::fs::create_dir_all(yard.path("run")).expect("a folder");
    session.env("XDG_RUNTIME_DIR", yard.path("run")).env("XDG_DATA_HOME", yard.path("data"));
    let output = run_command(&mut session, None);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("the operating system's keyring (service `blockyard`"), "{}", output.stdout);
    // Base64 of 32 bytes has 44 characters.
    assert!(output.stdout.contains("\n44\n"), "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("keyring has no key for this yard"), "{}", output.stderr);
    assert!(output.stdout.contains("exit 5"), "{}", output.stdout);
}

#[test]
fn moved_yard_finds_its_moved_key() {
    let yard = TestYard::with_sqlite();
    std::fs::create_dir(yard.path("moved")).expect("a folder");
    for name in ["yard.db", "yard.key"] {
        std::fs::rename(yard.path(name), yard.path("moved").join(name)).expect("moved");
    }
    let url = format!("sqlite:{}", yard.path("moved/yard.db").display());
    assert!(yard.ok(&["list", "--yard", &url]).contains("sql-database/flights"));
}

#[test]
fn existing_key_is_reused() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    std::fs::remove_file(yard.path("yard.db")).expect("gone");
    yard.ok(&["init", "--key", "file"]);
    yard.ok(&["list"]);
}
