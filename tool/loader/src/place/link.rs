//! The link to a seed, through which all links in engines' roots lead, and those in a root that lead to seeds.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use ociseed_spec::Digest;
use ociseed_spec::containerd_root::{ALIAS, SEEDS, seed_link};
use ociseed_spec::lock::Class;

use crate::seed;

/// Notes that an engine may not know of a link yet; it is not told by the link.
const UNTOLD: &str = "untold";

/// Tells whether an engine that runs may have found nothing behind the link to a seed when it started: the one that roots have, wherever
/// the run directory is.
pub(crate) fn is_untold(run_dir: &Path, id: &Digest, class: Option<Class>) -> bool {
    notes(run_dir, class).any(|note| note.exists()) || is_missing(id)
}

/// Tells whether the link that roots have leads to no seed.
fn is_missing(id: &Digest) -> bool {
    !Path::new(&seed_link(id)).exists()
}

/// Each class has a note of its own, since a run may be about one of them.
fn notes(run_dir: &Path, class: Option<Class>) -> impl Iterator<Item = PathBuf> {
    let all = [(Class::Critical, "critical"), (Class::Background, "background")];
    let some = all.into_iter().filter(move |(own, _)| class.is_none_or(|class| class == *own));
    some.map(move |(_, name)| run_dir.join(format!("{UNTOLD}-{name}")))
}

/// Notes, where the link to a seed is about to be made, that an engine is to be told: also by later runs, of another class or
/// after this one was killed.
///
/// # Errors
/// The run directory cannot be written.
pub(crate) fn note_untold(run_dir: &Path, id: &Digest) -> io::Result<()> {
    notes(run_dir, None).filter(|_| is_missing(id)).try_for_each(|note| fs::write(note, ""))
}

/// Notes that the engine was told of images of a class, or of all. If that fails it is told again.
pub(crate) fn told(run_dir: &Path, class: Option<Class>) {
    for note in notes(run_dir, class).filter(|note| note.exists()) {
        let _ = fs::remove_file(note);
    }
}

/// Makes `<run-dir>/seeds/<seed id>` lead to a seed; one that leads elsewhere is replaced at once.
///
/// # Errors
/// The run directory cannot be written.
pub(crate) fn make(run_dir: &Path, id: &Digest, seed: &Path) -> io::Result<()> {
    let seeds = run_dir.join(SEEDS);
    let link = seeds.join(id.hex());
    remove_others_to(&seeds, &link, seed)?;
    if fs::read_link(&link).is_ok_and(|target| target == seed) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(&seeds)?;
    // The lock is held, so this is nobody's but of one that was killed.
    let temporary = seeds.join(".new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(seed, &temporary)?;
    fs::rename(&temporary, &link)
}

/// Removes links of other seeds that lead to where this one is, or any other than theirs: what they were made for is not there any more.
fn remove_others_to(seeds: &Path, link: &Path, seed: &Path) -> io::Result<()> {
    // No directory, no links.
    let Ok(entries) = fs::read_dir(seeds) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path != link && (fs::read_link(&path).is_ok_and(|target| target == seed) || is_to_another(&path)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Tells whether a link leads to another seed than it is named for; one that leads nowhere does not.
fn is_to_another(link: &Path) -> bool {
    let Ok(found) = seed::read(link, &[]) else { return false };
    link.file_name().is_none_or(|name| *name != *found.lock.seed_id().hex())
}

/// Lists the seeds to which a root has links that lead nowhere, by the digits in their names.
///
/// # Errors
/// The root cannot be read.
pub(crate) fn missing(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(short) = name.to_str().and_then(|name| name.strip_prefix(ALIAS)) else { continue };
        if fs::metadata(entry.path()).is_err() {
            found.push(short.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_seeds_are_in_one_place() {
        let run_dir = std::env::temp_dir().join(format!("ociseed-seeds-{}", std::process::id()));
        let names = || {
            let entries = fs::read_dir(run_dir.join(SEEDS)).expect("there").map(|entry| entry.expect("read"));
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().into_string().expect("hex")).collect();
            names.sort();
            names
        };
        let [a, b, c] = [b"a", b"b", b"c"].map(|text| Digest::of(text));
        for (id, path, left) in [
            (&a, "/seed", vec![a.hex()]),
            (&b, "/other", vec![a.hex(), b.hex()]),
            // The system has another seed where the first one was.
            (&c, "/seed", vec![b.hex(), c.hex()]),
            (&c, "/seed", vec![b.hex(), c.hex()]),
            (&c, "/elsewhere", vec![b.hex(), c.hex()]),
        ] {
            make(&run_dir, id, Path::new(path)).expect("made");
            let mut left = left;
            left.sort();
            assert_eq!(names(), left, "{path}");
        }
        fs::remove_dir_all(&run_dir).expect("removed");
    }

    #[test]
    fn a_link_leads_to_its_own_seed_or_nowhere() {
        let top = std::env::temp_dir().join(format!("ociseed-own-{}", std::process::id()));
        let (run_dir, other) = (top.join("run"), top.join("other"));
        fs::create_dir_all(&other).expect("made");
        fs::write(other.join("seed.json"), r#"{"version":1,"content":{"images":[]}}"#).expect("written");
        let own = seed::read(&other, &[]).expect("a seed").lock.seed_id();
        let [wrong, nowhere, current] = [b"a", b"b", b"c"].map(|text| Digest::of(text));
        for (id, path) in [(&wrong, &other), (&nowhere, &top.join("gone"))] {
            make(&run_dir, id, path).expect("made");
        }
        symlink(&other, run_dir.join(SEEDS).join(own.hex())).expect("made");
        make(&run_dir, &current, &top).expect("made");
        let is_there = |id: &Digest| fs::symlink_metadata(run_dir.join(SEEDS).join(id.hex())).is_ok();
        assert_eq!([&own, &nowhere, &current, &wrong].map(is_there), [true, true, true, false]);
        fs::remove_dir_all(&top).expect("removed");
    }

    #[test]
    fn links_to_seeds_that_are_not_there_are_found() {
        let root = std::env::temp_dir().join(format!("ociseed-link-{}", std::process::id()));
        fs::create_dir(&root).expect("a directory");
        fs::write(root.join(format!("{ALIAS}file")), "").expect("a file");
        let links =
            [("b", "nowhere"), ("a", "/nonexistent/a"), ("right", "."), ("loop", "io.ociseed.seed.loop")];
        for (short, target) in links {
            symlink(target, root.join(format!("{ALIAS}{short}"))).expect("a link");
        }
        symlink("nowhere", root.join("foreign")).expect("a link");
        assert_eq!(missing(&root).expect("readable"), ["a", "b", "loop"]);
        fs::remove_dir_all(&root).expect("removed");
        assert!(missing(&root).is_err());
    }
}
