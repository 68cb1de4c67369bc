//! Holds every file of a seed against its lock.
//!
//! One thread looks for files, two hash them, and this one puts together what they found, in order. What the lock does not
//! name must not be among blobs, layers and stores; what lies beside these is nobody's, and nobody goes by it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{SyncSender, sync_channel};

use ociseed_spec::listing::Line;
use ociseed_spec::lock::{Engine, LockedFile, LockedStore, STORES};
use ociseed_spec::{Digest, Hasher};
use rustix::fs::{FileType, Mode, OFlags};

use super::hashers::{Hashers, Pending, WINDOW};
use super::store::wrong_file;
use super::walk::{Names, Node, Walk, flags, mode, open_dir, owner};
use crate::collect::{map, set};
use crate::notify::Notify;
use crate::seed::Seed;
use crate::talk::chain;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Every mismatch.
    pub(crate) problems: Vec<Problem>,
    /// How many bytes were hashed.
    pub(crate) bytes: u64,
}

/// Something in a seed that is not as its lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What it is about.
    pub(crate) about: About,
    /// What is wrong, in words.
    pub(crate) text: String,
}

/// What of a seed is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    /// A blob.
    Blob(Digest),
    /// A layer, by its tree digest.
    Layer(Digest),
    /// Something that concerns all images.
    All,
}

/// A directory with a tree digest.
#[derive(Debug)]
struct Part<'a> {
    place: String,
    about: About,
    tree: Digest,
    /// Files that the lock names one by one.
    files: Option<&'a BTreeMap<String, LockedFile>>,
}

/// What the walking thread tells.
enum Event<'a> {
    /// A blob, which is being hashed.
    Blob { place: String, digest: Digest, size: u64, pending: Pending },
    /// A part begins.
    Begin(Part<'a>),
    /// A path of it, of a file without the digest.
    Line(Box<Line>, Option<Pending>),
    /// It ends.
    End,
    /// Something is wrong.
    Problem(Problem),
}

/// Hashes a whole seed.
pub(crate) fn check(seed: &Seed, notify: &Notify) -> Findings {
    std::thread::scope(|scope| {
        let hashers = Hashers::start(scope, notify);
        let (sender, events) = sync_channel(WINDOW);
        scope.spawn(move || Looking { seed, hashers, events: sender }.all());
        let mut judging = Judging::default();
        events.into_iter().for_each(|event| judging.take(event));
        judging.findings
    })
}

/// The thread that looks.
struct Looking<'a> {
    seed: &'a Seed,
    hashers: Hashers,
    events: SyncSender<Event<'a>>,
}

impl<'a> Looking<'a> {
    fn all(self) {
        self.blobs();
        let trees = set(self.seed.lock.layers.values().map(|layer| layer.tree));
        self.only("layers/sha256", &map(trees.iter().map(|tree| (tree.hex(), ()))));
        for tree in trees {
            self.layer(tree);
        }
        let stores = &self.seed.lock.stores;
        self.only(STORES, &map(stores.keys().map(|engine| (engine.as_str().to_owned(), ()))));
        for (engine, store) in stores {
            self.store(*engine, store);
        }
    }

    fn tell(&self, event: Event<'a>) {
        // The other end is there as long as this thread runs.
        let _ = self.events.send(event);
    }

    fn problem(&self, about: About, text: String) {
        self.tell(Event::Problem(Problem { about, text }));
    }

    /// Names what is in a directory and not in the lock.
    fn only<T>(&self, place: &str, known: &BTreeMap<String, T>) {
        let names = match open_dir(&self.seed.dir, place).and_then(|dir| Names::of(&dir)) {
            Ok(names) => names,
            // A seed without stores, say, needs no directory for them.
            Err(error) if error.kind() == io::ErrorKind::NotFound && known.is_empty() => return,
            Err(error) => return self.problem(About::All, format!("cannot read `{place}`: {error}")),
        };
        for name in names.iter() {
            let name = ociseed_spec::shown(name);
            if !known.contains_key(&name) {
                self.problem(About::All, format!("`{place}/{name}` is not in the lock"));
            }
        }
    }

    fn blobs(&self) {
        let lock = &self.seed.lock;
        let mut blobs = BTreeMap::new();
        for image in &lock.content.images {
            let all = lock.medium.is_none_or(|medium| medium.blobs.is_all());
            // Manifest and configuration come first.
            let there = if all { usize::MAX } else { 2 };
            for blob in image.blobs().take(there) {
                blobs.insert(blob.digest.hex(), (blob.digest, blob.size));
            }
        }
        self.only("blobs/sha256", &blobs);
        let Ok(dir) = open_dir(&self.seed.dir, "blobs/sha256") else { return };
        for (hex, (digest, size)) in blobs {
            let place = format!("blobs/sha256/{hex}");
            match open_file(&dir, &hex) {
                Ok(file) => {
                    let pending = self.hashers.hash(file);
                    self.tell(Event::Blob { place, digest, size, pending });
                }
                Err(error) => self.problem(About::Blob(digest), absent(&place, &error)),
            }
        }
    }

