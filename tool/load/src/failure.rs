//! How far a failure reaches: one image, or everything.

use std::error::Error;
use std::io::Write as _;

use ociseed_spec::chain;

use crate::exit::Exit;

/// Why nothing more is done.
#[derive(Debug)]
pub(crate) struct Stop {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// What happened.
    pub(crate) text: String,
    /// What can be done about it.
    pub(crate) hint: Option<String>,
}

impl Stop {
    /// Ends the program for this reason.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), hint: None }
    }

    /// Ends the program because of an error.
    pub(crate) fn of(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    /// Says what can be done about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Why something could not be done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// This image cannot be loaded; others can.
    Image {
        /// What happened.
        text: String,
        /// What can be done about it.
        hint: Option<String>,
    },
    /// Nothing can.
    Stop(Stop),
}

impl Failure {
    /// Fails one image for this reason.
    pub(crate) fn image(text: impl Into<String>) -> Self {
        Self::Image { text: text.into(), hint: None }
    }

    /// Fails one image because of an error.
    pub(crate) fn of(error: &dyn Error) -> Self {
        Self::image(chain(error))
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Says what went wrong on standard error; a reader that is gone is no reason to stop.
pub(crate) fn say(text: &str, hint: Option<&str>) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {text}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}
