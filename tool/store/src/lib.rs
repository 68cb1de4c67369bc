//! Blobs by digest: OCI image layouts and archives of them, verified on read.
//!
//! Whoever reads a blob through this crate gets the bytes that its digest
//! promises or an error; there is no reader that skips the check. Light enough
//! for the loader: no compression, no threads; what it has no room for is
//! behind the feature `builder`.

mod archive;
#[cfg(feature = "builder")]
pub mod cache;
#[cfg(feature = "builder")]
mod docker;
mod index;
mod layout;
#[cfg(feature = "builder")]
mod listed;
mod lock;
mod manifest;
mod members;
#[cfg(feature = "builder")]
mod names;
#[cfg(feature = "builder")]
mod source;
mod verified;

pub use archive::{Archive, ArchiveError};
#[cfg(feature = "builder")]
pub use docker::DockerError;
pub use index::{IndexEntry, IndexError, parse_index};
pub use layout::{BlobFile, Layout, LayoutError};
#[cfg(feature = "builder")]
pub use listed::ListedLayout;
pub use lock::read_lock;
pub use manifest::{Document, LARGEST_MANIFEST, ManifestError};
#[cfg(feature = "builder")]
pub use names::full_name;
#[cfg(feature = "builder")]
pub use source::{Place, Source};
pub use verified::{BlobError, VerifiedReader, read_all};
