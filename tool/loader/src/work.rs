//! The work itself: compares what the engine has with what the source wants, and changes what differs.
//!
//! It goes over all images twice. The first time nothing is changed: what would be is counted, and said by `plan`. If there is something, and room
//! for it, the second time does it.

mod examine;
mod hold;
mod link;
mod load;
mod mend;
mod observe;
mod remove;

use std::collections::{BTreeMap, BTreeSet};

use ociseed_containerd::{Client, ContentInfo, ImageRecord, Scope, SnapshotInfo};
use ociseed_spec::Digest;
use ociseed_spec::lock::Class;
use ociseed_spec::records::ContentRecord;

use crate::args::Mode;
use crate::content::{Content, abort_ingest};
use crate::failure::Failure;
use crate::leases::Leases;
use crate::place::{Room, short};
use crate::repair::{Debt, Patient};
use crate::report::{ImageReport, Outcome, Removed};
use crate::root::EngineRoot;
use crate::source::{Previous, Source, Wanted};
use crate::state::{Standing, State};
use crate::talk::{Priority, Talk, chain};
use examine::Old;

/// What a namespace has of what is wanted in it, or is ours.
#[derive(Debug, Default)]
struct Actual {
    records: BTreeMap<String, ImageRecord>,
    content: BTreeMap<Digest, ContentInfo>,
    snapshots: BTreeMap<String, SnapshotInfo>,
}

/// What is asked of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How far it goes.
    pub(crate) mode: Mode,
    /// Whether foreign records of our names are replaced.
    pub(crate) take_over: bool,
    /// Whether copied blobs are hashed.
    pub(crate) read_back: bool,
    /// Whether an earlier boot ended in a way that nobody knows.
    pub(crate) unclean: bool,
    /// Whose images they are.
    pub(crate) class: Option<Class>,
    /// Whether records that nobody asks for are removed.
    pub(crate) remove: bool,
}

/// What would be changed, as the first pass finds it.
#[derive(Debug, Default)]
struct Need {
    /// How many changes there are.
    changes: usize,
    /// Room for them.
    room: Room,
    /// Blobs that were counted.
    blobs: BTreeSet<Digest>,
    /// What would be there by then, so that another image that shares it does not count it again: what it is, its namespace, its name.
    there: BTreeSet<(&'static str, String, String)>,
}

impl Need {
    /// Notes what would be there; returns whether it was not.
    fn bring(&mut self, what: &'static str, namespace: &str, name: &str) -> bool {
        self.there.insert((what, namespace.to_owned(), name.to_owned()))
    }

    fn brings(&self, what: &'static str, namespace: &str, name: &str) -> bool {
        self.there.contains(&(what, namespace.to_owned(), name.to_owned()))
    }
}

/// What a change takes in the engine's databases: two pages of 4 KiB, which bolt writes anew with those above them.
const RECORD: u64 = 8 << 10;

/// One run over a source.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    client: &'a Client,
    source: &'a Source,
    talk: &'a Talk,
    options: Options,
    leases: Leases<'a>,
    content: Content<'a>,
    /// The engine's directories, if links can be made in them.
    root: Option<EngineRoot>,
    /// Why something is copied that could be a link.
    pub(crate) copies: Option<String>,
    actual: BTreeMap<String, Actual>,
    /// Images of the previous seed that are there.
    kept: Vec<Wanted>,
    /// Ingests and active snapshots that a run left which was killed.
    left: Left,
    /// Blobs that lie in the engine's store as files, and are not what their names say.
    spoilt: BTreeSet<Digest>,
    /// Blobs that were wrong and are replaced, with the bytes that took until an image accounts for them.
    replaced: BTreeMap<Digest, u64>,
    /// Blobs that are wrong and cannot be replaced, with the reason.
    lost: BTreeMap<Digest, String>,
    /// Whether nothing is changed, but only looked at.
    dry: bool,
    need: Need,
    /// What was done so far.
    pub(crate) reports: Vec<ImageReport>,
    /// Records that were removed.
    pub(crate) removed: Vec<Removed>,
    /// A namespace in which a record was removed, or leads elsewhere now: what it stood for can be collected.
    garbage: Option<String>,
}

/// What a run left that was killed, each with its namespace.
#[derive(Debug, Default)]
struct Left {
    ingests: Vec<(String, String)>,
    snapshots: Vec<(String, String)>,
}

