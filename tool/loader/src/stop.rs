//! Why a command ended before its work was done.

use std::error::Error;

use crate::exit::Exit;
use crate::talk::{Talk, chain};

/// An end with its exit code, and what is said of it.
#[derive(Debug)]
pub(crate) struct Stop {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What is wrong; at least one line.
    pub(crate) errors: Vec<String>,
    hint: Option<&'static str>,
}

impl Stop {
    /// Ends because of an error and what caused it.
    pub(crate) fn new(exit: Exit, error: &dyn Error) -> Self {
        Self::saying(exit, chain(error))
    }

    /// Ends for a reason in words.
    pub(crate) fn saying(exit: Exit, error: impl Into<String>) -> Self {
        Self::naming(exit, vec![error.into()])
    }

    /// Ends for several reasons.
    pub(crate) fn naming(exit: Exit, errors: Vec<String>) -> Self {
        Self { exit, errors, hint: None }
    }

    /// Adds what can be done about it.
    pub(crate) fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Says it on standard error.
    pub(crate) fn say(&self, talk: &Talk) {
        self.errors.iter().for_each(|error| talk.error(error));
        if let Some(hint) = self.hint {
            talk.hint(hint);
        }
    }
}
