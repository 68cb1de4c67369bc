//! What can go wrong between the client and the engine.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a call, or the connection itself, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket is not there or nobody answers behind it.
    #[error("cannot connect to `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke while a call waited for its answer.
    #[error("connection to the engine lost in {method}")]
    Lost {
        /// The call.
        method: &'static str,
        /// What the HTTP/2 layer said.
        source: h2::Error,
    },
    /// The engine did not answer in time.
    #[error("no answer to {method} within {} ms", limit.as_millis())]
    Deadline {
        /// The call.
        method: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// The caller was told to stop.
    #[error("stopped in {method}")]
    Stopped {
        /// The call that was given up.
        method: &'static str,
    },
    /// The engine answered with an error.
    #[error("{method}: {code}: {message}")]
    Status {
        /// The call.
        method: &'static str,
        /// The kind of error.
        code: Code,
        /// The engine's words.
        message: String,
    },
    /// The engine answered what no engine should.
    #[error("{method}: {reason}")]
    Protocol {
        /// The call.
        method: &'static str,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl Error {
    /// Returns the engine's error code, when it was the engine that said no.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Returns whether the engine cannot be talked to any more, so that no later call will do better.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Status { .. })
    }

    /// Returns whether the engine's disk is full.
    ///
    /// containerd hands on the kernel's words with the code `Unknown`.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Status { message, .. }
            if message.contains("no space left on device") || message.contains("disk quota exceeded"))
    }
}

/// A gRPC status code other than OK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are gRPC's own")]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// The codes from 1 to 16, in order.
    const ALL: [Self; 16] = [
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// Reads the value of a `grpc-status` trailer; `None` is OK.
    pub(crate) fn from_trailer(text: &str) -> Result<Option<Self>, String> {
        match text.parse::<usize>() {
            Ok(0) => Ok(None),
            // A code that gRPC does not know yet counts as Unknown (gRPC specification, "Status codes").
            Ok(code) => Ok(Some(Self::ALL.get(code - 1).copied().unwrap_or(Self::Unknown))),
            Err(_) => Err(format!("the status `{text}` is no number")),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_become_codes() {
        let cases = [
            ("0", None),
            ("5", Some(Code::NotFound)),
            ("16", Some(Code::Unauthenticated)),
            ("99", Some(Code::Unknown)),
        ];
        for (text, code) in cases {
            assert_eq!(Code::from_trailer(text), Ok(code), "{text}");
        }
        assert!(Code::from_trailer("").is_err());
    }
}
