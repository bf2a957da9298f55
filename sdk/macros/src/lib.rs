//! Macros of `blockyard-sdk`. All mistakes are reported at once, each at its span and with the fix,
//! because the macros are a bundle author's first contact with Blockyard.

mod block;
mod data;
mod field;
mod mistakes;
mod operations;
mod source;

use proc_macro::TokenStream;

/// Derives a block type from the struct of its configuration.
///
/// ```ignore
/// /// ACME web hook.
/// #[derive(Block)]
/// #[block(type = "acme-webhook", version = 1, title = "ACME web hook", interfaces("notification"))]
/// struct Webhook {
///     /// URL of the web hook.
///     url: String,
///     /// Access token of the web hook.
///     #[block(audience = "https://hooks.acme.example")]
///     token: Secret<String>,
/// }
/// ```
///
/// Doc comments become descriptions, and the order of the fields is the order of prompts.
/// `#[serde(…)]` and `#[schemars(…)]` are supported on fields. A `Secret` field declares its uses:
/// `audience` (`sql`, or the origins of requests that may contain it), `header` (the headers that
/// may contain it, by default `authorization`), `token` (the URLs of token endpoints at which it is
/// exchanged) and `sign` (the forms of the strings that it signs). A `BlockRef<Type>` is a
/// reference to another block. A plain `BlockRef` declares the interface that it requires:
/// `#[block(interface = "secret-store")]`.
///
/// `#[block(type = "acme-webhook", version = 2, previous = WebhookV1)]` names the struct of the
/// previous version, from which a `From` or `TryFrom` implementation converts configurations. See
/// the module `migration` of the SDK.
#[proc_macro_derive(Block, attributes(block, serde, schemars))]
pub fn block(input: TokenStream) -> TokenStream {
    finish(block::derive(input.into()))
}

/// Implements the operations of a block type from the methods of an `impl` block.
///
/// ```ignore
/// #[operations]
/// impl Webhook {
///     /// Sends a message.
///     #[operation(write)]
///     fn send(
///         &self,
///         /// Text of the message.
///         message: String,
///     ) -> Result<Receipt> { todo!() }
///
///     /// Checks that the URL is valid.
///     #[check]
///     fn check(&self) -> Vec<Step> { todo!() }
///
///     #[validate]
///     fn validate(&self) -> Vec<Violation> { todo!() }
/// }
/// ```
///
/// The effect is `read`, `write` or `destructive`. Doc comments of methods and arguments become
/// descriptions. An argument of type `Body` is the input stream of the caller, and a result of type
/// `Streamed<T>` has an output stream. Methods without an attribute are left unchanged.
#[proc_macro_attribute]
pub fn operations(_: TokenStream, item: TokenStream) -> TokenStream {
    finish(operations::expand(item.into()))
}

/// Derives `Serialize`, `Deserialize` and `JsonSchema` for a type of arguments, results or nested
/// configuration. Fields support `#[block(audience = …)]` and `#[block(interface = …)]`, as in a
/// block type.
///
/// The schema of the type rejects unknown fields. `#[data(open)]` makes a struct accept them. A
/// `#[serde(flatten)]` field of a map type also accepts them, and retains them.
#[proc_macro_attribute]
pub fn data(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(data::expand(&arguments.into(), item.into()))
}

fn finish(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.into_compile_error()).into()
}
