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
mod place;
mod repair;
mod report;
mod run;
mod seed;
mod source;
mod status;
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
    let code = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => print(&talk, args::HELP).code(),
        Ok(Command::Version) => {
            print(&talk, concat!("ociseed-loader ", env!("CARGO_PKG_VERSION"), "\n")).code()
        }
        Ok(Command::Run(request)) => {
            let report = run::run(&request, &talk);
            let printed = request.json.then(|| print(&talk, &report.json()));
            after(printed, report.exit_code.code())
        }
        Ok(Command::Place(request)) => {
            let report = place::place(&request, &talk);
            let printed = request.json.then(|| print(&talk, &report.json()));
            after(printed, report.exit_code)
        }
        Ok(Command::Status(request)) => print(&talk, &status::status(&request, &talk)).code(),
        Err(error) => {
            talk.error(&error.to_string());
            talk.hint("`ociseed-loader --help` lists the flags");
            Exit::Usage.code()
        }
    };
    ExitCode::from(code)
}

/// The exit code after a report: that it could not be printed counts only where nothing else went wrong.
fn after(printed: Option<Exit>, code: u8) -> u8 {
    match printed {
        Some(Exit::Internal) if code == Exit::Done.code() => Exit::Internal.code(),
        _ => code,
    }
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
