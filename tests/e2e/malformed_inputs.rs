//! Inputs that end too early or in an unexpected way: truncated files, unclosed comments, values and names that
//! a format cannot represent. Each is an error, and nothing is loaded or run in part.

use blockyard_tests::environment::program;
use blockyard_tests::web::Answer;
use blockyard_tests::{CommandOutput, TestYard, optional};
use serde_json::{Value, json};

use crate::sql_operations::each;
use crate::storage_rest::start;

const SQLITE: &str = "sql-database/flights";

/// Loads a file into the table `t`.
fn load(yard: &TestYard, block: &str, format: &str, bytes: &[u8]) -> CommandOutput {
    let file = yard.path(&format!("in.{format}"));
    std::fs::write(&file, bytes).expect("a file");
    let path = file.display().to_string();
    yard.run(&["call", block, "load", "--table", "t", "--format", format, "--in", &path, "--json"])
}

/// Returns the rows of a query as a file.
fn unload(yard: &TestYard, block: &str, statement: &str, format: &str) -> Vec<u8> {
    let path = yard.path(&format!("out.{format}"));
    let to = path.display().to_string();
    yard.ok(&["call", block, "unload", "--statement", statement, "--format", format, "--out", &to]);
    std::fs::read(&path).expect("the file")
}

fn refused(output: &CommandOutput, words: &[&str]) {
    assert_ne!(output.code, 0, "{}", output.stdout);
    for word in words {
        assert!(output.stderr.contains(word), "`{word}` is missing in {}", output.stderr);
    }
}

fn all(yard: &TestYard, block: &str, statement: &str) -> Value {
    yard.json(&["call", block, "fetch-all", "--statement", statement])
}

#[test]
fn truncated_arrow_file_loads_nothing() {
    let yard = TestYard::with_sqlite();
    // The first write creates the database file.
    yard.ok(&["execute", SQLITE, "create table birds (id integer)"]);
    let tables = || all(&yard, SQLITE, "select name from sqlite_master");
    let statement = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) \
                     select i, i || ' birds' as s from n";
    let stream = unload(&yard, SQLITE, statement, "arrow");
    let total = stream.len();
    // The last 8 bytes are the end marker.
    for length in [total - 1, total - 4, total - 8, total - 9, total * 9 / 10, total / 2] {
        refused(&load(&yard, SQLITE, "arrow", &stream[..length]), &["the file is cut off: its end marker is missing"]);
        assert_eq!(tables(), json!([{"name": "birds"}]), "{length} of {total}");
    }
    let without_footer = [b"ARROW1\0\0".as_slice(), &stream].concat();
    refused(&load(&yard, SQLITE, "arrow", &without_footer), &["the file is cut off: its footer is missing"]);
    assert_eq!(tables(), json!([{"name": "birds"}]));
    assert_eq!(load(&yard, SQLITE, "arrow", &stream).code, 0);
    assert_eq!(all(&yard, SQLITE, "select count(*) as n from t"), json!([{"n": 3000}]));
}

#[test]
fn script_with_an_unclosed_comment_runs_nothing() {
    each("malformed_script", |dialect, yard, block| {
        yard.ok(&["execute", block, "create table t (id integer)"]);
        let script = |text: &str| yard.run(&["call", block, "script", "--script", text, "--json"]);
        let begins = |token: &str| format!("line 2 of the script begins {token} that is never closed");
        let first = "insert into t values (1);\n";
        for (rest, token) in [
            ("/* why; insert into t values (2)", "a comment"),
            ("select 'why; insert into t values (2)", "a string"),
            ("insert into t values (2); -- two\n/* /* */", ""),
        ] {
            let output = script(&format!("{first}{rest}"));
            match (token, dialect) {
                // Only PostgreSQL nests comments.
                ("", "postgres") => refused(&output, &["line 3 of the script begins a comment that is never closed"]),
                ("", _) => {
                    assert_eq!(output.code, 0, "{dialect}: {}", output.stderr);
                    yard.ok(&["execute", block, "delete from t"]);
                }
                _ => refused(&output, &[&begins(token)]),
            }
            assert_eq!(all(yard, block, "select count(*) as n from t"), json!([{"n": 0}]), "{dialect}: {rest}");
        }
        if dialect == "postgres" {
            let output = script(&format!("{first}do $a$ begin null; end $b$; insert into t values (2)"));
            refused(&output, &[&begins("a dollar-quoted string")]);
        }
        let output = yard.run(&["execute", block, "insert into t values (1) /* why; insert into t values (2)"]);
        refused(&output, &["line 1 of the statement begins a comment that is never closed"]);
        assert_eq!(all(yard, block, "select count(*) as n from t"), json!([{"n": 0}]), "{dialect}");
    });
}

