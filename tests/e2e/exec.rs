//! `exec`: programs with values of blocks in their environment.

use blockyard_tests::{CommandOutput, TestYard, on_both};
use serde_json::{Value, json};

on_both!(
    program_receives_the_values_and_its_exit_code_is_passed_on,
    program_starts_only_if_all_values_are_available,
    invalid_variables_are_rejected,
    secrets_are_recorded_with_the_program_and_written_nowhere,
    program_has_the_limits_of_the_user_but_not_the_key,
);

fn with_blocks(yard: &TestYard) {
    yard.keeper("ada", "ada's badge\n$(id)");
    yard.create(
        "zoo-cage/lion",
        &json!({
            "animal": "lion", "keeper": {"$block": "zoo-keeper/ada"}, "place": {"house": "cats", "code": "code"},
            "doors": {"to/the~south": "door"},
        }),
    );
}

fn run(yard: &TestYard, variables: &[&str], command: &[&str]) -> CommandOutput {
    let variables = variables.iter().flat_map(|variable| ["--env", variable]);
    let arguments: Vec<&str> =
        ["exec"].into_iter().chain(variables).chain(["--yes", "--"]).chain(command.iter().copied()).collect();
    yard.run(&arguments)
}

fn program_receives_the_values_and_its_exit_code_is_passed_on(yard: &TestYard) {
    with_blocks(yard);
    let output = run(
        yard,
        &[
            "BADGE=zoo-keeper/ada@1:badge",
            "NAME=zoo-keeper/ada:name",
            "THROUGH=zoo-cage/lion:keeper.config.badge",
            "DOOR=zoo-cage/lion:/doors/to~1the~0south",
        ],
        &["sh", "-c", r#"printf '%s|' "$BADGE" "$NAME" "$THROUGH" "$DOOR" "$1" "$HOME"; exit 7"#, "sh", "--yes"],
    );
    assert_eq!((output.code, output.stderr.as_str()), (7, ""), "{}", output.stdout);
    let home = yard.path("").display().to_string();
    let badge = "ada's badge\n$(id)";
    let expected = format!("{badge}|ada|{badge}|door|--yes|{}|", home.trim_end_matches('/'));
    assert_eq!(output.stdout, expected);
    // The program reads the standard input of the command.
    let arguments = ["exec", "--env", "NAME=zoo-keeper/ada:name", "--yes", "--", "cat"];
    assert_eq!(yard.ok_with_input(&arguments, "input\n"), "input\n");
}

fn program_starts_only_if_all_values_are_available(yard: &TestYard) {
    with_blocks(yard);
    let marker = yard.path("started").display().to_string();
    let name = "NAME=zoo-keeper/ada:name";
    for (variable, code, message) in [
        ("X=zoo-keeper/ada:bagde", 3, "block `zoo-keeper/ada` has no value for `bagde`"),
        ("X=zoo-keeper/eve:badge", 3, "zoo-keeper/eve"),
        ("X=zoo-keeper/ada@9:badge", 3, "has no revision 9"),
        ("X=zoo-cage/lion:place", 4, "`place` of block `zoo-cage/lion` contains a secret"),
        ("X=zoo-cage/lion:keeper", 4, "`keeper` of block `zoo-cage/lion` contains a secret"),
        ("NAME=zoo-keeper/ada:badge", 2, "the variable `NAME` is set twice"),
    ] {
        let output = run(yard, &[name, variable], &["touch", &marker]);
        assert_eq!(output.code, code, "{variable}: {}", output.stderr);
        assert!(output.stderr.contains(message), "{variable}: {}", output.stderr);
        assert!(!yard.path("started").exists(), "{variable}");
    }
    let refused = yard.fails(2, &["exec", "--env", name, "--", "touch", &marker]);
    assert!(refused.contains("was not confirmed") && refused.contains("`--yes`"), "{refused}");
    assert!(!yard.path("started").exists());
    let missing = run(yard, &[name], &["no-such-program"]);
    assert_eq!(missing.code, 3, "{}", missing.stderr);
    assert!(missing.stderr.contains("`no-such-program` cannot be run"), "{}", missing.stderr);
}

fn invalid_variables_are_rejected(yard: &TestYard) {
    for (variable, message) in [
        ("NAME", "expected `NAME=TYPE/NAME:FIELD`"),
        ("NAME=zoo-keeper/ada", "expected `NAME=TYPE/NAME:FIELD`"),
        ("=zoo-keeper/ada:name", "is not the name of an environment variable"),
        ("1A=zoo-keeper/ada:name", "is not the name of an environment variable"),
        ("A-B=zoo-keeper/ada:name", "is not the name of an environment variable"),
        ("A=zoo-keeper/ada:", "the field of `zoo-keeper/ada` is missing"),
        ("A=zoo:name", "zoo"),
    ] {
        let output = run(yard, &[variable], &["true"]);
        assert_eq!(output.code, 2, "{variable}: {}", output.stderr);
        assert!(output.stderr.contains(message), "{variable}: {}", output.stderr);
    }
    assert_eq!(yard.run(&["exec", "--yes", "--", "true"]).code, 2, "a variable is required");
    assert_eq!(yard.run(&["exec", "--env", "A=zoo-keeper/ada:name", "--yes"]).code, 2, "a program is required");
}

fn secrets_are_recorded_with_the_program_and_written_nowhere(yard: &TestYard) {
    with_blocks(yard);
    let through = "THROUGH=zoo-cage/lion:keeper.config.badge";
    let listed = run(yard, &[through, "NAME=zoo-keeper/ada:name"], &["sh", "-c", "ls -aR; find . -newer no-file"]);
    assert!(!listed.stdout.contains("badge"), "{}", listed.stdout);
    let audit = yard.json(&["audit", "--block", "zoo-keeper/ada"]);
    let lines = audit["audit"].as_array().expect("lines").iter();
    let reveals: Vec<&Value> = lines.filter(|line| line["action"] == "reveal").map(|line| &line["detail"]).collect();
    // The name is not a secret, and leaves no line.
    assert_eq!(reveals, [&json!({ "field": "badge", "through": "zoo-cage/lion@1", "program": "sh" })]);
}

fn program_has_the_limits_of_the_user_but_not_the_key(yard: &TestYard) {
    with_blocks(yard);
    let script = "ulimit -c 64; \"$0\" \"$@\"";
    let shown = "ulimit -c; echo \"${BLOCKYARD_KEY-no key} ${BLOCKYARD_TOKEN-no token} $NAME\"";
    let arguments = [
        "-c",
        script,
        &blockyard_tests::binary(),
        "exec",
        "--env",
        "NAME=zoo-keeper/ada:name",
        "--yes",
        "--",
        "sh",
        "-c",
        shown,
    ];
    let key = std::fs::read_to_string(yard.key_file()).expect("the key");
    let mut shell = yard.program("sh");
    shell.args(arguments).env("BLOCKYARD_KEY", key.trim()).env("BLOCKYARD_TOKEN", "token");
    let output = blockyard_tests::run_command(&mut shell, None);
    assert_eq!((output.code, output.stdout.as_str()), (0, "64\nno key no token ada\n"), "{}", output.stderr);
}
