//! Files of bolt (go.etcd.io/bbolt), the key-value store in which containerd and others keep their records.
//!
//! [`encode`] writes a whole file from a tree of buckets, [`decode`] reads one that anybody wrote.

mod bucket;
mod page;
mod read;
mod write;

pub use bucket::{Bucket, Item, MAX_DEPTH, MAX_KEY, MAX_VALUE};
pub use page::{HEAD, is_bolt};
pub use read::{BoltError, decode};
pub use write::encode;
