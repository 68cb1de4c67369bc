//! Writing a tree as a medium.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use ociseed_media::cpio::{CpioError, WriteCpioError};
use ociseed_media::{erofs, write_cpio, write_tar};
use ociseed_spec::document::VERSION;
use ociseed_spec::file::{DiskSpec, MediumKind};
use ociseed_spec::metadata::DiskMetadata;
use ociseed_spec::{Digest, TreePath};

use super::DiskTree;
use crate::failure::{Failure, chain};
use crate::output::OutDir;
use crate::step::write::{Watched, read_failure};

/// Writes a disk into a directory of a stage; `progress` is told how many more bytes are done.
pub(crate) fn write_in(
    disk: &DiskTree,
    spec: &DiskSpec,
    out: &OutDir,
    name: &OsStr,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<DiskMetadata, Failure> {
    let path = out.shown(name);
    let hasher = out.write_file(name, |writer| {
        let mut watched = Watched::new(writer, progress);
        match spec.medium {
            MediumKind::Erofs => write_erofs(disk, spec, &path, &mut watched)?,
            MediumKind::Tar => {
                write_tar(&disk.tree, &mut watched).map_err(|error| read_failure(&path, error))?;
            }
            MediumKind::Cpio => write_cpio(&disk.tree, &mut watched).map_err(|error| match error {
                WriteCpioError::Read(error) => read_failure(&path, error),
                WriteCpioError::Tree(error) => refused(&error),
            })?,
        }
        Ok(watched.finish())
    })?;
    let lock = disk.lock.as_ref();
    Ok(DiskMetadata {
        version: VERSION,
        size: hasher.size(),
        digest: hasher.finish(),
        lock: lock.map(|lock| Digest::of(&lock.encode())),
        seed_id: lock.map(|lock| lock.seed_id()),
    })
}

/// Says what no cpio archive can hold, and what to do where another medium can.
fn refused(error: &CpioError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        CpioError::Xattrs { .. } | CpioError::Large { .. } | CpioError::Time { .. } => {
            failure.hint("the medium `erofs` holds it, and `tar`".to_owned())
        }
        _ => failure,
    }
}

fn write_erofs(disk: &DiskTree, spec: &DiskSpec, path: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let options = erofs::Options {
        label: spec.label.as_ref().map(|label| label.as_str().parse().expect("a label")).unwrap_or_default(),
        uuid: spec.uuid.map(|uuid| *uuid.as_bytes()),
    };
    let digest = |path: &TreePath| disk.digests.get(path).copied();
    let image =
        erofs::Image::plan(&disk.tree, &digest, &options).map_err(|error| Failure::new(chain(&error)))?;
    image.content().copy_to(out).map_err(|error| read_failure(path, error))
}
