//! `#[data]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields};

use crate::{Mistakes, field};

pub(crate) fn expand(item: TokenStream) -> syn::Result<TokenStream> {
    let mut item: DeriveInput = syn::parse2(item)?;
    let mut mistakes = Mistakes::default();
    match &mut item.data {
        Data::Struct(data) => extend(&mut data.fields, &mut mistakes),
        Data::Enum(data) => data.variants.iter_mut().for_each(|variant| extend(&mut variant.fields, &mut mistakes)),
        Data::Union(_) => mistakes.add(&item.ident, "a union has no form in JSON"),
    }
    mistakes.finish()?;
    Ok(quote! {
        #[derive(::blockyard_sdk::serde::Serialize, ::blockyard_sdk::serde::Deserialize, ::blockyard_sdk::schemars::JsonSchema)]
        #[serde(crate = "::blockyard_sdk::serde")]
        #[schemars(crate = "::blockyard_sdk::schemars")]
        #item
    })
}

/// What `#[block(…)]` says on fields becomes part of their schemas.
fn extend(fields: &mut Fields, mistakes: &mut Mistakes) {
    for own in fields.iter_mut() {
        let schema = field::schema_attributes(own, mistakes);
        own.attrs.retain(|attribute| !attribute.path().is_ident("block"));
        let attributes: syn::ItemStruct = syn::parse_quote! { #schema struct Bearer; };
        own.attrs.extend(attributes.attrs);
    }
}
