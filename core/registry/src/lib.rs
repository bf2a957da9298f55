//! Registries and component files.
//!
//! A registry is a `registry.toml` and the files that it references: [`Registry`]. A bundle is one
//! component file: [`component`] creates it from a core module, embeds the manifest and reads it,
//! [`sections`] measures it.
//! The configuration files that name registries are [`UserConfiguration`] and [`ProjectFile`]. The
//! exact releases of a project are in a [`LockFile`]. The feature `remote` adds registries on servers.

mod access;
mod address;
pub mod component;
mod configuration;
mod index;
mod lock;
mod project;
mod publish;
mod relative_path;
#[cfg(feature = "remote")]
mod remote;
mod remote_error;
mod remote_url;
mod resolve;
pub mod sections;
mod signature;
mod signing;
mod token_service;
mod used_credentials;

pub use access::{Evicted, RegistryToken, RemoteAccess, RemoteRegistry, RemoteTimes, Wanted};
pub use address::{NamedRegistry, RegistryAddress};
pub use configuration::{ConfigurationError, UserConfiguration};
pub use index::{
    Base, Download, Downloading, Entry, EntryError, Registry, RegistryError, RegistryTrust, Release, Source,
};
pub use lock::{Difference, LockError, LockFile, LockedBundle, LockedLocation, LockedSource, StaleEntry};
pub use project::{ProjectError, ProjectFile, ProjectYard};
pub use publish::{NewRelease, OnPreceding, PublishError, Published, publish};
pub use relative_path::{RelativePath, RelativePathError};
#[cfg(feature = "remote")]
pub use remote::{Uploaded, evict, open, permit_downloads, publish_remotely};
pub use remote_error::RemoteError;
pub use remote_url::{RemoteUrl, RemoteUrlError};
pub use resolve::{Rejected, RejectedBecause, Requested, Resolved, Unresolved, resolve};
pub use signature::{PublicKey, PublicKeyError, SignatureError, statement};
pub use signing::{SigningError, SigningKey};
pub use token_service::{TokenService, TokenServiceError};
pub use used_credentials::UsedCredentials;
