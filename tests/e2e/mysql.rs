//! `sql-database` on a MariaDB server, compared with the results of the client `mariadb`.

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, available, run_command};
use expect_test::expect;
use serde_json::{Value, json};

pub(crate) struct Server {
    pub(crate) yard: TestYard,
    database: String,
}

fn port() -> String {
    std::env::var("BLOCKYARD_TEST_MARIADB_PORT").expect("the port")
}

fn password() -> String {
    std::env::var("BLOCKYARD_TEST_MARIADB_PASSWORD").expect("the password")
}

/// Creates a yard with `sql-database/my` on a new database. Returns `None` without a server.
pub(crate) fn server(name: &str) -> Option<Server> {
    if !available("BLOCKYARD_TEST_MARIADB_PORT") {
        return None;
    }
    let server = Server { yard: TestYard::new(), database: format!("test_{name}") };
    server.witness(
        "",
        &format!("drop database if exists {0}; create database {0} character set utf8mb4", server.database),
    );
    assert_eq!(create(&server.yard, "my", &server.database, &password(), &[]), 0);
    Some(server)
}

fn create(yard: &TestYard, name: &str, database: &str, password: &str, more: &[&str]) -> i32 {
    let (address, database, port) =
        (format!("sql-database/{name}"), format!("database={database}"), format!("port={}", port()));
    let mut arguments = vec!["create", &address, "--secret", "password=-"];
    for field in ["dialect=mysql", "host=127.0.0.1", &port, &database, "username=blockyard"].iter().chain(more) {
        arguments.extend(["--set", field]);
    }
    yard.run_with_input(&arguments, password).code
}

impl Server {
    fn witness(&self, database: &str, statement: &str) -> String {
        let port = format!("--port={}", port());
        let mut witness = program("mariadb");
        witness
            .args([
                "--no-defaults",
                "--default-character-set=utf8mb4",
                "--host=127.0.0.1",
                "--user=blockyard",
                "--batch",
                "--skip-column-names",
                &port,
            ])
            .args(["--execute", statement, database])
            .env("MYSQL_PWD", password());
        let read = run_command(&mut witness, None);
        assert_eq!(read.code, 0, "{}", read.stderr);
        read.stdout
    }

    fn rows(&self, statement: &str) -> Value {
        serde_json::from_str(&self.yard.ok(&["query", "sql-database/my", statement, "--format", "json"])).expect("JSON")
    }

    fn execute(&self, statement: &str) {
        self.yard.ok(&["execute", "sql-database/my", statement]);
    }
}

