//! Arguments of operations.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::{Attribute, Ident, LitStr, Pat, PatType, Type};

use crate::field::{self, Position};
use crate::mistakes::Mistakes;
use crate::source::{documentation, mentions, mentions_word};

/// An argument of an operation.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) kind: ArgumentKind,
}

pub(crate) enum ArgumentKind {
    /// The input stream of the caller.
    Input,
    /// A parameter, with its attributes and the attributes of its schema.
    Parameter { attributes: Vec<Attribute>, schema: TokenStream },
    /// A struct whose fields are parameters.
    Flattened,
}

impl Argument {
    /// Parses an argument and removes its attributes.
    pub(crate) fn of(typed: &mut PatType, mistakes: &mut Mistakes) -> Option<Self> {
        let attributes = std::mem::take(&mut typed.attrs);
        let Pat::Ident(name) = &*typed.pat else {
            mistakes.add(&typed.pat, "an argument must have a name");
            return None;
        };
        let (name, ty) = (name.ident.clone(), (*typed.ty).clone());
        let kind = if mentions(&ty, "Body") {
            ArgumentKind::Input
        } else if attributes.iter().any(|attribute| attribute.path().is_ident("flatten")) {
            for other in attributes.iter().filter(|attribute| !attribute.path().is_ident("flatten")) {
                mistakes.add(
                    other,
                    "a flattened argument has no description and no attributes; add them to the fields of its type",
                );
            }
            ArgumentKind::Flattened
        } else {
            if documentation(&attributes).is_empty() {
                mistakes.add(&name, "an argument requires a description: add a doc comment before it");
            }
            let schema = field::schema_attributes(&attributes, &ty, Position::Data, mistakes);
            let attributes = attributes.into_iter().filter(|attribute| !attribute.path().is_ident("block")).collect();
            ArgumentKind::Parameter { attributes, schema }
        };
        Some(Self { name, ty, kind })
    }

    pub(crate) fn is_input(&self) -> bool {
        matches!(self.kind, ArgumentKind::Input)
    }

    pub(crate) fn is_flattened(&self) -> bool {
        matches!(self.kind, ArgumentKind::Flattened)
    }

    /// Returns whether the caller must pass the parameter.
    pub(crate) fn is_required(&self) -> bool {
        match &self.kind {
            ArgumentKind::Parameter { attributes, .. } => {
                !mentions(&self.ty, "Option") && !attributes.iter().any(|attribute| mentions_word(attribute, "default"))
            }
            ArgumentKind::Input | ArgumentKind::Flattened => false,
        }
    }

    /// Returns the field of the struct of arguments, with its schema.
    pub(crate) fn field(&self) -> Option<TokenStream> {
        let Self { name, ty, kind } = self;
        match kind {
            ArgumentKind::Input => None,
            ArgumentKind::Parameter { attributes, schema } => Some(quote! { #(#attributes)* #schema #name: #ty }),
            ArgumentKind::Flattened => Some(quote! { #[schemars(flatten)] #name: #ty }),
        }
    }

    /// Returns the field of the struct from which the parameters are deserialized without their
    /// schemas.
    pub(crate) fn value(&self) -> Option<TokenStream> {
        let Self { name, ty, kind } = self;
        let ArgumentKind::Parameter { attributes, .. } = kind else { return None };
        let attributes = attributes.iter().filter(|attribute| attribute.path().is_ident("serde"));
        Some(quote! { #(#attributes)* #name: #ty })
    }

    /// Returns the name of the parameter. `None` if the argument is not one parameter.
    pub(crate) fn parameter(&self) -> Option<String> {
        match &self.kind {
            ArgumentKind::Parameter { attributes, .. } => Some(wire_name(&self.name, attributes)),
            ArgumentKind::Input | ArgumentKind::Flattened => None,
        }
    }
}

/// Returns the name of a field in JSON.
pub(crate) fn wire_name(name: &Ident, attributes: &[Attribute]) -> String {
    let mut renamed = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        // Other words of the attribute, which may have values, do not matter here.
        let _ = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") && meta.input.peek(syn::Token![=]) {
                renamed = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.input.peek(syn::Token![=]) {
                meta.value()?.parse::<syn::Expr>()?;
            } else if meta.input.peek(syn::token::Paren) {
                let skipped;
                syn::parenthesized!(skipped in meta.input);
                skipped.parse::<TokenStream>()?;
            }
            Ok(())
        });
    }
    renamed.unwrap_or_else(|| name.unraw().to_string())
}
