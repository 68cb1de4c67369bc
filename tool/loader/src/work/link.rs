//! Links in the engine's root: blobs and layers that are registered without being copied, and the repair of links that are wrong.

use super::*;
use crate::root::{self, Lies};
use crate::source::Links;
use ociseed_containerd::{Adopted, Code, SnapshotKind, layer_directory};
use ociseed_spec::ChainId;
use ociseed_spec::records::DIRECTORY_LABEL;
use std::path::Path;

/// What the directories of a snapshot take at most, next to the records: two of them, of a block each.
const SNAPSHOT: u64 = 2 * 4096;

/// How often an engine is asked to take a link for a blob: a collection may take the link away in between.
const ATTEMPTS: usize = 3;

impl Work<'_> {
    /// Makes the links through which all others lead to seeds.
    pub(super) fn make_aliases(&mut self) -> Result<(), Failure> {
        let Some(root) = self.root.clone().filter(|_| self.copies.is_none()) else { return Ok(()) };
        if let Some(links) = self.source.links.clone().filter(|_| self.options.mode.changes())
            && let Err(error) = std::fs::metadata(links.store())
        {
            return self.refuse_links(&format!("`{}` cannot be used: {error}", links.store()));
        }
        for links in [self.source.links.clone(), self.previous_links()].into_iter().flatten() {
            for parent in root.parents() {
                let (place, target) = (parent.join(&links.alias), links.store());
                if root::look(&place).is_ok_and(|lies| lies == Lies::Link(target.clone().into_bytes())) {
                    continue;
                }
                self.count(RECORD, 1);
                if !self.dry
                    && let Err(error) = root.link(&place, &target).and_then(|()| root::sync(parent))
                {
                    return self
                        .refuse_links(&format!("cannot make the link `{}`: {error}", place.display()));
                }
            }
        }
        Ok(())
    }

    /// Returns how the previous seed is linked, where something of it is kept.
    pub(super) fn previous_links(&self) -> Option<std::rc::Rc<Links>> {
        match &self.source.previous {
            Previous::Images(_, links) if !self.kept.is_empty() => links.clone(),
            _ => None,
        }
    }

    /// From here on everything is copied.
    fn refuse_links(&mut self, reason: &str) -> Result<(), Failure> {
        self.copies = Some(reason.to_owned());
        // Before anything is changed it is not known whether anything would be copied.
        if !self.dry {
            self.warn_of_copies();
        }
        Ok(())
    }

    /// Says why something is copied that could have been a link.
    pub(super) fn warn_of_copies(&self) {
        if let Some(reason) = &self.copies {
            self.talk.warning(&format!("nothing can be linked, so blobs are copied: {reason}"));
        }
    }

    /// Adds blobs, by links where that can be.
    pub(super) fn add_blobs(
        &mut self,
        image: &Wanted,
        missing: &[&ContentRecord],
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        if missing.is_empty() {
            return Ok(());
        }
        if !self.dry {
            self.step("blobs", image);
        }
        if self.can_link(image) {
            self.link_blobs(image, missing, report)?;
        }
        if !self.can_link(image) && !image.layers.is_all() {
            return self.check_layers(image, missing);
        }
        self.write_blobs(image, missing, report)
    }

    /// Tells whether a namespace has a blob as a file of the engine's own: it is left to whoever brought it, and registered as it is.
    fn is_elsewhere(&self, blob: &ContentRecord) -> Result<bool, Failure> {
        if !matches!(self.lies(&blob.digest)?, Some(Lies::Own(size)) if size == blob.size) {
            return Ok(false);
        }
        let digest = blob.digest.to_string();
        for namespace in self.leases.namespaces() {
            if self.client.scope(&namespace).content_info(&digest)?.is_some() {
                return Ok(!self.spoilt.contains(&blob.digest));
            }
        }
        Ok(false)
    }

    /// Links what is missing, and has the engine take it. What it refuses, or has in another namespace, is left to be copied.
    fn link_blobs(
        &mut self,
        image: &Wanted,
        missing: &[&ContentRecord],
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        let (Some(root), Some(links)) = (self.root.clone(), image.links.clone()) else { return Ok(()) };
        let mut to_link = Vec::new();
        for blob in missing {
            if blob.size == 0 || self.has(&image.namespace, blob) {
                continue;
            }
            if self.is_elsewhere(blob)? {
                self.need.blobs.insert(blob.digest);
            } else {
                to_link.push(*blob);
            }
        }
        let missing = to_link;
        if self.dry {
            for blob in missing {
                self.act(report, "link", "blob", &blob.digest.to_string());
                self.need.bring("blob", &image.namespace, &blob.digest.to_string());
                report.linked += 1;
            }
            return Ok(());
        }
        // Under the lease from the first link on, so that no collection begins because of us.
        let scope = self.leases.scope(&image.namespace)?;
        for attempt in 1..=ATTEMPTS {
            if let Err(error) = place_blobs(&root, &links, &missing) {
                return self.refuse_links(&error.to_string());
            }
            let mut refused = None;
            check_blobs(&root, &links, &missing)?;
            for blob in &missing {
                if self.has(&image.namespace, blob) {
                    continue;
                }
                let (digest, name) =
                    (blob.digest.to_string(), format!("{}-{}", self.leases.run(), blob.digest));
                match scope.adopt_content(&name, &digest, blob.size, &blob.labels)? {
                    Adopted::Refused(reason) => {
                        refused = Some(reason);
                        break;
                    }
                    Adopted::AlreadyThere => scope.label_content(&digest, &blob.labels)?,
                    Adopted::Adopted => {}
                }
                report.change("link", "blob", &digest);
                report.linked += 1;
                let info = ContentInfo { digest, size: blob.size, labels: blob.labels.clone() };
                self.actual.get_mut(&image.namespace).expect("looked at").content.insert(blob.digest, info);
            }
            match refused {
                None => return Ok(()),
                Some(reason) if attempt == ATTEMPTS => self.refuse_links(&reason)?,
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Adds snapshots of an image's layers, bottom up.
    pub(super) fn add_snapshots(
        &mut self,
        image: &Wanted,
        new: bool,
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        let (Some(root), Some(links)) = (self.root.clone(), image.links.clone()) else { return Ok(()) };
        if !self.can_link(image) {
            return Ok(());
        }
        let mut parent = String::new();
        let mut said = false;
        for chain in &image.chains {
            let name = chain.to_string();
            let there = self.actual[&image.namespace].snapshots.contains_key(&name)
                || self.dry && !self.need.bring("snapshot", &image.namespace, &name);
            if !there {
                report.linked += 1;
                if !new {
                    report.raise(Outcome::Repaired);
                }
                self.count(SNAPSHOT + RECORD, 3);
                if !self.dry && !std::mem::replace(&mut said, true) {
                    self.step("snapshots", image);
                }
                if self.act(report, "link", "snapshot", &name)
                    && let Err(reason) = self.add_snapshot(&root, image, chain, &parent, &links)?
                {
                    report.linked -= 1;
                    report.changes.pop();
                    return self.leave_unpacking(image, &reason);
                }
            }
            parent = name;
        }
        Ok(())
    }

    /// The engine unpacks layers itself, if it has their blobs.
    fn leave_unpacking(&mut self, image: &Wanted, reason: &str) -> Result<(), Failure> {
        self.refuse_links(reason)?;
        self.check_layers(image, &[])
    }

    /// Adds one snapshot; says why it cannot be a link.
    fn add_snapshot(
        &mut self,
        root: &EngineRoot,
        image: &Wanted,
        chain: &ChainId,
        parent: &str,
        links: &Links,
    ) -> Result<Result<(), String>, Failure> {
        let scope = self.leases.scope(&image.namespace)?;
        let (name, snapshotter) = (chain.to_string(), links.snapshotter);
        let key = format!("{}-{chain}", self.leases.run());
        let mounts = scope.prepare_snapshot(snapshotter, &key, parent, &BTreeMap::new())?;
        let made = layer_directory(&mounts).map(Path::new);
        let placed = match (made, made.and_then(|place| number_of(&place.to_string_lossy()))) {
            (Some(place), Some(number))
                if place.parent().and_then(Path::parent) == Some(&root.snapshots()) =>
            {
                place_layer(root, place, chain, links).map(|()| number).map_err(|error| error.to_string())
            }
            _ => Err(format!("the engine makes snapshots in `{}`", made.unwrap_or(Path::new("")).display())),
        };
        let number = match placed {
            Ok(number) => number,
            Err(reason) => {
                scope.remove_snapshot(snapshotter, &key)?;
                return Ok(Err(reason));
            }
        };
        let mut labels = directory_label(number);
        match scope.commit_snapshot(snapshotter, &name, &key, &labels) {
            // Unpacked by others meanwhile, in a directory of theirs.
            Err(error) if error.code() == Some(Code::AlreadyExists) => {
                scope.remove_snapshot(snapshotter, &key)?;
                labels.clear();
            }
            other => other?,
        }
        let (parent, kind) = (parent.to_owned(), SnapshotKind::Committed);
        let info = SnapshotInfo { name: name.clone(), parent, kind, labels };
        self.actual.get_mut(&image.namespace).expect("looked at").snapshots.insert(name, info);
        Ok(Ok(()))
    }
}

pub(super) fn cannot_link(place: &Path, error: &std::io::Error) -> Failure {
    Failure::Image(format!("cannot make the link `{}`: {error}", place.display()))
}

/// Makes the links of blobs that the engine is about to be asked to take.
fn place_blobs(root: &EngineRoot, links: &Links, blobs: &[&ContentRecord]) -> std::io::Result<()> {
    root.make_blobs()?;
    let mut changed = false;
    for blob in blobs {
        let Some(target) = links.blob(&blob.digest).filter(|_| blob.size > 0) else { continue };
        // A file without a record is nobody's, and nobody knows whether it is right.
        if root.blob(&blob.digest)? != Lies::Link(target.clone().into_bytes()) {
            root.link(&root.blobs().join(blob.digest.hex()), &target)?;
            changed = true;
        }
    }
    if changed { root::sync(&root.blobs()) } else { Ok(()) }
}

/// Puts the link in the place of a new snapshot's files; after a power cut that is there, or the snapshot is not.
fn place_layer(root: &EngineRoot, place: &Path, chain: &ChainId, links: &Links) -> std::io::Result<()> {
    let target = links.layer(chain, false).ok_or(std::io::ErrorKind::NotFound)?;
    root.link(place, &target)?;
    root::sync(place.parent().unwrap_or(place))?;
    // Whatever is in its place is committed without a word.
    match std::fs::metadata(place)?.is_dir() {
        true => Ok(()),
        false => Err(std::io::ErrorKind::NotADirectory.into()),
    }
}

/// Checks that links lead to blobs: an engine takes whatever has the right size, and says of the rest only that it wants the bytes.
/// A collection may have taken the links themselves, of which the engine then says so.
fn check_blobs(root: &EngineRoot, links: &Links, blobs: &[&ContentRecord]) -> Result<(), Failure> {
    for blob in blobs {
        let Some(target) = links.blob(&blob.digest).filter(|_| blob.size > 0) else { continue };
        let found = std::fs::metadata(root.blobs().join(target));
        if !found.is_ok_and(|found| found.is_file() && found.len() == blob.size) {
            return Err(Failure::Image(format!(
                "blob {} of the seed is not there, or has another size",
                blob.digest
            )));
        }
    }
    Ok(())
}

pub(super) fn directory_label(number: u64) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    labels.insert(DIRECTORY_LABEL.to_owned(), number.to_string());
    labels
}

/// Returns the number in `…/snapshots/<number>/fs`.
pub(super) fn number_of(place: &str) -> Option<u64> {
    place.strip_suffix("/fs")?.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_known_by_the_number_of_its_directory() {
        let cases = [
            ("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/12/fs", Some(12)),
            ("/x/snapshots/12", None),
            ("/x/snapshots/a/fs", None),
            ("", None),
        ];
        for (place, expected) in cases {
            assert_eq!(number_of(place), expected, "{place}");
        }
    }
}
