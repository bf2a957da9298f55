//! Showing one secret to a person. Each time is a line of the audit trail, written before the secret
//! is shown.

use blockyard_host::Deadline;
use blockyard_model::{PinnedAddress, Pointer, SecretValue};
use serde_json::json;

use crate::audit::line;
use crate::{Error, ErrorKind, Yard};

impl Yard {
    /// The plain text of one secret of a block; one that has a source is read from there.
    ///
    /// # Errors
    /// There is no such block or secret; its source cannot be read; it was destroyed.
    pub async fn reveal(&self, address: &PinnedAddress, field: &str) -> Result<SecretValue, Error> {
        let block = self.open_block(address).await?;
        let secrets = &block.whole.secrets;
        // A key of a map may have dots of its own: it is looked for as it is shown, or by its pointer.
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
        // The line is about the block whose secret it is, which may be one that this one builds on.
        let detail = if secret.owner == block.address {
            json!({ "field": secret.field.dotted(), "revision": block.revision.number() })
        } else {
            json!({ "field": secret.field.dotted(), "through": format!("{}@{}", block.address, block.revision) })
        };
        self.store().append_audit(&line(self.actor(), "reveal", &secret.owner, &detail)).await?;
        Ok(value)
    }
}
