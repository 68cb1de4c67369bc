//! Where inputs are on this machine.
//!
//! A spec's paths are opened beneath the spec's directory and cannot leave it.
//! Inputs that the command line or a parameter file names may be anywhere;
//! links that lead to them are followed, as build systems lay inputs out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::file::closest;
use ociseed_spec::{TreePath, shown_path};
use ociseed_tree::ListedFile;
use serde::Serialize;
use serde_json::Value;

use crate::args::{InputArgs, StepInputArgs};
use crate::context::{cancellation, located, note_dependency};
use crate::failure::Failure;

/// Parameter files, metadata and records are read into memory up to this size.
const MAX_DOCUMENT: u64 = 64 << 20;

/// Finds inputs by the words that specs and parameters use for them.
#[derive(Debug)]
pub(crate) struct Inputs {
    named: BTreeMap<String, PathBuf>,
    /// Directories of which each file is given.
    listed: BTreeMap<String, Vec<ListedFile>>,
    /// Where other paths are looked for; nowhere in a step.
    beneath: Option<Arc<Dir>>,
    /// Whether files of image layouts are read wherever links lead.
    follow_links: bool,
}

/// A file or directory of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) dir: Arc<Dir>,
    pub(crate) path: PathBuf,
    /// As the user wrote it, for messages.
    pub(crate) shown: String,
}

/// A directory that is an input.
#[derive(Debug)]
pub(crate) enum Directory<'a> {
    /// One of this machine.
    Host(Place),
    /// One of which each file is known.
    Listed(Cow<'a, [ListedFile]>),
}

impl Inputs {
    /// Takes paths beneath the directory of a spec, and named inputs from anywhere.
    ///
    /// `document` is what the spec says.
    pub(crate) fn of_spec(spec: &Path, args: &InputArgs, document: &impl Serialize) -> Result<Self, Failure> {
        let parent = spec.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        let dir = Dir::open_ambient_dir(parent, ambient_authority())
            .map_err(|error| Failure::because(format_args!("`{}`", shown_path(parent)), &error))?;
        Ok(Self {
            named: named_once(args, &words(document, HOST_KEYS))?,
            listed: BTreeMap::new(),
            beneath: Some(Arc::new(dir)),
            follow_links: false,
        })
    }

    /// Takes only named inputs: those of a parameter file, with those of the command line over them.
    ///
    /// `document` is what uses them.
    pub(crate) fn of_step(
        params: &BTreeMap<String, String>,
        args: &StepInputArgs,
        document: &impl Serialize,
    ) -> Result<Self, Failure> {
        let of_args = named_once(&args.named, &words(document, STEP_KEYS))?;
        if !params.is_empty() {
            note_dependency();
        }
        let of_params = params.iter().map(|(name, path)| (name.clone(), PathBuf::from(path)));
        let named: BTreeMap<_, _> = of_params.chain(of_args).collect();
        let listed = listed(args)?;
        if let Some(name) = listed.keys().find(|name| named.contains_key(*name)) {
            return Err(Failure::usage(format!("input `{name}` is given both as a whole and file by file")));
        }
        Ok(Self { named, listed, beneath: None, follow_links: args.follow_links })
    }

    /// Finds an input that is a directory; `wanted_by` is who asks, for messages.
    pub(crate) fn find_directory(&self, word: &str, wanted_by: &str) -> Result<Directory<'_>, Failure> {
        match self.listed.get(word) {
            Some(files) => Ok(Directory::Listed(files.into())),
            None => self.find(word, wanted_by).map(Directory::Host),
        }
    }

    /// Finds an input that is an image layout; `wanted_by` is who asks, for messages.
    pub(crate) fn find_layout(&self, word: &str, wanted_by: &str) -> Result<Directory<'_>, Failure> {
        let found = self.find_directory(word, wanted_by)?;
        let path = self.given(word).filter(|_| self.follow_links).map(located);
        match (&found, path) {
            (Directory::Host(place), Some(path)) if path.is_dir() => {
                let files = followed(&path).map_err(|error| place.failure(&error))?;
                Ok(Directory::Listed(files.into()))
            }
            _ => Ok(found),
        }
    }

    /// Returns the path of an input as it was given.
    pub(crate) fn given(&self, word: &str) -> Option<&Path> {
        self.named.get(word).map(PathBuf::as_path)
    }

    /// Finds an input; `wanted_by` is who asks, for messages.
    pub(crate) fn find(&self, word: &str, wanted_by: &str) -> Result<Place, Failure> {
        let path = Path::new(word);
        if let Some(place) = self.named.get(word) {
            return named(place, Path::new(""), word, wanted_by);
        }
        let mut parts = path.components();
        let first = parts.next().and_then(|part| part.as_os_str().to_str());
        if let Some(place) = first.and_then(|name| self.named.get(name)) {
            check_inside(parts.as_path(), word, wanted_by)?;
            return named(place, parts.as_path(), word, wanted_by);
        }
        let Some(dir) = &self.beneath else {
            if self.listed.contains_key(word) {
                return Err(Failure::usage(format!(
                    "{wanted_by}: input `{word}` is a directory, given file by file"
                )));
            }
            let known = self.named.keys().chain(self.listed.keys()).map(String::as_str);
            let hint = closest_or_all(word, known, "`inputs` has");
            return Err(Failure::usage(format!("{wanted_by}: no input `{word}`")).hint(hint));
        };
        check_inside(path, word, wanted_by)?;
        Ok(Place { dir: Arc::clone(dir), path: path.into(), shown: word.to_owned() })
    }
}

