//! What a person is told whose command line is wrong.
//!
//! clap says what it found and what is near; where that does not lead on, the answer is ours.

use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use ociseed_spec::shown;

use crate::failure::Failure;

/// Prints help, the version or an error, and returns the exit code.
pub(crate) fn answer(error: &clap::Error) -> ExitCode {
    if let Some(failure) = no_command(error).or_else(|| no_utf8(error)) {
        return failure.print();
    }
    // Nobody is left to tell when this fails.
    let _ = error.print();
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Says which argument is no UTF-8; clap does not.
fn no_utf8(error: &clap::Error) -> Option<Failure> {
    let word = std::env::args_os().find(|word| word.to_str().is_none())?;
    let message = format!("`{}` is no UTF-8, as only paths may be", shown(word.as_encoded_bytes()));
    (error.kind() == ErrorKind::InvalidUtf8).then(|| Failure::usage(message))
}

/// Answers those who leave the command out.
fn no_command(error: &clap::Error) -> Option<Failure> {
    let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    else {
        return None;
    };
    let path = Path::new(word);
    let spec = path.extension().is_some_and(|extension| extension == "toml" || extension == "json");
    let hint = if spec {
        format!("`ociseed build {word}` builds what a spec names")
    } else if path.exists() {
        format!("`ociseed inspect {word}` shows what is in it")
    } else {
        return None;
    };
    Some(Failure::usage(format!("`{word}` is no command of ociseed")).hint(hint))
}
