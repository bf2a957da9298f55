//! The audit trail: who did what, when. Append-only.

use sqlx::{Row as _, Sqlite, Transaction};

use crate::{Millis, Store, StoreError};

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// When. Set by the store's caller when it appends; ignored on the way in.
    pub at: Millis,
    /// Who: user and host.
    pub actor: String,
    /// What: `create`, `set`, `call`, `install`, …
    pub action: String,
    /// To what: an address, a bundle.
    pub subject: String,
    /// More, as JSON. Never a secret.
    pub detail: String,
}

pub(crate) async fn append(
    transaction: &mut Transaction<'_, Sqlite>,
    line: &AuditLine,
    now: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)")
        .bind(now)
        .bind(&line.actor)
        .bind(&line.action)
        .bind(&line.subject)
        .bind(&line.detail)
        .execute(&mut **transaction)
        .await
        .map(drop)
}

impl Store {
    /// Appends a line on its own: for what changes nothing else, such as a call.
    ///
    /// # Errors
    /// What the database says.
    pub async fn append_audit(&self, line: &AuditLine, now: Millis) -> Result<(), StoreError> {
        let sort = |error| self.sort(error);
        let mut transaction = self.begin().await?;
        append(&mut transaction, line, now).await.map_err(sort)?;
        transaction.commit().await.map_err(sort)
    }

    /// The newest lines first, at most `limit`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditLine>, StoreError> {
        let rows = sqlx::query("SELECT at, actor, action, subject, detail FROM audit ORDER BY id DESC LIMIT ?")
            .bind(limit)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(rows
            .iter()
            .map(|row| AuditLine {
                at: row.get(0),
                actor: row.get(1),
                action: row.get(2),
                subject: row.get(3),
                detail: row.get(4),
            })
            .collect())
    }
}
