//! Writing a tree as a medium.

use std::ffi::OsStr;
use std::io::{self, Seek as _};

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

/// A disk that is to be written, and where.
#[derive(Clone, Copy)]
pub(crate) struct DiskWriter<'a> {
    pub(crate) disk: &'a DiskTree,
    pub(crate) spec: &'a DiskSpec,
    /// A directory of a stage.
    pub(crate) out: &'a OutDir,
    pub(crate) name: &'a OsStr,
    /// Is told how many more bytes are done; where it fails, so does the work.
    pub(crate) progress: &'a (dyn Fn(u64) -> io::Result<()> + Sync),
}

impl DiskWriter<'_> {
    /// Writes the disk and describes it.
    pub(crate) fn write_described(self) -> Result<DiskMetadata, Failure> {
        let hasher = self.write_hashed(true)?.expect("it is wanted");
        let lock = self.disk.lock.as_ref();
        Ok(DiskMetadata {
            version: VERSION,
            size: hasher.size(),
            digest: hasher.finish(),
            lock: lock.map(|lock| Digest::of(&lock.encode())),
            seed_id: lock.map(|lock| lock.seed_id()),
        })
    }

    /// Writes the disk alone: hashing takes as long as the rest.
    pub(super) fn write(self) -> Result<(), Failure> {
        self.write_hashed(false).map(drop)
    }

    /// Writes the disk, and returns its hash where it is wanted.
    fn write_hashed(self, hashed: bool) -> Result<Option<Hasher>, Failure> {
        if self.spec.compression.unwrap_or_default() != ErofsCompression::None {
            return self.write_compressed(hashed);
        }
        let (tree, path, progress) = (&self.disk.tree, self.out.shown(self.name), self.progress);
        self.out.write_file(self.name, |writer| match self.spec.medium {
            MediumKind::Erofs => {
                let digest = |path: &TreePath| self.disk.digests.get(path).copied();
                let image = erofs::Image::plan(tree, &digest, &options(self.spec));
                let image = image.map_err(|error| Failure::new(chain(&error)))?;
                write_bytes(&image, hashed, &path, progress, writer)
            }
            MediumKind::Tar => write_bytes(&tar::Form(tree), hashed, &path, progress, writer),
            MediumKind::Cpio => {
                let extents = cpio::extents(tree).map_err(|error| refused(&error))?;
                write_bytes(&extents.collect::<Content>(), hashed, &path, progress, writer)
            }
        })
    }

    /// Writes an image whose places are known when it is written, so it is read again for its hash.
    fn write_compressed(self, hashed: bool) -> Result<Option<Hasher>, Failure> {
        let path = self.out.shown(self.name);
        let digest = |path: &TreePath| self.disk.digests.get(path).copied();
        self.out.write_placed(self.name, |file| {
            let written = erofs::write(&self.disk.tree, &digest, &options(self.spec), self.progress, file);
            written.map_err(|error| match error {
                WriteErofsError::Write(error) => write_failure(&path, &error),
                other => Failure::new(chain(&other)),
            })?;
            let mut hasher = Hasher::new();
            if hashed {
                let mut file = file;
                file.rewind()
                    .and_then(|()| hasher.read(file))
                    .map_err(|error| write_failure(&path, &error))?;
            }
            Ok(hashed.then_some(hasher))
        })
    }
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
