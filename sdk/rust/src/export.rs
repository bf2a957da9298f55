//! Component exports, generated from the types of a bundle.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Once;

use serde_json::{Value, json};

use crate::bindings::exports::blockyard::bundle::block_types as wit;
use crate::block::{Output, Parts};
use crate::{Block, Body, Operations, Problem, Result};

/// Version of the WIT package, which is also the name of its folder.
const WIT_VERSION: &str = "0.1";
/// Version of the manifest format.
const MANIFEST_FORMAT: u32 = 1;
/// Prefix by which the host recognizes a panic message in the log.
const PANIC_PREFIX: &str = "panicked at ";

/// A bundle. Implemented by [`bundle!`](crate::bundle).
pub trait Bundle: 'static {
    /// Returns the description of the bundle.
    fn description() -> BundleDescription;
    /// Returns the block types of the bundle.
    fn types() -> Vec<TypeEntry>;

    /// Returns the manifest, which `blockyard build` embeds in the component file.
    #[must_use]
    fn manifest() -> Value {
        manifest(&Self::description(), &Self::types())
    }
}

/// Manifest fields of a bundle other than its types.
pub struct BundleDescription {
    /// Name of the bundle.
    pub name: &'static str,
    /// Version of the bundle (semver).
    pub version: &'static str,
    /// One-line description.
    pub description: &'static str,
    /// SPDX license expression, or an empty string.
    pub license: &'static str,
    /// URL of the home page, or an empty string.
    pub homepage: &'static str,
    /// URL of the source code, or an empty string.
    pub source: &'static str,
    /// Requested capabilities, except `log` and `secrets`, which are added automatically.
    pub capabilities: &'static [&'static str],
}

/// Block type of a bundle.
pub struct TypeEntry {
    slug: &'static str,
    describe: fn() -> Value,
    validate: fn(Value) -> Vec<wit::Violation>,
    migrate: fn(u32, Value) -> Result<Value>,
    check: fn(Value) -> Result<Value>,
    invoke: fn(Value, &str, Value, Option<Body>) -> Result<crate::Reply>,
}

impl TypeEntry {
    /// Creates the entry of a block type.
    #[must_use]
    pub fn of<T: Operations>() -> Self {
        Self {
            slug: T::TYPE,
            describe: describe::<T>,
            validate: validate::<T>,
            migrate: |from_version, config| T::migrate(from_version, config)?.into_config(),
            check: |config| {
                let steps = open::<T>(config)?.check();
                serde_json::to_value(steps).map_err(|error| Problem::new("failed", error.to_string()))
            },
            invoke: |config, operation, arguments, input| open::<T>(config)?.invoke(operation, arguments, input),
        }
    }
}

fn open<T: Block>(config: Value) -> Result<T> {
    T::from_config(config)
        .map_err(|error| Problem::invalid(format!("the configuration does not match the type `{}`: {error}", T::TYPE)))
}

fn describe<T: Operations>() -> Value {
    let operations: Vec<Value> = T::operations().into_iter().map(crate::OperationDescription::into_json).collect();
    json!({
        "slug": T::TYPE,
        "version": T::VERSION,
        "title": T::TITLE,
        "description": T::DESCRIPTION,
        "schema": T::schema(),
        "interfaces": T::INTERFACES,
        "operations": operations,
    })
}

fn manifest(about: &BundleDescription, types: &[TypeEntry]) -> Value {
    let types: Vec<Value> = types.iter().map(|entry| (entry.describe)()).collect();
    let mut capabilities = vec!["log"];
    if types.iter().any(|described| described["schema"].to_string().contains("\"x-secret\"")) {
        capabilities.push("secrets");
    }
    capabilities.extend(about.capabilities);
    let mut manifest = json!({
        "manifest": MANIFEST_FORMAT,
        "name": about.name,
        "version": about.version,
        "wit": WIT_VERSION,
        "description": about.description,
        "capabilities": capabilities,
        "types": types,
    });
    for (key, value) in [("license", about.license), ("homepage", about.homepage), ("source", about.source)] {
        if !value.is_empty() {
            manifest[key] = value.into();
        }
    }
    manifest
}

fn validate<T: Operations>(config: Value) -> Vec<wit::Violation> {
    match T::from_config(config) {
        Ok(block) => block
            .validate()
            .into_iter()
            .map(|violation| wit::Violation { pointer: violation.pointer, message: violation.message })
            .collect(),
        Err(error) => vec![wit::Violation { pointer: String::new(), message: error.to_string() }],
    }
}

