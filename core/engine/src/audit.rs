//! Reads the audit trail.

use blockyard_store::{AuditChain, AuditFilter, AuditLine};

use crate::{Error, Yard};

impl Yard {
    /// Returns lines of the audit trail, newest first.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditLine>, Error> {
        Ok(self.store().audit(filter).await?)
    }

    /// Verifies the hash chain of the complete audit trail.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub async fn check_audit(&self) -> Result<AuditChain, Error> {
        Ok(self.store().check_audit().await?)
    }
}