/// The keys of a spec that name something of the host.
const HOST_KEYS: &[&str] =
    &["file", "dir", "tar", "deb", "store", "graph", "plan", "nix-database", "layout", "archive"];

/// The keys of parameters that name an input.
const STEP_KEYS: &[&str] = &[
    "file",
    "dir",
    "tar",
    "deb",
    "store",
    "graph",
    "plan",
    "previous",
    "nix-database",
    "layout",
    "archive",
    "layer",
    "layers",
    "image",
    "images",
    "indexes",
    "metadata",
];

/// Collects what the keys of a document name.
fn words(document: &impl Serialize, keys: &[&str]) -> BTreeSet<String> {
    fn collect(value: &Value, named: bool, keys: &[&str], words: &mut BTreeSet<String>) {
        match value {
            Value::String(word) if named => {
                words.insert(word.clone());
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, named, keys, words)),
            Value::Object(values) => {
                for (key, value) in values {
                    // What a table of names holds is named too (`images` of a bundle); the step's own table is no such.
                    let table = value.is_object() && key != "images" && key != "indexes";
                    collect(value, !table && (named || keys.contains(&key.as_str())), keys, words);
                }
            }
            _ => {}
        }
    }
    let document = serde_json::to_value(document).expect("what was read as JSON or TOML can be written");
    let mut words = BTreeSet::new();
    collect(&document, false, keys, &mut words);
    words
}

/// Takes what `--input` says; refuses names that come twice, and notes those that nothing uses.
fn named_once(args: &InputArgs, words: &BTreeSet<String>) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut failures = Vec::new();
    for (name, path) in &args.named {
        let below = |word: &String| word.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        if !words.contains(name) && !words.iter().any(below) {
            let first = words.iter().map(|word| word.split('/').next().unwrap_or(word));
            let all: BTreeSet<&str> = words.iter().map(String::as_str).chain(first).collect();
            let hint = closest_or_all(name, all.iter().copied(), "what is used is");
            // One list of inputs may serve many specs.
            Failure::usage(format!("nothing uses `--input {name}`")).hint(hint).note("it is left out");
        }
        if let Some(other) = named.insert(name.clone(), path.clone()) {
            let (one, two) = (shown_path(&other), shown_path(path));
            failures.push(Failure::usage(format!("`--input {name}` is given twice: `{one}` and `{two}`")));
        }
    }
    Failure::join(failures).map_or(Ok(named), Err)
}

/// Takes the directories of which each file is given.
fn listed(args: &StepInputArgs) -> Result<BTreeMap<String, Vec<ListedFile>>, Failure> {
    let mut all: BTreeMap<_, _> = args.directories.iter().map(|name| (name.clone(), Vec::new())).collect();
    // One open directory for all of them, however many directories they are in.
    let root = Dir::open_ambient_dir("/", ambient_authority()).map(Arc::new);
    let root = root.map_err(|error| Failure::because("`/`", &error))?;
    for pair in args.files.chunks_exact(2) {
        let (word, file) = (&pair[0], Path::new(&pair[1]));
        let wrong = |reason: &dyn Display| {
            let shown = shown_path(Path::new(word));
            Failure::usage(format!("`--input-file {shown}`: {reason}"))
        };
        let slash = word.as_bytes().iter().position(|byte| *byte == b'/');
        let (name, at) = word.as_bytes().split_at(slash.unwrap_or(0));
        let (Ok(name), [_, at @ ..]) = (str::from_utf8(name), at) else {
            return Err(wrong(&"expected NAME/PATH, an input's name and a path in it"));
        };
        if name.is_empty() || at.is_empty() {
            return Err(wrong(&"expected NAME/PATH, an input's name and a path in it"));
        }
        let at = TreePath::parse(at).map_err(|error| wrong(&error))?;
        let real = located(file).canonicalize().map_err(|error| argument_failure(file, &error))?;
        let path = real.strip_prefix("/").unwrap_or(&real).to_owned();
        let listed = ListedFile { at, dir: Arc::clone(&root), path, shown: file.to_owned() };
        all.entry(name.to_owned()).or_default().push(listed);
    }
    Ok(all)
}

/// Lists the files below a directory, each where links lead from it.
pub(crate) fn followed(path: &Path) -> io::Result<Vec<ListedFile>> {
    let root = Arc::new(Dir::open_ambient_dir("/", ambient_authority())?);
    let (mut files, mut pending) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(above) = pending.pop() {
        for entry in std::fs::read_dir(path.join(&above))? {
            let at = above.join(entry?.file_name());
            let shown = path.join(&at);
            // Of a directory that is a link what is in it could be this one.
            if shown.symlink_metadata()?.is_dir() {
                pending.push(at);
            } else if shown.metadata()?.is_file() {
                let real = shown.canonicalize()?;
                let real = real.strip_prefix("/").unwrap_or(&real).to_owned();
                let at = TreePath::parse(at.as_os_str().as_bytes()).map_err(io::Error::other)?;
                files.push(ListedFile { at, dir: Arc::clone(&root), path: real, shown });
            }
        }
    }
    Ok(files)
}

