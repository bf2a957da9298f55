//! The `#[block(…)]` attribute of fields and arguments, and their descriptions.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Attribute, LitStr, Type};

use crate::mistakes::Mistakes;
use crate::source::{documentation, mentions, mentions_word};

/// Languages that an argument can be marked with.
const LANGUAGES: [&str; 1] = ["sql"];

#[derive(Default)]
struct FieldAttribute {
    secret: SecretAttribute,
    interface: Option<LitStr>,
    language: Option<LitStr>,
    /// The position of `idempotency_key`.
    idempotency_key: Option<Span>,
}

/// Permitted uses of a secret field.
#[derive(Default)]
struct SecretAttribute {
    audience: Vec<LitStr>,
    header: Vec<LitStr>,
    token: Vec<LitStr>,
    sign: Vec<LitStr>,
    member: Vec<LitStr>,
    /// The position of `url`.
    url: Option<Span>,
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
            "member" => Some(&mut self.member),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        let lists = [&self.audience, &self.header, &self.token, &self.sign, &self.member];
        lists.iter().all(|list| list.is_empty()) && self.url.is_none()
    }
}

/// Position of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// In the configuration of a block.
    Configuration,
    /// In nested data, or an argument of an operation.
    Data,
}

/// Returns `schemars` attributes that add the meaning of `#[block(…)]` and the description to the
/// schema of a field.
pub(crate) fn schema_attributes(
    attributes: &[Attribute],
    ty: &Type,
    position: Position,
    mistakes: &mut Mistakes,
) -> TokenStream {
    let attribute = FieldAttribute::parse(attributes, mistakes);
    let secret = attribute.secret.schema(ty, mistakes);
    if !mentions(ty, "BlockRef")
        && let Some(interface) = &attribute.interface
    {
        mistakes.add(interface, "only a `BlockRef` can have an interface");
    }
    let interface =
        attribute.interface.as_ref().map(|name| quote! { #[schemars(transform = ::blockyard_sdk::Interface(#name))] });
    let language = attribute.language(ty, mistakes);
    let idempotency_key = attribute.idempotency_key(ty, position, mistakes);
    let description = description(attributes);
    quote! { #description #secret #interface #language #idempotency_key }
}

/// Returns the `schemars` attribute with the description of a type, a field or a variant, unless
/// the author has specified one.
pub(crate) fn description(attributes: &[Attribute]) -> TokenStream {
    let text = documentation(attributes);
    let decided = attributes.iter().any(|attribute| mentions_word(attribute, "description"));
    if text.is_empty() || decided {
        TokenStream::new()
    } else {
        quote! { #[schemars(description = #text)] }
    }
}

impl SecretAttribute {
    /// Returns the `schemars` attribute for the permitted uses of a secret.
    fn schema(&self, ty: &Type, mistakes: &mut Mistakes) -> TokenStream {
        let is_secret = mentions(ty, "Secret");
        if is_secret && self.audience.is_empty() && self.token.is_empty() && self.sign.is_empty() {
            mistakes.add(ty, "a secret requires its permitted use: add `#[block(audience = \"sql\")]`, or an origin such as `\"https://api.example.com\"`");
        }
        if !is_secret && !self.is_empty() {
            mistakes.add(
                ty,
                "only a `Secret` can have an audience, headers, token endpoints, signing forms, members or `url`",
            );
        }
        if let Some(span) = self.url
            && self.audience.iter().all(|audience| audience.value() == "sql")
        {
            let missing =
                "a secret URL requires the origins that it may have: add `audience = \"https://hooks.example.com\"`";
            mistakes.join(syn::Error::new(span, missing));
        }
        if !is_secret {
            return TokenStream::new();
        }
        let joined = |list: &[LitStr]| list.iter().map(LitStr::value).collect::<Vec<_>>().join(" ");
        let Self { audience, header, token, sign, member, url } = self;
        let url = url.is_some();
        let [audience, header, token, sign, member] = [audience, header, token, sign, member].map(|list| joined(list));
        quote! {
            #[schemars(transform = ::blockyard_sdk::SecretUse {
                audience: #audience, header: #header, token: #token, sign: #sign, url: #url, member: #member,
            })]
        }
    }
}

impl FieldAttribute {
    fn parse(attributes: &[Attribute], mistakes: &mut Mistakes) -> Self {
        let mut parsed = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("block")) {
            let result = attribute.parse_nested_meta(|meta| {
                if let Some(list) = parsed.secret.list(&meta.path) {
                    list.push(meta.value()?.parse()?);
                } else if meta.path.is_ident("url") {
                    parsed.secret.url = Some(syn::spanned::Spanned::span(&meta.path));
                } else if meta.path.is_ident("interface") {
                    parsed.interface = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("language") {
                    parsed.language = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("idempotency_key") {
                    parsed.idempotency_key = Some(syn::spanned::Spanned::span(&meta.path));
                } else {
                    return Err(meta.error(
                        "expected `audience = \"…\"`, `header = \"…\"`, `token = \"…\"`, `sign = \"…\"`, `member = \"…\"`, `url`, `interface = \"…\"`, `language = \"sql\"` or `idempotency_key`",
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

    fn language(&self, ty: &Type, mistakes: &mut Mistakes) -> Option<TokenStream> {
        let language = self.language.as_ref()?;
        if !LANGUAGES.contains(&language.value().as_str()) {
            mistakes.add(language, format!("unknown language; expected `{}`", LANGUAGES.join("`, `")));
        }
        if !mentions(ty, "String") {
            mistakes.add(ty, "only a `String` can have a language");
        }
        Some(quote! { #[schemars(extend("x-language" = #language))] })
    }

    fn idempotency_key(&self, ty: &Type, position: Position, mistakes: &mut Mistakes) -> Option<TokenStream> {
        let span = self.idempotency_key?;
        if position == Position::Configuration {
            mistakes.join(syn::Error::new(span, "only an argument of an operation can be an idempotency key"));
        }
        if !mentions(ty, "String") || mentions(ty, "Vec") {
            mistakes.add(ty, "an idempotency key must be a `String` or an `Option<String>`");
        }
        Some(quote! { #[schemars(extend("x-idempotency-key" = true))] })
    }
}
