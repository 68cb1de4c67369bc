//! `ociseed inspect`: what is in something, for people, or as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ociseed_image::{Image, decompress};
use ociseed_seed::read_image;
use ociseed_spec::lock::{BlobRef, Class, Lock};
use ociseed_spec::{DiffId, Digest, json};
use ociseed_store::Source;
use ociseed_tree::tar::{self, Listed};
use serde::Serialize;

use crate::args::PathArgs;
use crate::artifact::Artifact;
use crate::failure::{Failure, chain};
use crate::output::print;

/// Runs `ociseed inspect`.
pub(crate) fn run(args: &PathArgs) -> Result<(), Failure> {
    let shown = show(Artifact::open(&args.path)?)?;
    if args.json {
        print(&format!("{}\n", String::from_utf8_lossy(&json::encode(&shown))))
    } else {
        print(&shown.text())
    }
}

/// What is shown of something.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed_id: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_digest: Option<Digest>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ShownImage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<ShownEntry>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    targets: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownImage {
    /// The archive that holds it, in a preseed directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<String>,
    names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<bool>,
    platform: String,
    manifest: Digest,
    config: Digest,
    layers: Vec<ShownLayer>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownLayer {
    blob: BlobRef,
    diff_id: DiffId,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownEntry {
    path: String,
    kind: String,
    mode: String,
    uid: u64,
    gid: u64,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

fn show(artifact: Artifact) -> Result<Shown, Failure> {
    Ok(match artifact {
        Artifact::Output(report, _) => {
            let targets = report.targets.into_iter().map(|(name, target)| (name, target.path));
            Shown { kind: "output directory", targets: targets.collect(), ..Shown::default() }
        }
        Artifact::Seed(layout, lock) => show_seed(&layout, &lock)?,
        Artifact::Layout(layout) => {
            Shown { kind: "image layout", images: images(&layout, None)?, ..Shown::default() }
        }
        Artifact::Archive(archive) => {
            Shown { kind: "oci-archive", images: images(&archive, None)?, ..Shown::default() }
        }
        Artifact::Preseed(archives) => {
            let shown = archives.iter().map(|(name, archive)| images(archive, Some(name)));
            let images = shown.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
            Shown { kind: "preseed directory", images, ..Shown::default() }
        }
        Artifact::Record(image) => {
            Shown { kind: "image record", images: vec![shown_image(&image, Vec::new())], ..Shown::default() }
        }
        Artifact::Lock(lock, bytes) => show_lock(&lock, &bytes),
        Artifact::Metadata(metadata) => {
            let targets = [
                ("media-type", metadata.media_type),
                ("digest", metadata.digest.to_string()),
                ("size", metadata.size.to_string()),
                ("diff-id", metadata.diff_id.to_string()),
                ("uncompressed-size", metadata.uncompressed_size.to_string()),
            ];
            let targets = targets.map(|(name, value)| (name.to_owned(), value)).into();
            Shown { kind: "layer metadata", targets, ..Shown::default() }
        }
        Artifact::Tar(file) => {
            let mut entries = Vec::new();
            let listed =
                decompress(file).and_then(|tar| tar::list(tar, |entry| entries.push(shown_entry(entry))));
            listed.map_err(|error| Failure::new(format!("not a whole tar: {error}")))?;
            Shown { kind: "layer", entries, ..Shown::default() }
        }
    })
}

/// Reads the images of a layout or archive, a line for all names of one.
fn images(source: &dyn Source, archive: Option<&String>) -> Result<Vec<ShownImage>, Failure> {
    let mut names: BTreeMap<Digest, (&BlobRef, Vec<String>)> = BTreeMap::new();
    for entry in source.index() {
        let (_, names) = names.entry(entry.blob.digest).or_insert((&entry.blob, Vec::new()));
        names.extend(entry.name().map(str::to_owned));
    }
    let mut images = Vec::new();
    for (blob, names) in names.into_values() {
        let image = read_image(source, blob).map_err(|error| Failure::new(chain(&error)))?;
        images.push(ShownImage { archive: archive.cloned(), ..shown_image(&image, names) });
    }
    images.sort_by(|a, b| a.names.cmp(&b.names));
    Ok(images)
}

fn shown_image(image: &Image, names: Vec<String>) -> ShownImage {
    let layer =
        |layer: &ociseed_image::Layer| ShownLayer { blob: layer.blob.clone(), diff_id: layer.diff_id };
    ShownImage {
        archive: None,
        names,
        namespaces: Vec::new(),
        class: None,
        pin: None,
        platform: image.platform().to_string(),
        manifest: image.manifest().digest,
        config: image.config().digest,
        layers: image.layers().iter().map(layer).collect(),
    }
}

fn show_seed(layout: &dyn Source, bytes: &[u8]) -> Result<Shown, Failure> {
    let lock = Lock::parse(bytes).map_err(|error| Failure::because("`seed.json`", &error))?;
    // Read for its checks: what is shown is what is there.
    images(layout, None)?;
    Ok(Shown { kind: "seed", ..show_lock(&lock, bytes) })
}

fn show_lock(lock: &Lock, bytes: &[u8]) -> Shown {
    let image = |image: &ociseed_spec::lock::LockedImage| ShownImage {
        archive: None,
        names: image.names.iter().map(ToString::to_string).collect(),
        namespaces: image.namespaces.iter().map(ToString::to_string).collect(),
        class: Some(image.class),
        pin: Some(image.pin),
        platform: image.platform.to_string(),
        manifest: image.manifest.digest,
        config: image.config.digest,
        layers: image
            .layers
            .iter()
            .zip(image.blobs().skip(2))
            .map(|(layer, blob)| ShownLayer { blob, diff_id: layer.diff_id })
            .collect(),
    };
    Shown {
        kind: "lock",
        seed_id: Some(lock.seed_id()),
        lock_digest: Some(Digest::of(bytes)),
        images: lock.content.images.iter().map(image).collect(),
        ..Shown::default()
    }
}

fn shown_entry(entry: Listed) -> ShownEntry {
    let Listed { path, kind, mode, uid, gid, size, target } = entry;
    ShownEntry { path, kind, mode: format!("{mode:04o}"), uid, gid, size, target }
}

impl Shown {
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.kind);
        for (name, digest) in [("seed id", self.seed_id), ("lock", self.lock_digest)] {
            if let Some(digest) = digest {
                let _ = writeln!(text, "  {name}: {digest}");
            }
        }
        for (name, value) in &self.targets {
            let _ = writeln!(text, "  {name}: {value}");
        }
        for image in &self.images {
            image.write(&mut text);
        }
        for entry in &self.entries {
            let target = entry.target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
            let owner = format!("{}:{}", entry.uid, entry.gid);
            let _ = writeln!(
                text,
                "  {} {:9} {owner:>9} {:>12} {}{target}",
                entry.mode, entry.kind, entry.size, entry.path
            );
        }
        let blobs: BTreeSet<_> = self
            .images
            .iter()
            .flat_map(|image| image.layers.iter().map(|l| (l.blob.digest, l.blob.size)))
            .collect();
        if !self.images.is_empty() {
            let listed: u64 =
                self.images.iter().flat_map(|image| &image.layers).map(|layer| layer.blob.size).sum();
            let distinct: u64 = blobs.iter().map(|(_, size)| size).sum();
            let _ = writeln!(
                text,
                "  {} layer blobs, {distinct} bytes, {} bytes shared",
                blobs.len(),
                listed - distinct
            );
        }
        text
    }
}

impl ShownImage {
    fn write(&self, text: &mut String) {
        let archive = self.archive.as_ref().map(|archive| format!("{archive}: ")).unwrap_or_default();
        let names = if self.names.is_empty() { "(no name)".to_owned() } else { self.names.join(", ") };
        let _ = writeln!(text, "  image {archive}{names}");
        if let (Some(class), Some(pin)) = (self.class, self.pin) {
            let class = if class == Class::Critical { "critical" } else { "background" };
            let pinned = if pin { ", pinned" } else { "" };
            let _ = writeln!(text, "    for {}: {class}{pinned}", self.namespaces.join(", "));
        }
        let _ = writeln!(text, "    {} {}", self.platform, self.manifest);
        for layer in &self.layers {
            let _ = writeln!(
                text,
                "    layer {} {} bytes {}",
                layer.blob.digest, layer.blob.size, layer.blob.media_type
            );
        }
    }
}
