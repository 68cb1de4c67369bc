//! What a run did: the lines of the log and the JSON of `--json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use ociseed_spec::Digest;
use ociseed_spec::lock::Class;
use serde::{Deserialize, Serialize};

use crate::args::Mode;
use crate::exit::Exit;
use crate::files;

mod image;

pub(crate) use image::{Change, ImageReport, Outcome, Removed};

/// Its file in the run directory.
pub(crate) const FILE_NAME: &str = "run.json";

/// The version of the JSON form.
const VERSION: u32 = 2;

/// The engine that was met.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EngineReport {
    /// `containerd`.
    pub(crate) name: &'static str,
    /// What it says of itself.
    pub(crate) version: String,
}

/// What a run did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    version: u32,
    /// What was asked for.
    pub(crate) command: Mode,
    /// The value of our owner label.
    pub(crate) seed: Option<String>,
    /// The previous seed.
    pub(crate) previous: Option<String>,
    /// The engine, once it answered.
    pub(crate) engine: Option<EngineReport>,
    /// How the process ends.
    pub(crate) exit_code: Exit,
    /// All images, as far as the run came.
    pub(crate) images: Vec<ImageReport>,
    /// Records that were removed, or would be.
    pub(crate) removed: Vec<Removed>,
    outcomes: Outcomes,
    linked: u64,
    copied: u64,
    present: u64,
    /// Why something was copied that could have been a link.
    pub(crate) copies: Option<String>,
    /// Bytes read from the engine.
    pub(crate) read_back: u64,
    /// Calls by method.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// What stopped the run.
    pub(crate) errors: Vec<String>,
}

/// How many images had each outcome, in the order of [`Outcome::ALL`].
#[derive(Debug, Default)]
struct Outcomes(Vec<(Outcome, usize)>);

impl Serialize for Outcomes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(outcome, count)| (outcome, count)))
    }
}

impl Report {
    /// Begins with nothing done.
    pub(crate) fn new(command: Mode) -> Self {
        Self {
            version: VERSION,
            command,
            seed: None,
            previous: None,
            engine: None,
            exit_code: Exit::Internal,
            images: Vec::new(),
            removed: Vec::new(),
            outcomes: Outcomes::default(),
            linked: 0,
            copied: 0,
            present: 0,
            copies: None,
            read_back: 0,
            calls: BTreeMap::new(),
            errors: Vec::new(),
        }
    }

    /// Adds up the images and settles the exit code: `stopped`, else what the failed images say.
    pub(crate) fn finish(&mut self, stopped: Option<Exit>) {
        let count = |outcome| self.images.iter().filter(|image| image.outcome == outcome).count();
        self.outcomes = Outcomes(Outcome::ALL.map(|outcome| (outcome, count(outcome))).to_vec());
        self.linked = self.images.iter().map(|image| image.linked).sum();
        self.copied = self.images.iter().map(|image| image.copied).sum();
        self.present = self.images.iter().map(|image| image.present).sum();
        // What comes from the other slot's seed is no reason to fail this one's boot.
        let current = |image: &&ImageReport| self.seed.as_ref().is_none_or(|seed| *seed == image.seed);
        let mut failed = self.images.iter().filter(current).filter(|image| image.outcome == Outcome::Failed);
        let classes: Vec<_> = failed.by_ref().map(|image| image.class).collect();
        let failed = |class| classes.contains(&class);
        self.exit_code =
            stopped.unwrap_or_else(|| match (failed(Class::Critical), failed(Class::Background)) {
                (true, _) => Exit::Critical,
                (false, true) => Exit::Background,
                (false, false) => Exit::Done,
            });
    }

