//! How far a failure reaches: one image, or the whole run.

use ociseed_containerd::{Code, Error};

use crate::talk::chain;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// This image cannot be loaded; others can.
    #[error("{0}")]
    Image(String),
    /// Something of this image that was there is gone: it is worth another look.
    #[error("{0}")]
    Gone(String),
    /// The engine or its store cannot be worked with.
    #[error("{0}")]
    Engine(String),
    /// There is too little space, found before anything was written.
    #[error("{0}")]
    NoSpace(String),
    /// A signal asked the loader to end.
    #[error("told to stop")]
    Stopped,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Stopped { .. } => Self::Stopped,
            // On a full disk every other image would fail as well, and try to fill it again.
            _ if error.is_fatal() || error.is_no_space() => Self::Engine(chain(&error)),
            _ if error.code() == Some(Code::NotFound) => Self::Gone(chain(&error)),
            _ => Self::Image(chain(&error)),
        }
    }
}
