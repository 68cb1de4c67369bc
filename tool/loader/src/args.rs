//! The command line: what was typed becomes a request that the rest of the loader understands.

mod help;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};
use ociseed_spec::Digest;
use ociseed_spec::containerd_root::RUN_DIRECTORY;
use ociseed_spec::lock::Class;
use serde::{Deserialize, Serialize};

pub(crate) use help::HELP;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Run, or say what that would do.
    Run(Request),
    /// Place.
    Place(PlaceRequest),
    /// Say what was done, and what there is.
    Status(StatusRequest),
    /// Note in this state directory that the boot ends in good order.
    Settle(PathBuf),
}

/// Which seeds there are, and what is asked of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    /// The seed.
    pub(crate) seed: PathBuf,
    /// The seed of the other slot.
    pub(crate) previous: Option<PathBuf>,
    /// The digest that the lock must have.
    pub(crate) expect: Option<Digest>,
    /// Who vouches for the seed.
    pub(crate) trust: Trust,
    /// How long to wait for the seed.
    pub(crate) wait: Duration,
}

/// Where the loader keeps what is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// What lasts as long as the boot.
    pub(crate) run_dir: PathBuf,
    /// What outlives it.
    pub(crate) state_dir: PathBuf,
}

/// What `place` is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlaceRequest {
    /// The seeds.
    pub(crate) seeds: Seeds,
    /// The engine's root, where it is not what the lock says.
    pub(crate) root: Option<PathBuf>,
    /// Where our own files are.
    pub(crate) places: Places,
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
    /// The engine's socket.
    pub(crate) address: PathBuf,
    /// Where `place` and `run` left their reports.
    pub(crate) run_dir: PathBuf,
    /// Whether it goes out as JSON.
    pub(crate) json: bool,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Everything is done.
    Run,
    /// Nothing is done, and all that is there counts as right.
    Plan,
    /// Nothing is done, and all that is there is hashed.
    Verify,
    /// Everything that is ours is removed.
    Reset,
}

impl Mode {
    /// Tells whether anything is changed.
    pub(crate) fn changes(self) -> bool {
        matches!(self, Self::Run | Self::Reset)
    }
}

/// What `run`, `plan` and `verify` are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// How far to go.
    pub(crate) mode: Mode,
    /// Where the images come from.
    pub(crate) from: From,
    /// The images that matter, if not all do.
    pub(crate) class: Option<Class>,
    /// The engine's socket.
    pub(crate) address: PathBuf,
    /// How long to wait for the engine.
    pub(crate) wait: Duration,
    /// Whether what the engine has is hashed, also where nothing speaks for that.
    pub(crate) read_back: bool,
    /// Where our own files are.
    pub(crate) places: Places,
    /// Whether foreign records of our names are replaced.
    pub(crate) take_over: bool,
    /// Whether the report goes to standard output.
    pub(crate) json: bool,
}

/// Where the images come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Seeds.
    Seeds(Seeds),
    /// A preseed directory.
    Archives(PathBuf),
    /// Nowhere: there are to be none.
    Nowhere,
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
    class: Option<String>,
    read_back: bool,
    state_dir: Option<PathBuf>,
    json: bool,
    /// The flags that were typed and are not for every command.
    typed: Vec<&'static str>,
}

/// The commands, and what each takes of the flags that are not for all.
const COMMANDS: [(&str, &[&str]); 7] = [
    (
        "place",
        &[
            "seed",
            "expect-seed",
            "engine",
            "wait",
            "previous-seed",
            "root",
            "trust",
            "state-dir",
            "run-dir",
            "json",
        ],
    ),
    ("run", &["read-back", "take-over", OF_RUNS]),
    ("plan", &["take-over", OF_RUNS]),
    ("verify", &[OF_RUNS]),
    ("status", &["address", "run-dir", "json"]),
    ("settle", &["state-dir"]),
    ("reset", &["engine", "address", "wait", "state-dir", "run-dir", "json"]),
];

/// Stands for the flags that `run`, `plan` and `verify` have.
const OF_RUNS: &str = "";
const RUNS: [&str; 12] = [
    "seed",
    "archives",
    "expect-seed",
    "engine",
    "address",
    "wait",
    "previous-seed",
    "trust",
    "class",
    "state-dir",
    "run-dir",
    "json",
];

