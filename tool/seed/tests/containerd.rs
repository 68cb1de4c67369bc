//! The store `containerd` of a small lock: every path, and what its databases say.

use std::collections::BTreeMap;

use ociseed_seed::bolt::{Bucket, Item, decode};
use ociseed_seed::containerd::{StoreOptions, medium_store, target_store};
use ociseed_spec::file::ContainerdOptions;
use ociseed_spec::lock::{LayerBlobs, Lock, LockedImage};
use ociseed_spec::{Digest, escape, hex};
use ociseed_tree::{Node, Tree};

fn lock() -> Lock {
    Lock::parse(include_bytes!("../../../tests/golden/format/medium-seed.json")).expect("the example")
}

fn store(options: &ContainerdOptions, blobs: LayerBlobs) -> Tree {
    let lock = lock();
    medium_store(&lock, &lock.layers, StoreOptions { containerd: options, blobs })
}

/// Links by path.
fn links(tree: &Tree) -> BTreeMap<String, String> {
    let link = |(path, entry): (&ociseed_spec::TreePath, &ociseed_tree::Entry)| match &entry.node {
        Node::Symlink(target) => Some((path.to_string(), escape(target))),
        _ => None,
    };
    tree.iter().filter_map(link).collect()
}

/// The keys of a database with the path of their buckets, and values as text, or else in hexadecimal.
fn lines(tree: &Tree, path: &str) -> Vec<String> {
    fn walk(bucket: &Bucket, above: &str, lines: &mut Vec<String>) {
        for (key, item) in bucket.iter() {
            let key = format!(
                "{above}/{}",
                if key.is_ascii() && !key.contains(&0) { escape(key) } else { hex(key) }
            );
            match item {
                Item::Value(value) if value.iter().all(u8::is_ascii_graphic) => {
                    lines.push(format!("{key}={}", escape(value)));
                }
                Item::Value(value) => lines.push(format!("{key}=0x{}", hex(value))),
                Item::Bucket(bucket) => {
                    if bucket.sequence() > 0 {
                        lines.push(format!("{key}#{}", bucket.sequence()));
                    }
                    walk(bucket, &key, lines);
                }
            }
        }
    }
    let mut lines = Vec::new();
    walk(&database(tree, path), "", &mut lines);
    lines
}

fn database(tree: &Tree, path: &str) -> Bucket {
    let Node::File(content) = &tree.get(&path.parse().expect(path)).expect(path).node else {
        panic!("{path}")
    };
    let mut bytes = Vec::new();
    content.copy_to(&mut bytes).expect("in memory");
    decode(&bytes).expect("a bolt file")
}

const META: &str = "/root/io.containerd.metadata.v1.bolt/meta.db";
const SNAPSHOTS: &str = "/root/io.containerd.snapshotter.v1.overlayfs/metadata.db";

#[test]
fn links_are_short_and_lead_to_what_they_are_for() {
    let (lock, tree) = (lock(), store(&ContainerdOptions::default(), LayerBlobs::All));
    let links = links(&tree);
    let alias = format!("io.ociseed.seed.{}", &lock.seed_id().hex()[..16]);
    let through = &links[&format!("/root/{alias}")];
    assert_eq!(*through, format!("/run/ociseed/seeds/{}/stores/containerd", lock.seed_id().hex()));
    // What ext4 keeps in an inode.
    let long = links.values().filter(|target| target.len() > 59 && *target != through);
    assert_eq!(
        long.filter(|target| target.starts_with("../../io") || target.starts_with("../../../io")).count(),
        0
    );
    for image in &lock.content.images {
        for blob in image.blobs() {
            let hex = blob.digest.hex();
            let link = &links[&format!("/root/io.containerd.content.v1.content/blobs/sha256/{hex}")];
            let number = link.strip_prefix(&format!("../../../{alias}/blobs/")).expect("through the alias");
            assert_eq!(links[&format!("/blobs/{number}")], format!("../../../blobs/sha256/{hex}"));
        }
    }
    // Of the one image's two layers and of the other's in two namespaces.
    let snapshots = lines(&tree, SNAPSHOTS);
    let ids: Vec<_> = snapshots.iter().filter(|line| line.contains("/id=0x")).collect();
    assert_eq!(ids.len(), 6);
    for line in ids {
        let (key, id) = line.rsplit_once("/id=0x").expect("an id");
        let chain = key.rsplit_once('/').expect("namespace/number/chain").1;
        let id = u8::from_str_radix(id, 16).expect("a small number");
        let link = &links[&format!("/root/io.containerd.snapshotter.v1.overlayfs/snapshots/{id}")];
        let number = link.strip_prefix(&format!("../../{alias}/layers/")).expect("through the alias");
        let tree = lock.layers[&serde_json::from_value(chain.into()).expect(chain)].tree;
        assert_eq!(
            links[&format!("/layers/{number}/fs")],
            format!("../../../../layers/sha256/{}", tree.hex())
        );
    }
}

#[test]
fn records_say_what_containerd_would_say() {
    let tree = store(&ContainerdOptions::default(), LayerBlobs::All);
    let all = [lines(&tree, META), lines(&tree, SNAPSHOTS)].concat();
    let golden = include_str!("../../../tests/golden/build/containerd-records.txt");
    assert_eq!(all.join("\n") + "\n", golden);
}

