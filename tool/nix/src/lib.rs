//! Closures of Nix, for layers that hold store paths.
//!
//! A [`Graph`] is what Nix tells a builder of a closure; [`plan`] spreads it over
//! layers, [`database`] makes its paths known to a Nix in the image. Nothing here
//! reads a store: what is in a path is for others to find.

mod database;
mod graph;
mod hash;
mod plan;

pub use database::{DatabaseError, SCHEMA, database};
pub use graph::{Graph, GraphError, Limits, Refused, StorePath};
pub use plan::plan;
