//! Runs each attack of `tests/attacks` through the binary. Checks what stops it, the error
//! message, and that the yard and the next call are not affected.

use blockyard_tests::attack::{attack, build, folder};
use blockyard_tests::environment::program;
use blockyard_tests::{CommandOutput, TestYard};

/// Defines one test per line, and the list of all attacks.
macro_rules! attacks {
    ($($name:ident: $outcome:expr;)*) => {
        $(#[test] fn $name() { $outcome(&stringify!($name).replace('_', "-")); })*
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

attacks! {
    // CPU time and stack.
    loop_in_invoke: in_time;
    loop_in_start: refused("`describe` failed: it used more than 1000 million units of fuel");
    loop_in_describe: refused("`describe` failed: it used more than 1000 million units of fuel");
    loop_in_validate: at_create("it used more than 1000 million units of fuel");
    loop_in_check: at_check;
    loop_in_realloc: in_time;
    loop_in_post_return: in_time;
    loop_in_destructor: in_time;
    loop_in_parts: in_time;
    parts_without_end: in_time;
    memory_fill_forever: in_time;
    wait_past_the_deadline: in_time;
    log_flood: in_time;
    deep_recursion: stopped("its stack exceeds 512 KiB");

    // Memory.
    grow_to_the_cap: stopped("it requested more than 256 MiB of memory");
    huge_memory: refused("`describe` failed: it requested more than 256 MiB of memory");
    many_memories: refused("it exceeds a resource limit: memory count too high at 41");
    memories_together: stopped("it requested more than 256 MiB of memory");
    table_growth: stopped("its tables have more than 500000 elements in total or 100000 in one table");
    many_tables: refused("its tables have more than 500000 elements in total or 100000 in one table");
    million_handles: stopped("it holds more than 1000 handles");
    bodies_without_end: stopped("its bodies use more than 256 MiB of memory");
    too_much_chance: crashed("4294967295 random bytes at once; the limit is 65536");

    // Results.
    result_too_long: stopped("the result has 17825792 bytes; the limit is 16777216");
    result_of_the_wrong_shape: ends("returned a result of `go` that is not valid");
    result_is_not_json: ends("returned invalid data: the result is not JSON");
    result_is_not_text: crashed("invalid utf-8");
    result_nested_deeply: ends("returned invalid data: the result is not JSON: recursion limit exceeded");
    result_of_u32_max: crashed("out of bounds");
    list_of_u32_max: at_create("out of bounds");
    nested_lists: at_create("it passed more than 64 MiB to the host in one call");
    answer_out_of_bounds: crashed("out of bounds");
    answer_unaligned: crashed("not aligned");
    realloc_out_of_bounds: crashed("beyond end of memory");
    realloc_unaligned: crashed("not aligned");
    realloc_overlapping: harmless("null\n");
    realloc_over_the_manifest: ends("returned invalid data: the result is not JSON");
    realloc_calls_the_host: crashed("cannot leave component instance");
    post_return_calls_the_host: crashed("cannot leave component instance");
    log_with_control_characters: log_on_one_line;

    // Handles.
    forged_handle: crashed("unknown handle index 77");
    double_drop: crashed("unknown handle index");
    use_after_drop: crashed("unknown handle index");
    handle_of_another_type: crashed("wrong type");
    handles_left_open: harmless("null\n");
    rows_after_connection_drop: harmless("null\n");
    transaction_after_commit: crashed("unknown handle index");

    transaction_left_open: rolled_back;
    trap_in_transaction: rolled_back;

    // Crashes.
    trap: crashed("unreachable");
    trap_in_parts: crashed("unreachable");
    division_by_zero: crashed("divide by zero");
    panic_in_describe: refused(r"`describe` failed: panicked at the zoo: \u{1b}[2Jthe zebra");

    // Non-deterministic pure functions and state.
    describe_asks_the_clock: refused("`clock` is not available during `describe`, `validate` or `migrate`");
    validate_asks_for_chance: at_create("`random` is not available during `describe`, `validate` or `migrate`");
    start_calls_the_host: refused("`clock` is not available during `describe`, `validate` or `migrate`");
    counter_across_calls: returns_the_same_twice;

    // Files.
    two_manifests: refused("the component has 2 manifests; it must have one");
    no_manifest: refused("the component has no manifest");
    describe_differs_from_manifest: refused("differs from its embedded manifest");
    manifest_is_not_json: refused("the manifest is not valid: expected value");
    imports_undeclared: refused("the component uses `clock`, which its manifest does not request");
    imports_wasi: refused("the component imports `wasi:filesystem/types@0.2.0`, which Blockyard does not provide");
    not_a_bundle_core_module: refused("a core WebAssembly module, not a component");
    not_a_bundle_empty: refused("the component is not a bundle");
    not_a_bundle_wrong_export: refused("the component is not a bundle");
    too_many_functions: refused("it has more than 200000 functions");
    huge_function: refused("one function has 1200004 bytes; the limit is 1048576");
}

#[test]
fn every_attack_file_has_a_test() {
    let files = std::fs::read_dir(folder()).expect("the folder of the attacks").flatten();
    let mut files: Vec<String> =
        files.map(|file| file.file_name().to_string_lossy().trim_end_matches(".wat").replace('-', "_")).collect();
    files.sort();
    let mut tested = TESTED.to_vec();
    tested.sort_unstable();
    assert_eq!(files, tested, "the files and the tested attacks differ");
}

/// A yard with the bundle of an attack and a block of its type.
struct Attacked {
    yard: TestYard,
    block: String,
}

impl Attacked {
    fn installed(name: &str) -> Self {
        Self::of(name, &attack(name))
    }

    fn of(name: &str, component: &[u8]) -> Self {
        let yard = TestYard::empty();
        yard.ok(&["init", "--key", "file"]);
        let file = yard.path("attack.wasm");
        std::fs::write(&file, component).expect("a file");
        yard.ok(&["install", &file.display().to_string(), "--yes"]);
        Self { yard, block: format!("{name}/a") }
    }

    fn new(name: &str) -> Self {
        let attacked = Self::installed(name);
        // Attacks on `sql` open this database.
        let note = format!("note={}", attacked.yard.path("note.db").display());
        attacked.yard.ok(&["create", &attacked.block, "--set", &note]);
        attacked
    }

    fn call_operation(&self) -> CommandOutput {
        self.call_with_timeout("60")
    }

    fn call_with_timeout(&self, seconds: &str) -> CommandOutput {
        self.yard.run(&["call", &self.block, "go", "--timeout", seconds, "--out", "out.bin"])
    }

    /// Checks that the next call of the same block succeeds and that the yard is intact.
    fn assert_usable(&self) {
        let well = self.yard.run(&["call", &self.block, "well", "--args", r#"{"long": "enough"}"#]);
        assert_eq!((well.code, well.stdout.as_str()), (0, "null\n"), "{}", well.stderr);
        self.yard.ok(&["doctor"]);
    }
}

/// Expects a call that fails with exit code 7 and this message.
fn ends(expected: &'static str) -> impl Fn(&str) {
    fails_with_message("", expected)
}

fn fails_with_message(how: &'static str, expected: &'static str) -> impl Fn(&str) {
    move |name| {
        let attacked = Attacked::new(name);
        let result = attacked.call_operation();
        assert_eq!(result.code, 7, "{}{}", result.stdout, result.stderr);
        let message = format!("error: bundle `{name}` {how}");
        assert!(result.stderr.starts_with(&message) && result.stderr.contains(expected), "{}", result.stderr);
        assert!(
            result.stderr.contains("only this call is lost") || result.stderr.contains("not valid"),
            "{}",
            result.stderr
        );
        assert!(!result.stderr.contains("panicked at core"), "{}", result.stderr);
        attacked.assert_usable();
    }
}

fn stopped(expected: &'static str) -> impl Fn(&str) {
    fails_with_message("was stopped: ", expected)
}

fn crashed(expected: &'static str) -> impl Fn(&str) {
    fails_with_message("crashed: ", expected)
}

/// Expects a call that is stopped at its deadline.
fn in_time(name: &str) {
    let attacked = Attacked::new(name);
    let began = std::time::Instant::now();
    let result = attacked.call_with_timeout("2");
    assert_eq!(result.code, 7, "{}{}", result.stdout, result.stderr);
    assert!(result.stderr.contains("the call was stopped after 2 seconds"), "{}", result.stderr);
    // Generous because test machines are slow. The test only shows that the call ends.
    assert!(began.elapsed().as_secs() < 25, "{:?}", began.elapsed());
    attacked.assert_usable();
}

/// Expects a file that cannot be installed, with this message.
fn refused(expected: &'static str) -> impl Fn(&str) {
    move |name| {
        let yard = TestYard::empty();
        yard.ok(&["init", "--key", "file"]);
        let file = yard.path("attack.wasm");
        std::fs::write(&file, attack(name)).expect("a file");
        let message = yard.fails(4, &["install", &file.display().to_string(), "--yes"]);
        assert!(message.contains(expected), "{message}");
        assert_eq!(yard.json(&["bundles"])["bundles"], serde_json::json!([]));
        yard.ok(&["doctor"]);
    }
}

/// Expects a configuration that is not saved because the bundle fails to validate it.
fn at_create(expected: &'static str) -> impl Fn(&str) {
    move |name| {
        let attacked = Attacked::installed(name);
        let message = attacked.yard.fails(7, &["create", &attacked.block, "--set", "note=here"]);
        assert!(message.contains(expected), "{message}");
        assert_eq!(attacked.yard.addresses(&[]), Vec::<String>::new());
        attacked.yard.ok(&["doctor"]);
    }
}

fn at_check(name: &str) {
    let attacked = Attacked::new(name);
    let result = attacked.yard.run(&["check", &attacked.block]);
    assert_eq!(result.code, 7, "{}{}", result.stdout, result.stderr);
    assert!(result.stderr.contains("was stopped: it used more than 30 seconds of processor time"), "{}", result.stderr);
    attacked.assert_usable();
}

fn harmless(output: &'static str) -> impl Fn(&str) {
    move |name| {
        let attacked = Attacked::new(name);
        let result = attacked.call_operation();
        assert_eq!((result.code, result.stdout.as_str()), (0, output), "{}", result.stderr);
        attacked.assert_usable();
    }
}

fn returns_the_same_twice(name: &str) {
    harmless("1\n")(name);
    let attacked = Attacked::new(name);
    for _ in 0..2 {
        assert_eq!(attacked.call_operation().stdout, "1\n");
    }
}

fn log_on_one_line(name: &str) {
    let attacked = Attacked::new(name);
    let result = attacked.call_operation();
    assert_eq!(result.code, 0, "{}", result.stderr);
    let line = r"warn: a\u{1b}[2J\u{1b}]0;owned\u{7}b\rerror: forged\nc\u{9b}2Jd\u{202e}e\u{2028}f";
    assert_eq!(result.stderr, format!("{line}\n"));
    attacked.assert_usable();
}

/// Checks that a transaction which the bundle does not close is rolled back, and that the pooled
/// connection is clean for the next call of the same process.
fn rolled_back(name: &str) {
    let attacked = Attacked::installed(name);
    let database = attacked.yard.path("taken.db");
    let note = format!("note={}", database.display());
    attacked.yard.ok(&["create", &attacked.block, "--set", &note]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let key = blockyard::KeySource::File(attacked.yard.key_file());
        let yard = blockyard::Yard::open(&attacked.yard.url(), key).await.expect("the yard");
        let block = yard.block(&attacked.block).await.expect("the block");
        for _ in 0..20 {
            let called = block.call("go", serde_json::json!({})).await;
            match called {
                Ok(reply) => assert_eq!(reply.result, serde_json::Value::Null),
                Err(error) => assert!(error.to_string().contains("out of bounds memory access"), "{error}"),
            }
        }
        yard.close().await;
    });
    attacked.assert_usable();
    if blockyard_tests::available("BLOCKYARD_TEST_SQLITE3") {
        let mut shell = program("sqlite3");
        let counted = blockyard_tests::run_command(shell.arg(database).arg("select count(*) from taken"), None);
        assert_eq!(counted.stdout, "0\n", "{}", counted.stderr);
    }
}

#[test]
fn host_panic_is_reported_as_a_bug() {
    // The guest reads its input, a stream that the embedding program provides.
    let reads = r#"
        (import "blockyard:bundle/streams@0.1.0" "[method]body.read" (func $read (param i32 i32 i32)))
        (func $invoke (type $call) (call $read (local.get 12) (i32.const 9) (i32.const 600)) (call $null))
    "#;
    let attacked = Attacked::of("reads", &build("reads", reads));
    attacked.yard.ok(&["create", &attacked.block, "--set", "note=here"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let key = blockyard::KeySource::File(attacked.yard.key_file());
        let yard = blockyard::Yard::open(&attacked.yard.url(), key).await.expect("the yard");
        let block = yard.block(&attacked.block).await.expect("the block");
        let call = async |stream| {
            let input = blockyard::Input { media_type: "text/plain".to_owned(), size: None, stream };
            block.call_with("go", serde_json::json!({}), Some(input), blockyard::Deadline::default()).await
        };
        let panicked = call(Box::pin(PanickingStream)).await.expect_err("a panic");
        assert_eq!(panicked.kind(), blockyard::ErrorKind::Internal);
        assert_eq!(panicked.to_string(), "internal error in a call of bundle `reads`: the disk fell over");
        // The process, the yard and the block remain usable, and the audit trail records the
        // outcome.
        block.call("well", serde_json::json!({})).await.expect("a healthy call");
        yard.close().await;
    });
    let audit = attacked.yard.json(&["audit", "--block", &attacked.block])["audit"].to_string();
    assert!(audit.contains("\"outcome\":\"internal\""), "{audit}");
    attacked.assert_usable();
}

/// A stream of bytes that panics when it is polled.
struct PanickingStream;

impl futures_util::Stream for PanickingStream {
    type Item = Result<bytes::Bytes, blockyard::Problem>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        panic!("the disk fell over")
    }
}

#[test]
fn precompiled_code_is_rejected() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    // Components compiled by wasmtime are ELF files, like the binary of Blockyard.
    for name in ["bundle.cwasm", "bundle.wasm"] {
        let mut beginning = vec![0; 1 << 20];
        let mut binary = std::fs::File::open(blockyard_tests::binary()).expect("the binary");
        std::io::Read::read_exact(&mut binary, &mut beginning).expect("its beginning");
        std::fs::write(yard.path(name), beginning).expect("a file");
        let message = yard.fails(4, &["install", &yard.path(name).display().to_string(), "--yes"]);
        assert!(message.contains("machine code"), "{message}");
    }
}
