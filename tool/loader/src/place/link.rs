//! The link to a seed, through which all links in engines' roots lead, and those in a root that lead to seeds.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use ociseed_spec::Digest;

/// Begins the names of links to seeds in a root (docs/format.md); the first digits of the seed id follow.
const ALIAS: &str = "io.ociseed.seed.";

/// How many digits these are.
const DIGITS: usize = 16;

/// Makes `<run-dir>/seeds/<seed id>` lead to a seed; one that leads elsewhere is replaced at once.
///
/// # Errors
/// The run directory cannot be written.
pub(crate) fn make(run_dir: &Path, id: &Digest, seed: &Path) -> io::Result<()> {
    let seeds = run_dir.join("seeds");
    let link = seeds.join(id.hex());
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

/// Returns the name of the link to a seed in a root.
pub(crate) fn alias(short: &str) -> String {
    format!("{ALIAS}{short}")
}

/// Returns a seed id as roots have it.
pub(crate) fn short(id: &Digest) -> String {
    id.hex().chars().take(DIGITS).collect()
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
    fn links_to_seeds_that_are_not_there_are_found() {
        let root = std::env::temp_dir().join(format!("ociseed-link-{}", std::process::id()));
        fs::create_dir(&root).expect("a directory");
        fs::write(root.join(alias("file")), "").expect("a file");
        let links =
            [("b", "nowhere"), ("a", "/nonexistent/a"), ("right", "."), ("loop", "io.ociseed.seed.loop")];
        for (short, target) in links {
            symlink(target, root.join(alias(short))).expect("a link");
        }
        symlink("nowhere", root.join("foreign")).expect("a link");
        assert_eq!(missing(&root).expect("readable"), ["a", "b", "loop"]);
        fs::remove_dir_all(&root).expect("removed");
        assert!(missing(&root).is_err());
    }

    #[test]
    fn a_seed_is_known_by_its_first_digits() {
        let id = Digest::of(b"");
        assert_eq!(alias(&short(&id)), "io.ociseed.seed.e3b0c44298fc1c14");
    }
}
