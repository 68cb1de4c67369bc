//! What a run did: the lines of the log and the JSON of `--json`.

use std::collections::BTreeMap;
use std::time::Duration;

use ociseed_spec::Digest;
use ociseed_spec::lock::Class;
use serde::Serialize;

use crate::exit::Exit;
use crate::talk::Priority;

/// The version of the JSON form.
const VERSION: u32 = 1;

/// What became of one image in one namespace; of several the last counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Nothing was changed.
    Settled,
    /// Labels or the target of a record of ours were changed.
    Updated,
    /// A blob that should have been there was absent or wrong.
    Repaired,
    /// A record was made.
    Added,
    /// A foreign record kept one of the names.
    Conflict,
    /// The image is not as the seed says.
    Failed,
}

impl Outcome {
    const ALL: [Self; 6] =
        [Self::Settled, Self::Updated, Self::Repaired, Self::Added, Self::Conflict, Self::Failed];

    fn word(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Updated => "updated",
            Self::Repaired => "repaired",
            Self::Added => "added",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }

    fn priority(self) -> Priority {
        match self {
            Self::Settled | Self::Updated | Self::Added => Priority::Info,
            Self::Repaired => Priority::Notice,
            Self::Conflict => Priority::Warning,
            Self::Failed => Priority::Error,
        }
    }
}

/// What was done for one image in one namespace.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageReport {
    /// The first name; none when an archive was refused.
    pub(crate) name: Option<String>,
    /// The namespace.
    pub(crate) namespace: String,
    /// The manifest; none when an archive was refused.
    pub(crate) digest: Option<Digest>,
    /// Whether the boot waits for it.
    pub(crate) class: Class,
    /// Whether it is to be pinned.
    pub(crate) pin: bool,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// Bytes sent to the engine.
    pub(crate) copied: u64,
    /// Bytes that the engine had.
    pub(crate) present: u64,
    /// Blobs that were wrong in the engine's store.
    pub(crate) replaced: Vec<Digest>,
    /// Why it failed.
    pub(crate) errors: Vec<String>,
}

impl ImageReport {
    /// Raises the outcome.
    pub(crate) fn raise(&mut self, outcome: Outcome) {
        self.outcome = self.outcome.max(outcome);
    }

    /// Returns the image's line in the log.
    pub(crate) fn line(&self) -> (Priority, String) {
        let digest = self.digest.map_or("-".to_owned(), |digest| digest.to_string());
        let text = format!(
            "{} name={} namespace={} digest={digest} copied={} present={}",
            self.outcome.word(),
            self.name.as_deref().unwrap_or("-"),
            self.namespace,
            self.copied,
            self.present,
        );
        (self.outcome.priority(), text)
    }
}

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
    /// The value of our owner label.
    pub(crate) seed: Option<String>,
    /// The engine, once it answered.
    pub(crate) engine: Option<EngineReport>,
    /// How the process ends.
    pub(crate) exit_code: Exit,
    /// All images, as far as the run came.
    pub(crate) images: Vec<ImageReport>,
    outcomes: Outcomes,
    copied: u64,
    present: u64,
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
    pub(crate) fn new() -> Self {
        Self {
            version: VERSION,
            seed: None,
            engine: None,
            exit_code: Exit::Internal,
            images: Vec::new(),
            outcomes: Outcomes::default(),
            copied: 0,
            present: 0,
            read_back: 0,
            calls: BTreeMap::new(),
            errors: Vec::new(),
        }
    }

    /// Adds up the images and settles the exit code: `stopped`, else what the failed images say.
    pub(crate) fn finish(&mut self, stopped: Option<Exit>) {
        let count = |outcome| self.images.iter().filter(|image| image.outcome == outcome).count();
        self.outcomes = Outcomes(Outcome::ALL.map(|outcome| (outcome, count(outcome))).to_vec());
        self.copied = self.images.iter().map(|image| image.copied).sum();
        self.present = self.images.iter().map(|image| image.present).sum();
        let failed = |class| self.images.iter().any(|i| i.outcome == Outcome::Failed && i.class == class);
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
            "done {} copied={} present={} seconds={seconds}",
            outcomes.join(" "),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: Option<&str>, outcome: Outcome, class: Class) -> ImageReport {
        ImageReport {
            name: name.map(str::to_owned),
            namespace: "k8s.io".to_owned(),
            digest: None,
            class,
            pin: true,
            outcome,
            copied: 0,
            present: 0,
            replaced: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The report that `tests/golden/loader/report.json` shows.
    fn example() -> Report {
        let digest = |text: &str| text.parse().expect("a digest");
        let mut report = Report::new();
        report.seed =
            Some("sha256:5a1b1f3a1a54fb2d0a6c51ae4b2cbd43a9b70c09a8a6b32e0d53b07b2c1a93ce".to_owned());
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
                errors: vec!["`k8s.io/db.tar`: the file is empty".to_owned()],
                ..image(None, Outcome::Failed, Class::Critical)
            },
        ];
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
        let (priority, line) = report.images[1].line();
        assert_eq!(priority, Priority::Error);
        assert_eq!(line, "failed name=- namespace=k8s.io digest=- copied=0 present=0");
        let expected = "done settled=0 updated=0 repaired=1 added=0 conflict=0 failed=1 copied=3145728 present=1871 seconds=0.250";
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
        for (images, stopped, code) in cases {
            let mut report = Report::new();
            report.images = images.iter().map(|(outcome, class)| image(None, *outcome, *class)).collect();
            report.finish(stopped);
            assert_eq!(report.exit_code.code(), code, "{images:?}");
        }
    }
}
