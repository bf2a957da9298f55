//! Implementation of `#[operations]`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Ident, ImplItem, ImplItemFn, ItemImpl, Path, Token, Type, parenthesized};

use crate::interface::{self, INTERFACES, Interface};
use crate::mistakes::Mistakes;
use crate::operation::{Operation, local};

/// Parsed arguments of `#[operations(…)]`.
enum Role {
    /// The main block of a type, with the modules of the other blocks.
    Main { parts: Vec<Path> },
    /// Another block of a type; the main block names its module.
    Part(Span),
}

impl Parse for Role {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let expected = "expected `#[operations]`, `#[operations(parts(MODULE, …))]` with the modules of further blocks, or `#[operations(part)]` for such a block";
        if input.is_empty() {
            return Ok(Self::Main { parts: Vec::new() });
        }
        let word: Ident = input.parse().map_err(|error| syn::Error::new(error.span(), expected))?;
        let role = if word == "part" {
            Self::Part(word.span())
        } else if word == "parts" {
            let inner;
            parenthesized!(inner in input);
            let parts = Punctuated::<Path, Token![,]>::parse_terminated_with(&inner, Path::parse_mod_style)?;
            Self::Main { parts: parts.into_iter().collect() }
        } else {
            return Err(syn::Error::new(word.span(), expected));
        };
        if input.is_empty() { Ok(role) } else { Err(input.error(expected)) }
    }
}

/// Methods that the host calls besides operations.
#[derive(Default)]
struct Hooks {
    check: Option<Ident>,
    validate: Option<Ident>,
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let mut block: ItemImpl = syn::parse2(item)?;
    let mut mistakes = Mistakes::default();
    let role = syn::parse2::<Role>(arguments.clone()).unwrap_or_else(|error| {
        mistakes.join(error);
        Role::Main { parts: Vec::new() }
    });
    if !block.generics.params.is_empty() {
        mistakes.add(&block.generics, "a block type has no type parameters");
    }
    let Some(type_name) = last_name(&block.self_ty) else {
        mistakes.add(&block.self_ty, "operations belong to a block type: use `impl Name`");
        mistakes.finish()?;
        return Ok(TokenStream::new());
    };
    match block.trait_.take() {
        Some((_, path, _)) => {
            if !arguments.is_empty() {
                mistakes.add(arguments, "the operations of an interface need no arguments: use `#[operations]`");
            }
            expand_interface(block, &path, mistakes)
        }
        None => match role {
            Role::Main { parts } => expand_main(block, &type_name, &parts, mistakes),
            Role::Part(span) => expand_part(block, &type_name, span, mistakes),
        },
    }
}

fn expand_main(
    mut block: ItemImpl,
    type_name: &Ident,
    parts: &[Path],
    mut mistakes: Mistakes,
) -> syn::Result<TokenStream> {
    let mut operations = Vec::new();
    let mut hooks = Hooks::default();
    for method in methods(&mut block) {
        operations.extend(Operation::of(method, &mut mistakes));
        hooks.take(method, &mut mistakes);
    }
    mistakes.finish()?;
    let self_type = &block.self_ty;
    let own = quote! { OwnOperations };
    let implementation = operations_block(self_type, &own, &operations);
    let parts: Vec<TokenStream> = parts
        .iter()
        .map(|module| {
            let name = Ident::new(&part_name(type_name), module.span());
            quote_spanned! {module.span()=> #module::#name }
        })
        .collect();
    let operations_of = |group: &TokenStream| quote! { <#group as ::blockyard_sdk::OperationsBlock<#self_type>> };
    let groups: Vec<TokenStream> = std::iter::once(&own).chain(&parts).map(operations_of).collect();
    let hooks = hooks.methods();
    Ok(quote! {
        #[allow(clippy::too_many_arguments, reason = "an operation has as many arguments as its author declares")]
        #block

        const _: () = {
            enum #own {}
            #implementation
            #(impl ::blockyard_sdk::Includes<#parts> for #self_type {})*
            impl ::blockyard_sdk::Operations for #self_type {
                fn operations() -> ::std::vec::Vec<::blockyard_sdk::OperationDescription> {
                    let mut all = <Self as ::blockyard_sdk::Block>::interface_operations();
                    #(all.extend(#groups::describe());)*
                    all
                }

                fn invoke(
                    &self,
                    operation: &str,
                    arguments: ::blockyard_sdk::serde_json::Value,
                    input: ::core::option::Option<::blockyard_sdk::Body>,
                ) -> ::blockyard_sdk::Result<::blockyard_sdk::Reply> {
                    let mut call = ::blockyard_sdk::Call::new(operation, arguments, input);
                    if let ::core::option::Option::Some(reply) =
                        ::blockyard_sdk::Block::invoke_interface(self, &mut call)?
                    {
                        return ::core::result::Result::Ok(reply);
                    }
                    #(
                        if let ::core::option::Option::Some(reply) = #groups::invoke(self, &mut call)? {
                            return ::core::result::Result::Ok(reply);
                        }
                    )*
                    ::core::result::Result::Err(::blockyard_sdk::Problem::unknown_operation(operation))
                }

                #hooks
            }
        };
    })
}

