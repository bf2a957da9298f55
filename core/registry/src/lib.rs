//! Registries and component files.
//!
//! A registry is a `registry.toml` and the files that it names: [`Registry`]. A bundle is one
//! component file: [`component`] makes it from a core module, puts the manifest inside and reads
//! it back.

pub mod component;
mod index;
mod project;

pub use index::{Entry, EntryError, Registry, RegistryError, Release, Source};
pub use project::{ProjectError, ProjectFile};
