//! Addresses of registries in configuration files.

use std::path::PathBuf;

use blockyard_model::BlockName;
use toml::Value;

use crate::remote_url::{RemoteUrl, RemoteUrlError};

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
        let (mut unsigned, mut ca) = (false, None);
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Table(table) => {
                if let Some(unknown) = table.keys().find(|key| !keys.contains(&key.as_str())) {
                    let known = keys.join("`, `");
                    return Err((at(name), format!("has the unknown key `{unknown}`; the keys are `{known}`")));
                }
                if let Some(value) = table.get("unsigned") {
                    let reason = || (at(name), "has an `unsigned` that is neither `true` nor `false`".to_owned());
                    unsigned = value.as_bool().ok_or_else(reason)?;
                }
                if let Some(value) = table.get("ca") {
                    let reason = || (at(name), "has a `ca` that is not the path of a file".to_owned());
                    ca = Some(value.as_str().map(PathBuf::from).ok_or_else(reason)?);
                }
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
        let name = BlockName::new(name.as_str()).map_err(|error| wrong(error.to_string()))?;
        Ok(NamedRegistry { name, address, unsigned, ca })
    };
    table.iter().map(read).collect()
}