fn expand_part(mut block: ItemImpl, type_name: &Ident, span: Span, mut mistakes: Mistakes) -> syn::Result<TokenStream> {
    let mut operations = Vec::new();
    for method in methods(&mut block) {
        operations.extend(Operation::of(method, &mut mistakes));
        for hook in ["check", "validate"] {
            if let Some(attribute) = method.attrs.iter().find(|attribute| attribute.path().is_ident(hook)) {
                mistakes.add(attribute, format!("`#[{hook}]` belongs to the main block of the type: move the method to the block with `#[operations(parts(…))]`"));
            }
        }
    }
    mistakes.finish()?;
    let self_type = &block.self_ty;
    let part = format_ident!("{}", part_name(type_name));
    let implementation = operations_block(self_type, &quote! { #part }, &operations);
    let included = quote_spanned! {span=>
        const _: fn() = ::blockyard_sdk::require_included::<#self_type, #part>;
    };
    Ok(quote! {
        #[allow(clippy::too_many_arguments, reason = "an operation has as many arguments as its author declares")]
        #block

        /// The operations of this module, for the main block of the type.
        #[doc(hidden)]
        pub(crate) enum #part {}

        const _: () = {
            #implementation
            #included
        };
    })
}

fn expand_interface(mut block: ItemImpl, path: &Path, mut mistakes: Mistakes) -> syn::Result<TokenStream> {
    let trait_name = path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    let Some(interface) = interface::of_trait(&trait_name) else {
        let known: Vec<&str> = INTERFACES.iter().map(|interface| interface.trait_name).collect();
        mistakes
            .add(path, format!("`{trait_name}` is not a standard interface; expected one of `{}`", known.join("`, `")));
        mistakes.finish()?;
        return Ok(TokenStream::new());
    };
    let operations = interface_operations(&mut block, path, interface, &mut mistakes);
    mistakes.finish()?;
    let self_type = &block.self_ty;
    let own = quote! { InterfaceOperations };
    let implementation = operations_block(self_type, &own, &operations);
    let name = interface.name;
    let undeclared = format!(
        "the type implements the interface `{name}` without declaring it: add `interfaces({})` to `#[block(…)]`",
        quote!(#path).to_string().replace(' ', "")
    );
    let declared = quote_spanned! {path.span()=>
        const _: () = ::core::assert!(
            ::blockyard_sdk::names::contains(<#self_type as ::blockyard_sdk::Block>::INTERFACES, #name),
            #undeclared
        );
    };
    Ok(quote! {
        #[allow(clippy::too_many_arguments, reason = "an operation has as many arguments as its author declares")]
        #block

        const _: () = {
            #[allow(unreachable_pub, reason = "the associated type of a public trait is public")]
            #[allow(missing_docs, reason = "generated")]
            pub enum #own {}
            #implementation
            #declared

            impl #path for #self_type {
                type Operations = #own;
            }
        };
    })
}

/// Parses the methods of an interface, and removes their attributes.
fn interface_operations(
    block: &mut ItemImpl,
    path: &Path,
    interface: &'static Interface,
    mistakes: &mut Mistakes,
) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else {
            mistakes
                .add(item, "the block of an interface contains only its operations: move the item to another block");
            continue;
        };
        let name = method.sig.ident.to_string().replace('_', "-");
        match interface.operations.iter().find(|operation| operation.name == name) {
            Some(expected) => operations.push(Operation::of_interface(method, interface, expected, mistakes)),
            None => mistakes.add(
                &method.sig.ident,
                format!(
                    "the interface `{}` has no operation `{name}`: move the method to another block",
                    interface.name
                ),
            ),
        }
    }
    for expected in interface.operations {
        if !operations.iter().any(|operation| operation.name == expected.name) {
            let (name, operation, method) = (interface.name, expected.name, expected.name.replace('-', "_"));
            let arguments = match expected.arguments {
                [] => String::new(),
                arguments => format!(" with the arguments `{}`", arguments.join("`, `")),
            };
            mistakes.add(
                path,
                format!(
                    "the interface `{name}` requires the operation `{operation}`: add a method `{method}`{arguments}"
                ),
            );
        }
    }
    operations
}

/// Returns the implementation of `OperationsBlock`, which describes and invokes operations.
fn operations_block(self_type: &Type, name: &TokenStream, operations: &[Operation]) -> TokenStream {
    let items = operations.iter().map(Operation::items);
    let descriptions = operations.iter().map(Operation::description);
    let arms = operations.iter().map(Operation::arm);
    let (block, call) = (local("block"), local("call"));
    quote! {
        #(#items)*

        impl ::blockyard_sdk::OperationsBlock<#self_type> for #name {
            fn describe() -> ::std::vec::Vec<::blockyard_sdk::OperationDescription> {
                ::std::vec![#(#descriptions),*]
            }

            #[allow(unused_variables, reason = "a block can have no operations")]
            fn invoke(
                #block: &#self_type,
                #call: &mut ::blockyard_sdk::Call<'_>,
            ) -> ::blockyard_sdk::Result<::core::option::Option<::blockyard_sdk::Reply>> {
                match #call.operation() {
                    #(#arms)*
                    _ => ::core::result::Result::Ok(::core::option::Option::None),
                }
            }
        }
    }
}

