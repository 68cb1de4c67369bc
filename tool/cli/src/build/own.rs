//! What a build writes itself, which must not be part of what it reads: the same input would never be the same.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cap_std::fs::MetadataExt as _;
use ociseed_spec::file::{Entry, Source};
use ociseed_spec::{TreePath, shown_path};

use crate::failure::Failure;
use crate::inputs::Place;

/// A directory that a build writes to.
pub(super) struct Own {
    what: &'static str,
    flag: &'static str,
    path: PathBuf,
    /// The directories that it is in, as device and inode, and its path below each.
    above: Vec<((u64, u64), PathBuf)>,
}

impl Own {
    /// Looks which directories a directory is in; nothing where that cannot be told.
    pub(super) fn new(what: &'static str, flag: &'static str, path: &Path) -> Self {
        let real = path.canonicalize().unwrap_or_default();
        let above = real.ancestors().skip(1).filter_map(|above| {
            let found = above.metadata().ok()?;
            Some(((found.dev(), found.ino()), real.strip_prefix(above).ok()?.to_path_buf()))
        });
        Self { what, flag, path: path.into(), above: above.collect() }
    }

    /// Refuses a host's directory as a part of a layer if this one is in it and was `taken`; `place` is who takes it.
    pub(super) fn check(
        &self,
        directory: &Place,
        entry: &Entry,
        taken: &dyn Fn(&TreePath) -> bool,
        place: &str,
    ) -> Result<(), Failure> {
        let Ok(found) = directory.dir.metadata(&directory.path) else { return Ok(()) };
        let identity = (found.dev(), found.ino());
        let Some((_, below)) = self.above.iter().find(|(above, _)| *above == identity) else { return Ok(()) };
        let Source::Dir(_, filter) = &entry.source else { return Ok(()) };
        let to = below
            .iter()
            .skip(filter.strip)
            .try_fold(entry.to.clone(), |to, name: &OsStr| to.join(name.as_encoded_bytes()).ok());
        if !to.is_some_and(|to| taken(&to)) {
            return Ok(());
        }
        let (what, flag, own) = (self.what, self.flag, shown_path(&self.path));
        let message =
            format!("{place}: {what}, `{own}`, is in `{}` and would be part of the layer", directory.shown);
        let hint = format!(
            "leave it out with `exclude = [\"{}\"]`, or name another one with `{flag}`",
            shown_path(below)
        );
        Err(Failure::usage(message).hint(hint))
    }
}
