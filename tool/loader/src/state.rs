//! What is remembered of earlier boots: the last one in which something was changed, so that a power cut is noticed.
//!
//! `docs/loader.md`, section "Unclean stops", is the contract. A run that changes nothing writes nothing, and so cannot tell how its boot
//! ended; it need not, since what was there when it began was found right, or was synced. After a boot whose end nobody knows, classes of
//! images stay unread until a run has found all blobs of theirs right: one that is killed, or fails, leaves that to the next.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ociseed_spec::lock::Class;
use serde::{Deserialize, Serialize};

use crate::files;

/// The version of the file.
const VERSION: u32 = 1;

/// Its name in the state directory.
const FILE_NAME: &str = "state.json";

/// The directory in there with notes on seeds.
pub(crate) const SEALED: &str = "sealed";

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// All classes of images.
const CLASSES: [Class; 2] = [Class::Critical, Class::Background];

/// How the boot that the file is about stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// Something was changed, and may not have reached the disk.
    Changed,
    /// All that is there reached the disk.
    Settled,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    version: u32,
    boot: String,
    state: Standing,
    /// Classes whose blobs nobody has read since a boot of which nobody knows how it ended.
    unread: Vec<Class>,
    /// Directories of engines, for [`settle`].
    roots: Vec<PathBuf>,
}

/// The state directory, and the boot that this is.
#[derive(Debug)]
pub(crate) struct State {
    dir: PathBuf,
    boot: String,
    saved: Option<Saved>,
}

impl State {
    /// Reads what an earlier run noted; what cannot be read, or is of another version, was not noted.
    ///
    /// # Errors
    /// The kernel does not say which boot this is.
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let boot = fs::read_to_string(BOOT_ID)?.trim_end().to_owned();
        Ok(Self::of_boot(dir, boot))
    }

    fn of_boot(dir: &Path, boot: String) -> Self {
        let saved = fs::read(dir.join(FILE_NAME)).ok();
        let saved: Option<Saved> = saved.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { dir: dir.to_owned(), boot, saved: saved.filter(|saved| saved.version == VERSION) }
    }

    /// Tells whether what lies in engines' roots of a class, or of any, may not be what was written: an earlier boot changed it, nobody knows
    /// how that ended, and nobody has looked since.
    pub(crate) fn is_unclean(&self, class: Option<Class>) -> bool {
        self.unread().iter().any(|unread| class.is_none_or(|class| class == *unread))
    }

    fn unread(&self) -> Vec<Class> {
        match &self.saved {
            Some(saved) if saved.boot == self.boot || saved.state == Standing::Settled => {
                saved.unread.clone()
            }
            _ => CLASSES.to_vec(),
        }
    }

    /// Notes that all blobs of a class, or of all, are right.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub(crate) fn note_read(
        &mut self,
        class: Option<Class>,
        state: Standing,
        roots: &[PathBuf],
    ) -> io::Result<()> {
        // What another run of this boot changed is not on the disk for that.
        let changed = |saved: &Saved| saved.boot == self.boot && saved.state == Standing::Changed;
        let state = if self.saved.as_ref().is_some_and(changed) { Standing::Changed } else { state };
        let mut unread = self.unread();
        unread.retain(|unread| class.is_some_and(|class| class != *unread));
        self.save(state, unread, roots)
    }

    /// Notes how this boot stands, unless that is noted.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub(crate) fn note(&mut self, state: Standing, roots: &[PathBuf]) -> io::Result<()> {
        self.save(state, self.unread(), roots)
    }

    fn save(&mut self, state: Standing, unread: Vec<Class>, roots: &[PathBuf]) -> io::Result<()> {
        let known = self.saved.as_ref();
        let mut all = known.map_or(Vec::new(), |saved| saved.roots.clone());
        all.extend(
            roots.iter().filter(|root| known.is_none_or(|saved| !saved.roots.contains(root))).cloned(),
        );
        let saved = Saved { version: VERSION, boot: self.boot.clone(), state, unread, roots: all };
        if known == Some(&saved) {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o755).create(&self.dir)?;
        let text = serde_json::to_vec(&saved).expect("strings and numbers always have a JSON form");
        files::replace_synced(&self.dir, FILE_NAME, &text)?;
        self.saved = Some(saved);
        Ok(())
    }
}

