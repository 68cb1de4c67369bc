//! The engine's root, as far as the loader looks into it itself: where its content store and its snapshots are, and the links in them.
//!
//! Everything is compared as text: a link is right if it is the one that would be made. What it leads to was trusted with the seed.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use ociseed_spec::Digest;

/// A link on its way to its place, in the root: in the content store it would keep the engine from collecting garbage.
const TEMPORARY: &str = ".ociseed-link";

/// What is found in the place of a blob or of a snapshot's files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    /// Nothing.
    Nothing,
    /// A link to there.
    Link(Vec<u8>),
    /// A file of this size, or a directory.
    Own(u64),
}

/// The directories of one engine.
#[derive(Debug, Clone)]
pub(crate) struct EngineRoot {
    /// The content store's.
    pub(crate) content: PathBuf,
    /// The snapshotter's.
    pub(crate) snapshotter: PathBuf,
}

impl EngineRoot {
    /// Takes the directories that an engine has by its own account, if they are those that we see under these names.
    ///
    /// # Errors
    /// They are not, as of an engine in a container, with the reason.
    pub(crate) fn at(content: &str, snapshotter: &str, database: &Path) -> Result<Self, String> {
        let root = Self { content: content.into(), snapshotter: snapshotter.into() };
        let shown = database.display();
        // Of an engine that runs its database is locked (bbolt).
        match File::open(database).map(|file| file.try_lock_shared()) {
            Ok(Err(TryLockError::WouldBlock)) => Ok(root),
            Ok(_) => Err(format!("no engine uses `{shown}` as seen from here")),
            Err(error) => Err(format!("cannot read `{shown}`: {error}")),
        }
    }

    /// Returns both directories in which links to seeds are needed.
    pub(crate) fn parents(&self) -> Vec<&Path> {
        let mut parents: Vec<_> =
            [&self.content, &self.snapshotter].iter().filter_map(|path| path.parent()).collect();
        parents.dedup();
        parents
    }

    /// Returns the directory of all blobs.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.content.join("blobs/sha256")
    }

    /// Returns the directory of all snapshots.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.snapshotter.join("snapshots")
    }

    /// Looks at a blob.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn blob(&self, digest: &Digest) -> io::Result<Lies> {
        look(&self.blobs().join(digest.hex()))
    }

    /// Finds the link that a snapshot is, or that the files of one are; what else it may be is nothing's.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn snapshot(&self, number: u64) -> io::Result<(PathBuf, Lies)> {
        let place = self.snapshots().join(number.to_string());
        match look(&place)? {
            Lies::Own(_) => {
                let files = place.join("fs");
                look(&files).map(|lies| (files, lies))
            }
            other => Ok((place, other)),
        }
    }

    /// Makes a link in the place of whatever is there but a directory with something in it; synced is the directory later.
    ///
    /// # Errors
    /// No link can be made.
    pub(crate) fn link(&self, place: &Path, target: &str) -> io::Result<()> {
        // The snapshotter's directory may be on another file system than the content store's.
        let parents = self.parents().into_iter().filter(|parent| place.starts_with(parent));
        let parent = parents.max_by_key(|parent| parent.as_os_str().len());
        let Some(parent) = parent else { return Err(io::ErrorKind::InvalidInput.into()) };
        let temporary = parent.join(TEMPORARY);
        remove(&temporary)?;
        symlink(target, &temporary)?;
        // A link takes no directory's place by renaming.
        if let Ok(Lies::Own(_)) = look(place)
            && fs::symlink_metadata(place)?.is_dir()
        {
            fs::remove_dir(place)?;
        }
        let renamed = fs::rename(&temporary, place);
        if renamed.is_err() {
            remove(&temporary)?;
        }
        renamed
    }

    /// Makes the directory of blobs, which an engine that has none has not made yet.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn make_blobs(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o755).create(self.blobs())
    }
}

/// Looks at a path without following it. The engine may take away what is there meanwhile.
pub(crate) fn look(place: &Path) -> io::Result<Lies> {
    let looked = fs::symlink_metadata(place).and_then(|metadata| match metadata.is_symlink() {
        true => fs::read_link(place).map(|target| Lies::Link(target.as_os_str().as_bytes().to_vec())),
        false => Ok(Lies::Own(metadata.len())),
    });
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lies::Nothing),
        looked => looked,
    }
}

