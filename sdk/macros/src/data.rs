//! Implementation of `#[data]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Fields};

use crate::argument::wire_name;
use crate::field::{self, Position};
use crate::mistakes::Mistakes;
use crate::source::mentions_word;

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
            for variant in &mut data.variants {
                extend(&mut variant.fields, &mut mistakes);
                let description = field::description(&variant.attrs);
                variant.attrs.extend(attributes(&description));
            }
        }
        Data::Union(_) => mistakes.add(&item.ident, "a union cannot be represented in JSON"),
    }
    mistakes.finish()?;
    let unknown_fields = unknown_fields(&item, open);
    let description = field::description(&item.attrs);
    let names = if open { None } else { field_names(&item) };
    let fields = names.map(|names| {
        let name = &item.ident;
        quote! {
            impl ::blockyard_sdk::Fields for #name {
                const NAMES: &'static [&'static str] = &[#(#names),*];
            }
        }
    });
    Ok(quote! {
        #[derive(::blockyard_sdk::serde::Serialize, ::blockyard_sdk::serde::Deserialize, ::blockyard_sdk::schemars::JsonSchema)]
        #[serde(crate = "::blockyard_sdk::serde")]
        #[schemars(crate = "::blockyard_sdk::schemars")]
        #unknown_fields
        #description
        #item
        #fields
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

/// Returns the names of the fields in JSON. `None` if they are not exactly the fields of a struct.
fn field_names(item: &DeriveInput) -> Option<Vec<String>> {
    let Data::Struct(syn::DataStruct { fields: Fields::Named(fields), .. }) = &item.data else { return None };
    let has = |attributes: &[Attribute], words: &[&str]| {
        attributes.iter().any(|attribute| words.iter().any(|word| mentions_word(attribute, word)))
    };
    let is_plain = item.generics.params.is_empty()
        && !has(
            &item.attrs,
            &["rename_all", "rename_all_fields", "transparent", "from", "try_from", "additionalProperties"],
        )
        && !fields.named.iter().any(|field| has(&field.attrs, &["flatten", "skip", "skip_deserializing", "alias"]));
    is_plain
        .then(|| fields.named.iter().filter_map(|field| Some(wire_name(field.ident.as_ref()?, &field.attrs))).collect())
}

/// Replaces the `#[block(…)]` attributes of fields by those of their schemas.
fn extend(fields: &mut Fields, mistakes: &mut Mistakes) {
    for field in fields.iter_mut() {
        let schema = field::schema_attributes(&field.attrs, &field.ty, Position::Data, mistakes);
        field.attrs.retain(|attribute| !attribute.path().is_ident("block"));
        field.attrs.extend(attributes(&schema));
    }
}

/// Parses outer attributes.
fn attributes(tokens: &TokenStream) -> Vec<Attribute> {
    let bearer: syn::ItemStruct = syn::parse_quote! { #tokens struct Bearer; };
    bearer.attrs
}
