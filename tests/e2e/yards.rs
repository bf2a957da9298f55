//! Locations of yards: by name, in project files, on servers, several in one database.

use blockyard_tests::{Backend, TestYard, available, bundle, on_both, run_command};
use serde_json::json;

on_both!(
    concurrent_creations_make_one_yard,
    tampered_reference_is_rejected,
    doctor_detects_a_modified_newest_revision_number,
    configured_names_resolve_to_yards,
);

fn concurrent_creations_make_one_yard(yard: &TestYard) {
    // The given yard already exists; this test needs a new one.
    let fresh = TestYard::empty_on(yard.backend());
    let mut makers: Vec<_> = (0..10)
        .map(|_| {
            let mut command = fresh.command(&["install", &bundle("zoo"), "--yes"]);
            // All use the same key, as on a machine that is already set up.
            command.env("BLOCKYARD_KEY_FILE", fresh.path("shared.key"));
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    for maker in makers.drain(..) {
        let output = maker.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let listed =
        run_command(fresh.command(&["bundles", "--json"]).env("BLOCKYARD_KEY_FILE", fresh.path("shared.key")), None);
    let bundles: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(bundles["bundles"].as_array().map(Vec::len), Some(1), "{}", listed.stderr);
}

fn tampered_reference_is_rejected(yard: &TestYard) {
    for name in ["ada", "eve"] {
        yard.ok(&["create", &format!("zoo-keeper/{name}"), "--set", &format!("name={name}")]);
    }
    yard.ok(&["create", "zoo-cage/c", "--set", "animal=newt", "--set", "keeper=zoo-keeper/ada"]);
    if yard.backend() == Backend::Sqlite && !available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    yard.sql("drop trigger references_stay")
        .or_else(|| yard.sql("drop trigger references_stay on block_references"))
        .expect("dropped");
    yard.sql("update block_references set target = (select id from blocks where name = 'eve')").expect("bent");
    let refused = yard.fails(3, &["call", "zoo-cage/c", "look"]);
    assert!(refused.contains("depends on `zoo-keeper/ada` (field `keeper`), which does not exist"), "{refused}");
    assert_eq!(yard.run(&["doctor"]).code, 1);
}

fn doctor_detects_a_modified_newest_revision_number(yard: &TestYard) {
    yard.ok(&["create", "zoo-cage/c", "--set", "animal=newt"]);
    yard.ok(&["set", "zoo-cage/c", "--set", "animal=eft"]);
    if yard.backend() == Backend::Sqlite && !available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    yard.sql("update blocks set newest = 1").expect("changed");
    let found = yard.run(&["doctor"]);
    assert_eq!(found.code, 1);
    assert!(found.stdout.contains("do not match its recorded newest revision"), "{}", found.stdout);
}

fn configured_names_resolve_to_yards(yard: &TestYard) {
    let ask = |arguments: &[&str]| {
        let mut command = yard.command(arguments);
        run_command(command.env_remove("BLOCKYARD_YARD").env("XDG_CONFIG_HOME", yard.path("configuration")), None)
    };
    yard.ok(&["create", "zoo-cage/here", "--set", "animal=newt"]);
    std::fs::create_dir_all(yard.path("configuration/blockyard")).expect("a folder");
    std::fs::write(
        yard.path("configuration/blockyard/config.toml"),
        format!("[yards.prod]\nurl = \"{}\"\n", yard.url()),
    )
    .expect("a file");
    let listed = ask(&["list", "--yard", "prod"]);
    assert!(listed.stdout.contains("zoo-cage/here"), "{}{}", listed.stdout, listed.stderr);
    let unknown = ask(&["list", "--yard", "prd"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("did you mean `prod`?"), "{}", unknown.stderr);

    // The project file is searched from the current folder upwards, and may use the name once it is
    // trusted.
    std::fs::write(yard.path("blockyard.toml"), "yard = \"prod\"\n").expect("a file");
    assert_eq!(ask(&["list"]).code, 5);
    assert_eq!(ask(&["trust"]).code, 0);
    std::fs::create_dir_all(yard.path("deep/down")).expect("a folder");
    let mut below = yard.command(&["list"]);
    below.current_dir(yard.path("deep/down")).env_remove("BLOCKYARD_YARD");
    let listed = run_command(below.env("XDG_CONFIG_HOME", yard.path("configuration")), None);
    assert!(listed.stdout.contains("zoo-cage/here"), "{}{}", listed.stdout, listed.stderr);
    // A yard on the command line takes precedence.
    let elsewhere = ask(&["list", "--yard", "sqlite:nowhere.db"]);
    assert_eq!(elsewhere.code, 3, "{}", elsewhere.stderr);
    for wrong in [
        "yard = 7",
        "yrd = \"prod\"",
        // It would receive the password of another server.
        "yard = \"postgres://u@db.example.com/d\"",
    ] {
        std::fs::write(yard.path("blockyard.toml"), wrong).expect("a file");
        assert_eq!(ask(&["list"]).code, 4, "{wrong}");
    }
    // A relative path is resolved against the folder of the file, not the current folder.
    std::fs::write(yard.path("blockyard.toml"), "yard = \"sqlite:of-the-project.db\"").expect("a file");
    assert_eq!(ask(&["trust"]).code, 0);
    let mut below = yard.command(&["init", "--key", "file"]);
    let created = run_command(below.current_dir(yard.path("deep/down")).env_remove("BLOCKYARD_YARD"), None);
    assert_eq!(created.code, 0, "{}", created.stderr);
    assert!(yard.path("of-the-project.db").exists());
}

#[test]
fn foreign_database_is_rejected_and_unchanged() {
    let yard = TestYard::empty();
    if !yard.has_shell() {
        return;
    }
    yard.sql("create table mine (a); insert into mine values (1)").expect("a database");
    let before = std::fs::read(yard.path("yard.db")).expect("a file");
    for arguments in [&["list"][..], &["doctor"], &["install", &bundle("zoo"), "--yes"]] {
        let refused = yard.run(arguments);
        assert!(format!("{}{}", refused.stdout, refused.stderr).contains("is not a yard"), "{}", refused.stderr);
        assert_eq!(std::fs::read(yard.path("yard.db")).expect("a file"), before, "{arguments:?}");
    }
}

#[test]
fn invalid_address_error_does_not_quote_it() {
    let yard = TestYard::empty();
    for address in [
        "host=127.0.0.1 user=u password=YARDSECRET1",
        "postgres//u/YARDSECRET1@h/d",
        "sqlite:postgres://u:YARDSECRET1@h/d",
    ] {
        let refused = run_command(yard.command(&["list"]).env("BLOCKYARD_YARD", address), None);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(!refused.stderr.contains("YARDSECRET1"), "{}", refused.stderr);
    }
}

/// Returns the URL of a yard on the server with additional parameters.
fn with(yard: &TestYard, parameters: &str) -> String {
    format!("{}&{parameters}", yard.url())
}

fn list(yard: &TestYard, url: &str) -> blockyard_tests::CommandOutput {
    run_command(yard.command(&["list"]).env("BLOCKYARD_YARD", url), None)
}

#[test]
fn yards_in_one_database_are_isolated() {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let (one, other) = (TestYard::on(Backend::Postgres), TestYard::on(Backend::Postgres));
    one.ok(&["create", "zoo-cage/c", "--set", "animal=newt"]);
    assert_eq!(other.json(&["list"])["blocks"], json!([]));
    other.fails(3, &["show", "zoo-cage/c"]);
}

#[test]
fn yard_address_determines_tls() {
    if !available("BLOCKYARD_TEST_POSTGRES_CERTIFICATE") {
        return;
    }
    let yard = TestYard::on(Backend::Postgres);
    let certificate = std::env::var("BLOCKYARD_TEST_POSTGRES_CERTIFICATE").expect("the certificate");
    for parameters in [
        "sslmode=disable".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca&sslrootcert={certificate}"),
        format!("sslmode=verify-full&sslrootcert={certificate}"),
    ] {
        let listed = list(&yard, &with(&yard, &parameters));
        assert_eq!(listed.code, 0, "{parameters}: {}", listed.stderr);
    }
    // The connection is encrypted but not trusted, because no CA verifies the server's certificate.
    let refused = list(&yard, &with(&yard, "sslmode=verify-full&connect_timeout=2"));
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot establish a trusted TLS connection"), "{}", refused.stderr);
    assert!(refused.stderr.contains("check `sslmode` and `sslrootcert`"), "{}", refused.stderr);
}

#[test]
fn server_rejections_have_distinct_messages() {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let yard = TestYard::on(Backend::Postgres);
    let wrong = run_command(yard.command(&["list"]).env("PGPASSWORD", "wrong-password"), None);
    assert_eq!(wrong.code, 5, "{}", wrong.stderr);
    assert!(
        wrong.stderr.contains("rejected the connection") && !wrong.stderr.contains("wrong-password"),
        "{}",
        wrong.stderr
    );
    let nowhere = list(&yard, &yard.url().replace("/postgres?", "/no_such_database?"));
    assert_eq!(nowhere.code, 5, "{}", nowhere.stderr);
    assert!(nowhere.stderr.contains("no_such_database"), "{}", nowhere.stderr);
    let empty = list(&yard, &yard.url().replace("schema=", "schema=none_"));
    assert_eq!(empty.code, 3, "{}", empty.stderr);
    assert!(empty.stderr.contains("create one with `blockyard init`"), "{}", empty.stderr);
    let nonsense = list(&yard, &with(&yard, "max_connections=none"));
    assert_eq!(nonsense.code, 2, "{}", nonsense.stderr);
    assert!(nonsense.stderr.contains("`max_connections` must be an integer from 1 to 1000"), "{}", nonsense.stderr);
}

#[test]
fn unresponsive_server_times_out_without_changes() {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let yard = TestYard::on(Backend::Postgres);
    yard.ok(&["create", "zoo-cage/c", "--set", "animal=newt"]);
    // Another session holds the lock for longer than the statement timeout.
    let held = std::thread::scope(|scope| {
        let holder = scope.spawn(|| yard.sql("begin; select 1 from blocks for update; select pg_sleep(4); rollback;"));
        // Waits until the lock is held: the holder sleeps with the row locked.
        let held = "select count(*) from pg_stat_activity
                    where wait_event = 'PgSleep' and query like '%from blocks for update%'";
        while yard.sql(held).as_deref() == Some("0\n") {
            assert!(!holder.is_finished(), "the lock was never held");
        }
        let mut command = yard.command(&["set", "zoo-cage/c", "--set", "animal=eft"]);
        let refused = run_command(command.env("BLOCKYARD_YARD", with(&yard, "statement_timeout=1")), None);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        assert!(
            refused.stderr.contains("timed out waiting for other connections; nothing was changed"),
            "{}",
            refused.stderr
        );
        holder.join().expect("it ends")
    });
    assert!(held.is_some());
    assert_eq!(yard.json(&["show", "zoo-cage/c"])["config"]["animal"], json!("newt"));
    yard.ok(&["set", "zoo-cage/c", "--set", "animal=eft"]);
}

#[test]
fn terminated_connections_are_replaced() {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let yard = TestYard::on(Backend::Postgres);
    yard.ok(&["create", "zoo-cage/c", "--set", "animal=newt"]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let password = std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").expect("a password");
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = with(&yard, "application_name=ours_to_end").replace("postgres@", &format!("postgres:{encoded}@"));
    runtime.block_on(async {
        let open = blockyard::Yard::open(&url, blockyard::KeySource::File(yard.key_file())).await.expect("the yard");
        open.block("zoo-cage/c").await.expect("the block");
        let ended = yard.sql(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'ours_to_end'",
        );
        assert_ne!(ended.as_deref(), Some("0\n"));
        // The pool checks connections before it reuses them.
        open.block("zoo-cage/c").await.expect("the block, through a new connection");
        open.close().await;
    });
}
