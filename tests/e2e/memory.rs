//! Memory use of a process, for tests that limit it.

use blockyard_tests::{TestYard, binary};

/// Returns the peak memory of a command in KiB.
pub(crate) fn peak_memory(yard: &TestYard, arguments: &[&str]) -> u64 {
    let mut command = yard.program("sh");
    // Polled until the process ends, because the peak only grows.
    let script = "\"$@\" > /dev/null & child=$!; peak=0; while kill -0 $child 2>/dev/null; do \
        now=$(sed -n 's/^VmHWM:[[:space:]]*\\([0-9]*\\).*/\\1/p' /proc/$child/status 2>/dev/null); \
        peak=${now:-$peak}; sleep 0.02; done; wait $child || exit 1; echo $peak >&2";
    command.args(["-c", script, "sh"]).arg(binary()).args(arguments);
    let output = blockyard_tests::run_command(&mut command, None);
    assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
    output.stderr.trim().lines().last().and_then(|line| line.parse().ok()).expect("a number")
}
