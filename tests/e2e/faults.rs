//! Faults in the environment of a yard: disks, servers, networks, clocks. Each has a specific
//! error, and no data is lost.

use std::time::Duration;

use blockyard::{Address, ErrorKind, KeySource, Patch, Yard};
use blockyard_tests::proxy::Proxy;
use blockyard_tests::{Backend, CommandOutput, TestYard, available, on_both, run_command};
use serde_json::{Value, json};

on_both!(clock_that_jumps_back_loses_nothing);

/// Runs a script in the environment of a yard and in a separate mount namespace, where it may mount
/// file systems. `$BLOCKYARD` is the binary, `$ZOO` the bundle.
pub(crate) fn in_mount_namespace(yard: &TestYard, script: &str) -> CommandOutput {
    let mut shell = yard.program("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "bash", "-c", script]);
    shell.env("BLOCKYARD", blockyard_tests::binary()).env("ZOO", blockyard_tests::bundle("zoo"));
    run_command(&mut shell, None)
}

#[test]
fn full_disk_rejects_a_save_and_preserves_data() {
    if !available("BLOCKYARD_TEST_MOUNTS") {
        return;
    }
    let yard = TestYard::empty();
    let output = in_mount_namespace(
        &yard,
        r#"set -e
        mkdir disk && mount -t tmpfs -o size=3m tmpfs disk
        export BLOCKYARD_YARD=sqlite:$PWD/disk/yard.db
        $BLOCKYARD init --key file -q
        $BLOCKYARD install "$ZOO" --yes -q
        $BLOCKYARD create zoo-cage/c --set animal=a0 -q
        head -c 3m /dev/zero > disk/filler 2>/dev/null || true
        $BLOCKYARD set zoo-cage/c --set animal=full -q && exit 1
        # Frees some space, so that a save fails in the middle of a write.
        truncate -s -128K disk/filler
        code=0; last=0
        for n in $(seq 1 200); do
            # Long enough to need more space each time.
            $BLOCKYARD set zoo-cage/c --set animal="a$n-$(printf 'x%.0s' {1..4000})" >/dev/null 2>error || { code=$?; break; }
            last=$n
        done
        echo "exit $code"
        cat error
        rm disk/filler
        $BLOCKYARD show zoo-cage/c --json > shown
        grep -q "\"animal\": \"a$last" shown && echo "the last save is stored"
        $BLOCKYARD doctor >/dev/null && echo "the yard is intact"
        $BLOCKYARD set zoo-cage/c --set animal=after -q && echo "saves succeed again"
        "#,
    );
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    for expected in [
        "exit 1",
        "no space left for the yard",
        "free some disk space and try again",
        "the last save is stored",
        "the yard is intact",
        "saves succeed again",
    ] {
        assert!(output.stdout.contains(expected), "{expected}: {}{}", output.stdout, output.stderr);
    }
}

#[test]
fn read_only_yard_is_reported_and_unchanged() {
    if !available("BLOCKYARD_TEST_MOUNTS") {
        return;
    }
    let yard = TestYard::on(Backend::Sqlite);
    yard.ok(&["create", "zoo-cage/c", "--set", "animal=newt"]);
    let before = std::fs::read(yard.path("yard.db")).expect("the yard");
    let output = in_mount_namespace(
        &yard,
        r#"mount --bind . . && cd . && mount -o remount,ro,bind . && cd "$PWD"
        $BLOCKYARD set zoo-cage/c --set animal=eft; echo "exit $?"
        $BLOCKYARD create zoo-cage/d --set animal=eft; echo "exit $?"
        "#,
    );
    assert_eq!(output.stdout.matches("exit 1").count(), 2, "{}{}", output.stdout, output.stderr);
    assert_eq!(output.stderr.matches("cannot be written").count(), 2, "{}", output.stderr);
    assert!(output.stderr.contains("check the permissions of the file and of its folder"), "{}", output.stderr);
    assert_eq!(std::fs::read(yard.path("yard.db")).expect("the yard"), before);
    assert_eq!(yard.json(&["show", "zoo-cage/c"])["config"]["animal"], json!("newt"));
}

#[test]
fn truncated_yard_file_is_reported_as_damaged() {
    let yard = TestYard::on(Backend::Sqlite);
    for number in 0..3 {
        yard.ok(&["create", &format!("zoo-cage/c{number}"), "--set", "animal=newt"]);
    }
    let original = std::fs::read(yard.path("yard.db")).expect("the yard");
    for part in [1, 4, 8, 15] {
        std::fs::write(yard.path("yard.db"), &original[..original.len() / 16 * part]).expect("a file");
        let doctor = yard.run(&["doctor"]);
        assert_eq!(doctor.code, 1, "{part}/16: {}{}", doctor.stdout, doctor.stderr);
        assert!(doctor.stdout.contains("failed"), "{}", doctor.stdout);
        let saved = yard.run(&["set", "zoo-cage/c1", "--set", "animal=eft"]);
        assert!(
            saved.code == 0 || saved.stderr.contains("damaged") || saved.stderr.contains("is not a yard"),
            "{}",
            saved.stderr
        );
        assert!(!saved.stderr.contains("panicked"), "{}", saved.stderr);
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(yard.path(&format!("yard.db{ending}")));
        }
    }
    std::fs::write(yard.path("yard.db"), &original).expect("a file");
    yard.ok(&["doctor"]);
}