fn takes(flags: &[&str], flag: &str) -> bool {
    flags.contains(&flag) || (flags.contains(&OF_RUNS) && RUNS.contains(&flag))
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
            Long("class") => self.class = Some(self.value("class", parser)?.string()?),
            Long("run-dir") => self.run_dir = Some(self.path("run-dir", parser)?),
            Long("take-over") => self.take_over = self.flag("take-over"),
            Long("read-back") => self.read_back = self.flag("read-back"),
            Long("json") => self.json = self.flag("json"),
            other => return Err(other.unexpected()),
        }
        Ok(Some(Typed::Flag))
    }

    /// Takes the value of a flag that is not for every command.
    fn value(&mut self, name: &'static str, parser: &mut lexopt::Parser) -> Result<OsString, lexopt::Error> {
        self.typed.push(name);
        parser.value()
    }

    /// Takes a flag without a value.
    fn flag(&mut self, name: &'static str) -> bool {
        self.typed.push(name);
        true
    }

    fn path(&mut self, name: &'static str, parser: &mut lexopt::Parser) -> Result<PathBuf, lexopt::Error> {
        self.value(name, parser).map(PathBuf::from)
    }

    fn command(self) -> Result<Command, UsageError> {
        let expected = "expected `place`, `run`, `plan`, `verify`, `status`, `settle` or `reset`";
        let command = self.command.clone().ok_or_else(|| UsageError(format!("no command: {expected}")))?;
        let Some((_, flags)) = COMMANDS.iter().find(|(name, _)| *name == command) else {
            return wrong(format!("unknown command `{command}`: {expected}"));
        };
        if let Some(flag) = self.typed.iter().find(|flag| !takes(flags, flag)) {
            return wrong(format!("`--{flag}` is not for `{command}`"));
        }
        let engine = self.engine.as_deref().unwrap_or("containerd");
        if engine != "containerd" {
            return wrong(format!("unknown engine `{engine}`: expected `containerd`"));
        }
        match command.as_str() {
            "run" => self.run(Mode::Run).map(Command::Run),
            "plan" => self.run(Mode::Plan).map(Command::Run),
            "verify" => self.run(Mode::Verify).map(Command::Run),
            "place" => self.place().map(Command::Place),
            "settle" => Ok(Command::Settle(self.places().state_dir)),
            "reset" => Ok(Command::Run(self.request(Mode::Reset, From::Nowhere, None))),
            _ => Ok(Command::Status(self.status())),
        }
    }

    fn places(&self) -> Places {
        Places {
            run_dir: self.run_dir.clone().unwrap_or_else(|| RUN_DIRECTORY.into()),
            state_dir: self.state_dir.clone().unwrap_or_else(|| "/var/lib/ociseed".into()),
        }
    }

    fn address(&self) -> PathBuf {
        self.address.clone().unwrap_or_else(|| "/run/containerd/containerd.sock".into())
    }

    /// At most as much as any number of these can be added to any time.
    fn waiting(&self) -> Duration {
        Duration::from_secs(self.wait.unwrap_or(60).into())
    }

    fn seeds(&self, seed: PathBuf) -> Result<Seeds, UsageError> {
        for (flag, typed) in [("seed", Some(&seed)), ("previous-seed", self.previous_seed.as_ref())] {
            // Every partition without a name would be what is looked for.
            if let Some(typed) = typed.filter(|typed| is_label_without_name(typed)) {
                return wrong(format!("`--{flag} {}` says no name", typed.display()));
            }
        }
        let trust = match self.trust.as_deref() {
            Some("verity") => Trust::Verity,
            None | Some("sealed") => Trust::Sealed,
            Some("unchecked") => Trust::Unchecked,
            Some(other) => {
                return wrong(format!("unknown trust `{other}`: expected `verity`, `sealed` or `unchecked`"));
            }
        };
        let previous = self.previous_seed.clone();
        Ok(Seeds { seed, previous, expect: self.expect_seed, trust, wait: self.waiting() })
    }

    fn place(mut self) -> Result<PlaceRequest, UsageError> {
        let Some(seed) = self.seed.take() else { return wrong("`--seed SEED` is needed") };
        let (seeds, places) = (self.seeds(seed)?, self.places());
        Ok(PlaceRequest { seeds, root: self.root, places, json: self.json })
    }

    fn status(self) -> StatusRequest {
        StatusRequest { address: self.address(), run_dir: self.places().run_dir, json: self.json }
    }

    fn run(mut self, mode: Mode) -> Result<Request, UsageError> {
        let from = match (self.seed.take(), self.archives.take()) {
            (Some(seed), None) => From::Seeds(self.seeds(seed)?),
            (None, Some(archives)) => {
                let of_seeds = ["expect-seed", "previous-seed", "trust", "class"];
                match self.typed.iter().find(|flag| of_seeds.contains(flag)) {
                    Some(flag) => return wrong(format!("`--{flag}` needs `--seed`")),
                    None => From::Archives(archives),
                }
            }
            (Some(_), Some(_)) => return wrong("`--seed` and `--archives` exclude each other"),
            (None, None) => return wrong("one of `--seed SEED` and `--archives DIR` is needed"),
        };
        let class = match self.class.as_deref() {
            None => None,
            Some("critical") => Some(Class::Critical),
            Some("background") => Some(Class::Background),
            Some(other) => {
                return wrong(format!("unknown class `{other}`: expected `critical` or `background`"));
            }
        };
        Ok(self.request(mode, from, class))
    }

    fn request(self, mode: Mode, from: From, class: Option<Class>) -> Request {
        Request {
            mode,
            from,
            class,
            address: self.address(),
            wait: self.waiting(),
            read_back: self.read_back,
            places: self.places(),
            take_over: self.take_over,
            json: self.json,
        }
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(text.into()))
}

