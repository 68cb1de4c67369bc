//! What the lease holds before it is worked with: from then on no collection takes it away.

use ociseed_containerd::Resource;

use super::*;

/// What an image consists of in the engine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// A blob, by its digest.
    Blob,
    /// A snapshot, by its chain id.
    Snapshot,
}

impl Part {
    /// Returns what reports call it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Snapshot => "snapshot",
        }
    }
}

impl Work<'_> {
    /// Lets the lease hold what is there of an image to which no record of ours refers yet.
    ///
    /// # Errors
    /// [`Failure::Gone`] where something was taken away since it was looked at.
    pub(super) fn hold(&mut self, image: &Wanted) -> Result<(), Failure> {
        for blob in &image.blobs {
            if self.has(&image.namespace, blob) {
                self.hold_part(image, Part::Blob, &blob.digest.to_string())?;
            }
        }
        for name in image.chains.iter().map(ToString::to_string) {
            if self.actual[&image.namespace].snapshots.contains_key(&name) {
                self.hold_part(image, Part::Snapshot, &name)?;
            }
        }
        Ok(())
    }

    /// Lets the lease hold one part of an image.
    ///
    /// # Errors
    /// [`Failure::Gone`] where it was taken away since it was looked at. A link in its place would stay, and belong to nobody.
    pub(super) fn hold_part(&mut self, image: &Wanted, part: Part, name: &str) -> Result<(), Failure> {
        let (scope, snapshotter) = (self.leases.scope(&image.namespace)?, self.snapshotter());
        let kind = match part {
            Part::Blob => "content".to_owned(),
            Part::Snapshot => format!("snapshots/{snapshotter}"),
        };
        scope.add_resource(self.leases.run(), &Resource { kind, id: name.to_owned() })?;
        let there = match part {
            Part::Blob => scope.content_info(name)?.is_some(),
            // One that was made anew has another directory.
            Part::Snapshot => {
                let seen = self.actual[&image.namespace].snapshots.get(name);
                scope.stat_snapshot(snapshotter, name)?.as_ref() == seen
            }
        };
        if there { Ok(()) } else { Err(Failure::Gone(format!("{} {name} is gone", part.word()))) }
    }
}
