//! Implementation of `#[operations]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, ReturnType, Token, Type, parenthesized};

use crate::mistakes::Mistakes;
use crate::source::{documentation, mentions};

pub(crate) fn expand(item: TokenStream) -> syn::Result<TokenStream> {
    let mut block: ItemImpl = syn::parse2(item)?;
    let mut mistakes = Mistakes::default();
    let mut operations = Vec::new();
    let mut hooks = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else { continue };
        if let Some(kind) = take_kind(method, &mut mistakes) {
            operations.push(Operation::of(method, kind, &mut mistakes));
        }
        for hook in ["check", "validate"] {
            if let Some(at) = method.attrs.iter().position(|attribute| attribute.path().is_ident(hook)) {
                method.attrs.remove(at);
                hooks.push((hook, method.sig.ident.clone()));
            }
        }
    }
    mistakes.finish()?;

    let self_type = &block.self_ty;
    let structs = operations.iter().map(Operation::arguments_struct);
    let descriptions = operations.iter().map(Operation::description);
    let arms = operations.iter().map(Operation::arm);
    let hooks = hooks.iter().map(|(hook, method)| match *hook {
        "check" => quote! {
            fn check(&self) -> ::std::vec::Vec<::blockyard_sdk::Step> { self.#method() }
        },
        _ => quote! {
            fn validate(&self) -> ::std::vec::Vec<::blockyard_sdk::Violation> { self.#method() }
        },
    });
    Ok(quote! {
        #[allow(clippy::too_many_arguments, reason = "an operation has as many arguments as its author declares")]
        #block

        const _: () = {
            #(#structs)*

            impl ::blockyard_sdk::Operations for #self_type {
                fn operations() -> ::std::vec::Vec<::blockyard_sdk::OperationDescription> {
                    ::std::vec![#(#descriptions),*]
                }

                #[allow(unused_variables, reason = "operations may take no input")]
                fn invoke(
                    &self,
                    operation: &str,
                    arguments: ::blockyard_sdk::serde_json::Value,
                    mut input: ::core::option::Option<::blockyard_sdk::Body>,
                ) -> ::blockyard_sdk::Result<::blockyard_sdk::Reply> {
                    match operation {
                        #(#arms)*
                        _ => ::core::result::Result::Err(::blockyard_sdk::Problem::unknown_operation(operation)),
                    }
                }

                #(#hooks)*
            }
        };
    })
}

struct Operation {
    method: Ident,
    /// The name of the method with `-` instead of `_`.
    name: String,
    description: String,
    kind: Kind,
    arguments: Vec<Argument>,
    result: TokenStream,
}

/// Parsed `#[operation(…)]` attribute.
struct Kind {
    effect: Ident,
    /// Requests that are safe despite their method: string literals or constants.
    safe: Vec<Expr>,
}

struct Argument {
    name: Ident,
    ty: Type,
    attributes: Vec<Attribute>,
    is_input: bool,
}

/// Removes `#[operation(EFFECT)]` or `#[operation(read, safe("POST …"))]` from the method and
/// parses it.
fn take_kind(method: &mut ImplItemFn, mistakes: &mut Mistakes) -> Option<Kind> {
    let at = method.attrs.iter().position(|attribute| attribute.path().is_ident("operation"))?;
    let attribute = method.attrs.remove(at);
    match attribute.parse_args::<Kind>() {
        Ok(kind) => {
            for safe in kind.safe.iter().filter(|_| kind.effect != "read") {
                mistakes.add(safe, "only a `read` operation can declare safe requests");
            }
            Some(kind)
        }
        Err(_) => {
            mistakes.add(attribute, "an operation requires an effect: `#[operation(read)]`, `#[operation(write)]` or `#[operation(destructive)]`; a `read` operation can declare safe requests: `#[operation(read, safe(\"POST https://api.example.com/v1/search\"))]`");
            None
        }
    }
}

impl Parse for Kind {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let effect: Ident = input.parse()?;
        if effect != "read" && effect != "write" && effect != "destructive" {
            return Err(syn::Error::new(effect.span(), "expected `read`, `write` or `destructive`"));
        }
        let mut safe = Vec::new();
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
            let word: Ident = input.parse()?;
            if word != "safe" {
                return Err(syn::Error::new(word.span(), "expected `safe`"));
            }
            let inner;
            parenthesized!(inner in input);
            safe = Punctuated::<Expr, Token![,]>::parse_terminated(&inner)?.into_iter().collect();
        }
        if input.is_empty() {
            Ok(Self { effect, safe })
        } else {
            Err(input.error("unexpected input after the effect and `safe(…)`"))
        }
    }
}

