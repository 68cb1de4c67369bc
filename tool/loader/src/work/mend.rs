//! Links that are wrong, and what a power cut may have left of what the engine unpacked: puts them right.

use super::hold::Part;
use super::link::{cannot_link, directory_label, number_of};
use super::*;
use crate::root::{self, Lies};
use crate::source::Links;
use ociseed_containerd::Code;
use ociseed_spec::ChainId;
use ociseed_spec::records::{ADOPTED_LABEL, DIRECTORY_LABEL, OWNER_LABEL};
use rustix::fs::{CWD, RenameFlags};
use std::path::{Path, PathBuf};

/// What unpacked files are called while a link takes their place.
const OLD: &str = "fs.ociseed-old";

impl Work<'_> {
    /// Puts links right that lead elsewhere, and those of what is absent or wrong; returns whether something had been, as seen by the engine.
    pub(super) fn mend(&mut self, image: &Wanted, report: &mut ImageReport) -> Result<bool, Failure> {
        let (Some(root), Some(links)) = (self.root.clone(), image.links.clone()) else {
            return self.drop_snapshots(image, report);
        };
        if self.copies.is_some() {
            return self.drop_snapshots(image, report);
        }
        if self.options.mode == Mode::Verify {
            // Without these the others lead nowhere, however right they are.
            for alias in root.parents().iter().map(|parent| parent.join(&links.alias)) {
                let right =
                    root::look(&alias).is_ok_and(|lies| lies == Lies::Link(links.store().into_bytes()));
                if !right || std::fs::metadata(&alias).is_err() {
                    report.errors.push(format!("`{}` does not lead to the seed", alias.display()));
                }
            }
        }
        // To the engine, what it could not see is what was not there.
        let mut mended = links.untold;
        let mut dirs = BTreeSet::new();
        for blob in &image.blobs {
            if !self.has(&image.namespace, blob) {
                continue;
            }
            let lies = self.lies(&blob.digest)?.unwrap_or(Lies::Nothing);
            if matches!(lies, Lies::Own(size) if size == blob.size) && !self.spoilt.contains(&blob.digest) {
                continue;
            }
            let Some(target) = links.blob(&blob.digest) else { continue };
            let place = root.blobs().join(blob.digest.hex());
            let fix = Fix { place, lies, target, part: Part::Blob, name: blob.digest.to_string() };
            mended |= self.fix(&root, image, fix, report, &mut dirs)?;
            // The first pass only counts.
            if !self.dry && self.spoilt.remove(&blob.digest) {
                report.replaced.push(blob.digest);
            }
        }
        for chain in &image.chains {
            mended |= self.mend_snapshot(&root, image, chain, &links, report, &mut dirs)?;
        }
        sync_all(&dirs)?;
        Ok(mended)
    }

    /// Makes a link right; returns whether what was there could not be used.
    fn fix(
        &mut self,
        root: &EngineRoot,
        image: &Wanted,
        fix: Fix,
        report: &mut ImageReport,
        dirs: &mut BTreeSet<PathBuf>,
    ) -> Result<bool, Failure> {
        let Fix { place, lies, target, part, name } = fix;
        let is_right = lies == Lies::Link(target.clone().into_bytes());
        if is_right || (self.dry && !self.need.bring("link", "", &place.to_string_lossy())) {
            return Ok(false);
        }
        // One to the other slot's seed goes on working until it is replaced.
        let worked = matches!(lies, Lies::Link(_)) && std::fs::metadata(&place).is_ok();
        report.raise(if worked { Outcome::Updated } else { Outcome::Repaired });
        report.linked += 1;
        if self.act(report, "link", part.word(), &name) {
            self.hold_part(image, part, &name)?;
            root.link(&place, &target).map_err(|error| cannot_link(&place, &error))?;
            dirs.extend(place.parent().map(Path::to_owned));
        }
        Ok(!worked)
    }

    fn mend_snapshot(
        &mut self,
        root: &EngineRoot,
        image: &Wanted,
        chain: &ChainId,
        links: &Links,
        report: &mut ImageReport,
        dirs: &mut BTreeSet<PathBuf>,
    ) -> Result<bool, Failure> {
        let name = chain.to_string();
        let Some(info) = self.actual[&image.namespace].snapshots.get(&name) else { return Ok(false) };
        let number = info.labels.get(DIRECTORY_LABEL).and_then(|number| number.parse().ok());
        let number = match number {
            Some(number) => number,
            // The engine unpacked it. That is as good as a link, unless the power went before it was on the disk.
            None if self.may_be_unfinished(image) => {
                if self.dry {
                    report.raise(Outcome::Repaired);
                    report.linked += 1;
                    self.act(report, "link", "snapshot", &name);
                    return Ok(true);
                }
                self.claim(image, &name)?
            }
            None => return Ok(false),
        };
        let looked = root.snapshot(number);
        let (place, lies) = looked.map_err(|error| cannot_link(&root.snapshots(), &error))?;
        let whole = place.parent() == Some(&root.snapshots());
        let Some(target) = links.layer(chain, whole) else { return Ok(false) };
        if matches!(lies, Lies::Own(_)) {
            if is_in_use(&place) {
                report.warnings.push(format!("snapshot {name} is in use, and not replaced by a link"));
                return Ok(false);
            }
            if !self.dry {
                self.hold_part(image, Part::Snapshot, &name)?;
                set_aside(&place).map_err(|error| cannot_link(&place, &error))?;
            }
        }
        let old = place.with_file_name(OLD);
        let fix = Fix { place: place.clone(), lies, target, part: Part::Snapshot, name };
        let fixed = self.fix(root, image, fix, report, dirs).inspect_err(|_| {
            // A layer that may be cut off is better than none. It stays where it is if the link is there.
            let _ = rustix::fs::renameat_with(CWD, &old, CWD, &place, RenameFlags::NOREPLACE);
        })?;
        // A killed run may have left it as well.
        if !whole && std::fs::symlink_metadata(&old).is_ok() {
            self.count(0, 0);
            if !self.dry {
                std::fs::remove_dir_all(&old).map_err(|error| cannot_link(&old, &error))?;
            }
        }
        Ok(fixed)
    }

    /// Tells whether what the engine unpacked of an image may have been cut off. What others brought is theirs, but for layers that an image
    /// of ours, also one that is only about to be added, is to run from.
    fn may_be_unfinished(&self, image: &Wanted) -> bool {
        let records = &self.actual[&image.namespace].records;
        let ours = |record: &ImageRecord| {
            record.labels.contains_key(OWNER_LABEL) && !record.labels.contains_key(ADOPTED_LABEL)
        };
        let mut there = image.records.iter().filter_map(|name| records.get(name)).peekable();
        self.options.unclean && (there.peek().is_none() || there.any(ours))
    }

    /// Has the engine unpack layers again that may have been cut off, but for those that something runs from.
    fn drop_snapshots(&mut self, image: &Wanted, report: &mut ImageReport) -> Result<bool, Failure> {
        if !self.may_be_unfinished(image) {
            return Ok(false);
        }
        for chain in image.chains.iter().rev() {
            let name = chain.to_string();
            let Some(info) = self.actual[&image.namespace].snapshots.get(&name) else { continue };
            let is_shared = || {
                let others = &self.actual[&image.namespace].snapshots;
                others.values().any(|other| other.parent == name)
            };
            // One that others of our layers are based on goes with the last image that has it.
            if info.labels.contains_key(DIRECTORY_LABEL) || (!self.dry && is_shared()) {
                continue;
            }
            report.raise(Outcome::Repaired);
            if !self.act(report, "remove", "snapshot", &name) {
                continue;
            }
            let removed = self.client.scope(&image.namespace).remove_snapshot(self.snapshotter(), &name);
            match removed {
                Err(error) if error.code() == Some(Code::FailedPrecondition) => {
                    report.warnings.push(format!("snapshot {name} is in use, and not unpacked again"));
                }
                other => {
                    other?;
                    let snapshots = &mut self.actual.get_mut(&image.namespace).expect("looked at").snapshots;
                    snapshots.remove(&name);
                }
            }
        }
        // The engine looks for snapshots when it needs them.
        Ok(false)
    }

    /// Finds the directory of a snapshot that the engine unpacked, and notes that it is ours from now on.
    fn claim(&mut self, image: &Wanted, name: &str) -> Result<u64, Failure> {
        let snapshotter = self.snapshotter();
        let scope = self.leases.scope(&image.namespace)?;
        let key = format!("{}-look", self.leases.run());
        let mounts = scope.prepare_snapshot(snapshotter, &key, name, &BTreeMap::new())?;
        scope.remove_snapshot(snapshotter, &key)?;
        let below = mounts.iter().flat_map(|mount| &mount.options);
        let below = below.filter_map(|option| option.strip_prefix("lowerdir=")).next();
        let number = below.and_then(|below| number_of(below.split(':').next().unwrap_or_default()));
        let number = number
            .ok_or_else(|| Failure::Image(format!("the engine does not say where snapshot {name} is")))?;
        let label = directory_label(number);
        scope.label_snapshot(snapshotter, name, &label)?;
        // Other images have the layer, too.
        let snapshots = &mut self.actual.get_mut(&image.namespace).expect("looked at").snapshots;
        snapshots.get_mut(name).expect("there").labels.extend(label);
        Ok(number)
    }
}

