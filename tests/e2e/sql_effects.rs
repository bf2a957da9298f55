//! Attempts to write in an operation that only reads: some are stopped by the database, the others
//! by the host. Finally the test checks from outside that nothing has changed.

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, available, run_command};

/// Checks that `query` rejects a statement, and that the error states a suitable reason.
fn refused(yard: &TestYard, block: &str, statement: &str) {
    let output = yard.run(&["query", block, statement]);
    assert!(matches!(output.code, 1 | 5), "{statement}: {} {}{}", output.code, output.stdout, output.stderr);
    assert_eq!(output.stdout, "", "{statement}");
    if output.code == 1 {
        // The statement is invalid or not permitted in any operation.
        let why = [
            "syntax",
            "more than one statement",
            "would execute",
            "the host begins and ends transactions",
            "no such function",
            "not authorized",
            "may not be modified",
            "not implemented",
            "multiple commands",
        ];
        assert!(why.iter().any(|why| output.stderr.contains(why)), "{statement}: {}", output.stderr);
    }
}

#[test]
fn postgres_statements_have_their_declared_effect() {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let yard = TestYard::new();
    let variable = |name: &str| std::env::var(format!("BLOCKYARD_TEST_POSTGRES_{name}")).expect("the server");
    let witness = |database: &str, statement: &str| {
        let mut psql = program("psql");
        psql.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &variable("PORT"), "-U", "postgres"])
            .args(["-d", database, "-c", statement])
            .env("PGPASSWORD", variable("PASSWORD"));
        let read = run_command(&mut psql, None);
        assert_eq!(read.code, 0, "{statement}: {}", read.stderr);
        read.stdout
    };
    witness("postgres", "drop database if exists test_effects");
    witness("postgres", "create database test_effects");
    witness(
        "test_effects",
        "create table t (a int); insert into t values (1); create sequence s; drop role if exists sneaky_reader; create role sneaky_reader;
         create function sneak() returns int language sql as 'insert into t values (1) returning a';
         create function sneak_out() returns int language plpgsql as $$ begin execute 'commit'; insert into t values (1); return 1; end $$;
         create procedure leave() language plpgsql as $$ begin commit; insert into t values (1); end $$;",
    );
    let config = serde_json::json!({
        "dialect": "postgres", "host": "127.0.0.1", "port": variable("PORT").parse::<u16>().expect("a port"),
        "database": "test_effects", "username": "postgres", "password": variable("PASSWORD"),
    });
    yard.create("sql-database/pg", &config);
    for statement in [
        "insert into t values (2)",
        "with x as (insert into t values (2) returning a) select * from x",
        "with x as (delete from t returning a) select * from x",
        "select sneak()",
        "select sneak_out()",
        "select nextval('s')",
        "select setval('s', 7)",
        "select * from t for update",
        "select * into u from t",
        "explain analyze delete from t",
        "explain (analyze) with x as (update t set a = 2 returning a) select * from x",
        "call leave()",
        "do $$ begin insert into t values (2); end $$",
        "copy t from program 'echo 2'",
        "copy (select 1) to program 'cat > /tmp/blockyard-effects'",
        "prepare p as insert into t values (2)",
        "execute p",
        "set transaction read write",
        "set session characteristics as transaction read write",
        "commit",
        "/* select */ commit",
        "select 1; commit; insert into t values (2)",
        "truncate t",
        "drop table t",
        "alter role sneaky_reader login",
        "vacuum t",
        "notify gossip",
        "lock table t",
        "refresh materialized view m",
        "import foreign schema x from server y into z",
    ] {
        refused(&yard, "sql-database/pg", statement);
    }
    // A session setting that one read changes does not affect the next read.
    let _ = yard.run(&["query", "sql-database/pg", "select set_config('transaction_read_only', 'off', false)"]);
    // PostgreSQL 15 permits this in a READ ONLY transaction. The transaction is rolled back.
    let _ = yard.run(&["query", "sql-database/pg", "select lo_create(4711)::text as x"]);
    assert_eq!(witness("test_effects", "select count(*) from pg_largeobject_metadata"), "0\n");
    // Advisory locks are not writes. They are released at the end of the call.
    yard.ok(&["query", "sql-database/pg", "select pg_advisory_lock(4712)::text as x"]);
    assert_eq!(
        witness("test_effects", "select count(*) from pg_locks where locktype = 'advisory' and objid = 4712"),
        "0\n"
    );
    let state = "select (select array_agg(a) from t) || ' ' || (select is_called from s) || ' ' || (select count(*) from pg_class where relname = 'u')";
    assert_eq!(witness("test_effects", &state.replace("array_agg(a)", "array_agg(a)::text")), "{1} false 0\n");
    assert!(!std::path::Path::new("/tmp/blockyard-effects").exists());
    witness("test_effects", "drop role sneaky_reader");
}

