//! What a person is told when something failed, and the exit code.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Style};

use crate::context::say;

/// As clap's, whose errors stand beside ours.
const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Green.on_default();

/// What to do where there is no space left.
const FREE_SPACE: &str = "free space on that file system; nothing half-written was left";

/// One or more messages, an optional hint, and whether the command's use was wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    messages: Vec<String>,
    hint: Option<String>,
    usage: bool,
}

impl Failure {
    /// Something could not be done (exit code 1).
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { messages: vec![message.into()], hint: None, usage: false }
    }

    /// What was asked for makes no sense (exit code 2).
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(message) }
    }

    /// Several things are wrong with what was asked for (exit code 2).
    pub(crate) fn usages(messages: Vec<String>) -> Self {
        Self { messages, hint: None, usage: true }
    }

    /// Puts the place in front of an error and of what caused it.
    pub(crate) fn because(place: impl std::fmt::Display, error: &(dyn Error + 'static)) -> Self {
        Self::new(format!("{place}: {}", chain(error)))
    }

    /// Does as [`Failure::because`], of something that was to be written: where there is no space left, that is the advice.
    pub(crate) fn writing(place: impl std::fmt::Display, error: &(dyn Error + 'static)) -> Self {
        Self::because(place, error).hint(is_full(error).then(|| FREE_SPACE.to_owned()))
    }

    /// Puts the place in front of all messages.
    pub(crate) fn within(mut self, place: &str) -> Self {
        for message in &mut self.messages {
            *message = format!("{place}: {message}");
        }
        self
    }

    /// Adds advice, in place of what was there.
    pub(crate) fn hint(self, hint: impl Into<Option<String>>) -> Self {
        Self { hint: hint.into().or(self.hint), ..self }
    }

    /// Makes it a matter of wrong use.
    pub(crate) fn into_usage(self) -> Self {
        Self { usage: true, ..self }
    }

    /// Joins failures of things that were done independently.
    pub(crate) fn join(failures: Vec<Self>) -> Option<Self> {
        failures.into_iter().reduce(|mut all, next| {
            all.messages.extend(next.messages);
            all.hint = all.hint.or(next.hint);
            all.usage &= next.usage;
            all
        })
    }

    /// Returns the messages.
    pub(crate) fn into_messages(self) -> Vec<String> {
        self.messages
    }

    /// Says of something that hinders nobody what follows from it.
    pub(crate) fn note(&self, then: &str) {
        self.say(&format!("note: {}; {then}", self.messages.join("; ")));
    }

    /// Says of something that is done all the same that it may not be what was wanted.
    pub(crate) fn warn(&self) {
        self.say(&format!("warning: {}", self.messages.join("; ")));
    }

    fn say(&self, text: &str) {
        let hint = self.hint.as_ref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
        say(&printable(&format!("{text}\n{hint}")));
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }

    /// Returns what is printed, without colours.
    pub(crate) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.styled()).to_string()
    }

    fn styled(&self) -> String {
        let mut text = String::new();
        for message in &self.messages {
            let _ = writeln!(text, "{ERROR}error:{ERROR:#} {}", printable(message));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{HINT}hint:{HINT:#} {}", printable(hint));
        }
        text
    }

    /// Prints it and returns the exit code.
    pub(crate) fn print(&self) -> ExitCode {
        // Takes the colours out but on a terminal that wants them (NO_COLOR and its like).
        let mut stderr: anstream::AutoStream<io::Stderr> = anstream::stderr();
        // Nobody is left to tell when standard error is closed.
        let _ = stderr.write_all(self.styled().as_bytes());
        ExitCode::from(self.code())
    }
}

/// Tells whether there is no space left where something was to be written.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Escapes what a terminal would obey: names of files and entries may hold anything.
fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |char: char| char.is_control() && char != '\n' && char != '\t';
    if !text.contains(obeyed) {
        return text.into();
    }
    let escaped = text.chars().map(|char| match obeyed(char) {
        true => char.escape_unicode().to_string(),
        false => char.to_string(),
    });
    escaped.collect()
}

/// Writes an error and its causes on one line, without the numbers that the operating system has for them.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    while let Some(start) = text.find(" (os error ") {
        let end = text[start..].find(')').map_or(text.len(), |end| start + end + 1);
        text.replace_range(start..end, "");
    }
    text
}
