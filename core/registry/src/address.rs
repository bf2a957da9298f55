//! Addresses of registries in configuration files.

use std::path::PathBuf;

use blockyard_model::BlockName;
use toml::Value;

use crate::remote_url::{RemoteUrl, RemoteUrlError};
use crate::token_service::{TokenService, TokenServiceError};

/// Key of a registry's token service.
pub(crate) const TOKEN_SERVICE: &str = "token-service";

/// A registry in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRegistry {
    /// The name in the configuration.
    pub name: BlockName,
    /// The address.
    pub address: RegistryAddress,
    /// `true` if the user accepts that its releases are not signed.
    pub unsigned: bool,
    /// File of PEM-encoded CA certificates that are accepted for this registry only.
    pub ca: Option<PathBuf>,
    /// Token service that receives the credentials that docker stored for the registry's host.
    pub token_service: Option<TokenService>,
}

/// The address of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryAddress {
    /// Path of a `registry.toml` or of the folder that contains it.
    Path(PathBuf),
    /// URL of a remote registry: `https://…` or `oci://…`.
    Remote(RemoteUrl),
}

impl RegistryAddress {
    /// Parses an address. A string with a scheme other than `https` and `oci` is rejected, because
    /// it would otherwise be interpreted as a path.
    ///
    /// # Errors
    /// Returns the reason, a continuation of the address.
    pub fn parse(text: &str) -> Result<Self, String> {
        if RemoteUrl::is_url(text) {
            return text.parse().map(Self::Remote).map_err(|error: RemoteUrlError| error.to_string());
        }
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err("is not the address of a registry; write a path, `https://…` or `oci://…`".to_owned());
        }
        Ok(Self::Path(PathBuf::from(text)))
    }
}

/// Parses the table `[registries]`. `keys` are the permitted keys of a registry's table. `check`
/// rejects addresses that this file may not name, and can change an address.
///
/// # Errors
/// Returns the key of the invalid value and the reason.
pub(crate) fn registries(
    value: Option<&Value>,
    keys: &[&str],
    check: impl Fn(RegistryAddress) -> Result<RegistryAddress, String>,
) -> Result<Vec<NamedRegistry>, (String, String)> {
    let at = |name: &str| format!("registries.{name}");
    let Some(value) = value else { return Ok(Vec::new()) };
    let table = value.as_table().ok_or_else(|| ("registries".to_owned(), "is not a table".to_owned()))?;
    let read = |(name, value): (&String, &Value)| {
        let (mut unsigned, mut ca, mut token_service) = (false, None, None);
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Table(table) => {
                if let Some(unknown) = table.keys().find(|key| !keys.contains(&key.as_str())) {
                    return Err((at(name), unknown_key(unknown, keys)));
                }
                if let Some(value) = table.get("unsigned") {
                    let reason = || (at(name), "has an `unsigned` that is neither `true` nor `false`".to_owned());
                    unsigned = value.as_bool().ok_or_else(reason)?;
                }
                if let Some(value) = table.get("ca") {
                    let reason = || (at(name), "has a `ca` that is not the path of a file".to_owned());
                    ca = Some(value.as_str().map(PathBuf::from).ok_or_else(reason)?);
                }
                let service = table.get(TOKEN_SERVICE).map(parse_token_service).transpose();
                token_service = service.map_err(|reason| (at(name), reason))?;
                table.get("url").and_then(Value::as_str).ok_or_else(|| (at(name), "has no `url`".to_owned()))?
            }
            _ => return Err((at(name), "is neither a string nor a table with a `url`".to_owned())),
        };
        let wrong = |reason| (at(name), reason);
        let address = RegistryAddress::parse(text).and_then(&check).map_err(wrong)?;
        // Ignoring it would hide that the files are read without it.
        if ca.is_some() && matches!(address, RegistryAddress::Path(_)) {
            return Err(wrong("has a `ca`, which only a registry on a server uses".to_owned()));
        }
        if token_service.is_some() && matches!(address, RegistryAddress::Path(_)) {
            return Err(wrong(format!("has a `{TOKEN_SERVICE}`, which only a registry on a server uses")));
        }
        let name = BlockName::new(name.as_str()).map_err(|error| wrong(error.to_string()))?;
        Ok(NamedRegistry { name, address, unsigned, ca, token_service })
    };
    table.iter().map(read).collect()
}

/// Returns the reason why a key of a registry's table is rejected.
fn unknown_key(unknown: &str, keys: &[&str]) -> String {
    // The author of a project could otherwise have the user's password for any host sent to a server
    // of theirs.
    if unknown == TOKEN_SERVICE {
        return format!(
            "has a `{TOKEN_SERVICE}`, which receives your password: set it in `[registries]` of your own configuration"
        );
    }
    format!("has the unknown key `{unknown}`; the keys are `{}`", keys.join("`, `"))
}

fn parse_token_service(value: &Value) -> Result<TokenService, String> {
    let text = value.as_str().ok_or_else(|| format!("has a `{TOKEN_SERVICE}` that is not a string"))?;
    text.parse().map_err(|error: TokenServiceError| format!("has a `{TOKEN_SERVICE}` that {error}"))
}
