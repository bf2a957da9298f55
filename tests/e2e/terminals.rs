//! Output on a terminal: text from a server, a bundle or a file is escaped and cannot move the
//! cursor. Output to a pipe is exact.

use blockyard_tests::{Backend, TestYard, root};

use crate::prompts::Conversation;

/// ESC, C1, a bidirectional override, invisible characters.
const MALICIOUS_TEXT: &str = "\u{1b}]0;pwned\u{7}|\u{9b}2J|\u{202e}evil|\u{200b}|\u{e0041}";
const HIDDEN: [char; 5] = ['\u{7}', '\u{9b}', '\u{202e}', '\u{200b}', '\u{e0041}'];

#[test]
fn rows_are_escaped_on_a_terminal_only() {
    let yard = TestYard::with_sqlite();
    let insert = format!("create table t as select '{MALICIOUS_TEXT}' as a, '=1+1' as b");
    yard.ok(&["execute", "sql-database/flights", &insert]);
    for format in ["table", "csv", "json", "ndjson"] {
        let query = ["query", "sql-database/flights", "select * from t", "--format", format];
        let (code, shown) = Conversation::begin(&yard, &query).end();
        assert_eq!(code, 0, "{shown}");
        assert!(!shown.contains(HIDDEN) && !shown.contains("\u{1b}]0;"), "{format}: {shown:?}");
        assert!(shown.contains("202e"), "{format}: {shown:?}");
        // A pipe receives the exact bytes of the database. A cell that begins with `=` is unchanged
        // as well.
        let piped = yard.ok(&query);
        match format {
            "csv" => assert_eq!(piped, format!("a,b\n{MALICIOUS_TEXT},=1+1\n")),
            "table" => assert!(!piped.contains(HIDDEN), "{piped:?}"),
            _ => assert!(piped.contains('\u{202e}'), "{piped:?}"),
        }
    }
    for format in ["arrow", "parquet"] {
        let query = ["query", "sql-database/flights", "select 1 as n", "--format", format];
        let (code, shown) = Conversation::begin(&yard, &query).end();
        assert!(code == 2 && shown.contains("--out"), "{shown}");
    }
}

#[test]
fn json_on_a_terminal_is_the_same_document() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table t (a int)"]);
    let statement = format!("select '{MALICIOUS_TEXT}' as a");
    let (code, shown) =
        Conversation::begin(&yard, &["call", "sql-database/flights", "fetch-all", "--statement", &statement]).end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains(HIDDEN) && !shown.contains('\u{1b}'), "{shown:?}");
    let document: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(document[0]["a"], MALICIOUS_TEXT);
}

#[test]
fn registry_cannot_forge_progress_messages() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let registry = format!(
        "version = 1\nname = {}\n\n[[bundle]]\nname = \"acme\"\n\n[[bundle.release]]\nversion = \"0.1.0\"\nwit = \"0.1\"\nsource = {{ path = \"nowhere\" }}\n",
        serde_json::json!(MALICIOUS_TEXT.replace('\u{e0041}', ""))
    );
    std::fs::create_dir(yard.path("r")).expect("a folder");
    std::fs::write(yard.path("r/registry.toml"), registry).expect("a file");
    let (code, shown) = Conversation::begin(&yard, &["install", "acme", "--registry", "r/registry.toml"]).end();
    assert_ne!(code, 0, "{shown}");
    assert!(!shown.contains(['\u{7}', '\u{9b}', '\u{202e}', '\u{200b}']) && !shown.contains("\u{1b}]0;"), "{shown:?}");
}

#[test]
fn server_message_cannot_forge_output_lines() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table t (a int)"]);
    // SQLite quotes the name, and its lines are marked.
    let statement = "select * from \"\nerror: forged\n  hint: run `evil`\"";
    let refused = yard.fails(1, &["query", "sql-database/flights", statement]);
    assert!(refused.contains("forged"), "{refused}");
    let forged: Vec<&str> = refused
        .lines()
        .skip(1)
        .filter(|line| line.starts_with("error:") || line.starts_with("  hint: run `evil`"))
        .collect();
    assert_eq!(forged, [""; 0], "{refused}");
}

