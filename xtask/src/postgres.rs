//! Temporary PostgreSQL server: in a temporary folder, on a free port, with a password and TLS.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;
use crate::setup::{find, is_root};

/// Maximum startup time of the server.
const START: Duration = Duration::from_secs(60);

/// Password of the user `postgres`. The tests search everything that they leave behind for it.
pub(crate) const PASSWORD: &str = "pg-Secr3t/with+odd=chars";

/// A running server, stopped on drop.
pub(crate) struct Postgres {
    pub(crate) port: u16,
    server: Child,
    folder: TempDir,
}

impl Postgres {
    /// Starts a server for tests, without durability.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with("off")
    }

    /// Starts a server with durability, for benchmarks.
    pub(crate) fn durable() -> Result<Self> {
        Self::start_with("on")
    }

    fn start_with(fsync: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("blockyard-postgres-").tempdir().map_err(text)?;
        let path = folder.path();
        let password = path.join("password");
        let mut file = std::fs::File::create(&password).map_err(text)?;
        file.write_all(PASSWORD.as_bytes()).map_err(text)?;
        if is_root() {
            // PostgreSQL refuses to run as root.
            crate::run(Command::new("chown").args(["-R", "postgres"]).arg(path))?;
        }
        let data = path.join("data");
        let initdb = find("initdb").ok_or("initdb is not installed")?;
        let made = as_postgres(&initdb)
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"])
            .arg("--pwfile")
            .arg(&password)
            .current_dir(path)
            .output()
            .map_err(text)?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        certificate(path, &mut as_postgres(&find("openssl").ok_or("openssl is not installed")?))?;
        let port = free_port()?;
        let log = std::fs::File::create(path.join("log")).map_err(text)?;
        let server = as_postgres(&find("postgres").ok_or("postgres is not installed")?)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(path)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("fsync={fsync}")])
            .args(["-c", "ssl=on", "-c", "ssl_cert_file=../server.crt", "-c", "ssl_key_file=../server.key"])
            // Many tests run concurrently, each with a few connections.
            .args(["-c", "max_connections=300"])
            .current_dir(path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(text)?;
        let mut postgres = Self { port, server, folder };
        postgres.wait()?;
        Ok(postgres)
    }

    /// Returns the server's self-signed certificate for 127.0.0.1.
    pub(crate) fn certificate(&self) -> std::path::PathBuf {
        self.folder.path().join("server.crt")
    }

    fn wait(&mut self) -> Result {
        let started = Instant::now();
        loop {
            let ready = find("pg_isready").is_some_and(|program| {
                let port = self.port.to_string();
                let status =
                    Command::new(program).args(["-h", "127.0.0.1", "-p", &port]).stdout(Stdio::null()).status();
                status.is_ok_and(|status| status.success())
            });
            if ready {
                return Ok(());
            }
            if let Ok(Some(status)) = self.server.try_wait() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("postgres exited ({status}): {log}"));
            }
            if started.elapsed() > START {
                return Err("postgres did not start in time".to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Requests a fast shutdown (SIGINT) by process ID.
        let pid = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            let _ = Command::new("kill").args(["-INT", pid]).status();
        }
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

/// Creates a self-signed certificate for 127.0.0.1 and its key.
pub(crate) fn certificate(folder: &Path, openssl: &mut Command) -> Result {
    let made = openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(folder)
        .output()
        .map_err(text)?;
    if made.status.success() { Ok(()) } else { Err(format!("openssl: {}", String::from_utf8_lossy(&made.stderr))) }
}

fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    Ok(listener.local_addr().map_err(text)?.port())
}

pub(crate) fn text(error: std::io::Error) -> String {
    error.to_string()
}
