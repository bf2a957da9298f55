//! The `#[block(…)]` attribute of fields, in a configuration or in nested data.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Field, LitStr};

use crate::mistakes::Mistakes;
use crate::source::mentions;

#[derive(Default)]
struct FieldAttribute {
    secret: SecretAttribute,
    interface: Option<LitStr>,
}

/// Permitted uses of a secret field.
#[derive(Default)]
struct SecretAttribute {
    audience: Vec<LitStr>,
    header: Vec<LitStr>,
    token: Vec<LitStr>,
    sign: Vec<LitStr>,
}

impl SecretAttribute {
    /// Returns the list that a name in the attribute adds to.
    fn list(&mut self, word: &syn::Path) -> Option<&mut Vec<LitStr>> {
        let word = word.get_ident()?.to_string();
        match word.as_str() {
            "audience" => Some(&mut self.audience),
            "header" => Some(&mut self.header),
            "token" => Some(&mut self.token),
            "sign" => Some(&mut self.sign),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.audience.is_empty() && self.header.is_empty() && self.token.is_empty() && self.sign.is_empty()
    }
}

/// Returns `schemars` attributes that add the permitted uses of a secret, or the interface of a
/// reference, to the schema of a field.
pub(crate) fn schema_attributes(field: &Field, mistakes: &mut Mistakes) -> TokenStream {
    let FieldAttribute { secret, interface } = FieldAttribute::parse(&field.attrs, mistakes);
    let ty = &field.ty;
    let is_secret = mentions(ty, "Secret");
    if is_secret && secret.audience.is_empty() && secret.token.is_empty() && secret.sign.is_empty() {
        mistakes.add(ty, "a secret requires its permitted use: add `#[block(audience = \"sql\")]`, or an origin such as `\"https://api.example.com\"`");
    }
    if !is_secret && !secret.is_empty() {
        mistakes.add(ty, "only a `Secret` can have an audience, headers, token endpoints or signing forms");
    }
    if !mentions(ty, "BlockRef")
        && let Some(interface) = &interface
    {
        mistakes.add(interface, "only a `BlockRef` can have an interface");
    }
    let audience = is_secret.then(|| {
        let joined = |list: &[LitStr]| list.iter().map(LitStr::value).collect::<Vec<_>>().join(" ");
        let SecretAttribute { audience, header, token, sign } = &secret;
        let [audience, header, token, sign] = [audience, header, token, sign].map(|list| joined(list));
        quote! {
            #[schemars(transform = ::blockyard_sdk::SecretUse {
                audience: #audience, header: #header, token: #token, sign: #sign,
            })]
        }
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
                if let Some(list) = parsed.secret.list(&meta.path) {
                    list.push(meta.value()?.parse()?);
                } else if meta.path.is_ident("interface") {
                    parsed.interface = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error(
                        "expected `audience = \"…\"`, `header = \"…\"`, `token = \"…\"`, `sign = \"…\"` or `interface = \"…\"`",
                    ));
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