fn is_label_without_name(seed: &Path) -> bool {
    ["LABEL=", "PARTLABEL="].iter().any(|empty| seed.as_os_str() == *empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn seeds(seed: &str) -> Seeds {
        let wait = Duration::from_secs(60);
        Seeds { seed: seed.into(), previous: None, expect: None, trust: Trust::Sealed, wait }
    }

    fn places() -> Places {
        Places { run_dir: "/run/ociseed".into(), state_dir: "/var/lib/ociseed".into() }
    }

    #[test]
    fn what_is_not_typed_has_the_documented_value() {
        let socket = PathBuf::from("/run/containerd/containerd.sock");
        for (command, mode) in [("run", Mode::Run), ("plan", Mode::Plan), ("verify", Mode::Verify)] {
            let Ok(Command::Run(request)) = words(&format!("{command} --seed s")) else {
                panic!("a good line")
            };
            let expected = Request {
                mode,
                from: From::Seeds(seeds("s")),
                class: None,
                address: socket.clone(),
                wait: Duration::from_secs(60),
                read_back: false,
                places: places(),
                take_over: false,
                json: false,
            };
            assert_eq!(request, expected);
        }
        let Ok(Command::Place(request)) = words("place --seed LABEL=s") else { panic!("a good line") };
        let expected = PlaceRequest { seeds: seeds("LABEL=s"), root: None, places: places(), json: false };
        assert_eq!(request, expected);
        let Ok(Command::Place(request)) = words("place --seed s --wait 4294967295") else {
            panic!("a good line")
        };
        assert!(std::time::Instant::now().checked_add(request.seeds.wait).is_some());
        let Ok(Command::Status(request)) = words("status --json") else { panic!("a good line") };
        let run_dir = "/run/ociseed".into();
        assert_eq!(request, StatusRequest { address: socket.clone(), run_dir, json: true });
        let Ok(Command::Settle(dir)) = words("settle --state-dir x") else { panic!("a good line") };
        assert_eq!(dir, PathBuf::from("x"));
        let Ok(Command::Run(request)) = words("reset") else { panic!("a good line") };
        assert_eq!((request.mode, request.from, request.address), (Mode::Reset, From::Nowhere, socket));
    }

    #[test]
    fn what_is_typed_counts() {
        let line =
            "run --seed a --previous-seed b --class background --trust unchecked --read-back --take-over";
        let Ok(Command::Run(request)) = words(line) else { panic!("a good line") };
        let From::Seeds(found) = request.from else { panic!("a seed") };
        let expected = Seeds { previous: Some("b".into()), trust: Trust::Unchecked, ..seeds("a") };
        assert_eq!((found, request.class), (expected, Some(Class::Background)));
        assert!(request.read_back && request.take_over);
    }

    #[test]
    fn wrong_lines_are_named() {
        let cases = [
            ("", "no command"),
            ("load", "unknown command `load`"),
            ("run", "one of `--seed SEED`"),
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
            ("run --archives a --class critical", "`--class` needs `--seed`"),
            ("run --archives a --previous-seed b", "`--previous-seed` needs `--seed`"),
            ("run --archives a --trust sealed", "`--trust` needs `--seed`"),
            ("run --seed a --class urgent", "unknown class `urgent`"),
            ("run --seed LABEL=", "`--seed LABEL=` says no name"),
            ("plan --seed a --read-back", "`--read-back` is not for `plan`"),
            ("verify --seed a --take-over", "`--take-over` is not for `verify`"),
            ("settle --json", "`--json` is not for `settle`"),
            ("reset --seed a", "`--seed` is not for `reset`"),
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
