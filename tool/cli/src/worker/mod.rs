//! `ociseed --persistent_worker`: many steps in one process, for Bazel (docs/format.md, "Worker").

mod desk;
mod kept;
mod key;
mod protocol;
mod step;

pub(crate) use step::run;

/// The argument that Bazel starts a worker with.
pub(crate) const FLAG: &str = "--persistent_worker";
