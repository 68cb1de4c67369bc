//! Writers from a tree to bytes: the forms in which trees leave the tool.

pub mod cpio;
mod directory;
pub mod erofs;
mod tar;

pub use directory::{DirectoryError, Placer, write_directory};
pub use tar::write_tar;