    /// Returns the last line of the log.
    pub(crate) fn summary(&self, elapsed: Duration) -> String {
        let outcomes: Vec<_> =
            self.outcomes.0.iter().map(|(outcome, n)| format!("{}={n}", outcome.word())).collect();
        // By hand: formatting of floats would be the only use of them, and costs 15 KB.
        let seconds = format!("{}.{:03}", elapsed.as_secs(), elapsed.subsec_millis());
        format!(
            "done {} removed={} linked={} copied={} present={} seconds={seconds}",
            outcomes.join(" "),
            self.removed.len(),
            self.linked,
            self.copied,
            self.present
        )
    }

    /// Returns the JSON form, with a newline.
    pub(crate) fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("strings and numbers always have a JSON form");
        text + "\n"
    }
}

impl Report {
    /// Keeps the JSON form for `status`, unless nothing changed since it was last kept: a run that finds all as it should be writes
    /// nothing.
    ///
    /// # Errors
    /// The run directory cannot be written.
    pub(crate) fn save(&self, run_dir: &Path) -> io::Result<()> {
        let same = |image: &ImageReport| match image.outcome {
            Outcome::Settled => true,
            Outcome::Conflict => image.changes.is_empty(),
            _ => false,
        };
        let settled = self.images.iter().all(same) && self.removed.is_empty();
        if settled && self.errors.is_empty() && run_dir.join(FILE_NAME).exists() {
            return Ok(());
        }
        files::replace(run_dir, FILE_NAME, self.json().as_bytes())
    }
}

/// As much of a report that was kept as `status` needs.
#[derive(Debug, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    /// The images.
    pub(crate) images: Vec<KeptImage>,
}

/// An image of a report that was kept.
#[derive(Debug, Deserialize)]
pub(crate) struct KeptImage {
    /// The first name.
    pub(crate) name: Option<String>,
    /// The namespace.
    pub(crate) namespace: String,
    /// What the seed says.
    pub(crate) digest: Option<Digest>,
    /// What became of it.
    pub(crate) outcome: String,
    /// Why it failed.
    pub(crate) errors: Vec<String>,
}

