//! Lists of blocks, with filters and paging.

use blockyard_model::{Address, Digest, Revision};

use crate::bundle::digest;
use crate::database::{Param, Row};
use crate::{Millis, Store, StoreError};

/// An entry in a list of blocks.
#[derive(Debug, Clone)]
pub struct BlockSummary {
    /// Address of the block.
    pub address: Address,
    /// Newest revision of the block.
    pub newest: Revision,
    /// Time when the newest revision was saved.
    pub saved_at: Millis,
    /// Time of deletion; `None` if the block is not deleted.
    pub deleted_at: Option<Millis>,
    /// Digest of the bundle that validated the newest revision. `None` if that revision is missing,
    /// and in the results of [`Store::known_blocks`].
    pub bundle: Option<Digest>,
}

/// Selection of blocks to list.
#[derive(Debug, Clone, Default)]
pub struct BlockFilter {
    /// Slugs of the block types; `None` for all types.
    pub types: Option<Vec<String>>,
    /// Substring of the address.
    pub word: Option<String>,
    /// Lists deleted blocks instead of existing ones.
    pub deleted: bool,
    /// Address after which the page begins, in address order.
    pub after: Option<Address>,
    /// Maximum number of blocks.
    pub limit: Option<u32>,
}

impl Store {
    /// Returns blocks in the order of their addresses.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn blocks(&self, filter: &BlockFilter) -> Result<Vec<BlockSummary>, StoreError> {
        let (condition, mut params) = condition(filter);
        params.push(filter.limit.map_or(i64::MAX, i64::from).into());
        let sql = format!(
            "SELECT b.type, b.name, b.newest, r.created_at, b.deleted_at, r.bundle
             FROM blocks b JOIN revisions r ON r.block = b.id AND r.revision = b.newest
             WHERE {condition} ORDER BY b.type, b.name LIMIT ${}",
            params.len()
        );
        let rows = self.database.fetch(sql, &params).await.map_err(|error| self.classify(error))?;
        rows.iter().map(|row| self.summary(row)).collect()
    }

    /// Returns the number of blocks on all pages.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn count_blocks(&self, filter: &BlockFilter) -> Result<u64, StoreError> {
        let all = BlockFilter { after: None, ..filter.clone() };
        let (condition, params) = condition(&all);
        let sql = format!("SELECT count(*) FROM blocks b WHERE {condition}");
        let row = self.database.first(sql, &params).await.map_err(|error| self.classify(error))?;
        Ok(row.map_or(0, |row| row.integer(0)).unsigned_abs())
    }

    /// Returns summaries of those of the given blocks that exist. `saved_at` is the time of
    /// creation, and `bundle` is `None`. One round trip.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn known_blocks(&self, addresses: &[&Address]) -> Result<Vec<BlockSummary>, StoreError> {
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let params: Vec<Param<'_>> = addresses
            .iter()
            .flat_map(|address| [address.type_slug.as_str().into(), address.name.as_str().into()])
            .collect();
        let placeholders: Vec<String> =
            (0..addresses.len()).map(|at| format!("(${}, ${})", 2 * at + 1, 2 * at + 2)).collect();
        let sql = format!(
            "SELECT b.type, b.name, b.newest, b.created_at, b.deleted_at, NULL AS bundle FROM blocks b
             WHERE (b.type, b.name) IN (VALUES {})",
            placeholders.join(", ")
        );
        let rows = self.database.fetch(sql, &params).await.map_err(|error| self.classify(error))?;
        rows.iter().map(|row| self.summary(row)).collect()
    }

    /// Reads a summary from the columns type, name, newest revision, time, time of deletion and
    /// bundle.
    fn summary(&self, row: &Row) -> Result<BlockSummary, StoreError> {
        Ok(BlockSummary {
            address: self.address(row, 0)?,
            newest: self.revision(row.integer(2))?,
            saved_at: row.integer(3),
            deleted_at: row.maybe_integer(4),
            bundle: row.maybe_bytes(5).map(digest),
        })
    }

    /// Returns the blocks whose newest revision is missing.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn blocks_without_newest(&self) -> Result<Vec<Address>, StoreError> {
        let rows = self
            .database
            .fetch(
                "SELECT b.type, b.name FROM blocks b
                 LEFT JOIN revisions r ON r.block = b.id AND r.revision = b.newest
                 WHERE r.block IS NULL ORDER BY b.type, b.name",
                &[],
            )
            .await
            .map_err(|error| self.classify(error))?;
        rows.iter().map(|row| self.address(row, 0)).collect()
    }
}

/// Builds the SQL condition of a filter on `blocks b`. The conditions on type and page use the
/// index.
fn condition(filter: &BlockFilter) -> (String, Vec<Param<'_>>) {
    let mut params: Vec<Param<'_>> = Vec::new();
    let mut parts = vec![if filter.deleted { "b.deleted_at IS NOT NULL" } else { "b.deleted_at IS NULL" }.to_owned()];
    match filter.types.as_deref() {
        None => {}
        Some([]) => parts.push("1 = 0".to_owned()),
        Some(types) => {
            let first = params.len() + 1;
            params.extend(types.iter().map(Param::from));
            let placeholders: Vec<String> = (first..=params.len()).map(|at| format!("${at}")).collect();
            parts.push(format!("b.type IN ({})", placeholders.join(", ")));
        }
    }
    if let Some(after) = &filter.after {
        params.push(after.type_slug.as_str().into());
        params.push(after.name.as_str().into());
        parts.push(format!("(b.type, b.name) > (${}, ${})", params.len() - 1, params.len()));
    }
    if let Some(word) = &filter.word {
        params.push(word.into());
        parts.push(format!("replace(b.type || '/' || b.name, ${}, '') <> b.type || '/' || b.name", params.len()));
    }
    (parts.join(" AND "), params)
}
