//! Implementation of `#[data]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Fields};

use crate::field;
use crate::mistakes::Mistakes;

pub(crate) fn expand(arguments: &TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let mut item: DeriveInput = syn::parse2(item)?;
    let mut mistakes = Mistakes::default();
    let open = match arguments.to_string().as_str() {
        "" => false,
        "open" => true,
        _ => {
            mistakes.add(arguments, "expected `#[data]`, or `#[data(open)]` to accept unknown fields");
            false
        }
    };
    match &mut item.data {
        Data::Struct(data) => extend(&mut data.fields, &mut mistakes),
        Data::Enum(data) => {
            if open {
                mistakes.add(&item.ident, "only a struct can be `open`; use a map for unknown fields");
            }
            data.variants.iter_mut().for_each(|variant| extend(&mut variant.fields, &mut mistakes));
        }
        Data::Union(_) => mistakes.add(&item.ident, "a union cannot be represented in JSON"),
    }
    mistakes.finish()?;
    let unknown_fields = unknown_fields(&item, open);
    Ok(quote! {
        #[derive(::blockyard_sdk::serde::Serialize, ::blockyard_sdk::serde::Deserialize, ::blockyard_sdk::schemars::JsonSchema)]
        #[serde(crate = "::blockyard_sdk::serde")]
        #[schemars(crate = "::blockyard_sdk::schemars")]
        #unknown_fields
        #item
    })
}

/// Returns the attribute that makes the schema reject unknown fields, unless the author specified
/// otherwise. Otherwise a secret under a mistyped name would be stored and shown in plain text.
///
/// Only the schema is closed, because the host validates input against it. The type itself accepts
/// fields that a newer server adds to its responses.
fn unknown_fields(item: &DeriveInput, open: bool) -> TokenStream {
    if open {
        return quote! { #[schemars(extend("additionalProperties" = true))] };
    }
    let mentions_word = |attribute: &Attribute, word: &str| match &attribute.meta {
        syn::Meta::List(list) if ["serde", "schemars"].iter().any(|name| list.path.is_ident(name)) => {
            list.tokens.clone().into_iter().any(|token| token.to_string() == word)
        }
        _ => false,
    };
    let of_type =
        |words: &[&str]| item.attrs.iter().any(|attribute| words.iter().any(|word| mentions_word(attribute, word)));
    let flattened = match &item.data {
        Data::Struct(data) => {
            data.fields.iter().any(|field| field.attrs.iter().any(|attribute| mentions_word(attribute, "flatten")))
        }
        _ => false,
    };
    let decided = of_type(&["deny_unknown_fields", "transparent", "additionalProperties", "unevaluatedProperties"]);
    if decided || flattened {
        TokenStream::new()
    } else {
        quote! { #[schemars(deny_unknown_fields)] }
    }
}

/// Adds the `#[block(…)]` attributes of fields to their schemas.
fn extend(fields: &mut Fields, mistakes: &mut Mistakes) {
    for field in fields.iter_mut() {
        let schema = field::schema_attributes(field, mistakes);
        field.attrs.retain(|attribute| !attribute.path().is_ident("block"));
        let attributes: syn::ItemStruct = syn::parse_quote! { #schema struct Bearer; };
        field.attrs.extend(attributes.attrs);
    }
}
