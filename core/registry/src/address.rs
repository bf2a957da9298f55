//! Addresses of registries, as configuration files name them.

use std::path::PathBuf;

use blockyard_model::BlockName;
use toml::Value;

/// Schemes of registries on servers.
const REMOTE: [&str; 2] = ["https://", "oci://"];

/// A registry that a configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRegistry {
    /// The name that the configuration gives it.
    pub name: BlockName,
    /// Where it is.
    pub address: RegistryAddress,
}

/// Where a registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryAddress {
    /// A folder with a `registry.toml`, or that file.
    Path(PathBuf),
    /// A server: `https://…` or `oci://…`.
    Remote(String),
}

impl RegistryAddress {
    /// Reads an address. Only the two schemes of servers make it one of a server; a string with any other
    /// scheme is refused, because it would be taken for a path by mistake.
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

/// Reads the table `[registries]`. `check` refuses addresses that this file may not name.
pub(crate) fn registries(
    value: Option<&Value>,
    keys: &[&str],
    check: impl Fn(RegistryAddress) -> Result<RegistryAddress, String>,
) -> Result<Vec<NamedRegistry>, (String, String)> {
    let at = |name: &str| format!("registries.{name}");
    let Some(value) = value else { return Ok(Vec::new()) };
    let table = value.as_table().ok_or_else(|| ("registries".to_owned(), "is not a table".to_owned()))?;
    let read = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Table(table) => {
                if let Some(unknown) = table.keys().find(|key| !keys.contains(&key.as_str())) {
                    let known = keys.join("`, `");
                    return Err((at(name), format!("has the unknown key `{unknown}`; the keys are `{known}`")));
                }
                table.get("url").and_then(Value::as_str).ok_or_else(|| (at(name), "has no `url`".to_owned()))?
            }
            _ => return Err((at(name), "is neither a string nor a table with a `url`".to_owned())),
        };
        let wrong = |reason| (at(name), reason);
        Ok(NamedRegistry {
            name: BlockName::new(name.as_str()).map_err(|error| wrong(error.to_string()))?,
            address: RegistryAddress::parse(text).and_then(&check).map_err(wrong)?,
        })
    };
    table.iter().map(read).collect()
}
