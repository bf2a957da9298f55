//! What `#[block(…)]` says on a field: of a configuration, or of what is nested in one.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Field, LitStr};

use crate::{Mistakes, mentions};

#[derive(Default)]
struct FieldAttribute {
    audience: Vec<LitStr>,
    interface: Option<LitStr>,
}

/// The attributes for `schemars` that put a secret's audience or a reference's interface into the
/// field's schema.
pub(crate) fn schema_attributes(field: &Field, mistakes: &mut Mistakes) -> TokenStream {
    let FieldAttribute { audience, interface } = FieldAttribute::parse(&field.attrs, mistakes);
    let ty = &field.ty;
    let is_secret = mentions(ty, "Secret");
    if is_secret && audience.is_empty() {
        mistakes.add(ty, "a secret names what it may be used for: `#[block(audience = \"sql\")]`, or an origin such as `\"https://api.example.com\"`");
    }
    if !is_secret && !audience.is_empty() {
        mistakes.add(ty, "only a `Secret` has an audience");
    }
    if !mentions(ty, "BlockRef")
        && let Some(interface) = &interface
    {
        mistakes.add(interface, "only a `BlockRef` names an interface");
    }
    let audience = is_secret.then(|| {
        let all = audience.iter().map(LitStr::value).collect::<Vec<_>>().join(" ");
        quote! { #[schemars(transform = ::blockyard_sdk::Audience(#all))] }
    });
    let interface =
        interface.map(|interface| quote! { #[schemars(transform = ::blockyard_sdk::Interface(#interface))] });
    quote! { #audience #interface }
}

impl FieldAttribute {
    fn parse(attributes: &[Attribute], mistakes: &mut Mistakes) -> Self {
        let mut parsed = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("block")) {
            let result = attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("audience") {
                    parsed.audience.push(meta.value()?.parse()?);
                } else if meta.path.is_ident("interface") {
                    parsed.interface = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error("on a field there are `audience = \"…\"` and `interface = \"…\"`"));
                }
                Ok(())
            });
            if let Err(error) = result {
                mistakes.join(error);
            }
        }
        parsed
    }
}
