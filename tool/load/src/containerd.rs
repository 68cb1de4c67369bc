//! containerd, over its own API: blobs, snapshots and records that a namespace lacks are added under a lease.

mod namespace;
mod unpack;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ociseed_containerd::{Client, Error, Options, Signals};
use ociseed_spec::chain;
use ociseed_spec::lock::Namespace;

use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::report::{EngineReport, ImageReport, Report};
use crate::seed::Seed;
use namespace::InNamespace;

/// The snapshotter that layers are unpacked for: the one that containerd uses unless told otherwise.
const SNAPSHOTTER: &str = "overlayfs";

/// What each call of tidying up is given after a failure or a signal.
const HURRY: Duration = Duration::from_secs(2);

/// Loads all images of a seed into the given namespaces, or else each into its own.
///
/// # Errors
/// What ends everything; what concerns one image is in its report.
pub(crate) fn load(
    seed: &Seed,
    socket: &Path,
    namespaces: &[Namespace],
    report: &mut Report,
) -> Result<(), Stop> {
    let signals = Signals::catch().map_err(|error| Stop::of(Exit::Internal, &error))?;
    let client = connect(socket, &signals, report)?;
    let unpacks = report.engine.as_ref().is_some_and(|engine| engine.store.is_some());
    for image in &seed.images {
        let into = if namespaces.is_empty() { &image.namespaces } else { namespaces };
        for namespace in into {
            let mut done = ImageReport::of(image, Some(namespace.as_str()));
            let result = InNamespace::new(&client, seed, namespace.as_str(), unpacks).bring(image, &mut done);
            report.conclude(done, result).map_err(|stop| explain(&signals, stop))?;
        }
    }
    Ok(())
}

fn connect(socket: &Path, signals: &Signals, report: &mut Report) -> Result<Client, Stop> {
    let unreachable = |error: Error| {
        explain(signals, Stop::of(Exit::Unreachable, &error).hint(
            "is containerd running, may you write to its socket, and is that `--address` or `CONTAINERD_ADDRESS`?",
        ))
    };
    let options = Options { stop: Arc::clone(&signals.stop), ..Options::default() };
    let client = Client::connect(socket, options).map_err(unreachable)?;
    let version = client.version().map_err(unreachable)?.version;
    let filter = format!("type==io.containerd.snapshotter.v1,id=={SNAPSHOTTER}");
    let plugins = client.plugins(vec![filter]).map_err(unreachable)?;
    let store = plugins.iter().any(|plugin| plugin.failure.is_none()).then(|| SNAPSHOTTER.to_owned());
    report.engine = Some(EngineReport { name: "containerd", version, store });
    Ok(client)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // On a full disk every other image would fail as well.
        if error.is_fatal() || error.is_no_space() {
            return Self::Stop(Stop::new(Exit::Engine, chain(&error)));
        }
        Self::of(&error)
    }
}

/// A call that was given up because of a signal did not fail.
fn explain(signals: &Signals, stop: Stop) -> Stop {
    signals.came().map_or(stop, |number| Stop::new(Exit::Signal(number), "told to stop"))
}
