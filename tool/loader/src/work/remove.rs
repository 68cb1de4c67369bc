//! What an older seed asked for: what of it stays for a rollback, and the removal of what nobody asks for any more.

use super::*;
use crate::collect::set;
use crate::desired::give_back;
use crate::root::{self, Lies};
use ociseed_spec::ChainId;
use ociseed_spec::containerd_root::ALIAS;
use ociseed_spec::records::{ADOPTED_LABEL, CRI_NAMESPACE, OWNER_LABEL};
use std::path::{Path, PathBuf};

/// What the current seed links.
#[derive(Default)]
struct Shared<'a> {
    /// Blobs, which are one file for all namespaces.
    blobs: BTreeSet<Digest>,
    /// Layers, which are a snapshot for each.
    layers: BTreeSet<(&'a str, ChainId)>,
}

impl Work<'_> {
    /// Finds the images of the previous seed that are there, and which names they keep.
    pub(super) fn keep(&mut self) {
        let Previous::Images(images, _) = &self.source.previous else { return };
        let claimed = self.claimed();
        let shared = self.shared();
        let mut kept = Vec::new();
        for image in images {
            let records = kept_names(image, &self.actual[&image.namespace].records, &claimed);
            if !records.is_empty() {
                let mut image = Wanted { records, ..image.clone() };
                image.blobs.retain(|blob| !shared.blobs.contains(&blob.digest));
                image.chains.retain(|chain| !shared.layers.contains(&(&image.namespace, *chain)));
                kept.push(image);
            }
        }
        self.kept = kept;
    }

    /// Returns the names that the current seed claims, and for what.
    fn claimed(&self) -> BTreeMap<(&str, &str), Digest> {
        let mut claimed = BTreeMap::new();
        for image in self.source.images.iter().chain(&self.source.others) {
            for name in &image.records {
                claimed.insert((image.namespace.as_str(), name.as_str()), image.target.digest);
            }
        }
        claimed
    }

    /// Returns the blobs and layers that the current seed links: they are its, also where the previous one has them.
    fn shared(&self) -> Shared<'_> {
        let mut shared = Shared::default();
        for image in
            self.source.images.iter().chain(&self.source.others).filter(|image| image.links.is_some())
        {
            shared.blobs.extend(image.blobs.iter().map(|blob| blob.digest));
            shared.layers.extend(image.chains.iter().map(|chain| (image.namespace.as_str(), *chain)));
        }
        shared
    }

    /// Keeps an image of the previous seed as it is: its names, and that its links lead to that seed.
    pub(super) fn keep_one(&mut self, image: &Wanted, report: &mut ImageReport) -> Result<(), Failure> {
        let changes = self.changes(image, report);
        let mended = self.mend(image, report)?;
        self.apply_all(image, changes, mended, report)
    }

    /// Removes records that bear our label and that nobody asks for.
    pub(super) fn remove(&mut self) -> Result<(), Failure> {
        if !self.source.refused.is_empty() || matches!(self.source.previous, Previous::Unknown) {
            // What cannot be read may ask for it.
            return Ok(());
        }
        let wanted = self.wanted_names();
        let mut unwanted = Vec::new();
        for (namespace, actual) in &self.actual {
            for record in actual.records.values().filter(|record| record.labels.contains_key(OWNER_LABEL)) {
                if !wanted.contains(&(namespace.clone(), record.name.clone())) {
                    unwanted.push((namespace.clone(), record.clone()));
                }
            }
        }
        if !unwanted.is_empty() && !self.dry {
            self.talk.line(Priority::Debug, "step removals name=- namespace=-");
        }
        for (namespace, record) in unwanted {
            match self.remove_record(&namespace, &record) {
                // Changed by others meanwhile, say; the next run looks again.
                Err(Failure::Image(error) | Failure::Gone(error)) => {
                    self.talk.warning(&format!("`{}` in `{namespace}`: {error}", record.name));
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn wanted_names(&self) -> BTreeSet<(String, String)> {
        let images = self.source.images.iter().chain(&self.source.others).chain(&self.kept);
        set(images.flat_map(|image| image.records.iter().map(|name| (image.namespace.clone(), name.clone()))))
    }

    pub(super) fn remove_record(&mut self, namespace: &str, record: &ImageRecord) -> Result<(), Failure> {
        self.count(RECORD, 0);
        let removed = Removed {
            name: record.name.clone(),
            namespace: namespace.to_owned(),
            digest: record.target.digest.clone(),
            seed: record.labels.get(OWNER_LABEL).cloned().unwrap_or_default(),
        };
        if !self.dry {
            let scope = self.client.scope(namespace);
            if record.labels.contains_key(ADOPTED_LABEL) {
                scope.update_image(&give_back(record), false)?;
            } else {
                scope.delete_image(&record.name)?;
            }
            self.talk.line(Priority::Info, &removed.line());
            self.garbage = Some(namespace.to_owned());
        }
        self.removed.push(removed);
        Ok(())
    }

    /// Removes links to seeds that nothing in the engine's root leads through any more.
    pub(super) fn remove_aliases(&mut self) -> Result<(), Failure> {
        for place in self.unused_aliases()? {
            let failed = |error| Failure::Engine(format!("cannot remove `{}`: {error}", place.display()));
            root::remove(&place).map_err(failed)?;
        }
        Ok(())
    }

    /// Finds links to seeds that nothing in the engine's root leads through.
    pub(super) fn unused_aliases(&self) -> Result<Vec<PathBuf>, Failure> {
        let (used, unused): (Vec<_>, Vec<_>) = self.other_aliases()?.into_iter().partition(|(_, used)| *used);
        for (place, _) in used.iter().filter(|(place, _)| self.dry && std::fs::metadata(place).is_err()) {
            self.talk.warning(&format!(
                "`{}` leads nowhere: what others brought and shares layers with that seed cannot run until it is pulled again",
                place.display()
            ));
        }
        Ok(unused.into_iter().map(|(place, _)| place).collect())
    }

    /// Tells whether something in the engine's root leads through a link to a seed that nobody asks for.
    pub(super) fn needs_others(&self) -> Result<bool, Failure> {
        Ok(self.other_aliases()?.iter().any(|(_, used)| *used))
    }

    /// Finds links to seeds that nobody asks for, and whether something in the engine's root leads through them.
    fn other_aliases(&self) -> Result<Vec<(PathBuf, bool)>, Failure> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let known = [self.source.links.clone(), self.any_previous_links()];
        let is_known = |name: &str| known.iter().flatten().any(|links| links.alias == name);
        let mut others = Vec::new();
        for parent in root.parents() {
            let failed = |error| Failure::Engine(format!("cannot look at `{}`: {error}", parent.display()));
            for entry in std::fs::read_dir(parent).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                if !is_link || !name.starts_with(ALIAS) || is_known(&name) {
                    continue;
                }
                others.push((entry.path(), is_used(root, &name).map_err(failed)?));
            }
        }
        Ok(others)
    }

    fn any_previous_links(&self) -> Option<std::rc::Rc<crate::source::Links>> {
        match &self.source.previous {
            Previous::Images(_, links) => links.clone(),
            _ => None,
        }
    }
}

/// Returns the names that an image of the previous seed keeps: none, if it is not there.
fn kept_names(
    image: &Wanted,
    records: &BTreeMap<String, ImageRecord>,
    claimed: &BTreeMap<(&str, &str), Digest>,
) -> Vec<String> {
    let digest = image.target.digest.to_string();
    let ours =
        |record: &ImageRecord| record.target.digest == digest && record.labels.contains_key(OWNER_LABEL);
    if !records.values().any(ours) {
        return Vec::new();
    }
    let for_cri = image.namespace == CRI_NAMESPACE;
    let claim = |name: &str| claimed.get(&(image.namespace.as_str(), name)).copied();
    let mut kept = Vec::new();
    for name in &image.names {
        let (own, by_digest) = (name.to_string(), name.with_digest(&image.target.digest).to_string());
        let moved = claim(&own).is_some_and(|other| other != image.target.digest);
        if for_cri || moved {
            kept.push(by_digest);
        }
        // What a user removed of it does not come back.
        if records.get(&own).is_some_and(ours) {
            kept.push(own);
        }
    }
    kept.extend(image.records.iter().filter(|name| name.starts_with("sha256:")).cloned());
    kept.retain(|name| claim(name).is_none());
    kept.sort();
    kept.dedup();
    kept
}

/// Tells whether a blob or snapshot of a root leads through an alias.
fn is_used(root: &EngineRoot, alias: &str) -> std::io::Result<bool> {
    let leads = |place: &Path| {
        let looked = root::look(place)?;
        let through = |target: &[u8]| String::from_utf8_lossy(target).split('/').any(|part| part == alias);
        Ok::<_, std::io::Error>(matches!(looked, Lies::Link(target) if through(&target)))
    };
    for dir in [root.blobs(), root.snapshots()] {
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let place = entry?.path();
            if leads(&place)? || leads(&place.join("fs")).unwrap_or(false) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
