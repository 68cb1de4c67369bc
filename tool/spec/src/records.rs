//! What containerd's records of a seed's images are called, and which labels they bear.
//!
//! Two write them: the arrangement of a whole root before the engine runs, and the loader to an engine that runs. They write
//! the same, so that the second finds nothing to do after the first. `docs/loader.md`, section "What it writes", is the
//! contract.

use std::collections::{BTreeMap, BTreeSet};

use crate::lock::{BlobRef, LayerBlobs, LockedImage};
use crate::{DiffId, Digest, Reference};

/// Says whose a record or lease is; its value is a seed id.
pub const OWNER_LABEL: &str = "io.ociseed.seed";

/// Marks a record that others made, and that is theirs again when no seed asks for it.
pub const ADOPTED_LABEL: &str = "io.ociseed.adopted";

/// The value of that label where the record was pinned already, so that the pin is theirs, too; else it is `true`.
pub const ADOPTED_PINNED: &str = "pinned";

/// Says in which directory of its snapshotter a snapshot of ours is.
pub const DIRECTORY_LABEL: &str = "io.ociseed.directory";

/// Returns the label by which garbage collection follows a configuration to the layers' snapshots.
pub fn snapshot_label(snapshotter: &str) -> String {
    format!("containerd.io/gc.ref.snapshot.{snapshotter}")
}

/// The namespace that CRI keeps its images in.
pub const CRI_NAMESPACE: &str = "k8s.io";

/// The label by which CRI knows an image as its own.
pub const CRI_MANAGED: (&str, &str) = ("io.cri-containerd.image", "managed");

/// The label of an image that kubelet's garbage collection spares.
pub const CRI_PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");

/// An image as one namespace has it: what the names of its records follow from.
#[derive(Debug, Clone, Copy)]
pub struct NamedImage<'a> {
    /// Its own names.
    pub names: &'a [Reference],
    /// The namespace.
    pub namespace: &'a str,
    /// The digest of what the names stand for.
    pub target: &'a Digest,
    /// That of its configuration, which an index has none of.
    pub config: Option<&'a Digest>,
}

impl NamedImage<'_> {
    fn is_for_cri(&self) -> bool {
        self.namespace == CRI_NAMESPACE
    }

    /// Lists the names that CRI wants beside the image's own.
    fn by_digest(&self) -> impl Iterator<Item = String> {
        let of_target = self.names.iter().map(|name| name.with_digest(self.target).to_string());
        of_target.chain(self.config.map(ToString::to_string)).filter(|_| self.is_for_cri())
    }
}

/// Returns the names by digest that each image's records have beside its own names: in CRI's namespace
/// `<repository>@<target>`, from which CRI takes RepoDigests, and the digest of the configuration, which is CRI's image id.
///
/// No name is returned twice, or one that is an image's own. Images of one seed may share a target (and differ in the pin) or a
/// configuration (and differ in how layers are compressed), but a record has one target and one set of labels: the first image
/// has it.
pub fn names_by_digest<'a>(images: impl Iterator<Item = NamedImage<'a>> + Clone) -> Vec<Vec<String>> {
    let mut taken = BTreeSet::new();
    let own = images.clone().filter(NamedImage::is_for_cri).flat_map(|image| image.names);
    for name in own.filter(|name| name.digest().is_some()) {
        taken.insert(name.to_string());
    }
    images.map(|image| image.by_digest().filter(|name| taken.insert(name.clone())).collect()).collect()
}

