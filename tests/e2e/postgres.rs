//! `sql-database` on a PostgreSQL server, compared with the results of `psql`.

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, available, run_command};
use expect_test::expect;
use serde_json::{Value, json};

pub(crate) struct Server {
    pub(crate) yard: TestYard,
    database: String,
}

fn port() -> String {
    std::env::var("BLOCKYARD_TEST_POSTGRES_PORT").expect("the port")
}

pub(crate) fn password() -> String {
    std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").expect("the password")
}

/// Creates a yard with `sql-database/pg` on a new database. Returns `None` without a server.
pub(crate) fn server(name: &str) -> Option<Server> {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return None;
    }
    let server = Server { yard: TestYard::new(), database: format!("test_{name}") };
    server.psql("postgres", &format!("drop database if exists {}", server.database));
    server.psql("postgres", &format!("create database {}", server.database));
    let created = create(&server.yard, "pg", &server.database, &password());
    assert_eq!(created, 0);
    Some(server)
}

pub(crate) fn create(yard: &TestYard, name: &str, database: &str, password: &str) -> i32 {
    let (address, database, port) =
        (format!("sql-database/{name}"), format!("database={database}"), format!("port={}", port()));
    let flags = [
        "--set",
        "dialect=postgres",
        "--set",
        "host=127.0.0.1",
        "--set",
        &port,
        "--set",
        &database,
        "--set",
        "username=postgres",
    ];
    let arguments: Vec<&str> = ["create", &address, "--secret", "password=-"].into_iter().chain(flags).collect();
    yard.run_with_input(&arguments, password).code
}

impl Server {
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    fn psql(&self, database: &str, statement: &str) -> String {
        let mut witness = program("psql");
        witness
            .args([
                "-X",
                "-A",
                "-t",
                "-h",
                "127.0.0.1",
                "-p",
                &port(),
                "-U",
                "postgres",
                "-d",
                database,
                "-c",
                statement,
            ])
            .env("PGPASSWORD", password());
        let read = run_command(&mut witness, None);
        assert_eq!(read.code, 0, "{}", read.stderr);
        read.stdout
    }

    fn rows(&self, statement: &str) -> Value {
        serde_json::from_str(&self.yard.ok(&["query", "sql-database/pg", statement, "--format", "json"])).expect("JSON")
    }
}

