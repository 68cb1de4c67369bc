//! Directories whose files are links to somewhere else, as sandboxes of build systems lay them out.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::Dir;
use ociseed_spec::{lock, shown_path};
use ociseed_store::{Archive, ListedLayout};

use super::{Artifact, unknown_directory};
use crate::blobs::by_path;
use crate::failure::{Failure, chain};
use crate::inputs::{followed, read_document};

/// Opens a seed, an image layout or a preseed directory.
pub(super) fn open(path: &Path) -> Result<Artifact, Failure> {
    let shown = shown_path(path);
    let fail = |error: io::Error| Failure::because(format_args!("`{shown}`"), &error);
    let files = by_path(&followed(path).map_err(fail)?);
    if files.contains_key(Path::new("oci-layout")) {
        let layout = ListedLayout::open(&files, &*shown).map_err(|error| Failure::new(chain(&error)))?;
        return Ok(match files.get(Path::new(lock::FILE_NAME)) {
            None => Artifact::Layout(Box::new(layout)),
            Some((dir, file)) => {
                let lock = read_document(dir.open(file).map_err(fail)?, &shown)?;
                Artifact::Seed(Box::new(layout), lock)
            }
        });
    }
    let tars = files
        .iter()
        .filter(|(at, _)| at.components().count() == 2 && at.extension() == Some(OsStr::new("tar")));
    let open = |(at, (dir, file)): (&PathBuf, &(Arc<Dir>, PathBuf))| {
        let name = shown_path(at);
        let archive = Archive::open(dir.open(file).map_err(fail)?, format!("{shown}/{name}"));
        Ok((name, archive.map_err(|error| Failure::new(chain(&error)))?))
    };
    let archives = tars.map(open).collect::<Result<Vec<_>, Failure>>()?;
    if archives.is_empty() { Err(unknown_directory(&shown)) } else { Ok(Artifact::Preseed(archives)) }
}
