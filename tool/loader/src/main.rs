//! `ociseed-loader`: brings a container engine to what a seed says, at every boot.
//!
//! `docs/loader.md` is its contract: flags, steps, labels, messages, exit codes.

mod archives;
mod args;
mod collect;
mod content;
mod desired;
mod engine;
mod exit;
mod expect;
mod failure;
mod leases;
mod lock;
mod manifest;
mod repair;
mod report;
mod run;
mod seed;
mod source;
mod stop;
mod talk;
mod time;
mod work;

use std::io::Write as _;
use std::process::ExitCode;

use crate::args::Command;
use crate::exit::Exit;
use crate::talk::Talk;

fn main() -> ExitCode {
    let talk = Talk::new();
    let exit = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => print(&talk, args::HELP),
        Ok(Command::Version) => print(&talk, concat!("ociseed-loader ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Run(request)) => {
            let report = run::run(&request, &talk);
            match request.json.then(|| print(&talk, &report.json())) {
                Some(Exit::Internal) if report.exit_code == Exit::Done => Exit::Internal,
                _ => report.exit_code,
            }
        }
        Err(error) => {
            talk.error(&error.to_string());
            talk.hint("`ociseed-loader --help` lists the flags");
            Exit::Usage
        }
    };
    ExitCode::from(exit.code())
}

fn print(talk: &Talk, text: &str) -> Exit {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(error) => {
            talk.error(&format!("cannot write to standard output: {error}"));
            Exit::Internal
        }
    }
}
