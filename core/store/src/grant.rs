//! What each bundle may use in this yard.

use std::collections::BTreeSet;

use blockyard_model::Capability;
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

use crate::audit::{self, AuditLine};
use crate::{Millis, Store, StoreError};

impl Store {
    /// The capabilities that are granted to a bundle.
    ///
    /// # Errors
    /// What the database says.
    pub async fn grants(&self, bundle: &str) -> Result<BTreeSet<Capability>, StoreError> {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT capability FROM grants WHERE bundle = ? ORDER BY capability")
                .bind(bundle)
                .fetch_all(&self.pool)
                .await
                .map_err(|error| self.sort(error))?;
        // A word that this version does not know grants nothing.
        Ok(rows.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// Grants a capability to a bundle. Says whether that changed anything.
    ///
    /// # Errors
    /// What the database says.
    pub async fn grant(
        &self,
        bundle: &str,
        capability: &Capability,
        line: AuditLine,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let query =
            sqlx::query("INSERT INTO grants (bundle, capability, granted_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(bundle)
                .bind(capability.to_string())
                .bind(now);
        self.change_grants(query, line, now).await
    }

    /// Takes a capability from a bundle. Says whether that changed anything.
    ///
    /// # Errors
    /// What the database says.
    pub async fn revoke(
        &self,
        bundle: &str,
        capability: &Capability,
        line: AuditLine,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query("DELETE FROM grants WHERE bundle = ? AND capability = ?")
            .bind(bundle)
            .bind(capability.to_string());
        self.change_grants(query, line, now).await
    }

    async fn change_grants(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
        line: AuditLine,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        let changed = query.execute(&mut *transaction).await.map_err(sort)?.rows_affected() > 0;
        if changed {
            audit::append(&mut transaction, &line, now).await.map_err(sort)?;
        }
        transaction.commit().await.map_err(sort)?;
        Ok(changed)
    }
}
