//! Implementation of `#[derive(Block)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Field, Fields, LitInt, LitStr, Path};

use crate::field::{self, Position};
use crate::interface;
use crate::mistakes::Mistakes;
use crate::source::documentation;

/// Parsed `#[block(…)]` attribute of a struct.
#[derive(Default)]
struct TypeAttribute {
    slug: Option<LitStr>,
    version: Option<LitInt>,
    title: Option<LitStr>,
    /// The traits of the standard interfaces.
    interfaces: Vec<Path>,
    /// The struct of the previous version.
    previous: Option<Path>,
    /// The fields that identify a database, for each `sql(…)`: members of `x-sql` with JSON
    /// Pointers.
    sql: Vec<Vec<(String, LitStr)>>,
}

/// Members of `sql(…)`.
const SQL_MEMBERS: [&str; 8] = ["dialect", "host", "port", "database", "username", "tls", "ca", "application_name"];

pub(crate) fn derive(input: TokenStream) -> syn::Result<TokenStream> {
    let input: DeriveInput = syn::parse2(input)?;
    let mut mistakes = Mistakes::default();
    let name = &input.ident;
    let attribute = TypeAttribute::parse(&input.attrs, &mut mistakes);
    if attribute.slug.is_none() {
        mistakes.add(name, "a block type requires a slug: add `#[block(type = \"…\", version = 1)]`");
    }
    if attribute.version.is_none() {
        mistakes.add(name, "a block type requires a version, counted from 1: add `version = 1` to `#[block(…)]`");
    }
    let description = documentation(&input.attrs);
    if description.is_empty() {
        mistakes.add(name, "a block type requires a description: add a doc comment to the struct");
    }
    let mut mirrored = Vec::new();
    let mut names = Vec::new();
    for (order, field) in named_fields(&input, &mut mistakes).enumerate() {
        mirrored.push(configuration_field(field, order, &attribute, &mut mistakes));
        names.extend(&field.ident);
    }
    mistakes.finish()?;

    let outer_description = field::description(&input.attrs);
    let outer =
        input.attrs.iter().filter(|attribute| attribute.path().is_ident("serde") || attribute.path().is_ident("doc"));
    let mirror = format_ident!("{name}Configuration");
    let sql = attribute.sql_keyword();
    let serialize = attribute.previous.as_ref().map(|_| quote! { ::blockyard_sdk::serde::Serialize, });
    let migrate = attribute.previous.as_ref().map(|previous| migration(previous, &mirror, &names));
    let TypeAttribute { slug, version, title, interfaces, .. } = attribute;
    let implemented = implemented(&interfaces);
    let title = title.map_or_else(|| quote! { #slug }, |title| quote! { #title });
    Ok(quote! {
        const _: () = {
            #(#outer)*
            #[derive(#serialize ::blockyard_sdk::serde::Deserialize, ::blockyard_sdk::schemars::JsonSchema)]
            #[serde(crate = "::blockyard_sdk::serde", deny_unknown_fields)]
            #[schemars(crate = "::blockyard_sdk::schemars")]
            #sql
            #outer_description
            struct #mirror { #(#mirrored),* }

            impl ::blockyard_sdk::Block for #name {
                const TYPE: &'static str = #slug;
                const VERSION: u32 = #version;
                const TITLE: &'static str = #title;
                const DESCRIPTION: &'static str = #description;
                const INTERFACES: &'static [&'static str] = &[#(<Self as #interfaces>::NAME),*];
                #implemented

                fn schema() -> ::blockyard_sdk::serde_json::Value {
                    ::blockyard_sdk::schemars::schema_for!(#mirror).into()
                }

                fn from_config(config: ::blockyard_sdk::serde_json::Value) -> ::core::result::Result<Self, ::blockyard_sdk::serde_json::Error> {
                    let #mirror { #(#names),* } = ::blockyard_sdk::serde_json::from_value(config)?;
                    ::core::result::Result::Ok(Self { #(#names),* })
                }

                #migrate
            }
        };
    })
}

/// Returns the fields of the struct. They have names, unless there is a mistake.
fn named_fields<'a>(input: &'a DeriveInput, mistakes: &mut Mistakes) -> impl Iterator<Item = &'a Field> + use<'a> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Some(&fields.named),
            Fields::Unit => None,
            Fields::Unnamed(_) => {
                mistakes.add(&input.ident, "a block type must be a struct with named fields");
                None
            }
        },
        _ => {
            mistakes.add(&input.ident, "a block type must be a struct");
            None
        }
    };
    fields.into_iter().flatten()
}

/// Returns the field of the struct from which a configuration is deserialized.
fn configuration_field(field: &Field, order: usize, attribute: &TypeAttribute, mistakes: &mut Mistakes) -> TokenStream {
    let Field { ident, ty, .. } = field;
    let attributes = field.attrs.iter().filter(|attribute| !attribute.path().is_ident("block"));
    let schema = field::schema_attributes(&field.attrs, ty, Position::Configuration, mistakes);
    let skipped = attribute.previous.as_ref().map(|_| skip_absent(field));
    quote! {
        #(#attributes)*
        #schema
        #skipped
        #[schemars(extend("x-order" = #order))]
        #ident: #ty
    }
}

