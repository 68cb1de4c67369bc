//! Finding out what a path is: any of the things that ociseed writes or reads.

mod linked;

use std::fs::File as StdFile;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File};
use ociseed_image::{Image, Index};
use ociseed_media::{cpio, erofs};
use ociseed_seed::bolt::{self, Bucket};
use ociseed_seed::medium::Medium;
use ociseed_spec::lock::{self, Lock};
use ociseed_spec::metadata::{DiskMetadata, LayerMetadata};
use ociseed_store::{Archive, Layout, Source};
use ociseed_tree::{Tree, decompress, tar};

use crate::failure::{Failure, chain};
use crate::inputs::{argument_failure, read_document};
use crate::report::Report;
use crate::scratch::Scratch;
use ociseed_spec::shown_path;

/// Something that can be looked at.
pub(crate) enum Artifact {
    /// The output directory of a build, and its path.
    Output(Report, PathBuf),
    /// A seed in host form; the lock's exact bytes.
    Seed(Box<dyn Source>, Vec<u8>),
    /// An image layout.
    Layout(Box<dyn Source>),
    /// An image layout in a tar, or what `docker save` writes.
    Archive(Archive),
    /// A preseed directory, or a tar of one: archives by path.
    Preseed(Vec<(String, Archive)>),
    /// An image record.
    Record(Box<Image>),
    /// An index record.
    Index(Box<Index>),
    /// A layer's metadata.
    Metadata(LayerMetadata),
    /// A lock without its seed, and its exact bytes.
    Lock(Lock, Vec<u8>),
    /// A layer blob, or any other tar.
    Tar(StdFile),
    /// A disk that holds a seed in medium form.
    Medium(Box<Medium>),
    /// A disk with other files.
    Disk(Tree),
    /// A disk's metadata.
    DiskMetadata(DiskMetadata),
    /// A bolt file, in which engines keep their records.
    Bolt(Bucket),
}

/// Bolt files are read as a whole; those of engines are a hundred times smaller.
const MAX_BOLT: u64 = 1 << 30;