/// Implementation of the component's exports.
pub struct BundleExports<B>(PhantomData<B>);

/// Output that is produced in chunks when the host requests them.
pub struct BundleParts(RefCell<Parts>);

impl wit::GuestParts for BundleParts {
    fn next(&self) -> core::result::Result<Option<wit::Body>, wit::Problem> {
        Ok(self.0.borrow_mut().next()?)
    }
}

impl<B: Bundle> BundleExports<B> {
    fn entry(slug: &str) -> Result<TypeEntry> {
        B::types()
            .into_iter()
            .find(|entry| entry.slug == slug)
            .ok_or_else(|| Problem::new("not-found", format!("the bundle has no block type `{slug}`")))
    }
}

impl<B: Bundle> wit::Guest for BundleExports<B> {
    type Parts = BundleParts;

    fn describe() -> String {
        B::manifest().to_string()
    }

    fn validate(type_slug: String, config: String) -> core::result::Result<(), Vec<wit::Violation>> {
        report_panics();
        let broken = |message: String| vec![wit::Violation { pointer: String::new(), message }];
        let entry = Self::entry(&type_slug).map_err(|problem| broken(problem.to_string()))?;
        let config = serde_json::from_str(&config).map_err(|error| broken(error.to_string()))?;
        let violations = (entry.validate)(config);
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    fn migrate(type_slug: String, from_version: u32, config: String) -> core::result::Result<String, wit::Problem> {
        report_panics();
        let entry = Self::entry(&type_slug)?;
        Ok((entry.migrate)(from_version, parse(&config)?)?.to_string())
    }

    fn check(block: wit::Block) -> core::result::Result<String, wit::Problem> {
        report_panics();
        let entry = Self::entry(&block.type_)?;
        Ok((entry.check)(parse(&block.config)?)?.to_string())
    }

    fn invoke(
        block: wit::Block,
        operation: String,
        arguments: String,
        input: Option<Body>,
    ) -> core::result::Result<wit::Reply, wit::Problem> {
        report_panics();
        let entry = Self::entry(&block.type_)?;
        let reply = (entry.invoke)(parse(&block.config)?, &operation, parse(&arguments)?, input)?;
        Ok(wit::Reply {
            result: reply.result.to_string(),
            output: match reply.output {
                Output::None => wit::Output::None,
                Output::Body(body) => wit::Output::Body(body),
                Output::Parts(parts) => wit::Output::Parts(wit::Parts::new(BundleParts(RefCell::new(parts)))),
            },
        })
    }
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Problem::invalid(error.to_string()))
}

/// Sends the message of a panic to the host through the log, because a trap carries no message. A
/// native test reports panics itself.
fn report_panics() {
    if cfg!(not(target_family = "wasm")) {
        return;
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            use crate::bindings::blockyard::bundle::log::{Level, write};
            let message = panic.payload_as_str().unwrap_or("(no message)");
            let location =
                panic.location().map(|location| format!("{}:{}", location.file(), location.line())).unwrap_or_default();
            write(Level::Error, &format!("{PANIC_PREFIX}{location}: {message}"));
        }));
    });
}

/// Defines the bundle of a crate.
///
/// Version, license, home page and source are taken from the crate's `Cargo.toml`. `capabilities`
/// lists the requested capabilities, such as `"sql postgres"` or `"clock"`. `log` is requested
/// automatically, and so is `secrets` if a type has secret fields.
#[macro_export]
macro_rules! bundle {
    (
        name: $name:literal,
        description: $description:literal,
        types: [$($type:ty),+ $(,)?],
        capabilities: [$($capability:literal),* $(,)?] $(,)?
    ) => {
        #[doc(hidden)]
        pub struct BlockyardBundle;

        impl $crate::Bundle for BlockyardBundle {
            fn description() -> $crate::BundleDescription {
                $crate::BundleDescription {
                    name: $name,
                    version: env!("CARGO_PKG_VERSION"),
                    description: $description,
                    license: env!("CARGO_PKG_LICENSE"),
                    homepage: env!("CARGO_PKG_HOMEPAGE"),
                    source: env!("CARGO_PKG_REPOSITORY"),
                    capabilities: &[$($capability),*],
                }
            }

            fn types() -> Vec<$crate::TypeEntry> {
                vec![$($crate::TypeEntry::of::<$type>()),+]
            }
        }

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, missing_docs, reason = "the exports of a component are generated")]
        mod blockyard_exports {
            type Exports = $crate::BundleExports<super::BlockyardBundle>;
            $crate::bindings::export!(Exports with_types_in $crate::bindings);
        }
    };
}
