//! Macros of `blockyard-sdk`. All mistakes are reported at once, each at its span and with the fix,
//! because the macros are a bundle author's first contact with Blockyard.

mod argument;
mod block;
mod data;
mod field;
mod interface;
mod mistakes;
mod operation;
mod operations;
mod source;

use proc_macro::TokenStream;

/// Derives a block type from the struct of its configuration.
///
/// Doc comments become descriptions, in Markdown, and the order of the fields is the order of
/// prompts. `#[serde(…)]` and `#[schemars(…)]` are supported on fields.
///
/// `#[block(…)]` on the struct has `type`, the slug; `version`, counted from 1; and optionally
/// `title`, `interfaces(interface::Database)` with the traits of standard interfaces, `sql(…)` with
/// the fields that name a database, and `previous`.
///
/// A `Secret` field declares its uses: `audience` (`sql`, or the origins of requests that may
/// contain it), `header` (the headers that may contain it, by default `authorization`), `token`
/// (the URLs of token endpoints at which it is exchanged), `sign` (the forms of the strings that it
/// signs), `member` (the members of a JSON body that may contain it) and `url` (it is a URL of its
/// audience, to which requests are sent). A `BlockRef<Type>` is a reference to another block. A plain
/// `BlockRef` declares the interface that it requires: `#[block(interface = "secret-store")]`.
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
/// A method with `#[operation(EFFECT)]` is an operation. The effect is `read`, `write` or
/// `destructive`. `#[operation(read, safe("POST https://api.example.com/v1/search"))]` declares
/// requests that are safe despite their method. `#[operation(write, repeatable)]` declares that the
/// operation may be repeated although it is not known whether it was done, e.g. because it replaces
/// an object by the same content. A `read` is always repeatable. Methods without an attribute are
/// left unchanged.
///
/// Doc comments of methods and arguments become descriptions. An argument of type `Body` is the
/// input stream of the caller, and a result of type `Streamed<T>` has an output stream.
///
/// Attributes of arguments:
///
/// - `#[serde(default)]`: the argument is optional, as is one of type `Option`.
/// - `#[block(language = "sql")]`: the argument is text in a language, into which no values are
///   inserted.
/// - `#[block(idempotency_key)]`: the argument is the key by which the remote service recognizes a
///   repeated call.
/// - `#[flatten]`: the fields of a struct with `#[data]` are arguments. Several operations can share
///   them. Unknown arguments are rejected, and two arguments with one name do not compile.
///
/// `#[check]` on a method that returns `Vec<Step>` checks that the block works, and `#[validate]` on
/// a method that returns `Vec<Violation>` checks rules that the schema cannot express.
///
/// # Several blocks
///
/// The operations of a type can be divided over modules. The main block names the modules,
/// `#[operations(parts(tables, jobs))]`, and each of them contains a block with
/// `#[operations(part)]`. A block that the main one does not name does not compile.
///
/// # Standard interfaces
///
/// `#[operations] impl interface::Notification for Webhook { … }` implements a standard interface,
/// which the type declares in `#[block(…)]`. The methods have the names, effects and arguments of
/// the interface, and need no `#[operation(…)]`. They can have further arguments, if these are
/// optional. A method without a doc comment has the description of the interface.
#[proc_macro_attribute]
pub fn operations(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(operations::expand(arguments.into(), item.into()))
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
