//! The command line: what was typed becomes a request that the rest of the loader understands.

mod help;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};
use ociseed_spec::Digest;
use serde::{Deserialize, Serialize};

pub(crate) use help::HELP;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Run.
    Run(Request),
    /// Place.
    Place(PlaceRequest),
    /// Say what was placed.
    Status(StatusRequest),
}

/// What `place` is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlaceRequest {
    /// The seed.
    pub(crate) seed: PathBuf,
    /// The seed of the other slot.
    pub(crate) previous: Option<PathBuf>,
    /// The digest that the lock must have.
    pub(crate) expect: Option<Digest>,
    /// The engine's root, where it is not what the lock says.
    pub(crate) root: Option<PathBuf>,
    /// Who vouches for the seed.
    pub(crate) trust: Trust,
    /// How long to wait for the seed.
    pub(crate) wait: Duration,
    /// What lasts as long as the boot.
    pub(crate) run_dir: PathBuf,
    /// What outlives it.
    pub(crate) state_dir: PathBuf,
    /// Whether the report goes to standard output.
    pub(crate) json: bool,
}

/// Who vouches for the bytes that engines read later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trust {
    /// The kernel, at each read.
    Verity,
    /// The loader, once.
    #[default]
    Sealed,
    /// Nobody.
    Unchecked,
}

impl Trust {
    /// Returns its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Verity => "verity",
            Self::Sealed => "sealed",
            Self::Unchecked => "unchecked",
        }
    }
}

/// What `status` is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatusRequest {
    /// Where `place` left its report.
    pub(crate) run_dir: PathBuf,
    /// Whether it goes out as it is.
    pub(crate) json: bool,
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
    /// Any number of these can be added to any time.
    wait: Option<u32>,
    run_dir: Option<PathBuf>,
    take_over: bool,
    previous_seed: Option<PathBuf>,
    root: Option<PathBuf>,
    trust: Option<String>,
    state_dir: Option<PathBuf>,
    json: bool,
    /// The flags that were typed and are not for every command.
    typed: Vec<&'static str>,
}

/// What each command takes of the flags that are not for all.
const OF_RUN: [&str; 7] = ["seed", "archives", "expect-seed", "engine", "address", "wait", "take-over"];
const OF_PLACE: [&str; 8] =
    ["seed", "expect-seed", "engine", "wait", "previous-seed", "root", "trust", "state-dir"];

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
    low.command()
}

impl LowArgs {
    /// Takes the next argument with its value; `None` at the end.
    fn take_next(&mut self, parser: &mut lexopt::Parser) -> Result<Option<Typed>, lexopt::Error> {
        let Some(argument) = parser.next()? else { return Ok(None) };
        match argument {
            Short('h') | Long("help") => return Ok(Some(Typed::Help)),
            Short('V') | Long("version") => return Ok(Some(Typed::Version)),
            Value(word) if self.command.is_none() => self.command = Some(word.string()?),
            Long("seed") => self.seed = Some(self.path("seed", parser)?),
            Long("archives") => self.archives = Some(self.path("archives", parser)?),
            Long("previous-seed") => self.previous_seed = Some(self.path("previous-seed", parser)?),
            Long("root") => self.root = Some(self.path("root", parser)?),
            Long("state-dir") => self.state_dir = Some(self.path("state-dir", parser)?),
            Long("address") => self.address = Some(self.path("address", parser)?),
            Long("expect-seed") => self.expect_seed = Some(self.value("expect-seed", parser)?.parse()?),
            Long("engine") => self.engine = Some(self.value("engine", parser)?.string()?),
            Long("trust") => self.trust = Some(self.value("trust", parser)?.string()?),
            Long("wait") => self.wait = Some(self.value("wait", parser)?.parse()?),
            Long("run-dir") => self.run_dir = Some(parser.value()?.into()),
            Long("take-over") => {
                self.typed.push("take-over");
                self.take_over = true;
            }
            Long("json") => self.json = true,
            other => return Err(other.unexpected()),
        }
        Ok(Some(Typed::Flag))
    }

    /// Takes the value of a flag that is not for every command.
    fn value(&mut self, name: &'static str, parser: &mut lexopt::Parser) -> Result<OsString, lexopt::Error> {
        self.typed.push(name);
        parser.value()
    }

    fn path(&mut self, name: &'static str, parser: &mut lexopt::Parser) -> Result<PathBuf, lexopt::Error> {
        self.value(name, parser).map(PathBuf::from)
    }

