//! Capabilities that are granted to bundles.

use std::collections::BTreeSet;

use blockyard_model::Capability;

use crate::audit::{self, AuditLine};
use crate::database::{Param, params};
use crate::{Millis, Store, StoreError};

impl Store {
    /// Returns the capabilities that are granted to a bundle.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn grants(&self, bundle: &str) -> Result<BTreeSet<Capability>, StoreError> {
        let rows = self
            .database
            .fetch("SELECT capability FROM grants WHERE bundle = $1 ORDER BY capability", params![bundle])
            .await
            .map_err(|error| self.classify(error))?;
        // A capability that this version does not know grants nothing.
        Ok(rows.iter().filter_map(|row| row.text(0).parse().ok()).collect())
    }

    /// Returns the capabilities that are granted to a bundle, each with the time of its grant.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn dated_grants(&self, bundle: &str) -> Result<Vec<(Capability, Millis)>, StoreError> {
        let rows = self
            .database
            .fetch("SELECT capability, granted_at FROM grants WHERE bundle = $1 ORDER BY capability", params![bundle])
            .await
            .map_err(|error| self.classify(error))?;
        Ok(rows.iter().filter_map(|row| Some((row.text(0).parse().ok()?, row.integer(1)))).collect())
    }

    /// Grants a capability to a bundle. Returns false if it was already granted.
    ///
    /// # Errors
    /// Returns the database error if a statement fails.
    pub async fn grant(&self, bundle: &str, capability: &Capability, line: AuditLine) -> Result<bool, StoreError> {
        let capability = capability.to_string();
        self.change_grants(
            "INSERT INTO grants (bundle, capability, granted_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            params![bundle, &capability, line.at],
            &line,
        )
        .await
    }

    /// Revokes a capability of a bundle. Returns false if it was not granted.
    ///
    /// # Errors
    /// Returns the database error if a statement fails.
    pub async fn revoke(&self, bundle: &str, capability: &Capability, line: AuditLine) -> Result<bool, StoreError> {
        let capability = capability.to_string();
        self.change_grants(
            "DELETE FROM grants WHERE bundle = $1 AND capability = $2",
            params![bundle, &capability],
            &line,
        )
        .await
    }

    async fn change_grants(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        line: &AuditLine,
    ) -> Result<bool, StoreError> {
        let classify = |error| self.classify(error);
        let mut transaction = self.begin().await?;
        let changed = transaction.execute(sql, params).await.map_err(classify)? > 0;
        if changed {
            audit::append(&mut transaction, &self.yard().id, line).await.map_err(classify)?;
        }
        self.commit(transaction).await?;
        Ok(changed)
    }
}
