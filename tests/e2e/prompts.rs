//! Prompts on a terminal, tested with a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use blockyard_tests::environment::program;
use blockyard_tests::{Backend, TestYard, bundle};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;

/// A command that runs on a terminal.
pub(crate) struct Conversation {
    child: Child,
    terminal: File,
    received: mpsc::Receiver<String>,
    all: String,
    /// Length of the part of `all` that was already matched.
    at: usize,
}

impl Conversation {
    pub(crate) fn begin(yard: &TestYard, arguments: &[&str]) -> Self {
        Self::with(&mut yard.command(arguments))
    }

    pub(crate) fn with(command: &mut Command) -> Self {
        Self::sized(command, 0)
    }

    /// Runs a command on a terminal with this number of columns; 0 if the terminal does not report one.
    pub(crate) fn sized(command: &mut Command, columns: u16) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        if columns > 0 {
            let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(&master, size).expect("a size");
        }
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("a path");
        let end = || Stdio::from(File::options().read(true).write(true).open(&name).expect("the other end"));
        let child = command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end()).spawn().expect("it runs");
        let terminal = File::from(master);
        let mut reader = terminal.try_clone().expect("a second handle");
        let (sender, received) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails when the other end is closed.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(String::from_utf8_lossy(&buffer[..count]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child, terminal, received, all: String::new(), at: 0 }
    }

    /// Returns the process ID of the program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a prompt and answers it.
    pub(crate) fn answer(&mut self, question: &str, answer: &str) {
        self.press(question, &format!("{answer}\r"));
    }

    /// Waits for a prompt and presses keys.
    pub(crate) fn press(&mut self, question: &str, keys: &str) {
        self.wait_for(question);
        self.terminal.write_all(keys.as_bytes()).expect("written");
    }

    /// Waits for a prompt and interrupts the program (Ctrl-C) instead of answering.
    pub(crate) fn interrupt(&mut self, question: &str) {
        self.wait_for(question);
        let done = program("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    pub(crate) fn wait_for(&mut self, question: &str) {
        loop {
            if let Some(found) = self.all[self.at..].find(question) {
                self.at += found + question.len();
                break;
            }
            match self.received.recv_timeout(Duration::from_secs(20)) {
                Ok(text) => self.all.push_str(&text),
                Err(_) => panic!("prompt `{question}` did not appear: {}", self.all),
            }
        }
        // Gives the program time to begin reading; earlier input would be echoed.
        std::thread::sleep(Duration::from_millis(400));
    }

    pub(crate) fn end(mut self) -> (i32, String) {
        let code = self.child.wait().expect("it ends").code().unwrap_or(-1);
        while let Ok(text) = self.received.recv_timeout(Duration::from_millis(300)) {
            self.all.push_str(&text);
        }
        (code, self.all)
    }
}

#[test]
fn create_prompts_for_fields_without_echoing_secrets() {
    let yard = TestYard::new();
    let mut conversation = Conversation::begin(&yard, &["create", "sql-database/w"]);
    conversation.answer("dialect (required): ", "oracle");
    conversation.answer("no match", "\u{15}postgres");
    conversation.answer("database (required): ", "");
    conversation.answer("a value is required", "warehouse");
    conversation.answer("host (optional): ", "db.example.com");
    conversation.answer("port (optional): ", "many");
    // The typed text is offered again.
    conversation.answer("expected an integer", "\u{15}5433");
    conversation.answer("username (optional): ", "loader");
    conversation.answer("password (optional) (not shown): ", "asked-secret-5519");
    conversation.answer("ca (optional): ", "");
    conversation.answer("options, name of entry 1: ", "");
    conversation.answer("next: ", "");
    conversation.wait_for("equivalent command:");
    let (code, output) = conversation.end();
    assert_eq!(code, 0, "{output}");
    assert!(!output.contains("url"), "there must be no prompt for `url`: {output}");
    assert!(!output.contains("asked-secret-5519"), "{output}");
    assert_eq!(
        yard.json(&["show", "sql-database/w"])["config"],
        json!({"dialect": "postgres", "database": "warehouse", "host": "db.example.com", "port": 5433,
               "username": "loader", "password": "********"})
    );
    assert_eq!(yard.any_file_contains("asked-secret-5519"), None);
}

#[test]
fn install_prompts_for_grants() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let mut refused = Conversation::begin(&yard, &["install", &bundle("sql")]);
    refused.answer("grant this? [y/N]", "n");
    assert_eq!(refused.end().0, 5);
    let mut accepted = Conversation::begin(&yard, &["install", &bundle("sql")]);
    accepted.answer("grant this? [y/N]", "y");
    let (code, output) = accepted.end();
    assert_eq!(code, 0, "{output}");
    assert_eq!(yard.json(&["bundles"])["bundles"][0]["name"], "sql");
}

#[test]
fn irreversible_commands_prompt_for_confirmation() {
    let yard = TestYard::on(Backend::Sqlite);
    yard.keeper("ada", "asked-for-6621");
    let mut refused = Conversation::begin(&yard, &["reveal", "zoo-keeper/ada", "badge"]);
    refused.answer("in plain text? [y/N]", "n");
    let (code, output) = refused.end();
    assert_eq!(code, 2, "{output}");
    assert!(!output.contains("asked-for-6621"), "{output}");
    let mut accepted = Conversation::begin(&yard, &["reveal", "zoo-keeper/ada", "badge"]);
    accepted.answer("in plain text? [y/N]", "y");
    let (code, output) = accepted.end();
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("asked-for-6621"), "{output}");
    let mut accepted = Conversation::begin(&yard, &["purge", "zoo-keeper/ada"]);
    accepted.answer("of `zoo-keeper/ada`? [y/N]", "y");
    assert_eq!(accepted.end().0, 0);
    yard.fails(5, &["reveal", "zoo-keeper/ada", "badge", "--yes"]);
}

#[test]
fn interrupted_prompt_changes_nothing() {
    let yard = TestYard::on(Backend::Sqlite);
    yard.keeper("ada", "still-there");
    for (arguments, question) in [
        (&["purge", "zoo-keeper/ada"][..], "of `zoo-keeper/ada`? [y/N]"),
        (&["reveal", "zoo-keeper/ada", "badge"], "in plain text? [y/N]"),
        (&["set", "zoo-keeper/ada", "--secret", "badge"], "badge (not shown)"),
    ] {
        let mut prompt = Conversation::begin(&yard, arguments);
        prompt.interrupt(question);
        let (code, output) = prompt.end();
        assert_eq!(code, 130, "{arguments:?}: {output}");
    }
    let mut prompt = Conversation::begin(&yard, &["set", "zoo-keeper/ada", "--secret", "badge"]);
    prompt.press("badge (not shown)", "new\u{3}");
    let (code, output) = prompt.end();
    assert!(code == 130 && output.contains("interrupted; nothing was changed"), "{output}");
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), "still-there");
    assert_eq!(yard.json(&["show", "zoo-keeper/ada"])["newest"], json!(1));
}
