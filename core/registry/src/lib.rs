//! Registries and component files.
//!
//! A registry is a `registry.toml` and the files that it references: [`Registry`]. A bundle is one
//! component file: [`component`] creates it from a core module, embeds the manifest and reads it.
//! The configuration files that name registries are [`UserConfiguration`] and [`ProjectFile`].

mod address;
pub mod component;
mod configuration;
mod index;
mod project;
mod relative_path;

pub use address::{NamedRegistry, RegistryAddress};
pub use configuration::{ConfigurationError, UserConfiguration};
pub use index::{Entry, EntryError, Registry, RegistryError, Release, Source};
pub use project::{ProjectError, ProjectFile, ProjectYard};
pub use relative_path::{RelativePath, RelativePathError};
