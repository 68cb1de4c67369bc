//! The command line: what was typed becomes a request that the rest of the loader understands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};
use ociseed_spec::Digest;

/// Shown by `--help`.
pub(crate) const HELP: &str = "\
Brings a container engine to what a seed says.

Usage: ociseed-loader run (--seed DIR | --archives DIR) [OPTION]...

What to load:
  --seed DIR             a seed: seed.json and an OCI image layout
  --archives DIR         a preseed directory: DIR/<namespace>/<file>.tar
  --expect-seed DIGEST   the sha256 that seed.json must have
  --take-over            replace foreign records that have one of our names

Engine:
  --engine NAME          containerd [default]
  --address SOCKET       its socket [default: /run/containerd/containerd.sock]
  --wait SECONDS         how long to wait until it answers [default: 60]

Other:
  --run-dir DIR          where the lock file of this boot lies [default: /run/ociseed]
  --json                 the report as JSON on standard output
  -h, --help             this text
  -V, --version          the version

Example:
  ociseed-loader run --seed /usr/lib/ociseed/seed

Exit codes: 0 settled or done, 1 internal, 2 usage, 3 seed invalid, 4 engine not ready in time,
6 engine or store failed, 7 a background image failed, 8 a critical image failed,
75 another loader is running, 130 and 143 ended by a signal.
";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Run.
    Run(Request),
}

/// What `run` is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Where the images come from.
    pub(crate) from: From,
    /// The engine's socket.
    pub(crate) address: PathBuf,
    /// How long to wait for the engine.
    pub(crate) wait: Duration,
    /// The directory of the lock file.
    pub(crate) run_dir: PathBuf,
    /// Whether foreign records of our names are replaced.
    pub(crate) take_over: bool,
    /// Whether the report goes to standard output.
    pub(crate) json: bool,
}

/// Where the images come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// A seed, and the digest that its lock must have.
    Seed(PathBuf, Option<Digest>),
    /// A preseed directory.
    Archives(PathBuf),
}

/// What is wrong with the command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

/// What an argument was.
enum Typed {
    Flag,
    Help,
    Version,
}

/// The flags as they were typed.
#[derive(Default)]
struct LowArgs {
    command: Option<String>,
    seed: Option<PathBuf>,
    archives: Option<PathBuf>,
    expect_seed: Option<Digest>,
    engine: Option<String>,
    address: Option<PathBuf>,
    wait: Option<u64>,
    run_dir: Option<PathBuf>,
    take_over: bool,
    json: bool,
}

/// Reads a command line, without the program's name.
///
/// # Errors
/// Anything that is not as the help says.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut low = LowArgs::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    loop {
        match low.take_next(&mut parser) {
            Ok(None) => break,
            Ok(Some(Typed::Flag)) => {}
            Ok(Some(Typed::Help)) => return Ok(Command::Help),
            Ok(Some(Typed::Version)) => return Ok(Command::Version),
            Err(error) => return Err(UsageError(error.to_string())),
        }
    }
    low.request().map(Command::Run)
}

impl LowArgs {
    /// Takes the next argument with its value; `None` at the end.
    fn take_next(&mut self, parser: &mut lexopt::Parser) -> Result<Option<Typed>, lexopt::Error> {
        let Some(argument) = parser.next()? else { return Ok(None) };
        match argument {
            Short('h') | Long("help") => return Ok(Some(Typed::Help)),
            Short('V') | Long("version") => return Ok(Some(Typed::Version)),
            Value(word) if self.command.is_none() => self.command = Some(word.string()?),
            Long("seed") => self.seed = Some(parser.value()?.into()),
            Long("archives") => self.archives = Some(parser.value()?.into()),
            Long("expect-seed") => self.expect_seed = Some(parser.value()?.parse()?),
            Long("engine") => self.engine = Some(parser.value()?.string()?),
            Long("address") => self.address = Some(parser.value()?.into()),
            Long("wait") => self.wait = Some(parser.value()?.parse()?),
            Long("run-dir") => self.run_dir = Some(parser.value()?.into()),
            Long("take-over") => self.take_over = true,
            Long("json") => self.json = true,
            other => return Err(other.unexpected()),
        }
        Ok(Some(Typed::Flag))
    }

    fn request(self) -> Result<Request, UsageError> {
        let wrong = |text: &str| Err(UsageError(text.to_owned()));
        match self.command.as_deref() {
            Some("run") => {}
            Some(other) => return wrong(&format!("unknown command `{other}`: expected `run`")),
            None => return wrong("no command: expected `run`"),
        }
        let engine = self.engine.as_deref().unwrap_or("containerd");
        if engine != "containerd" {
            return wrong(&format!("unknown engine `{engine}`: expected `containerd`"));
        }
        let from = match (self.seed, self.archives) {
            (Some(seed), None) => From::Seed(seed, self.expect_seed),
            (None, Some(_)) if self.expect_seed.is_some() => return wrong("`--expect-seed` needs `--seed`"),
            (None, Some(archives)) => From::Archives(archives),
            (Some(_), Some(_)) => return wrong("`--seed` and `--archives` exclude each other"),
            (None, None) => return wrong("one of `--seed DIR` and `--archives DIR` is needed"),
        };
        Ok(Request {
            from,
            address: self.address.unwrap_or_else(|| "/run/containerd/containerd.sock".into()),
            wait: Duration::from_secs(self.wait.unwrap_or(60)),
            run_dir: self.run_dir.unwrap_or_else(|| "/run/ociseed".into()),
            take_over: self.take_over,
            json: self.json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_is_not_typed_has_the_documented_value() {
        let Ok(Command::Run(request)) = words("run --seed s") else { panic!("a good line") };
        assert_eq!(request.from, From::Seed("s".into(), None));
        assert_eq!(request.address, PathBuf::from("/run/containerd/containerd.sock"));
        assert_eq!((request.wait, request.run_dir), (Duration::from_secs(60), "/run/ociseed".into()));
        assert!(!request.take_over && !request.json);
    }

    #[test]
    fn wrong_lines_are_named() {
        let cases = [
            ("", "no command"),
            ("load", "unknown command `load`"),
            ("run", "one of"),
            ("run --seed a --archives b", "exclude each other"),
            ("run --archives b --expect-seed sha256:0", "not `sha256:`"),
            ("run --seed a --engine docker", "unknown engine `docker`"),
            ("run --seed a --wait soon", "soon"),
            ("run --seed a more", "more"),
            ("run --seed a --turbo", "--turbo"),
        ];
        for (line, word) in cases {
            let message = words(line).expect_err(line).to_string();
            assert!(message.contains(word), "{line}: {message}");
        }
        let digest = Digest::of(b"");
        assert!(words(&format!("run --archives b --expect-seed {digest}")).is_err());
    }
}
