//! `ociseed`: stocks an OS image with container images before it ever boots.
//!
//! This file is the edge: it turns flags into requests, errors into messages
//! and exit codes, and does nothing else.

mod argfile;
mod args;
mod artifact;
mod blobs;
mod build;
mod cache;
mod completions;
mod context;
mod diff;
mod failure;
mod file_systems;
mod files;
mod given;
mod inputs;
mod inspect;
mod man;
mod mistyped;
mod output;
mod progress;
mod report;
mod scratch;
mod step;
mod verify;
mod watched;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let arguments = match argfile::expand(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(failure) => return failure.print(),
    };
    if let [_, only] = arguments.as_slice()
        && only == worker::FLAG
    {
        output::remove_stages_on_signals();
        return worker::run().map_or_else(|failure| failure.print(), |()| ExitCode::SUCCESS);
    }
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return mistyped::answer(&error),
    };
    output::remove_stages_on_signals();
    let result = run(&args.command);
    match result {
        Ok(code) => code,
        Err(failure) => failure.print(),
    }
}

pub(crate) fn run(command: &Command) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Diff(args) => return diff::run(args),
        Command::Build(args) => build::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Layer(args) => step::layer::run(args),
        Command::Image(args) => step::image::run(args),
        Command::Index(args) => step::index::run(args),
        Command::Bundle(args) => step::bundle::run(args),
        Command::Seed(args) => step::seed::run(args),
        Command::Store(args) => step::store::run(args),
        Command::Disk(args) => step::disk::run(args),
        Command::Plan(args) => step::plan::run(args),
        Command::Cache(args) => cache::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    done.map(|()| ExitCode::SUCCESS)
}
