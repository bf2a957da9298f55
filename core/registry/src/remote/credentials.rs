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
use url::Url;

use crate::access::RegistryToken;
use crate::token_service::TokenService;
use crate::used_credentials::UsedCredentials;

/// Maximum size of `config.json`.
const CONFIG_BYTES: u64 = 1 << 20;
/// Maximum size of the output of a credential helper.
const HELPER_BYTES: u64 = 64 << 10;
/// Maximum time of a credential helper. It may ask the user to unlock a keyring.
const HELPER_TIME: Duration = Duration::from_secs(60);
/// User name with which helpers mark an identity token, which is not a password.
const TOKEN_USER: &str = "<token>";
/// Hosts of Docker Hub, and the key under which docker and oras store its credentials. Keys below it
/// are those of other tokens.
const HUB_HOSTS: [&str; 2] = ["registry-1.docker.io", "docker.io"];
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The sources of credentials for one registry.
#[derive(Debug)]
pub(crate) struct Credentials {
    token: Option<RegistryToken>,
    /// The token service that the user permits. `None` permits one on the registry's host.
    token_service: Option<TokenService>,
    docker_config: Option<PathBuf>,
    /// Host of the registry, with a port that is not the default one.
    host: String,
}

/// Credentials that docker or oras stored for a host.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) secret: StoredSecret,
    pub(crate) source: UsedCredentials,
}

#[derive(Debug)]
pub(crate) enum StoredSecret {
    Password(Login),
    /// A refresh token, which a token service exchanges for tokens.
    IdentityToken(SecretValue),
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
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

#[derive(Deserialize)]
struct HelperFormat {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl Credentials {
    pub(crate) fn new(
        token: Option<RegistryToken>,
        token_service: Option<TokenService>,
        docker_config: Option<PathBuf>,
        host: String,
    ) -> Self {
        Self { token, token_service, docker_config, host }
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

    /// Returns the token service that the user permits, unless it is one on the registry's host.
    pub(crate) fn token_service(&self) -> Option<&TokenService> {
        self.token_service.as_ref()
    }

    /// Returns whether a token service may receive the stored credentials: the one that the user
    /// permits, by default one on the host of the registry.
    pub(crate) fn permits(&self, registry: &Url, realm: &Url) -> bool {
        match &self.token_service {
            Some(service) => service.is_origin_of(realm),
            None => realm.host() == registry.host() && realm.scheme() == registry.scheme(),
        }
    }

    /// Returns the key under which docker and oras store the credentials of the host.
    fn key(&self) -> &str {
        if HUB_HOSTS.contains(&self.host.as_str()) { HUB_KEY } else { &self.host }
    }

    /// Finds the credentials that docker or oras stored for the host. Adds what was tried to `tried`: a
    /// server that needs no credentials must not fail because of them.
    pub(crate) async fn stored(&self, tried: &mut Vec<String>) -> Option<Stored> {
        let path = self.docker_config.as_ref()?;
        let config = match read(path) {
            Ok(config) => config,
            Err(reason) => {
                tried.push(format!("`{}`: {reason}", path.display()));
                return None;
            }
        };
        let program = self.entry(&config.helpers).or_else(|| (!config.store.is_empty()).then_some(&config.store));
        if let Some(program) = program {
            match helper(program, self.key()).await {
                Ok(stored) => return Some(stored),
                Err(reason) => tried.push(format!("`docker-credential-{program}`: {reason}")),
            }
        }
        let stored = self.entry(&config.auths).and_then(|auth| auth.stored(path));
        if stored.is_none() {
            tried.push(format!("`{}`: no password for `{}`", path.display(), self.host));
        }
        stored
    }

    /// Returns the entry of the host in a map of `config.json`.
    fn entry<'a, T>(&self, map: &'a BTreeMap<String, T>) -> Option<&'a T> {
        let by_host = || map.iter().find(|(key, _)| is_host(key, &self.host)).map(|(_, value)| value);
        map.get(self.key()).or_else(by_host)
    }
}

impl Stored {
    /// Names the credentials for a message.
    pub(crate) fn label(&self, host: &str) -> String {
        match &self.secret {
            StoredSecret::Password(login) => format!("the password of `{}`", login.user),
            StoredSecret::IdentityToken(_) => format!("the identity token for `{host}`"),
        }
    }
}

impl AuthFormat {
    /// Returns the credentials of an entry in the file `path`. An identity token replaces the password,
    /// as in docker.
    fn stored(&self, path: &Path) -> Option<Stored> {
        if !self.identity_token.is_empty() {
            let secret = StoredSecret::IdentityToken(SecretValue::new(self.identity_token.clone()));
            return Some(Stored { secret, source: UsedCredentials::IdentityToken { path: path.to_owned() } });
        }
        let login = self.login()?;
        let source = UsedCredentials::Password { user: login.user.clone(), path: path.to_owned() };
        Some(Stored { secret: StoredSecret::Password(login), source })
    }

