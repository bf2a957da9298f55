//! Core types of Blockyard. This crate performs no I/O: it reads no files, no environment variables
//! and no clock, so that the same rules apply in the command line, in an embedding program and in a
//! test.
//!
//! Values are *parsed, then trusted*: a [`BlockName`], an [`Address`], a [`Digest`] or a
//! [`Capability`] can only be constructed with valid content, and functions that accept one do not
//! check it again.

pub mod address;
pub mod argument;
pub mod audience;
pub mod capability;
mod cost;
pub mod digest;
pub mod document;
pub mod effect;
pub mod exact;
pub mod form;
mod graph;
pub mod header;
pub mod interface;
pub mod limits;
pub mod literal;
pub mod locations;
pub mod manifest;
pub mod marker;
pub mod migration;
pub mod name;
pub mod operation;
pub mod origin;
pub mod pointer;
pub mod reference;
pub mod revision;
pub mod schema;
pub mod secret;
pub mod secret_use;
pub mod sign;
pub mod source_pattern;
pub mod sql;
pub mod suggestion;
pub mod type_difference;
mod value;
pub mod violation;
pub mod visible;
pub mod widening;

pub use address::{Address, AddressError, PinnedAddress, Revision};
pub use audience::Audience;
pub use capability::{Capability, CapabilityError};
pub use digest::Digest;
pub use document::{PlainDocument, SplitDocument};
pub use effect::Effect;
pub use locations::{Locations, SecretLocation};
pub use manifest::{BlockType, Manifest, ManifestError, WIT_VERSION};
pub use name::{BlockName, BundleName, NameError, SetName, TypeSlug};
pub use operation::Operation;
pub use origin::{Host, HttpAccess, Origin, OriginPattern, RequestUrl, SafeRequest, Scheme, SecretUrlError};
pub use pointer::Pointer;
pub use reference::{Purpose, Reference};
pub use revision::{MAX_REASON_LENGTH, Reason, ReasonError, RevisionOrigin};
pub use schema::{Schema, SchemaError};
pub use secret::{SecretSource, SecretValue};
pub use secret_use::{SecretKeyword, SecretUse, TokenUrl};
pub use sign::{SignAlgorithm, SignForm};
pub use source_pattern::{SourcePattern, SourcePatternError};
pub use sql::{SqlTarget, TlsMode};
pub use violation::Violation;