fn clock_that_jumps_back_loses_nothing(yard: &TestYard) {
    if !available("BLOCKYARD_TEST_FAKETIME") {
        return;
    }
    yard.ok(&["create", "zoo-cage/c", "--set", "animal=a1"]);
    let mut earlier = yard.program("faketime");
    earlier.args(["-f", "-2d"]).arg(blockyard_tests::binary()).args(["set", "zoo-cage/c", "--set", "animal=a2"]);
    let saved = run_command(&mut earlier, None);
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    yard.ok(&["set", "zoo-cage/c", "--set", "animal=a3"]);
    // Revisions are in the order of the saves, regardless of the clock; their times are those of
    // the clock.
    let history = yard.json(&["history", "zoo-cage/c"]);
    let saved_at: Vec<blockyard::Timestamp> = history["revisions"]
        .as_array()
        .expect("revisions")
        .iter()
        .map(|r| r["saved_at"].as_str().and_then(|at| at.parse().ok()).expect("a time"))
        .collect();
    let difference = saved_at[2].as_millisecond() - saved_at[1].as_millisecond();
    assert!(difference > 86_400_000 && saved_at[0] > saved_at[1], "{saved_at:?}");
    let actions = yard.json(&["audit", "--block", "zoo-cage/c"]);
    let actions: Vec<_> =
        actions["audit"].as_array().expect("lines").iter().map(|line| line["action"].clone()).collect();
    assert_eq!(actions, [json!("set"), json!("set"), json!("create")]);
    assert_eq!(
        yard.json(&["audit", "--block", "zoo-cage/c", "--since", "1d"])["audit"].as_array().map(Vec::len),
        Some(2)
    );
    yard.ok(&["doctor"]);
}

/// A yard on the server, a proxy to the server, and the URL of the yard through the proxy.
fn yard_behind_proxy() -> Option<(TestYard, Proxy, String)> {
    let port: u16 = match available("BLOCKYARD_TEST_POSTGRES_PORT") {
        true => std::env::var("BLOCKYARD_TEST_POSTGRES_PORT").expect("a port").parse().expect("a port"),
        false => return None,
    };
    let yard = TestYard::on(Backend::Postgres);
    yard.ok(&["create", "zoo-cage/c", "--set", "animal=a0"]);
    let proxy = Proxy::to(port);
    let password = std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").expect("a password");
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = yard
        .url()
        .replace(&format!(":{port}/"), &format!(":{}/", proxy.port()))
        .replace("postgres@", &format!("postgres:{encoded}@"));
    Some((yard, proxy, format!("{url}&connect_timeout=2")))
}