/// A link that should be there, and what is.
struct Fix {
    place: PathBuf,
    lies: Lies,
    target: String,
    part: Part,
    name: String,
}

fn sync_all(dirs: &BTreeSet<PathBuf>) -> Result<(), Failure> {
    for dir in dirs {
        root::sync(dir)
            .map_err(|error| Failure::Image(format!("cannot sync `{}`: {error}", dir.display())))?;
    }
    Ok(())
}

/// Moves unpacked files aside, so that a link can take their place.
fn set_aside(files: &Path) -> std::io::Result<()> {
    let aside = files.with_file_name(OLD);
    match std::fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::rename(files, aside)
}

/// Tells whether a container, or something else that is mounted, has a layer's files below its own.
fn is_in_use(files: &Path) -> bool {
    // Nothing is taken away from below what cannot be seen.
    std::fs::read("/proc/self/mountinfo")
        .map_or(true, |mounts| names(&String::from_utf8_lossy(&mounts), files))
}

/// Tells whether mounts name a layer's files: by their path, or, where a container has more layers than fit into a page, by the path
/// from `snapshots`, as containerd mounts these.
fn names(mounts: &str, files: &Path) -> bool {
    let parts = || mounts.split([' ', '\n', ',', '=', ':']);
    parts().any(|part| part.ends_with("/fs") && files.ends_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_below_what_is_mounted_are_in_use() {
        let mount = |options: &str| {
            format!("36 1 0:30 / /run/x/rootfs rw - overlay overlay rw,{options}\n40 1 8:1 / /x rw\n")
        };
        let cases = [
            ("lowerdir=/var/lib/c/snapshots/2/fs:/var/lib/c/snapshots/1/fs,upperdir=/u", true),
            ("lowerdir=/var/lib/c/snapshots/1/fs,upperdir=/u", true),
            ("upperdir=/var/lib/c/snapshots/1/fs", true),
            ("lowerdir=2/fs:1/fs,upperdir=/var/lib/c/snapshots/3/fs", true),
            ("lowerdir=2/fs:11/fs,upperdir=/var/lib/c/snapshots/3/fs", false),
            ("lowerdir=/var/lib/d/snapshots/1/fs", false),
            ("lowerdir=/var/lib/c/snapshots/1/fs-other", false),
            ("", false),
        ];
        for (options, expected) in cases {
            assert_eq!(names(&mount(options), Path::new("/var/lib/c/snapshots/1/fs")), expected, "{options}");
        }
        assert!(names(
            "9 1 8:1 /c/snapshots/1/fs /var/lib/c/snapshots/1/fs rw - ext4 /dev/vda rw",
            Path::new("/var/lib/c/snapshots/1/fs")
        ));
    }
}
