//! An engine's root: whether a store can be placed there, and how a copy takes its place.
//!
//! A root that is not there or empty is taken as a whole. One that is a mount point or has other files gets the pieces of the store one by
//! one, that with the engine's database last, without which the engine finds nothing. A `place` that was killed leaves a copy that
//! the next one removes, and pieces that it takes back, as another seed may be placed by then.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ociseed_spec::containerd_root::{METADATA, METADATA_FILE};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, StatxAttributes, StatxFlags, Uid};
use rustix::io::Errno;

use super::pieces::{self, PIECES};
use super::store::likeness;
use super::walk::{Names, flags, open_host};

/// Where a copy is made; behind it comes the root's name where it is made beside the root.
const STAGE: &str = ".ociseed-place";

/// What containerd gives a root that it makes itself.
const ROOT_MODE: u32 = 0o711;

/// What can be done with a root.
#[derive(Debug)]
pub(crate) enum Look {
    /// Nothing: the engine has been here.
    Used(String),
    /// Nothing: something is there that is not the store's.
    Foreign(String),
    /// The store can be placed there.
    Fresh(Way),
}

/// How a copy takes its place.
#[derive(Debug)]
pub(crate) enum Way {
    /// As a whole, with mode and owner of an empty directory.
    Whole(Option<Stat>),
    /// Piece by piece; these are there already.
    Pieces(Vec<OsString>),
}

/// A root by its place.
#[derive(Debug)]
pub(crate) struct Root {
    /// Where it is, with no link as its last part.
    pub(crate) path: PathBuf,
    parent: PathBuf,
    name: OsString,
}

impl Root {
    /// Finds a root; a symbolic link in its place is followed, once.
    ///
    /// # Errors
    /// It has no name, or is a link to a link.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let path = by_its_parts(&std::path::absolute(path)?);
        let path = match fs::read_link(&path) {
            Ok(target) => by_its_parts(&path.parent().unwrap_or(&path).join(target)),
            Err(_) => path,
        };
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        if fs::read_link(&path).is_ok() {
            return Err(invalid("it is a symbolic link to a symbolic link"));
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(invalid("it is no directory below another one"));
        };
        Ok(Self { parent: parent.to_owned(), name: name.to_owned(), path })
    }

    fn beside(&self) -> PathBuf {
        let mut name = OsString::from(STAGE);
        name.push("-");
        name.push(&self.name);
        self.parent.join(name)
    }

    fn inside(&self) -> PathBuf {
        self.path.join(STAGE)
    }

    /// Removes what those that were killed left.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) fn clean(&self) -> io::Result<()> {
        remove(&self.beside())?;
        self.discard()
    }

    /// Takes pieces back, unless they are the engine's by now, and removes the stage that they came from.
    fn discard(&self) -> io::Result<()> {
        let stage = self.inside();
        // At nearly every boot; then nothing is asked that could be refused.
        if stage.symlink_metadata().is_err() {
            return Ok(());
        }
        if !self.is_used() {
            pieces::take_back(&self.path, &stage)?;
        }
        pieces::forget(&stage)?;
        remove(&stage)
    }

    fn is_used(&self) -> bool {
        self.path.join(METADATA).join(METADATA_FILE).symlink_metadata().is_ok()
    }

    /// Finds out what can be done with the root, given the skeleton that would be placed.
    ///
    /// # Errors
    /// It is no directory, or something cannot be read.
    pub(crate) fn look(&self, skeleton: &OwnedFd) -> io::Result<Look> {
        if self.is_used() {
            return Ok(Look::Used(format!("it has `{METADATA}/{METADATA_FILE}`")));
        }
        let dir = match open_host(&self.path) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Look::Fresh(Way::Whole(None)));
            }
            Err(error) => return Err(error),
        };
        if Names::of(&dir)?.is_empty() && !self.is_mount_point()? {
            return Ok(Look::Fresh(Way::Whole(Some(rustix::fs::fstat(&dir)?))));
        }
        let mut there = Vec::new();
        for piece in Names::of(skeleton)?.iter() {
            let shown = ociseed_spec::shown(piece);
            match likeness(&dir, piece)? {
                None => {}
                Some(found) if Some(found) == likeness(skeleton, piece)? => {
                    there.push(OsStr::from_bytes(piece).to_owned());
                }
                Some(_) if can_be_replaced(&dir, skeleton, piece)? => {}
                Some(_) => return Ok(Look::Foreign(format!("its `{shown}` is not the store's"))),
            }
        }
        Ok(Look::Fresh(Way::Pieces(there)))
    }

    fn is_mount_point(&self) -> io::Result<bool> {
        Ok(is_mount_point(CWD, self.path.as_os_str(), self.parent.as_os_str())?)
    }

    /// Opens the directory nearest to the root that is there, which has the file system that the root will be on.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn nearest(&self) -> io::Result<OwnedFd> {
        let mut at = self.path.as_path();
        loop {
            match (open_host(at), at.parent()) {
                (Err(error), Some(above)) if error.kind() == io::ErrorKind::NotFound => at = above,
                (result, _) => return result,
            }
        }
    }

    /// Makes the place where a copy can be made.
    ///
    /// # Errors
    /// The root, or the directory that it is in, cannot be written.
    pub(crate) fn stage(&self, way: Way) -> io::Result<Stage<'_>> {
        let (mut path, mut way) = (self.beside(), way);
        if let Way::Whole(_) = way {
            DirBuilder::new().recursive(true).mode(0o755).create(&self.parent)?;
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // Where only the root may be written, it is taken as one that is not empty.
                Err(error) if is_forbidden(&error) && matches!(way, Way::Whole(Some(_))) => {
                    way = Way::Pieces(Vec::new());
                }
                Err(error) => return Err(error),
            }
        }
        let mut top = path.clone();
        if let Way::Pieces(_) = way {
            path = self.inside();
            top = path.join(PIECES);
            DirBuilder::new().mode(0o700).create(&path)?;
            DirBuilder::new().mode(0o700).create(&top)?;
        }
        let dir = open_host(&top)?;
        Ok(Stage { root: self, way, path, dir, taken: false })
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    let forbidden = [Errno::ROFS, Errno::ACCESS, Errno::PERM];
    forbidden.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Leaves out what says nothing: behind a `/` at its end a link is followed before it can be asked for.
