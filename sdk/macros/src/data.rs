//! `#[data]`.

use proc_macro2::TokenStream;
use quote::quote;

pub(crate) fn expand(item: TokenStream) -> TokenStream {
    quote! {
        #[derive(::blockyard_sdk::serde::Serialize, ::blockyard_sdk::serde::Deserialize, ::blockyard_sdk::schemars::JsonSchema)]
        #[serde(crate = "::blockyard_sdk::serde")]
        #[schemars(crate = "::blockyard_sdk::schemars")]
        #item
    }
}
