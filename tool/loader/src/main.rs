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
mod files;
mod leases;
mod lock;
mod notify;
mod place;
mod repair;
mod report;
mod root;
mod run;
mod seed;
mod source;
mod state;
mod status;
mod stop;
mod talk;
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
            after(&talk, printed, report.exit_code.code())
        }
        Ok(Command::Place(request)) => {
            let report = place::place(&request, &talk);
            let printed = request.json.then(|| print(&talk, &report.json()));
            after(&talk, printed, report.exit_code)
        }
        Ok(Command::Settle(dir)) => settle(&dir, &talk).code(),
        Ok(Command::Status(request)) => print(&talk, &status::status(&request, &talk)).code(),
        Err(error) => {
            talk.error(&error.to_string());
            talk.hint("`ociseed-loader --help` lists the flags");
            Exit::Usage.code()
        }
    };
    ExitCode::from(code)
}

/// Notes that the boot ends in good order.
fn settle(dir: &std::path::Path, talk: &Talk) -> Exit {
    match state::settle(dir) {
        Ok(()) => Exit::Done,
        Err(error) => {
            talk.error(&format!(
                "cannot note in `{}` that this boot ends in good order: {error}",
                dir.display()
            ));
            Exit::Engine
        }
    }
}

/// The exit code after a report: that it could not be printed counts only where nothing else went wrong.
fn after(talk: &Talk, printed: Option<Exit>, code: u8) -> u8 {
    let code = match printed {
        Some(Exit::Internal) if code == Exit::Done.code() => Exit::Internal.code(),
        _ => code,
    };
    // Background images hold up nobody.
    if [Exit::Done, Exit::Background].iter().any(|exit| exit.code() == code) {
        talk.notify.ready();
    }
    code
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
