//! The seed: its lock, its host form, checking it, and one arrangement a module.
//!
//! An arrangement is a function from a [`Seed`] to a tree of what one engine
//! expects on the target's disk; media write trees.

pub mod archives;
pub mod bolt;
mod carry;
mod choose;
pub mod containerd;
mod images;
pub mod medium;
mod read;
mod seed;
pub mod verify;

pub use carry::carry;
pub use choose::{ChooseError, choose_image, choose_index};
pub use images::read_images;
pub use read::{ReadImageError, read_document, read_image, read_index};
pub use seed::{Seed, SeedEntry, SeedError};
