//! containerd's `meta.db`: namespaces with their images, content and snapshots.

use std::collections::BTreeMap;

use ociseed_spec::lock::{Content, LayerBlobs, LockedImage, Namespace};
use ociseed_spec::records::{self, ContentRecord, NamedImage};

use super::snapshots::Snapshots;
use super::{StoreOptions, value};
use crate::bolt::Bucket;

/// The version of the schema that containerd 1.6 and 1.7 have, and that 2.x brings to its own.
const VERSION_1: u64 = 3;
/// The one that 2.x has.
const VERSION_2: u64 = 4;

/// Makes the database of a seed.
pub(super) fn database(
    content: &Content,
    owner: &str,
    snapshots: &Snapshots<'_>,
    options: StoreOptions<'_>,
) -> Bucket {
    let mut root = Bucket::new();
    let version = root.bucket("v1");
    let newer = options.containerd.version.is_some_and(|version| version.major() >= 2);
    version.put("version", value::signed(if newer { VERSION_2 } else { VERSION_1 }));
    let snapshotter = options.containerd.snapshotter.as_str();
    let places = content.images.iter().flat_map(|image| image.namespaces.iter().map(move |ns| (image, ns)));
    let by_digest = records::names_by_digest(places.clone().map(named));
    for ((image, namespace), by_digest) in places.zip(by_digest) {
        let bucket = version.bucket(namespace.as_str());
        add_image(bucket, image, by_digest, records::image_labels(namespace.as_str(), image.pin, owner));
        add_content(bucket, image, snapshotter, options.blobs);
    }
    snapshots.add_records(version, snapshotter);
    root
}

fn named<'a>((image, namespace): (&'a LockedImage, &'a Namespace)) -> NamedImage<'a> {
    let (target, config) = (&image.manifest.digest, Some(&image.config.digest));
    NamedImage { names: &image.names, namespace: namespace.as_str(), target, config }
}

fn add_image(
    bucket: &mut Bucket,
    image: &LockedImage,
    by_digest: Vec<String>,
    labels: BTreeMap<String, String>,
) {
    for name in image.names.iter().map(ToString::to_string).chain(by_digest) {
        let record = bucket.bucket("images").bucket(name);
        add_times(record);
        add_labels(record, &labels);
        let target = record.bucket("target");
        target.put("digest", image.manifest.digest.to_string());
        target.put("mediatype", image.manifest.media_type.as_str());
        target.put("size", value::signed(image.manifest.size));
    }
}

fn add_content(bucket: &mut Bucket, image: &LockedImage, snapshotter: &str, blobs: LayerBlobs) {
    for ContentRecord { digest, size, mut labels } in records::content_records(image, blobs) {
        if digest == image.config.digest
            && let Some(top) = image.layers.last()
        {
            labels.insert(records::snapshot_label(snapshotter), top.chain_id.to_string());
        }
        // A blob of several images has the labels of all.
        let record = bucket.bucket("content").bucket("blob").bucket(digest.to_string());
        add_times(record);
        add_labels(record, &labels);
        record.put("size", value::signed(size));
    }
}

fn add_times(record: &mut Bucket) {
    record.put("createdat", value::epoch());
    record.put("updatedat", value::epoch());
}

fn add_labels(record: &mut Bucket, labels: &BTreeMap<String, String>) {
    for (name, value) in labels {
        record.bucket("labels").put(name.as_str(), value.as_str());
    }
}
