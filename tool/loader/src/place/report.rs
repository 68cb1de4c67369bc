//! What `place` did: the lines of the log, the JSON of `--json`, and the file from which `status` has it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use ociseed_spec::Digest;
use serde::{Deserialize, Serialize};

use super::trust::Checked;
use crate::args::Trust;
use crate::files;

/// The version of the JSON form.
const VERSION: u32 = 1;

/// Its file in the run directory.
pub(crate) const FILE_NAME: &str = "place.json";

/// A seed that was found, and to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SeedReport {
    /// The seed id.
    pub(crate) id: Digest,
    /// The digest of its lock.
    pub(crate) lock: Digest,
    /// Where it is.
    pub(crate) path: String,
    /// What was mounted.
    pub(crate) medium: Option<String>,
    /// What was asked for.
    pub(crate) trust: Trust,
    /// How it was checked.
    pub(crate) checked: Checked,
    /// How many bytes were hashed.
    pub(crate) bytes: u64,
}

/// Whether an engine's root was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The root is the store's now.
    Placed,
    /// The root is what it was.
    Kept,
}

/// What became of an engine's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EngineReport {
    /// `containerd`.
    pub(crate) name: String,
    /// Its root.
    pub(crate) root: String,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// Why it was kept.
    pub(crate) reason: Option<String>,
    /// Names of images that were placed, over all namespaces.
    pub(crate) images: usize,
    /// Snapshots that were placed, over all namespaces.
    pub(crate) layers: usize,
    /// Bytes of files that were written.
    pub(crate) copied: u64,
    /// Seeds to which the root has links that lead nowhere, by the first digits of their ids.
    pub(crate) missing: Vec<String>,
}

/// What `place` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlaceReport {
    version: u32,
    /// The seed, once it was trusted.
    pub(crate) seed: Option<SeedReport>,
    /// The other slot's.
    pub(crate) previous: Option<SeedReport>,
    /// The engines that were asked for, once their roots were looked at.
    pub(crate) engines: Vec<EngineReport>,
    /// How the process ends.
    pub(crate) exit_code: u8,
    /// What stopped it.
    pub(crate) errors: Vec<String>,
}

impl SeedReport {
    /// Returns its line in the log.
    pub(crate) fn line(&self) -> String {
        format!(
            "seed id={} lock={} trust={} checked={} bytes={} path={}",
            self.id,
            self.lock,
            self.trust.word(),
            self.checked.word(),
            self.bytes,
            self.path
        )
    }
}

impl EngineReport {
    /// Returns its line in the log, without the time.
    pub(crate) fn line(&self) -> String {
        let word = match self.outcome {
            Outcome::Placed => "placed",
            Outcome::Kept => "kept",
        };
        let Self { name, root, images, layers, copied, .. } = self;
        format!("{word} engine={name} root={root} images={images} layers={layers} copied={copied}")
    }
}

impl PlaceReport {
    /// Begins with nothing done.
    pub(crate) fn new() -> Self {
        Self {
            version: VERSION,
            seed: None,
            previous: None,
            engines: Vec::new(),
            exit_code: 1,
            errors: Vec::new(),
        }
    }

    /// Returns the JSON form, with a newline.
    pub(crate) fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("strings and numbers always have a JSON form");
        text + "\n"
    }

    /// Returns what `status` shows.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = self.errors.iter().map(|error| format!("error: {error}")).collect();
        lines.extend(self.seed.iter().map(SeedReport::line));
        lines.extend(self.previous.iter().map(|seed| format!("previous {}", seed.line())));
        for engine in &self.engines {
            let reason = engine.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            lines.push(engine.line() + &reason);
        }
        lines.push(format!("exit code {}\n", self.exit_code));
        lines.join("\n")
    }

    /// Keeps the JSON form for `status`. One that trusted no seed changed nothing, so what an earlier one of this boot did
    /// holds on.
    ///
    /// # Errors
    /// The run directory cannot be written.
    pub(crate) fn save(&self, run_dir: &Path) -> io::Result<()> {
        let mut kept = self.clone();
        if kept.seed.is_none()
            && let Ok(Known::Report(before, _)) = read(run_dir)
        {
            (kept.seed, kept.previous, kept.engines) = (before.seed, before.previous, before.engines);
        }
        files::replace(run_dir, FILE_NAME, kept.json().as_bytes())
    }
}

/// What is known of this boot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// This, and the text that it was read from.
    Report(Box<PlaceReport>, String),
    /// There is none.
    Nothing,
    /// There is one of another version, or no report at all.
    Other(String),
}

