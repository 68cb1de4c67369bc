//! What can be wrong with a tar, and where.

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

use ociseed_spec::{AclError, OwnerNameError, TreePath, TreePathError, XattrError, shown_path};

/// Says why a tar cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The operating system does not give its bytes.
    #[error("cannot read `{}`", shown_path(archive))]
    Read {
        /// The archive, as it was called.
        archive: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is no tar, or one that contradicts itself.
    #[error(transparent)]
    Invalid(Box<InvalidTar>),
}

/// Says what is wrong with which entry of which archive.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {place}: {problem}", shown_path(archive))]
pub struct InvalidTar {
    /// The archive, as it was called.
    pub archive: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is wrong there.
    pub problem: TarProblem,
}

impl TarError {
    /// Returns what is wrong, unless it could not be read at all.
    pub fn problem(&self) -> Option<&TarProblem> {
        match self {
            Self::Read { .. } => None,
            Self::Invalid(invalid) => Some(&invalid.problem),
        }
    }

    pub(super) fn new(archive: &Path, fault: Fault) -> Self {
        let archive = archive.into();
        match fault {
            Fault::Io(source) => Self::Read { archive, source },
            Fault::Problem(place, problem) => Self::Invalid(Box::new(InvalidTar { archive, place, problem })),
        }
    }
}

/// A place in a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where the header is, in bytes from the start of the tar; nowhere where entries contradict each other.
    pub at: Option<u64>,
    /// The entry's name as the tar has it; empty where it is not known yet.
    pub name: Vec<u8>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.at, self.name.is_empty()) {
            (None, _) => write!(f, "entry `{}`", shown(&self.name)),
            (Some(at), true) => write!(f, "byte {at}"),
            (Some(at), false) => write!(f, "entry `{}` at byte {at}", shown(&self.name)),
        }
    }
}

