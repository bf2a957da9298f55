//! Registries and component files.
//!
//! A registry is a `registry.toml` and the files that it names: [`Registry`]. A bundle is one
//! component file: [`component`] makes it from a core module, puts the manifest inside and reads
//! it back.

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
