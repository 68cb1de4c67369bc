//! One request of a worker: a step, or its outputs if they are kept.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use clap::Parser as _;

use super::desk::{Answer, serve};
use super::kept::{Found, Kept, MOST_BYTES, MOST_BYTES_OF_ONE};
use super::key::{Asked, Key};
use super::protocol::WorkRequest;
use crate::args::{Args, Command};
use crate::context::{Context, located};
use crate::failure::Failure;
use crate::output::write_document;

/// How all outputs begin that `--experimental_output_paths=strip` has mapped.
const MAPPED: &[u8] = b"bazel-out/cfg/";

/// Runs `ociseed --persistent_worker`.
pub(crate) fn run() -> Result<(), Failure> {
    let kept = Kept::new(MOST_BYTES);
    let work =
        |request: &WorkRequest, context: &Arc<Context>| context.enter(|| answer(request, context, &kept));
    let threads = available_parallelism().map_or(1, usize::from);
    // Not locked for good: a step that printed would wait for ever instead of spoiling a message, and either is a bug.
    serve(io::stdin().lock(), io::stdout(), threads, &work)
        .map_err(|error| Failure::because("the worker protocol", &error))
}

fn answer(request: &WorkRequest, context: &Arc<Context>, kept: &Kept) -> Answer {
    let (code, failed) = match step(request, context, kept) {
        Ok(()) => (0, String::new()),
        Err(failure) => (failure.code(), failure.hint(of_mapping(request)).plain()),
    };
    Answer { code, output: context.take_said() + &failed }
}

/// Advises those whose paths Bazel maps although nothing is there: it does so only in sandboxes, and does not look whether it has one.
fn of_mapping(request: &WorkRequest) -> Option<String> {
    let missing = |path: &Path| path.as_os_str().as_bytes().starts_with(MAPPED) && !located(path).exists();
    // What there must be before a step begins: parameters, inputs, and a directory for what it makes.
    let arguments: Vec<&Path> =
        request.arguments.iter().map(|argument| Path::new(OsStr::from_bytes(argument))).collect();
    let inputs = request.arguments.iter().filter_map(|argument| {
        let equals = argument.iter().position(|byte| *byte == b'=')?;
        Some(Path::new(OsStr::from_bytes(&argument[equals + 1..])))
    });
    let listed = arguments.windows(3).filter(|three| three[0] == "--input-file").map(|three| three[2]);
    let params = arguments.windows(2).filter(|two| two[0] == "--params").map(|two| two[1]);
    let outputs = arguments.windows(2).filter(|two| two[0] == "--out").filter_map(|two| two[1].parent());
    params.chain(inputs).chain(listed).chain(outputs).find(|path| missing(path)).map(|_| {
        "with `--experimental_output_paths=strip` workers need \
         `--worker_sandboxing --experimental_worker_multiplex_sandboxing`"
            .to_owned()
    })
}

/// Does a step, unless what it makes is kept.
fn step(request: &WorkRequest, context: &Context, kept: &Kept) -> Result<(), Failure> {
    let command = command(request)?;
    let Some(asked) = Asked::of(&command) else {
        let failure =
            Failure::usage("a worker does steps alone: layer, image, index, bundle, seed, store, disk, plan");
        return Err(failure.hint("`ociseed --help` says what runs by itself".to_owned()));
    };
    let do_it = || crate::run(&command).map(drop);
    let Some(key) = Key::of(&asked, request) else { return do_it() };
    match kept.find(key.digest, context) {
        Found::Cancelled => Err(Failure::new("the request was cancelled")),
        Found::Kept(outputs) => {
            let mut pairs = asked.outputs.iter().zip(&*outputs);
            pairs.try_for_each(|((_, path), bytes)| write_document(path, bytes))
        }
        Found::Nothing(making) => {
            do_it()?;
            // What it said would be said but once; what else it depends on is in no key.
            let all_known = !context.depends() && !context.has_said();
            if let Some(outputs) = all_known.then(|| read(&asked)).flatten()
                && key.holds()
            {
                making.keep(outputs);
            }
            Ok(())
        }
    }
}

fn command(request: &WorkRequest) -> Result<Command, Failure> {
    let arguments = request.arguments.iter().map(|argument| OsString::from_vec(argument.clone()));
    let arguments = std::iter::once(OsString::from("ociseed")).chain(arguments);
    Args::try_parse_from(arguments).map(|args| args.command).map_err(|error| {
        let text = error.render().to_string();
        Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end())
    })
}

/// Reads what a step made, if it can be kept.
fn read(asked: &Asked<'_>) -> Option<Vec<Vec<u8>>> {
    let mut left = MOST_BYTES_OF_ONE;
    let read = |(_, path): &(_, &Path)| {
        let file = File::open(located(path)).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let size = usize::try_from(metadata.len()).ok().filter(|size| *size <= left)?;
        left -= size;
        let mut bytes = Vec::with_capacity(size);
        file.take(metadata.len()).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    asked.outputs.iter().map(read).collect()
}
