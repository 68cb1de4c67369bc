//! The diff service: the engine unpacks a layer into a snapshot.

use crate::client::Scope;
use crate::images::Target;
use crate::snapshots::Mount;
use crate::wire::{self, ApplyRequest, ApplyResponse, Descriptor};
use crate::{Error, content::signed};

const APPLY: &str = "containerd.services.diff.v1.Diff/Apply";

impl Scope<'_> {
    /// Unpacks a layer's blob, which the namespace has, into what the mounts show; returns the diff id of what it was.
    ///
    /// # Errors
    /// `NotFound` without the blob; else see [`Error`].
    pub fn apply_diff(&self, layer: &Target, mounts: &[Mount]) -> Result<String, Error> {
        let Target { media_type, digest, size } = layer.clone();
        let request = ApplyRequest {
            diff: Some(Descriptor { media_type, digest, size: signed(size) }),
            mounts: mounts.iter().cloned().map(wire::Mount::from).collect(),
        };
        // As long as the engine takes for a large layer on a slow disk.
        let answer: ApplyResponse = self.unary(APPLY, self.client.slow_limit(), &request)?;
        Ok(answer.applied.unwrap_or_default().digest)
    }
}

impl From<Mount> for wire::Mount {
    fn from(mount: Mount) -> Self {
        let Mount { kind, source, target, options } = mount;
        Self { kind, source, target, options }
    }
}