#[test]
fn replacement_is_confirmed_on_a_terminal() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let bundle = |version: &str| crate::install::sec(&yard, version, &[], &serde_json::json!({}), &[]);
    yard.ok(&["install", &bundle("0.1.0"), "--yes"]);
    let second = bundle("0.1.9");
    let mut refused = Conversation::begin(&yard, &["install", "-q", &second]);
    refused.answer("install this version? [y/N]", "n");
    let (code, shown) = refused.end();
    assert!(code == 5 && shown.contains("version: 0.1.0 → 0.1.9"), "{shown}");
    let mut agreed = Conversation::begin(&yard, &["install", &second]);
    agreed.answer("install this version? [y/N]", "y");
    let (code, shown) = agreed.end();
    assert_eq!(code, 0, "{shown}");
}

/// One function escapes output, and only these files print. A command that prints or prompts by
/// itself would bypass it.
#[test]
fn only_listed_files_print() {
    let homes = [
        ("comfy_table", &["tabular.rs"][..]),
        ("console::Term", &["keyboard.rs"]),
        ("indicatif::Progress", &["progress.rs"]),
        ("stdout()", &["terminal.rs", "output.rs"]),
        ("stderr()", &["terminal.rs", "progress.rs", "keyboard.rs"]),
        ("println!", &[]),
        ("print!(", &[]),
    ];
    let mut folders = vec![root().join("cli/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a source file");
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for (word, allowed) in homes {
                    // `use_stderr()` is a method of clap.
                    let found = line.replace("use_stderr()", "").contains(word);
                    assert!(!found || allowed.contains(&name.as_str()), "{}: `{word}` in {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn usage_error_escapes_control_characters() {
    let yard = TestYard::empty();
    for word in ["nosuch\u{1b}[2J", "nosuch\u{202e}", "nosuch\u{9b}2J\u{7}"] {
        let option = format!("--{word}");
        for arguments in [&[word][..], &["show", "zoo-cage/lion", option.as_str()]] {
            let (code, shown) = Conversation::begin(&yard, arguments).end();
            assert_eq!(code, 2, "{shown}");
            assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{7}']) && !shown.contains("\u{1b}[2J"), "{shown:?}");
        }
    }
}

#[test]
fn operation_usage_error_escapes_control_characters() {
    let yard = TestYard::with_sqlite();
    for word in ["nosuch\u{1b}[2J", "nosuch\u{202e}"] {
        let option = format!("--{word}");
        let arguments = ["call", "sql-database/flights", "tables", option.as_str()];
        let (code, shown) = Conversation::begin(&yard, &arguments).end();
        assert_eq!(code, 2, "{shown}");
        assert!(!shown.contains('\u{202e}') && !shown.contains("\u{1b}[2J"), "{shown:?}");
    }
}

#[test]
fn wide_cells_are_cut_and_null_differs_from_an_empty_text() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table empty (a integer)"]);
    let long = "word ".repeat(40);
    let sql =
        format!("select 1 as id, null as missing, '' as empty, '{long}' as text union all select 2, 'x', 'y', 'z'");
    let command = format!(
        "stty cols 60; exec '{}' --no-progress query sql-database/flights \"{sql}\"",
        blockyard_tests::binary()
    );
    let mut shell = yard.program("sh");
    let (code, shown) = Conversation::with(shell.args(["-c", &command])).end();
    assert_eq!(code, 0, "{shown}");
    let lines: Vec<&str> =
        shown.lines().map(str::trim_end).filter(|line| line.contains('1') || line.contains('…')).collect();
    assert!(lines.len() == 1 && lines[0].contains("NULL") && lines[0].contains('…'), "{shown}");
    assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 60), "{shown}");
    // In a pipe, nothing is cut.
    let piped = yard.ok(&["query", "sql-database/flights", &sql]);
    assert!(piped.contains(long.trim_end()) && piped.contains("NULL") && !piped.contains('…'), "{piped}");
}

#[test]
fn tables_fit_the_terminal() {
    let yard = TestYard::on(Backend::Sqlite);
    yard.keeper("ada", "badge");
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=Ada", "-m", &"because of a long reason ".repeat(4)]);
    for arguments in ["grants", "list", "types", "history zoo-keeper/ada", "audit", "config", "bundles"] {
        let command = format!("stty cols 60; exec '{}' {arguments}", blockyard_tests::binary());
        let (code, shown) = Conversation::with(yard.program("sh").args(["-c", &command])).end();
        assert_eq!(code, 0, "{shown}");
        let wide: Vec<&str> = shown.lines().filter(|line| line.trim_end().chars().count() > 60).collect();
        assert!(shown.contains('─') && wide.is_empty(), "{arguments}: {wide:?}");
    }
}