#[test]
fn query_and_unload_write_the_same_csv() {
    each("malformed_csv", |dialect, yard, block| {
        yard.ok(&["execute", block, "create table t (id integer, a varchar(10))"]);
        yard.ok(&["execute", block, "insert into t values (1, null), (2, ''), (3, 'x,y'), (4, '\u{feff}z')"]);
        for (statement, expected) in [
            ("select a, id from t order by id", "a,id\n,1\n\"\",2\n\"x,y\",3\n\"\u{feff}z\",4\n"),
            // An only column that is null is an empty line.
            ("select a from t where id < 3 order by id", "a\n\n\"\"\n"),
        ] {
            let query = yard.ok(&["query", block, statement, "--format", "csv"]);
            assert_eq!(query, expected, "{dialect}: {statement}");
            let unloaded = String::from_utf8(unload(yard, block, statement, "csv")).expect("UTF-8");
            assert_eq!(unloaded, expected, "{dialect}: {statement}");
        }
        yard.ok(&["execute", block, "delete from t"]);
        let query = yard.ok(&["query", block, "select id, a from t", "--format", "csv"]);
        assert_eq!(query, "id,a\n", "{dialect}");
    });
}

#[test]
fn values_unlike_their_declared_type_are_rejected_in_text_formats() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", SQLITE, "create table s (v text, n integer, b blob)"]);
    for (column, value, formats, cast, text) in [
        ("v", "x'dead'", &["csv", "ndjson"][..], "cast(v as blob)", "3q0="),
        ("n", "x'dead'", &["csv", "ndjson"], "cast(n as blob)", "3q0="),
        ("n", "9e999", &["csv", "ndjson"], "cast(n as real)", "Infinity"),
        ("b", "1234", &["csv"], "cast(b as text)", "1234"),
    ] {
        yard.ok(&["execute", SQLITE, "delete from s"]);
        yard.ok(&["execute", SQLITE, &format!("insert into s ({column}) values ({value})")]);
        let statement = format!("select {column} from s");
        for format in formats {
            let arguments = ["call", SQLITE, "unload", "--statement", &statement, "--format", format, "--out", "out"];
            refused(&yard.run(&arguments), &["row 1: ", &format!("`{column}`"), cast]);
        }
        let statement = format!("select {cast} as v from s");
        let csv = String::from_utf8(unload(&yard, SQLITE, &statement, "csv")).expect("UTF-8");
        assert_eq!(csv, format!("v\n{text}\n"));
    }
    // NDJSON distinguishes numbers from strings.
    assert_eq!(unload(&yard, SQLITE, "select b from s", "ndjson"), b"{\"b\":1234}\n");
}

#[test]
fn list_in_parentheses_of_in_is_rejected_at_every_depth() {
    each("malformed_lists", |dialect, yard, block| {
        yard.ok(&["execute", block, "create table t (id integer)"]);
        yard.ok(&["execute", block, "insert into t values (1), (2), (3)"]);
        let query = |condition: &str| {
            let statement = format!("select count(*) as n from t where {condition}");
            yard.run(&["query", block, &statement, "--param", "l=[1, 2]", "--format", "csv"])
        };
        for condition in ["id in ((:l))", "id not in ((:l))", "id in (7, (:l))", "id in (values (:l))"] {
            refused(&query(condition), &["parameter `:l`", "the value is a list"]);
        }
        let known = match dialect {
            "postgres" => "id in (cardinality(:l::integer[]))",
            "mysql" => "id in (json_length(:l))",
            _ => "id in (json_array_length(:l))",
        };
        let output = query(known);
        assert_eq!((output.code, output.stdout.as_str()), (0, "n\n1\n"), "{dialect}: {}", output.stderr);
    });
}

