//! Lines on standard error, with priorities for the journal when it is the one that reads, and who else listens.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use crate::notify::Notify;

pub(crate) use ociseed_spec::chain;

/// A syslog priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Something failed.
    Error = 3,
    /// Something is not as it should be.
    Warning = 4,
    /// Something worth knowing happened.
    Notice = 5,
    /// All is well.
    Info = 6,
    /// Only worth knowing when something goes wrong later.
    Debug = 7,
}

/// Writes lines to standard error.
#[derive(Debug)]
pub(crate) struct Talk {
    prefix: bool,
    /// What is for the service manager.
    pub(crate) notify: Arc<Notify>,
}

impl Talk {
    /// Finds out who listens.
    pub(crate) fn new() -> Self {
        Self { prefix: journal_listens(), notify: Arc::new(Notify::new()) }
    }

    /// Writes one line; a listener that is gone is no reason to stop.
    pub(crate) fn line(&self, priority: Priority, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _ = if self.prefix {
            writeln!(stderr, "<{}>{text}", priority as u8)
        } else {
            writeln!(stderr, "{text}")
        };
    }

    /// Says what failed.
    pub(crate) fn error(&self, text: &str) {
        self.line(Priority::Error, &format!("error: {text}"));
    }

    /// Says what should be looked at.
    pub(crate) fn warning(&self, text: &str) {
        self.line(Priority::Warning, &format!("warning: {text}"));
    }

    /// Says what can be done about the line before.
    pub(crate) fn hint(&self, text: &str) {
        self.line(Priority::Error, &format!("hint: {text}"));
    }
}

/// `JOURNAL_STREAM` is inherited by everybody, so it counts only if it names our standard error (systemd.exec(5)).
fn journal_listens() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr().as_fd())
        .is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}