impl Artifact {
    /// Says in words what it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Output(..) => "an output directory",
            Self::Seed(..) => "a seed",
            Self::Layout(_) => "an image layout",
            Self::Archive(_) => "an archive of images",
            Self::Preseed(_) => "a preseed directory",
            Self::Record(_) => "an image record",
            Self::Index(_) => "an index record",
            Self::Metadata(_) => "layer metadata",
            Self::Lock(..) => "a lock",
            Self::Tar(_) => "a layer",
            Self::Medium(_) => "a disk with a seed",
            Self::Disk(_) => "a disk",
            Self::DiskMetadata(_) => "disk metadata",
            Self::Bolt(_) => "a bolt file",
        }
    }

    /// Returns the lock of a seed, or a lock itself.
    pub(crate) fn lock(&self) -> Option<Lock> {
        match self {
            Self::Seed(_, bytes) => Lock::parse(bytes).ok(),
            Self::Medium(medium) => Lock::parse(medium.lock()).ok(),
            Self::Lock(lock, _) => Some(lock.clone()),
            _ => None,
        }
    }

    /// Opens what the command line names.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let fail = |error: std::io::Error| Failure::because(format_args!("`{}`", shown_path(path)), &error);
        if path.metadata().map_err(|error| argument_failure(path, &error))?.is_dir() {
            let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(fail)?;
            Self::of_dir(Arc::new(dir), path)
        } else {
            Self::of_file(StdFile::open(path).map_err(fail)?, path)
        }
    }

    /// Opens what the command line names; files in a directory are read wherever links lead.
    pub(crate) fn open_following(path: &Path) -> Result<Self, Failure> {
        if path.metadata().map_err(|error| argument_failure(path, &error))?.is_dir() {
            linked::open(path)
        } else {
            Self::open(path)
        }
    }

    fn of_dir(dir: Arc<Dir>, path: &Path) -> Result<Self, Failure> {
        let shown = shown_path(path);
        let fail =
            |error: &(dyn std::error::Error + 'static)| Failure::because(format_args!("`{shown}`"), error);
        let read = |name: &str| {
            let file = dir.open(name).map_err(|error| fail(&error))?;
            read_document(file, &shown)
        };
        if dir.exists("oci-layout") {
            let layout =
                Layout::open(Arc::clone(&dir), &*shown).map_err(|error| Failure::new(chain(&error)))?;
            return Ok(match dir.exists(lock::FILE_NAME) {
                true => Self::Seed(Box::new(layout), read(lock::FILE_NAME)?),
                false => Self::Layout(Box::new(layout)),
            });
        }
        if dir.exists("report.json") {
            let report = serde_json::from_slice(&read("report.json")?).map_err(|error| fail(&error))?;
            return Ok(Self::Output(report, path.into()));
        }
        let archives = preseed_archives(&dir, &shown)?;
        if archives.is_empty() { Err(unknown_directory(&shown)) } else { Ok(Self::Preseed(archives)) }
    }

    fn of_file(mut file: StdFile, path: &Path) -> Result<Self, Failure> {
        let shown = shown_path(path);
        let fail = |error: std::io::Error| Failure::because(format_args!("`{shown}`"), &error);
        let mut head = Vec::new();
        (&mut file).take(erofs::HEAD as u64).read_to_end(&mut head).map_err(fail)?;
        file.rewind().map_err(fail)?;
        if head.first() == Some(&b'{') {
            return Self::of_document(read_document(file, &shown)?, path);
        }
        if erofs::is_image(&head) {
            let scratch = Scratch::temporary()?;
            let tree = erofs::read(Arc::new(File::from_std(file)), path, &mut || scratch.file());
            return Self::of_tree(tree.map_err(|error| Failure::new(chain(&error)))?, path);
        }
        if bolt::is_bolt(&head) {
            return Self::of_bolt(file, &shown);
        }
        if head.starts_with(b"07070") {
            let tree = cpio::read(Arc::new(File::from_std(file)), path);
            return Self::of_tree(tree.map_err(|error| Failure::new(chain(&error)))?, path);
        }
        let copy = |file: &StdFile| file.try_clone().map(File::from_std).map_err(fail);
        let (mut layout, mut archives, mut seed) = (false, false, false);
        let again = file.try_clone().map_err(fail)?;
        let listed = decompress(again).and_then(|tar| {
            tar::list(tar, |entry| {
                layout |= matches!(entry.path.trim_start_matches("./"), "oci-layout" | "manifest.json");
                seed |= entry.path == lock::FILE_NAME;
                archives |= entry.kind == "file" && entry.path.ends_with(".tar");
            })
        });
        file.rewind().map_err(fail)?;
        let archive_failure = |error: ociseed_store::ArchiveError| Failure::new(chain(&error));
        if layout && seed {
            let tree = tar::read_file_system(Arc::new(copy(&file)?), path.into());
            return Self::of_tree(tree.map_err(|error| Failure::new(chain(&error)))?, path);
        }
        if layout {
            return Archive::open(copy(&file)?, &*shown).map(Self::Archive).map_err(archive_failure);
        }
        listed.map_err(|error| {
            let known = "expected a tar, plain or compressed, or a document that `ociseed` writes";
            Failure::new(format!("`{shown}` is nothing that ociseed knows: {}", chain(&error)))
                .hint(known.to_owned())
        })?;
        if archives && let Ok(archives) = Archive::open_nested(copy(&file)?, &shown) {
            return Ok(Self::Preseed(archives));
        }
        Ok(Self::Tar(file))
    }

    fn of_bolt(mut file: StdFile, shown: &str) -> Result<Self, Failure> {
        let fail =
            |error: &(dyn std::error::Error + 'static)| Failure::because(format_args!("`{shown}`"), error);
        let size = file.metadata().map_err(|error| fail(&error))?.len();
        if size > MAX_BOLT {
            let expected = format!("expected a bolt file of at most {MAX_BOLT} bytes, found {size}");
            return Err(Failure::new(format!("`{shown}`: {expected}")));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        (&mut file).take(size).read_to_end(&mut bytes).map_err(|error| fail(&error))?;
        bolt::decode(&bytes).map(Self::Bolt).map_err(|error| fail(&error))
    }

    fn of_tree(tree: Tree, path: &Path) -> Result<Self, Failure> {
        let shown = shown_path(path);
        let medium = Medium::of(tree, shown.clone());
        match medium.map_err(|error| Failure::because(format_args!("`{shown}`"), &error))? {
            Ok(medium) => Ok(Self::Medium(Box::new(medium))),
            Err(tree) => Ok(Self::Disk(tree)),
        }
    }

    fn of_document(bytes: Vec<u8>, path: &Path) -> Result<Self, Failure> {
        let shown = shown_path(path);
        let fail =
            |error: &(dyn std::error::Error + 'static)| Failure::because(format_args!("`{shown}`"), error);
        let document: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| fail(&error))?;
        if document.get("content").is_some() {
            Ok(Self::Lock(Lock::parse(&bytes).map_err(|error| fail(&error))?, bytes))
        } else if document.get("index").is_some() {
            Ok(Self::Index(Box::new(Index::parse(&bytes).map_err(|error| fail(&error))?)))
        } else if document.get("manifest").is_some() {
            Ok(Self::Record(Box::new(Image::parse(&bytes).map_err(|error| fail(&error))?)))
        } else if document.get("diff-id").is_some() {
            Ok(Self::Metadata(LayerMetadata::parse(&bytes).map_err(|error| fail(&error))?))
        } else if document.get("digest").is_some() && document.get("size").is_some() {
            Ok(Self::DiskMetadata(DiskMetadata::parse(&bytes).map_err(|error| fail(&error))?))
        } else if document.get("targets").is_some() {
            let parent = path.parent().unwrap_or_else(|| Path::new("")).to_path_buf();
            Ok(Self::Output(serde_json::from_slice(&bytes).map_err(|error| fail(&error))?, parent))
        } else {
            Err(Failure::new(format!("`{shown}` is no document that ociseed knows")))
        }
    }
}

/// Says that a directory is nothing that can be looked at.
fn unknown_directory(shown: &str) -> Failure {
    let hint = "a seed has `seed.json`, a layout `oci-layout`, an output directory `report.json`, \
                a preseed directory `NAMESPACE/FILE.tar`";
    Failure::new(format!("`{shown}` is nothing that ociseed knows")).hint(hint.to_owned())
}

/// Opens `<namespace>/<file>.tar` of a preseed directory, sorted.
fn preseed_archives(dir: &Dir, shown: &str) -> Result<Vec<(String, Archive)>, Failure> {
    let fail = |error: std::io::Error| Failure::because(format_args!("`{shown}`"), &error);
    let mut names = Vec::new();
    for namespace in dir.entries().map_err(fail)? {
        let namespace = namespace.map_err(fail)?;
        if !namespace.file_type().map_err(fail)?.is_dir() {
            continue;
        }
        for file in namespace.open_dir().and_then(|dir| dir.entries()).map_err(fail)? {
            let name = Path::new(&namespace.file_name()).join(file.map_err(fail)?.file_name());
            if name.extension().is_some_and(|extension| extension == "tar") {
                names.push(name);
            }
        }
    }
    names.sort();
    let open = |name: PathBuf| {
        let file = dir.open(&name).map_err(fail)?;
        let name = shown_path(&name);
        let archive = Archive::open(file, format!("{shown}/{name}"));
        Ok((name, archive.map_err(|error| Failure::new(chain(&error)))?))
    };
    names.into_iter().map(open).collect()
}