#[test]
fn values_round_trip_through_psql() {
    let Some(server) = server("both") else { return };
    server.yard.ok(&["execute", "sql-database/pg", "create table t (id int, day date, amount numeric(10,3), at timestamptz, note text, tags jsonb, ok bool, raw bytea, key uuid)"]);
    server.yard.ok(&[
        "call",
        "sql-database/pg",
        "execute-many",
        "--args",
        r#"{"statement": "insert into t values (:id, :day, :amount, :at, :note, :tags, :ok, :raw, :key)", "parameters": [
            {"id": 1, "day": "2013-02-08", "amount": "12.500", "at": "2013-02-08T12:00:00+01:00", "note": "it's", "tags": {"a": [1]}, "ok": true, "raw": "Ynl0ZXM=", "key": "00112233-4455-6677-8899-aabbccddeeff"},
            {"id": 2, "day": null, "amount": -0.001, "at": null, "note": 7, "tags": null, "ok": null, "raw": null, "key": null}]}"#,
    ]);
    let read = server.psql(&server.database, "set timezone to 'UTC'; select * from t order by id");
    expect![[r#"
        SET
        1|2013-02-08|12.500|2013-02-08 11:00:00+00|it's|{"a": [1]}|t|\x6279746573|00112233-4455-6677-8899-aabbccddeeff
        2||-0.001||7||||
    "#]]
    .assert_eq(&read);

    server.psql(&server.database, "insert into t values (3, '1600-02-29', 'NaN', '1969-12-31 23:59:59.999999+00', E'tab\\t', '[]', false, '\\x00ff', null)");
    let row = server.rows("select * from t where id = 3");
    assert_eq!(row[0]["day"], json!("1600-02-29"));
    assert_eq!(row[0]["amount"], json!("NaN"));
    assert_eq!(row[0]["at"], json!("1969-12-31T23:59:59.999999Z"));
    assert_eq!(row[0]["note"], json!("tab\t"));
}

#[test]
fn every_type_preserves_its_value() {
    let Some(server) = server("types") else { return };
    let fetched = server.yard.ok(&[
        "call",
        "sql-database/pg",
        "fetch-one",
        "--statement",
        "select 1::int2 a, 2::int4 b, 9223372036854775807 c, 1.5::float4 d, 2.5::float8 e, 1234567890123456789.000100::numeric f, \
         'x'::varchar g, 'y'::char(3) h, true i, date '0001-01-01' j, time '23:59:59.5' k, timestamp '2013-02-08 11:00' l, \
         timestamptz '2013-02-08 11:00+01' m, '{\"a\": 1}'::json n, '[1, 2]'::jsonb o, null::int p, 'pg_class'::name q, 0::numeric r, 10000::numeric s",
    ]);
    let row: Value = serde_json::from_str(&fetched).expect("JSON");
    assert_eq!(
        row,
        json!({"a": 1, "b": 2, "c": i64::MAX, "d": 1.5, "e": 2.5, "f": "1234567890123456789.000100", "g": "x", "h": "y  ", "i": true,
               "j": "0001-01-01", "k": "23:59:59.500000", "l": "2013-02-08T11:00:00", "m": "2013-02-08T10:00:00Z",
               "n": {"a": 1}, "o": [1, 2], "p": null, "q": "pg_class", "r": "0", "s": "10000"})
    );
    server.yard.ok(&["execute", "sql-database/pg", "create type mood as enum ('sad', 'glad')"]);
    server.yard.ok(&["execute", "sql-database/pg", "create domain age as int check (value > 0)"]);
    assert_eq!(server.rows("select 'glad'::mood as m, 7::age as a"), json!([{"m": "glad", "a": 7}]));
}

#[test]
fn postgres_specific_types_are_json_or_text() {
    let Some(server) = server("own") else { return };
    server.yard.ok(&["execute", "sql-database/pg", "create type pair as (a int, b text)"]);
    server.yard.ok(&[
        "execute",
        "sql-database/pg",
        "create table t (i int, span interval, net inet, list int4[], words text[], cash money, two pair, bits bit(3))",
    ]);
    let insert = r#"{"statement": "insert into t values (:i, :span, :net, :list, :words, :cash, :two, :bits); -- one",
        "parameters": {"i": 1, "span": "1 day 02:00", "net": "10.0.0.1/8", "list": [1, null, 3], "words": ["a\"b", "c,d"],
                       "cash": "12.50", "two": "(1,x)", "bits": "101"}}"#;
    server.yard.ok(&["call", "sql-database/pg", "execute", "--args", insert]);
    let expected = json!({"i": 1, "span": "1 day 02:00:00", "net": "10.0.0.1/8", "list": [1, null, 3], "words": ["a\"b", "c,d"],
                          "cash": "$12.50", "two": "(1,x)", "bits": "101"});
    let fetch = |statement: &str| -> Value {
        let fetched = server.yard.ok(&["call", "sql-database/pg", "fetch-one", "--statement", statement]);
        serde_json::from_str(&fetched).expect("JSON")
    };
    assert_eq!(fetch("select * from t -- all\n;"), expected);
    assert_eq!(fetch("(select * from t where i = 1)"), expected);
    assert_eq!(fetch("with x as (select * from t) table x"), expected);
    assert_eq!(
        fetch("select '{{1,2},{3,4}}'::int[] as a, row(1, 'x') as b, null::int[] as c, '{}'::text[] as d"),
        json!({"a": [[1, 2], [3, 4]], "b": "(1,x)", "c": null, "d": []})
    );
    assert_eq!(
        server.psql(&server.database, "select list, words from t"),
        "{1,NULL,3}|{\"a\"\"b\",\"c,d\"}\n".replace("\"\"", "\\\"")
    );
    let many = r#"{"statement": "update t set list = :list, span = :span where i = :i", "parameters": [
        {"i": 1, "list": [], "span": "1 day"}, {"i": 1, "list": [2], "span": "2 days"}, {"i": 1, "list": [3], "span": null},
        {"i": 1, "list": [4], "span": "4 days"}, {"i": 1, "list": [5, 6], "span": "5 days"}, {"i": 2, "list": null, "span": null}]}"#;
    let done: Value =
        serde_json::from_str(&server.yard.ok(&["call", "sql-database/pg", "execute-many", "--args", many]))
            .expect("JSON");
    assert_eq!(done["rows_affected"], json!(5));
    assert_eq!(server.rows("select list, span from t"), json!([{"list": "[5,6]", "span": "5 days"}]));
    assert_eq!(
        fetch("select :span::interval + interval '1 day' as x".replace(":span", "'1 day'").as_str()),
        json!({"x": "2 days"})
    );
    let refused = server.yard.fails(1, &["query", "sql-database/pg", "select :s::interval as s", "--param", "s=soon"]);
    assert!(refused.contains("invalid input syntax for type interval"), "{refused}");
    assert_eq!(
        server.yard.ok(&[
            "query",
            "sql-database/pg",
            "select :s::interval as s",
            "--param",
            "s=P1D",
            "--format",
            "csv"
        ]),
        "s\n1 day\n"
    );
}

