//! An operation: a method with its attribute, and the code that describes and invokes it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Expr, FnArg, Ident, ImplItemFn, ReturnType, Token, Type, parenthesized};

use crate::argument::{Argument, ArgumentKind};
use crate::interface::{Interface, InterfaceOperation};
use crate::mistakes::Mistakes;
use crate::source::{documentation, mentions};

/// Fix for an operation without an effect.
const EFFECTS: &str = "an operation requires an effect: `#[operation(read)]`, `#[operation(write)]` or `#[operation(destructive)]`; a `read` operation can declare safe requests: `#[operation(read, safe(\"POST https://api.example.com/v1/search\"))]`; another operation can be declared as repeatable: `#[operation(write, repeatable)]`";

/// Words of the attribute.
const WORDS: &str = "expected one effect, `read`, `write` or `destructive`, and optionally `safe(\"POST https://api.example.com/v1/search\")` or `repeatable`";

pub(crate) struct Operation {
    pub(crate) method: Ident,
    /// The name of the method with `-` instead of `_`.
    pub(crate) name: String,
    description: String,
    kind: Kind,
    arguments: Vec<Argument>,
    result: TokenStream,
    /// The definition in a standard interface.
    interface: Option<(&'static Interface, &'static InterfaceOperation)>,
}

/// Parsed `#[operation(…)]` attribute.
#[derive(Default)]
struct Kind {
    effect: Option<Ident>,
    /// Requests that are safe despite their method: string literals or constants.
    safe: Vec<Expr>,
    /// The word `repeatable`.
    repeatable: Option<Ident>,
}

impl Parse for Kind {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut kind = Self::default();
        while !input.is_empty() {
            let word: Ident = input.parse()?;
            match word.to_string().as_str() {
                "read" | "write" | "destructive" if kind.effect.is_none() => kind.effect = Some(word),
                "repeatable" => kind.repeatable = Some(word),
                "safe" => {
                    let inner;
                    parenthesized!(inner in input);
                    kind.safe.extend(Punctuated::<Expr, Token![,]>::parse_terminated(&inner)?);
                }
                _ => return Err(syn::Error::new(word.span(), WORDS)),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(kind)
    }
}

impl Kind {
    /// Removes the attribute from a method and parses it. `None` if the method has none.
    fn take(method: &mut ImplItemFn, mistakes: &mut Mistakes) -> Option<Self> {
        let at = method.attrs.iter().position(|attribute| attribute.path().is_ident("operation"))?;
        let attribute = method.attrs.remove(at);
        let kind = match &attribute.meta {
            syn::Meta::Path(_) => Ok(Self::default()),
            _ => attribute.parse_args::<Self>(),
        };
        match kind {
            Ok(kind) if kind.effect.is_none() => {
                mistakes.add(&attribute, EFFECTS);
                Some(kind)
            }
            Ok(kind) => Some(kind),
            Err(error) => {
                mistakes.join(error);
                Some(Self::default())
            }
        }
    }

    /// Like `take`, for a method of an interface, which has the effect of the interface.
    fn take_with_effect(
        method: &mut ImplItemFn,
        expected: &InterfaceOperation,
        interface: &Interface,
        mistakes: &mut Mistakes,
    ) -> Self {
        let mut kind = Self::default();
        if let Some(at) = method.attrs.iter().position(|attribute| attribute.path().is_ident("operation")) {
            match method.attrs.remove(at).parse_args::<Self>() {
                Ok(parsed) => kind = parsed,
                Err(error) => mistakes.join(error),
            }
        }
        if let Some(effect) = kind.effect.as_ref().filter(|effect| *effect != expected.effect) {
            let (name, operation, effect_of) = (interface.name, expected.name, expected.effect);
            mistakes.add(
                effect,
                format!("the operation `{operation}` of the interface `{name}` has the effect `{effect_of}`; leave out the effect"),
            );
        }
        kind.effect = Some(Ident::new(expected.effect, method.sig.ident.span()));
        kind
    }