/// Syncs a directory, so that the engine is told of no link that a power cut would take away.
///
/// # Errors
/// It cannot be synced.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a link that may not be there.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(place: &Path) -> io::Result<()> {
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> (PathBuf, EngineRoot) {
        let top = std::env::temp_dir().join(format!("ociseed-root-{name}-{}", std::process::id()));
        let root = EngineRoot { content: top.join("content"), snapshotter: top.join("overlayfs") };
        fs::create_dir_all(root.blobs()).expect("made");
        fs::create_dir_all(root.snapshots()).expect("made");
        (top, root)
    }

    #[test]
    fn links_take_the_place_of_what_is_wrong() {
        let (top, root) = scratch("link");
        let digest = Digest::of(b"");
        let place = root.blobs().join(digest.hex());
        assert_eq!(root.blob(&digest).expect("looked"), Lies::Nothing);
        for before in ["nothing", "file", "link"] {
            match before {
                "file" => fs::write(&place, "four").expect("written"),
                "link" => symlink("elsewhere", &place).expect("made"),
                _ => {}
            }
            root.link(&place, "right").expect(before);
            assert_eq!(root.blob(&digest).expect("looked"), Lies::Link(b"right".to_vec()), "{before}");
            fs::remove_file(&place).expect("removed");
        }
        fs::write(&place, "four").expect("written");
        assert_eq!(root.blob(&digest).expect("looked"), Lies::Own(4));
        assert_eq!(fs::read_dir(&top).expect("read").count(), 2, "nothing temporary stays");
        fs::remove_dir_all(&top).expect("removed");
    }

    #[test]
    fn what_goes_while_it_is_looked_at_is_not_there() {
        let (top, root) = scratch("goes");
        let digest = Digest::of(b"");
        let place = root.blobs().join(digest.hex());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // As garbage collection does, and a run that links it again.
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    symlink("right", &place).expect("made");
                    fs::remove_file(&place).expect("removed");
                }
            });
            let looked: Vec<_> = (0..20_000).map(|_| root.blob(&digest)).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            for lies in looked {
                let lies = lies.expect("looked");
                assert!(matches!(lies, Lies::Nothing | Lies::Link(_)), "{lies:?}");
            }
        });
        fs::remove_dir_all(&top).expect("removed");
    }

    #[test]
    fn a_snapshot_is_a_link_or_has_its_files_by_one() {
        let (top, root) = scratch("snapshot");
        let files = root.snapshots().join("7/fs");
        fs::create_dir_all(&files).expect("made");
        let (place, lies) = root.snapshot(7).expect("looked");
        assert_eq!((place.as_path(), matches!(lies, Lies::Own(_))), (files.as_path(), true));
        root.link(&files, "right").expect("an empty directory goes");
        assert_eq!(root.snapshot(7).expect("looked"), (files, Lies::Link(b"right".to_vec())));
        symlink("whole", root.snapshots().join("8")).expect("made");
        assert_eq!(root.snapshot(8).expect("looked").1, Lies::Link(b"whole".to_vec()));
        assert_eq!(root.snapshot(9).expect("looked").1, Lies::Nothing);
        let full = root.snapshots().join("10/fs");
        fs::create_dir_all(full.join("etc")).expect("made");
        assert!(root.link(&full, "right").is_err(), "what somebody unpacked stays");
        assert!(full.join("etc").is_dir());
        assert!(
            look(&top.join(TEMPORARY)).is_ok_and(|lies| matches!(lies, Lies::Link(_))),
            "and goes next time"
        );
        fs::remove_dir_all(&top).expect("removed");
    }

    #[test]
    fn a_link_is_made_beside_its_place() {
        let (top, root) = scratch("apart");
        let apart = |content: &str, snapshotter: &str| EngineRoot {
            content: top.join(content),
            snapshotter: top.join(snapshotter),
        };
        let file = root.snapshots().join("file");
        for (root, right) in [
            // A parent that is not there could only be another file system's.
            (apart("nowhere/content", "overlayfs"), true),
            (apart("overlayfs/nowhere/content", "overlayfs"), true),
            (apart("nowhere/content", "elsewhere/overlayfs"), false),
        ] {
            assert_eq!(root.link(&file, "right").is_ok(), right, "{root:?}");
        }
        fs::remove_dir_all(&top).expect("removed");
    }

    #[test]
    fn only_the_database_of_an_engine_that_runs_is_locked() {
        let (top, _) = scratch("database");
        let database = top.join("meta.db");
        let at = || EngineRoot::at("/c", "/s", &database);
        assert!(at().is_err_and(|reason| reason.contains("cannot read")));
        let file = File::create(&database).expect("made");
        assert!(at().is_err_and(|reason| reason.contains("no engine")));
        file.lock().expect("locked");
        assert!(at().is_ok());
        fs::remove_dir_all(&top).expect("removed");
    }
}