#[test]
fn folder_object_with_content_is_reported() {
    let started = start(|request| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let resource = |name: &str| {
            let size = if name == "c/empty/" { 0 } else { name.len() };
            json!({"name": name, "size": size.to_string(), "generation": "1"})
        };
        let object = path
            .rsplit_once("/o/")
            .map(|(_, name)| percent_encoding::percent_decode_str(name).decode_utf8().expect("text").into_owned());
        match object {
            None => {
                let items = ["c/empty/", "c/full/", "c/full/x"].map(resource);
                Answer::json(&json!({ "items": items }))
            }
            Some(name) if query.contains("alt=media") => Answer::text(name),
            Some(name) => Answer::json(&resource(&name)),
        }
    });
    let Some((cloud, _web)) = started else { return };
    let yard = &cloud.yard;
    let copied = yard.fails(4, &["cp", "-r", "gcs-bucket/rest:c", "back"]);
    assert!(copied.contains("1 object cannot be saved as a file; nothing was copied"), "{copied}");
    assert!(copied.contains("`c/full/` has content, but ends in a slash like a folder"), "{copied}");
    // Both hints work.
    assert!(copied.contains("`blockyard cp 'gcs-bucket/rest:c/full/' FILE`"), "{copied}");
    yard.ok(&["cp", "gcs-bucket/rest:c/full/", "one"]);
    assert_eq!(std::fs::read_to_string(yard.path("one")).expect("the file"), "c/full/");
    let output = yard.run(&["cp", "-r", "gcs-bucket/rest:c", "back", "--skip-bad-names"]);
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert_eq!(std::fs::read_to_string(yard.path("back/full/x")).expect("the file"), "c/full/x");
    assert_eq!(std::fs::read_dir(yard.path("back")).expect("the folder").count(), 1);
}

#[test]
fn malformed_json_in_fields_and_arguments_is_reported() {
    let yard = TestYard::new();
    let create = |field: &str| {
        let server = ["--set", "dialect=postgres", "--set", "host=h", "--set", "database=d", "--set", "username=u"];
        yard.fails(4, &[&["create", "sql-database/x"][..], &server, &["--set", field]].concat())
    };
    for (field, expected) in [
        (r#"options={"application_name":"a","application_name":"b"}"#, "the value of field `options` is not JSON"),
        (
            r#"options={"sslmode":1e400}"#,
            "the value of field `options` contains a number that a block cannot represent",
        ),
        ("port=05432", "the value of field `port` is not JSON"),
        ("port=5432.0", "/port: must be an integer, written without a fraction"),
        ("port=5.432e3", "/port: must be an integer, written without a fraction"),
    ] {
        let message = create(field);
        assert!(message.contains(expected), "{field}: {message}");
    }
    let block = "sql-database/flights";
    let yard = TestYard::with_sqlite();
    let message = yard.fails(4, &["call", block, "fetch-many", "--statement", "select 1 as a", "--size", "1e400"]);
    assert!(message.contains("/size: must be of type `integer`, not `number`"), "{message}");
    let arguments = r#"{"statement": "select 1 as a", "size": 18446744073709551617}"#;
    let message = yard.fails(4, &["call", block, "fetch-many", "--args", arguments]);
    assert!(message.contains("/size: the value is greater than the maximum of 4294967295"), "{message}");
}

#[test]
fn ambiguous_addresses_are_rejected() {
    let yard = TestYard::new();
    for (url, expected) in [
        ("postgres://u:s3cret@db/zoo&sslmode=disable", "options begin with `?`"),
        ("postgres://u:s3cret@db/zoo;sslmode=disable", "options begin with `?`"),
        ("postgres://u:s3cret@-db/zoo", "neither a name nor an address"),
        ("postgres://u:s3cret@::1/zoo", "`[::1]`"),
        ("sqlite:///~/x.db", "home folder"),
        ("sqlite:///file:/tmp/x.db", "`file:`"),
    ] {
        std::fs::write(yard.path("url"), url).expect("a file");
        let message = yard.fails(4, &["create", "sql-database/x", "--set", "url=@url"]);
        assert!(message.contains(expected) && !message.contains("s3cret"), "{url}: {message}");
    }
    std::fs::write(yard.path("url"), "postgres://u@db/zoo%26a").expect("a file");
    yard.ok(&["create", "sql-database/x", "--set", "url=@url"]);
    assert_eq!(yard.config("sql-database/x")["database"], "zoo&a");
}

#[test]
fn empty_secret_is_rejected() {
    let yard = TestYard::new();
    let create = |secret: &'static str| {
        let server = ["--set", "dialect=postgres", "--set", "host=h", "--set", "database=d", "--set", "username=u"];
        [&["create", "sql-database/x"][..], &server, &["--secret", secret]].concat()
    };
    for text in ["", "\n", "\r\n"] {
        std::fs::write(yard.path("empty"), text).expect("a file");
        let message = yard.fails(4, &create("password=@empty"));
        assert!(message.contains("the value of secret `password` is empty"), "{message}");
        let message = yard.fails_with_input(4, &create("password=-"), text);
        assert!(message.contains("the value of secret `password` is empty"), "{message}");
    }
    std::fs::write(yard.path("blank"), " \n").expect("a file");
    yard.ok(&create("password=@blank"));
    assert_eq!(yard.reveal("sql-database/x", "password"), " ");
}