#[test]
fn unreachable_server_is_reported() {
    let Some((yard, proxy, url)) = yard_behind_proxy() else { return };
    proxy.disconnect();
    for arguments in [&["list"][..], &["set", "zoo-cage/c", "--set", "animal=a1"], &["doctor"]] {
        let refused = run_command(yard.command(arguments).env("BLOCKYARD_YARD", &url), None);
        assert_eq!(refused.code, 1, "{arguments:?}: {}", refused.stderr);
        let output = format!("{}{}", refused.stdout, refused.stderr);
        assert!(output.contains("cannot be reached"), "{arguments:?}: {output}");
        let password = std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").expect("a password");
        assert!(!output.contains(&password) && !output.contains("%2F"), "the password in the URL is shown: {output}");
    }
    proxy.reconnect();
    let shown = run_command(yard.command(&["show", "zoo-cage/c"]).env("BLOCKYARD_YARD", &url), None);
    assert!(shown.stdout.contains("a0"), "{}{}", shown.stdout, shown.stderr);
}

#[test]
fn lost_response_to_a_commit_is_reported_as_unknown() {
    let Some((yard, proxy, url)) = yard_behind_proxy() else { return };
    proxy.lose_commits();
    let mut set = yard.command(&["set", "zoo-cage/c", "--set", "animal=a1", "--json"]);
    let lost = run_command(set.env("BLOCKYARD_YARD", format!("{url}&sslmode=disable")), None);
    assert_eq!(lost.code, 1, "{}", lost.stderr);
    let error: Value = serde_json::from_str(&lost.stderr).expect("JSON");
    let error = &error["error"];
    assert_eq!((&error["kind"], &error["code"]), (&json!("remote"), &json!("commit-unknown")), "{error}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("during commit; the change may or may not have been saved"), "{message}");
    assert!(error["hints"][0].as_str().is_some_and(|hint| hint.contains("blockyard history")), "{error}");
    // In this case it was saved.
    let shown = yard.json(&["show", "zoo-cage/c"]);
    assert_eq!((&shown["revision"], &shown["config"]["animal"]), (&json!(2), &json!("a1")), "{shown}");
}

#[test]
fn server_restart_loses_no_confirmed_save() {
    let Some((yard, proxy, url)) = yard_behind_proxy() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let confirmed = runtime.block_on(async {
        let open = Yard::open(&url, KeySource::File(yard.key_file())).await.expect("the yard");
        let address: Address = "zoo-cage/c".parse().expect("an address");
        let save =
            async |number: u64| open.set(&address, Patch::setting([("animal", format!("a{number}"))]), None).await;
        let mut confirmed = Vec::new();
        for number in 1..=40_u64 {
            if number % 10 == 5 {
                // The connection fails while a save is in progress.
                let state = &proxy;
                let cut = async {
                    tokio::time::sleep(Duration::from_micros(number * 150)).await;
                    state.disconnect();
                };
                let (saved, ()) = tokio::join!(save(number), cut);
                match saved {
                    Ok(saved) => confirmed.push((number, saved.expect("a change"))),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Remote, "{error}: {:?}", error.causes()),
                }
                let refused = save(number + 1_000).await.expect_err("the server is not reachable");
                assert!(refused.to_string().contains("cannot be reached"), "{refused}");
                proxy.reconnect();
            } else {
                // The same program reconnects and continues.
                confirmed.push((number, save(number).await.expect("the server is back").expect("a change")));
            }
        }
        open.close().await;
        confirmed
    });
    for (number, revision) in confirmed {
        let shown = yard.json(&["show", &format!("zoo-cage/c@{revision}")]);
        assert_eq!(shown["config"]["animal"], json!(format!("a{number}")));
    }
    yard.ok(&["doctor"]);
}
