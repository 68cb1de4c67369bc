//! The medium form of a seed (docs/format.md, "The seed, medium form"): made, read and checked.

mod form;
mod read;
mod verify;

pub use form::{MediumError, MediumForm, MediumOptions, Unpacked};
pub use read::Medium;
pub use verify::verify_medium;

use ociseed_spec::lock::Engine;
use ociseed_spec::{Digest, TreePath};

/// The directory of a layer in overlay form.
fn layer_path(tree: &Digest) -> TreePath {
    path(&format!("layers/sha256/{}", tree.hex()))
}

/// The directory of a store.
fn store_path(engine: Engine) -> TreePath {
    path(&engine.place())
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("a name of our own is a good path")
}
