//! Finding the engine: connecting, and waiting until it answers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ociseed_containerd::{Client, EngineVersion, Error, Hook, Options};

use crate::notify::Notify;

/// The pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What an attempt is given however little time is left: a ready engine answers in milliseconds.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

/// Says why there is no engine to talk to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WaitError {
    /// It did not answer in time.
    #[error("containerd did not answer within {} s", wait.as_secs())]
    NotReady {
        /// How long it was given.
        wait: Duration,
        /// The last attempt's reason.
        source: Error,
    },
    /// A signal asked the loader to end.
    #[error("told to stop")]
    Stopped,
}

/// Waits until the engine answers and returns the connection.
///
/// # Errors
/// It does not in time, or the loader is told to stop.
pub(crate) fn wait(
    socket: &Path,
    wait: Duration,
    stop: &Arc<AtomicBool>,
    notify: &Arc<Notify>,
) -> Result<(Client, EngineVersion), WaitError> {
    notify.status("waiting for containerd");
    let beating = Arc::clone(notify);
    let waiting = Hook::new(move || beating.alive());
    let usual = Options { stop: Arc::clone(stop), waiting, ..Options::default() };
    let deadline = Instant::now() + wait;
    let mut pause = FIRST_PAUSE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match attempt(socket, left.max(SHORTEST_ATTEMPT), &usual) {
            Ok(ready) => return Ok(ready),
            Err(Error::Stopped { .. }) => return Err(WaitError::Stopped),
            Err(error) => error,
        };
        if Instant::now() + pause >= deadline {
            return Err(WaitError::NotReady { wait, source: error });
        }
        sleep(pause, stop);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks once; the socket is there before the services behind it are, so both calls must be answered.
fn attempt(socket: &Path, limit: Duration, usual: &Options) -> Result<(Client, EngineVersion), Error> {
    let client = Client::connect(socket, Options { limit: limit.min(usual.limit), ..usual.clone() })?;
    let version = client.version()?;
    client.namespaces()?;
    client.set_limits(usual.limit, usual.slow_limit);
    Ok((client, version))
}

/// Sleeps, but not on when told to stop.
fn sleep(pause: Duration, stop: &AtomicBool) {
    let end = Instant::now() + pause;
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50).min(pause));
    }
}
