//! Runs every command in the help and in the documentation.

use blockyard_tests::{TestYard, binary, bundle, root, run_command};

use blockyard_tests::http_proxy::Fault;

use crate::cloud::Cloud;

/// Runs the `$ blockyard …` lines of a document in order, on one yard.
fn run_all(name: &str, lines: Vec<String>) {
    run_on(&TestYard::empty(), name, lines);
}

/// Like [`run_all`], on a yard that is prepared for the lines.
fn run_on(yard: &TestYard, name: &str, lines: Vec<String>) {
    assert!(!lines.is_empty(), "{name} has no commands");
    for line in lines {
        let line = line.replace("/tmp/", &yard.path("").display().to_string());
        // Bundles that a document builds from source are installed from the built file.
        let line = line.replace(" install sql ", &format!(" install {} ", bundle("sql")));
        let line = line.replace("install plugins/sql ", &format!("install {} ", bundle("sql")));
        let line = line.replace("plugins/sql", &root().join("plugins/sql").display().to_string());
        let line = line.replace("blockyard ", &format!("{} ", binary()));
        let mut shell = yard.program("bash");
        shell.args(["-c", &format!("set -o pipefail; {line}")]);
        let output = run_command(&mut shell, None);
        assert_eq!(output.code, 0, "{name}: `{line}`: {}{}", output.stdout, output.stderr);
    }
}

fn commands(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|line| line.contains("blockyard ") && !line.contains("cargo "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn readme_commands_run() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let tour = text.split_once("## A tour").expect("the tour").1;
    run_all("README.md", commands(tour));
}

#[test]
fn book_commands_run() {
    for entry in std::fs::read_dir(root().join("docs")).expect("the book").flatten() {
        let path = entry.path();
        let text = if path.extension().is_some_and(|ending| ending == "md") {
            std::fs::read_to_string(&path).expect("a page")
        } else {
            continue;
        };
        let found = commands(&text);
        if path.ends_with("google-cloud.md") {
            // Runs on the emulators of this test.
            if let Some(cloud) = Cloud::with_warehouse(|_| Fault::Pass) {
                let zoo = ["--set", "credentials=gcp-credentials/prod", "--set", "dataset=zoo"];
                cloud.yard.ok(&[&["create", "bigquery-warehouse/zoo"][..], &zoo].concat());
                cloud.warehouse(&[
                    "create-table",
                    "--table",
                    "made",
                    "--columns",
                    r#"[{"name": "a", "type": "INT64"}]"#,
                ]);
                std::fs::write(cloud.yard.path("key.json"), cloud.key_file()).expect("a key file");
                std::fs::write(cloud.yard.path("flights.csv"), "from,to\nEWR,IAH\n").expect("a file");
                run_on(&cloud.yard, "google-cloud.md", found);
            }
        } else if let Some((page, name)) =
            [("http.md", "http"), ("notifications.md", "notify")].into_iter().find(|(page, _)| path.ends_with(page))
        {
            let yard = TestYard::new();
            yard.ok(&["install", &bundle(name), "--yes"]);
            run_on(&yard, page, found);
        } else if !found.is_empty() {
            run_all(&path.display().to_string(), found);
        }
    }
}

#[test]
fn help_examples_run() {
    let yard = TestYard::empty();
    // The reference lists the commands in the order in which their examples can be run.
    let reference = std::fs::read_to_string(root().join("docs/cli.md")).expect("the reference");
    let headings = reference.lines().filter_map(|line| line.strip_prefix("## blockyard "));
    let names: Vec<String> = headings.map(str::to_owned).collect();
    assert!(names.len() > 15, "{names:?}");
    let mut examples = Vec::new();
    for name in names.iter().filter(|name| *name != "help") {
        let help = yard.ok(&[name, "--help"]);
        let example =
            help.lines().skip_while(|line| !line.starts_with("Example")).nth(1).expect("an example").trim().to_owned();
        // Building takes a minute; `develop.rs` and the setup of the tests run these. `edit` opens an
        // editor.
        if !["build", "dev", "edit", "test"].contains(&name.as_str()) {
            examples.push(example);
        }
    }
    // `reveal` needs a secret.
    let at = examples.iter().position(|line| line.contains(" reveal ")).expect("the example of reveal");
    let warehouse = "echo s3cret | blockyard create sql-database/warehouse --set dialect=postgres \
        --set host=db.example.com --set database=d --set username=u --secret password=-";
    examples.insert(at, warehouse.to_owned());
    // Queries need a database file, which `execute` creates.
    let at = examples.iter().position(|line| line.contains(" execute ")).expect("the example of execute");
    let execute = examples.remove(at);
    let at = examples.iter().position(|line| line.contains(" check ")).expect("the example of check");
    examples.insert(at, execute);
    std::fs::copy(bundle("sql"), yard.path("sql.wasm")).expect("the bundle to publish");
    let (storage, examples): (Vec<String>, Vec<String>) =
        examples.into_iter().partition(|line| line.contains("gcs-bucket/zoo"));
    // Nothing works without the bundle.
    let (uninstall, examples): (Vec<String>, Vec<String>) =
        examples.into_iter().partition(|line| line.contains(" uninstall "));
    run_on(&yard, "--help", examples);
    run_on(&TestYard::new(), "uninstall --help", uninstall);
    if let Some(cloud) = Cloud::start() {
        std::fs::write(cloud.yard.path("flights.csv"), "from,to\nEWR,IAH\n").expect("a file");
        run_on(&cloud.yard, "--help of storages", storage);
    }
}