#[test]
fn nul_character_in_a_column_name_is_reported() {
    each("malformed_nul", |dialect, yard, block| {
        yard.ok(&["execute", block, "create table birds (id integer)"]);
        for (format, bytes) in [("ndjson", &b"{\"a\\u0000b\":1}\n"[..]), ("csv", b"x,a\0b\n1,2\n")] {
            let output = load(yard, block, format, bytes);
            // The error is JSON, in which the backslash is doubled.
            refused(&output, &[r"the name of column `a\\0b` has a NUL character", "rename the column"]);
            let tables = yard.json(&["call", block, "tables"]);
            assert_eq!(tables.as_array().map(Vec::len), Some(1), "{dialect}: {tables}");
        }
    });
}

#[test]
fn parquet_page_with_a_wrong_checksum_is_rejected() {
    let Some(packages) = optional("BLOCKYARD_TEST_PYARROW") else { return };
    let yard = TestYard::with_sqlite();
    let file = yard.path("animals.parquet").display().to_string();
    let python = format!(
        "import pyarrow as a, pyarrow.parquet as q; \
         q.write_table(a.table({{'a': ['lions', 'tigers']}}), {file:?}, write_page_checksum=True, \
         use_dictionary=False, write_statistics=False, compression='none')"
    );
    let output = program("python3").args(["-c", &python]).env("PYTHONPATH", packages).output();
    let output = output.expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let good = std::fs::read(&file).expect("the file");
    let at = good.windows(6).position(|bytes| bytes == b"tigers").expect("the value");
    let mut flipped = good.clone();
    flipped[at] ^= 1;
    refused(&load(&yard, SQLITE, "parquet", &flipped), &["checksum"]);
    assert_eq!(load(&yard, SQLITE, "parquet", &good).code, 0);
    assert_eq!(all(&yard, SQLITE, "select count(*) as n from t"), json!([{"n": 2}]));
}

#[test]
fn mysql_boolean_other_than_0_and_1_is_reported() {
    each("malformed_booleans", |dialect, yard, block| {
        if dialect != "mysql" {
            return;
        }
        yard.ok(&["execute", block, "create table s (id integer, a tinyint(1))"]);
        yard.ok(&["execute", block, "create table t (id integer, a tinyint(1))"]);
        yard.ok(&["execute", block, "insert into s values (1, 2), (2, -128)"]);
        let statement = "select a from s order by id";
        for format in ["arrow", "parquet"] {
            let arguments = ["call", block, "unload", "--statement", statement, "--format", format, "--out", "out"];
            refused(&yard.run(&arguments), &["row 1", "`a`", "cast("]);
            let exported = unload(yard, block, "select id, cast(a as signed) as a from s", format);
            assert_eq!(load(yard, block, format, &exported).code, 0, "{format}");
        }
        assert_eq!(unload(yard, block, statement, "csv"), b"a\n2\n-128\n");
        let counted = "select count(*) as n from t where a = 2 and id = 1 or a = -128 and id = 2";
        assert_eq!(all(yard, block, counted), json!([{"n": 4}]));
    });
}
