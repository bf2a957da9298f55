//! Macros of `blockyard-sdk`. All mistakes are reported at once, each at its span and with the fix,
//! because the macros are a bundle author's first contact with Blockyard.

mod block;
mod data;
mod field;
mod operations;

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

/// Returns the text of the doc comments as one paragraph.
fn documentation(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Collects mistakes, so that all are reported at once.
#[derive(Default)]
struct Mistakes(Option<syn::Error>);

impl Mistakes {
    fn add(&mut self, spanned: impl quote::ToTokens, message: impl std::fmt::Display) {
        self.join(syn::Error::new_spanned(spanned, message));
    }

    fn join(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Returns whether the type is `Name`, `path::Name` or `Name<…>`, or contains one, as
/// `Option<Name>` does.
fn mentions(ty: &syn::Type, name: &str) -> bool {
    let syn::Type::Path(path) = ty else { return false };
    path.path.segments.iter().any(|segment| {
        segment.ident == name
            || match &segment.arguments {
                syn::PathArguments::AngleBracketed(arguments) => arguments
                    .args
                    .iter()
                    .any(|argument| matches!(argument, syn::GenericArgument::Type(inner) if mentions(inner, name))),
                _ => false,
            }
    })
}