impl Work<'_> {
    /// Does everything that is to be done, or says what that is.
    ///
    /// # Errors
    /// What ends the whole run; what concerns one image is in its report.
    pub(crate) fn run(&mut self, state: &mut State) -> Result<(), Failure> {
        let (patients, debts) = self.examine()?;
        let planned = self.plan(&patients, &debts)?;
        if planned.iter().any(|report| report.copied > 0) {
            self.warn_of_copies();
        }
        let only_says = !self.options.mode.changes();
        // A `reset` that was killed may have left everything but the records.
        if only_says || (self.need.changes == 0 && self.options.mode != Mode::Reset) {
            planned.into_iter().for_each(|report| self.conclude(report));
            if self.options.mode == Mode::Plan {
                self.removed.iter().for_each(|removed| self.talk.line(Priority::Info, &removed.line()));
            }
            return match self.options.mode {
                Mode::Plan if self.need.changes > 0 => self.check_space(),
                // Where nothing was read, nothing is known that was not before.
                Mode::Run if self.content.has_read() => self.note_right(state, Standing::Settled),
                _ => Ok(()),
            };
        }
        self.removed.clear();
        self.need.there.clear();
        self.replaced.values_mut().for_each(|bytes| *bytes = 0);
        self.check_space()?;
        self.note(state, Standing::Changed)?;
        self.dry = false;
        self.say_progress();
        self.tidy_old()?;
        self.repair(&patients, debts)?;
        self.make_aliases()?;
        let (kept, source) = (std::mem::take(&mut self.kept), self.source);
        for image in kept.iter().chain(&source.images) {
            self.one(image)?;
        }
        self.kept = kept;
        if self.options.remove {
            self.remove()?;
        }
        self.note_right(state, Standing::Changed)
    }

    /// Goes over everything without a change.
    fn plan(&mut self, patients: &[Patient], debts: &[Old]) -> Result<Vec<ImageReport>, Failure> {
        self.dry = true;
        self.need.changes += patients.len() + debts.len() + self.spoilt.len();
        self.need.changes += self.left.ingests.len() + self.left.snapshots.len() + self.leases.left();
        self.need.room.bytes += patients.iter().map(|patient| patient.size).sum::<u64>();
        self.replaced.extend(patients.iter().map(|patient| (patient.digest, patient.size)));
        self.make_aliases()?;
        let mut planned = Vec::new();
        let (kept, source) = (std::mem::take(&mut self.kept), self.source);
        for image in kept.iter().chain(&source.images) {
            let (report, stop) = self.attempt(image);
            planned.push(report);
            stop.map_or(Ok(()), Err)?;
        }
        self.kept = kept;
        if self.options.remove {
            self.remove()?;
            self.need.changes += self.unused_aliases()?.len();
        }
        Ok(planned)
    }

    /// Brings one image to what it should be, and says what came of it.
    fn one(&mut self, image: &Wanted) -> Result<(), Failure> {
        let (report, stop) = self.attempt(image);
        self.conclude(report);
        stop.map_or(Ok(()), Err)
    }

    fn attempt(&mut self, image: &Wanted) -> (ImageReport, Option<Failure>) {
        let mut report = ImageReport::of(image);
        // What is of the other slot's seed is kept, and nothing is added to it.
        let loaded = if *image.owner == *self.source.owner {
            self.load(image, &mut report)
        } else {
            self.keep_one(image, &mut report)
        };
        match loaded {
            Ok(()) => (report, None),
            Err(Failure::Image(error) | Failure::Gone(error)) => {
                report.errors.push(error);
                (report, None)
            }
            Err(failure) => {
                report.errors.push(failure.to_string());
                (report, Some(failure))
            }
        }
    }

    /// Notes that something is about to be done for an image; returns whether it is, or is only counted.
    fn act(
        &mut self,
        report: &mut ImageReport,
        action: &'static str,
        what: &'static str,
        name: &str,
    ) -> bool {
        report.change(action, what, name);
        self.count(RECORD, 1);
        !self.dry
    }

    fn count(&mut self, bytes: u64, inodes: u64) {
        if self.dry {
            self.need.changes += 1;
            self.need.room.bytes += bytes;
            self.need.room.inodes += inodes;
        }
    }

    /// Says, for those who wait for it to kill the loader there, what comes next.
    fn step(&self, what: &str, image: &Wanted) {
        let name = image.names.first().map(ToString::to_string).unwrap_or_default();
        self.talk.line(Priority::Debug, &format!("step {what} name={name} namespace={}", image.namespace));
    }

    /// Settles an image's report and says its line.
    fn conclude(&mut self, mut report: ImageReport) {
        let name = report.name.clone().unwrap_or_default();
        if self.options.mode == Mode::Verify {
            let differs = |change: &crate::report::Change| {
                format!("{} {} {}", change.what, change.name, change.differs())
            };
            let differing: Vec<_> = report.changes.iter().map(differs).collect();
            let wrong = report.replaced.iter().map(|digest| format!("blob {digest} is not as the seed says"));
            let wrong: Vec<_> = wrong.collect();
            report.errors.extend(differing.into_iter().chain(wrong));
        }
        for warning in &report.warnings {
            self.talk.warning(&format!("`{name}` in `{}`: {warning}", report.namespace));
        }
        // What comes from the other slot's seed is no reason to fail this one's boot.
        let current = report.seed == self.source.owner;
        for error in &report.errors {
            let text = format!("`{name}` in `{}`: {error}", report.namespace);
            if current { self.talk.error(&text) } else { self.talk.warning(&text) }
        }
        if !report.errors.is_empty() {
            report.raise(Outcome::Failed);
        }
        let (priority, line) = report.line();
        self.talk.line(if current { priority } else { Priority::Info }, &line);
        self.reports.push(report);
        self.say_progress();
    }

    fn say_progress(&self) {
        let (done, all) = (self.reports.len(), self.source.images.len() + self.kept.len());
        self.talk.notify.status(&format!("{done} of {all} images"));
    }

    /// Gives up what is under way and releases the leases; returns what did not work.
    pub(crate) fn tidy_up(&mut self) -> Vec<Failure> {
        let mut failures: Vec<_> = self.content.abort().err().into_iter().collect();
        if !self.dry {
            self.talk.line(Priority::Debug, "step release name=- namespace=-");
            failures.extend(self.leases.release());
        }
        failures
    }

    /// Has the engine collect what nobody asks for any more, and removes what led to it.
    ///
    /// # Errors
    /// The engine says no, or a link cannot be removed.
    pub(crate) fn sweep(&mut self) -> Result<(), Failure> {
        if self.dry {
            return Ok(());
        }
        let reset = self.leases.namespaces().into_iter().next().filter(|_| self.options.mode == Mode::Reset);
        let mut garbage = self.garbage.take().or(reset);
        // The engine may still be at it for a run that was killed while it waited.
        if garbage.is_none() && self.options.remove && self.needs_others()? {
            garbage = self.leases.namespaces().into_iter().next();
        }
        if let Some(namespace) = garbage {
            self.leases.sweep(&namespace)?;
        }
        if self.options.remove { self.remove_aliases() } else { Ok(()) }
    }

    /// Checks, before anything is written, that there is room for all of it.
    fn check_space(&self) -> Result<(), Failure> {
        let Some(content) = self.content_dir() else { return Ok(()) };
        // The engine makes the directory with the first blob.
        let dir = content.ancestors().find_map(|place| std::fs::File::open(place).ok());
        let Some(dir) = dir else { return Ok(()) };
        let shown = content.display();
        match short(&dir, self.need.room) {
            Ok(None) => Ok(()),
            Ok(Some(text)) => {
                Err(Failure::NoSpace(format!("too little space on the file system of `{shown}`: {text}")))
            }
            Err(error) => Err(Failure::Engine(format!("cannot look for space at `{shown}`: {error}"))),
        }
    }

    fn note(&self, state: &mut State, standing: Standing) -> Result<(), Failure> {
        state.note(standing, &self.roots()).map_err(|error| cannot_note(&error))
    }

    fn roots(&self) -> Vec<std::path::PathBuf> {
        let both = |root: &EngineRoot| [root.content.clone(), root.snapshotter.clone()];
        self.root.iter().flat_map(both).collect()
    }

    /// After all was found right in a boot whose predecessor's end nobody knows, nothing has to be hashed again.
    fn note_right(&self, state: &mut State, standing: Standing) -> Result<(), Failure> {
        let hashed = self.options.unclean && self.options.read_back;
        // Nothing is read for what is kept of the other slot's seed.
        let mut own = self.reports.iter().filter(|report| report.seed == self.source.owner);
        let all_right = own.all(|report| report.outcome != Outcome::Failed);
        if !(hashed && all_right) {
            return Ok(());
        }
        state.note_read(self.options.class, standing, &self.roots()).map_err(|error| cannot_note(&error))
    }

    /// Removes what a run left that was killed: this one holds the lock, so it has no writer.
    fn tidy_old(&mut self) -> Result<(), Failure> {
        let Left { ingests, snapshots } = std::mem::take(&mut self.left);
        // Nor may what it removed have been collected, and links to its seed are needed until that is done.
        if self.leases.left() > 0 {
            self.garbage = self.leases.namespaces().into_iter().next();
        }
        for (namespace, name) in ingests {
            match abort_ingest(&self.client.scope(&namespace), &name) {
                // It only takes space; the next run tries again.
                Err(Failure::Image(error) | Failure::Gone(error)) => {
                    self.talk.warning(&format!("ingest `{name}`: {error}"))
                }
                other => other?,
            }
        }
        for (namespace, key) in snapshots {
            match self
                .client
                .scope(&namespace)
                .remove_snapshot(self.snapshotter(), &key)
                .map_err(Failure::from)
            {
                Err(Failure::Image(error) | Failure::Gone(error)) => {
                    self.talk.warning(&format!("snapshot `{key}`: {error}"))
                }
                other => drop(other?),
            }
        }
        Ok(())
    }
}

fn cannot_note(error: &std::io::Error) -> Failure {
    Failure::Engine(format!("cannot write the state: {error}"))
}
