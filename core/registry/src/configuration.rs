//! `config.toml`: the user's yards, registries and permitted secret sources.

use std::path::{Path, PathBuf};

use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{BlockName, SourcePattern};
use toml::{Table, Value};

use crate::address::{NamedRegistry, RegistryAddress, TOKEN_SERVICE, registries};
use crate::project::line;

/// Permitted keys of the file, of `[yards.NAME]`, of `[sources]`, and of a registry's table.
const KEYS: [&str; 3] = ["yards", "registries", "sources"];
const YARD_KEYS: [&str; 1] = ["url"];
const SOURCES_KEYS: [&str; 1] = ["allow"];
const REGISTRY_KEYS: [&str; 4] = ["url", "ca", "unsigned", TOKEN_SERVICE];

/// The user's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserConfiguration {
    /// Names and addresses of yards, in the order of the file. An address may contain a password.
    pub yards: Vec<(BlockName, String)>,
    /// The registries, in the order of the file. Paths are absolute.
    pub registries: Vec<NamedRegistry>,
    /// Secret sources that the blocks of any yard may use, e.g. `env:WAREHOUSE_*`.
    pub sources: Vec<SourcePattern>,
}

/// An error in a configuration. It never quotes the address of a yard, which may contain a
/// password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// The file is not valid TOML.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Line number, starting at 1.
        line: usize,
        /// The cause.
        reason: String,
    },
    /// The file has an unknown key.
    #[error("unknown key `{name}`")]
    Unknown {
        /// The key.
        name: String,
        /// A similar known key, or all known keys.
        hint: String,
    },
    /// A value is not valid.
    #[error("`{key}` {reason}")]
    Value {
        /// The key.
        key: String,
        /// The cause.
        reason: String,
    },
}

impl UserConfiguration {
    /// Parses a configuration. Relative paths of registries are resolved against `folder`, the
    /// folder of the file.
    ///
    /// # Errors
    /// Returns a [`ConfigurationError`] for the first error in the file.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigurationError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| ConfigurationError::Syntax {
            line: line(text, &error),
            reason: error.message().to_owned(),
        })?;
        known_keys("", &table, &KEYS)?;
        let absolute = |address| {
            Ok(match address {
                RegistryAddress::Path(path) => RegistryAddress::Path(folder.join(path)),
                remote @ RegistryAddress::Remote(_) => remote,
            })
        };
        let mut registries = registries(table.get("registries"), &REGISTRY_KEYS, absolute)
            .map_err(|(key, reason)| ConfigurationError::Value { key, reason })?;
        for registry in &mut registries {
            registry.ca = registry.ca.take().map(|ca| folder.join(ca));
        }
        Ok(Self { yards: yards(&table)?, registries, sources: sources(&table)? })
    }

    /// Returns the address of the yard named `name`.
    #[must_use]
    pub fn yard(&self, name: &BlockName) -> Option<&str> {
        self.yards.iter().find(|(known, _)| known == name).map(|(_, url)| url.as_str())
    }
}

fn yards(table: &Table) -> Result<Vec<(BlockName, String)>, ConfigurationError> {
    let read = |(name, value): (&String, &Value)| {
        let key = format!("yards.{name}");
        let yard = value.as_table().ok_or_else(|| wrong(&key, "is not a table with a `url`"))?;
        known_keys(&key, yard, &YARD_KEYS)?;
        let url = yard.get("url").ok_or_else(|| wrong(&key, "has no `url`"))?;
        let url = url.as_str().ok_or_else(|| wrong(&format!("{key}.url"), "is not a string"))?;
        let relative = url.strip_prefix("sqlite:").is_some_and(|path| {
            let path = path.strip_prefix("//").unwrap_or(path);
            !PathBuf::from(path).is_absolute()
        });
        if relative {
            let reason = "is a relative path, which would mean a different file in each folder; write an absolute path";
            return Err(wrong(&format!("{key}.url"), reason));
        }
        let name = BlockName::new(name.as_str()).map_err(|error| wrong(&key, &error.to_string()))?;
        Ok((name, url.to_owned()))
    };
    subtable(table, "yards")?.into_iter().flatten().map(read).collect()
}

fn sources(table: &Table) -> Result<Vec<SourcePattern>, ConfigurationError> {
    let Some(sources) = subtable(table, "sources")? else { return Ok(Vec::new()) };
    known_keys("sources", sources, &SOURCES_KEYS)?;
    let not_a_list = || wrong("sources.allow", "is not a list of strings such as `env:WAREHOUSE_*`");
    let Some(allow) = sources.get("allow") else { return Ok(Vec::new()) };
    let patterns = allow.as_array().ok_or_else(not_a_list)?.iter().map(|pattern| {
        let text = pattern.as_str().ok_or_else(not_a_list)?;
        text.parse().map_err(|error| wrong("sources.allow", &format!("is refused: {error}")))
    });
    patterns.collect()
}

