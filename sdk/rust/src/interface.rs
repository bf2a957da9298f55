//! Standard interfaces: sets of operations that many block types implement in the same way.
//!
//! A type declares an interface in `#[block(…)]`, and implements its trait in an `impl` block with
//! `#[operations]`. The operations have the names, effects, arguments and streams of the interface.
//! Their types, descriptions and further optional arguments are those of the methods.

use crate::block::Block;
use crate::operations::OperationsBlock;

/// The interface `credentials`. Credentials that other blocks use to authenticate. The secrets
/// stay in the block; no operation returns them.
///
/// | method | effect | arguments | stream |
/// |---|---|---|---|
/// | `describe` | read |  |  |
///
/// # Example
///
/// ```
/// use blockyard_sdk::prelude::*;
///
/// /// Credentials of ACME.
/// #[derive(Block)]
/// #[block(type = "acme-credentials", version = 1, interfaces(interface::Credentials))]
/// struct AcmeCredentials {
///     /// Name of the account.
///     account: String,
/// }
///
/// #[operations]
/// impl interface::Credentials for AcmeCredentials {
///     fn describe(&self) -> Result<Value> {
///         Ok(json!({ "account": self.account }))
///     }
/// }
///
/// #[operations]
/// impl AcmeCredentials {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares the interface `credentials` without implementing it",
    note = "add `#[operations] impl interface::Credentials for {Self} {{ … }}`"
)]
pub trait Credentials: Block {
    #[doc(hidden)]
    const NAME: &'static str = "credentials";
    #[doc(hidden)]
    type Operations: OperationsBlock<Self>;
}

/// The interface `database`. SQL statements with named parameters (`:name`). Rows are returned
/// as values or as an Arrow IPC stream.
///
/// | method | effect | arguments | stream |
/// |---|---|---|---|
/// | `query` | read | `statement`, `parameters` | output |
/// | `execute` | write | `statement`, `parameters` |  |
/// | `execute_many` | write | `statement`, `parameters` |  |
/// | `fetch_one` | read | `statement`, `parameters` |  |
/// | `fetch_many` | read | `statement`, `parameters`, `size` |  |
/// | `fetch_all` | read | `statement`, `parameters` |  |
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares the interface `database` without implementing it",
    note = "add `#[operations] impl interface::Database for {Self} {{ … }}`"
)]
pub trait Database: Block {
    #[doc(hidden)]
    const NAME: &'static str = "database";
    #[doc(hidden)]
    type Operations: OperationsBlock<Self>;
}

/// The interface `job`. Asynchronous jobs of a remote service. Other operations of the type
/// start them. A job is described as `{job_id, state, error?, …}`, where `state` is `PENDING`,
/// `RUNNING` or `DONE`, and `error` is the cause if the job has failed: `{reason, message}`.
///
/// | method | effect | arguments | stream |
/// |---|---|---|---|
/// | `job_status` | read | `job_id` |  |
/// | `job_wait` | read | `job_id`, `timeout_seconds` |  |
/// | `job_cancel` | write | `job_id` |  |
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares the interface `job` without implementing it",
    note = "add `#[operations] impl interface::Job for {Self} {{ … }}`"
)]
pub trait Job: Block {
    #[doc(hidden)]
    const NAME: &'static str = "job";
    #[doc(hidden)]
    type Operations: OperationsBlock<Self>;
}

/// The interface `notification`. Notifications to people, e.g. through a chat channel, a
/// mailbox or a pager.
///
/// | method | effect | arguments | stream |
/// |---|---|---|---|
/// | `notify` | write | `subject`, `body` |  |
///
/// # Example
///
/// An operation may have further arguments, if they are optional.
///
/// ```
/// use blockyard_sdk::prelude::*;
///
/// /// A chat room.
/// #[derive(Block)]
/// #[block(type = "chat-room", version = 1, interfaces(interface::Notification))]
/// struct ChatRoom {
///     /// URL of the room.
///     url: String,
/// }
///
/// #[operations]
/// impl interface::Notification for ChatRoom {
///     /// Posts a message to the room.
///     fn notify(
///         &self,
///         /// Subject, in bold.
///         subject: Option<String>,
///         /// Text of the message.
///         body: String,
///         /// ID of the message that this one replies to.
///         reply_to: Option<String>,
///     ) -> Result<()> {
///         let message = json!({ "subject": subject, "text": body, "reply_to": reply_to });
///         blockyard_sdk::http::post(self.url.as_str()).json(&message).send()?.ok().map(drop)
///     }
/// }
///
/// #[operations]
/// impl ChatRoom {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares the interface `notification` without implementing it",
    note = "add `#[operations] impl interface::Notification for {Self} {{ … }}`"
)]
pub trait Notification: Block {
    #[doc(hidden)]
    const NAME: &'static str = "notification";
    #[doc(hidden)]
    type Operations: OperationsBlock<Self>;
}

/// The interface `object-storage`. Objects, addressed by paths relative to the block. Their
/// content is streamed. An object is described as `{path, size, updated?, content_type?,
/// crc32c?, generation?, content_encoding?, decoded?, metadata?}`. `decoded` is true if `get`
/// returns decompressed bytes; `size` and `crc32c` always describe the stored bytes.
///
/// | method | effect | arguments | stream |
/// |---|---|---|---|
/// | `list` | read | `prefix`, `delimiter`, `page_size`, `page_token` |  |
/// | `stat` | read | `path` |  |
/// | `get` | read | `path`, `offset`, `length` | output |
/// | `put` | write | `path`, `content_type`, `if_absent` | input |
/// | `delete` | destructive | `path` |  |
/// | `copy` | write | `from`, `to` |  |
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares the interface `object-storage` without implementing it",
    note = "add `#[operations] impl interface::ObjectStorage for {Self} {{ … }}`"
)]
pub trait ObjectStorage: Block {
    #[doc(hidden)]
    const NAME: &'static str = "object-storage";
    #[doc(hidden)]
    type Operations: OperationsBlock<Self>;
}

/// The interface `secret-store`. A secret in an external secret store. A block that implements
/// this interface can be the source of another block's secret: `--secret
/// FIELD=block:TYPE/NAME`.
///
/// | method | effect | arguments | stream |
/// |---|---|---|---|
/// | `read` | read |  | output |
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares the interface `secret-store` without implementing it",
    note = "add `#[operations] impl interface::SecretStore for {Self} {{ … }}`"
)]
pub trait SecretStore: Block {
    #[doc(hidden)]
    const NAME: &'static str = "secret-store";
    #[doc(hidden)]
    type Operations: OperationsBlock<Self>;
}
