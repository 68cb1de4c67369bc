//! Lists the files that a container sees, so that a test can compare them with what the image should hold.
//!
//! Usage: `ociseed-probe [DIR]`, `DIR` being `/` unless given. It walks the directory without following a symlink or
//! entering another mount, and prints lines of JSON: first `{"mounts":[...]}` with the mount points it met, then an object
//! for each path, sorted by the parts of the path. Paths are relative to `DIR`, which is `/` itself.

mod entry;
mod text;
mod walk;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "/".into()));
    if arguments.next().is_some() {
        let _ = writeln!(io::stderr(), "usage: ociseed-probe [DIR]");
        return ExitCode::from(2);
    }
    // Printed only when all of it was read: half a list must not look like a whole one.
    match walk::list(&directory).and_then(|listing| print(&listing)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(listing: &walk::Listing) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    writeln!(out, "{}", serde_json::json!({ "mounts": listing.mounts }))?;
    for entry in &listing.entries {
        writeln!(out, "{entry}")?;
    }
    out.flush()
}
