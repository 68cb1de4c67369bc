//! Writing a tree in the form that was asked for.

use std::io::{self, Write};
use std::path::Path;

use cap_std::fs::{Dir, Permissions, PermissionsExt};
use ociseed_image::LayerError;
use ociseed_media::{DirectoryError, Placer, write_directory, write_tar};
use ociseed_spec::Hasher;
use ociseed_tree::{Bytes, Content, ReadError, Tree};

use crate::context::cancellation;
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
        Form::Directory => write_linked(tree, path, &|_, _, _| Ok(false)),
    }
}

/// Writes a tree as a directory, whole or not at all; `link` may put something else in the place of a file.
pub(crate) fn write_linked(tree: &Tree, path: &Path, link: Placer<'_>) -> Result<(), Failure> {
    let (out, name) = OutDir::of_output(path)?;
    let stage = out.stage()?;
    let cancellation = cancellation();
    let place = |content: &Content, dir: &Dir, path: &Path| {
        cancellation.check()?;
        link(content, dir, path)
    };
    stage_directory(tree, &stage.out(), &name, &place)?;
    stage.commit(&name, &out, &name, false)
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

/// Writes bytes as they are, and returns their hash where it is wanted; `progress` is told how many more are done.
pub(crate) fn write_bytes<B: Bytes>(
    bytes: &B,
    hashed: bool,
    path: &Path,
    progress: &(dyn Fn(u64) -> io::Result<()> + Sync),
    out: &mut dyn Write,
) -> Result<Option<Hasher>, Failure> {
    ociseed_image::write_bytes(bytes, hashed, progress, out).map_err(|error| match error {
        LayerError::Content(error) => read_failure(path, error),
        LayerError::Compress(error) => write_failure(path, &error),
    })
}
