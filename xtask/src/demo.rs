//! `cargo xtask demo`: a tour of the main use case.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Result, setup};

/// A realistic password that must not appear in the output.
const PASSWORD: &str = "correct-horse-battery-staple";

/// Paths of a demo run.
struct Demo {
    binary: PathBuf,
    folder: PathBuf,
}

pub(crate) fn run() -> Result {
    let toolchain = setup::toolchain()?;
    let ((), binary) = crate::run_concurrently(|| setup::module("plugins/sql", &toolchain), setup::small_binary)?;
    let folder = setup::target().join("demo");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let demo = Demo { binary, folder };
    demo.run()
}

impl Demo {
    fn run(&self) -> Result {
        heading("A yard stores blocks, bundles, grants and the audit trail. Its key is in a file beside it.");
        self.does(&["init", "--key", "file"])?;

        heading("A bundle is an integration: one WebAssembly file, here built from source. Its permissions are shown.");
        self.does(&["install", "sql", "--registry", "registry.toml", "--build", "--yes"])?;
        self.does(&["types"])?;

        heading("A block is the configuration of one database, typed and permanently named.");
        let database = format!("database={}", self.folder.join("flights.db").display());
        self.does(&["create", "sql-database/flights", "--set", "dialect=sqlite", "--set", &database])?;

        heading("Real data: departures from New York City around the blizzard of February 2013.");
        let file = "examples/data/flights.csv";
        let load = ["call", "sql-database/flights", "load", "--table", "flights", "--format", "csv", "--in", file];
        self.does(&load)?;

        self.does(&["check", "sql-database/flights"])?;

        heading("Query 1: how many flights did the blizzard cancel?");
        self.does(&[
            "query",
            "sql-database/flights",
            "select month, day, count(*) as flights, sum(dep_time is null) as cancelled, \
             round(100.0 * sum(dep_time is null) / count(*), 1) as percent from flights group by month, day order by month, day",
        ])?;
        heading("Query 2: which carriers with at least 100 arrivals had the largest delays?");
        let by_carrier = "select carrier, count(arr_delay) as arrivals, round(avg(arr_delay), 1) as mean_delay \
             from flights group by carrier having count(arr_delay) >= :least order by mean_delay desc limit 5";
        self.does(&["query", "sql-database/flights", by_carrier, "--param", "least=100"])?;
        heading("Query 3, for a program: one row as JSON.");
        self.does(&[
            "call",
            "sql-database/flights",
            "fetch-one",
            "--statement",
            "select origin, dest, carrier, dep_delay from flights order by dep_delay desc limit 1",
        ])?;
        heading("A result as Parquet, for further processing.");
        let parquet = self.folder.join("carriers.parquet");
        self.does(&[
            "query",
            "sql-database/flights",
            by_carrier,
            "--param",
            "least=100",
            "--out",
            &parquet.display().to_string(),
        ])?;

        heading("A block with a secret. The secret is read from standard input, encrypted, and never shown again.");
        let fields = ["dialect=postgres", "host=db.example.com", "database=warehouse", "username=loader"];
        let mut create = vec!["create", "sql-database/warehouse", "--secret", "password=-"];
        for field in fields {
            create.extend(["--set", field]);
        }
        self.with_input(&create, Some(PASSWORD), 0)?;
        self.does(&["set", "sql-database/warehouse", "--set", "host=db2.example.com", "--set", "port=5433"])?;
        self.does(&["show", "sql-database/warehouse"])?;
        self.does(&["history", "sql-database/warehouse"])?;

        heading("An invalid name is rejected, with the rule.");
        self.refuses(&["create", "sql-database/Flights_2013", "--set", "dialect=sqlite", "--set", &database], 2)?;
        heading("Deny by default: without a grant the bundle cannot access anything.");
        self.does(&["revoke", "sql", "sql sqlite"])?;
        self.refuses(&["query", "sql-database/flights", "select count(*) from flights"], 5)?;
        self.does(&["grant", "sql", "sql sqlite"])?;
        self.does(&["query", "sql-database/flights", "select count(*) as flights from flights"])?;

        heading("The audit trail.");
        self.does(&["audit", "--limit", "5"])?;
        self.search_for_the_password()?;
        println!("\nAll files are in {}.", self.folder.display());
        Ok(())
    }

    fn does(&self, arguments: &[&str]) -> Result {
        self.with_input(arguments, None, 0)
    }

    fn refuses(&self, arguments: &[&str], code: i32) -> Result {
        self.with_input(arguments, None, code)
    }

    /// Runs a command and checks its exit code.
    fn with_input(&self, arguments: &[&str], input: Option<&str>, code: i32) -> Result {
        let shown: Vec<String> = arguments.iter().map(|word| self.shown(word)).collect();
        let piped = if input.is_some() { "… | " } else { "" };
        println!("\n$ {piped}blockyard {}", shown.join(" "));
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(setup::root())
            .env("BLOCKYARD_YARD", format!("sqlite:{}", self.folder.join("yard.db").display()))
            .env_remove("BLOCKYARD_KEY")
            .env_remove("BLOCKYARD_KEY_FILE")
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.code() == Some(code) {
            Ok(())
        } else {
            Err(format!("`blockyard {}` exited with {status}, expected {code}", shown.join(" ")))
        }
    }

    /// Formats an argument as typed in a shell, without the folder of this run.
    fn shown(&self, word: &str) -> String {
        let word = word.replace(&format!("{}/", self.folder.display()), "");
        let plain = word.chars().all(|c| c.is_alphanumeric() || "-_/=.@:".contains(c));
        if plain { word } else { format!("'{word}'") }
    }

    /// Checks that the secret is not stored in plain text anywhere.
    fn search_for_the_password(&self) -> Result {
        for entry in std::fs::read_dir(&self.folder).map_err(|error| error.to_string())?.flatten() {
            if contains(&entry.path(), PASSWORD.as_bytes())? {
                return Err(format!("the password is stored in plain text in {}", entry.path().display()));
            }
        }
        println!("\nThe password of sql-database/warehouse is not stored in plain text in any file of the yard.");
        Ok(())
    }
}

fn contains(file: &Path, needle: &[u8]) -> Result<bool> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    Ok(bytes.windows(needle.len()).any(|window| window == needle))
}

fn heading(text: &str) {
    println!("\n── {text}");
}
