//! The keys that sign the releases of registries, pinned on first use.

use crate::audit::{self, AuditLine};
use crate::database::{Transaction, params};
use crate::{Millis, Store, StoreError};

/// The signer of a release that is being installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSigner<'a> {
    /// URL of the registry.
    pub registry: &'a str,
    /// The key that signed the release.
    pub key: &'a str,
    /// The pinned key that the user has agreed to replace.
    pub replaces: Option<&'a str>,
}

impl Store {
    /// Returns the pinned key of a bundle in a registry.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn signer(&self, registry: &str, bundle: &str) -> Result<Option<String>, StoreError> {
        let query = "SELECT key FROM signers WHERE registry = $1 AND bundle = $2";
        let row = self.database.first(query, params![registry, bundle]).await.map_err(|error| self.classify(error))?;
        Ok(row.map(|row| row.text(0).to_owned()))
    }

    /// Returns the keys that are pinned for any bundle of a registry, without duplicates.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn registry_signers(&self, registry: &str) -> Result<Vec<String>, StoreError> {
        let query = "SELECT DISTINCT key FROM signers WHERE registry = $1 ORDER BY key";
        let rows = self.database.fetch(query, params![registry]).await.map_err(|error| self.classify(error))?;
        Ok(rows.iter().map(|row| row.text(0).to_owned()).collect())
    }

    /// Pins the signer of a bundle whose bytes are already installed.
    ///
    /// # Errors
    /// Returns [`StoreError::SignerMoved`] if another key was pinned since the user's decision.
    pub async fn pin_signer(&self, bundle: &str, signer: &NewSigner<'_>, line: AuditLine) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.lock("SELECT 1 FROM yard FOR UPDATE").await.map_err(|error| self.classify(error))?;
        self.pin(&mut transaction, bundle, signer, line.at).await?;
        audit::append(&mut transaction, &self.yard().id, &line).await.map_err(|error| self.classify(error))?;
        self.commit(transaction).await
    }

    /// Pins the signer of a bundle.
    ///
    /// # Errors
    /// Returns [`StoreError::SignerMoved`] if another key was pinned since the user's decision.
    pub(crate) async fn pin(
        &self,
        transaction: &mut Transaction,
        bundle: &str,
        signer: &NewSigner<'_>,
        at: Millis,
    ) -> Result<(), StoreError> {
        let classify = |error| self.classify(error);
        let NewSigner { registry, key, replaces } = *signer;
        let pinned = transaction
            .first("SELECT key FROM signers WHERE registry = $1 AND bundle = $2", params![registry, bundle])
            .await
            .map_err(classify)?;
        if pinned.is_some_and(|row| row.text(0) != key && Some(row.text(0)) != replaces) {
            return Err(StoreError::SignerMoved(bundle.to_owned()));
        }
        transaction
            .execute(
                "INSERT INTO signers (registry, bundle, key, pinned_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (registry, bundle) DO UPDATE SET key = excluded.key, pinned_at = excluded.pinned_at
                 WHERE signers.key <> excluded.key",
                params![registry, bundle, key, at],
            )
            .await
            .map_err(classify)?;
        Ok(())
    }
}
