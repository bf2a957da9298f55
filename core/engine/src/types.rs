//! Lists and finds block types.

use std::sync::Arc;

use blockyard_host::Bundle;
use blockyard_model::schema::secret_fields;
use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{Address, Manifest, Pointer, Schema, TypeSlug, interface};
use serde::Serialize;
use serde_json::Value;

use crate::{Code, Error, ErrorKind, Yard};

/// A block type, for display and for programs.
#[derive(Debug, Clone, Serialize)]
pub struct TypeView {
    /// Slug of the type, for example `sql-database`.
    pub slug: String,
    /// Version of the type.
    pub version: u64,
    /// Display name.
    pub title: String,
    /// Description.
    pub description: String,
    /// Name of the bundle that defines the type.
    pub bundle: String,
    /// Version of the bundle.
    pub bundle_version: String,
    /// Standard interfaces that the type implements.
    pub interfaces: Vec<String>,
    /// Operations, each with name, description, effect, and schemas of arguments and result.
    pub operations: Value,
    /// JSON Schema of the configuration.
    pub schema: Value,
    /// Secret top-level fields of the configuration.
    pub secrets: Vec<String>,
    /// `true` if the version of the bundle is uninstalled. Omitted otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uninstalled: bool,
}

impl Yard {
    /// Lists the block types of the newest version of each installed bundle, sorted by slug. With
    /// `interface_name`, lists the types that implement that interface.
    ///
    /// # Errors
    /// Returns an error if the interface does not exist.
    pub async fn types(&self, interface_name: Option<&str>) -> Result<Vec<TypeView>, Error> {
        if let Some(name) = interface_name
            && !interface::all().iter().any(|known| known.name == name)
        {
            let known = interface::all().iter().map(|known| known.name.as_str());
            return Err(Error::new(ErrorKind::NotFound, format!("interface `{name}` not found"))
                .maybe_hint(did_you_mean(name, known)));
        }
        let mut views = Vec::new();
        for (_, bundle, manifest) in self.newest_bundles().await? {
            for described in manifest["types"].as_array().into_iter().flatten() {
                let view = TypeView::of(&bundle, &manifest, described);
                if interface_name.is_none_or(|name| view.interfaces.iter().any(|own| own == name)) {
                    views.push(view);
                }
            }
        }
        views.sort_by(|a, b| a.slug.cmp(&b.slug));
        Ok(views)
    }

    /// Lists all block types that blocks of the yard can have: those of [`types`](Self::types), and
    /// those that only older or uninstalled versions define, each as in the newest of these.
    pub(crate) async fn stored_types(&self) -> Result<Vec<TypeView>, Error> {
        let mut views = self.types(None).await?;
        for (record, manifest) in self.stored_versions().await?.into_iter().rev() {
            for described in manifest["types"].as_array().into_iter().flatten() {
                if views.iter().all(|view| described["slug"] != view.slug.as_str()) {
                    let view = TypeView::of(&record.name, &manifest, described);
                    views.push(TypeView { uninstalled: record.uninstalled_at.is_some(), ..view });
                }
            }
        }
        Ok(views)
    }

    /// Returns the block type with the given slug. Its version is uninstalled if the yard has the
    /// type for stored blocks only.
    ///
    /// # Errors
    /// Returns an error if no bundle in the yard defines it.
    pub async fn block_type(&self, slug: &TypeSlug) -> Result<TypeView, Error> {
        let is_named = |view: &TypeView| view.slug == slug.as_str();
        let types = self.types(None).await?;
        let any_installed = !types.is_empty();
        if let Some(view) = types.into_iter().find(is_named) {
            return Ok(view);
        }
        let stored = self.stored_types().await?;
        let error = unknown_type(slug, stored.iter().map(|view| view.slug.as_str()), any_installed);
        stored.into_iter().find(is_named).ok_or(error)
    }

