//! Credentials for registries: a token from an environment variable, then those that docker and oras
//! store, by host, in `config.json` or in the program that it names.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_model::SecretValue;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::access::RegistryToken;

/// Maximum size of `config.json`.
const CONFIG_BYTES: u64 = 1 << 20;
/// Maximum size of the output of a credential helper.
const HELPER_BYTES: u64 = 64 << 10;
/// Maximum time of a credential helper. It may ask the user to unlock a keyring.
const HELPER_TIME: Duration = Duration::from_secs(60);
/// User name with which helpers mark a refresh token, which is not a password.
const TOKEN_USER: &str = "<token>";

/// The sources of credentials for one registry.
#[derive(Debug)]
pub(crate) struct Credentials {
    token: Option<RegistryToken>,
    docker_config: Option<PathBuf>,
    /// Host of the registry, with a port that is not the default one.
    host: String,
}

/// User and password for a host.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: SecretValue,
}

impl Login {
    /// Returns the value of `Authorization` for the scheme Basic (RFC 7617).
    pub(crate) fn basic(&self) -> SecretValue {
        let pair = SecretValue::new(format!("{}:{}", self.user, self.password.expose()));
        SecretValue::new(format!("Basic {}", STANDARD.encode(pair.expose())))
    }
}

#[derive(Deserialize)]
struct ConfigFormat {
    #[serde(default)]
    auths: BTreeMap<String, AuthFormat>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
struct AuthFormat {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

#[derive(Deserialize)]
struct HelperFormat {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl Credentials {
    pub(crate) fn new(token: Option<RegistryToken>, docker_config: Option<PathBuf>, host: String) -> Self {
        Self { token, docker_config, host }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the name of the token's variable.
    pub(crate) fn variable(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.variable.as_str())
    }

    /// Returns the value of `Authorization` for the token of the environment variable.
    pub(crate) fn bearer(&self) -> Option<SecretValue> {
        let token = self.token.as_ref()?.value.as_ref()?;
        Some(SecretValue::new(format!("Bearer {}", token.expose())))
    }

