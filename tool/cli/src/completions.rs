//! `ociseed completions`: a script for a shell, made of the command line's own description.

use clap::CommandFactory as _;

use crate::args::{Args, CompletionsArgs};
use crate::failure::Failure;

/// Runs `ociseed completions`.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "ociseed", &mut script);
    crate::output::print(&String::from_utf8(script).expect("all help texts are UTF-8"))
}