#[test]
fn mariadb_statements_have_their_declared_effect() {
    if !available("BLOCKYARD_TEST_MARIADB_PORT") {
        return;
    }
    let yard = TestYard::new();
    let variable = |name: &str| std::env::var(format!("BLOCKYARD_TEST_MARIADB_{name}")).expect("the server");
    let witness = |database: &str, statement: &str| {
        let mut shell = program("mariadb");
        shell
            .args(["--no-defaults", "--host=127.0.0.1", "--user=blockyard", "--batch", "--skip-column-names"])
            .args([&format!("--port={}", variable("PORT")), "--execute", statement, database])
            .env("MYSQL_PWD", variable("PASSWORD"));
        let read = run_command(&mut shell, None);
        assert_eq!(read.code, 0, "{statement}: {}", read.stderr);
        read.stdout
    };
    witness("", "drop database if exists test_effects; create database test_effects");
    witness(
        "test_effects",
        "create table t (a int); insert into t values (1); create sequence s; create table engineless (a int) engine=Aria;
         create function sneak() returns int return nextval(s); create procedure depart() commit",
    );
    let config = serde_json::json!({
        "dialect": "mysql", "host": "127.0.0.1", "port": variable("PORT").parse::<u16>().expect("a port"),
        "database": "test_effects", "username": "blockyard", "password": variable("PASSWORD"),
    });
    yard.create("sql-database/my", &config);
    for function in [
        "create function write_t() returns int begin insert into t values (2); return 1; end",
        "create function write_aria() returns int begin insert into engineless values (2); return 1; end",
    ] {
        yard.ok(&["execute", "sql-database/my", function]);
    }
    let file = std::env::temp_dir().join(format!("blockyard-effects-{}", std::process::id()));
    let outfile = format!("select 1 into outfile '{}'", file.display());
    let hidden = format!("select 1 /*! into outfile '{}' */", file.display());
    let quoted = format!(r"select 'a\' into outfile '{}' -- '", file.display());
    let dumpfile = format!("(select 1) into # why\n dumpfile '{}'", file.display());
    for statement in [
        &outfile,
        &hidden,
        &quoted,
        &dumpfile,
        "insert into t values (2)",
        "replace into t values (2)",
        "with x as (select 1) delete from t",
        "delete from t returning a",
        "select write_t()",
        "select write_aria()",
        "select sneak()",
        "select nextval(s)",
        "select next value for s",
        "select setval(s, 7)",
        "select * from t for update",
        "select * from t lock in share mode",
        "analyze format=json delete from t",
        "analyze table t",
        "call depart()",
        "do write_t()",
        "handler t open",
        "prepare p from 'insert into t values (2)'",
        "execute immediate 'insert into t values (2)'",
        "set @a = 1",
        "set global max_connections = 301",
        "set session transaction read write",
        "start transaction read write",
        "commit",
        "/*! commit */",
        "select 1; insert into t values (2)",
        "load data infile '/etc/hostname' into table t",
        "load data local infile '/etc/hostname' into table t",
        "truncate t",
        "drop table t",
        "create table u (a int)",
        "create temporary table u (a int)",
        "lock tables t write",
        "flush tables",
        "kill 1",
        "begin not atomic insert into t values (2); end",
    ] {
        refused(&yard, "sql-database/my", statement);
    }
    assert!(!file.exists());
    assert_eq!(witness("test_effects", "select group_concat(a) from t"), "1\n");
    assert_eq!(witness("test_effects", "select count(*) from engineless"), "0\n");
    assert_eq!(witness("test_effects", "select next_not_cached_value from s"), "1\n");
    // User-level locks are not writes. They are released at the end of the call.
    yard.ok(&["query", "sql-database/my", "select get_lock('effects', 0) as x"]);
    assert_eq!(witness("", "select is_free_lock('effects')"), "1\n");
    // A local file is never sent to a server, in any operation.
    let refused = yard.run(&["execute", "sql-database/my", "load data local infile '/etc/hostname' into table t"]);
    assert_ne!(refused.code, 0);
    assert_eq!(witness("test_effects", "select count(*) from t"), "1\n");
}

#[test]
fn sqlite_statements_have_their_declared_effect() {
    let yard = TestYard::with_sqlite();
    for statement in ["create table t (a)", "insert into t values (1)"] {
        yard.ok(&["execute", "sql-database/flights", statement]);
    }
    let before = std::fs::read(yard.path("flights.db")).expect("the file");
    let attach = format!("attach '{}' as o", yard.path("other.db").display());
    let vacuum = format!("vacuum into '{}'", yard.path("other.db").display());
    for statement in [
        &attach,
        &vacuum,
        "insert into t values (2)",
        "insert into t values (2) returning a",
        "with x as (select 1) delete from t",
        "replace into t values (2)",
        "create table u (a)",
        "create index i on t (a)",
        "drop table t",
        "pragma user_version = 7",
        "pragma application_id = 7",
        "begin immediate",
        "savepoint s",
        "vacuum",
        "analyze",
        "select load_extension('/tmp/x.so')",
        "select 1; delete from t",
        "explain select 1; delete from t",
    ] {
        refused(&yard, "sql-database/flights", statement);
    }
    // Pragmas that weaken protection have no effect on a file that is opened read-only.
    for pragma in ["pragma writable_schema = on", "pragma journal_mode = wal", "pragma query_only = off"] {
        let _ = yard.run(&["query", "sql-database/flights", pragma]);
    }
    refused(&yard, "sql-database/flights", "delete from sqlite_master");
    assert_eq!(std::fs::read(yard.path("flights.db")).expect("the file"), before);
    assert!(!yard.path("other.db").exists());
}
