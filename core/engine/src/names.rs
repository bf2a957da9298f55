//! Names in a yard, for shells that complete them. Reading them needs no key: addresses and the
//! manifests of bundles are not secret.

use blockyard_store::{BlockFilter, Store};

use crate::bundle::newest_bundles;
use crate::{Error, TypeView};

/// The names in a yard.
pub struct Names {
    store: Store,
}

impl Names {
    /// Opens the yard at a URL. Does not read its key, and does not migrate a yard of an older
    /// format.
    ///
    /// # Errors
    /// Returns an error if the URL is not valid, or if there is no yard.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Ok(Self { store: Store::open(url.parse()?).await? })
    }

    /// Returns the addresses of existing blocks that begin with a text, at most `limit` of them.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub async fn addresses(&self, start: &str, limit: u32) -> Result<Vec<String>, Error> {
        let word = (!start.is_empty()).then(|| start.to_owned());
        let blocks = self.store.blocks(&BlockFilter { word, limit: Some(limit), ..BlockFilter::default() }).await?;
        let addresses = blocks.into_iter().map(|block| block.address.to_string());
        Ok(addresses.filter(|address| address.starts_with(start)).collect())
    }

    /// Returns the block types of the newest version of each installed bundle.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub async fn types(&self) -> Result<Vec<TypeView>, Error> {
        let bundles = newest_bundles(&self.store).await?;
        let types = bundles.iter().flat_map(|(_, name, manifest)| {
            let described = manifest["types"].as_array().into_iter().flatten();
            described.map(move |described| TypeView::of(name, manifest, described))
        });
        Ok(types.collect())
    }

    /// Returns the names of the installed bundles.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub async fn bundles(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = self.store.bundles().await?.into_iter().map(|record| record.name).collect();
        names.dedup();
        Ok(names)
    }

    /// Closes the connections to the database.
    pub async fn close(self) {
        self.store.close().await;
    }
}
