//! Blockyard's engine: stores the configuration and credentials of external systems as *blocks*
//! (typed, permanently named, versioned, encrypted), and lets programs use them in a sandbox.
//!
//! The command line and every other interface to Blockyard use this crate and add no logic to it.
//!
//! ```
//! use blockyard::{KeySource, NewKey, Yard, YardConfig};
//! # async fn example(folder: &std::path::Path) -> Result<(), blockyard::Error> {
//! let url = format!("sqlite:{}", folder.join("yard.db").display());
//! let yard = Yard::init(&url, NewKey::File(None), YardConfig::default()).await?;
//! assert!(yard.bundles().await?.is_empty());
//! yard.close().await;
//!
//! let yard = Yard::open(&url, KeySource::Default).await?;
//! let missing = yard.block("sql-database/flights").await.err().expect("there is no such block");
//! assert_eq!(missing.kind().as_str(), "not-found");
//! // With the bundle `sql` installed and the block made:
//! // let flights = yard.block("sql-database/flights").await?;
//! // let reply = flights.call("fetch-one", json!({"statement": "select 1"})).await?;
//! # Ok(()) }
//! # let folder = std::env::temp_dir().join(format!("blockyard-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder).expect("a folder");
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
//! # runtime.block_on(example(&folder)).expect("the example works");
//! # std::fs::remove_dir_all(&folder).expect("gone");
//! ```

mod assemble;
mod audit;
mod audit_writer;
mod block;
mod blockfile;
mod bundle;
mod bundle_info;
mod call;
mod catalog;
mod compare;
mod configuration;
mod conformance;
mod connection_url;
mod database;
mod delete;
mod dependents;
mod doctor;
mod error;
mod fetch;
mod folder_lock;
mod gc;
mod grant;
mod grant_cache;
mod history;
mod inspect;
mod install;
mod key;
mod key_source;
mod keys;
mod lock;
mod lock_findings;
mod locked;
mod manifest_view;
mod merge;
mod migration;
mod names;
mod ownership;
mod permissions;
mod plan;
mod project;
mod prune;
mod publish;
mod reach;
mod reason;
mod reference;
mod regular_file;
mod remote;
mod reply;
mod reveal;
mod review;
mod revision;
mod rotation;
mod save;
mod secret_source;
mod source;
mod storage;
mod time;
mod trace;
mod trust;
mod types;
mod uninstall;
mod unused;
mod upgrade;
mod upgrade_plan;
mod upgrade_target;
mod use_record;
mod verify;
mod yard;
mod yard_config;
mod yard_files;

pub use assemble::{Built, Provenance, assemble, assemble_file};
pub use block::{Block, BlockEntry, BlockView, Dependent, Redacted};
pub use blockfile::BlockFile;
pub use blockyard_host::{ByteStream, Deadline, Input, LogLevel, LogLine, Problem, settled};
pub use blockyard_model as model;
pub use blockyard_model::{
    Address, BlockName, Capability, Digest, Effect, PinnedAddress, Reason, Revision, RevisionOrigin, SetName,
    SourcePattern, TypeSlug,
};
pub use blockyard_registry::sections::{SectionDifference, SectionSizes};
pub use blockyard_registry::{
    Base, Evicted, LockFile, LockedBundle, NamedRegistry, ProjectError, ProjectFile, ProjectYard, PublicKey, Registry,
    RegistryAddress, RegistryToken, RemoteAccess, RemoteError, RemoteRegistry, RemoteTimes, RemoteUrl, RemoteUrlError,
    SigningKey, StaleEntry, UsedCredentials, UserConfiguration, Wanted,
};
pub use blockyard_store::{AuditChain, AuditFilter, AuditLine, BlockFilter};
#[cfg(feature = "telemetry")]
pub use blockyard_telemetry::{Collector, CollectorError, Telemetry, TelemetryError};
pub use bundle::{BundleUse, BundleView};
pub use bundle_info::{BundleInfo, bundle_info};
pub use call::{Check, CheckStep};
pub use catalog::{
    CatalogEntry, Offer, Outdated, OutdatedBundle, RegistryView, UnknownBundle, catalog, outdated, releases,
};
pub use compare::{Change, FieldChange};
pub use configuration::read_configuration;
pub use conformance::{ConformanceResult, ConformanceStatus, UpgradeCase, conformance};
pub use connection_url::has_password;
pub use database::Database;
pub use error::{BundleUsage, Code, Error, ErrorKind, Need, OpenChange, Usage};
pub use fetch::{Content, Found, FoundRelease, Request, usable_registry};
pub use gc::DroppedBundle;
pub use grant::GrantView;
pub use history::{DiffView, RevisionView};
pub use inspect::{Inspection, InstalledState, Reproduction, compare_builds, inspect, read_component};
pub use install::{Installed, Staged};
pub use jiff::Timestamp;
pub use key::{KeyStatus, RotationStatus};
pub use key_source::{KeySource, NewKey};
pub use lock::ProjectLock;
pub use lock_findings::LockFinding;
pub use locked::LockedRequest;
pub use manifest_view::CapabilityView;
pub use migration::{ConversionProblem, ConversionReport, MovedSecret};
pub use names::Names;
pub use ownership::{Guard, writable_by_others};
pub use permissions::Permission;
pub use plan::{Plan, PlanAction, PlannedBlock};
pub use project::Project;
pub use publish::{OnPermissions, Published, ReleasePermissions, publish};
pub use remote::{evict_downloads, open_remote, permit_downloads, publish_remotely};
pub use reply::CallReply;
pub use reveal::FieldValue;
pub use review::{Agreement, Given, Review, ReviewLine};
pub use rotation::{RotateTo, Rotated};
pub use save::{Patch, SecretInput};
pub use source::BundleSource;
pub use storage::{Object, ObjectPage, ObjectPages, ObjectStorage, PutOptions};
pub use time::timestamp;
pub use trust::{Trust, TrustState, TrustTarget, Trusted, TrustedKind};
pub use types::{TypeSchema, TypeView};
pub use uninstall::{BundleVersion, Uninstallation};
pub use unused::{UNUSED_DAYS, UnusedGrant, UnusedGrants};
pub use upgrade::{Upgraded, UpgradedBlock};
pub use upgrade_plan::{Answers, PermissionChange, PlannedUpgrade, UpgradeAction, UpgradePlan};
pub use upgrade_target::UpgradeTarget;
pub use verify::{BundleCheck, BundleProblem, SignatureState, Verification, VerifiedBundle};
pub use yard::{Yard, YardInfo};
pub use yard_config::YardConfig;
pub use yard_files::yard_changeable_by_others;

/// JSON value of configurations, arguments and results.
pub type Json = serde_json::Value;