fn subtable<'a>(table: &'a Table, key: &str) -> Result<Option<&'a Table>, ConfigurationError> {
    table.get(key).map(|value| value.as_table().ok_or_else(|| wrong(key, "is not a table"))).transpose()
}

fn known_keys(at: &str, table: &Table, known: &[&str]) -> Result<(), ConfigurationError> {
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let name = if at.is_empty() { unknown.clone() } else { format!("{at}.{unknown}") };
    let hint = did_you_mean(unknown, known.iter().copied())
        .unwrap_or_else(|| format!("the known keys are `{}`", known.join("`, `")));
    Err(ConfigurationError::Unknown { name, hint })
}

fn wrong(key: &str, reason: &str) -> ConfigurationError {
    ConfigurationError::Value { key: key.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<UserConfiguration, ConfigurationError> {
        UserConfiguration::parse(text, Path::new("/home/ada/.config/blockyard"))
    }

    #[test]
    fn yards_registries_and_sources_are_read_in_order() {
        let text = "
            yards.prod.url = \"postgres://u@h/d\"
            yards.dev = { url = \"sqlite:/var/dev.db\" }
            registries.zoo = \"registries/zoo\"
            registries.acme = { url = \"https://acme.example/registry\", unsigned = true, ca = \"acme.pem\" }
            registries.hub = { url = \"oci://registry-1.docker.io/acme\", token-service = \"https://auth.docker.io/\" }
            sources.allow = [\"env:WAREHOUSE_*\", \"file:/run/secrets/*\"]
        ";
        let read = read(text).expect("a good file");
        assert_eq!(read.yard(&BlockName::new("dev").expect("a name")), Some("sqlite:/var/dev.db"));
        assert_eq!(read.yard(&BlockName::new("test").expect("a name")), None);
        let names: Vec<&str> = read.registries.iter().map(|registry| registry.name.as_str()).collect();
        assert_eq!(names, ["zoo", "acme", "hub"]);
        let services = read.registries.iter().map(|registry| registry.token_service.as_ref().map(ToString::to_string));
        assert_eq!(services.collect::<Vec<_>>(), [None, None, Some("https://auth.docker.io".to_owned())]);
        assert!(!read.registries[0].unsigned && read.registries[1].unsigned);
        let ca = Path::new("/home/ada/.config/blockyard/acme.pem");
        assert_eq!((read.registries[0].ca.as_deref(), read.registries[1].ca.as_deref()), (None, Some(ca)));
        assert_eq!(
            read.registries[0].address,
            RegistryAddress::Path("/home/ada/.config/blockyard/registries/zoo".into())
        );
        assert_eq!(read.sources.iter().map(ToString::to_string).collect::<Vec<_>>().len(), 2);
    }

    #[test]
    fn ambiguous_configurations_are_rejected() {
        for (text, words) in [
            ("source.allow = []", "unknown key `source`"),
            ("sources.alow = []", "unknown key `sources.alow`"),
            ("yards.prod.uri = \"x\"", "unknown key `yards.prod.uri`"),
            ("yards.prod = \"x\"", "`yards.prod` is not a table"),
            ("yards.prod.url = \"sqlite:yard.db\"", "is a relative path"),
            ("yards.prod.url = \"sqlite://yard.db\"", "is a relative path"),
            ("yards.Prod.url = \"sqlite:/x\"", "`yards.Prod`"),
            ("sources.allow = \"env:A\"", "is not a list"),
            ("sources.allow = [1]", "is not a list"),
            ("sources.allow = [\"file:secrets/*\"]", "is not an absolute path"),
            ("registries.a = { path = \"x\" }", "unknown key `path`"),
            ("registries.a = { url = \"x\", unsigned = 1 }", "neither `true` nor `false`"),
            ("registries.a = { url = \"https://a.example\", ca = 1 }", "not the path of a file"),
            ("registries.a = { url = \"a\", ca = \"b\" }", "only a registry on a server"),
            ("registries.a = \"http://a.example\"", "is not encrypted"),
            (
                "registries.a = { url = \"oci://a.example/b\", token-service = \"https://a.example/token\" }",
                "`registries.a` has a `token-service` that has more than scheme, host and port",
            ),
            (
                "registries.a = { url = \"oci://a.example/b\", token-service = \"http://a.example\" }",
                "has a `token-service` that is not encrypted",
            ),
            (
                "registries.a = { url = \"oci://a.example/b\", token-service = 1 }",
                "`token-service` that is not a string",
            ),
            ("registries.a = { url = \"oci://a.example/b\", token-services = \"x\" }", "unknown key `token-services`"),
            ("registries.a = { url = \"a\", token-service = \"https://a.example\" }", "only a registry on a server"),
            ("yards = [", "line 1"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let hidden = read("yards.prod.url = [\"postgres://u:hunter2@h\"]").expect_err("no string").to_string();
        assert!(!hidden.contains("hunter2"), "{hidden}");
    }
}
