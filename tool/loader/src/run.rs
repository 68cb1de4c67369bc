//! `run` from the first file to the last line: seed, lock, engine, work, tidying up, report.

use std::io;
use std::time::{Duration, Instant};

use ociseed_containerd::{Client, Signals};
use ociseed_spec::lock::{Class, Engine};

use crate::args::{From, Mode, Places, Request, Seeds, Trust};
use crate::engine::{self, WaitError};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::{self, Held, Opened};
use crate::report::{self, EngineReport, ImageReport, Report};
use crate::seed::{self, SeedError};
use crate::source::{Previous, Source};
use crate::state::{self, State};
use crate::stop::Stop;
use crate::talk::{Priority, Talk};
use crate::work::{Options, Work};
use crate::{archives, lock, root};

/// What each call of tidying up is given after a signal: an end within 2 s is promised.
const HURRY: Duration = Duration::from_millis(400);

/// What each call of tidying up is given after the engine failed: a full disk is slow, a hung engine never answers.
const IMPATIENT: Duration = Duration::from_secs(5);

/// Runs and returns what was done, or would be; everything was said on standard error by then.
pub(crate) fn run(request: &Request, talk: &Talk) -> Report {
    let start = Instant::now();
    let mut report = Report::new(request.mode);
    let mut held = None;
    let stop = attempt(request, talk, &mut report, &mut held).err();
    if let Some(stop) = &stop {
        stop.say(talk);
        report.errors.splice(0..0, stop.errors.iter().cloned());
    }
    report.finish(stop.as_ref().map(|stop| stop.exit));
    if report.engine.is_some() {
        let summary = report.summary(start.elapsed());
        talk.line(Priority::Notice, &summary);
        talk.notify.status(&summary.replacen(' ', ": ", 1));
    }
    // A seed that was refused is worth knowing about, too; but who holds the lock has a report of its own.
    if held.is_none() && request.mode == Mode::Run && stop.is_some_and(|stop| stop.exit != Exit::Locked) {
        held = lock::take(&request.places.run_dir).ok();
    }
    if held.is_some()
        && let Err(error) = keep(&report, &request.places)
    {
        talk.warning(&format!("cannot keep the report: {error}"));
    }
    report
}

/// Keeps the report for `status`; after a `reset` there is nothing to be said of anything.
fn keep(report: &Report, places: &Places) -> io::Result<()> {
    match report.command {
        Mode::Run => report.save(&places.run_dir),
        Mode::Reset if report.exit_code == Exit::Done => {
            root::remove(&places.run_dir.join(report::FILE_NAME))?;
            state::remove(&places.state_dir)
        }
        Mode::Plan | Mode::Verify | Mode::Reset => Ok(()),
    }
}

fn attempt(request: &Request, talk: &Talk, report: &mut Report, held: &mut Held) -> Result<(), Stop> {
    // What is mounted for a look goes when these go.
    let (mut current, mut previous) = (None, None);
    let source = match &request.from {
        From::Seeds(seeds) => {
            let of_seeds = open(request, seeds, talk, held, &mut current, &mut previous)?;
            report.previous = previous.as_ref().map(|opened: &Opened| opened.report.id.to_string());
            of_seeds
        }
        From::Archives(path) => {
            let source = archives::open(path).map_err(|error| Stop::new(Exit::Seed, &error))?;
            *held = Some(lock::take(&request.places.run_dir)?);
            source
        }
        From::Nowhere => {
            *held = Some(lock::take(&request.places.run_dir)?);
            Source::nothing()
        }
    };
    report.seed = Some(source.owner.clone());
    // Only from here on there is something to be left in order.
    let signals = Signals::catch().map_err(|error| Stop::new(Exit::Internal, &error))?;
    let waited = engine::wait(&request.address, request.wait, &signals.stop, &talk.notify);
    let (client, version) = waited.map_err(|error| match &error {
        WaitError::Stopped => Stop::new(ended_by(&signals), &error),
        WaitError::NotReady { .. } => {
            Stop::new(Exit::NotReady, &error).hint("is containerd running, and is its socket `--address`?")
        }
    })?;
    report.engine = Some(EngineReport { name: "containerd", version: version.version });
    refuse(&source, talk, report);
    let result = work(request, &source, &client, talk, report);
    if result.is_ok() && request.mode == Mode::Run {
        place::told(&request.places.run_dir, request.class);
    }
    let tally = client.tally();
    report.calls = tally.calls;
    report.read_back = tally.read;
    result.map_err(|failure| match failure {
        Failure::Stopped => Stop::new(ended_by(&signals), &failure),
        Failure::NoSpace(_) => {
            Stop::new(Exit::NoSpace, &failure).hint("nothing was written; make room, and run it again")
        }
        other => Stop::new(Exit::Engine, &other),
    })
}

