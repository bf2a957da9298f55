//! The macros of `blockyard-sdk`. Authors meet Blockyard here first: every mistake is told at its
//! place, all at once, with the mend.

mod block;
mod data;
mod field;
mod operations;

use proc_macro::TokenStream;

/// Makes a struct the configuration of a block type.
///
/// ```ignore
/// /// A web hook of ACME.
/// #[derive(Block)]
/// #[block(type = "acme-webhook", version = 1, title = "ACME web hook", interfaces("notification"))]
/// struct Webhook {
///     /// Where it is.
///     url: String,
///     /// What it asks for.
///     #[block(audience = "https://hooks.acme.example")]
///     token: Secret<String>,
/// }
/// ```
///
/// Doc comments become descriptions, the order of the fields the order of the questions.
/// `#[serde(…)]` and `#[schemars(…)]` work on the fields. A `Secret` field names its uses:
/// `audience` (`sql`, or the origins that requests may carry it to), `header` (the headers that may hold it, by
/// default `authorization`), `token` (the URLs of token servers that it is exchanged at) and `sign` (the forms of
/// text that it signs). A `BlockRef<Type>` is a reference to another block; a
/// plain `BlockRef` names the interface that it wants: `#[block(interface = "secret-store")]`.
#[proc_macro_derive(Block, attributes(block, serde, schemars))]
pub fn block(input: TokenStream) -> TokenStream {
    finish(block::derive(input.into()))
}

/// Makes the methods of an `impl` block the operations of a block type.
///
/// ```ignore
/// #[operations]
/// impl Webhook {
///     /// Sends a message.
///     #[operation(write)]
///     fn send(
///         &self,
///         /// The text.
///         message: String,
///     ) -> Result<Receipt> { … }
///
///     /// Can it do its work?
///     #[check]
///     fn check(&self) -> Vec<Step> { … }
///
///     #[validate]
///     fn validate(&self) -> Vec<Violation> { … }
/// }
/// ```
///
/// The effect is `read`, `write` or `destructive`. Doc comments become descriptions, also those of
/// arguments. An argument of type `Body` is the stream of bytes that the caller sends along; a
/// result `Streamed<T>` has one to send back. Methods without an attribute stay as they are.
#[proc_macro_attribute]
pub fn operations(_: TokenStream, item: TokenStream) -> TokenStream {
    finish(operations::expand(item.into()))
}

/// Makes a type fit for arguments, results and nested configuration: derives `Serialize`,
/// `Deserialize` and `JsonSchema`. Fields take `#[block(audience = …)]` and `#[block(interface = …)]`
/// as those of a block type do.
///
/// The schema of the type refuses unknown fields. `#[data(open)]` makes a struct accept them; a field with
/// `#[serde(flatten)]` of a map type does so, too, and keeps them.
#[proc_macro_attribute]
pub fn data(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(data::expand(&arguments.into(), item.into()))
}

fn finish(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.into_compile_error()).into()
}

/// The text of the doc comments, as one paragraph.
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

/// Gathers mistakes, so that all are told at once.
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

/// Whether the type is `Name`, `path::Name`, `Name<…>`, or has one inside, as `Option<Name>` does.
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