/// What fits into two lines of a terminal.
const MOST_WORDS: usize = 8;

/// Advises the word that was probably meant, or all that there are.
pub(crate) fn closest_or_all<'a>(
    found: &str,
    words: impl Iterator<Item = &'a str> + Clone,
    before: &str,
) -> String {
    closest(found, words.clone()).unwrap_or_else(|| {
        let count = words.clone().count();
        let some: Vec<_> = words.take(MOST_WORDS).map(|word| format!("`{word}`")).collect();
        match count.saturating_sub(MOST_WORDS) {
            _ if count == 0 => format!("{before} nothing"),
            0 => format!("{before} {}", some.join(", ")),
            more => format!("{before} {} and {more} more", some.join(", ")),
        }
    })
}

/// Refuses what would leave the directory, before the operating system is asked.
fn check_inside(path: &Path, word: &str, wanted_by: &str) -> Result<(), Failure> {
    let escapes = path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    if !escapes {
        return Ok(());
    }
    let hint = "name it with `--input NAME=PATH` and write NAME in the spec".to_owned();
    Err(Failure::usage(format!("{wanted_by}: `{word}` leads out of the spec's directory")).hint(hint))
}

fn named(place: &Path, rest: &Path, word: &str, wanted_by: &str) -> Result<Place, Failure> {
    let fail = |error: std::io::Error| {
        Failure::because(format_args!("{wanted_by}: input `{word}`: `{}`", shown_path(place)), &error)
    };
    let real = located(place).canonicalize().map_err(fail)?;
    let shown = if rest.as_os_str().is_empty() { shown_path(place) } else { shown_path(&place.join(rest)) };
    let open = |dir: &Path| Dir::open_ambient_dir(dir, ambient_authority()).map(Arc::new).map_err(fail);
    if rest.as_os_str().is_empty() && !real.is_dir() {
        let parent = real.parent().unwrap_or_else(|| Path::new("/"));
        let name = real.file_name().unwrap_or_default();
        return Ok(Place { dir: open(parent)?, path: name.into(), shown });
    }
    let path = if rest.as_os_str().is_empty() { PathBuf::from(".") } else { rest.into() };
    Ok(Place { dir: open(&real)?, path, shown })
}

impl Place {
    /// Reads a document into memory.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        read_document(self.dir.open(&self.path).map_err(|error| self.failure(&error))?, &self.shown)
    }

    /// Opens the directory.
    pub(crate) fn open_dir(&self) -> Result<Arc<Dir>, Failure> {
        self.dir.open_dir(&self.path).map(Arc::new).map_err(|error| self.failure(&error))
    }

    /// Says that something of the host is not there, and what its path is relative to.
    pub(crate) fn missing_hint(error: &std::io::Error) -> Option<String> {
        (error.kind() == std::io::ErrorKind::NotFound).then(|| {
            "paths are relative to the spec's directory; `--input NAME=PATH` takes NAME from elsewhere"
                .to_owned()
        })
    }

    /// Says what is wrong with this place.
    pub(crate) fn failure(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        Failure::because(format_args!("`{}`", self.shown), error)
    }
}

/// Reads a document into memory; `shown` names it in messages.
pub(crate) fn read_document(file: impl Read, shown: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    (cancellation().over(file).take(MAX_DOCUMENT + 1))
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::because(format_args!("`{shown}`"), &error))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Failure::new(format!("`{shown}`: larger than {MAX_DOCUMENT} bytes")));
    }
    Ok(bytes)
}

/// Says why a path that the command line names cannot be opened, and what is there of a like name.
pub(crate) fn argument_failure(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::because(format_args!("`{}`", shown_path(path)), error);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = || std::fs::read_dir(located(parent.unwrap_or_else(|| Path::new(".")))).ok();
    let (Some(name), std::io::ErrorKind::NotFound, Some(entries)) =
        (path.file_name().and_then(|name| name.to_str()), error.kind(), entries())
    else {
        return failure;
    };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    failure.hint(closest(name, names.iter().map(String::as_str)))
}

/// Reads a file that the command line names.
pub(crate) fn read_argument(path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = shown_path(path);
    // The user names this file himself, so links in it may lead anywhere.
    let real = located(path).canonicalize().map_err(|error| argument_failure(path, &error))?;
    if real.is_dir() {
        return Err(Failure::new(format!("`{shown}` is a directory, expected a file")));
    }
    let dir = Dir::open_ambient_dir(real.parent().unwrap_or_else(|| Path::new("/")), ambient_authority())
        .map_err(|error| Failure::because(format_args!("`{shown}`"), &error))?;
    Place { dir: Arc::new(dir), path: real.file_name().unwrap_or_default().into(), shown }.read()
}
