//! podman, which has no daemon: its program is run, and told to pull from the seed's image layout.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::{env, fs, io};

use ociseed_spec::annotation::REF_NAME;
use ociseed_spec::lock::LockedImage;
use ociseed_spec::{DiffId, Reference, shown_path};
use ociseed_store::IndexEntry;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::report::{EngineReport, ImageReport, Outcome, Report};
use crate::seed::Seed;

/// The first podman that is known to give an image of a layout the name that it has there.
const FIRST_WITH_NAMES: u64 = 5;

/// How many images are asked for at once: a command line has its limits.
const AT_ONCE: usize = 100;

/// An image as `podman images` lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    digest: Option<String>,
    names: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
}

impl Listed {
    /// Whether it is the image of the lock. One with several manifests has but one of their digests as its own.
    fn is(&self, image: &LockedImage) -> bool {
        let digest = image.manifest.digest.to_string();
        let ends = |name: &String| name.strip_suffix(&digest).is_some_and(|rest| rest.ends_with('@'));
        self.digest.as_ref() == Some(&digest) || self.repo_digests.iter().flatten().any(ends)
    }

    fn has(&self, name: &Reference) -> bool {
        self.names.iter().flatten().any(|other| other == name.as_str())
    }
}

/// What `podman image inspect` says of layers.
#[derive(Debug, Deserialize)]
struct Inspected {
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(rename = "Layers")]
    layers: Option<Vec<DiffId>>,
}

/// Loads all images of a seed.
///
/// # Errors
/// What ends everything; what concerns one image is in its report.
pub(crate) fn load(seed: &Seed, report: &mut Report) -> Result<(), Stop> {
    let unreachable = |text: String| Stop::new(Exit::Unreachable, text);
    let version = podman(seed, &["--version"]).map_err(|error| match error {
        Error::Start(error) if error.kind() == io::ErrorKind::NotFound => {
            unreachable("cannot run `podman`: it is not in `PATH`".to_owned()).hint("is podman installed?")
        }
        other => unreachable(other.text()),
    })?;
    let mut listed =
        list(seed).map_err(|error| unreachable(error.text()).hint("does `podman images` work?"))?;
    let version = version.split_whitespace().last().unwrap_or_default().to_owned();
    let major = version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let pull = if major < FIRST_WITH_NAMES { pull_by_link } else { pull };
    report.engine = Some(EngineReport { name: "podman", version, store: None });
    for image in &seed.images {
        let mut done = ImageReport::of(image, None);
        let result = bring(seed, image, pull, &mut listed, &mut done);
        report.conclude(done, result)?;
    }
    Ok(())
}

/// Brings one image, by all its names.
fn bring(
    seed: &Seed,
    image: &LockedImage,
    pull: Pull,
    listed: &mut Vec<Listed>,
    report: &mut ImageReport,
) -> Result<(), Failure> {
    let found = listed.iter().find(|other| other.is(image));
    let missing: Vec<_> =
        image.names.iter().filter(|name| !found.is_some_and(|found| found.has(name))).collect();
    let Some(&first) = missing.first() else { return Ok(()) };
    if let Some(name) = image.names.iter().find(|name| name.digest().is_some()) {
        let text = format!("podman has no name with a digest for an image that is loaded: `{name}`");
        return Err(Failure::Image { text, hint: Some("give the image a name with a tag alone".to_owned()) });
    }
    let id = match found {
        Some(found) => {
            report.outcome = Outcome::Tagged;
            found.id.clone()
        }
        None => {
            report.outcome = Outcome::Loaded;
            check(seed, image, first, listed, report)?;
            pull(seed, first)?
        }
    };
    let names = missing.iter().map(|name| name.as_str());
    podman(seed, &["tag", &id].into_iter().chain(names).collect::<Vec<_>>())?;
    *listed = list(seed)?;
    let wrong = |name: &&Reference| !listed.iter().any(|other| other.is(image) && other.has(name));
    match image.names.iter().find(wrong) {
        None => Ok(()),
        Some(name) => Err(Failure::image(format!(
            "podman does not have {} as `{name}` afterwards",
            image.manifest.digest
        ))),
    }
}

/// Pulls an image of the seed; returns its id.
type Pull = fn(&Seed, &Reference) -> Result<String, Failure>;

/// Pulls an image, which gets its name.
fn pull(seed: &Seed, name: &Reference) -> Result<String, Failure> {
    // A path with a `:` cannot be said there.
    Ok(podman(seed, &["pull", "--quiet", &format!("oci:.:{name}")])?.trim().to_owned())
}

