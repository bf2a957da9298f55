//! A value is stored exactly, or an error names its row: parameters and results of all databases,
//! in every output format.

use blockyard_tests::TestYard;
use serde_json::{Value, json};

use crate::{mysql, postgres};

const FORMATS: [&str; 3] = ["json", "ndjson", "csv"];
const LONG: &str = "12345678901234567890123";

/// A database that is queried through the commands.
struct Database<'a> {
    yard: &'a TestYard,
    block: &'static str,
}

impl Database<'_> {
    fn execute(&self, statement: &str, parameters: &[&str]) -> String {
        self.yard.ok(&Self::arguments("execute", self.block, statement, parameters, &[]))
    }

    fn query(&self, statement: &str, format: &str, parameters: &[&str]) -> String {
        self.yard.ok(&Self::arguments("query", self.block, statement, parameters, &["--format", format]))
    }

    fn query_fails(&self, statement: &str, format: &str, parameters: &[&str]) -> String {
        let arguments = Self::arguments("query", self.block, statement, parameters, &["--format", format]);
        let output = self.yard.run(&arguments);
        assert_ne!(output.code, 0, "{statement}: {}", output.stdout);
        output.stderr
    }

    fn execute_fails(&self, statement: &str, parameters: &[&str]) -> String {
        let output = self.yard.run(&Self::arguments("execute", self.block, statement, parameters, &[]));
        assert_ne!(output.code, 0, "{statement}: {}", output.stdout);
        output.stderr
    }

    /// Returns the output of `fetch-all` without white space.
    fn fetch(&self, statement: &str) -> String {
        let fetched = self.yard.ok(&["call", self.block, "fetch-all", "--statement", statement]);
        fetched.split_whitespace().collect()
    }

    fn call_fails(&self, arguments: &[&str]) -> String {
        let output = self.yard.run(&[&["call", self.block][..], arguments].concat());
        assert_ne!(output.code, 0, "{arguments:?}: {}", output.stdout);
        output.stderr
    }

    fn arguments<'t>(
        command: &'t str,
        block: &'t str,
        statement: &'t str,
        parameters: &[&'t str],
        more: &[&'t str],
    ) -> Vec<&'t str> {
        let mut arguments = vec![command, block, statement];
        arguments.extend(parameters.iter().flat_map(|parameter| ["--param", parameter]));
        arguments.extend(more);
        arguments
    }
}

fn sqlite(yard: &TestYard) -> Database<'_> {
    Database { yard, block: "sql-database/flights" }
}

