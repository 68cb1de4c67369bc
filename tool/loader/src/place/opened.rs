//! Opens the seeds that a command is about: found, mounted, read, trusted and linked, in the order of `docs/loader.md`.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::find::{self, Seed as Place};
use super::link;
use super::mount::{self, Mounted};
use super::report::SeedReport;
use super::sealed::Problem;
use super::trust::{self, Checked, Trusted};
use ociseed_spec::lock::Class;

use crate::args::{Places, Seeds};
use crate::exit::Exit;
use crate::seed::{self, Seed};
use crate::stop::Stop;
use crate::talk::{Priority, Talk};
use crate::{expect, lock};

/// The lock file, once it is held.
pub(crate) type Held = Option<File>;

/// A seed that can be read. What was mounted for it goes when this is dropped, unless it was kept.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The seed.
    pub(crate) seed: Seed,
    /// How it was checked; nothing is yet before it was.
    pub(crate) report: SeedReport,
    /// What is wrong with it.
    pub(crate) problems: Vec<Problem>,
    /// Whether an engine that runs may have found nothing behind the link to it.
    pub(crate) untold: bool,
    mounted: Mounted,
}

/// Finds and reads the current seed; nobody vouches for it yet.
///
/// # Errors
/// It is not there, cannot be mounted or read, is another one than expected, or another loader holds the lock.
pub(crate) fn open(seeds: &Seeds, places: &Places, held: &mut Held, talk: &Talk) -> Result<Opened, Stop> {
    let expected = expect::expected(seeds.expect).map_err(|error| invalid(&error))?;
    open_at(&seeds.seed, seeds.wait, &expected, seeds, places, held, talk)
}

fn open_at(
    place: &Path,
    wait: Duration,
    expected: &[ociseed_spec::Digest],
    seeds: &Seeds,
    places: &Places,
    held: &mut Held,
    talk: &Talk,
) -> Result<Opened, Stop> {
    let found = find::find(place, wait, &talk.notify).map_err(|error| invalid(&error))?;
    if held.is_none() && matches!(found, Place::Medium(_)) {
        // Two at once would mount it twice.
        *held = Some(lock::take(&places.run_dir)?);
    }
    let mounted = mount::open(found, place, &places.run_dir).map_err(|error| invalid(&error))?;
    let seed = seed::read(&mounted.path, expected).map_err(|error| invalid(&error))?;
    let report = SeedReport {
        id: seed.lock.seed_id(),
        lock: seed.digest,
        path: seed.path.display().to_string(),
        medium: mounted.medium.clone(),
        trust: seeds.trust,
        checked: Checked::No,
        bytes: 0,
    };
    Ok(Opened { seed, report, problems: Vec::new(), untold: false, mounted })
}

fn invalid(error: &dyn Error) -> Stop {
    Stop::new(Exit::Seed, error)
}

impl Opened {
    /// Finds out whether an engine that runs may have found nothing behind the link to it.
    pub(crate) fn ask_whether_told(&mut self, run_dir: &Path, class: Option<Class>) {
        self.untold = link::is_untold(run_dir, &self.report.id, class);
    }

    /// Finds out who vouches for it, and what is wrong with it.
    ///
    /// # Errors
    /// Nobody vouches for it as was asked for.
    pub(crate) fn trust(&mut self, state_dir: &Path, talk: &Talk) -> Result<(), Stop> {
        let trusted = trust::trust(&self.seed, self.report.trust, state_dir, talk)?;
        self.take(trusted);
        Ok(())
    }

    /// Hashes it whatever is known of it.
    pub(crate) fn hash(&mut self, talk: &Talk) {
        self.take(trust::hash(&self.seed, talk));
    }

    fn take(&mut self, Trusted { checked, bytes, problems }: Trusted) {
        (self.report.checked, self.report.bytes, self.problems) = (checked, bytes, problems);
    }

    /// Refuses it if anything of it is wrong.
    ///
    /// # Errors
    /// Something is.
    pub(crate) fn refuse_problems(&self) -> Result<(), Stop> {
        let path = self.seed.path.display();
        let errors: Vec<_> =
            self.problems.iter().map(|problem| format!("`{path}`: {}", problem.text)).collect();
        if errors.is_empty() { Ok(()) } else { Err(Stop::naming(Exit::Seed, errors)) }
    }

    /// Makes the link through which all others lead to it, and leaves its mount to the system.
    ///
    /// # Errors
    /// The run directory cannot be written.
    pub(crate) fn link(&mut self, run_dir: &Path) -> Result<(), Stop> {
        let made = link::make(run_dir, &self.report.id, &self.seed.path);
        made.map_err(|error| {
            let text = format!("cannot make the link in `{}`: {error}", run_dir.display());
            Stop::saying(Exit::Engine, text)
        })?;
        self.mounted.keep();
        Ok(())
    }
}

/// Opens, trusts and links the other slot's seed; `None`, with a warning, where that cannot be done, which is no reason not to
/// start from the current one. It is not waited for.
pub(crate) fn previous(
    seeds: &Seeds,
    places: &Places,
    current: &Opened,
    held: &mut Held,
    talk: &Talk,
) -> Option<Opened> {
    let place = seeds.previous.as_deref()?;
    let opened = open_at(place, Duration::ZERO, &[], seeds, places, held, talk).and_then(|mut opened| {
        // Of one seed in both slots, this slot's is the one that was checked, and no link leads to the other.
        if opened.report.id != current.report.id {
            opened.trust(&places.state_dir, talk)?;
            opened.refuse_problems()?;
            opened.link(&places.run_dir)?;
        }
        Ok(opened)
    });
    said(opened, talk)
}

/// Opens the other slot's seed for a look.
pub(crate) fn previous_unlinked(
    seeds: &Seeds,
    places: &Places,
    held: &mut Held,
    talk: &Talk,
) -> Option<Opened> {
    let place = seeds.previous.as_deref()?;
    said(open_at(place, Duration::ZERO, &[], seeds, places, held, talk), talk)
}

fn said(opened: Result<Opened, Stop>, talk: &Talk) -> Option<Opened> {
    match opened {
        Ok(opened) => {
            talk.line(Priority::Notice, &format!("previous {}", opened.report.line()));
            Some(opened)
        }
        Err(stop) => {
            stop.errors.iter().for_each(|error| talk.warning(&format!("previous seed: {error}")));
            None
        }
    }
}
