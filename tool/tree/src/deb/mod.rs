//! Debian packages (deb(5)): their files, and what scanners want to know of them.
//!
//! Packages are read, not installed: maintainer scripts are named, so that whoever makes an image knows
//! what did not happen.

mod ar;
mod control;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::File;
use ociseed_spec::metadata::Package;
use ociseed_spec::{Packing, TreePath, shown_path};

use self::ar::{Member, Members};
pub use self::control::ControlError;
use crate::part::Part;
use crate::spool::{self, ArchiveError, Scratch};
use crate::tar::shown as shown_bytes;
use crate::{Content, Entry, Node, ReadError, Tree};

/// The most bytes of a `control` file; the largest in Debian have some 100 KiB.
const MAX_CONTROL: u64 = 1024 * 1024;
/// The most bytes of `md5sums`: a line for each of some 200,000 files.
const MAX_MD5SUMS: u64 = 32 * 1024 * 1024;
/// What dpkg runs (deb-preinst(5) and so on), sorted; `config` is debconf's.
const SCRIPTS: [&str; 5] = ["config", "postinst", "postrm", "preinst", "prerm"];
/// Where scanners look for packages of images without dpkg.
const STATUS: &str = "/var/lib/dpkg/status.d";

/// A package.
#[derive(Debug)]
pub struct Deb {
    /// Its files.
    pub tree: Tree,
    /// Its name and version, and the scripts that were not run.
    pub package: Package,
    /// Its `control` file.
    pub control: Arc<[u8]>,
    /// Its `md5sums` file, where it has one.
    pub md5sums: Option<Arc<[u8]>>,
}

