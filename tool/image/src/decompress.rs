//! From a layer blob back to its tar, which is a matter of trees.

pub use ociseed_tree::decompress;