#[test]
fn parameters_have_the_type_of_the_statement() {
    let Some(server) = server("parameters") else { return };
    let query = |statement: &str, parameters: &[&str]| -> Value {
        let mut arguments = vec!["query", "sql-database/pg", statement, "--format", "json"];
        for parameter in parameters {
            arguments.extend(["--param", parameter]);
        }
        serde_json::from_str(&server.yard.ok(&arguments)).expect("JSON")
    };
    assert_eq!(query("select :d::date + 1 as d", &["d=2013-02-28"]), json!([{"d": "2013-03-01"}]));
    assert_eq!(
        query("select ':no' as a, :yes as b, x::text as c from (values (1)) v(x) -- :not", &["yes=1"]),
        json!([{"a": ":no", "b": "1", "c": "1"}])
    );
    assert_eq!(
        query("select :a::int8 as a, :b::numeric as b", &["a=9223372036854775807", "b=0.10"]),
        json!([{"a": i64::MAX, "b": "0.10"}])
    );
    let refused = server.yard.fails(1, &["query", "sql-database/pg", "select :a::int4", "--param", "a=many"]);
    assert!(
        refused.contains("parameter 1: the statement expects `int4` here, and this string does not fit"),
        "{refused}"
    );
}

#[test]
fn read_operation_cannot_write() {
    let Some(server) = server("reads") else { return };
    server.yard.ok(&["execute", "sql-database/pg", "create table t (a int)"]);
    server.yard.ok(&[
        "execute",
        "sql-database/pg",
        "create function sneak() returns int language sql as 'insert into t values (1) returning a'",
    ]);
    for statement in [
        "insert into t values (1)",
        "with x as (insert into t values (1) returning a) select * from x",
        "select sneak()",
        "explain analyze insert into t values (1)",
        "commit",
        "set transaction read write",
        "/* select */ commit",
        "do $$ begin insert into t values (1); end $$",
    ] {
        let refused = server.yard.fails(5, &["query", "sql-database/pg", statement]);
        assert!(refused.contains("only reads") || refused.contains("read-only transaction"), "{statement}: {refused}");
    }
    // Even after a session changes its settings, its next read transaction begins as READ ONLY.
    let _ = server.yard.run(&["query", "sql-database/pg", "select set_config('default_transaction_read_only', 'off', false), set_config('transaction_read_only', 'off', false)"]);
    let several = server.yard.run(&["query", "sql-database/pg", "select 1; insert into t values (1)"]);
    assert_ne!(several.code, 0);
    assert_eq!(server.psql(&server.database, "select count(*) from t"), "0\n");
}

