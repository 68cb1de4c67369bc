//! What a `place` puts into a root piece by piece, noted before the first one so that the next `place` can take it back.
//!
//! One that is killed in between leaves pieces that another seed's store does not fit beside, and nobody could tell them from
//! what somebody else has put there. The note has what each piece is like, so that what is taken back is what was placed.
//! Whatever happens, the note goes when the engine's database is in its place, or none of the pieces.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use ociseed_spec::Digest;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::store::likeness;
use super::walk::{Names, flags, open_dir, open_host};

/// Where the pieces are made, in the stage, and where they go back to.
pub(crate) const PIECES: &str = "pieces";

/// The note, in the stage.
const NOTE: &str = "note.json";

/// The version of notes that is written and read.
const VERSION: u32 = 1;

/// A note: the pieces that are placed, with what they are like.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    version: u32,
    pieces: BTreeMap<String, Digest>,
}

/// What every version of a note has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Notes which pieces are about to be placed; it is for the caller to sync it.
///
/// # Errors
/// It cannot be written, or a name is not UTF-8.
pub(crate) fn note(stage: &Path, pieces: &OwnedFd, but: &[&[u8]]) -> io::Result<()> {
    let mut noted = BTreeMap::new();
    for name in Names::of(pieces)?.iter().filter(|name| !but.contains(name)) {
        let text = str::from_utf8(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let digest = likeness(pieces, name)?.ok_or(Errno::NOENT)?;
        noted.insert(text.to_owned(), digest);
    }
    let text = serde_json::to_vec(&Note { version: VERSION, pieces: noted })?;
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(open_host(stage)?, NOTE, new, Mode::RUSR | Mode::WUSR)?;
    File::from(file).write_all(&text)
}

/// Takes back what the `place` that left a stage had placed, where a note says so.
///
/// # Errors
/// It cannot be taken back, or the note is of a newer loader.
pub(crate) fn take_back(root: &Path, stage: &Path) -> io::Result<()> {
    let Some(note) = read(stage)? else { return Ok(()) };
    let (root, stage) = (open_host(root)?, open_host(stage)?);
    let pieces = match open_dir(&stage, PIECES) {
        // It goes after the note, though a disk that lost power may have it the other way round.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    for (name, digest) in &note.pieces {
        // What is here still was not placed, so the root's is somebody's who came in between.
        let is_here = rustix::fs::statat(&pieces, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if !is_here && is_name(name) && likeness(&root, name.as_bytes())?.as_ref() == Some(digest) {
            // At once, so that one that is killed here leaves no half of it.
            rustix::fs::renameat(&root, name, &pieces, name)?;
        }
    }
    rustix::fs::fsync(&pieces)?;
    Ok(rustix::fs::fsync(&root)?)
}

/// Removes the note, with which what is left in the stage is nothing but a copy.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn forget(stage: &Path) -> io::Result<()> {
    match rustix::fs::unlink(stage.join(NOTE)) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads the note; there is none, too, where it was not written to its end, as nothing was placed then.
fn read(stage: &Path) -> io::Result<Option<Note>> {
    let mut bytes = Vec::new();
    match rustix::fs::openat(CWD, stage.join(NOTE), flags(), Mode::empty()) {
        Ok(file) => File::from(file).read_to_end(&mut bytes)?,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> io::Result<Option<Note>> {
    let Ok(Versioned { version }) = serde_json::from_slice(bytes) else { return Ok(None) };
    if version != VERSION {
        let text = format!("its note in `{NOTE}` has version {version}, this loader reads version {VERSION}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(Some(serde_json::from_slice(bytes)?))
}

/// Tells whether a name is one part of a path, as those that are noted are.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains('/')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A root with a stage in it, in which there are three pieces with a note.
    fn noted(test: &str) -> (PathBuf, PathBuf) {
        let root = std::env::temp_dir().join(format!("ociseed-pieces-{test}-{}", std::process::id()));
        let stage = root.join("stage");
        for piece in ["a", "b", "there"] {
            fs::create_dir_all(stage.join(PIECES).join(piece)).expect("a directory");
            symlink("target", stage.join(PIECES).join(piece).join("link")).expect("a link");
        }
        let pieces = open_host(&stage.join(PIECES)).expect("there");
        note(&stage, &pieces, &[b"there"]).expect("written");
        (root, stage)
    }

    #[test]
    fn only_what_was_placed_and_is_still_the_same_is_taken_back() {
        type Change = fn(&Path, &Path);
        let placed = |root: &Path, stage: &Path, name| {
            fs::rename(stage.join(PIECES).join(name), root.join(name)).expect("renamed");
        };
        let cases: [(&str, Change, bool); 4] = [
            ("placed", |_, _| {}, false),
            ("changed", |root, _| fs::write(root.join("a/more"), "").expect("a file"), true),
            (
                "taken back before",
                |root, stage| fs::rename(root.join("a"), stage.join(PIECES).join("a")).expect("back"),
                false,
            ),
            ("forgotten", |_, stage| forget(stage).expect("forgotten"), true),
        ];
        for (name, change, stays) in cases {
            let (root, stage) = noted("back");
            for piece in ["a", "there"] {
                placed(&root, &stage, piece);
            }
            change(&root, &stage);
            // Somebody's, though it is like ours.
            fs::create_dir(root.join("b")).expect("a directory");
            symlink("target", root.join("b/link")).expect("a link");
            take_back(&root, &stage).expect("taken back");
            let found = ["a", "b", "there"].map(|piece| root.join(piece).exists());
            fs::remove_dir_all(&root).expect("removed");
            assert_eq!(found, [stays, true, true], "{name}");
        }
    }

    #[test]
    fn a_note_that_was_cut_off_is_none_and_a_newer_one_an_error() {
        let note = Note { version: 1, pieces: [("a".to_owned(), Digest::of(b"a"))].into() };
        let text = serde_json::to_vec(&note).expect("JSON");
        assert_eq!(parse(&text).expect("right"), Some(note));
        for length in 0..text.len() {
            assert_eq!(parse(&text[..length]).expect("cut off"), None, "{length}");
        }
        let error = parse(br#"{"version":2,"more":0}"#).expect_err("newer").to_string();
        assert!(error.contains("version 2") && error.contains("version 1"), "{error}");
        for name in ["", ".", "..", "../a", "a/b", "/a"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
