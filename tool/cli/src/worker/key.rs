//! What decides the outputs of a step, as far as a request says it (docs/decisions/0013).

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ociseed_spec::{Digest, Hasher, Stamp};

use super::protocol::WorkRequest;
use crate::args::{Command, OutOnlyArgs, ParamsArgs, StepArgs, StepInputArgs};
use crate::context::located;

/// The bit that says whether the owner may execute a file: all of a mode that gets into outputs.
const EXECUTABLE: u32 = 0o100;

/// A step as it was asked for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    name: &'static str,
    params: &'a ParamsArgs,
    /// By flag.
    pub(crate) outputs: Vec<(&'static str, &'a Path)>,
    inputs: &'a StepInputArgs,
    /// What the output must be, besides.
    expect: Option<&'a Path>,
}

impl<'a> Asked<'a> {
    /// Takes a command if it is a step.
    pub(crate) fn of(command: &'a Command) -> Option<Self> {
        let plain = |name, args: &'a OutOnlyArgs| Self {
            name,
            params: &args.params,
            outputs: vec![("--out", &args.out)],
            inputs: &args.inputs,
            expect: None,
        };
        let described = |name, args: &'a StepArgs| {
            let mut asked = plain(name, &args.step);
            asked.outputs.extend(args.metadata.as_deref().map(|path| ("--metadata", path)));
            asked
        };
        Some(match command {
            Command::Layer(args) => Self { expect: args.expect.as_deref(), ..described("layer", &args.step) },
            Command::Disk(args) => described("disk", args),
            Command::Image(args) => plain("image", args),
            Command::Index(args) => plain("index", args),
            Command::Plan(args) => plain("plan", args),
            Command::Bundle(args) => plain("bundle", &args.step),
            Command::Store(args) => plain("store", args),
            Command::Seed(args) => {
                let out = args.out.as_deref().map(|path| ("--out", path));
                let metadata = args.metadata.as_deref().map(|path| ("--metadata", path));
                let outputs = out.into_iter().chain(metadata).collect();
                Self { name: "seed", params: &args.params, outputs, inputs: &args.inputs, expect: None }
            }
            Command::Build(_)
            | Command::Inspect(_)
            | Command::Verify(_)
            | Command::Diff(_)
            | Command::Cache(_)
            | Command::Completions(_)
            | Command::Man(_) => return None,
        })
    }
}

/// What decides the outputs of a step.
#[derive(Debug)]
pub(crate) struct Key {
    /// Equal for steps that make the same.
    pub(crate) digest: Digest,
    files: Vec<Source>,
}

/// A file that a step reads.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    stamp: Stamp,
    claimed: Digest,
}

impl Key {
    /// Makes the one of a step; nothing where the request does not say all that decides.
    pub(crate) fn of(asked: &Asked<'_>, request: &WorkRequest) -> Option<Self> {
        let said = request.inputs.iter().map(|input| (&*input.path, &*input.digest)).collect();
        let mut making = Making { said, hasher: Hasher::new(), files: Vec::new() };
        making.word(asked.name.as_bytes());
        making.number(asked.outputs.len());
        asked.outputs.iter().for_each(|(flag, _)| making.word(flag.as_bytes()));
        making.params(asked.params)?;
        // The last of one name would win; that it is there twice is an error all the same.
        let named: BTreeMap<_, _> =
            asked.inputs.named.named.iter().map(|(name, path)| (name, path)).collect();
        if named.len() != asked.inputs.named.named.len() {
            return None;
        }
        making.number(named.len());
        for (name, path) in named {
            making.word(name.as_bytes());
            making.file(path)?;
        }
        making.number(asked.inputs.directories.len());
        asked.inputs.directories.iter().for_each(|name| making.word(name.as_bytes()));
        making.number(asked.inputs.files.len());
        for pair in asked.inputs.files.chunks_exact(2) {
            making.word(pair[0].as_bytes());
            making.file(Path::new(&pair[1]))?;
        }
        if let Some(expect) = asked.expect {
            making.word(b"--expect");
            making.file(expect)?;
        }
        Some(Self { digest: making.hasher.finish(), files: making.files })
    }

    /// Hashes all files, and tells whether each is what it is said to be and was not written to since the key was made.
    pub(crate) fn holds(&self) -> bool {
        self.files.iter().all(|file| file.holds().unwrap_or(false))
    }
}

impl Source {
    fn holds(&self) -> io::Result<bool> {
        let file = File::open(&self.path)?;
        let mut hasher = Hasher::new();
        hasher.read(&file)?;
        Ok(hasher.finish() == self.claimed && stamp(&file.metadata()?) == self.stamp)
    }
}

/// A key that is being made.
struct Making<'a> {
    /// What the request says of files, by path.
    said: HashMap<&'a [u8], &'a [u8]>,
    hasher: Hasher,
    files: Vec<Source>,
}

impl Making<'_> {
    fn number(&mut self, number: usize) {
        self.hasher.update(&(number as u64).to_le_bytes());
    }

    fn word(&mut self, word: &[u8]) {
        self.number(word.len());
        self.hasher.update(word);
    }

    fn params(&mut self, params: &ParamsArgs) -> Option<()> {
        match (&params.file, &params.text) {
            (Some(path), _) => self.file(path),
            (None, text) => {
                // No text is as long as one that is not there.
                self.number(usize::MAX);
                self.word(text.as_deref()?.as_bytes());
                Some(())
            }
        }
    }

    fn file(&mut self, path: &Path) -> Option<()> {
        let text = path.as_os_str().as_bytes();
        let said = self.said.get(text).or_else(|| self.said.get(text.strip_prefix(b"./")?))?;
        let claimed = Digest::from_hex(str::from_utf8(said).ok()?).ok()?;
        let path = located(path);
        let metadata = path.metadata().ok().filter(Metadata::is_file)?;
        self.hasher.update(said);
        self.hasher.update(&[u8::from(metadata.mode() & EXECUTABLE != 0)]);
        self.files.push(Source { path, stamp: stamp(&metadata), claimed });
        Some(())
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Stamp::new(metadata.dev(), metadata.ino(), metadata.size(), modified, changed)
}
