//! `place` from the first look to the last line, in the order of `docs/loader.md`.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use ociseed_spec::lock::LockedStore;

use super::engine::{ENGINE, Placing};
use super::find::{self, Seed as Place};
use super::link;
use super::mount::{self, Mounted};
use super::report::{PlaceReport, SeedReport, seconds};
use super::trust::{self, Checked};
use super::walk;
use crate::args::{PlaceRequest, Trust};
use crate::exit::Exit;
use crate::seed::{self, Seed};
use crate::stop::Stop;
use crate::talk::{Priority, Talk};
use crate::{expect, lock};

/// Places and returns what was done; everything was said on standard error by then.
pub(crate) fn place(request: &PlaceRequest, talk: &Talk) -> PlaceReport {
    walk::raise_limit();
    let mut report = PlaceReport::new();
    let mut held = None;
    let stop = attempt(request, talk, &mut report, &mut held).err();
    if let Some(stop) = &stop {
        stop.say(talk);
        report.errors.clone_from(&stop.errors);
    }
    report.exit_code = stop.as_ref().map_or(Exit::Done, |stop| stop.exit).code();
    // A seed that was refused is worth knowing about, too; but who holds the lock has a report of its own.
    if held.is_none() && stop.is_some_and(|stop| stop.exit != Exit::Locked) {
        held = lock::take(&request.run_dir).ok();
    }
    if held.is_some()
        && let Err(error) = report.save(&request.run_dir)
    {
        talk.warning(&format!("cannot write the report in `{}`: {error}", request.run_dir.display()));
    }
    report
}

type Held = Option<std::fs::File>;

fn attempt(
    request: &PlaceRequest,
    talk: &Talk,
    report: &mut PlaceReport,
    held: &mut Held,
) -> Result<(), Stop> {
    let invalid = |error: &dyn Error| Stop::new(Exit::Seed, error);
    let expected = expect::expected(request.expect).map_err(|error| invalid(&error))?;
    let found = find::find(&request.seed, request.wait).map_err(|error| invalid(&error))?;
    if matches!(found, Place::Medium(_)) {
        // Two at once would mount it twice.
        *held = Some(lock::take(&request.run_dir)?);
    }
    let mut mounted = mount::open(found, &request.seed, &request.run_dir).map_err(|error| invalid(&error))?;
    let seed = seed::read(&mounted.path, &expected).map_err(|error| invalid(&error))?;
    let locked = store_of(&seed)?;
    if held.is_none() {
        *held = Some(lock::take(&request.run_dir)?);
    }
    let (checked, bytes) = trust::trust(&seed, request.trust, &request.state_dir, talk)?;
    let found = seed_report(&seed, &mounted, request.trust, checked, bytes);
    talk.line(Priority::Notice, &found.line());
    report.seed = Some(found);
    link(request, &seed)?;
    mounted.keep();
    if let Some(previous) = &request.previous {
        report.previous = self::previous(request, previous, &seed, talk);
    }
    let start = Instant::now();
    let engine = Placing::new(request, &seed, locked).place(talk)?;
    talk.line(Priority::Notice, &format!("{} seconds={}", engine.line(), seconds(start.elapsed())));
    report.engines.push(engine);
    Ok(())
}

/// Finds the engine's store in a lock.
fn store_of(seed: &Seed) -> Result<&LockedStore, Stop> {
    let path = seed.path.display();
    let refused = |text: String| Stop::saying(Exit::Seed, format!("`{path}`: {text}"));
    if seed.lock.medium.is_none() {
        return Err(refused("the seed is in host form, which has no stores".to_owned())
            .hint("a disk of the seed is in medium form: see `[disk.KEY]` in docs/format.md"));
    }
    let store = seed.lock.stores.get(&ENGINE);
    store.ok_or_else(|| refused(format!("the seed has no store `{}`", ENGINE.as_str())))
}

fn seed_report(seed: &Seed, mounted: &Mounted, trust: Trust, checked: Checked, bytes: u64) -> SeedReport {
    SeedReport {
        id: seed.lock.seed_id(),
        lock: seed.digest,
        path: seed.path.display().to_string(),
        medium: mounted.medium.clone(),
        trust,
        checked,
        bytes,
    }
}

fn link(request: &PlaceRequest, seed: &Seed) -> Result<(), Stop> {
    let made = link::make(&request.run_dir, &seed.lock.seed_id(), &seed.path);
    made.map_err(|error| {
        Stop::saying(
            Exit::Engine,
            format!("cannot make the link in `{}`: {error}", request.run_dir.display()),
        )
    })
}

/// Makes the link to the other slot's seed. What is wrong with that is no reason not to start from this one.
fn previous(request: &PlaceRequest, path: &Path, current: &Seed, talk: &Talk) -> Option<SeedReport> {
    match try_previous(request, path, current, talk) {
        Ok(report) => {
            talk.line(Priority::Notice, &format!("previous {}", report.line()));
            Some(report)
        }
        Err(stop) => {
            for error in stop.errors {
                talk.warning(&format!("previous seed: {error}"));
            }
            None
        }
    }
}

fn try_previous(
    request: &PlaceRequest,
    path: &Path,
    current: &Seed,
    talk: &Talk,
) -> Result<SeedReport, Stop> {
    let invalid = |error: &dyn Error| Stop::new(Exit::Seed, error);
    let found = find::find(path, std::time::Duration::ZERO).map_err(|error| invalid(&error))?;
    let mut mounted = mount::open(found, path, &request.run_dir).map_err(|error| invalid(&error))?;
    let seed = seed::read(&mounted.path, &[]).map_err(|error| invalid(&error))?;
    // Of one seed in both slots, this slot's is the one that was checked, and no link leads to the other.
    if seed.lock.seed_id() == current.lock.seed_id() {
        return Ok(seed_report(&seed, &mounted, request.trust, Checked::No, 0));
    }
    let (checked, bytes) = trust::trust(&seed, request.trust, &request.state_dir, talk)?;
    link(request, &seed)?;
    mounted.keep();
    Ok(seed_report(&seed, &mounted, request.trust, checked, bytes))
}