    /// Returns the schema for new blocks of a type: the schema in the newest version of its bundle.
    ///
    /// # Errors
    /// Returns an error if no installed bundle defines the type.
    pub async fn schema_of_type(&self, slug: &TypeSlug) -> Result<TypeSchema, Error> {
        for manifest in self.newest_manifests().await? {
            if let Some(schema) = TypeSchema::of(manifest, slug) {
                return Ok(schema);
            }
        }
        Err(unavailable(&self.block_type(slug).await?))
    }

    /// Returns the schema of an existing block: the schema in the bundle version of its newest
    /// revision.
    ///
    /// # Errors
    /// Returns an error if the block does not exist or is deleted.
    pub async fn schema_of_block(&self, address: &Address) -> Result<TypeSchema, Error> {
        let record = self.live_record(address, None).await?;
        let manifest = self.manifest(&record.bundle).await?;
        let undefined =
            || Error::new(ErrorKind::Internal, format!("the bundle of `{address}` does not define its type"));
        TypeSchema::of(manifest, &address.type_slug).ok_or_else(undefined)
    }

    /// Returns the manifests of the newest version of each installed bundle.
    pub(crate) async fn newest_manifests(&self) -> Result<Vec<Arc<Manifest>>, Error> {
        let mut manifests = Vec::new();
        for digest in self.newest_digests().await? {
            manifests.push(self.manifest(&digest).await?);
        }
        Ok(manifests)
    }

    /// Returns the newest version of the installed bundle that defines a type.
    pub(crate) async fn bundle_of_type(&self, slug: &TypeSlug) -> Result<Bundle, Error> {
        for digest in self.newest_digests().await? {
            let manifest = self.manifest(&digest).await?;
            if manifest.block_type(slug).is_some() {
                return self.bundle(&digest).await;
            }
        }
        Err(unavailable(&self.block_type(slug).await?))
    }
}

/// Schema of a block type in one version of its bundle.
#[derive(Debug, Clone)]
pub struct TypeSchema {
    manifest: Arc<Manifest>,
    index: usize,
}

impl TypeSchema {
    fn of(manifest: Arc<Manifest>, slug: &TypeSlug) -> Option<Self> {
        let index = manifest.types.iter().position(|block_type| block_type.slug == *slug)?;
        Some(Self { manifest, index })
    }
}

impl std::ops::Deref for TypeSchema {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        &self.manifest.types[self.index].schema
    }
}

impl TypeView {
    /// Describes a type of a validated manifest.
    pub(crate) fn of(bundle: &str, manifest: &Value, described: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            slug: text(&described["slug"]),
            version: described["version"].as_u64().unwrap_or_default(),
            title: text(&described["title"]),
            description: text(&described["description"]),
            bundle: bundle.to_owned(),
            bundle_version: text(&manifest["version"]),
            interfaces: described["interfaces"].as_array().into_iter().flatten().map(text).collect(),
            operations: described["operations"].clone(),
            schema: described["schema"].clone(),
            secrets: secret_fields(&described["schema"]).iter().map(Pointer::dotted).collect(),
            uninstalled: false,
        }
    }
}

/// Returns the error for a new block of a type that no newest installed version defines.
fn unavailable(view: &TypeView) -> Error {
    let TypeView { slug, bundle, bundle_version: version, .. } = view;
    if view.uninstalled {
        let message =
            format!("block type `{slug}` is defined by version {version} of bundle `{bundle}`, which is uninstalled");
        let code = Code::BundleUninstalled { bundle: bundle.clone(), version: version.clone() };
        return Error::new(ErrorKind::NotFound, message).code(code);
    }
    let message = format!("the newest installed version of bundle `{bundle}` has no block type `{slug}`");
    Error::new(ErrorKind::NotFound, message)
        .because(format!("only the blocks that exist use version {version}, which defines it"))
        .code(Code::UnknownType { slug: slug.clone(), any_installed: true })
}

fn unknown_type<'a>(slug: &TypeSlug, known: impl IntoIterator<Item = &'a str>, any_installed: bool) -> Error {
    let hint = did_you_mean(slug.as_str(), known);
    Error::new(ErrorKind::NotFound, format!("no installed bundle has a block type `{slug}`"))
        .maybe_hint(hint)
        .code(Code::UnknownType { slug: slug.to_string(), any_installed })
}
