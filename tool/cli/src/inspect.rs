//! `ociseed inspect`: what is in something, for people, or as JSON.

mod bolt;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ociseed_image::Image;
use ociseed_spec::lock::{BlobRef, Class, Lock};
use ociseed_spec::{DiffId, Digest, TreePath, json, shown_path};
use ociseed_tree::tar::{self, Listed};
use ociseed_tree::{Entry, Node, decompress, listing};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::artifact::Artifact;
use crate::failure::Failure;
use crate::file_systems::{self, FoundImage};
use crate::inputs::closest_or_all;
use crate::output::print;

/// Runs `ociseed inspect`.
pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let artifact = Artifact::open(&args.path)?;
    match (args.files, args.largest) {
        (true, _) => return files::list(&artifact, args),
        (_, Some(count)) => return files::largest(&artifact, args, count),
        _ => {}
    }
    if let Artifact::Bolt(root) = &artifact
        && args.image.is_none()
    {
        return bolt::list(root, args);
    }
    let shown = show(&artifact, args)?;
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
    /// How many of the images shown have it, where it is not this one alone.
    #[serde(skip_serializing_if = "is_zero")]
    shared_by: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
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

fn show(artifact: &Artifact, args: &InspectArgs) -> Result<Shown, Failure> {
    let mut shown = match artifact {
        Artifact::Output(report, _) => {
            let targets = report.targets.iter().map(|(name, target)| (name.clone(), target.path.clone()));
            Shown { targets: targets.collect(), ..Shown::default() }
        }
        Artifact::Medium(medium) => {
            let lock = Lock::parse(medium.lock()).map_err(|error| Failure::because("`seed.json`", &error))?;
            file_systems::images(artifact)?;
            show_lock(&lock, medium.lock())
        }
        Artifact::Disk(tree) => {
            let entries = tree.iter().map(|(path, entry)| shown_path_of(path, entry));
            Shown { entries: entries.collect(), ..Shown::default() }
        }
        Artifact::DiskMetadata(metadata) => {
            let digests = [("lock", metadata.lock), ("seed-id", metadata.seed_id)];
            let digests = digests.into_iter().filter_map(|(name, digest)| Some((name, digest?.to_string())));
            let all = [("digest", metadata.digest.to_string()), ("size", metadata.size.to_string())];
            let all = all.into_iter().chain(digests).map(|(name, value)| (name.to_owned(), value));
            Shown { targets: all.collect(), ..Shown::default() }
        }
        Artifact::Seed(_, lock) => {
            let lock_file = Lock::parse(lock).map_err(|error| Failure::because("`seed.json`", &error))?;
            // Read for their checks: what is shown is what is there.
            file_systems::images(artifact)?;
            show_lock(&lock_file, lock)
        }
        Artifact::Lock(lock, bytes) => show_lock(lock, bytes),
        Artifact::Metadata(metadata) => {
            let targets = [
                ("media-type", metadata.media_type.clone()),
                ("digest", metadata.digest.to_string()),
                ("size", metadata.size.to_string()),
                ("diff-id", metadata.diff_id.to_string()),
                ("uncompressed-size", metadata.uncompressed_size.to_string()),
            ];
            let packages = metadata.packages.iter().map(|package| {
                (format!("package {}", package.name), format!("{} {}", package.version, package.architecture))
            });
            let targets = targets.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(packages);
            Shown { targets: targets.collect(), ..Shown::default() }
        }
        Artifact::Tar(file) => {
            let mut entries = Vec::new();
            let file = file.try_clone().map_err(|error| Failure::new(error.to_string()))?;
            let listed =
                decompress(file).and_then(|tar| tar::list(tar, |entry| entries.push(shown_entry(entry))));
            listed.map_err(|error| Failure::new(format!("not a whole tar: {error}")))?;
            Shown { entries, ..Shown::default() }
        }
        with_images => {
            let images = file_systems::images(with_images)?.unwrap_or_default();
            Shown { images: images.iter().map(found_image).collect(), ..Shown::default() }
        }
    };
    if let Some(wanted) = &args.image {
        let names: BTreeSet<String> = shown.images.iter().flat_map(ShownImage::called).collect();
        shown.images.retain(|image| image.names.contains(wanted) || image.manifest.to_string() == *wanted);
        if shown.images.is_empty() {
            let hint = closest_or_all(wanted, names.iter().map(String::as_str), "it has");
            return Err(
                Failure::usage(format!("`{}`: no image `{wanted}`", shown_path(&args.path))).hint(hint)
            );
        }
    }
    let kind = artifact.kind();
    Ok(Shown { kind: kind.split_once(' ').map_or(kind, |(_, kind)| kind), ..shown }.count_shared())
}

fn found_image(found: &FoundImage<'_>) -> ShownImage {
    ShownImage { archive: found.archive.map(str::to_owned), ..shown_image(&found.image, found.names.clone()) }
}

fn shown_image(image: &Image, names: Vec<String>) -> ShownImage {
    let layer = |layer: &ociseed_image::Layer| ShownLayer {
        blob: layer.blob.clone(),
        diff_id: layer.diff_id,
        shared_by: 0,
    };
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
            .map(|(layer, blob)| ShownLayer { blob, diff_id: layer.diff_id, shared_by: 0 })
            .collect(),
    };
    Shown {
        seed_id: Some(lock.seed_id()),
        lock_digest: Some(Digest::of(bytes)),
        images: lock.content.images.iter().map(image).collect(),
        ..Shown::default()
    }
}

fn shown_path_of(path: &TreePath, entry: &Entry) -> ShownEntry {
    let target = match &entry.node {
        Node::Symlink(target) => Some(listing::escape(target)),
        Node::Link(first) => Some(format!("/{}", listing::escape(first.as_bytes()))),
        _ => None,
    };
    let size = match &entry.node {
        Node::File(content) => content.size(),
        _ => 0,
    };
    ShownEntry {
        path: format!("/{}", listing::escape(path.as_bytes())),
        kind: listing::kind(&entry.node).to_owned(),
        mode: entry.stat.mode.to_string(),
        uid: entry.stat.owner.uid.into(),
        gid: entry.stat.owner.gid.into(),
        size,
        target,
    }
}

fn shown_entry(entry: Listed) -> ShownEntry {
    let Listed { path, kind, mode, uid, gid, size, target } = entry;
    ShownEntry { path, kind, mode: format!("{mode:04o}"), uid, gid, size, target }
}

impl Shown {
    /// Counts in how many images each layer is.
    fn count_shared(mut self) -> Self {
        let mut images: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
        for image in &self.images {
            for layer in &image.layers {
                images.entry(layer.blob.digest).or_default().insert(image.manifest);
            }
        }
        for layer in self.images.iter_mut().flat_map(|image| &mut image.layers) {
            layer.shared_by = Some(images[&layer.blob.digest].len()).filter(|count| *count > 1).unwrap_or(0);
        }
        self
    }

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
    /// Returns what `--image` may call it: its names, else its digest.
    fn called(&self) -> Vec<String> {
        if self.names.is_empty() { vec![self.manifest.to_string()] } else { self.names.clone() }
    }

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
            let shared = match layer.shared_by {
                0 => String::new(),
                count => format!(", in {count} images"),
            };
            let BlobRef { digest, size, media_type } = &layer.blob;
            let _ = writeln!(text, "    layer {digest} {size} bytes {media_type}{shared}");
        }
    }
}
