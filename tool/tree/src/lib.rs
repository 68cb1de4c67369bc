//! A file system in memory, and what is made of it or read into it.
//!
//! A [`Tree`] knows every path with its metadata and where each file's bytes
//! lie; owners, modes and links are only values in it, so no root is ever
//! needed to make or write one. Arrangements and layers are trees, and the
//! [`tar`] form of a tree is defined here because layers, archives inside
//! trees and the tar medium all share it (docs/decisions/0001).

mod attributes;
mod builder;
mod content;
pub mod deb;
mod decompress;
mod directory;
mod flatten;
mod graft;
mod links;
pub mod listing;
mod overlay;
mod part;
mod pieces;
mod reader;
mod select;
mod spool;
pub mod tar;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tree;

pub use attributes::{apply, apply_rules};
pub use builder::{BuildError, Builder, Claim, Precedence};
pub use content::{Content, Extent, FileRange, HostFile, ReadError};
pub use decompress::decompress;
pub use directory::{
    DirectoryError, HostDirectory, ListedFile, Stamps, check_directory, read_directory, read_file,
    read_listed, read_path, stamp,
};
pub use flatten::flatten;
pub use overlay::overlay;
pub use pieces::{Bytes, Pieces, Take};
pub use reader::ContentReader;
pub use select::Selection;
pub use spool::{
    ArchiveError, Scratch, SpoolError, most_bytes, read_archive, read_archive_at, spool, spool_at,
    write_holes,
};
pub use tree::{Entry, Node, Stat, Tree, Xattrs};
