//! What was done: a line for each image as it is done, or one JSON document at the end.

use std::io::{self, Write as _};

use ociseed_spec::lock::LockedImage;
use ociseed_spec::{Digest, Reference};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Failure, Stop, say};

/// The version of the report's form.
const VERSION: u32 = 1;

/// What came of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It was there by all its names.
    Present,
    /// It was there, and got names.
    Tagged,
    /// It was brought.
    Loaded,
    /// It is not there.
    Failed,
}

/// What was done for one image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageReport {
    names: Vec<Reference>,
    namespace: Option<String>,
    digest: Digest,
    pub(crate) outcome: Outcome,
    layers: usize,
    /// How many of them were sent.
    pub(crate) layers_sent: usize,
    /// How many bytes went to the engine.
    pub(crate) bytes_sent: u64,
    errors: Vec<String>,
}

impl ImageReport {
    /// Begins with an image that is there.
    pub(crate) fn of(image: &LockedImage, namespace: Option<&str>) -> Self {
        Self {
            names: image.names.clone(),
            namespace: namespace.map(str::to_owned),
            digest: image.manifest.digest,
            outcome: Outcome::Present,
            layers: image.layers.len(),
            layers_sent: 0,
            bytes_sent: 0,
            errors: Vec::new(),
        }
    }

    fn subject(&self) -> String {
        let name = self.names.first().map(Reference::as_str).unwrap_or_default();
        match &self.namespace {
            Some(namespace) => format!("{name} in {namespace}"),
            None => name.to_owned(),
        }
    }

    fn line(&self) -> String {
        let Self { layers, layers_sent, bytes_sent, .. } = self;
        let subject = self.subject();
        match self.outcome {
            Outcome::Present => format!("{subject}: is there already"),
            Outcome::Tagged => format!("{subject}: tagged, nothing sent"),
            Outcome::Loaded => {
                format!("{subject}: loaded, {layers_sent} of {layers} layers, {} sent", bytes(*bytes_sent))
            }
            Outcome::Failed => format!("{subject}: failed"),
        }
    }
}

/// The engine as it says of itself.
#[derive(Debug, Serialize)]
pub(crate) struct EngineReport {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: String,
    /// Where it unpacks layers, if that is known.
    pub(crate) store: Option<String>,
}

/// What was done for all of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    version: u32,
    seed: Option<Digest>,
    pub(crate) engine: Option<EngineReport>,
    exit_code: Exit,
    images: Vec<ImageReport>,
    layers_sent: usize,
    bytes_sent: u64,
    errors: Vec<String>,
    /// Whether lines are printed.
    #[serde(skip)]
    lines: bool,
    #[serde(skip)]
    unprinted: Option<io::Error>,
}

impl Report {
    /// Begins with nothing done.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            version: VERSION,
            seed: None,
            engine: None,
            exit_code: Exit::Done,
            images: Vec::new(),
            layers_sent: 0,
            bytes_sent: 0,
            errors: Vec::new(),
            lines: !json,
            unprinted: None,
        }
    }

    /// Notes which seed it is.
    pub(crate) fn seed(&mut self, id: Digest) {
        self.seed = Some(id);
    }

    /// Settles an image's report, and says its line.
    ///
    /// # Errors
    /// What stops everything.
    pub(crate) fn conclude(
        &mut self,
        mut image: ImageReport,
        result: Result<(), Failure>,
    ) -> Result<(), Stop> {
        let stop = match result {
            Ok(()) => None,
            Err(Failure::Image { text, hint }) => {
                say(&format!("`{}`: {text}", image.subject()), hint.as_deref());
                image.errors.push(text);
                image.outcome = Outcome::Failed;
                None
            }
            Err(Failure::Stop(stop)) => {
                image.errors.push(stop.text.clone());
                image.outcome = Outcome::Failed;
                Some(stop)
            }
        };
        let line = image.line();
        self.layers_sent += image.layers_sent;
        self.bytes_sent += image.bytes_sent;
        self.images.push(image);
        if self.lines {
            self.print(&format!("{line}\n"));
        }
        stop.map_or(Ok(()), Err)
    }

    /// Says what stopped it, if anything did, and returns how the program ends.
    pub(crate) fn finish(mut self, result: Result<(), Stop>) -> Exit {
        let failed = self.images.iter().any(|image| image.outcome == Outcome::Failed);
        self.exit_code = match result {
            Ok(()) if failed => Exit::Images,
            Ok(()) => Exit::Done,
            Err(stop) => {
                say(&stop.text, stop.hint.as_deref());
                self.errors.push(stop.text);
                stop.exit
            }
        };
        if !self.lines {
            self.print(&self.json());
        }
        match self.unprinted {
            Some(error) => {
                say(&format!("cannot write to standard output: {error}"), None);
                if self.exit_code == Exit::Done { Exit::Internal } else { self.exit_code }
            }
            None => self.exit_code,
        }
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has string keys alone") + "\n"
    }

    fn print(&mut self, text: &str) {
        if let Err(error) = io::stdout().write_all(text.as_bytes()) {
            self.unprinted.get_or_insert(error);
        }
    }
}