/// Says why a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The operating system does not give its bytes.
    #[error("cannot read `{}`", shown_path(archive))]
    Read {
        /// The package, as it was called.
        archive: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is no package.
    #[error("`{}`: {problem}", shown_path(archive))]
    Invalid {
        /// The package, as it was called.
        archive: PathBuf,
        /// What is wrong.
        problem: DebProblem,
    },
    /// One of the tars in it is not good.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file of its control archive cannot be read.
    #[error(transparent)]
    Content(#[from] ReadError),
}

/// What can be wrong with a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DebProblem {
    /// It is no `ar` archive.
    #[error("expected `!<arch>` and a newline, found `{0}`: no Debian package")]
    Magic(String),
    /// A member's header is not one.
    #[error("expected the header of a member at byte {at}, found `{found}`")]
    Header {
        /// Where.
        at: u64,
        /// What is there.
        found: String,
    },
    /// There are fewer bytes than a member says that it has.
    #[error("member `{name}` has {size} bytes, found {left} before the end of the archive")]
    Size {
        /// The member's name.
        name: String,
        /// What its header says.
        size: u64,
        /// What there is.
        left: u64,
    },
    /// A member is not the one that dpkg wants in this place.
    #[error("member `{found}`, expected `{expected}`")]
    Order {
        /// Its name.
        found: String,
        /// The name that it should have.
        expected: &'static str,
    },
    /// There are fewer members than a package has.
    #[error("no member `{0}`")]
    Missing(&'static str),
    /// Two members with one name, of which different programs take different ones.
    #[error("two members `{0}`")]
    Twice(&'static str),
    /// The package is of a version that does not exist yet.
    #[error("`debian-binary` says `{0}`, expected 2.0")]
    Version(String),
    /// A member is not what the end of its name says.
    #[error("member `{name}`: the data are {found}")]
    Compression {
        /// Its name.
        name: String,
        /// What its first bytes say.
        found: &'static str,
    },
    /// The control archive has no good `control`.
    #[error("`{name}`: {found}")]
    File {
        /// The file's name.
        name: &'static str,
        /// What is wrong with it.
        found: String,
    },
    /// `control` does not say what it should.
    #[error("`control`: {0}")]
    Control(#[from] ControlError),
}

/// What stops the reading; the package's name is not known there.
enum Fault {
    Io(io::Error),
    Problem(DebProblem),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DebProblem> for Fault {
    fn from(problem: DebProblem) -> Self {
        Self::Problem(problem)
    }
}

/// Reads a package; `shown` is what messages call it.
///
/// # Errors
/// It is no package of version 2, or what is in it is not good.
pub fn read(file: Arc<File>, shown: Arc<Path>, scratch: &mut Scratch<'_>) -> Result<Deb, DebError> {
    let fail = |fault| match fault {
        Fault::Io(source) => DebError::Read { archive: shown.to_path_buf(), source },
        Fault::Problem(problem) => DebError::Invalid { archive: shown.to_path_buf(), problem },
    };
    let problem = |problem: DebProblem| fail(problem.into());
    let [control, data] = tars(file).map_err(fail)?;
    let mut read = |member: Member| -> Result<Tree, DebError> {
        let name: Arc<Path> = shown.join(&member.name).into();
        let (tree, packing) = spool::read_part(member.data, name, scratch)?;
        match packing_of_name(&member.name) == Some(packing) {
            true => Ok(tree),
            false => Err(problem(DebProblem::Compression { name: member.name, found: packing.name() })),
        }
    };
    let about = read(control)?;
    let missing =
        || problem(DebProblem::File { name: "control", found: "not in the control archive".to_owned() });
    let control = small_file(&about, "control", MAX_CONTROL, &problem)?.ok_or_else(missing)?;
    let md5sums = small_file(&about, "md5sums", MAX_MD5SUMS, &problem)?;
    let fields = control::parse(&control).map_err(|error| problem(error.into()))?;
    let scripts = SCRIPTS.into_iter().filter(|name| about.get(&named(name)).is_some());
    let package = Package {
        name: fields.package,
        version: fields.version,
        architecture: fields.architecture,
        scripts: scripts.map(str::to_owned).collect(),
    };
    Ok(Deb { tree: read(data)?, package, control, md5sums })
}

impl Deb {
    /// Returns the files that tell scanners that the package is there, with their paths.
    pub fn status_files(&self) -> Vec<(TreePath, Entry)> {
        let file = |suffix: &str, bytes: &Arc<[u8]>| {
            let path = format!("{STATUS}/{}{suffix}", self.package.name);
            let path = path.parse().expect("names of packages are names of files");
            (path, Entry::file(Content::bytes(Arc::clone(bytes))))
        };
        let sums = self.md5sums.as_ref().map(|sums| file(".md5sums", sums));
        [file("", &self.control)].into_iter().chain(sums).collect()
    }
}

/// Finds the control archive and the data archive.
fn tars(file: Arc<File>) -> Result<[Member; 2], Fault> {
    let mut members = Members::new(Part::whole(file)?)?;
    let version = members.next()?.ok_or(DebProblem::Missing("debian-binary"))?;
    if version.name != "debian-binary" {
        return Err(DebProblem::Order { found: version.name, expected: "debian-binary" }.into());
    }
    check_version(version)?;
    let control = wanted(&mut members, "control.tar")?;
    let data = wanted(&mut members, "data.tar")?;
    // dpkg does not look at what follows, but other programs may take it for the package.
    while let Some(member) = members.next()? {
        for name in ["debian-binary", "control.tar", "data.tar"] {
            if member.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                return Err(DebProblem::Twice(name).into());
            }
        }
    }
    Ok([control, data])
}

/// Returns the next member but those that dpkg passes over.
fn wanted(members: &mut Members, expected: &'static str) -> Result<Member, Fault> {
    loop {
        let member = members.next()?.ok_or(DebProblem::Missing(expected))?;
        if member.name.starts_with('_') {
            continue;
        }
        let end = member.name.strip_prefix(expected);
        return match end.and_then(|_| packing_of_name(&member.name)) {
            Some(_) => Ok(member),
            None => Err(DebProblem::Order { found: member.name, expected }.into()),
        };
    }
}

fn check_version(member: Member) -> Result<(), Fault> {
    let mut text = vec![0; usize::try_from(member.data.left()).unwrap_or(usize::MAX).min(64)];
    let mut data = member.data;
    let count = crate::part::fill(&mut data, &mut text)?;
    let line = text[..count].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let minor =
        line.strip_prefix(b"2.").filter(|minor| !minor.is_empty() && minor.iter().all(u8::is_ascii_digit));
    match minor.filter(|_| line.len() < count) {
        Some(_) => Ok(()),
        None => Err(DebProblem::Version(shown_bytes(line)).into()),
    }
}

/// Tells how a member says that it is compressed.
fn packing_of_name(name: &str) -> Option<Packing> {
    let end = name.strip_prefix("control.tar").or_else(|| name.strip_prefix("data.tar"))?;
    Some(match end {
        "" => Packing::Plain,
        ".gz" => Packing::Gzip,
        ".xz" => Packing::Xz,
        ".zst" => Packing::Zstd,
        ".bz2" => Packing::Bzip2,
        ".lzma" => Packing::Lzma,
        _ => return None,
    })
}

fn named(name: &str) -> TreePath {
    TreePath::parse(name.as_bytes()).expect("a name of ours")
}

/// Reads a file of the control archive into memory.
fn small_file(
    about: &Tree,
    name: &'static str,
    max: u64,
    problem: &dyn Fn(DebProblem) -> DebError,
) -> Result<Option<Arc<[u8]>>, DebError> {
    let fail = |found: String| Err(problem(DebProblem::File { name, found }));
    let content = match about.get(&named(name)).map(|entry| &entry.node) {
        None => return Ok(None),
        Some(Node::File(content)) => content,
        Some(_) => return fail("not a file".to_owned()),
    };
    if content.size() > max {
        return fail(format!("has {} bytes, at most {max} allowed", content.size()));
    }
    let mut bytes = Vec::new();
    content.copy_to(&mut bytes)?;
    Ok(Some(bytes.into()))
}