/// Reads the report that a run of this boot left, and its text; one of another version counts as none.
pub(crate) fn kept(run_dir: &Path) -> Option<(Kept, String)> {
    let text = fs::read_to_string(run_dir.join(FILE_NAME)).ok()?;
    let kept: Kept = serde_json::from_str(&text).ok()?;
    (kept.version == VERSION).then_some((kept, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talk::Priority;

    fn image(name: Option<&str>, outcome: Outcome, class: Class) -> ImageReport {
        ImageReport::example(name, outcome, class, SEED)
    }

    const SEED: &str = "sha256:5a1b1f3a1a54fb2d0a6c51ae4b2cbd43a9b70c09a8a6b32e0d53b07b2c1a93ce";

    #[test]
    fn a_report_is_kept_of_the_first_run_and_of_changes() {
        let dir = std::env::temp_dir().join(format!("ociseed-report-{}", std::process::id()));
        fs::create_dir(&dir).expect("made");
        let change = Change { r#do: "create", what: "record", name: String::new() };
        let cases = [
            (Outcome::Settled, false, true),
            (Outcome::Settled, false, false),
            (Outcome::Conflict, false, false),
            (Outcome::Conflict, true, true),
            (Outcome::Updated, true, true),
            (Outcome::Failed, false, true),
        ];
        for (outcome, changed, kept) in cases {
            let mut report = Report::new(Mode::Run);
            let mut image = image(None, outcome, Class::Critical);
            image.changes.extend(changed.then(|| change.clone()));
            report.images.push(image);
            report.save(&dir).expect("saved");
            let file = dir.join(FILE_NAME);
            assert_eq!(fs::read(&file).expect("read") != b"old", kept, "{outcome:?} {changed}");
            fs::write(&file, "old").expect("written");
        }
        fs::remove_dir_all(&dir).expect("removed");
    }

    /// The report that `tests/golden/loader/report.json` shows.
    fn example() -> Report {
        let digest = |text: &str| text.parse().expect("a digest");
        let mut report = Report::new(Mode::Run);
        report.seed = Some(SEED.to_owned());
        report.engine = Some(EngineReport { name: "containerd", version: "2.1.9".to_owned() });
        report.images = vec![
            ImageReport {
                digest: Some(digest(
                    "sha256:0a3b7c55d1b1cf2ba11e7b8b3ce6ac1c1d2d9cf1e4c7a3a5a96d1a2b3c4d5e6f",
                )),
                copied: 3_145_728,
                present: 1871,
                replaced: vec![digest(
                    "sha256:77af4d6b9913e693e8d0b4b294fa62ade6054e6b2f1ffb617ac955dd63fb0182",
                )],
                ..image(Some("docker.io/library/web:1"), Outcome::Repaired, Class::Critical)
            },
            ImageReport {
                seed: SEED.replace("sha256:5a", "sha256:a5"),
                linked: 2,
                changes: vec![Change { r#do: "link", what: "snapshot", name: SEED.to_owned() }],
                ..image(Some("docker.io/library/db:1"), Outcome::Updated, Class::Background)
            },
            ImageReport {
                errors: vec!["`k8s.io/db.tar`: the file is empty".to_owned()],
                ..image(None, Outcome::Failed, Class::Critical)
            },
        ];
        report.previous = Some(report.images[1].seed.clone());
        report.removed = vec![Removed {
            name: "docker.io/library/web:0".to_owned(),
            namespace: "k8s.io".to_owned(),
            digest: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".to_owned(),
            seed: "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9".to_owned(),
        }];
        report.copies = Some("the seed is in host form, which has no stores".to_owned());
        report.read_back = 6_293_327;
        report.calls = BTreeMap::from([
            ("containerd.services.content.v1.Content/Delete", 1),
            ("containerd.services.content.v1.Content/List", 1),
            ("containerd.services.content.v1.Content/Read", 4),
            ("containerd.services.content.v1.Content/Write", 1),
            ("containerd.services.version.v1.Version/Version", 1),
        ]);
        report.finish(None);
        report
    }

    #[test]
    fn the_json_is_that_of_the_golden_file() {
        assert_eq!(example().json(), include_str!("../../../tests/golden/loader/report.json"));
    }

    #[test]
    fn lines_say_what_the_documentation_shows() {
        let report = example();
        let (priority, line) = report.images[2].line();
        assert_eq!(priority, Priority::Error);
        assert_eq!(line, "failed name=- namespace=k8s.io digest=- linked=0 copied=0 present=0");
        let expected = "done settled=0 updated=1 repaired=1 added=0 conflict=0 failed=1 removed=1 linked=2 copied=3145728 present=1871 seconds=0.250";
        assert_eq!(report.summary(Duration::from_millis(250)), expected);
    }

    #[test]
    fn exit_codes_follow_the_worst_image_unless_the_run_was_stopped() {
        use Class::{Background, Critical};
        let cases = [
            (vec![], None, 0),
            (vec![(Outcome::Conflict, Critical)], None, 0),
            (vec![(Outcome::Failed, Background)], None, 7),
            (vec![(Outcome::Failed, Background), (Outcome::Failed, Critical)], None, 8),
            (vec![(Outcome::Failed, Critical)], Some(Exit::Engine), 6),
            (vec![], Some(Exit::Signal(15)), 143),
        ];
        let other = ImageReport { seed: "other".to_owned(), ..image(None, Outcome::Failed, Critical) };
        let mut report =
            Report { seed: Some(SEED.to_owned()), images: vec![other], ..Report::new(Mode::Run) };
        report.finish(None);
        assert_eq!(report.exit_code.code(), 0, "the other slot's images");
        for (images, stopped, code) in cases {
            let mut report = Report::new(Mode::Run);
            report.images = images.iter().map(|(outcome, class)| image(None, *outcome, *class)).collect();
            report.finish(stopped);
            assert_eq!(report.exit_code.code(), code, "{images:?}");
        }
    }
}
