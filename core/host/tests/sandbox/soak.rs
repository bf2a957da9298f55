//! Thousands of instances do not leak memory.

use std::time::Duration;

use super::{call, load, load_attack, sandbox, well};

/// Returns the resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("what is resident");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[test]
fn thousands_of_calls_do_not_leak_memory() {
    // Runs in a separate process, because concurrent tests of this process allocate memory, too.
    let alone = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "soak::alone", "--ignored", "--nocapture"])
        .output()
        .expect("this program runs");
    let output = format!("{}{}", String::from_utf8_lossy(&alone.stdout), String::from_utf8_lossy(&alone.stderr));
    assert!(alone.status.success() && output.contains("1 passed"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by `thousands_of_calls_do_not_leak_memory`"]
async fn alone() {
    let sandbox = sandbox();
    let healthy = load(&sandbox, "healthy", "").await.expect("a bundle");
    let trap = load_attack(&sandbox, "trap").await;
    let spins = load_attack(&sandbox, "loop-in-invoke").await;
    let grows = load_attack(&sandbox, "grow-to-the-cap").await;
    let round = async |calls: usize| {
        for _ in 0..calls {
            well(&sandbox, &healthy).await;
            call(&sandbox, &trap, "go", Duration::from_secs(60)).await.err().expect("a crash");
            sandbox.validate(&healthy, "healthy", &serde_json::json!({})).await.expect("an answer");
        }
        for _ in 0..calls / 100 {
            // These calls are dropped before they end.
            let spinning = call(&sandbox, &spins, "go", Duration::from_secs(60));
            assert!(tokio::time::timeout(Duration::from_millis(10), spinning).await.is_err());
            call(&sandbox, &grows, "go", Duration::from_secs(60)).await.err().expect("stopped");
        }
    };
    round(500).await;
    let before = resident();
    round(4_000).await;
    let after = resident();
    assert!(after < before + (48 << 20), "{} KiB before, {} KiB after", before >> 10, after >> 10);
}