    /// Adds the mistakes in the words beside the effect.
    fn check(&self, mistakes: &mut Mistakes) {
        let Some(effect) = &self.effect else { return };
        for safe in self.safe.iter().filter(|_| effect != "read") {
            mistakes.add(safe, "only a `read` operation can declare safe requests");
        }
        for word in self.repeatable.iter().filter(|_| effect == "read") {
            mistakes.add(word, "a `read` operation is always repeatable: remove `repeatable`");
        }
    }
}

impl Operation {
    /// Parses a method with `#[operation(…)]`, and removes the attributes of its arguments. `None`
    /// for a method without the attribute.
    pub(crate) fn of(method: &mut ImplItemFn, mistakes: &mut Mistakes) -> Option<Self> {
        let kind = Kind::take(method, mistakes)?;
        kind.check(mistakes);
        let description = documentation(&method.attrs);
        if description.is_empty() {
            mistakes.add(&method.sig.ident, "an operation requires a description: add a doc comment to the method");
        }
        Some(Self::read(method, kind, description, mistakes))
    }

    /// Parses a method of a standard interface.
    pub(crate) fn of_interface(
        method: &mut ImplItemFn,
        interface: &'static Interface,
        expected: &'static InterfaceOperation,
        mistakes: &mut Mistakes,
    ) -> Self {
        let kind = Kind::take_with_effect(method, expected, interface, mistakes);
        kind.check(mistakes);
        let mut description = documentation(&method.attrs);
        if description.is_empty() {
            expected.description.clone_into(&mut description);
        }
        let operation =
            Self { interface: Some((interface, expected)), ..Self::read(method, kind, description, mistakes) };
        operation.check_streams(expected, mistakes);
        for argument in &operation.arguments {
            let is_extra = argument.parameter().is_some_and(|name| !expected.arguments.contains(&name.as_str()));
            if is_extra && argument.is_required() {
                mistakes.add(
                    &argument.name,
                    format!("the interface `{}` has no such argument, so it must be optional: use an `Option`, or add `#[serde(default)]`", interface.name),
                );
            }
        }
        operation
    }

    fn check_streams(&self, expected: &InterfaceOperation, mistakes: &mut Mistakes) {
        match self.arguments.iter().find(|argument| argument.is_input()) {
            None if expected.input => {
                mistakes.add(&self.method, "the operation reads a stream of bytes: add an argument `input: Body`");
            }
            Some(input) if !expected.input => {
                mistakes.add(&input.ty, "the operation of the interface reads no stream of bytes: remove the argument");
            }
            _ => {}
        }
    }

    fn read(method: &mut ImplItemFn, kind: Kind, description: String, mistakes: &mut Mistakes) -> Self {
        let signature = &mut method.sig;
        if !matches!(signature.inputs.first(), Some(FnArg::Receiver(receiver)) if receiver.mutability.is_none()) {
            mistakes.add(&signature.ident, "an operation must take `&self`");
        }
        let mut arguments = Vec::new();
        for input in &mut signature.inputs {
            let FnArg::Typed(typed) = input else { continue };
            arguments.extend(Argument::of(typed, mistakes));
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
            interface: None,
        }
    }

    fn arguments_struct(&self) -> Ident {
        format_ident!("Arguments_{}", self.method)
    }

    fn values_struct(&self) -> Ident {
        format_ident!("Values_{}", self.method)
    }

    fn flattened(&self) -> impl Iterator<Item = &Type> {
        self.arguments.iter().filter(|argument| argument.is_flattened()).map(|argument| &argument.ty)
    }

    fn is_flattened(&self) -> bool {
        self.flattened().next().is_some()
    }

    /// Returns the structs of the arguments, and the checks at compile time.
    pub(crate) fn items(&self) -> TokenStream {
        let name = self.arguments_struct();
        let fields = self.arguments.iter().filter_map(Argument::field);
        let checks = self.checks();
        if !self.is_flattened() {
            return quote! {
                #[allow(non_camel_case_types, reason = "named after the method")]
                #[derive(::blockyard_sdk::serde::Deserialize, ::blockyard_sdk::schemars::JsonSchema)]
                #[serde(crate = "::blockyard_sdk::serde", deny_unknown_fields)]
                #[schemars(crate = "::blockyard_sdk::schemars", title = "Arguments")]
                struct #name { #(#fields),* }
                #checks
            };
        }
        let (values_name, values) = (self.values_struct(), self.arguments.iter().filter_map(Argument::value));
        quote! {
            #[allow(non_camel_case_types, dead_code, reason = "only the schema is used")]
            #[derive(::blockyard_sdk::schemars::JsonSchema)]
            #[schemars(crate = "::blockyard_sdk::schemars", title = "Arguments", deny_unknown_fields)]
            struct #name { #(#fields),* }

            #[allow(non_camel_case_types, reason = "named after the method")]
            #[derive(::blockyard_sdk::serde::Deserialize)]
            #[serde(crate = "::blockyard_sdk::serde")]
            struct #values_name { #(#values),* }
            #checks
        }
    }

