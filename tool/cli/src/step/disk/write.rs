//! Writing a tree as a medium.

use std::ffi::OsStr;

use ociseed_media::cpio::{self, CpioError};
use ociseed_media::erofs;
use ociseed_spec::document::VERSION;
use ociseed_spec::file::{DiskSpec, MediumKind};
use ociseed_spec::metadata::DiskMetadata;
use ociseed_spec::{Digest, Hasher, TreePath};
use ociseed_tree::{Content, tar};

use super::DiskTree;
use crate::failure::{Failure, chain};
use crate::output::OutDir;
use crate::step::write_bytes;

/// Writes a disk into a directory of a stage and describes it; `progress` is told how many more bytes are done.
pub(crate) fn write_in(
    disk: &DiskTree,
    spec: &DiskSpec,
    out: &OutDir,
    name: &OsStr,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<DiskMetadata, Failure> {
    let hasher = write(disk, spec, true, out, name, progress)?.expect("it is wanted");
    let lock = disk.lock.as_ref();
    Ok(DiskMetadata {
        version: VERSION,
        size: hasher.size(),
        digest: hasher.finish(),
        lock: lock.map(|lock| Digest::of(&lock.encode())),
        seed_id: lock.map(|lock| lock.seed_id()),
    })
}

/// Writes a disk, and returns its hash where it is wanted: that takes as long as the rest.
pub(super) fn write(
    disk: &DiskTree,
    spec: &DiskSpec,
    hashed: bool,
    out: &OutDir,
    name: &OsStr,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Option<Hasher>, Failure> {
    let path = out.shown(name);
    out.write_file(name, |writer| match spec.medium {
        MediumKind::Erofs => write_bytes(&image(disk, spec)?, hashed, &path, progress, writer),
        MediumKind::Tar => write_bytes(&tar::Form(&disk.tree), hashed, &path, progress, writer),
        MediumKind::Cpio => {
            let extents = cpio::extents(&disk.tree).map_err(|error| refused(&error))?;
            write_bytes(&extents.collect::<Content>(), hashed, &path, progress, writer)
        }
    })
}

/// Plans the file system.
fn image<'a>(disk: &'a DiskTree, spec: &DiskSpec) -> Result<erofs::Image<'a>, Failure> {
    let options = erofs::Options {
        label: spec.label.as_ref().map(|label| label.as_str().parse().expect("a label")).unwrap_or_default(),
        uuid: spec.uuid.map(|uuid| *uuid.as_bytes()),
    };
    let digest = |path: &TreePath| disk.digests.get(path).copied();
    erofs::Image::plan(&disk.tree, &digest, &options).map_err(|error| Failure::new(chain(&error)))
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
