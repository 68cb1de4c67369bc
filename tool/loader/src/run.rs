//! `run` from the first file to the last line: seed, lock, engine, work, tidying up, report.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ociseed_containerd::Client;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::{From, Request};
use crate::engine::{self, WaitError};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lock;
use crate::report::{EngineReport, ImageReport, Outcome, Report};
use crate::source::Source;
use crate::stop::Stop;
use crate::talk::{Priority, Talk};
use crate::work::Work;
use crate::{archives, expect, seed};

/// What each call of tidying up is given after a signal: an end within 2 s is promised.
const HURRY: Duration = Duration::from_millis(400);

/// What each call of tidying up is given after the engine failed: a full disk is slow, a hung engine never answers.
const IMPATIENT: Duration = Duration::from_secs(5);

/// Runs and returns what was done; everything was said on standard error by then.
pub(crate) fn run(request: &Request, talk: &Talk) -> Report {
    let start = Instant::now();
    let mut report = Report::new();
    let stop = attempt(request, talk, &mut report).err();
    if let Some(stop) = &stop {
        stop.say(talk);
        report.errors.splice(0..0, stop.errors.iter().cloned());
    }
    report.finish(stop.map(|stop| stop.exit));
    if report.engine.is_some() {
        talk.line(Priority::Notice, &report.summary(start.elapsed()));
    }
    report
}

fn attempt(request: &Request, talk: &Talk, report: &mut Report) -> Result<(), Stop> {
    let signals = Signals::catch()?;
    let source = open(&request.from)?;
    report.seed = Some(source.owner.clone());
    let _lock = lock::take(&request.run_dir)?;
    let waited = engine::wait(&request.address, request.wait, &signals.stop);
    let (client, version) = waited.map_err(|error| match &error {
        WaitError::Stopped => Stop::new(signals.exit(), &error),
        WaitError::NotReady { .. } => {
            Stop::new(Exit::NotReady, &error).hint("is containerd running, and is its socket `--address`?")
        }
    })?;
    report.engine = Some(EngineReport { name: "containerd", version: version.version });
    refuse(&source, talk, report);
    let result = work(request, &source, &client, talk, report);
    let tally = client.tally();
    report.calls = tally.calls;
    report.read_back = tally.read;
    result.map_err(|failure| match failure {
        Failure::Stopped => Stop::new(signals.exit(), &failure),
        other => Stop::new(Exit::Engine, &other),
    })
}

fn open(from: &From) -> Result<Source, Stop> {
    match from {
        From::Seed(path, flag) => {
            let expected = expect::expected(*flag).map_err(|error| Stop::new(Exit::Seed, &error))?;
            seed::open(path, &expected).map_err(|error| Stop::new(Exit::Seed, &error))
        }
        From::Archives(path) => archives::open(path).map_err(|error| Stop::new(Exit::Seed, &error)),
    }
}

/// Reports archives that cannot be used as failed images.
fn refuse(source: &Source, talk: &Talk, report: &mut Report) {
    for refused in &source.refused {
        let image = ImageReport {
            name: refused.name.clone(),
            namespace: refused.namespace.clone(),
            digest: None,
            // Nobody says what an archive is needed for, so all are.
            class: ociseed_spec::lock::Class::Critical,
            pin: true,
            outcome: Outcome::Failed,
            copied: 0,
            present: 0,
            replaced: Vec::new(),
            errors: vec![refused.error.clone()],
        };
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
    let mut work = Work::observe(client, source, talk, request.take_over)?;
    let result = work.run();
    match &result {
        Err(Failure::Stopped) => {
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
    report.images.append(&mut work.reports);
    result
}

/// The signals that end a run in good order.
struct Signals {
    stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    fn catch() -> Result<Self, Stop> {
        let signals = Self { stop: Arc::default(), number: Arc::default() };
        for signal in [SIGTERM, SIGINT] {
            let number = usize::try_from(signal).expect("signal numbers are small");
            // The number first, so that whoever sees the flag sees the number too.
            signal_hook::flag::register_usize(signal, Arc::clone(&signals.number), number)
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&signals.stop)))
                .map_err(|error| Stop::new(Exit::Internal, &error))?;
        }
        Ok(signals)
    }

    fn exit(&self) -> Exit {
        Exit::Signal(u8::try_from(self.number.load(Ordering::SeqCst)).unwrap_or(0))
    }
}
