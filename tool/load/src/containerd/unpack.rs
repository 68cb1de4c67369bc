//! Layers become snapshots, bottom up, as `ctr images import` and CRI unpack them.

use std::collections::BTreeMap;

use ociseed_containerd::{Code, Error, Target};
use ociseed_spec::ChainId;
use ociseed_spec::lock::{LockedImage, LockedLayer};

use super::SNAPSHOTTER;
use super::namespace::InNamespace;
use crate::failure::Failure;

impl InNamespace<'_> {
    /// Tells whether a layer is unpacked, on those below it.
    pub(super) fn is_unpacked(&self, chain_id: &ChainId) -> Result<bool, Error> {
        Ok(self.scope.stat_snapshot(SNAPSHOTTER, &chain_id.to_string())?.is_some())
    }

    /// Unpacks the layers that are not.
    pub(super) fn unpack(&self, image: &LockedImage) -> Result<(), Failure> {
        let mut parent = String::new();
        for layer in &image.layers {
            if !self.is_unpacked(&layer.chain_id)? {
                self.unpack_layer(layer, &parent)?;
            }
            parent = layer.chain_id.to_string();
        }
        Ok(())
    }

    fn unpack_layer(&self, layer: &LockedLayer, parent: &str) -> Result<(), Failure> {
        let key = format!("{}-{}", self.run, layer.chain_id);
        let none = BTreeMap::new();
        let mounts = self.scope.prepare_snapshot(SNAPSHOTTER, &key, parent, &none)?;
        let LockedLayer { media_type, digest, size, .. } = layer;
        let blob = Target { media_type: media_type.clone(), digest: digest.to_string(), size: *size };
        let unpacked = self.scope.apply_diff(&blob, &mounts).map_err(Failure::from).and_then(|diff_id| {
            if diff_id != layer.diff_id.to_string() {
                let text = format!("layer {digest}: expected the diff id {}, found {diff_id}", layer.diff_id);
                return Err(Failure::image(text));
            }
            match self.scope.commit_snapshot(SNAPSHOTTER, &layer.chain_id.to_string(), &key, &none) {
                // Somebody else was quicker.
                Err(error) if error.code() == Some(Code::AlreadyExists) => Ok(false),
                committed => Ok(committed.map(|()| true)?),
            }
        });
        if !matches!(unpacked, Ok(true)) {
            // What went wrong first is what counts; the lease is the last that holds it.
            drop(self.scope.remove_snapshot(SNAPSHOTTER, &key));
        }
        unpacked.map(drop)
    }
}