fn by_its_parts(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Tells whether something else is mounted at a path than at the one above it.
fn is_mount_point(dir: impl AsFd, path: &OsStr, above: &OsStr) -> rustix::io::Result<bool> {
    let of = |path| rustix::fs::statx(&dir, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
    let (found, above) = (of(path)?, of(above)?);
    // Linux says so since 5.8; before, a mount of the same file system is not known, and refuses to be renamed over.
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        || (found.stx_dev_major, found.stx_dev_minor) != (above.stx_dev_major, above.stx_dev_minor))
}

/// Tells whether a piece of the skeleton can be renamed over what the root has in its place: a directory over an empty one, itself
/// and not behind a link, with nothing mounted there. Nothing else would do, and the pieces before it would have been placed by then.
fn can_be_replaced(root: &OwnedFd, skeleton: &OwnedFd, piece: &[u8]) -> io::Result<bool> {
    for above in [root, skeleton] {
        let stat = rustix::fs::statat(above, piece, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(false);
        }
    }
    if is_mount_point(root, OsStr::from_bytes(piece), OsStr::new("."))? {
        return Ok(false);
    }
    let dir = rustix::fs::openat(root, piece, flags() | OFlags::DIRECTORY, Mode::empty())?;
    Ok(Names::of(&dir)?.is_empty())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A copy that is not in its place yet; removed when it is dropped before.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    root: &'a Root,
    way: Way,
    path: PathBuf,
    /// The directory that the copy is made in.
    pub(crate) dir: OwnedFd,
    taken: bool,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if !self.taken {
            // What stays is removed by the next `place`.
            let _ = match self.way {
                Way::Whole(_) => remove(&self.path),
                Way::Pieces(_) => self.root.discard(),
            };
        }
    }
}