impl Operation {
    /// Parses the signature, and removes the attributes of the arguments.
    fn of(method: &mut ImplItemFn, kind: Kind, mistakes: &mut Mistakes) -> Self {
        let signature = &mut method.sig;
        let description = documentation(&method.attrs);
        if description.is_empty() {
            mistakes.add(&signature.ident, "an operation requires a description: add a doc comment to the method");
        }
        if !matches!(signature.inputs.first(), Some(FnArg::Receiver(receiver)) if receiver.mutability.is_none()) {
            mistakes.add(&signature.ident, "an operation must take `&self`");
        }
        let mut arguments = Vec::new();
        for input in &mut signature.inputs {
            let FnArg::Typed(typed) = input else { continue };
            let attributes = std::mem::take(&mut typed.attrs);
            let Pat::Ident(name) = &*typed.pat else {
                mistakes.add(&typed.pat, "an argument must have a name");
                continue;
            };
            let is_input = mentions(&typed.ty, "Body");
            if !is_input && documentation(&attributes).is_empty() {
                mistakes.add(&name.ident, "an argument requires a description: add a doc comment before it");
            }
            arguments.push(Argument { name: name.ident.clone(), ty: (*typed.ty).clone(), attributes, is_input });
        }
        let result = match &signature.output {
            ReturnType::Type(_, ty) => quote! { #ty },
            ReturnType::Default => {
                mistakes.add(&signature.ident, "an operation must return a `Result`");
                TokenStream::new()
            }
        };
        Self {
            name: signature.ident.unraw().to_string().replace('_', "-"),
            method: signature.ident.clone(),
            description,
            kind,
            arguments,
            result,
        }
    }

    fn struct_name(&self) -> Ident {
        format_ident!("Arguments_{}", self.method)
    }

    fn arguments_struct(&self) -> TokenStream {
        let name = self.struct_name();
        let fields = self.arguments.iter().filter(|argument| !argument.is_input).map(|argument| {
            let Argument { name, ty, attributes, .. } = argument;
            quote! { #(#attributes)* #name: #ty }
        });
        quote! {
            #[allow(non_camel_case_types, reason = "named after the method")]
            #[derive(::blockyard_sdk::serde::Deserialize, ::blockyard_sdk::schemars::JsonSchema)]
            #[serde(crate = "::blockyard_sdk::serde", deny_unknown_fields)]
            #[schemars(crate = "::blockyard_sdk::schemars", title = "Arguments")]
            struct #name { #(#fields),* }
        }
    }

    fn description(&self) -> TokenStream {
        let Self { name, description, kind: Kind { effect, safe }, result, .. } = self;
        let arguments = self.struct_name();
        let effect = effect.to_string();
        let input = self.arguments.iter().any(|argument| argument.is_input);
        quote! {
            ::blockyard_sdk::OperationDescription::new::<#arguments, #result>(#name, #description, #effect, #input)
                .safe(&[#(#safe),*])
        }
    }

    fn arm(&self) -> TokenStream {
        let Self { name, method, .. } = self;
        let arguments = self.struct_name();
        let fields = self.arguments.iter().filter(|argument| !argument.is_input).map(|argument| &argument.name);
        let values = self.arguments.iter().map(|argument| {
            let name = &argument.name;
            if !argument.is_input {
                quote! { #name }
            } else if mentions(&argument.ty, "Option") {
                quote! { input.take() }
            } else {
                quote! { ::blockyard_sdk::Problem::need_input(input.take())? }
            }
        });
        quote! {
            #name => {
                let #arguments { #(#fields),* } = ::blockyard_sdk::arguments(arguments)?;
                ::blockyard_sdk::OperationResult::into_reply(self.#method(#(#values),*)?)
            }
        }
    }
}