#[test]
fn json_numbers_preserve_all_digits() {
    let yard = TestYard::with_sqlite();
    let lite = sqlite(&yard);
    lite.execute("create table j (doc text)", &[]);
    lite.execute("insert into j values (:d)", &[&format!(r#"d={{"id":{LONG},"x":[0.10]}}"#)]);
    assert_eq!(
        lite.query("select doc from j", "csv", &[]),
        format!("doc\n\"{{\"\"id\"\":{LONG},\"\"x\"\":[0.10]}}\"\n")
    );
    let many = format!(r#"{{"statement": "insert into j values (?)", "parameters": [[{{"n": {LONG}}}], [[{LONG}]]]}}"#);
    yard.ok(&["call", lite.block, "execute-many", "--args", &many]);
    let read = lite.query("select doc from j where doc not like '%id%'", "csv", &[]);
    assert_eq!(read, format!("doc\n\"{{\"\"n\"\":{LONG}}}\"\n[{LONG}]\n"));
    // A number that no type of SQLite can hold is rejected; the same digits as a string are
    // accepted.
    let refused =
        lite.call_fails(&["execute", "--statement", "insert into j values (?)", "--parameters", &format!("[{LONG}]")]);
    assert!(refused.contains("pass it as a string"), "{refused}");
    lite.execute("insert into j values (:n)", &[&format!("n={LONG}")]);
    assert!(lite.query("select doc from j where doc = :n", "csv", &[&format!("n={LONG}")]).contains(LONG));

    let Some(server) = postgres::server("values_json") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    let select = format!("select '{{\"id\": {LONG}, \"x\": 0.10}}'::jsonb j");
    assert_eq!(pg.fetch(&select), format!(r#"[{{"j":{{"id":{LONG},"x":0.10}}}}]"#));
    pg.execute("create table j (doc jsonb, n numeric)", &[]);
    let insert = format!(
        r#"{{"statement": "insert into j values (:d, :n)", "parameters": {{"d": {{"id": {LONG}}}, "n": {LONG}.50}}}}"#
    );
    server.yard.ok(&["call", pg.block, "execute", "--args", &insert]);
    assert_eq!(pg.query("select doc->>'id' as id, n from j", "csv", &[]), format!("id,n\n{LONG},{LONG}.50\n"));
    assert_eq!(pg.fetch("select doc, n from j"), format!(r#"[{{"doc":{{"id":{LONG}}},"n":"{LONG}.50"}}]"#));
    // One of two members with the same name would be lost.
    let refused = pg.call_fails(&["fetch-all", "--statement", "select '{\"a\": 1, \"a\": 2}'::json j"]);
    assert!(refused.contains("row 1") && refused.contains("`a` appears twice"), "{refused}");
}

#[test]
fn malformed_json_arguments_are_reported() {
    let yard = TestYard::with_sqlite();
    let lite = sqlite(&yard);
    lite.execute("create table t (a text)", &[]);
    for wrong in ["[1,", "{\"a\": 1, \"a\": 2}"] {
        let refused = lite.call_fails(&["fetch-all", "--statement", "select 1", "--parameters", wrong]);
        assert!(refused.contains("the value of `--parameters` is not JSON"), "{refused}");
    }
    let refused = lite.call_fails(&["fetch-all", "--args", r#"{"statement": "select 1", "statement": "select 2"}"#]);
    assert!(refused.contains("appears twice"), "{refused}");
    // Strings that look like numbers remain strings.
    for text in ["557E90", "1.10", "00501", "1e5", "+1", "12345678901234567890.12"] {
        assert_eq!(
            lite.query("select typeof(:v) as t, :v as v", "csv", &[&format!("v={text}")]),
            format!("t,v\ntext,{text}\n")
        );
    }
    assert_eq!(lite.query("select typeof(:v) as t, :v as v", "csv", &["v=0.5"]), "t,v\nreal,0.5\n");
}

#[test]
fn lossy_floats_are_rejected() {
    let yard = TestYard::with_sqlite();
    let lite = sqlite(&yard);
    lite.execute("create table m (x numeric)", &[]);
    lite.execute("insert into m values (0.5), (9007199254740993)", &[]);
    for format in FORMATS {
        let refused = lite.query_fails("select x from m", format, &[]);
        assert!(refused.contains("row 2: column `x` has `9007199254740993`"), "{refused}");
        // An expression has no declared type.
        let refused = lite.query_fails("select +x as y from m", format, &[]);
        assert!(refused.contains("row 2: column `y` has `9007199254740993`"), "{refused}");
    }
    assert_eq!(lite.fetch("select x from m"), r#"[{"x":0.5},{"x":9007199254740993}]"#);
    assert_eq!(lite.query("select cast(x as text) as x from m", "csv", &[]), "x\n0.5\n9007199254740993\n");

    let Some(server) = postgres::server("values_floats") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    for (kind, value) in [
        ("float8", "9007199254740993"),
        ("float8", "0.12345678901234567890"),
        ("float4", "16777217"),
        ("float8", "1e400"),
    ] {
        let refused = pg.query_fails(&format!("select :x::{kind} as x"), "csv", &[&format!("x={value}")]);
        assert!(refused.contains("cannot hold all digits"), "{kind} {value}: {refused}");
    }
    assert_eq!(
        pg.query("select :x::float8 as x, :y::float4 as y", "csv", &["x=9007199254740992", "y=0.1"]),
        "x,y\n9007199254740992.0,0.1\n"
    );
    // All formats print 32-bit floats in the same way.
    let select = "select 0.1::float4 f, 3.4028235e38::float4 g, array[0.1::float4] l";
    assert_eq!(pg.fetch(select), r#"[{"f":0.1,"g":3.4028235e+38,"l":[0.1]}]"#);
    assert_eq!(pg.query("select 0.1::float4 f", "json", &[]), "[{\"f\":0.1}]\n");
    assert_eq!(pg.query("select 0.1::float4 f", "csv", &[]), "f\n0.1\n");
    let table = pg.query("select 0.1::float4 f", "table", &[]);
    assert!(table.contains("0.1") && !table.contains("0.10"), "{table}");
}

#[test]
fn bytes_have_one_text_form_in_both_directions() {
    let Some(server) = postgres::server("values_bytes") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    pg.execute("create table bb (b bytea, l bytea[])", &[]);
    for parameter in ["b=3q0=", "b=3q0", r"b=\xdead", r#"b={"$bytes": "3q0="}"#] {
        pg.execute("insert into bb values (:b)", &[parameter]);
    }
    let many = r#"{"statement": "insert into bb values (:b, :l)", "parameters": [
        {"b": "3q0=", "l": ["3q0=", null]}, {"b": {"$bytes": "3q0="}, "l": null}, {"b": "3q0", "l": []},
        {"b": "3q0=", "l": null}, {"b": "3q0=", "l": null}, {"b": "3q0=", "l": null}]}"#;
    server.yard.ok(&["call", pg.block, "execute-many", "--args", many]);
    assert_eq!(
        pg.query("select encode(b, 'hex') as h, count(*) as n from bb group by 1", "csv", &[]),
        "h,n\ndead,10\n"
    );
    assert_eq!(pg.fetch("select b, l from bb where l[1] is not null"), r#"[{"b":"3q0=","l":["3q0=",null]}]"#);
    let wrong = pg.execute_fails("insert into bb values (:b)", &["b=not base64"]);
    assert!(wrong.contains("neither base64 nor"), "{wrong}");
    for format in FORMATS {
        assert!(pg.query("select b from bb limit 1", format, &[]).contains("3q0="), "{format}");
    }

    let yard = TestYard::with_sqlite();
    let lite = sqlite(&yard);
    lite.execute("create table bb (b blob)", &[]);
    lite.execute("insert into bb values (:b)", &[r#"b={"$bytes": "3q0="}"#]);
    let many = r#"{"statement": "insert into bb values (?)", "parameters": [[{"$bytes": "3q0"}], [{"$bytes": ""}]]}"#;
    yard.ok(&["call", lite.block, "execute-many", "--args", many]);
    assert_eq!(lite.query("select hex(b) as h from bb", "csv", &[]), "h\nDEAD\nDEAD\n\"\"\n");
    assert_eq!(lite.fetch("select b from bb limit 1"), r#"[{"b":"3q0="}]"#);
    let wrong = lite.execute_fails("insert into bb values (:b)", &[r#"b={"$bytes": "*"}"#]);
    assert!(wrong.contains("parameter `:b`") && wrong.contains("base64"), "{wrong}");
    // A string in a column of bytes is not converted to bytes.
    lite.execute("insert into bb values ('text')", &[]);
    let refused = lite.query_fails("select b from bb", "json", &[]);
    assert!(refused.contains("row 4: column `b` has a string"), "{refused}");
}

#[test]
fn bytes_have_one_text_form_in_mysql() {
    let Some(server) = mysql::server("values_bytes") else { return };
    let my = Database { yard: &server.yard, block: "sql-database/my" };
    my.execute("create table bb (b longblob)", &[]);
    my.execute("insert into bb values (:b)", &[r#"b={"$bytes": "3q0="}"#]);
    assert_eq!(my.query("select hex(b) as h from bb", "csv", &[]), "h\nDEAD\n");
    assert_eq!(my.fetch("select b from bb"), r#"[{"b":"3q0="}]"#);
    my.execute("create table f (x double, y float, t time, l json)", &[]);
    let insert =
        |value: &str| format!(r#"{{"statement": "insert into f (l) values (:l)", "parameters": {{"l": {value}}}}}"#);
    server.yard.ok(&["call", my.block, "execute", "--args", &insert(&format!("[{LONG}]"))]);
    assert!(my.fetch("select l from f").contains(LONG));
    my.execute("insert into f (y, t) values (0.1, '-838:59:59')", &[]);
    assert_eq!(my.fetch("select y, t from f where y is not null"), r#"[{"t":"-838:59:59","y":0.1}]"#);
    let refused = my.query_fails("select t from f", "json", &[]);
    assert!(refused.contains("row 2: column `t` has `-838:59:59`"), "{refused}");
    let listed = my.query_fails("select 1 where 1 in (:l)", "json", &["l=[1, 2]"]);
    assert!(listed.contains("json_contains"), "{listed}");
    assert_eq!(my.query("select 1 as n where json_contains(:l, 2)", "csv", &["l=[1, 2]"]), "n\n1\n");
}

#[test]
fn nan_and_infinity_are_never_null() {
    let Some(server) = postgres::server("values_nan") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    let select = "select 'infinity'::float8 a, 'NaN'::float8 b, '-infinity'::float4 c, 'NaN'::numeric d";
    let words = r#"{"a":"Infinity","b":"NaN","c":"-Infinity","d":"NaN"}"#;
    assert_eq!(pg.query(select, "json", &[]), format!("[{words}]\n"));
    assert_eq!(pg.query(select, "ndjson", &[]), format!("{words}\n"));
    assert_eq!(pg.query(select, "csv", &[]), "a,b,c,d\nInfinity,NaN,-Infinity,NaN\n");
    assert!(pg.query(select, "table", &[]).contains("-Infinity"));
    assert_eq!(pg.fetch(select), format!("[{words}]"));
    assert_eq!(pg.fetch("select array['infinity', 'NaN']::float8[] a"), r#"[{"a":["Infinity","NaN"]}]"#);
    pg.execute("create table n (x float8, y float4, z numeric)", &[]);
    for word in ["NaN", "Infinity", "-Infinity"] {
        // In PostgreSQL, a parameter has a single type.
        let parameters = ["x", "y", "z"].map(|name| format!("{name}={word}"));
        let parameters = parameters.each_ref().map(String::as_str);
        pg.execute("insert into n values (:x, :y, :z)", &parameters);
    }
    assert_eq!(
        pg.query("select x::text x, y::text y, z::text z from n", "csv", &[]),
        "x,y,z\nNaN,NaN,NaN\nInfinity,Infinity,Infinity\n-Infinity,-Infinity,-Infinity\n"
    );

    let yard = TestYard::with_sqlite();
    let lite = sqlite(&yard);
    lite.execute("create table begun (a)", &[]);
    assert_eq!(
        lite.query("select 9e999 as x, -9e999 as y", "json", &[]),
        "[{\"x\":\"Infinity\",\"y\":\"-Infinity\"}]\n"
    );
    assert_eq!(lite.fetch("select 9e999 as x"), r#"[{"x":"Infinity"}]"#);
}

#[test]
fn dates_and_times_have_one_form_in_both_directions() {
    let Some(server) = postgres::server("values_dates") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    pg.execute("create table d (i int, day date, at timestamp, zoned timestamptz)", &[]);
    let insert = "insert into d values (:i, :day, :at, :zoned)";
    for (i, day) in
        ["-0043-03-15", "+15000-12-31", "0000-02-29", "2013-02-08", "+5874897-12-31", "infinity", "-infinity"]
            .iter()
            .enumerate()
    {
        let at =
            if day.ends_with("infinity") || i == 4 { "-infinity".to_owned() } else { format!("{day}T11:00:00.500000") };
        let zoned = if at.ends_with("infinity") { "infinity".to_owned() } else { format!("{at}Z") };
        let parameters = [format!("i={i}"), format!("day={day}"), format!("at={at}"), format!("zoned={zoned}")];
        pg.execute(insert, &parameters.each_ref().map(String::as_str));
        assert_eq!(
            pg.fetch(&format!("select day, at, zoned from d where i = {i}")),
            format!(r#"[{{"at":"{at}","day":"{day}","zoned":"{zoned}"}}]"#)
        );
    }
    // Compared with the server's own text representation.
    let witness = "select day::text as day, at::text as at from d where i < 2 order by i";
    assert_eq!(
        pg.query(witness, "csv", &[]),
        "day,at\n0044-03-15 BC,0044-03-15 11:00:00.5 BC\n15000-12-31,15000-12-31 11:00:00.5\n"
    );
    let expected = "day,zoned\n-0043-03-15,-0043-03-15T11:00:00.500000Z\n+15000-12-31,+15000-12-31T11:00:00.500000Z\n";
    assert_eq!(pg.query("select day, zoned from d where i < 2 order by i", "csv", &[]), expected);
    assert_eq!(pg.query("select day from d where i = 0", "json", &[]), "[{\"day\":\"-0043-03-15\"}]\n");
    let refused = pg.query_fails("select day from d where i in (3, 5) order by i", "json", &[]);
    assert!(refused.contains("row 2: column `day` has `infinity`") && refused.contains("cast("), "{refused}");
    // The same forms apply in lists, and in several sets of parameters.
    let many = r#"{"statement": "insert into d values (:i, :day, :at, :zoned)", "parameters": [
        {"i": 10, "day": "-0043-03-15", "at": "infinity", "zoned": "-0043-03-15T12:00:00+01:00"}, {"i": 11, "day": null, "at": null, "zoned": null},
        {"i": 12, "day": "infinity", "at": "+15000-12-31T00:00:00", "zoned": null}, {"i": 13, "day": null, "at": null, "zoned": null},
        {"i": 14, "day": null, "at": null, "zoned": null}, {"i": 15, "day": null, "at": null, "zoned": null}]}"#;
    server.yard.ok(&["call", pg.block, "execute-many", "--args", many]);
    assert_eq!(
        pg.fetch("select array_agg(day order by i) l, array_agg(zoned order by i) z from d where i in (10, 12)"),
        r#"[{"l":["-0043-03-15","infinity"],"z":["-0043-03-15T11:00:00Z",null]}]"#
    );
    assert_eq!(
        pg.query("select :l::date[]::text as l", "csv", &[r#"l=["-0043-03-15", "infinity"]"#]),
        "l\n\"{\"\"0044-03-15 BC\"\",infinity}\"\n"
    );
}

#[test]
fn out_of_range_times_are_rejected_with_a_reason() {
    let Some(server) = postgres::server("values_zones") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    let refused = pg.query_fails("select :t::timestamptz as t", "csv", &["t=2013-02-08 11:00"]);
    assert!(refused.contains("this timestamp has no time zone"), "{refused}");
    let refused = pg.query_fails("select :t::timestamp as t", "csv", &["t=2013-02-08T11:00:00+01:00"]);
    assert!(refused.contains("has no time zone, and this string names one"), "{refused}");
    for time in ["24:00:01", "-01:00", "25:00"] {
        assert!(
            pg.query_fails("select :t::time as t", "csv", &[&format!("t={time}")]).contains("does not fit"),
            "{time}"
        );
    }
    assert_eq!(pg.fetch("select time '24:00' as t"), r#"[{"t":"24:00:00"}]"#);
    let refused = pg.query_fails("select time '24:00' as t", "json", &[]);
    assert!(refused.contains("row 1: column `t` has `24:00:00`"), "{refused}");
}

#[test]
fn duplicate_column_names_are_rejected() {
    let yard = TestYard::with_sqlite();
    let lite = sqlite(&yard);
    lite.execute("create table t (a)", &[]);
    let select = "select 1 as n, 2 as n";
    for operation in [&["fetch-one"][..], &["fetch-all"], &["fetch-many", "--size", "1"]] {
        let refused = lite.call_fails(&[operation, &["--statement", select]].concat());
        assert!(refused.contains("two columns are named `n`") && refused.contains("`as`"), "{refused}");
    }
    for format in ["json", "ndjson", "arrow", "parquet"] {
        let refused = lite.query_fails(select, format, &[]);
        assert!(refused.contains("two columns are named `n`") && refused.contains("`as`"), "{format}: {refused}");
    }
    assert_eq!(lite.query(select, "csv", &[]), "n,n\n1,2\n");
    assert!(lite.query(select, "table", &[]).contains('2'));
    // The error does not depend on the rows.
    assert!(lite.query_fails("select 1 as n, 2 as n where false", "json", &[]).contains("two columns"));
}

#[test]
fn sqlite_columns_have_their_declared_type() {
    let yard = TestYard::with_sqlite();
    let lite = sqlite(&yard);
    lite.execute("create table late (a integer, b numeric, c real, d boolean)", &[]);
    lite.execute(
        "insert into late with recursive n(i) as (select 1 union all select i + 1 from n where i < 25000) \
         select i, case when i = 25000 then 0.5 else i end, i, i % 2 from n",
        &[],
    );
    let rows = lite.query("select a, b from late", "ndjson", &[]);
    assert!(rows.ends_with("{\"a\":25000,\"b\":0.5}\n"), "{}", rows.lines().last().unwrap_or_default());
    let refused = lite.query_fails("select b + 0 as b from late", "ndjson", &[]);
    assert!(refused.contains("row 25000: column `b` has a float") && refused.contains("cast("), "{refused}");
    // Also without rows.
    for statement in ["select * from late", "select * from late where false"] {
        yard.ok(&["query", lite.block, statement, "--out", "late.arrow"]);
        let schema = arrow_types(&yard, "late.arrow");
        assert_eq!(schema, ["Int64", "Float64", "Float64", "Int64"], "{statement}");
    }
}

fn arrow_types(yard: &TestYard, file: &str) -> Vec<String> {
    let bytes = std::fs::read(yard.path(file)).expect("the file");
    let reader = arrow_ipc::reader::StreamReader::try_new(bytes.as_slice(), None).expect("a stream");
    reader.schema().fields().iter().map(|field| field.data_type().to_string()).collect()
}

#[test]
fn unknown_types_are_returned_as_text() {
    let Some(server) = postgres::server("values_unknown") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    pg.execute("create table spans (i int, s int4multirange, l int4multirange[])", &[]);
    let insert = "insert into spans values (:i, (:s::text)::int4multirange, array['{[1,2)}'::int4multirange])";
    pg.execute(insert, &["i=1", "s={[1,3), [5,8)}"]);
    assert_eq!(pg.fetch("select * from spans where i = 1"), r#"[{"i":1,"l":["{[1,2)}"],"s":"{[1,3),[5,8)}"}]"#);
    let fetched = server.yard.ok(&[
        "call",
        pg.block,
        "fetch-all",
        "--statement",
        "select s, i from spans where i = :i",
        "--parameters",
        r#"{"i": 1}"#,
    ]);
    assert!(fetched.contains("{[1,3),[5,8)}"), "{fetched}");
    assert_eq!(pg.query("select s from spans", "csv", &[]), "s\n\"{[1,3),[5,8)}\"\n");
    let refused = pg.execute_fails("insert into spans (s) values (:s)", &["s={[1,3)}"]);
    assert!(refused.contains("of an unknown type") && refused.contains("cast("), "{refused}");
}

#[test]
fn list_in_parentheses_is_rejected_with_a_hint() {
    let yard = TestYard::with_sqlite();
    let lite = sqlite(&yard);
    lite.execute("create table t (größe integer)", &[]);
    lite.execute("insert into t values (1), (2), (3)", &[]);
    let refused = lite.query_fails("select * from t where größe in (:l)", "csv", &["l=[1, 2]"]);
    assert!(refused.contains("json_each"), "{refused}");
    let select = "select count(*) as n from t where größe in (select value from json_each(:l))";
    assert_eq!(lite.query(select, "csv", &["l=[1, 2]"]), "n\n2\n");
    assert_eq!(lite.query("select count(*) as n from t where größe = :größe", "csv", &["größe=1"]), "n\n1\n");
    let Some(server) = postgres::server("values_lists") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    let refused = pg.query_fails("select 1 as n where 1 in (:l)", "csv", &["l=[1, 2]"]);
    assert!(refused.contains("= any(:name)"), "{refused}");
    assert_eq!(pg.query("select 1 as n where 1 = any(:l)", "csv", &["l=[1, 2]"]), "n\n1\n");
    let refused = pg.execute_fails("select :t::text", &[]);
    assert!(refused.contains("`:t`"), "{refused}");
    let nul =
        pg.call_fails(&["execute", "--args", r#"{"statement": "select :t::text", "parameters": {"t": "a\u0000b"}}"#]);
    assert!(nul.contains("a NUL character at position 2, which PostgreSQL cannot store"), "{nul}");
}

/// A value that is passed as a parameter is the same in all outputs, and as the server prints it.
#[test]
fn values_are_preserved_in_every_output_format() {
    let Some(server) = postgres::server("values_through") else { return };
    let pg = Database { yard: &server.yard, block: "sql-database/pg" };
    for (kind, given, shown, is_text) in [
        ("int8", "-9223372036854775808", "-9223372036854775808", false),
        ("int2", "32767", "32767", false),
        ("numeric", "0.000000000000000000000000000001", "0.000000000000000000000000000001", true),
        ("numeric", "1e3", "1000", true),
        ("numeric", "-12345678901234567890.10", "-12345678901234567890.10", true),
        ("float8", "0.30000000000000004", "0.30000000000000004", false),
        ("float8", "NaN", "NaN", true),
        ("float4", "-Infinity", "-Infinity", true),
        ("bytea", "AP8Q", "AP8Q", true),
        ("date", "-4712-01-01", "-4712-01-01", true),
        ("time", "23:59:59.000001", "23:59:59.000001", true),
        ("timestamptz", "2013-02-08T12:00:00+01:00", "2013-02-08T11:00:00Z", true),
        ("timestamp", "1969-12-31 23:59:59.5", "1969-12-31T23:59:59.500000", true),
        ("uuid", "00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff", true),
        ("text", "it's \\ ü", "it's \\ ü", true),
        ("bool", "true", "true", false),
        ("interval", "1 day 02:00:00", "1 day 02:00:00", true),
    ] {
        let (statement, parameter) = (format!("select :v::{kind} as v"), format!("v={given}"));
        let expected = if is_text { json!(shown).to_string() } else { shown.to_owned() };
        assert_eq!(pg.query(&statement, "csv", &[&parameter]), format!("v\n{shown}\n"), "{kind}");
        assert_eq!(pg.query(&statement, "json", &[&parameter]), format!("[{{\"v\":{expected}}}]\n"), "{kind}");
        assert_eq!(pg.query(&statement, "ndjson", &[&parameter]), format!("{{\"v\":{expected}}}\n"), "{kind}");
        let parameters = json!({ "v": given }).to_string();
        let fetched =
            server.yard.ok(&["call", pg.block, "fetch-one", "--statement", &statement, "--parameters", &parameters]);
        let fetched: Value = serde_json::from_str(&fetched).expect("JSON");
        assert_eq!(fetched["v"].to_string(), expected, "{kind}");
    }
}
