//! One engine's root: what becomes of it.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ociseed_spec::containerd_root::{self, ALIAS, RUN_DIRECTORY, SKELETON};
use ociseed_spec::lock::{Engine, Lock, LockedStore};

use super::link;
use super::report::{EngineReport, Outcome};
use super::root::{Look, Root, Way};
use super::space;
use super::store::{self, CopyError};
use super::walk::{Walk, open_dir};
use crate::args::PlaceRequest;
use crate::exit::Exit;
use crate::seed::Seed;
use crate::stop::Stop;
use crate::talk::{Talk, chain};

/// The only engine so far.
pub(crate) const ENGINE: Engine = Engine::Containerd;

/// Where containerd's root is unless somebody says otherwise.
const DEFAULT_ROOT: &str = "/var/lib/containerd";

/// A store, and the root that it is for.
#[derive(Debug)]
pub(crate) struct Placing<'a> {
    seed: &'a Seed,
    store: &'a LockedStore,
    root: PathBuf,
}

impl<'a> Placing<'a> {
    /// Finds out where the engine's root is.
    pub(crate) fn new(request: &PlaceRequest, seed: &'a Seed, store: &'a LockedStore) -> Self {
        let locked = store.options.root.as_ref();
        let locked = locked.map(|root| Path::new("/").join(OsStr::from_bytes(root.as_bytes())));
        let root = request.root.clone().or(locked).unwrap_or_else(|| DEFAULT_ROOT.into());
        Self { seed, store, root }
    }

    /// Places the store, unless the root is one to keep.
    ///
    /// # Errors
    /// The store is not the lock's, there is no room, or something cannot be written.
    pub(crate) fn place(&self, talk: &Talk) -> Result<EngineReport, Stop> {
        let root = Root::at(&self.root).map_err(|error| self.failed("use", &error))?;
        // Only that of a root where something is to be placed must have worked.
        let cleaned = root.clean().map_err(|error| self.failed("tidy up", &error));
        let skeleton = self.open(&format!("{}/{SKELETON}", ENGINE.place()))?;
        let mut report = match root.look(&skeleton).map_err(|error| self.failed("look at", &error))? {
            Look::Used(reason) => self.keep(reason, cleaned, talk),
            Look::Foreign(reason) => {
                talk.warning(&format!("`{}` is kept: {reason}", self.root.display()));
                self.keep(reason, cleaned, talk)
            }
            Look::Fresh(way) => {
                cleaned?;
                self.check_space(&root, skeleton)?;
                let copied = self.copy(&root, way)?;
                self.report(Outcome::Placed, None, copied)
            }
        };
        report.missing = link::missing(&root.path).map_err(|error| self.failed("look at", &error))?;
        self.warn_of(&report.missing, talk);
        Ok(report)
    }

    /// Says which links of the root lead nowhere: the engine lists these seeds' images, and cannot run them.
    fn warn_of(&self, missing: &[String], talk: &Talk) {
        let ours = containerd_root::short(&self.seed.lock.seed_id());
        for short in missing {
            let link = self.root.join(format!("{ALIAS}{short}"));
            talk.warning(&format!("`{}` leads nowhere, so images of that seed cannot run", link.display()));
        }
        // The link that it leads through was made a moment ago, so it is not where the root's lead.
        if missing.contains(&ours) {
            talk.hint(&format!("links in roots lead through `{RUN_DIRECTORY}`, whatever `--run-dir` says"));
        }
        if missing.iter().any(|short| *short != ours) {
            talk.hint("where a seed of before is, `--previous-seed` says, until no image of it is needed");
        }
    }

    /// Leaves the root as it is; that what a killed `place` left could not be removed harms nobody there.
    fn keep(&self, reason: String, cleaned: Result<(), Stop>, talk: &Talk) -> EngineReport {
        for error in cleaned.err().into_iter().flat_map(|stop| stop.errors) {
            talk.warning(&error);
        }
        self.report(Outcome::Kept, Some(reason), 0)
    }

    /// Opens a directory of the seed.
    fn open(&self, path: &str) -> Result<OwnedFd, Stop> {
        open_dir(&self.seed.dir, path).map_err(|error| self.unreadable(&error))
    }

    fn check_space(&self, root: &Root, skeleton: OwnedFd) -> Result<(), Stop> {
        let unknown = |error: &dyn Error| self.failed("look at", error);
        let near = root.nearest().map_err(|error| unknown(&error))?;
        let block = rustix::fs::fstatvfs(&near).map_err(|error| unknown(&error))?.f_frsize.max(1);
        let need = Walk::new(skeleton).and_then(|walk| space::of(walk, block));
        let need = need.map_err(|error| self.unreadable(&error))?;
        match space::short(&near, need).map_err(|error| unknown(&error))? {
            Some(short) => {
                Err(Stop::saying(Exit::NoSpace, format!("no space for `{}`: {short}", self.root.display())))
            }
            None => Ok(()),
        }
    }

    /// Copies the store and lets the copy take its place.
    fn copy(&self, root: &Root, way: Way) -> Result<u64, Stop> {
        let dir = self.open(&ENGINE.place())?;
        let stage = root.stage(way).map_err(|error| self.failed("write", &error))?;
        let copied = store::copy(dir, self.store, &stage.dir).map_err(|error| match error {
            CopyError::Wrong(problems) => {
                let at = format!("`{}`: `{}`: ", self.seed.path.display(), ENGINE.place());
                Stop::naming(Exit::Seed, problems.iter().map(|problem| format!("{at}{problem}")).collect())
            }
            CopyError::Walk(error) => self.unreadable(&error),
            CopyError::Write(..) => self.failed("write", &error),
        })?;
        stage.take_place().map_err(|error| self.failed("write", &error))?;
        Ok(copied)
    }

    fn report(&self, outcome: Outcome, reason: Option<String>, copied: u64) -> EngineReport {
        let (images, layers) = match outcome {
            Outcome::Placed => counts(&self.seed.lock),
            Outcome::Kept => (0, 0),
        };
        let (name, root) = (ENGINE.as_str().to_owned(), self.root.display().to_string());
        EngineReport { name, root, outcome, reason, images, layers, copied, missing: Vec::new() }
    }

    fn failed(&self, what: &str, error: &dyn Error) -> Stop {
        Stop::saying(Exit::Engine, format!("cannot {what} `{}`: {}", self.root.display(), chain(error)))
    }

    fn unreadable(&self, error: &dyn Error) -> Stop {
        let path = self.seed.path.display();
        Stop::saying(Exit::Seed, format!("`{path}`: cannot read `{}`: {}", ENGINE.place(), chain(error)))
    }
}

/// Counts names of images and snapshots, as each namespace has them.
fn counts(lock: &Lock) -> (usize, usize) {
    let (mut names, mut snapshots) = (0, BTreeSet::new());
    for image in &lock.content.images {
        names += image.names.len() * image.namespaces.len();
        for namespace in &image.namespaces {
            for layer in &image.layers {
                snapshots.insert((namespace, layer.chain_id));
            }
        }
    }
    (names, snapshots.len())
}