    fn layer(&self, tree: Digest) {
        let place = format!("layers/sha256/{}", tree.hex());
        self.part(Part { place, about: About::Layer(tree), tree, files: None });
    }

    fn store(&self, engine: Engine, store: &'a LockedStore) {
        let place = engine.place();
        self.part(Part { place, about: About::All, tree: store.tree, files: Some(&store.files) });
    }

    fn part(&self, part: Part<'a>) {
        let (place, about) = (part.place.clone(), part.about);
        let dir = match open_dir(&self.seed.dir, &place) {
            Ok(dir) => dir,
            Err(error) => return self.problem(about, absent(&place, &error)),
        };
        if !is_plain(&dir) {
            self.problem(about, format!("`{place}` is not a plain 0755 directory of 0:0"));
        }
        self.tell(Event::Begin(part));
        match self.lines(dir) {
            Ok(()) => self.tell(Event::End),
            Err(error) => self.problem(about, format!("`{place}`: {error}")),
        }
    }

    fn lines(&self, dir: OwnedFd) -> Result<(), String> {
        for found in Walk::new(dir).map_err(|error| chain(&error))? {
            let found = found.map_err(|error| chain(&error))?;
            let line = Box::new(found.line());
            let pending = match found.node {
                Node::File(file) => Some(self.hashers.hash(file)),
                _ => None,
            };
            self.tell(Event::Line(line, pending));
        }
        Ok(())
    }
}

/// The root of a layer or store is in no listing, and is as everything outside of layers is.
fn is_plain(dir: &OwnedFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(dir) else { return false };
    let owner = owner(&stat);
    // A buffer for no name at all: anything else is too much for it.
    let listed = rustix::fs::flistxattr(dir, &mut [0; 1][..]);
    let no_xattrs = matches!(listed, Ok(0) | Err(rustix::io::Errno::NOTSUP));
    mode(&stat).bits() == 0o755 && (owner.uid, owner.gid) == (0, 0) && no_xattrs
}

fn open_file(dir: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let file = rustix::fs::openat(dir, name, flags() | OFlags::NONBLOCK, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a file")),
    }
}

fn absent(place: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("`{place}` is not there"),
        _ => format!("cannot read `{place}`: {error}"),
    }
}

/// What is known of the part that is being listed.
#[derive(Debug)]
struct Current<'a> {
    part: Part<'a>,
    listing: Hasher,
    missing: BTreeSet<&'a str>,
    /// Whether a file of it was named, or could not be read: then its tree digest is of no interest.
    named: bool,
}

/// The thread that judges.
#[derive(Debug, Default)]
struct Judging<'a> {
    current: Option<Current<'a>>,
    findings: Findings,
}

impl<'a> Judging<'a> {
    fn take(&mut self, event: Event<'a>) {
        match event {
            Event::Problem(problem) => self.findings.problems.push(problem),
            Event::Blob { place, digest, size, pending } => self.blob(&place, &digest, size, pending),
            Event::Begin(part) => {
                let missing = set(part.files.into_iter().flatten().map(|(path, _)| path.as_str()));
                self.current = Some(Current { part, listing: Hasher::new(), missing, named: false });
            }
            Event::Line(line, pending) => self.line(*line, pending),
            Event::End => self.end(),
        }
    }

    fn blob(&mut self, place: &str, expected: &Digest, size: u64, pending: Pending) {
        let problem = match pending.wait() {
            Ok((digest, found)) => {
                self.findings.bytes += found;
                match digest == *expected {
                    true if found == size => return,
                    true => format!("`{place}`: expected {size} bytes, found {found}"),
                    false => format!("`{place}`: expected {expected}, found {digest}"),
                }
            }
            Err(error) => format!("cannot read `{place}`: {error}"),
        };
        self.findings.problems.push(Problem { about: About::Blob(*expected), text: problem });
    }

    fn line(&mut self, mut line: Line, pending: Option<Pending>) {
        let Some(current) = &mut self.current else { return };
        let path = &line.path[1..];
        if let Some(pending) = pending {
            let place = format!("{}/{path}", current.part.place);
            let problem = match pending.wait() {
                Ok((digest, size)) => {
                    self.findings.bytes += size;
                    (line.size, line.digest) = (Some(size), Some(digest));
                    current.part.files.and_then(|files| wrong_file(&place, files.get(path), &digest))
                }
                Err(error) => Some(format!("cannot read `{place}`: {error}")),
            };
            current.missing.remove(path);
            current.named |= problem.is_some();
            let about = current.part.about;
            self.findings.problems.extend(problem.map(|text| Problem { about, text }));
        }
        current.listing.update(&line.encode());
    }

    fn end(&mut self) {
        let Some(current) = self.current.take() else { return };
        let Part { place, about, tree, .. } = current.part;
        for path in &current.missing {
            let text = format!("`{place}/{path}` is not there");
            self.findings.problems.push(Problem { about, text });
        }
        let found = current.listing.finish();
        if found != tree && !current.named && current.missing.is_empty() {
            let text = format!("`{place}`: expected the tree digest {tree}, found {found}");
            self.findings.problems.push(Problem { about, text });
        }
    }
}
