//! `status`: what `place` and `run` did in this boot, and what the engine has now.

use std::path::Path;
use std::time::Duration;

use ociseed_containerd::{Client, Error, Options};
use ociseed_spec::Digest;
use ociseed_spec::records::{CRI_PINNED, DIRECTORY_LABEL};
use serde::Serialize;

use crate::args::StatusRequest;
use crate::place::{self, FILE_NAME, Known};
use crate::report::{self, KeptImage};
use crate::talk::Talk;

/// The version of the JSON form.
const VERSION: u32 = 2;

/// An engine that is there answers in milliseconds, and one that is not is no reason to wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Begins the label by which a configuration names the snapshot of its top layer; the snapshotter follows.
const SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.";

/// What the engine has of one image.
#[derive(Debug, Serialize)]
struct Found {
    name: Option<String>,
    namespace: String,
    desired: Option<Digest>,
    actual: Option<String>,
    pinned: bool,
    unpacked: bool,
    source: &'static str,
    error: Option<String>,
}

/// Returns what goes to standard output.
pub(crate) fn status(request: &StatusRequest, talk: &Talk) -> String {
    let placed = placed(&request.run_dir, talk);
    let ran = report::kept(&request.run_dir);
    let found = ran.as_ref().and_then(|(kept, _)| match look(&request.address, &kept.images) {
        Ok(found) => Some(found),
        Err(error) => {
            talk.warning(&crate::talk::chain(&error));
            None
        }
    });
    if request.json {
        let place = placed.map_or("null".to_owned(), |(_, json)| json);
        let run = ran.map_or("null".to_owned(), |(_, json)| json);
        let images = serde_json::to_string_pretty(&found).expect("strings always have a JSON form");
        let (place, run) = (place.trim_end(), run.trim_end());
        return format!(
            "{{\"version\": {VERSION}, \"place\": {place}, \"run\": {run}, \"images\": {images}}}\n"
        );
    }
    let mut text = placed.map_or_else(String::new, |(text, _)| text);
    match (&ran, &found) {
        (None, _) => text.push_str("no `run` in this boot\n"),
        (Some(_), Some(found)) => found.iter().for_each(|image| text.push_str(&image.line())),
        (Some((kept, _)), None) => kept.images.iter().for_each(|image| text.push_str(&line(image))),
    }
    text
}

/// Returns what `place` did, as text and as JSON.
fn placed(run_dir: &Path, talk: &Talk) -> Option<(String, String)> {
    let file = run_dir.join(FILE_NAME);
    let reason = match place::read(run_dir) {
        Ok(Known::Report(report, json)) => return Some((report.text(), json)),
        Ok(Known::Nothing) => format!("`{}` is not there: no `place` in this boot", file.display()),
        Ok(Known::Other(why)) => format!("`{}` cannot be used: {why}", file.display()),
        Err(error) => format!("cannot read `{}`: {error}", file.display()),
    };
    talk.warning(&reason);
    None
}

/// What the run said of an image that the engine says nothing of.
fn line(image: &KeptImage) -> String {
    let name = image.name.as_deref().unwrap_or("-");
    format!("{} name={name} namespace={}\n", image.outcome, image.namespace)
}

impl Found {
    fn line(&self) -> String {
        let word = match (&self.desired, &self.actual) {
            (_, None) => "absent",
            (Some(desired), Some(actual)) if desired.to_string() != *actual => "other",
            _ => "there",
        };
        let Self { namespace, pinned, unpacked, source, .. } = self;
        let (name, actual) = (self.name.as_deref().unwrap_or("-"), self.actual.as_deref().unwrap_or("-"));
        let error = self.error.as_ref().map_or_else(String::new, |error| format!(" error={error}"));
        format!(
            "{word} name={name} namespace={namespace} digest={actual} pinned={pinned} unpacked={unpacked} source={source}{error}\n"
        )
    }
}

/// Asks the engine for images that a run was about.
fn look(address: &Path, images: &[KeptImage]) -> Result<Vec<Found>, Error> {
    let client = Client::connect(address, Options { limit: PATIENCE, ..Options::default() })?;
    images.iter().map(|image| look_at(&client, image)).collect()
}

fn look_at(client: &Client, image: &KeptImage) -> Result<Found, Error> {
    let scope = client.scope(&image.namespace);
    let record = match &image.name {
        Some(name) => scope.list_images(vec![format!("name==\"{name}\"")])?.pop(),
        None => None,
    };
    let mut found = Found {
        name: image.name.clone(),
        namespace: image.namespace.clone(),
        desired: image.digest,
        actual: None,
        pinned: false,
        unpacked: false,
        source: "copies",
        error: image.errors.last().cloned(),
    };
    let Some(record) = record else { return Ok(found) };
    found.pinned = record.labels.contains_key(CRI_PINNED.0);
    // The way on which garbage collection finds what belongs to an image.
    let label = |digest: &str, key: &str| -> Result<Option<(String, String)>, Error> {
        let labels = scope.content_info(digest)?.map(|info| info.labels).unwrap_or_default();
        Ok(labels.into_iter().find(|(name, _)| name.starts_with(key)))
    };
    if let Some((_, config)) = label(&record.target.digest, "containerd.io/gc.ref.content.config")?
        && let Some((key, chain)) = label(&config, SNAPSHOT)?
    {
        let snapshotter = key.trim_start_matches(SNAPSHOT);
        let top = scope.stat_snapshot(snapshotter, &chain)?;
        found.unpacked = top.is_some();
        if top.is_some_and(|top| top.labels.contains_key(DIRECTORY_LABEL)) {
            found.source = "links";
        }
    }
    found.actual = Some(record.target.digest);
    Ok(found)
}
