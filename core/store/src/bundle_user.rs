//! Blocks that use a bundle.

use blockyard_model::{Address, Digest};

/// A block whose newest revision uses a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleUser {
    /// Address of the block.
    pub address: Address,
    /// Digest of the bundle that validated the newest revision.
    pub digest: Digest,
    /// Version of that bundle.
    pub version: String,
}