impl Hooks {
    /// Removes `#[check]` and `#[validate]` from a method.
    fn take(&mut self, method: &mut ImplItemFn, mistakes: &mut Mistakes) {
        for (name, hook) in [("check", &mut self.check), ("validate", &mut self.validate)] {
            let Some(at) = method.attrs.iter().position(|attribute| attribute.path().is_ident(name)) else { continue };
            let attribute = method.attrs.remove(at);
            if hook.replace(method.sig.ident.clone()).is_some() {
                mistakes.add(attribute, format!("a block type has only one method with `#[{name}]`"));
            }
        }
    }

    fn methods(&self) -> TokenStream {
        let check = self.check.as_ref().map(|method| {
            quote! { fn check(&self) -> ::std::vec::Vec<::blockyard_sdk::Step> { self.#method() } }
        });
        let validate = self.validate.as_ref().map(|method| {
            quote! { fn validate(&self) -> ::std::vec::Vec<::blockyard_sdk::Violation> { self.#method() } }
        });
        quote! { #check #validate }
    }
}

fn methods(block: &mut ItemImpl) -> impl Iterator<Item = &mut ImplItemFn> {
    block.items.iter_mut().filter_map(|item| match item {
        ImplItem::Fn(method) => Some(method),
        _ => None,
    })
}

fn last_name(ty: &Type) -> Option<Ident> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().map(|segment| segment.ident.clone())
}

/// Returns the name of the item that stands for the operations of a module.
fn part_name(type_name: &Ident) -> String {
    format!("{type_name}Operations")
}