/// What can be wrong with an entry of a tar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarProblem {
    /// The end of the file comes before the end of the tar.
    #[error("the tar ends without two zero blocks: it was cut")]
    Cut,
    /// A zero block is followed by something else.
    #[error("one zero block, expected two at the end of a tar")]
    LoneZeroBlock,
    /// The first bytes are those of something else.
    #[error("expected a tar, plain or compressed with gzip, zstd, xz, lzma or bzip2, found `{0}`")]
    NoTar(String),
    /// The header is not what was written there, or nothing like a header.
    #[error("expected a tar header with checksum {expected}, found `{found}`")]
    Checksum {
        /// What the bytes of the header sum up to.
        expected: i32,
        /// What the header says.
        found: String,
    },
    /// A header field or a PAX record does not hold the number that it should.
    #[error("`{field}` is `{found}`, expected {expected}")]
    Number {
        /// The field or the record's key.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// There are fewer bytes than the entry says that it has.
    #[error("has {size} bytes, found {left} before the end of the archive")]
    Size {
        /// What the entry says.
        size: u64,
        /// What there is.
        left: u64,
    },
    /// Something that has no data says that it has some.
    #[error("a {kind} has size {size}, expected 0")]
    NoData {
        /// What the entry is.
        kind: &'static str,
        /// What it says.
        size: u64,
    },
    /// Something is larger or more than `docs/format.md` allows.
    #[error("{what}: found {found}, at most {max} allowed")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// How much there is, as far as it was counted.
        found: u64,
        /// How much there may be.
        max: u64,
    },
    /// A PAX header holds something that is no record.
    #[error("PAX record `{0}` is not `LENGTH KEY=VALUE` and a newline with that length")]
    Record(String),
    /// A PAX header for all entries says what can be true of one only.
    #[error("PAX record `{0}` in a header for all entries")]
    GlobalRecord(&'static str),
    /// Two headers of one kind belong to one entry.
    #[error("two headers of type `{0}` for one entry")]
    TwoHeaders(char),
    /// There is no entry that a header would be for.
    #[error("a header of type `{0}` without the entry that it is for")]
    NoEntry(char),
    /// Nobody knows what the entry is.
    #[error("type `{0}`, expected one of `0` to `7`, `g`, `x`, `K`, `L`, `S`")]
    Type(String),
    /// The map of a sparse file is not one.
    #[error("sparse file: {0}")]
    Sparse(String),
    /// The path would lead out.
    #[error("the {what} `{found}` has a `..` part")]
    Parent {
        /// Whose path it is.
        what: &'static str,
        /// The path.
        found: String,
    },
    /// A path or a link's target holds a NUL byte, which no path can.
    #[error("the {what} `{found}` holds a NUL byte")]
    Nul {
        /// Whose path it is.
        what: &'static str,
        /// The path.
        found: String,
    },
    /// A part of a path is longer than the 255 bytes that Linux takes (NAME_MAX).
    #[error("the {what} has a part of {found} bytes, at most 255 are possible")]
    LongName {
        /// Whose path it is.
        what: &'static str,
        /// How many bytes the part has.
        found: usize,
    },
    /// Something that is no directory is at the root.
    #[error("is at the root, expected a directory there")]
    Root,
    /// The root hides what layers below have.
    #[error("makes the root opaque, which no layer can say")]
    OpaqueRoot,
    /// A whiteout of nothing, or of a directory's own name.
    #[error("a whiteout of `{0}`, expected a name behind `.wh.`")]
    Whiteout(String),
    /// Something has a name that means a whiteout, and is none.
    #[error("a directory with a name that means a whiteout: `{0}`")]
    WhiteoutDirectory(String),
    /// A link without a target.
    #[error("a symbolic link without a target")]
    NoTarget,
    /// A hard link to what is not there before it, or cannot have two names.
    #[error("a hard link to `{target}`, which is {found}, expected a file, link, device or fifo before it")]
    Link {
        /// What it names.
        target: String,
        /// What is there.
        found: &'static str,
    },
    /// Two entries with one path cannot be one after the other.
    #[error("a {found}, but a {before} with this path came before")]
    Contradiction {
        /// What the entry is.
        found: &'static str,
        /// What the one before it was.
        before: &'static str,
    },
    /// Something lies below what is no directory.
    #[error("is below `{0}`, which is no directory")]
    Below(TreePath),
    /// An xattr that cannot be.
    #[error(transparent)]
    Xattr(#[from] XattrError),
    /// An access control list that cannot be.
    #[error(transparent)]
    Acl(#[from] AclError),
    /// A name of a user or group that cannot be.
    #[error(transparent)]
    OwnerName(#[from] OwnerNameError),
}

impl TarProblem {
    /// Says what is wrong with the path of `what`, without repeating all of it.
    pub(super) fn path(what: &'static str, path: &[u8], error: &TreePathError) -> Self {
        let found = shown(path);
        match error {
            TreePathError::Nul(_) => Self::Nul { what, found },
            TreePathError::LongName(_, found) => Self::LongName { what, found: *found },
            TreePathError::Parent(_) | TreePathError::NotAbsolute(_) => Self::Parent { what, found },
        }
    }

    pub(super) fn number(field: &'static str, found: &[u8], expected: &'static str) -> Self {
        Self::Number { field, found: shown(found), expected }
    }
}

/// What stops a walk: the archive's name is not known there.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Problem(Place, TarProblem),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// For listings, whose callers know which archive it is.
impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(error) => error,
            Fault::Problem(_, problem @ TarProblem::Cut) => Self::new(io::ErrorKind::UnexpectedEof, problem),
            Fault::Problem(place, problem) => {
                Self::new(io::ErrorKind::InvalidData, format!("{place}: {problem}"))
            }
        }
    }
}

/// Shows bytes in a message: on one line, and not megabytes of them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 120;
    let mut text = String::new();
    for character in ociseed_spec::shown(&bytes[..bytes.len().min(MOST)]).chars() {
        if character.is_control() {
            write!(text, "{}", character.escape_default()).expect("a string takes every write");
        } else {
            text.push(character);
        }
    }
    if bytes.len() > MOST { text + "…" } else { text }
}