#[test]
fn a_record_that_two_images_could_have_is_the_first_ones() {
    let mut lock = lock();
    let in_cri =
        |image: &LockedImage| image.namespaces.len() == 1 && image.namespaces[0].as_str() == "k8s.io";
    let place = lock.content.images.iter().position(in_cri).expect("one of CRI alone");
    lock.content.images[place].pin = false;
    let first = lock.content.images[place].clone();
    let later =
        |name: &str| LockedImage { names: vec![name.parse().expect("a name")], pin: true, ..first.clone() };
    // One manifest that is pinned by another name; and other layers' blobs, and so another manifest, of one configuration.
    let same = later(&format!("{}-more", first.names[0]));
    let mut other = later("zz.io/other:1");
    other.manifest.digest = Digest::of(b"other");
    lock.content.images.extend([same, other.clone()]);
    let options = ContainerdOptions::default();
    let options = StoreOptions { containerd: &options, blobs: LayerBlobs::All };
    let lines = lines(&medium_store(&lock, &lock.layers, options), META);
    let by_digest = |image: &LockedImage| image.names[0].with_digest(&image.manifest.digest).to_string();
    let cases =
        [(first.config.digest.to_string(), &first), (by_digest(&first), &first), (by_digest(&other), &other)];
    for (name, image) in cases {
        let record = format!("/v1/k8s.io/images/{name}");
        let target = format!("{record}/target/digest={}", image.manifest.digest);
        let pin = format!("{record}/labels/io.cri-containerd.pinned=pinned");
        assert_eq!((lines.contains(&target), lines.contains(&pin)), (true, image.pin), "{name}");
    }
}

#[test]
fn directories_and_files_have_the_modes_that_containerd_gives_them() {
    let (lock, options) = (lock(), ContainerdOptions::default());
    let tree = target_store(&lock, StoreOptions { containerd: &options, blobs: LayerBlobs::All });
    let root = options.root.to_string();
    let snapshotter = format!("{root}/io.containerd.snapshotter.v1.overlayfs");
    let rule = format!("/usr/lib/tmpfiles.d/ociseed-{}.conf", &lock.seed_id().hex()[..16]);
    let cases = [
        (root.clone(), 0o711),
        (format!("{root}/io.containerd.content.v1.content/blobs/sha256"), 0o755),
        (format!("{root}/io.containerd.metadata.v1.bolt"), 0o711),
        (format!("{root}/io.containerd.metadata.v1.bolt/meta.db"), 0o644),
        (snapshotter.clone(), 0o700),
        (format!("{snapshotter}/snapshots"), 0o700),
        (format!("{snapshotter}/metadata.db"), 0o600),
        (rule, 0o644),
    ];
    for (path, mode) in cases {
        let entry = tree.get(&path.parse().expect("a path")).expect(&path);
        assert_eq!(entry.stat.mode.bits(), mode, "{path}");
    }
}

#[test]
fn without_parents_there_is_an_empty_bucket_for_them() {
    let mut lock = lock();
    lock.content.images.iter_mut().for_each(|image| image.layers.truncate(1));
    let options = ContainerdOptions::default();
    let options = StoreOptions { containerd: &options, blobs: LayerBlobs::All };
    let tree = medium_store(&lock, &lock.layers, options);
    let database = database(&tree, SNAPSHOTS);
    let parents = database.child(b"v1").and_then(|version| version.child(b"parents"));
    assert!(parents.is_some_and(Bucket::is_empty));
}

#[test]
fn options_and_blobs_change_what_they_should() {
    let with = |text: &str, blobs| store(&serde_json::from_str(text).expect(text), blobs);
    let version = |text: &str| lines(&with(text, LayerBlobs::All), META).pop().expect("the last key");
    assert_eq!(version("{}"), "/v1/version=0x06");
    assert_eq!(version(r#"{"version":"1.7"}"#), "/v1/version=0x06");
    assert_eq!(version(r#"{"version":"2.0"}"#), "/v1/version=0x08");

    let (all, some) = (with("{}", LayerBlobs::All), with("{}", LayerBlobs::Metadata));
    let blobs = |tree: &Tree| {
        links(tree).keys().filter(|path| path.starts_with("/blobs/")).cloned().collect::<Vec<_>>()
    };
    // Manifests and configurations have the numbers that they have with layers beside them.
    assert!(blobs(&some).iter().all(|number| blobs(&all).contains(number)));
    assert_eq!((blobs(&all).len(), blobs(&some).len()), (7, 4));
    let layers =
        |tree: &Tree| lines(tree, META).iter().filter(|line| line.contains("gc.ref.content.l.")).count();
    assert_eq!((layers(&all), layers(&some)), (6, 0));
    let snapshots = |tree: &Tree| lines(tree, SNAPSHOTS);
    assert_eq!(snapshots(&all), snapshots(&some));
}

#[test]
fn a_target_has_it_at_its_root_with_the_rule_for_its_link() {
    let lock = lock();
    let options: ContainerdOptions =
        serde_json::from_str(r#"{"root":"/data/containerd","seed-dir":"/opt/100%/seed"}"#).expect("good");
    let tree = target_store(&lock, StoreOptions { containerd: &options, blobs: LayerBlobs::All });
    let hex = lock.seed_id().hex();
    let rule = tree.get(&format!("/usr/lib/tmpfiles.d/ociseed-{}.conf", &hex[..16]).parse().expect("a path"));
    let Node::File(content) = &rule.expect("there").node else { panic!("a file") };
    let expected = format!("L /run/ociseed/seeds/{hex} - - - - /opt/100%%/seed\n");
    assert_eq!(Digest::of(expected.as_bytes()), ociseed_tree::listing::digest(content).expect("in memory"));
    let medium = store(&options, LayerBlobs::All);
    let below = |tree: &Tree, path: &str| {
        let tree = tree.within(&path.parse().expect(path)).expect(path);
        let mut listing = Vec::new();
        ociseed_tree::listing::write(&tree, &mut listing).expect("in memory");
        listing
    };
    assert_eq!(below(&tree, "/data/containerd"), below(&medium, "/root"));
}
