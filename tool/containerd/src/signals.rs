//! The signals that end a client in good order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

/// SIGTERM and SIGINT, caught: they set the flag of [`Options`](crate::Options) that ends waits.
#[derive(Debug)]
pub struct Signals {
    /// Set when one came.
    pub stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches both from now on.
    ///
    /// # Errors
    /// The operating system refuses it.
    pub fn catch() -> io::Result<Self> {
        let signals = Self { stop: Arc::default(), number: Arc::default() };
        for signal in [SIGTERM, SIGINT] {
            let number = usize::try_from(signal).expect("signal numbers are small");
            // The number first, so that whoever sees the flag sees the number too.
            signal_hook::flag::register_usize(signal, Arc::clone(&signals.number), number)?;
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    /// Returns the number of the one that came, if one did.
    pub fn came(&self) -> Option<u8> {
        u8::try_from(self.number.load(Ordering::SeqCst)).ok().filter(|number| *number > 0)
    }
}
