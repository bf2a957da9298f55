//! The pure functions of a bundle on a configuration: `validate` and `migrate`.

use blockyard_call::{Redactor, cut, limits};
use blockyard_model::Pointer;
use serde_json::Value;

use crate::bundle::Bundle;
use crate::error::HostError;
use crate::failure::guest_problem;
use crate::pure::PureCall;
use crate::sandbox::Sandbox;

/// A migrated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Migrated {
    /// The configuration, which is guest-controlled.
    pub config: Value,
    /// Log lines of the migration, at most [`limits::MIGRATION_NOTES`], which explain it to the
    /// user. Control characters are escaped.
    pub notes: Vec<String>,
}

impl Sandbox {
    /// Calls `validate` of the bundle, for constraints that the JSON Schema cannot express. Returns
    /// the violations: the JSON Pointer of the field and a message each, at most
    /// [`limits::VIOLATIONS`].
    ///
    /// # Errors
    /// Returns a [`HostError`] if the bundle crashes, exceeds a limit or cannot be compiled.
    pub async fn validate(
        &self,
        bundle: &Bundle,
        type_slug: &str,
        config: &Value,
    ) -> Result<Vec<(Pointer, String)>, HostError> {
        let pure = bundle.pure(self).await?;
        let (name, type_slug, config) = (bundle.name(), type_slug.to_owned(), config.to_string());
        self.run_pure(name.clone(), async move {
            let mut call = PureCall::new(name, &pure).await?;
            let types = call.exports.blockyard_bundle_block_types();
            let result = types.call_validate(&mut call.store, &type_slug, &config).await;
            let violations = result.map_err(|error| call.ended(&error))?.err().unwrap_or_default();
            let violations = violations.into_iter().take(limits::VIOLATIONS).map(|violation| {
                let pointer = Pointer::new(cut(violation.pointer, limits::MESSAGE_BYTES));
                (pointer, cut(violation.message, limits::MESSAGE_BYTES))
            });
            Ok(violations.collect())
        })
        .await
    }

    /// Calls `migrate` of the bundle: converts a configuration of type version `from_version` to
    /// the bundle's current type version. The result is guest-controlled; the caller must validate
    /// it like any configuration.
    ///
    /// # Errors
    /// Returns [`HostError::Problem`] if the bundle reports a problem; otherwise the [`HostError`]
    /// of the crash, the exceeded limit or the invalid answer.
    pub async fn migrate(
        &self,
        bundle: &Bundle,
        type_slug: &str,
        from_version: u32,
        config: &Value,
    ) -> Result<Migrated, HostError> {
        let pure = bundle.pure(self).await?;
        let (name, type_slug, config) = (bundle.name(), type_slug.to_owned(), config.to_string());
        self.run_pure(name.clone(), async move {
            let mut call = PureCall::new(name, &pure).await?;
            let types = call.exports.blockyard_bundle_block_types();
            let result = types.call_migrate(&mut call.store, &type_slug, from_version, &config).await;
            let migrated = result
                .map_err(|error| call.ended(&error))?
                .map_err(|problem| HostError::Problem(guest_problem(problem, &Redactor::default())))?;
            if migrated.len() > limits::RESULT_BYTES {
                let limit = format!(
                    "a migrated configuration has {} bytes; the limit is {}",
                    migrated.len(),
                    limits::RESULT_BYTES
                );
                return Err(HostError::Limit { bundle: call.bundle.clone(), limit });
            }
            let mut migrated = serde_json::from_str(&migrated).map_err(|error| HostError::BadAnswer {
                bundle: call.bundle.clone(),
                reason: format!("a migrated configuration is not JSON: {error}"),
            })?;
            blockyard_model::exact::normalize(&mut migrated);
            Ok(Migrated { config: migrated, notes: call.take_notes() })
        })
        .await
    }
}
