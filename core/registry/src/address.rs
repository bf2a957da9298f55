//! Addresses of registries in configuration files.

use std::path::PathBuf;

use blockyard_model::BlockName;
use toml::Value;

/// URL schemes of remote registries.
const REMOTE: [&str; 2] = ["https://", "oci://"];

/// A registry in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRegistry {
    /// The name in the configuration.
    pub name: BlockName,
    /// The address.
    pub address: RegistryAddress,
    /// `true` if the user accepts that its releases are not signed.
    pub unsigned: bool,
}

/// The address of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryAddress {
    /// Path of a `registry.toml` or of the folder that contains it.
    Path(PathBuf),
    /// URL of a remote registry: `https://…` or `oci://…`.
    Remote(String),
}

impl RegistryAddress {
    /// Parses an address. A string with a scheme other than `https` and `oci` is rejected, because
    /// it would otherwise be interpreted as a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if REMOTE.iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len()) {
            return Ok(Self::Remote(text.to_owned()));
        }
        if text.is_empty() || text.contains("://") || text.chars().any(char::is_control) {
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
        let mut unsigned = false;
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
                table.get("url").and_then(Value::as_str).ok_or_else(|| (at(name), "has no `url`".to_owned()))?
            }
            _ => return Err((at(name), "is neither a string nor a table with a `url`".to_owned())),
        };
        let wrong = |reason| (at(name), reason);
        Ok(NamedRegistry {
            name: BlockName::new(name.as_str()).map_err(|error| wrong(error.to_string()))?,
            address: RegistryAddress::parse(text).and_then(&check).map_err(wrong)?,
            unsigned,
        })
    };
    table.iter().map(read).collect()
}