/// Returns the labels of an image's records.
pub fn image_labels(namespace: &str, pin: bool, owner: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    labels.insert(OWNER_LABEL.to_owned(), owner.to_owned());
    let of_cri = [Some(CRI_MANAGED), pin.then_some(CRI_PINNED)];
    for (key, value) in of_cri.into_iter().flatten().filter(|_| namespace == CRI_NAMESPACE) {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// A blob and the labels that its record bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRecord {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Labels of its content record.
    pub labels: BTreeMap<String, String>,
}

/// Returns the records of an image's blobs, each after those that it refers to; no digest twice.
///
/// Without layers' blobs there are none of layers, and the manifest does not refer to them.
pub fn content_records(image: &LockedImage, blobs: LayerBlobs) -> Vec<ContentRecord> {
    let mut layers = Vec::new();
    for layer in image.layers.iter().filter(|_| blobs.is_all()) {
        let (media_type, digest, size) = (layer.media_type.clone(), layer.digest, layer.size);
        layers.push((BlobRef { media_type, digest, size }, Some(layer.diff_id)));
    }
    let mut records = ContentRecords::default();
    records.manifest(&image.manifest, &image.config, &layers);
    records.finish()
}

/// Collects the records of blobs in the order in which the blobs must be written.
#[derive(Debug, Default)]
pub struct ContentRecords(Vec<ContentRecord>);

impl ContentRecords {
    /// Adds a manifest with its configuration and layers; a layer's diff id where it is known.
    pub fn manifest(&mut self, manifest: &BlobRef, config: &BlobRef, layers: &[(BlobRef, Option<DiffId>)]) {
        let mut references = BTreeMap::new();
        add_reference(&mut references, "config", &config.digest);
        for (index, (layer, diff_id)) in layers.iter().enumerate() {
            let mut labels = BTreeMap::new();
            if let Some(diff_id) = diff_id.filter(|diff_id| *diff_id.digest() != layer.digest) {
                labels.insert("containerd.io/uncompressed".to_owned(), diff_id.to_string());
            }
            self.add(layer, labels);
            add_reference(&mut references, &format!("l.{index}"), &layer.digest);
        }
        self.add(config, BTreeMap::new());
        self.add(manifest, references);
    }

    /// Adds an index whose manifests were added before.
    pub fn index(&mut self, index: &BlobRef, manifests: &[BlobRef]) {
        let mut references = BTreeMap::new();
        for (number, manifest) in manifests.iter().enumerate() {
            add_reference(&mut references, &format!("m.{number}"), &manifest.digest);
        }
        self.add(index, references);
    }

    /// Returns the records.
    pub fn finish(self) -> Vec<ContentRecord> {
        self.0
    }

    fn add(&mut self, blob: &BlobRef, labels: BTreeMap<String, String>) {
        match self.0.iter_mut().find(|other| other.digest == blob.digest) {
            Some(other) => other.labels.extend(labels),
            None => self.0.push(ContentRecord { digest: blob.digest, size: blob.size, labels }),
        }
    }
}

/// Returns those of `wanted` labels that `actual` lacks or has with another value.
pub fn missing_labels(
    wanted: &BTreeMap<String, String>,
    actual: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut missing = BTreeMap::new();
    for (key, value) in wanted.iter().filter(|(key, value)| actual.get(*key) != Some(value)) {
        missing.insert(key.clone(), value.clone());
    }
    missing
}

/// Adds the label by which containerd's garbage collection follows a reference; the keys are those that containerd sets.
fn add_reference(labels: &mut BTreeMap<String, String>, what: &str, digest: &Digest) {
    labels.insert(format!("containerd.io/gc.ref.content.{what}"), digest.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(text: &str) -> BlobRef {
        BlobRef { media_type: String::new(), digest: Digest::of(text.as_bytes()), size: 1 }
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn references(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let label = |(key, text): &(&str, &str)| {
            (format!("containerd.io/gc.ref.content.{key}"), Digest::of(text.as_bytes()).to_string())
        };
        pairs.iter().map(label).collect()
    }

    #[test]
    fn only_cri_gets_its_labels() {
        let owner = (OWNER_LABEL, "A");
        let cases = [
            ("k8s.io", true, labels(&[owner, CRI_MANAGED, CRI_PINNED])),
            ("k8s.io", false, labels(&[owner, CRI_MANAGED])),
            ("moby", true, labels(&[owner])),
        ];
        for (namespace, pin, expected) in cases {
            assert_eq!(image_labels(namespace, pin, "A"), expected, "{namespace} {pin}");
        }
    }

    type Case<'a> = (&'static str, &'a [NamedImage<'a>], &'a [&'a [&'a str]]);

    #[test]
    fn only_cri_gets_names_by_digest_and_the_first_image_each() {
        let digests = ["m", "n", "c", "d"].map(|text| Digest::of(text.as_bytes()));
        let [m, n, c, d] = &digests;
        let (web_m, web_n) = (format!("r.io/web@{m}"), format!("r.io/web@{n}"));
        let own = |names: &[&str]| names.iter().map(|name| name.parse().expect("a name")).collect::<Vec<_>>();
        let tags = [own(&["r.io/web:1", "r.io/web:2"]), own(&["r.io/web:3"]), own(&["r.io/other:1"])];
        let digested = own(&["r.io/web:4", &web_m]);
        let image =
            |names, namespace, target, config| NamedImage { names, namespace, target, config: Some(config) };
        let index = NamedImage { config: None, ..image(&tags[0], "k8s.io", m, c) };
        let (id, other_id) = (c.to_string(), d.to_string());
        let none: &[&str] = &[];
        let cases: [Case<'_>; 7] = [
            ("another namespace", &[image(&tags[0], "moby", m, c)], &[none]),
            ("two names", &[image(&tags[0], "k8s.io", m, c)], &[&[&web_m, &id]]),
            ("an index", &[index], &[&[&web_m]]),
            ("its own", &[image(&digested, "k8s.io", m, c)], &[&[&id]]),
            (
                "one configuration",
                &[image(&tags[1], "k8s.io", n, c), image(&tags[0], "k8s.io", m, c)],
                &[&[&web_n, &id], &[&web_m]],
            ),
            (
                "one manifest, and the other's own name",
                &[image(&tags[0], "k8s.io", m, c), image(&digested, "k8s.io", m, c)],
                &[&[&id], none],
            ),
            (
                "in each namespace of its own",
                &[image(&tags[0], "moby", m, d), image(&tags[2], "k8s.io", n, d)],
                &[none, &[&format!("r.io/other@{n}"), &other_id]],
            ),
        ];
        for (case, images, expected) in cases {
            assert_eq!(names_by_digest(images.iter().copied()), expected, "{case}");
        }
    }

    #[test]
    fn no_image_has_the_digest_of_a_configuration_for_a_name() {
        assert!(Digest::of(b"c").to_string().parse::<Reference>().is_err());
    }

    #[test]
    fn blobs_come_after_what_they_refer_to_and_only_once() {
        let tar = DiffId::new(Digest::of(b"tar"));
        let plain = (blob("plain"), Some(DiffId::new(blob("plain").digest)));
        let layers = [(blob("a"), Some(tar)), plain, (blob("a"), Some(tar)), (blob("b"), None)];
        let mut records = ContentRecords::default();
        records.manifest(&blob("m"), &blob("c"), &layers);
        records.index(&blob("i"), &[blob("m")]);
        let records = records.finish();
        let expected = ["a", "plain", "b", "c", "m", "i"].map(|text| blob(text).digest);
        assert_eq!(records.iter().map(|record| record.digest).collect::<Vec<_>>(), expected);

        assert_eq!(records[0].labels, labels(&[("containerd.io/uncompressed", &tar.to_string())]));
        // An uncompressed layer is its own diff id; without a lock nobody says what a layer's is.
        assert!(records[1].labels.is_empty() && records[2].labels.is_empty());
        let of_manifest = [("config", "c"), ("l.0", "a"), ("l.1", "plain"), ("l.2", "a"), ("l.3", "b")];
        assert_eq!(records[4].labels, references(&of_manifest));
        assert_eq!(records[5].labels, references(&[("m.0", "m")]));
    }

    #[test]
    fn a_medium_without_layers_has_no_records_of_them() {
        let golden = include_bytes!("../../../tests/golden/format/seed.json");
        let lock = crate::lock::Lock::parse(golden).expect("the example");
        let image = &lock.content.images[0];
        let (all, some) =
            (content_records(image, LayerBlobs::All), content_records(image, LayerBlobs::Metadata));
        assert_eq!(all.len(), image.layers.len() + 2);
        let digests: Vec<_> = some.iter().map(|record| record.digest).collect();
        assert_eq!(digests, [image.config.digest, image.manifest.digest]);
        let config = image.config.digest.to_string();
        assert_eq!(some[1].labels, labels(&[("containerd.io/gc.ref.content.config", &config)]));
    }
}