impl Stage<'_> {
    /// Lets the copy take its place, once all of it is on the disk.
    ///
    /// # Errors
    /// The root cannot be written; then it is as it was, or the next `place` makes it so.
    pub(crate) fn take_place(mut self) -> io::Result<()> {
        match &self.way {
            Way::Whole(existing) => self.as_a_whole(existing.as_ref())?,
            Way::Pieces(there) => self.by_pieces(there)?,
        }
        self.taken = true;
        Ok(())
    }

    fn as_a_whole(&self, existing: Option<&Stat>) -> io::Result<()> {
        let bits = existing.map_or(ROOT_MODE, |stat| stat.st_mode & 0o7777);
        if let Some(stat) = existing {
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::fchown(&self.dir, Some(uid), Some(gid))?;
        }
        rustix::fs::fchmod(&self.dir, Mode::from_raw_mode(bits))?;
        rustix::fs::syncfs(&self.dir)?;
        // Replaces an empty directory, and nothing else.
        fs::rename(&self.path, &self.root.path)?;
        Ok(rustix::fs::fsync(open_host(&self.root.parent)?)?)
    }

    fn by_pieces(&self, there: &[OsString]) -> io::Result<()> {
        let root = open_host(&self.root.path)?;
        let there: Vec<&[u8]> = there.iter().map(|name| name.as_bytes()).collect();
        // On the disk before the first piece is in its place.
        pieces::note(&self.path, &self.dir, &there)?;
        rustix::fs::syncfs(&self.dir)?;
        let names = Names::of(&self.dir)?;
        let (last, first): (Vec<&[u8]>, Vec<&[u8]>) =
            names.iter().partition(|name| *name == METADATA.as_bytes());
        for names in [first, last] {
            for name in names.into_iter().filter(|name| !there.contains(name)) {
                rustix::fs::renameat(&self.dir, name, &root, name)?;
            }
            // The database is not there before what it names is.
            rustix::fs::fsync(&root)?;
        }
        pieces::forget(&self.path)?;
        remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory(test: &str) -> PathBuf {
        let top = std::env::temp_dir().join(format!("ociseed-root-{test}-{}", std::process::id()));
        fs::create_dir_all(&top).expect("a directory");
        top
    }

    #[test]
    fn a_root_is_where_a_link_leads_however_it_is_written() {
        let top = directory("at");
        let target = top.join("target");
        fs::create_dir(&target).expect("a directory");
        symlink("target/", top.join("link")).expect("a link");
        symlink("link/", top.join("second")).expect("a link");
        for (typed, expected) in [
            ("link", Some("target")),
            ("link/", Some("target")),
            ("link//./", Some("target")),
            ("target/", Some("target")),
            ("absent/", Some("absent")),
            ("second", None),
            ("second/", None),
        ] {
            let found = Root::at(&top.join(typed)).map(|root| root.path);
            assert_eq!(found.ok(), expected.map(|name| top.join(name)), "{typed}");
        }
        fs::remove_dir_all(&top).expect("removed");
    }

    #[test]
    fn only_an_empty_directory_gives_way_to_one() {
        let top = directory("way");
        for path in ["skeleton/piece", "root/empty", "root/full/file", "root/target"] {
            fs::create_dir_all(top.join(path)).expect("a directory");
        }
        fs::write(top.join("root/file"), "").expect("a file");
        symlink("target", top.join("root/link")).expect("a link");
        let cases = [("empty", true), ("full", false), ("file", false), ("link", false)];
        let root = open_host(&top.join("root")).expect("there");
        let skeleton = open_host(&top.join("skeleton")).expect("there");
        for (name, expected) in cases {
            fs::rename(top.join("root").join(name), top.join("root/piece")).expect("renamed");
            let found = can_be_replaced(&root, &skeleton, b"piece").expect("read");
            assert_eq!(found, expected, "{name}");
            fs::rename(top.join("root/piece"), top.join("root").join(name)).expect("renamed");
        }
        // A link in the skeleton cannot take a directory's place.
        symlink("target", top.join("skeleton/empty")).expect("a link");
        assert!(!can_be_replaced(&root, &skeleton, b"empty").expect("read"));
        fs::remove_dir_all(&top).expect("removed");
    }
}
