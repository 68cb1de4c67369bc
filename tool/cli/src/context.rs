//! For whom a step works: for its own process, or for one request of a worker.
//!
//! A worker (docs/format.md, "Worker") does many steps in one process, so what a process has once, a step must have for itself:
//! a directory that paths are relative to, somebody to tell, and an end before its time. A request has a thread, and what is here
//! belongs to the thread: all else runs in its own process and knows nothing of this. What a step hands to other threads
//! takes its [`Cancellation`] along.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Context>>> = const { RefCell::new(None) };
}

/// What one request has for itself.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// What paths are relative to; empty for the directory of the process.
    base: PathBuf,
    cancelled: AtomicBool,
    /// Whether more decides what the step makes than a worker knows.
    depends: AtomicBool,
    said: Mutex<String>,
}

impl Context {
    /// Makes the one of a request whose paths are relative to `base`.
    pub(crate) fn new(base: PathBuf) -> Self {
        Self { base, ..Self::default() }
    }

    /// Does something for this request, in this thread.
    pub(crate) fn enter<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        /// Goes back, by a panic too.
        struct Leave(Option<Arc<Context>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _leave = Leave(CURRENT.replace(Some(Arc::clone(self))));
        work()
    }

    /// Makes the step fail when it next writes.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Tells whether nobody waits for the step any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Tells whether more decided what the step made than what the request says.
    pub(crate) fn depends(&self) -> bool {
        self.depends.load(Ordering::Relaxed)
    }

    /// Tells whether the step said something so far.
    pub(crate) fn has_said(&self) -> bool {
        !self.said.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes what was said so far.
    pub(crate) fn take_said(&self) -> String {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn current() -> Option<Arc<Context>> {
    CURRENT.with_borrow(Option::clone)
}

/// Returns where a path of the command line is, seen from the directory of the process.
pub(crate) fn located(path: &Path) -> PathBuf {
    match current() {
        Some(context) => context.base.join(path),
        None => path.to_owned(),
    }
}

/// Says something that hinders nobody: on standard error, or to who waits for the request.
pub(crate) fn say(text: &str) {
    match current() {
        Some(context) => context.said.lock().unwrap_or_else(PoisonError::into_inner).push_str(text),
        // Nobody is left to tell when standard error is closed.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Notes that the step depends on more than a worker can know by its request.
pub(crate) fn note_dependency() {
    if let Some(context) = current() {
        context.depends.store(true, Ordering::Relaxed);
    }
}

/// Tells whether somebody still waits for a step; other threads may have it.
#[derive(Debug, Clone)]
pub(crate) struct Cancellation(Option<Arc<Context>>);

/// Returns that of the step of this thread.
pub(crate) fn cancellation() -> Cancellation {
    Cancellation(current())
}

impl Cancellation {
    /// Fails where nobody waits any more.
    pub(crate) fn check(&self) -> io::Result<()> {
        match &self.0 {
            Some(context) if context.is_cancelled() => Err(io::Error::other("the request was cancelled")),
            _ => Ok(()),
        }
    }

    /// Makes reading or writing fail where nobody waits any more.
    pub(crate) fn over<T>(&self, inner: T) -> Cancellable<T> {
        Cancellable { inner, cancellation: self.clone() }
    }
}

/// Reads or writes as long as somebody waits for it.
#[derive(Debug)]
pub(crate) struct Cancellable<T> {
    inner: T,
    cancellation: Cancellation,
}

impl<T> Cancellable<T> {
    /// Returns what is read or written.
    pub(crate) fn into_inner(self) -> T {
        self.inner
    }
}

impl<W: Write> Write for Cancellable<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.cancellation.check()?;
        self.inner.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Cancellable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancellation.check()?;
        self.inner.read(buffer)
    }
}
