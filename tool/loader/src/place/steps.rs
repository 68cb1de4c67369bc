//! `place` from the first look to the last line, in the order of `docs/loader.md`.

use std::time::{Duration, Instant};

use ociseed_spec::lock::LockedStore;

use super::engine::{ENGINE, Placing};
use super::opened::{self, Held};
use super::report::{PlaceReport, seconds};
use super::walk;
use crate::args::PlaceRequest;
use crate::exit::Exit;
use crate::lock;
use crate::seed::Seed;
use crate::stop::Stop;
use crate::talk::{Priority, Talk};

/// What a disk is given to write the copy, and all else that waits to be written to it.
const SYNC_LIMIT: Duration = Duration::from_secs(600);

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
        held = lock::take(&request.places.run_dir).ok();
    }
    if held.is_some()
        && let Err(error) = report.save(&request.places.run_dir)
    {
        talk.warning(&format!("cannot write the report in `{}`: {error}", request.places.run_dir.display()));
    }
    report
}

fn attempt(
    request: &PlaceRequest,
    talk: &Talk,
    report: &mut PlaceReport,
    held: &mut Held,
) -> Result<(), Stop> {
    let places = &request.places;
    let mut opened = opened::open(&request.seeds, places, held, talk)?;
    store_of(&opened.seed)?;
    if held.is_none() {
        *held = Some(lock::take(&places.run_dir)?);
    }
    opened.trust(&places.state_dir, talk)?;
    opened.refuse_problems()?;
    talk.line(Priority::Notice, &opened.report.line());
    report.seed = Some(opened.report.clone());
    opened.link(&places.run_dir)?;
    let previous = opened::previous(&request.seeds, places, &opened, held, talk);
    report.previous = previous.map(|previous| previous.report.clone());
    let start = Instant::now();
    // How far the disk is with it, nobody knows.
    talk.notify.extend(SYNC_LIMIT);
    let engine = Placing::new(request, &opened.seed, store_of(&opened.seed)?).place(talk)?;
    let line = format!("{} seconds={}", engine.line(), seconds(start.elapsed()));
    talk.line(Priority::Notice, &line);
    talk.notify.status(&format!("done: {line}"));
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
