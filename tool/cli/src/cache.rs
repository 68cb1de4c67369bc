//! The cache as the command line sees it: where it is, whether it works, and `ociseed cache`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::{Digest, json, shown_path};
use ociseed_store::cache::{Cache, Memory, Usage};
use serde::Serialize;

use crate::args::{CacheArgs, CacheCommand, CacheDirArgs};
use crate::failure::Failure;
use crate::files::{Wanted, digests};
use crate::inputs::Place;
use crate::output::print;

/// A cache, and whether somebody was told that it cannot be written.
pub(crate) struct Opened {
    pub(crate) cache: Cache,
    path: PathBuf,
    told: AtomicBool,
}

impl Opened {
    /// Opens the cache that the flags or the environment name; nothing, and a note, where there is none.
    pub(crate) fn of(args: &CacheDirArgs) -> Option<Self> {
        let opened = directory(args).and_then(|path| {
            Self::open(&path)
                .map_err(|error| Failure::because(format_args!("`{}`", shown_path(&path)), &error))
        });
        opened.map_err(|failure| failure.note("nothing is cached")).ok()
    }

    fn open(path: &Path) -> std::io::Result<Self> {
        let made = Dir::create_ambient_dir_all(path, ambient_authority());
        let dir = Dir::open_ambient_dir(path, ambient_authority());
        // What hindered making it says more than that it is not there.
        let dir = dir.map_err(|error| made.err().unwrap_or(error))?;
        let cache = Cache::open(&dir, boot())?;
        Ok(Self { cache, path: path.into(), told: AtomicBool::new(false) })
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells, once, that the cache cannot be written; the build goes on.
    pub(crate) fn note(&self, result: std::io::Result<()>) {
        if let Err(error) = result
            && !self.told.swap(true, Ordering::Relaxed)
        {
            let place = format!("cache `{}`", shown_path(&self.path));
            Failure::because(place, &error).note("what is new is not cached");
        }
    }

    /// Returns the digest of this program, which is part of every key: another one may make other bytes.
    pub(crate) fn program(&self) -> Option<Digest> {
        let path = std::env::current_exe().ok()?;
        let dir = Dir::open_ambient_dir(path.parent()?, ambient_authority()).ok()?;
        let place = Place { dir: dir.into(), path: path.file_name()?.into(), shown: "ociseed".to_owned() };
        let name = Digest::of(path.as_os_str().as_encoded_bytes());
        let old = self.cache.memory(&name);
        let files = digests(&[Wanted::of(0, &place).ok()?], old.as_ref(), 1).ok()?;
        let digest = files.first()?.digest?;
        let memory = Memory { key: digest, parameters: String::new(), files: files.into() };
        if old.as_ref() != Some(&memory) {
            self.note(self.cache.remember(&name, &memory));
        }
        Some(digest)
    }
}

/// Returns what tells this boot of the machine from others; nothing where `/proc` does not say it (`proc(5)`).
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Returns where the cache is to be.
fn directory(args: &CacheDirArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.cache_dir {
        return Ok(path.clone());
    }
    // Relative paths are not valid there (XDG Base Directory Specification).
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".cache"));
    absolute("XDG_CACHE_HOME").or_else(home).map(|cache| cache.join("ociseed")).ok_or_else(|| {
        let hint = "name a directory with `--cache-dir DIR`".to_owned();
        Failure::new("no place for a cache: neither `XDG_CACHE_HOME` nor `HOME` is an absolute path")
            .hint(hint)
    })
}

/// Runs `ociseed cache`.
pub(crate) fn run(args: &CacheArgs) -> Result<(), Failure> {
    let path = directory(&args.dir)?;
    match &args.command {
        CacheCommand::Path => {
            let shown = shown_path(&path);
            let text = if args.json {
                json_text(&Shown { path: &shown, usage: None, removed: None })
            } else {
                shown + "\n"
            };
            print(&text)
        }
        CacheCommand::Status => status(&path, args.json),
        CacheCommand::Gc { max_size } => collect(&path, *max_size, args.json),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<ShownUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<ShownRemoved>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownUsage {
    blobs: u64,
    blob_bytes: u64,
    records: u64,
    record_bytes: u64,
}

#[derive(Serialize)]
struct ShownRemoved {
    files: u64,
    bytes: u64,
}

fn json_text(shown: &Shown<'_>) -> String {
    String::from_utf8_lossy(&json::encode(shown)).into_owned() + "\n"
}

/// Opens a cache that is there; looking at one must not make it.
fn open_existing(path: &Path) -> Result<Option<Opened>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    Opened::open(path).map(Some).map_err(|error| failure(path, &error))
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::because(format_args!("cache `{}`", shown_path(path)), error)
}

fn status(path: &Path, json: bool) -> Result<(), Failure> {
    let usage = match open_existing(path)? {
        None => Usage::default(),
        Some(opened) => opened.cache.usage().map_err(|error| failure(path, &error))?,
    };
    let Usage { blobs, blob_bytes, records, record_bytes } = usage;
    let shown = shown_path(path);
    if json {
        let usage = Some(ShownUsage { blobs, blob_bytes, records, record_bytes });
        return print(&json_text(&Shown { path: &shown, usage, removed: None }));
    }
    print(&format!(
        "{shown}\n  {blobs} blobs, {blob_bytes} bytes\n  {records} records, {record_bytes} bytes\n"
    ))
}

fn collect(path: &Path, most: u64, json: bool) -> Result<(), Failure> {
    let removed = match open_existing(path)? {
        None => ociseed_store::cache::Removed::default(),
        Some(opened) => opened.cache.collect_garbage(most).map_err(|error| failure(path, &error))?,
    };
    let shown = shown_path(path);
    if json {
        let removed = Some(ShownRemoved { files: removed.files, bytes: removed.bytes });
        return print(&json_text(&Shown { path: &shown, usage: None, removed }));
    }
    print(&format!("removed {} files, {} bytes\n", removed.files, removed.bytes))
}

/// Parses a size: bytes, or with `K`, `M`, `G` or `T` for powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let error = || "expected a size such as `500M` or `20G`".to_owned();
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let unit = units.into_iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
    let (digits, bits) = unit.unwrap_or((text, 0));
    let number: u64 = digits.parse().map_err(|_| error())?;
    number.checked_mul(1 << bits).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("500M"), Ok(500 << 20));
        assert_eq!(parse_size("20G"), Ok(20 << 30));
        for bad in ["", "G", "-1", "1.5G", "20g", "20 G", "99999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
