//! The connection: making it, waiting on it with a limit, counting what goes over it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::Error;

/// How often a wait looks whether it shall stop: short against the 2 s that a service is given to end.
const GLANCE: Duration = Duration::from_millis(50);

/// What the engine may send before we read: enough to keep it busy on a local socket,
/// and it bounds what the connection buffers.
const WINDOW: u32 = 256 << 10;

/// Something to be called again and again.
#[derive(Clone, Default)]
pub struct Hook(Option<Arc<dyn Fn() + Send + Sync>>);

impl Hook {
    /// Takes what is to be called.
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }

    fn call(&self) {
        if let Some(call) = &self.0 {
            call();
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.0.is_some()).finish()
    }
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Set from outside (a signal handler) to end any wait with [`Error::Stopped`].
    pub stop: Arc<AtomicBool>,
    /// Called by any wait when it begins and many times a second until its limit: who calls sees that neither hangs.
    pub waiting: Hook,
    /// The limit of connecting and of a call that needs no work of the engine.
    pub limit: Duration,
    /// The limit of a commit, where the engine syncs a whole blob to disk, and of a garbage collection.
    pub slow_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stop: Arc::default(),
            waiting: Hook::default(),
            limit: Duration::from_secs(60),
            // A 1 GiB blob on a slow SD card (5 MB/s) takes 200 s to sync.
            slow_limit: Duration::from_secs(600),
        }
    }
}

/// What went over a connection so far, as counted on the client's side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often each gRPC method was called, by full name without the leading slash.
    pub calls: BTreeMap<&'static str, u64>,
    /// Bytes of content sent.
    pub sent: u64,
    /// Bytes of content read.
    pub read: u64,
}

/// A connection to containerd with blocking calls.
pub struct Client {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    options: RefCell<Options>,
    tally: RefCell<Tally>,
    /// Whether waits look at the stop flag.
    heed_stop: Cell<bool>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the engine's socket.
    ///
    /// # Errors
    /// Nobody listens, does not speak HTTP/2, or not in time.
    pub fn connect(socket: &Path, options: Options) -> Result<Self, Error> {
        const METHOD: &str = "connect";
        let failed = |source| Error::Connect { path: socket.to_owned(), source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let limit = options.limit;
        let wait = Wait { method: METHOD, limit, stop: Some(&options.stop), waiting: &options.waiting };
        let requests = wait.on(
            &runtime,
            pin!(async {
                let stream = UnixStream::connect(socket).await.map_err(failed)?;
                let (requests, connection) = h2::client::Builder::new()
                    .initial_window_size(WINDOW)
                    .initial_connection_window_size(WINDOW)
                    .enable_push(false)
                    .handshake(stream)
                    .await
                    .map_err(|source| Error::Lost { method: METHOD, source })?;
                // Calls that are under way get the connection's error; nobody else needs it.
                tokio::spawn(async move { drop(connection.await) });
                Ok(requests)
            }),
        )?;
        Ok(Self {
            runtime,
            requests,
            options: RefCell::new(options),
            tally: RefCell::default(),
            heed_stop: Cell::new(true),
        })
    }

    /// Returns the calls of one namespace of the engine.
    pub fn scope(&self, namespace: &str) -> Scope<'_> {
        Scope { client: self, namespace: namespace.to_owned(), lease: None }
    }

    /// Returns what went over the connection so far.
    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Sets the limits of later calls, as [`Options::limit`] and [`Options::slow_limit`].
    pub fn set_limits(&self, limit: Duration, slow_limit: Duration) {
        let mut options = self.options.borrow_mut();
        options.limit = limit;
        options.slow_limit = slow_limit;
    }

    /// Ignores the stop flag from now on: for tidying up after a stop.
    pub fn ignore_stop(&self) {
        self.heed_stop.set(false);
    }

    pub(crate) fn limit(&self) -> Duration {
        self.options.borrow().limit
    }

    pub(crate) fn slow_limit(&self) -> Duration {
        self.options.borrow().slow_limit
    }

    pub(crate) fn requests(&self) -> SendRequest<Bytes> {
        self.requests.clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.borrow_mut());
    }

    /// Waits for `future`, not longer than `limit`, and not when told to stop.
    pub(crate) fn wait<T>(
        &self,
        method: &'static str,
        limit: Duration,
        future: Pin<&mut dyn Future<Output = Result<T, Error>>>,
    ) -> Result<T, Error> {
        let options = self.options.borrow();
        let stop = self.heed_stop.get().then_some(&*options.stop);
        Wait { method, limit, stop, waiting: &options.waiting }.on(&self.runtime, future)
    }
}

/// One bounded wait.
struct Wait<'a> {
    method: &'static str,
    limit: Duration,
    stop: Option<&'a AtomicBool>,
    waiting: &'a Hook,
}

impl Wait<'_> {
    /// Not generic over the future: a copy of this for each would cost the loader 20 KB.
    fn on<T>(
        &self,
        runtime: &Runtime,
        mut future: Pin<&mut dyn Future<Output = Result<T, Error>>>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.limit;
        runtime.block_on(async {
            loop {
                if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                    return Err(Error::Stopped { method: self.method });
                }
                self.waiting.call();
                let left = deadline.saturating_duration_since(Instant::now());
                match tokio::time::timeout(left.min(GLANCE), &mut future).await {
                    Ok(output) => return output,
                    Err(_) if left <= GLANCE => {
                        return Err(Error::Deadline { method: self.method, limit: self.limit });
                    }
                    Err(_) => {}
                }
            }
        })
    }
}

/// A namespace of the engine, and the lease under which calls in it run.
#[derive(Debug, Clone)]
pub struct Scope<'c> {
    pub(crate) client: &'c Client,
    pub(crate) namespace: String,
    pub(crate) lease: Option<String>,
}

impl Scope<'_> {
    /// Returns the same namespace with calls that put what they make under a lease.
    #[must_use]
    pub fn under_lease(&self, id: &str) -> Self {
        Self { lease: Some(id.to_owned()), ..self.clone() }
    }

    /// Returns the namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}
