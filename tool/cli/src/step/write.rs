//! Writing a tree in the form that was asked for.

use std::io::{self, Write};
use std::path::Path;

use cap_std::fs::{Permissions, PermissionsExt};
use ociseed_media::{DirectoryError, Placer, write_directory, write_tar};
use ociseed_spec::{Digest, Hasher};
use ociseed_tree::{ReadError, Tree};

use crate::failure::{Failure, chain};
use crate::output::{OutDir, write_failure, write_output};

/// How a tree leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As one file.
    Tar,
    /// As a directory of plain files.
    Directory,
}

/// Writes a tree to a path that the command line names, whole or not at all.
pub(crate) fn write_tree(tree: &Tree, form: Form, path: &Path) -> Result<(), Failure> {
    match form {
        Form::Tar => {
            write_output(path, |writer| write_tar(tree, writer).map_err(|error| read_failure(path, error)))
        }
        Form::Directory => {
            let (out, name) = OutDir::of_output(path)?;
            let stage = out.stage()?;
            stage_directory(tree, &stage.out(), &name, &|_, _, _| Ok(false))?;
            stage.commit(&name, &out, &name, false)
        }
    }
}

/// Writes a tree as a new directory of a stage; `place` may put files there without copying them.
pub(crate) fn stage_directory(
    tree: &Tree,
    out: &OutDir,
    name: impl AsRef<Path>,
    place: Placer<'_>,
) -> Result<(), Failure> {
    let dir = out.below(name)?;
    let fail = |error| write_failure(&dir.shown(""), &error);
    dir.dir().set_permissions(".", Permissions::from_mode(0o755)).map_err(fail)?;
    write_directory(tree, dir.dir(), place).map_err(|error| match error {
        DirectoryError::Write { path, source } => write_failure(&dir.shown(&path.to_string()[1..]), &source),
        error => Failure::new(chain(&error)),
    })
}

/// Tells errors of reading from those of writing, which name the output.
pub(crate) fn read_failure(path: &Path, error: ReadError) -> Failure {
    match error {
        ReadError::Write(error) => write_failure(path, &error),
        error => Failure::new(chain(&error)),
    }
}

/// Writes a tree as a tar and returns the tar's digest; `progress` is told how many more bytes are done.
pub(crate) fn write_tar_hashed(
    tree: &Tree,
    path: &Path,
    progress: &dyn Fn(u64),
    out: &mut dyn Write,
) -> Result<Digest, Failure> {
    let mut watched = Watched::new(out, progress);
    write_tar(tree, &mut watched).map_err(|error| read_failure(path, error))?;
    Ok(watched.finish().finish())
}

/// Hashes what is written, and tells how many more bytes are done.
pub(crate) struct Watched<'a> {
    out: &'a mut dyn Write,
    hasher: Hasher,
    progress: &'a dyn Fn(u64),
}

impl<'a> Watched<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, progress: &'a dyn Fn(u64)) -> Self {
        Self { out, hasher: Hasher::new(), progress }
    }

    /// Returns the hash of all that was written.
    pub(crate) fn finish(self) -> Hasher {
        self.hasher
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        (self.progress)(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