/// Opens the seeds as a source, under the lock. What can be linked is trusted first; what is copied is checked while it is.
fn open(
    request: &Request,
    seeds: &Seeds,
    talk: &Talk,
    held: &mut Held,
    current: &mut Option<Opened>,
    previous: &mut Option<Opened>,
) -> Result<Source, Stop> {
    let places = &request.places;
    let opened = current.insert(place::open(seeds, places, held, talk)?);
    if held.is_none() {
        *held = Some(lock::take(&places.run_dir)?);
    }
    opened.ask_whether_told(&places.run_dir, request.class);
    let can_link = opened.seed.lock.stores.contains_key(&Engine::Containerd);
    match request.mode {
        Mode::Run if can_link => {
            opened.trust(&places.state_dir, talk)?;
            talk.line(Priority::Notice, &opened.report.line());
            let noted = place::note_untold(&places.run_dir, &opened.report.id);
            noted.map_err(|error| Stop::new(Exit::Engine, &error))?;
            opened.link(&places.run_dir)?;
        }
        Mode::Verify => {
            opened.hash(talk);
            talk.line(Priority::Notice, &opened.report.line());
            opened.refuse_problems()?;
        }
        Mode::Run | Mode::Plan | Mode::Reset => {}
    }
    let invalid = |error: SeedError| Stop::new(Exit::Seed, &error);
    if seeds.previous.is_some() {
        *previous = match request.mode {
            Mode::Run => place::previous(seeds, places, opened, held, talk),
            Mode::Plan | Mode::Verify | Mode::Reset => place::previous_unlinked(seeds, places, held, talk),
        };
    }
    if request.mode == Mode::Verify {
        // That CRI is still to be told says nothing of what there is.
        opened.untold = false;
    }
    if let Some(other) = previous {
        other.untold = opened.untold;
    }
    let kept = match (&seeds.previous, previous) {
        (None, _) => Previous::None,
        // What cannot be read may be all that a rollback needs.
        (Some(_), None) => Previous::Unknown,
        (Some(_), Some(other)) if other.report.id == opened.report.id => Previous::None,
        (Some(_), Some(other)) => {
            let (images, links) = seed::images(other).map_err(invalid)?;
            Previous::Images(images, links)
        }
    };
    seed::source(opened, kept, request.class).map_err(invalid)
}

/// Reports archives that cannot be used as failed images.
fn refuse(source: &Source, talk: &Talk, report: &mut Report) {
    for refused in &source.refused {
        let image = ImageReport::refused(refused, &source.owner);
        talk.error(&refused.error);
        let (priority, line) = image.line();
        talk.line(priority, &line);
        report.images.push(image);
    }
}

/// Works, and leaves nothing half-done whatever happens.
fn work(
    request: &Request,
    source: &Source,
    client: &Client,
    talk: &Talk,
    report: &mut Report,
) -> Result<(), Failure> {
    let places = &request.places;
    let mut state = State::read(&places.state_dir)
        .map_err(|error| Failure::Engine(format!("cannot tell which boot this is: {error}")))?;
    let trusts = !matches!(&request.from, From::Seeds(seeds) if seeds.trust == Trust::Unchecked);
    let unclean = state.is_unclean(request.class) && trusts && request.mode == Mode::Run;
    let options = Options {
        mode: request.mode,
        take_over: request.take_over,
        read_back: request.read_back || unclean || request.mode == Mode::Verify,
        unclean,
        class: request.class,
        remove: request.class != Some(Class::Critical),
    };
    let mut work = Work::observe(client, source, talk, options)?;
    let result = work.run(&mut state);
    match &result {
        Err(Failure::Stopped) => {
            talk.notify.stopping();
            client.ignore_stop();
            client.set_limits(HURRY, HURRY);
        }
        // An engine that did not answer once is not waited for as long again.
        Err(_) => client.set_limits(IMPATIENT, IMPATIENT),
        Ok(()) => client.ignore_stop(),
    }
    for failure in work.tidy_up() {
        let error = format!("tidying up: {failure}");
        talk.warning(&error);
        report.errors.push(error);
    }
    let result = result.and_then(|()| work.sweep());
    report.images.append(&mut work.reports);
    report.removed.append(&mut work.removed);
    report.copies = work.copies.take().filter(|_| report.images.iter().any(|image| image.copied > 0));
    result
}

/// Says that a signal ended the run.
fn ended_by(signals: &Signals) -> Exit {
    Exit::Signal(signals.came().unwrap_or(0))
}