/// Returns the members of `Block` that lead to the operations of the interfaces.
fn implemented(interfaces: &[Path]) -> TokenStream {
    if interfaces.is_empty() {
        return TokenStream::new();
    }
    let blocks: Vec<TokenStream> = interfaces
        .iter()
        .map(|interface| {
            quote! { <<Self as #interface>::Operations as ::blockyard_sdk::OperationsBlock<Self>> }
        })
        .collect();
    quote! {
        fn interface_operations() -> ::std::vec::Vec<::blockyard_sdk::OperationDescription> {
            let mut all = ::std::vec::Vec::new();
            #(all.extend(#blocks::describe());)*
            all
        }

        fn invoke_interface(
            &self,
            call: &mut ::blockyard_sdk::Call<'_>,
        ) -> ::blockyard_sdk::Result<::core::option::Option<::blockyard_sdk::Reply>> {
            #(
                if let ::core::option::Option::Some(reply) = #blocks::invoke(self, call)? {
                    return ::core::result::Result::Ok(::core::option::Option::Some(reply));
                }
            )*
            ::core::result::Result::Ok(::core::option::Option::None)
        }
    }
}

/// Parses one of `interfaces(…)`: the trait of a standard interface.
fn interface_trait(input: syn::parse::ParseStream<'_>) -> syn::Result<Path> {
    if let Some(name) = input.parse::<Option<LitStr>>()? {
        let trait_name = interface::named(&name.value()).map_or("Notification", |known| known.trait_name);
        let message = format!(
            "expected the trait of a standard interface, such as `interfaces(interface::{trait_name})`, which `#[operations] impl interface::{trait_name} for …` implements"
        );
        return Err(syn::Error::new(name.span(), message));
    }
    Path::parse_mod_style(input)
}

/// Returns the methods of `Block` that convert configurations of older versions.
fn migration(previous: &Path, mirror: &Ident, names: &[&Ident]) -> TokenStream {
    quote! {
        fn migrate(
            from_version: u32,
            config: ::blockyard_sdk::serde_json::Value,
        ) -> ::blockyard_sdk::Result<Self> {
            const { ::blockyard_sdk::migration::check_previous::<#previous, Self>() };
            ::blockyard_sdk::migration::migrate_from::<#previous, Self>(from_version, config)
        }

        fn into_config(self) -> ::blockyard_sdk::Result<::blockyard_sdk::serde_json::Value> {
            let Self { #(#names),* } = self;
            ::blockyard_sdk::migration::to_config(&#mirror { #(#names),* })
        }
    }
}

/// Returns the attribute that leaves out an absent value, unless the author specified when to leave
/// out the field. An `Option` that is not set would otherwise become `null`.
fn skip_absent(field: &Field) -> TokenStream {
    let decided = field.attrs.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("serde") && list.tokens.to_string().contains("skip_serializing_if"),
        _ => false,
    });
    let syn::Type::Path(ty) = &field.ty else { return TokenStream::new() };
    let Some(last) = ty.path.segments.last().filter(|_| !decided) else { return TokenStream::new() };
    if last.ident == "Option" {
        quote! { #[serde(skip_serializing_if = "::core::option::Option::is_none")] }
    } else if last.ident == "Supplied" {
        quote! { #[serde(skip_serializing_if = "::blockyard_sdk::Supplied::is_missing")] }
    } else {
        TokenStream::new()
    }
}

impl TypeAttribute {
    fn parse(attributes: &[Attribute], mistakes: &mut Mistakes) -> Self {
        let mut parsed = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("block")) {
            let result = attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("type") {
                    parsed.slug = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("version") {
                    parsed.version = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("title") {
                    parsed.title = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("previous") {
                    parsed.previous = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("interfaces") {
                    let list;
                    syn::parenthesized!(list in meta.input);
                    parsed.interfaces.extend(list.parse_terminated(interface_trait, syn::Token![,])?);
                } else if meta.path.is_ident("sql") {
                    let mut members = Vec::new();
                    meta.parse_nested_meta(|member| {
                        members.push(sql_member(&member)?);
                        Ok(())
                    })?;
                    if !members.iter().any(|(name, _)| name == "database") {
                        return Err(meta.error("`sql(…)` requires the field of the database: add `database = \"/FIELD\"`"));
                    }
                    parsed.sql.push(members);
                } else {
                    return Err(meta.error(
                        "expected `type = \"…\"`, `version = 1`, `title = \"…\"`, `previous = Struct`, `interfaces(interface::Database)` or `sql(database = \"/FIELD\", …)`",
                    ));
                }
                Ok(())
            });
            if let Err(error) = result {
                mistakes.join(error);
            }
        }
        if let Some(slug) = &parsed.slug
            && !is_name(&slug.value())
        {
            mistakes.add(
                slug,
                "a slug must have 1 to 63 characters of `a-z`, `0-9` and `-`, and begin and end with a letter or digit",
            );
        }
        parsed
    }

    /// Returns the schema keyword `x-sql`: an object, or a list for several databases.
    fn sql_keyword(&self) -> TokenStream {
        let mut objects = self.sql.iter().map(|members| {
            let members = members.iter().map(|(name, pointer)| quote! { #name: #pointer });
            quote! { { #(#members),* } }
        });
        match (objects.next(), objects.next()) {
            (None, _) => TokenStream::new(),
            (Some(one), None) => quote! { #[schemars(extend("x-sql" = #one))] },
            (Some(one), Some(two)) => quote! { #[schemars(extend("x-sql" = [#one, #two #(, #objects)*]))] },
        }
    }
}

/// Parses a member of `sql(…)`: a name and the JSON Pointer of a field.
fn sql_member(meta: &syn::meta::ParseNestedMeta<'_>) -> syn::Result<(String, LitStr)> {
    let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
    if !SQL_MEMBERS.contains(&name.as_str()) {
        return Err(meta.error(format!("unknown member of `sql(…)`; expected one of `{}`", SQL_MEMBERS.join("`, `"))));
    }
    let pointer: LitStr = meta.value()?.parse()?;
    if !pointer.value().starts_with('/') {
        return Err(syn::Error::new(pointer.span(), "expected a JSON Pointer to a field, such as `/host`"));
    }
    Ok((name, pointer))
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}