/// Notes that this boot ends in good order, after all that it changed has reached the disk.
///
/// # Errors
/// Something cannot be synced or written.
pub(crate) fn settle(dir: &Path) -> io::Result<()> {
    let mut state = State::read(dir)?;
    let changed = |saved: &&Saved| saved.boot == state.boot && saved.state == Standing::Changed;
    let Some(saved) = state.saved.as_ref().filter(changed) else { return Ok(()) };
    if saved.roots.is_empty() {
        // Of an engine that runs somewhere else.
        rustix::fs::sync();
    }
    for root in saved.roots.clone() {
        match File::open(&root) {
            Ok(root) => rustix::fs::syncfs(&root)?,
            // A root that is gone has nothing to sync.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    state.note(Standing::Settled, &[])
}

/// Removes what is ours from the state directory, and the directory if nothing else is in it.
///
/// # Errors
/// Something cannot be removed.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    let absent = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
    fs::remove_dir_all(dir.join(SEALED)).or_else(absent)?;
    fs::remove_file(dir.join(FILE_NAME)).or_else(absent)?;
    fs::remove_file(dir.join(files::temporary(FILE_NAME))).or_else(absent)?;
    // It may be shared, or a mount point.
    let _ = fs::remove_dir(dir);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_unclean_until_somebody_says_how_it_ended() {
        let dir = std::env::temp_dir().join(format!("ociseed-state-{}", std::process::id()));
        let boot = |id: &str| State::of_boot(&dir, id.to_owned());
        assert!(boot("a").is_unclean(None), "nothing is known");
        boot("a").note(Standing::Changed, &["/x".into()]).expect("written");
        assert!(boot("a").is_unclean(None), "and a run that was killed found nothing right");
        boot("a").note_read(None, Standing::Changed, &[]).expect("written");
        assert!(!boot("a").is_unclean(None), "no power was cut in a boot that goes on");
        assert!(boot("b").is_unclean(None), "nobody knows how it ended");
        boot("a").note(Standing::Settled, &["/y".into()]).expect("written");
        assert!(!boot("b").is_unclean(None) && !boot("c").is_unclean(None));
        let saved = boot("b").saved.expect("there");
        assert_eq!(saved.roots, [PathBuf::from("/x"), "/y".into()]);

        let newer = String::from_utf8(fs::read(dir.join(FILE_NAME)).expect("there")).expect("text");
        fs::write(dir.join(FILE_NAME), newer.replace(":1,", ":2,")).expect("written");
        assert!(boot("a").is_unclean(None), "another version counts as none");
        fs::write(dir.join(FILE_NAME), "").expect("written");
        assert!(boot("a").is_unclean(None), "as does a file without content");
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn each_class_is_unread_until_its_own_run() {
        let dir = std::env::temp_dir().join(format!("ociseed-state-class-{}", std::process::id()));
        let boot = |id: &str| State::of_boot(&dir, id.to_owned());
        let unclean =
            |id: &str| [Class::Critical, Class::Background].map(|one| boot(id).is_unclean(Some(one)));
        assert_eq!(unclean("a"), [true, true]);
        boot("a").note_read(Some(Class::Critical), Standing::Changed, &[]).expect("written");
        assert_eq!((unclean("a"), boot("a").is_unclean(None)), ([false, true], true));
        boot("a").note(Standing::Changed, &[]).expect("written");
        assert_eq!(unclean("a"), [false, true], "what changes later does not read it");
        boot("a").note(Standing::Settled, &[]).expect("written");
        assert_eq!(unclean("b"), [false, true], "nor does a good end");
        boot("b").note(Standing::Changed, &[]).expect("written");
        boot("b").note_read(Some(Class::Background), Standing::Settled, &[]).expect("written");
        assert_eq!(unclean("c"), [true, true], "what one run changed is not settled by another that read");
        boot("b").note(Standing::Settled, &[]).expect("written");
        assert_eq!(unclean("c"), [false, false]);
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn what_is_known_is_not_written_again() {
        let dir = std::env::temp_dir().join(format!("ociseed-state-again-{}", std::process::id()));
        let mut state = State::of_boot(&dir, "a".to_owned());
        state.note(Standing::Changed, &["/x".into()]).expect("written");
        fs::remove_dir_all(&dir).expect("removed");
        state.note(Standing::Changed, &["/x".into()]).expect("nothing to write");
        assert!(!dir.exists());
    }

    #[test]
    fn only_what_is_ours_is_removed() {
        let dir = std::env::temp_dir().join(format!("ociseed-remove-{}", std::process::id()));
        remove(&dir).expect("nothing to do");
        for shared in [true, false] {
            State::of_boot(&dir, "a".to_owned()).note(Standing::Changed, &[]).expect("written");
            fs::create_dir_all(dir.join(SEALED)).expect("made");
            for name in ["sealed/0", ".state.json.new", "others"] {
                fs::write(dir.join(name), "").expect("written");
            }
            if !shared {
                fs::remove_file(dir.join("others")).expect("removed");
            }
            remove(&dir).expect("removed");
            let left = fs::read_dir(&dir).into_iter().flatten().map(|entry| entry.expect("read").file_name());
            assert_eq!(left.collect::<Vec<_>>(), if shared { vec!["others"] } else { vec![] });
        }
        assert!(!dir.exists());
    }

    #[test]
    fn settling_is_of_a_boot_that_changed_something() {
        let dir = std::env::temp_dir().join(format!("ociseed-settle-{}", std::process::id()));
        settle(&dir).expect("nothing to do");
        assert!(!dir.exists());
        let mut state = State::read(&dir).expect("a boot");
        state.note(Standing::Changed, &[std::env::temp_dir(), "/nonexistent".into()]).expect("written");
        settle(&dir).expect("settled");
        let saved = State::read(&dir).expect("a boot").saved.expect("noted");
        assert_eq!((saved.state, &saved.boot), (Standing::Settled, &state.boot));
        // Another boot's is not settled by this one.
        State::of_boot(&dir, "other".to_owned()).note(Standing::Changed, &[]).expect("written");
        settle(&dir).expect("nothing to do");
        assert!(State::read(&dir).expect("a boot").is_unclean(None));
        fs::remove_dir_all(&dir).expect("removed");
    }
}
