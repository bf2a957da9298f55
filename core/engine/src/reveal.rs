//! Reveals secrets to the user. Each reveal appends a line to the audit trail before the secret is
//! returned.

use blockyard_host::Deadline;
use blockyard_model::{PinnedAddress, Pointer, SecretValue};
use serde_json::{Value, json};

use crate::audit_writer::line;
use crate::reference::ResolvedSecret;
use crate::{Block, Error, ErrorKind, Yard};

/// Value of a field of a block.
#[derive(Debug)]
pub enum FieldValue {
    /// Value of a field that is not a secret.
    Plain(Value),
    /// Value of a secret.
    Secret(SecretValue),
}

impl Yard {
    /// Returns the plaintext of one secret of a block. A secret with a source is read from that
    /// source.
    ///
    /// # Errors
    /// Returns an error if the block or the secret does not exist, if the secret's source cannot be
    /// read, or if the secret was destroyed.
    pub async fn reveal(&self, address: &PinnedAddress, field: &str) -> Result<SecretValue, Error> {
        let block = self.open_block(address).await?;
        let Some(secret) = secret(&block, field) else {
            let own: Vec<String> = block.resolved.secrets.iter().map(|secret| secret.pointer.dotted()).collect();
            let hint = match own.as_slice() {
                [] => "it has no secrets".to_owned(),
                own => format!("it has `{}`", own.join("`, `")),
            };
            return Err(
                Error::new(ErrorKind::NotFound, format!("block `{address}` has no secret `{field}`")).hint(hint)
            );
        };
        self.reveal_secret(&block, secret, None).await
    }

    /// Returns the value of one field of a block, or of a block that it references, for a program
    /// that receives it. The line of a secret in the audit trail names the program.
    ///
    /// # Errors
    /// Returns an error if the block or the field does not exist, if the field contains a secret
    /// inside, and the errors of [`reveal`](Self::reveal).
    pub async fn field(&self, address: &PinnedAddress, field: &str, program: &str) -> Result<FieldValue, Error> {
        let block = self.open_block(address).await?;
        if let Some(secret) = secret(&block, field) {
            return self.reveal_secret(&block, secret, Some(program)).await.map(FieldValue::Secret);
        }
        let pointers = [Pointer::from_dotted(field), Pointer::new(field)];
        let found = pointers
            .iter()
            .filter(|pointer| !pointer.as_str().is_empty())
            .find_map(|pointer| block.resolved.config.pointer(pointer.as_str()).map(|value| (pointer, value)));
        let Some((pointer, value)) = found else {
            let known = block.resolved.config.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            let known: Vec<&str> = known.collect();
            return Err(Error::new(ErrorKind::NotFound, format!("block `{address}` has no value for `{field}`"))
                .hint(format!("it has `{}`", known.join("`, `"))));
        };
        if block.resolved.secrets.iter().any(|secret| secret.pointer.is_within(pointer)) {
            let message = format!("`{field}` of block `{address}` contains a secret");
            return Err(Error::new(ErrorKind::Invalid, message).hint("name the field of the secret itself"));
        }
        Ok(FieldValue::Plain(value.clone()))
    }

    async fn reveal_secret(
        &self,
        block: &Block,
        secret: &ResolvedSecret,
        program: Option<&str>,
    ) -> Result<SecretValue, Error> {
        let value = self.read_secret(secret, Deadline::default(), 0).await?;
        // The audit line is recorded for the block that owns the secret, which may be a dependency
        // of this block.
        let mut detail = if secret.owner == block.address {
            json!({ "field": secret.field.dotted(), "revision": block.revision.number() })
        } else {
            json!({ "field": secret.field.dotted(), "through": format!("{}@{}", block.address, block.revision) })
        };
        if let Some(program) = program {
            detail["program"] = json!(program);
        }
        self.store().append_audit(&line(self.actor(), "reveal", &secret.owner, &detail)).await?;
        Ok(value)
    }
}

/// Returns the secret with this name. A map key may contain dots, so the name is compared with both
/// the dotted path and the JSON Pointer.
fn secret<'a>(block: &'a Block, field: &str) -> Option<&'a ResolvedSecret> {
    let named = |pointer: &Pointer| pointer.dotted() == field || pointer.as_str() == field;
    block.resolved.secrets.iter().find(|secret| named(&secret.pointer))
}
