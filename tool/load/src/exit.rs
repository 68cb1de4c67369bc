//! The exit codes of `docs/load.md`.

use serde::{Serialize, Serializer};

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All images are there.
    Done,
    /// A mistake in the program itself, or nobody reads what it says.
    Internal,
    /// A wrong command line or load file.
    Usage,
    /// The seed cannot be used.
    Seed,
    /// The engine cannot be reached.
    Unreachable,
    /// The engine or its store failed.
    Engine,
    /// At least one image failed.
    Images,
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
            Self::Unreachable => 4,
            Self::Engine => 6,
            Self::Images => 8,
            Self::Signal(number) => 128_u8.wrapping_add(number),
        }
    }
}

impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}
