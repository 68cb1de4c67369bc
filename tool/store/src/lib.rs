//! Blobs by digest: OCI image layouts and archives of them, verified on read.
//!
//! Whoever reads a blob through this crate gets the bytes that its digest
//! promises or an error; there is no reader that skips the check. Light enough
//! for the loader: no compression, no threads.

mod archive;
mod index;
mod layout;
mod source;
mod verified;

pub use archive::{Archive, ArchiveError};
pub use index::{IndexEntry, IndexError, parse_index};
pub use layout::{BlobFile, Layout, LayoutError};
pub use source::Source;
pub use verified::{BlobError, VerifiedReader};