    fn command(self) -> Result<Command, UsageError> {
        let expected = "expected `place`, `run` or `status`";
        let command = self.command.clone().ok_or_else(|| UsageError(format!("no command: {expected}")))?;
        let flags: &[&str] = match command.as_str() {
            "run" => &OF_RUN,
            "place" => &OF_PLACE,
            "status" => &[],
            other => return wrong(format!("unknown command `{other}`: {expected}")),
        };
        if let Some(flag) = self.typed.iter().find(|flag| !flags.contains(flag)) {
            return wrong(format!("`--{flag}` is not for `{command}`"));
        }
        let engine = self.engine.as_deref().unwrap_or("containerd");
        if engine != "containerd" {
            return wrong(format!("unknown engine `{engine}`: expected `containerd`"));
        }
        match command.as_str() {
            "run" => self.run().map(Command::Run),
            "place" => self.place().map(Command::Place),
            _ => Ok(Command::Status(StatusRequest { json: self.json, run_dir: run_dir(self.run_dir) })),
        }
    }

    fn place(self) -> Result<PlaceRequest, UsageError> {
        let trust = match self.trust.as_deref() {
            Some("verity") => Trust::Verity,
            None | Some("sealed") => Trust::Sealed,
            Some("unchecked") => Trust::Unchecked,
            Some(other) => {
                return wrong(format!("unknown trust `{other}`: expected `verity`, `sealed` or `unchecked`"));
            }
        };
        let Some(seed) = self.seed else { return wrong("`--seed SEED` is needed") };
        for (flag, typed) in [("seed", Some(&seed)), ("previous-seed", self.previous_seed.as_ref())] {
            // Every partition without a name would be what is looked for.
            if let Some(typed) = typed.filter(|typed| is_label_without_name(typed)) {
                return wrong(format!("`--{flag} {}` says no name", typed.display()));
            }
        }
        Ok(PlaceRequest {
            seed,
            previous: self.previous_seed,
            expect: self.expect_seed,
            root: self.root,
            trust,
            wait: wait(self.wait),
            run_dir: run_dir(self.run_dir),
            state_dir: self.state_dir.unwrap_or_else(|| "/var/lib/ociseed".into()),
            json: self.json,
        })
    }

    fn run(self) -> Result<Request, UsageError> {
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
            wait: wait(self.wait),
            run_dir: run_dir(self.run_dir),
            take_over: self.take_over,
            json: self.json,
        })
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(text.into()))
}

fn is_label_without_name(seed: &Path) -> bool {
    ["LABEL=", "PARTLABEL="].iter().any(|empty| seed.as_os_str() == *empty)
}

fn wait(seconds: Option<u32>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(60).into())
}

fn run_dir(typed: Option<PathBuf>) -> PathBuf {
    typed.unwrap_or_else(|| "/run/ociseed".into())
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
        let Ok(Command::Place(request)) = words("place --seed LABEL=s") else { panic!("a good line") };
        let expected = PlaceRequest {
            seed: "LABEL=s".into(),
            previous: None,
            expect: None,
            root: None,
            trust: Trust::Sealed,
            wait: Duration::from_secs(60),
            run_dir: "/run/ociseed".into(),
            state_dir: "/var/lib/ociseed".into(),
            json: false,
        };
        assert_eq!(request, expected);
        let Ok(Command::Place(request)) = words("place --seed s --wait 4294967295") else {
            panic!("a good line")
        };
        assert!(std::time::Instant::now().checked_add(request.wait).is_some());
        let Ok(Command::Status(request)) = words("status --json") else { panic!("a good line") };
        assert_eq!(request, StatusRequest { run_dir: "/run/ociseed".into(), json: true });
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
            ("run --seed a --wait 18446744073709551615", "too large"),
            ("place --seed a --wait 4294967296", "too large"),
            ("run --seed a more", "more"),
            ("run --seed a --turbo", "--turbo"),
            ("place", "`--seed SEED` is needed"),
            ("place --seed LABEL=", "`--seed LABEL=` says no name"),
            ("place --seed PARTLABEL=", "`--seed PARTLABEL=` says no name"),
            ("place --seed a --previous-seed LABEL=", "`--previous-seed LABEL=` says no name"),
            ("place --seed a --previous-seed PARTLABEL=", "`--previous-seed PARTLABEL=` says no name"),
            ("place --seed a --trust me", "unknown trust `me`"),
            ("place --seed a --archives b", "`--archives` is not for `place`"),
            ("place --seed a --take-over", "`--take-over` is not for `place`"),
            ("place --seed a --engine docker", "unknown engine `docker`"),
            ("run --seed a --root b", "`--root` is not for `run`"),
            ("status --seed a", "`--seed` is not for `status`"),
        ];
        for (line, word) in cases {
            let message = words(line).expect_err(line).to_string();
            assert!(message.contains(word), "{line}: {message}");
        }
        let digest = Digest::of(b"");
        assert!(words(&format!("run --archives b --expect-seed {digest}")).is_err());
    }
}