    /// Returns the checks that need the types: names of parameters, and the stream of the result.
    fn checks(&self) -> TokenStream {
        let Self { name, method, result, .. } = self;
        let own: Vec<String> = self.arguments.iter().filter_map(Argument::parameter).collect();
        let span = method.span();
        let lists = self.flattened().map(|ty| quote_spanned! { ty.span()=> <#ty as ::blockyard_sdk::Fields>::NAMES });
        let lists = quote! { &[&[#(#own),*], #(#lists),*] };
        let unique = self.is_flattened().then(|| {
            quote_spanned! {span=>
                const _: () = ::blockyard_sdk::names::require_unique(
                    ::core::concat!("operation `", #name, "` has two arguments with the name"),
                    #lists,
                );
            }
        });
        let of_interface = self.interface.map(|(interface, expected)| {
            let required = expected.arguments;
            let lacks = format!("the operation `{name}` of the interface `{}` requires the argument", interface.name);
            let output = expected.output;
            let stream = match output {
                true => "the operation of the interface returns a stream of bytes: return a `Streamed` or `InParts`",
                false => "the operation of the interface returns no stream of bytes",
            };
            let of_result = result.span();
            let check = quote_spanned! {of_result=>
                const _: () = ::core::assert!(::blockyard_sdk::is_streamed::<#result>() == #output, #stream);
            };
            quote_spanned! {span=>
                const _: () = ::blockyard_sdk::names::require_all(#lacks, &[#(#required),*], #lists);
                #check
            }
        });
        quote! { #unique #of_interface }
    }

    /// Returns the expression that describes the operation.
    pub(crate) fn description(&self) -> TokenStream {
        let Self { name, description, kind: Kind { effect, safe, repeatable }, result, .. } = self;
        let arguments = self.arguments_struct();
        let effect = effect.as_ref().map(ToString::to_string).unwrap_or_default();
        let input = self.arguments.iter().any(Argument::is_input);
        let safe = (!safe.is_empty()).then(|| quote! { .safe(&[#(#safe),*]) });
        let repeatable = repeatable.as_ref().map(|_| quote! { .repeatable() });
        quote! {
            ::blockyard_sdk::OperationDescription::new::<#arguments, #result>(#name, #description, #effect, #input)
                #safe #repeatable
        }
    }

    /// Returns the arm that invokes the operation.
    pub(crate) fn arm(&self) -> TokenStream {
        let Self { name, method, .. } = self;
        let (block, call, parameters) = (local("block"), local("call"), local("parameters"));
        let arguments = self.arguments_struct();
        let names: Vec<&Ident> = self
            .arguments
            .iter()
            .filter(|argument| matches!(argument.kind, ArgumentKind::Parameter { .. }))
            .map(|argument| &argument.name)
            .collect();
        let taken = if self.is_flattened() {
            let values = self.values_struct();
            let flattened = self.arguments.iter().filter(|argument| argument.is_flattened()).map(|argument| {
                let Argument { name, ty, .. } = argument;
                quote! { let #name: #ty = #parameters.take()?; }
            });
            quote! {
                let mut #parameters = #call.parameters()?;
                let #values { #(#names),* } = #parameters.take()?;
                #(#flattened)*
                #parameters.finish()?;
            }
        } else {
            quote! { let #arguments { #(#names),* } = #call.arguments()?; }
        };
        let values = self.arguments.iter().map(|argument| {
            let name = &argument.name;
            if !argument.is_input() {
                quote! { #name }
            } else if mentions(&argument.ty, "Option") {
                quote! { #call.input() }
            } else {
                quote! { #call.need_input()? }
            }
        });
        quote! {
            #name => {
                #taken
                ::blockyard_sdk::OperationResult::into_reply(#block.#method(#(#values),*)?).map(::core::option::Option::Some)
            }
        }
    }
}

/// Returns the name of a local variable that differs from those of all arguments.
pub(crate) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