    /// Finds the user and password that docker or oras stored for the host. Adds what was tried to
    /// `tried`: a server that needs no credentials must not fail because of them.
    pub(crate) async fn login(&self, tried: &mut Vec<String>) -> Option<Login> {
        let path = self.docker_config.as_ref()?;
        let config = match read(path) {
            Ok(config) => config,
            Err(reason) => {
                tried.push(format!("`{}`: {reason}", path.display()));
                return None;
            }
        };
        let entry = |map: &BTreeMap<String, String>| {
            map.iter().find(|(key, _)| is_host(key, &self.host)).map(|(_, program)| program.clone())
        };
        let program = entry(&config.helpers).or_else(|| (!config.store.is_empty()).then(|| config.store.clone()));
        if let Some(program) = program {
            match helper(&program, &self.host).await {
                Ok(login) => return Some(login),
                Err(reason) => tried.push(format!("`docker-credential-{program}`: {reason}")),
            }
        }
        let stored = config.auths.into_iter().find(|(key, _)| is_host(key, &self.host));
        let login = stored.and_then(|(_, auth)| auth.login());
        if login.is_none() {
            tried.push(format!("`{}`: no password for `{}`", path.display(), self.host));
        }
        login
    }
}

impl AuthFormat {
    fn login(self) -> Option<Login> {
        if !self.username.is_empty() && !self.password.is_empty() {
            return Some(Login { user: self.username, password: SecretValue::new(self.password) });
        }
        let pair = SecretValue::from_bytes(STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (user, password) = pair.expose().split_once(':')?;
        let password = password.trim_end_matches('\0');
        (!password.is_empty()).then(|| Login { user: user.to_owned(), password: SecretValue::new(password.to_owned()) })
    }
}

/// Checks whether a key of `config.json` is a host. Older programs stored URLs.
fn is_host(key: &str, host: &str) -> bool {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    key.split('/').next() == Some(host)
}

fn read(path: &Path) -> Result<ConfigFormat, String> {
    let metadata = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err("does not exist".to_owned()),
        other => other.map_err(|error| error.to_string())?,
    };
    if !metadata.is_file() || metadata.len() > CONFIG_BYTES {
        return Err(format!("is not a file of at most {CONFIG_BYTES} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    // The error of the parser may quote a password.
    serde_json::from_slice(&bytes)
        .map_err(|error| format!("is not valid (line {}, column {})", error.line(), error.column()))
}

/// Asks the credential helper `docker-credential-PROGRAM` for a host.
async fn helper(program: &str, host: &str) -> Result<Login, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if program.is_empty() || !program.chars().all(is_name) {
        return Err("is not the name of a credential helper".to_owned());
    }
    let exchange = async {
        let mut child = Command::new(format!("docker-credential-{program}"))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A helper that ignores its input closes the pipe.
            let _ = input.write_all(format!("{host}\n").as_bytes()).await;
        }
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(HELPER_BYTES).read_to_end(&mut output).await?;
        }
        Ok::<_, io::Error>((child.wait().await?.success(), output))
    };
    let (ended_well, output) = tokio::time::timeout(HELPER_TIME, exchange)
        .await
        .map_err(|_| format!("did not answer within {} seconds", HELPER_TIME.as_secs()))?
        .map_err(|error| error.to_string())?;
    if !ended_well {
        return Err(format!("has no credentials for `{host}`"));
    }
    let answer: HelperFormat =
        serde_json::from_slice(&output).map_err(|_| "answered with something else than credentials".to_owned())?;
    if answer.user == TOKEN_USER {
        return Err("has an identity token, which is not supported".to_owned());
    }
    Ok(Login { user: answer.user, password: SecretValue::new(answer.secret) })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn login(config: &str, host: &str) -> (Option<String>, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, config).expect("a file");
        let mut tried = Vec::new();
        let found = Credentials::new(None, Some(path), host.to_owned()).login(&mut tried).await;
        let tried = tried.into_iter().map(|text| text.replace(&folder.path().display().to_string(), "FOLDER"));
        (found.map(|login| format!("{} {}", login.user, login.password.expose())), tried.collect())
    }

    #[tokio::test]
    async fn a_password_is_found_by_host() {
        let config = format!(
            r#"{{"auths": {{"https://r.example/v1/": {{"auth": "{}"}}, "r.example:5000": {{"username": "u", "password": "p"}}}}}}"#,
            STANDARD.encode("ada:s:cret")
        );
        assert_eq!(login(&config, "r.example").await.0.as_deref(), Some("ada s:cret"));
        assert_eq!(login(&config, "r.example:5000").await.0.as_deref(), Some("u p"));
        for other in ["example", "evil.r.example", "r.example.evil", "r.example:5001"] {
            let (found, tried) = login(&config, other).await;
            assert_eq!(found, None, "{other}");
            assert_eq!(tried, [format!("`FOLDER/config.json`: no password for `{other}`")]);
        }
    }

    #[tokio::test]
    async fn unusable_sources_are_named_without_their_content() {
        let (found, tried) = login(r#"{"auths": {"r.example": {"auth": "hunter2""#, "r.example").await;
        assert_eq!((found, tried), (None, vec!["`FOLDER/config.json`: is not valid (line 1, column 42)".to_owned()]));
        for (program, reason) in
            [("../x", "is not the name of a credential helper"), ("is-not-installed", "No such file")]
        {
            let (found, tried) = login(&format!(r#"{{"credsStore": "{program}"}}"#), "r.example").await;
            assert_eq!(found, None);
            assert!(tried[0].contains(reason), "{tried:?}");
        }
        let absent = Credentials::new(None, Some(PathBuf::from("/nonexistent/config.json")), "r.example".to_owned());
        let mut tried = Vec::new();
        assert!(absent.login(&mut tried).await.is_none());
        assert_eq!(tried, ["`/nonexistent/config.json`: does not exist"]);
    }
}