#[test]
fn values_round_trip_through_the_mariadb_client() {
    let Some(server) = server("both") else { return };
    server.execute("create table t (id int, day date, amount decimal(10,3), at datetime(6), note text, tags json, ok boolean, raw varbinary(20), k uuid)");
    server.yard.ok(&[
        "call",
        "sql-database/my",
        "execute-many",
        "--args",
        r#"{"statement": "insert into t values (:id, :day, :amount, :at, :note, :tags, :ok, :raw, :key)", "parameters": [
            {"id": 1, "day": "2013-02-08", "amount": "12.500", "at": "2013-02-08T11:00:00.000001", "note": "it's \\ ü 🦓", "tags": {"a": [1]}, "ok": true, "raw": "bytes", "key": "00112233-4455-6677-8899-aabbccddeeff"},
            {"id": 2, "day": null, "amount": -0.001, "at": null, "note": 7, "tags": null, "ok": null, "raw": null, "key": null}]}"#,
    ]);
    let read = server.witness(&server.database, "select * from t order by id");
    expect![[r#"
        1	2013-02-08	12.500	2013-02-08 11:00:00.000001	it's \\ ü 🦓	{"a":[1]}	1	bytes	00112233-4455-6677-8899-aabbccddeeff
        2	NULL	-0.001	NULL	7	NULL	NULL	NULL	NULL
    "#]]
    .assert_eq(&read);
    server.witness(
        &server.database,
        r"insert into t values (3, '1600-02-29', '-0.100', '1969-12-31 23:59:59.999999', 'tab\t', '[]', false, x'00ff', null)",
    );
    assert_eq!(
        server.rows("select * from t where id = 3"),
        json!([{"id": 3, "day": "1600-02-29", "amount": "-0.100", "at": "1969-12-31T23:59:59.999999", "note": "tab\t", "tags": "[]",
                "ok": false, "raw": "AP8=", "k": null}])
    );
}

#[test]
fn every_type_preserves_its_value() {
    let Some(server) = server("types") else { return };
    server.execute(
        "create table t (a tinyint, b smallint unsigned, c mediumint, d int unsigned, e bigint, f bigint unsigned, g float, h double, \
         i decimal(30,10), j bit(9), k year, l date, m time(6), n datetime, o timestamp(3) null, p char(3), q enum('sad','glad'), \
         r set('x','y'), s longtext, t blob, u boolean, v binary(2), w tinytext)",
    );
    server.witness(
        &server.database,
        "set time_zone = '+01:00'; insert into t values (-128, 65535, -8388608, 4294967295, -9223372036854775808, 18446744073709551615, \
         1.5, 2.5, '12345678901234567890.0001', b'100000001', 2026, '0001-01-01', '23:59:59.5', '2013-02-08 11:00', \
         '2013-02-08 12:00:00.5', 'y', 'glad', 'x,y', 'long', 'blob', true, 'ab', 'tiny')",
    );
    let fetched = server.yard.ok(&["call", "sql-database/my", "fetch-one", "--statement", "select * from t"]);
    let row: Value = serde_json::from_str(&fetched).expect("JSON");
    assert_eq!(
        row,
        json!({"a": -128, "b": 65535, "c": -8_388_608, "d": 4_294_967_295u32, "e": i64::MIN, "f": u64::MAX, "g": 1.5,
               "h": 2.5, "i": "12345678901234567890.0001000000", "j": 257, "k": 2026, "l": "0001-01-01", "m": "23:59:59.500000",
               "n": "2013-02-08T11:00:00", "o": "2013-02-08T11:00:00.500000Z", "p": "y", "q": "glad", "r": "x,y", "s": "long",
               "t": "YmxvYg==", "u": true, "v": "YWI=", "w": "tiny"})
    );
    // In Arrow, unsigned integers keep 64 bits, and booleans are booleans.
    assert_eq!(server.rows("select f, u from t"), json!([{"f": u64::MAX, "u": true}]));
    assert_eq!(server.rows("select point(1, 2) is not null as p, null as n"), json!([{"p": 1, "n": null}]));
}

#[test]
fn unrepresentable_dates_and_times_are_rejected() {
    let Some(server) = server("dates") else { return };
    server.witness(
        &server.database,
        "set sql_mode = ''; create table t (d date, t time, a datetime, o boolean); insert into t values ('0000-00-00', '-01:00:00', '2020-00-00', 5)",
    );
    for column in ["d", "t", "a"] {
        let refused =
            server.yard.fails(1, &["query", "sql-database/my", &format!("select {column} from t"), "--format", "json"]);
        assert!(refused.contains("read it as text"), "{column}: {refused}");
    }
    assert_eq!(
        server.rows("select cast(d as char) d, cast(t as char) t, cast(a as char) a, o + 0 as o from t"),
        json!([{"d": "0000-00-00", "t": "-01:00:00", "a": "2020-00-00 00:00:00", "o": 5}])
    );
    let refused = server.yard.fails(1, &["query", "sql-database/my", "select o from t", "--format", "json"]);
    assert!(refused.contains("column `o`"), "{refused}");
}

#[test]
fn named_parameters_are_bound_by_name() {
    let Some(server) = server("parameters") else { return };
    let query = |statement: &str, parameters: &[&str]| -> Value {
        let mut arguments = vec!["query", "sql-database/my", statement, "--format", "json"];
        for parameter in parameters {
            arguments.extend(["--param", parameter]);
        }
        serde_json::from_str(&server.yard.ok(&arguments)).expect("JSON")
    };
    assert_eq!(
        query(r"select ':no' as a, 'it\':s' as b, :yes as c, :yes as d # :neither", &["yes=x"]),
        json!([{"a": ":no", "b": "it':s", "c": "x", "d": "x"}])
    );
    assert_eq!(
        query("select cast(:a as signed) as a, cast(:b as decimal(20,2)) as b", &["a=9223372036854775807", "b=0.10"]),
        json!([{"a": i64::MAX, "b": "0.10"}])
    );
    assert_eq!(query("select date(:d) + interval 1 day as d", &["d=2013-02-28"]), json!([{"d": "2013-03-01"}]));
}

#[test]
fn write_reports_affected_rows_and_insert_id() {
    let Some(server) = server("writes") else { return };
    server.execute("create table t (id int auto_increment primary key, a int)");
    let executed =
        server.yard.ok(&["call", "sql-database/my", "execute", "--statement", "insert into t (a) values (1), (2)"]);
    let executed: Value = serde_json::from_str(&executed).expect("JSON");
    assert_eq!(executed, json!({"rows_affected": 2, "last_insert_id": 1}));
    let many = r#"{"statement": "insert into t values (:id, 0)", "parameters": [{"id": 7}, {"id": 7}]}"#;
    let refused = server.yard.fails(1, &["call", "sql-database/my", "execute-many", "--args", many]);
    assert!(refused.contains("set 2 of the parameters: Duplicate entry '7'"), "{refused}");
    assert_eq!(server.rows("select count(*) as n from t"), json!([{"n": 2}]));
}

#[test]
fn multiple_statements_and_transaction_control_are_rejected() {
    let Some(server) = server("alone") else { return };
    server.execute("create table t (a int)");
    for statement in ["select 1; insert into t values (1)", "insert into t values (1); insert into t values (2)"] {
        let refused = server.yard.fails(1, &["execute", "sql-database/my", statement]);
        assert!(refused.contains("error in your SQL syntax"), "{statement}: {refused}");
    }
    for statement in ["begin", "# why\n commit", "savepoint s", "execute immediate 'commit'", "/*! commit */"] {
        let refused = server.yard.fails(1, &["execute", "sql-database/my", statement]);
        assert!(refused.contains("the host begins") || refused.contains("would execute"), "{statement}: {refused}");
    }
    assert_eq!(server.witness(&server.database, "select count(*) from t"), "0\n");
}

#[test]
fn rejected_login_reports_the_error_of_the_server() {
    let Some(server) = server("no") else { return };
    let secret = "wrong-pass-word-8372";
    assert_eq!(create(&server.yard, "wrong", &server.database, secret, &[]), 0);
    let refused = server.yard.fails(1, &["query", "sql-database/wrong", "select 1", "-v", "-v"]);
    assert!(refused.contains("Access denied for user 'blockyard'"), "{refused}");
    assert!(!refused.contains(secret), "{refused}");
    let check = server.yard.run(&["check", "sql-database/wrong"]);
    assert_eq!(check.code, 1);
    let steps: Vec<&str> =
        check.stdout.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(steps, ["passed", "passed", "failed", "skipped", "skipped", "skipped"], "{}", check.stdout);

    assert_eq!(create(&server.yard, "missing", "no_such_database", &password(), &[]), 0);
    let refused = server.yard.fails(1, &["query", "sql-database/missing", "select 1"]);
    assert!(refused.contains("Unknown database 'no_such_database'"), "{refused}");
    server.yard.ok(&["set", "sql-database/missing", "--set", "port=1"]);
    let refused = server.yard.fails(1, &["query", "sql-database/missing", "select 1"]);
    assert!(refused.contains("`127.0.0.1:1` cannot be reached"), "{refused}");

    let check = server.yard.json(&["check", "sql-database/my"]);
    assert_eq!(check["passed"], json!(true), "{check}");
    assert!(check["steps"][5]["detail"].as_str().is_some_and(|version| version.contains("MariaDB")), "{check}");
    for refused in [&["application_name=x"][..], &["sslmode=prefered"]] {
        let option = format!("options.{}", refused[0]);
        assert_eq!(create(&server.yard, "option", &server.database, &password(), &[&option]), 4);
    }
}

#[test]
fn sslmode_determines_tls() {
    let Some(server) = server("tls") else { return };
    for (mode, encrypted) in [("disable", false), ("prefer", true), ("require", true)] {
        let option = format!("options.sslmode={mode}");
        assert_eq!(create(&server.yard, mode, &server.database, &password(), &[&option]), 0);
        let statement = "show session status like 'Ssl_version'";
        let read = server.yard.ok(&["query", &format!("sql-database/{mode}"), statement, "--format", "json"]);
        assert_eq!(read.contains("TLSv1"), encrypted, "{mode}: {read}");
    }
    // The certificate is self-signed, so no CA on this machine verifies it.
    for mode in ["verify-ca", "verify-full"] {
        let option = format!("options.sslmode={mode}");
        assert_eq!(create(&server.yard, mode, &server.database, &password(), &[&option]), 0);
        let refused = server.yard.fails(1, &["query", &format!("sql-database/{mode}"), "select 1"]);
        assert!(refused.contains("TLS: "), "{mode}: {refused}");
        // A CA in the block verifies it.
        let certificate = std::env::var("BLOCKYARD_TEST_MARIADB_CERTIFICATE").expect("the certificate");
        let block = format!("sql-database/{mode}");
        server.yard.ok(&["set", &block, "--set", &format!("ca=@{certificate}")]);
        let check = server.yard.json(&["check", &block]);
        assert_eq!(check["passed"], json!(true), "{check}");
        assert!(check["steps"][3]["detail"].as_str().is_some_and(|tls| tls.starts_with("TLSv1.")), "{check}");
        assert!(check["steps"][4]["detail"].as_str().is_some_and(|may| may.contains("insert, select")), "{check}");
    }
}

#[test]
fn password_is_in_no_output_or_file() {
    let Some(server) = server("nowhere") else { return };
    let mut output = String::new();
    for arguments in [
        &["query", "sql-database/my", "select 1", "-v", "-v"][..],
        &["show", "sql-database/my", "--json"],
        &["audit", "--json"],
        &["check", "sql-database/my", "-v"],
        &["query", "sql-database/my", "select no_such_column"],
    ] {
        let result = server.yard.run(arguments);
        output.push_str(&result.stdout);
        output.push_str(&result.stderr);
    }
    assert!(!output.contains(&password()), "{output}");
    assert_eq!(server.yard.any_file_contains(&password()), None);
}
