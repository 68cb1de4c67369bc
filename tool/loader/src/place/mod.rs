//! `place`: makes a seed's images available by links, before an engine starts whose root is empty yet.

mod engine;
mod find;
mod hashers;
mod link;
mod loop_device;
mod mount;
mod mounts;
mod noted;
mod opened;
mod pieces;
mod report;
mod root;
mod sealed;
mod space;
mod steps;
mod store;
mod superblock;
mod trust;
mod walk;

pub(crate) use link::{note_untold, told};
pub(crate) use opened::{Held, Opened, open, previous, previous_unlinked};
pub(crate) use report::{FILE_NAME, Known, read};
pub(crate) use sealed::{About, Problem};
pub(crate) use space::{Room, short};
pub(crate) use steps::place;