#[test]
fn query_that_fails_midway_leaves_no_file() {
    let Some(server) = server("middle") else { return };
    let failing = "select 1 / (50000 - i) as x from generate_series(1, 100000) i";
    let refused = server.yard.fails(1, &["query", "sql-database/pg", failing, "--out", "rows.parquet"]);
    expect![[r#"
        error: division by zero
    "#]]
    .assert_eq(&refused);
    assert!(!server.yard.path("rows.parquet").exists());
}

#[test]
fn rejected_login_reports_the_error_of_the_server() {
    let Some(server) = server("no") else { return };
    let secret = "wrong-pass-word-8372";
    assert_eq!(create(&server.yard, "wrong", &server.database, secret), 0);
    let refused = server.yard.fails(1, &["query", "sql-database/wrong", "select 1", "-v", "-v"]);
    assert!(refused.contains("password authentication failed for user \"postgres\""), "{refused}");
    assert!(!refused.contains(secret), "{refused}");
    let check = server.yard.run(&["check", "sql-database/wrong"]);
    assert_eq!(check.code, 1);
    let steps: Vec<&str> =
        check.stdout.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(steps, ["passed", "passed", "failed", "skipped", "skipped", "skipped"], "{}", check.stdout);

    assert_eq!(create(&server.yard, "missing", "no_such_database", &password()), 0);
    let refused = server.yard.fails(1, &["query", "sql-database/missing", "select 1"]);
    assert!(refused.contains("database \"no_such_database\" does not exist"), "{refused}");

    server.yard.ok(&["set", "sql-database/missing", "--set", "port=1"]);
    let refused = server.yard.fails(1, &["query", "sql-database/missing", "select 1"]);
    assert!(refused.contains("`127.0.0.1:1` cannot be reached"), "{refused}");
    let refused = server.yard.run(&["check", "sql-database/missing", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&refused.stdout).expect("JSON")["steps"][1]["status"], "failed");

    server.yard.ok(&["set", "sql-database/missing", "--set", "host=no-such-host.invalid"]);
    let refused = server.yard.fails(1, &["query", "sql-database/missing", "select 1"]);
    assert!(refused.contains("host `no-such-host.invalid` does not resolve"), "{refused}");
}

#[test]
fn check_reports_tls_and_permissions() {
    let Some(server) = server("check") else { return };
    let details = |block: &str| -> Vec<(String, String, String)> {
        let check: Value = serde_json::from_str(&server.yard.run(&["check", block, "--json"]).stdout).expect("JSON");
        let text = |step: &Value, part: &str| step[part].as_str().unwrap_or_default().to_owned();
        let steps = check["steps"].as_array().expect("steps").iter();
        steps.map(|step| (text(step, "name"), text(step, "status"), text(step, "detail"))).collect()
    };
    let steps = details("sql-database/pg");
    let names: Vec<&str> = steps.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["resolve", "connect", "authenticate", "tls", "permissions", "query"]);
    assert!(steps[3].2.starts_with("TLSv1."), "{steps:?}");
    assert_eq!(steps[4].2, "use, create in schema public");
    assert!(steps[5].2.starts_with("PostgreSQL "), "{steps:?}");
    server.yard.ok(&["set", "sql-database/pg", "--set", "options.sslmode=disable"]);
    assert_eq!(details("sql-database/pg")[3].2, "none");

    // The certificate is self-signed, so it is verified only if the block contains it as a CA.
    server.yard.ok(&["set", "sql-database/pg", "--set", "options.sslmode=verify-full"]);
    assert_eq!(details("sql-database/pg")[1].1, "failed");
    let certificate = std::env::var("BLOCKYARD_TEST_POSTGRES_CERTIFICATE").expect("the certificate");
    server.yard.ok(&["set", "sql-database/pg", "--set", &format!("ca=@{certificate}")]);
    assert!(details("sql-database/pg").iter().all(|(_, status, _)| status == "passed"));
    let refused = server.yard.fails(4, &["set", "sql-database/pg", "--set", "ca=ca.pem"]);
    assert!(refused.contains("/ca: is not a PEM-encoded certificate"), "{refused}");
}

#[test]
fn url_is_split_into_fields_and_its_password_sealed() {
    let Some(server) = server("address") else { return };
    let yard = &server.yard;
    let encoded = blockyard_tests::encoded(&password());
    let address = format!("postgresql://postgres:{encoded}@127.0.0.1:{}/{}?sslmode=require", port(), server.database);
    let refused = yard.fails(2, &["create", "sql-database/url", "--set", &format!("url={address}")]);
    assert!(refused.contains("stay in the shell's history") && !refused.contains(&encoded), "{refused}");
    std::fs::write(yard.path("url"), &address).expect("a file");
    let from = format!("url=@{}", yard.path("url").display());
    yard.ok(&["create", "sql-database/url", "--set", &from]);
    std::fs::remove_file(yard.path("url")).expect("the file");
    let config = yard.config("sql-database/url");
    assert_eq!(
        (&config["dialect"], &config["host"], &config["username"], &config["options"]["sslmode"], &config["url"]),
        (&json!("postgres"), &json!("127.0.0.1"), &json!("postgres"), &json!("require"), &Value::Null)
    );
    assert_eq!(yard.reveal("sql-database/url", "password"), password());
    assert_eq!(yard.any_file_contains(&encoded), None);
    assert_eq!(yard.any_file_contains(&password()), None);
    assert!(yard.ok(&["check", "sql-database/url"]).contains("TLSv1."));
    // In a block file, the URL contains no password, and the stored password is retained.
    let blocks = |address: &str| {
        let file = yard.path("blocks.toml");
        let text = format!("version = 1\n\n[blocks.\"sql-database/url\"]\nurl = \"{address}\"\n");
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    };
    let refused = yard.fails(4, &["plan", &blocks(&address)]);
    assert!(refused.contains("/url: contains a password") && !refused.contains(&encoded), "{refused}");
    assert!(!refused.contains("is missing"), "{refused}");
    let file = blocks(&address.replace(&format!(":{encoded}@"), "@").replace("require", "disable"));
    let planned = yard.run(&["plan", &file]);
    assert!(planned.code == 8 && planned.stdout.contains("sslmode"), "{}{}", planned.stdout, planned.stderr);
    yard.ok(&["apply", &file]);
    assert_eq!(yard.config("sql-database/url")["options"]["sslmode"], "disable");
    assert_eq!(yard.reveal("sql-database/url", "password"), password());
    assert_eq!(yard.run(&["plan", &file]).code, 0, "a plan after apply has no changes");
    let file = format!("url=sqlite://{}", yard.path("a b.db").display());
    yard.ok(&["create", "sql-database/file", "--set", &file.replace(' ', "%20")]);
    yard.ok(&["execute", "sql-database/file", "create table t (a int)"]);
    assert!(yard.path("a b.db").exists());
    let wrong = yard.fails(4, &["create", "sql-database/wrong", "--set", "url=oracle://db/zoo"]);
    assert!(wrong.contains("field `url` begins with `oracle:`, which is not a supported scheme"), "{wrong}");
}

#[test]
fn password_is_in_no_output_or_file() {
    let Some(server) = server("nowhere") else { return };
    let mut output = String::new();
    for arguments in [
        &["query", "sql-database/pg", "select 1", "-v", "-v"][..],
        &["show", "sql-database/pg", "--json"],
        &["history", "sql-database/pg"],
        &["list", "--json"],
        &["audit", "--json"],
        &["check", "sql-database/pg", "-v"],
        &["query", "sql-database/pg", "select current_setting('no.such')"],
    ] {
        let result = server.yard.run(arguments);
        output.push_str(&result.stdout);
        output.push_str(&result.stderr);
    }
    assert!(!output.contains(&password()), "{output}");
    assert_eq!(server.yard.any_file_contains(&password()), None);
}

#[test]
fn unrepresentable_dates_and_times_are_rejected() {
    let Some(server) = server("dates") else { return };
    for value in ["'infinity'::date", "'-infinity'::date", "'-infinity'::timestamp", "'24:00:00'::time"] {
        let refused =
            server.yard.fails(1, &["query", "sql-database/pg", &format!("select {value} as v"), "--format", "json"]);
        assert!(refused.contains("row 1: column `v`") && refused.contains("read it as text"), "{value}: {refused}");
    }
    assert_eq!(server.rows("select '294276-12-31'::date as v"), json!([{"v": "+294276-12-31"}]));
    let refused = server
        .yard
        .fails(1, &["query", "sql-database/pg", "select '294276-12-31'::timestamp as v", "--format", "json"]);
    assert!(refused.contains("row 1: ") && refused.contains("read it as text"), "{refused}");
    assert_eq!(server.rows("select '-infinity'::date::text as v"), json!([{"v": "-infinity"}]));
    let exact = "n=12345678901234567890.12";
    let read =
        server.yard.ok(&["query", "sql-database/pg", "select :n::numeric as n", "--param", exact, "--format", "csv"]);
    assert_eq!(read, "n\n12345678901234567890.12\n");
}
