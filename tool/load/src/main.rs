//! `ociseed-load`: brings a local containerd, Docker or podman to what a seed says.
//!
//! `docs/load.md` is its contract: flags, the load file, what it does with each engine, report, exit codes.

mod args;
mod containerd;
mod docker;
mod exit;
mod failure;
mod launch;
mod podman;
mod report;
mod request;
mod run;
mod seed;

use std::process::ExitCode;

use crate::exit::Exit;
use crate::failure::say;

fn main() -> ExitCode {
    let exit = match args::parse() {
        Ok(args) => match request::request(args) {
            Ok(request) => run::run(&request),
            Err(stop) => {
                say(&stop.text, stop.hint.as_deref());
                stop.exit
            }
        },
        // Help and version are what was asked for.
        Err(error) => match (error.print(), error.use_stderr()) {
            (Ok(()), false) => Exit::Done,
            (Err(_), false) => Exit::Internal,
            (_, true) => Exit::Usage,
        },
    };
    ExitCode::from(exit.code())
}