    fn login(&self) -> Option<Login> {
        if !self.username.is_empty() && !self.password.is_empty() {
            return Some(Login { user: self.username.clone(), password: SecretValue::new(self.password.clone()) });
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

/// Asks the credential helper `docker-credential-PROGRAM` for the credentials with a key.
async fn helper(program: &str, key: &str) -> Result<Stored, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if program.is_empty() || !program.chars().all(is_name) {
        return Err("is not the name of a credential helper".to_owned());
    }
    let program = format!("docker-credential-{program}");
    let exchange = async {
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A helper that ignores its input closes the pipe.
            let _ = input.write_all(format!("{key}\n").as_bytes()).await;
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
        return Err(format!("has no credentials for `{key}`"));
    }
    let answer: HelperFormat =
        serde_json::from_slice(&output).map_err(|_| "answered with something else than credentials".to_owned())?;
    let secret = SecretValue::new(answer.secret);
    if answer.user == TOKEN_USER {
        let source = UsedCredentials::HelperIdentityToken { program };
        return Ok(Stored { secret: StoredSecret::IdentityToken(secret), source });
    }
    let login = Login { user: answer.user, password: secret };
    Ok(Stored { secret: StoredSecret::Password(login), source: UsedCredentials::Helper { program } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: PathBuf, host: &str) -> Credentials {
        Credentials::new(None, None, Some(path), host.to_owned())
    }

    /// Returns the credentials for a host, and what was tried.
    async fn login(config: &str, host: &str) -> (Option<String>, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, config).expect("a file");
        let mut tried = Vec::new();
        let found = of(path, host).stored(&mut tried).await;
        let short = |text: String| text.replace(&folder.path().display().to_string(), "FOLDER");
        let found = found.map(|stored| match &stored.secret {
            StoredSecret::Password(login) => format!("{} {}", login.user, login.password.expose()),
            StoredSecret::IdentityToken(token) => short(format!("{} {}", stored.source, token.expose())),
        });
        (found, tried.into_iter().map(short).collect())
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
        let absent = of(PathBuf::from("/nonexistent/config.json"), "r.example");
        let mut tried = Vec::new();
        assert!(absent.stored(&mut tried).await.is_none());
        assert_eq!(tried, ["`/nonexistent/config.json`: does not exist"]);
    }

    #[tokio::test]
    async fn an_identity_token_replaces_the_password() {
        let config = r#"{"auths": {"r.example": {"username": "u", "password": "p", "identitytoken": "t"}}}"#;
        let (found, _) = login(config, "r.example").await;
        assert_eq!(found.as_deref(), Some("an identity token in `FOLDER/config.json` t"));
    }

    #[tokio::test]
    async fn credentials_of_docker_hub_have_the_key_of_its_index() {
        let entry = |key: &str| format!(r#"{{"auths": {{"{key}": {{"username": "u", "password": "{key}"}}}}}}"#);
        let config = entry("https://index.docker.io/v1/");
        for host in ["registry-1.docker.io", "docker.io"] {
            let (found, _) = login(&config, host).await;
            assert_eq!(found.as_deref(), Some("u https://index.docker.io/v1/"), "{host}");
            assert_eq!(login(&entry(host), host).await.0, Some(format!("u {host}")));
            // docker stores other tokens below this key, which are not passwords.
            assert_eq!(login(&entry("https://index.docker.io/v1/access-token"), host).await.0, None);
        }
        for other in ["registry-1.docker.io:5000", "auth.docker.io", "evil-docker.io", "registry.gitlab.com"] {
            assert_eq!(login(&config, other).await.0, None, "{other}");
        }
        // A helper is asked for the same key.
        let (_, tried) = login(r#"{"credsStore": "is-not-installed"}"#, "docker.io").await;
        assert!(tried[0].starts_with("`docker-credential-is-not-installed`: "), "{tried:?}");
    }

    #[test]
    fn one_token_service_is_permitted() {
        let permits = |service: Option<&str>, realm: &str| {
            let service = service.map(|service| service.parse().expect("an origin"));
            let url = |text: &str| text.parse::<Url>().expect("a URL");
            Credentials::new(None, service, None, "r.example".to_owned())
                .permits(&url("https://r.example/"), &url(realm))
        };
        assert!(permits(None, "https://r.example/token") && permits(None, "https://r.example:8443/token"));
        assert!(!permits(None, "https://auth.example/token") && !permits(None, "http://r.example/token"));
        let service = Some("https://auth.example");
        assert!(permits(service, "https://auth.example/token?x"));
        for other in
            ["https://auth.example:8443/", "http://auth.example/", "https://evil.example/", "https://r.example/"]
        {
            assert!(!permits(service, other), "{other}");
        }
    }
}