/// Writes bytes for people: powers of 1000, as disks and networks are sold.
fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} bytes"),
        1_000..1_000_000 => tenths(count, 1_000, "kB"),
        1_000_000..1_000_000_000 => tenths(count, 1_000_000, "MB"),
        _ => tenths(count, 1_000_000_000, "GB"),
    }
}

fn tenths(count: u64, unit: u64, name: &str) -> String {
    let tenths = count / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../tests/golden/load/report.json");

    fn digest(digit: &str) -> Digest {
        format!("sha256:{}", digit.repeat(64)).parse().expect("a digest")
    }

    fn image(digit: &str, names: &[&str], outcome: Outcome, layers: usize) -> ImageReport {
        ImageReport {
            names: names.iter().map(|name| name.parse().expect("a name")).collect(),
            namespace: None,
            digest: digest(digit),
            outcome,
            layers,
            layers_sent: 0,
            bytes_sent: 0,
            errors: Vec::new(),
        }
    }

    #[test]
    fn the_report_is_that_of_the_example() {
        let mut report = Report::new(true);
        report.seed(digest("0"));
        let (version, store) = ("28.5.2".to_owned(), Some("overlay2".to_owned()));
        report.engine = Some(EngineReport { name: "docker", version, store });
        let mut web = image("1", &["docker.io/library/web:1"], Outcome::Loaded, 5);
        (web.layers_sent, web.bytes_sent) = (2, 12_345_678);
        let db = image("2", &["docker.io/library/db:1", "example.com/db:1"], Outcome::Tagged, 3);
        let cache = image("3", &["docker.io/library/cache:1"], Outcome::Present, 1);
        for image in [web, db, cache] {
            report.conclude(image, Ok(())).expect("goes on");
        }
        let old = image("4", &["docker.io/library/old:1"], Outcome::Present, 1);
        let missing = Failure::image(format!("blob {} is not in `seed`", digest("5")));
        report.conclude(old, Err(missing)).expect("goes on");
        report.exit_code = Exit::Images;
        assert_eq!(report.json(), GOLDEN);
    }

    #[test]
    fn lines_are_those_of_the_contract() {
        let mut web = image("1", &["docker.io/library/web:1"], Outcome::Loaded, 5);
        (web.layers_sent, web.bytes_sent) = (2, 12_345_678);
        assert_eq!(web.line(), "docker.io/library/web:1: loaded, 2 of 5 layers, 12.3 MB sent");
        web.namespace = Some("k8s.io".to_owned());
        web.outcome = Outcome::Failed;
        assert_eq!(web.line(), "docker.io/library/web:1 in k8s.io: failed");
    }

    #[test]
    fn sizes_are_for_people() {
        let cases = [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (999_999, "999.9 kB"),
            (1_950_000_000, "1.9 GB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }
}
