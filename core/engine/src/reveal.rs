//! Reveals one secret to the user. Each reveal appends a line to the audit trail before the secret
//! is returned.

use blockyard_host::Deadline;
use blockyard_model::{PinnedAddress, Pointer, SecretValue};
use serde_json::json;

use crate::audit_writer::line;
use crate::{Error, ErrorKind, Yard};

impl Yard {
    /// Returns the plaintext of one secret of a block. A secret with a source is read from that
    /// source.
    ///
    /// # Errors
    /// Returns an error if the block or the secret does not exist, if the secret's source cannot be
    /// read, or if the secret was destroyed.
    pub async fn reveal(&self, address: &PinnedAddress, field: &str) -> Result<SecretValue, Error> {
        let block = self.open_block(address).await?;
        let secrets = &block.resolved.secrets;
        // A map key may contain dots, so the field is compared with both the dotted path and the
        // JSON Pointer.
        let named = |pointer: &Pointer| pointer.dotted() == field || pointer.as_str() == field;
        let Some(secret) = secrets.iter().find(|secret| named(&secret.pointer)) else {
            let own: Vec<String> = secrets.iter().map(|secret| secret.pointer.dotted()).collect();
            let hint = match own.as_slice() {
                [] => "it has no secrets".to_owned(),
                own => format!("it has `{}`", own.join("`, `")),
            };
            return Err(
                Error::new(ErrorKind::NotFound, format!("block `{address}` has no secret `{field}`")).hint(hint)
            );
        };
        let value = self.read_secret(secret, Deadline::default(), 0).await?;
        // The audit line is recorded for the block that owns the secret, which may be a dependency
        // of this block.
        let detail = if secret.owner == block.address {
            json!({ "field": secret.field.dotted(), "revision": block.revision.number() })
        } else {
            json!({ "field": secret.field.dotted(), "through": format!("{}@{}", block.address, block.revision) })
        };
        self.store().append_audit(&line(self.actor(), "reveal", &secret.owner, &detail)).await?;
        Ok(value)
    }
}
