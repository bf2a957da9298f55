//! Temporary MariaDB server: in a temporary folder, on a free port, with a password and TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;
use crate::postgres::{certificate, free_port, text};
use crate::setup::{find, is_root};

/// Maximum startup time of the server.
const START: Duration = Duration::from_secs(60);

/// Password of the user `blockyard`. The tests search everything that they leave behind for it.
pub(crate) const PASSWORD: &str = "my-Secr3t/with+odd=chars";

/// A running server, stopped on drop.
pub(crate) struct Mariadb {
    pub(crate) port: u16,
    server: Child,
    folder: TempDir,
}

impl Mariadb {
    /// Starts a server for tests, without durability.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("blockyard-mariadb-").tempdir().map_err(text)?;
        let path = folder.path();
        certificate(path, &mut Command::new(find("openssl").ok_or("openssl is not installed")?))?;
        let accounts = format!(
            "create user 'blockyard'@'127.0.0.1' identified by '{PASSWORD}';\n\
             grant all privileges on *.* to 'blockyard'@'127.0.0.1' with grant option;\n"
        );
        std::fs::write(path.join("accounts.sql"), accounts).map_err(text)?;
        if is_root() {
            // MariaDB refuses to run as root; the Debian package creates a user for it.
            crate::run(Command::new("chown").args(["-R", "mysql"]).arg(path))?;
        }
        let data = path.join("data");
        let mut install = Command::new(find("mariadb-install-db").ok_or("mariadb-install-db is not installed")?);
        install.arg("--no-defaults");
        let made = as_mysql(&mut install)
            .arg(argument("--datadir", &data))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .output()
            .map_err(text)?;
        if !made.status.success() {
            return Err(format!("mariadb-install-db: {}", String::from_utf8_lossy(&made.stdout)));
        }
        let port = free_port()?;
        let log = std::fs::File::create(path.join("log")).map_err(text)?;
        let mut start = Command::new(find("mariadbd").ok_or("mariadbd is not installed")?);
        start.arg("--no-defaults");
        let server = as_mysql(&mut start)
            .arg(argument("--datadir", &data))
            .arg(argument("--socket", &path.join("socket")))
            .arg(argument("--init-file", &path.join("accounts.sql")))
            .arg(argument("--ssl-cert", &path.join("server.crt")))
            .arg(argument("--ssl-key", &path.join("server.key")))
            .arg(format!("--port={port}"))
            // Many tests run concurrently, each with a few connections. Durability is not required.
            .args(["--bind-address=127.0.0.1", "--max-connections=300", "--innodb-flush-log-at-trx-commit=0"])
            .arg("--character-set-server=utf8mb4")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(text)?;
        let mut mariadb = Self { port, server, folder };
        mariadb.wait()?;
        Ok(mariadb)
    }

    /// Returns the server's self-signed certificate for 127.0.0.1.
    pub(crate) fn certificate(&self) -> std::path::PathBuf {
        self.folder.path().join("server.crt")
    }

    fn wait(&mut self) -> Result {
        let started = Instant::now();
        loop {
            if find("mariadb").is_some_and(|program| {
                let port = format!("--port={}", self.port);
                let status = Command::new(program)
                    .args(["--no-defaults", "--host=127.0.0.1", "--user=blockyard", "--execute=select 1", &port])
                    .env("MYSQL_PWD", PASSWORD)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                status.is_ok_and(|status| status.success())
            }) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.server.try_wait() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("mariadbd exited ({status}): {log}"));
            }
            if started.elapsed() > START {
                return Err("mariadbd did not start in time".to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        // Requests a clean shutdown (SIGTERM) by process ID.
        let _ = Command::new("kill").arg(self.server.id().to_string()).status();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if matches!(self.server.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Makes a program that was started by root switch to the user `mysql`.
fn as_mysql(command: &mut Command) -> &mut Command {
    if is_root() {
        command.arg("--user=mysql");
    }
    command
}

fn argument(name: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(name);
    argument.push("=");
    argument.push(path);
    argument
}
