//! Connection URLs and yard URLs: a component that is not supported is rejected, never ignored.

use blockyard_tests::TestYard;
use serde_json::json;

/// Creates a block from a URL in a file, as users do to keep a password off the command line.
fn save(yard: &TestYard, name: &str, url: &str) -> blockyard_tests::CommandOutput {
    std::fs::write(yard.path("url"), url).expect("a file");
    yard.run(&["create", &format!("sql-database/{name}"), "--set", "url=@url"])
}

#[test]
fn in_memory_database_creates_no_file() {
    let yard = TestYard::new();
    let forms = ["sqlite::memory:", "sqlite://:memory:", "sqlite:///:memory:", "sqlite:///:memory:\n"];
    for (number, url) in forms.into_iter().enumerate() {
        let name = format!("m{number}");
        let created = save(&yard, &name, url);
        assert_eq!(created.code, 0, "{url}: {}", created.stderr);
        assert_eq!(yard.config(&format!("sql-database/{name}"))["database"], ":memory:");
        yard.ok(&["execute", &format!("sql-database/{name}"), "create table q (a)"]);
    }
    assert!(!std::path::Path::new("/:memory:").exists() && !yard.path(":memory:").exists());
}

#[test]
fn unsupported_url_components_are_rejected() {
    let yard = TestYard::new();
    let file = format!("sqlite://{}", yard.path("t.db").display());
    for (url, reason) in [
        (format!("{file}?mode=ro"), "options"),
        (format!("{file}#x"), "fragment"),
        ("postgres://u@%2Frun%2Fpg/db".to_owned(), "sockets"),
        ("postgres://ada:pa/ss@db.example.com/zoo".to_owned(), "`/` as `%2F`"),
        ("postgres://ada:pa%ss@db.example.com/zoo".to_owned(), "`%25`"),
        ("postgres://a.example,b.example/zoo".to_owned(), "several hosts"),
        ("postgres://db.example.com/zoo?sslmode=require&sslmode=disable".to_owned(), "twice"),
        ("postgres://db.example.com/zoo#x".to_owned(), "`%23`"),
        ("mysql://db.example.com/zoo?ssl".to_owned(), "without `=`"),
        ("postgres://db.example.com/zoo?colour=red".to_owned(), "colour"),
    ] {
        let refused = save(&yard, "wrong", &url);
        assert_eq!(refused.code, 4, "{url}: {}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains(reason), "{url}: {}", refused.stderr);
        assert!(!refused.stderr.contains("pa/ss") && !refused.stderr.contains("pa%ss"), "{}", refused.stderr);
    }
    assert_eq!(yard.addresses(&[]), [""; 0]);
}

#[test]
fn special_characters_in_a_password_are_percent_encoded() {
    let yard = TestYard::new();
    let created = save(&yard, "w", "postgres://ada:%2F%23%3F%40%25%3A@db.example.com:5433/z%2Foo?sslmode=require");
    assert_eq!(created.code, 0, "{}", created.stderr);
    assert_eq!(yard.reveal("sql-database/w", "password"), "/#?@%:");
    let config = yard.config("sql-database/w");
    assert_eq!((&config["database"], &config["port"]), (&json!("z/oo"), &json!(5433)));
    assert_eq!(config["options"], json!({"sslmode": "require"}));
}

#[test]
fn invalid_yard_addresses_create_no_yard() {
    let yard = TestYard::empty();
    for address in [
        "sqlite:y.db?mode=ro",
        "sqlite:y.db#x",
        "sqlite::memory:",
        "sqlite://y.db",
        "postgres:?host=h",
        "postgres://h/d#x",
    ] {
        let refused = yard.fails(2, &["init", "--key", "file", "--yard", address]);
        assert!(refused.contains("invalid yard address: "), "{address}: {refused}");
    }
    assert_eq!(std::fs::read_dir(yard.path("")).expect("the folder").count(), 0, "no file was created");
}
