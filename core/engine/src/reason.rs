//! Reasons of changes: a reason is readable without the yard's key, and must contain no secret.

use blockyard_host::Redactor;
use blockyard_model::{ReasonError, SplitDocument};
use blockyard_store::{AuditLine, BlockRecord};
use serde_json::{Value, json};

use crate::audit_writer::line;
use crate::{Error, ErrorKind, Yard};

impl Yard {
    /// Returns an error if the reason of this handle contains a secret of a document, in any encoding
    /// that the search for secrets knows.
    pub(crate) fn check_reason(&self, document: &SplitDocument) -> Result<(), Error> {
        let Some(reason) = self.reason() else { return Ok(()) };
        let found = document.secrets.iter().find(|(_, secret)| {
            let secret = std::iter::once(*secret);
            Redactor::new(secret).finds(reason.as_str().as_bytes())
        });
        match found {
            None => Ok(()),
            Some((pointer, _)) => {
                let message = format!("the reason contains the secret `{}` of the block", pointer.dotted());
                Err(Error::new(ErrorKind::Invalid, message)
                    .hint("write the reason without it: everyone who can read the yard can read the reason"))
            }
        }
    }

    /// Like [`check_reason`](Self::check_reason), for the secrets of a stored revision.
    pub(crate) async fn check_reason_of(&self, record: &BlockRecord) -> Result<(), Error> {
        match self.reason() {
            Some(_) => self.check_reason(&self.unseal(record).await?),
            None => Ok(()),
        }
    }

    /// Creates the line of the audit trail for a change, with the reason of this handle.
    pub(crate) fn line_of_change(&self, action: &str, subject: impl ToString, mut detail: Value) -> AuditLine {
        if let Some(reason) = self.reason() {
            detail["reason"] = json!(reason.as_str());
        }
        line(self.actor(), action, subject, &detail)
    }
}

impl From<ReasonError> for Error {
    fn from(error: ReasonError) -> Self {
        Self::new(ErrorKind::Usage, error.to_string()).hint("a reason is one line of text")
    }
}