/// Reads what a `place` left.
///
/// # Errors
/// The file is there and cannot be read.
pub(crate) fn read(run_dir: &Path) -> io::Result<Known> {
    match fs::read_to_string(run_dir.join(FILE_NAME)) {
        Ok(text) => Ok(parse(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::Nothing),
        Err(error) => Err(error),
    }
}

fn parse(text: String) -> Known {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    match serde_json::from_str::<Version>(&text) {
        Ok(Version { version }) if version != VERSION => {
            return Known::Other(format!("it has version {version}, this program knows {VERSION}"));
        }
        _ => {}
    }
    match serde_json::from_str(&text) {
        Ok(report) => Known::Report(Box::new(report), text),
        Err(error) => Known::Other(error.to_string()),
    }
}

/// Shows a time.
pub(crate) fn seconds(elapsed: Duration) -> String {
    // By hand: formatting of floats would be the only use of them, and costs 15 KB.
    format!("{}.{:03}", elapsed.as_secs(), elapsed.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../../tests/golden/loader/place.json");

    /// The report that `tests/golden/loader/place.json` shows.
    fn example() -> PlaceReport {
        let digest = |text: &str| text.parse().expect("a digest");
        PlaceReport {
            seed: Some(SeedReport {
                id: digest("sha256:5a1b1f3a1a54fb2d0a6c51ae4b2cbd43a9b70c09a8a6b32e0d53b07b2c1a93ce"),
                lock: digest("sha256:77af4d6b9913e693e8d0b4b294fa62ade6054e6b2f1ffb617ac955dd63fb0182"),
                path: "/run/ociseed/media/LABEL=seed".to_owned(),
                medium: Some("/dev/vdb".to_owned()),
                trust: Trust::Sealed,
                checked: Checked::Hashed,
                bytes: 3_145_728,
            }),
            engines: vec![EngineReport {
                name: "containerd".to_owned(),
                root: "/var/lib/containerd".to_owned(),
                outcome: Outcome::Placed,
                reason: None,
                images: 2,
                layers: 5,
                copied: 65536,
                missing: Vec::new(),
            }],
            exit_code: 0,
            ..PlaceReport::new()
        }
    }

    #[test]
    fn the_json_is_that_of_the_golden_file() {
        assert_eq!(example().json(), GOLDEN);
        assert_eq!(parse(GOLDEN.to_owned()), Known::Report(Box::new(example()), GOLDEN.to_owned()));
    }

    #[test]
    fn what_a_good_one_did_outlives_one_that_was_refused() {
        let run_dir = std::env::temp_dir().join(format!("ociseed-report-{}", std::process::id()));
        fs::create_dir(&run_dir).expect("a directory");
        let saved = |report: &PlaceReport| {
            report.save(&run_dir).expect("written");
            match read(&run_dir) {
                Ok(Known::Report(kept, _)) => *kept,
                other => panic!("{other:?}"),
            }
        };
        let refused = PlaceReport { exit_code: 3, errors: vec!["wrong".to_owned()], ..PlaceReport::new() };
        let trusted = PlaceReport { seed: example().seed, ..refused.clone() };
        let both = PlaceReport { exit_code: 3, errors: refused.errors.clone(), ..example() };
        let cases = [
            ("the first", &refused, &refused),
            ("a good one", &example(), &example()),
            ("refused", &refused, &both),
            ("refused again", &refused, &both),
            ("trusted and failed", &trusted, &trusted),
        ];
        for (case, report, expected) in cases {
            assert_eq!(saved(report), *expected, "{case}");
        }
        fs::remove_dir_all(&run_dir).expect("removed");
    }

    #[test]
    fn lines_say_what_the_documentation_shows() {
        let report = example();
        let seed = "seed id=sha256:5a1b1f3a1a54fb2d0a6c51ae4b2cbd43a9b70c09a8a6b32e0d53b07b2c1a93ce lock=sha256:77af4d6b9913e693e8d0b4b294fa62ade6054e6b2f1ffb617ac955dd63fb0182 trust=sealed checked=hashed bytes=3145728 path=/run/ociseed/media/LABEL=seed";
        let engine = "placed engine=containerd root=/var/lib/containerd images=2 layers=5 copied=65536";
        assert_eq!(report.text(), format!("{seed}\n{engine}\nexit code 0\n"));
        assert_eq!(seconds(Duration::from_millis(12)), "0.012");
    }

    #[test]
    fn a_report_of_another_version_is_none() {
        let later = GOLDEN.replace("\"version\": 1", "\"version\": 2");
        assert!(matches!(parse(later), Known::Other(text) if text.contains("version 2")));
        for text in ["", "{}", "[1]", "{\"version\":1}"] {
            assert!(matches!(parse(text.to_owned()), Known::Other(_)), "{text}");
        }
    }
}