/// Pulls an image with a podman that calls it `localhost/PATH`, where that path must do for a name. So it gets one that does,
/// and the image loses that name again.
fn pull_by_link(seed: &Seed, name: &Reference) -> Result<String, Failure> {
    let link = format!("ociseed-load-{}", process::id());
    let dir = env::temp_dir().join(&link);
    let failed =
        |error: io::Error| Failure::image(format!("cannot make a link in `{}`: {error}", shown_path(&dir)));
    let linked = fs::canonicalize(&seed.path).and_then(|seed| {
        fs::create_dir(&dir)?;
        symlink(seed, dir.join(&link))
    });
    let pulled = linked
        .map_err(failed)
        .and_then(|()| Ok(podman_in(&dir, &["pull", "--quiet", &format!("oci:{link}:{name}")])?));
    // What does not go is an empty directory of somebody's `/tmp`.
    let _ = fs::remove_file(dir.join(&link)).and_then(|()| fs::remove_dir(&dir));
    let id = pulled?.trim().to_owned();
    let own = format!("localhost/{link}:latest");
    if list(seed)?.iter().any(|image| image.names.iter().flatten().any(|name| *name == own)) {
        podman(seed, &["untag", &id, &own])?;
    }
    Ok(id)
}

/// Checks all that podman is about to read: of a layer that it finds wrong the ones before would stay behind.
fn check(
    seed: &Seed,
    image: &LockedImage,
    name: &Reference,
    listed: &[Listed],
    report: &mut ImageReport,
) -> Result<(), Failure> {
    let digest = image.manifest.digest;
    let is_named =
        |entry: &&IndexEntry| entry.annotations.get(REF_NAME).is_some_and(|other| other == name.as_str());
    let named = seed.layout.index().iter().find(is_named);
    match named.map(|entry| entry.blob.digest) {
        Some(found) if found == digest => {}
        found => {
            let found = found.map_or("nothing".to_owned(), |found| found.to_string());
            return Err(Failure::image(format!("index.json: `{name}`: expected {digest}, found {found}")));
        }
    }
    seed.documents(image)?;
    let (mut layers, mut bytes) = (0, image.manifest.size + image.config.size);
    let mut there = diff_ids(seed, listed)?;
    for layer in &image.layers {
        // A layer that comes twice is read once.
        if there.insert(layer.diff_id) {
            seed.hash(&layer.digest, layer.size)?;
            layers += 1;
            bytes += layer.size;
        }
    }
    (report.layers_sent, report.bytes_sent) = (layers, bytes);
    Ok(())
}

/// Returns the layers that podman has.
fn diff_ids(seed: &Seed, listed: &[Listed]) -> Result<BTreeSet<DiffId>, Error> {
    let mut found = BTreeSet::new();
    for some in listed.chunks(AT_ONCE) {
        let ids = some.iter().map(|image| image.id.as_str());
        let arguments: Vec<_> = ["image", "inspect", "--format", "json"].into_iter().chain(ids).collect();
        let inspected: Vec<Inspected> = parsed(&podman(seed, &arguments)?)?;
        found.extend(inspected.into_iter().flat_map(|image| image.root_fs.layers.unwrap_or_default()));
    }
    Ok(found)
}

fn list(seed: &Seed) -> Result<Vec<Listed>, Error> {
    let listed: Option<Vec<Listed>> = parsed(&podman(seed, &["images", "--all", "--format", "json"])?)?;
    Ok(listed.unwrap_or_default())
}

/// Says why podman was of no use.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot run `podman`: {0}")]
    Start(io::Error),
    #[error("`podman {0}`: {1}")]
    Failed(String, String),
    #[error("`podman` printed what is no list of images: {0}")]
    Json(serde_json::Error),
}

impl Error {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::image(error.text())
    }
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(Error::Json)
}

/// Runs podman where the seed is, and returns what it printed.
fn podman(seed: &Seed, arguments: &[&str]) -> Result<String, Error> {
    podman_in(&seed.path, arguments)
}

fn podman_in(dir: &Path, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new("podman");
    command.args(arguments).current_dir(dir).stdin(Stdio::null());
    let output = command.output().map_err(Error::Start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // Before the error come lines of progress.
    let error = said.lines().rev().find_map(|line| line.strip_prefix("Error: "));
    let error = error.map_or_else(|| said.trim().to_owned(), str::to_owned);
    Err(Error::Failed(arguments.first().copied().unwrap_or_default().to_owned(), error))
}
