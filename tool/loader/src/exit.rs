//! The exit codes of `docs/loader.md`.

use serde::{Serialize, Serializer};

/// How the loader ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything is as the seed says.
    Done,
    /// A mistake in the loader itself.
    Internal,
    /// A wrong command line.
    Usage,
    /// The seed cannot be used.
    Seed,
    /// The engine did not answer in time.
    NotReady,
    /// There is too little space, found before anything was written.
    NoSpace,
    /// The engine or its store failed.
    Engine,
    /// Background images failed.
    Background,
    /// Critical images failed.
    Critical,
    /// Another loader holds the lock (`EX_TEMPFAIL`).
    Locked,
    /// Ended by this signal.
    Signal(u8),
}

impl Exit {
    /// Returns the number for the system.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Seed => 3,
            Self::NotReady => 4,
            Self::NoSpace => 5,
            Self::Engine => 6,
            Self::Background => 7,
            Self::Critical => 8,
            Self::Locked => 75,
            Self::Signal(number) => 128_u8.wrapping_add(number),
        }
    }
}

impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}
