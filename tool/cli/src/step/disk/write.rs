//! Writing a tree as a medium.

use std::ffi::OsStr;
use std::io::Seek as _;

use ociseed_media::cpio::{self, CpioError};
use ociseed_media::erofs::{self, WriteErofsError};
use ociseed_spec::document::VERSION;
use ociseed_spec::file::{DiskSpec, MediumKind};
use ociseed_spec::metadata::DiskMetadata;
use ociseed_spec::{Digest, ErofsCompression, Hasher, TreePath};
use ociseed_tree::{Content, tar};

use super::DiskTree;
use crate::failure::{Failure, chain};
use crate::output::{OutDir, write_failure};
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
    if spec.compression.unwrap_or_default() != ErofsCompression::None {
        return write_compressed(disk, spec, hashed, out, name, progress);
    }
    out.write_file(name, |writer| match spec.medium {
        MediumKind::Erofs => {
            let digest = |path: &TreePath| disk.digests.get(path).copied();
            let image = erofs::Image::plan(&disk.tree, &digest, &options(spec));
            let image = image.map_err(|error| Failure::new(chain(&error)))?;
            write_bytes(&image, hashed, &path, progress, writer)
        }
        MediumKind::Tar => write_bytes(&tar::Form(&disk.tree), hashed, &path, progress, writer),
        MediumKind::Cpio => {
            let extents = cpio::extents(&disk.tree).map_err(|error| refused(&error))?;
            write_bytes(&extents.collect::<Content>(), hashed, &path, progress, writer)
        }
    })
}

/// Writes an image whose places are known when it is written, so it is read again for its hash.
fn write_compressed(
    disk: &DiskTree,
    spec: &DiskSpec,
    hashed: bool,
    out: &OutDir,
    name: &OsStr,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Option<Hasher>, Failure> {
    let path = out.shown(name);
    let digest = |path: &TreePath| disk.digests.get(path).copied();
    out.write_placed(name, |file| {
        let written = erofs::write(&disk.tree, &digest, &options(spec), progress, file);
        written.map_err(|error| match error {
            WriteErofsError::Write(error) => write_failure(&path, &error),
            other => Failure::new(chain(&other)),
        })?;
        let mut hasher = Hasher::new();
        if hashed {
            let mut file = file;
            file.rewind().and_then(|()| hasher.read(file)).map_err(|error| write_failure(&path, &error))?;
        }
        Ok(hashed.then_some(hasher))
    })
}

fn options(spec: &DiskSpec) -> erofs::Options {
    erofs::Options {
        label: spec.label.clone().unwrap_or_default(),
        uuid: spec.uuid,
        compression: spec.compression.unwrap_or_default(),
    }
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
