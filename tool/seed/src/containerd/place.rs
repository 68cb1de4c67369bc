//! Where the parts of the store lie: in a medium, and on a target.

use std::collections::BTreeMap;

use ociseed_spec::containerd_root::{self, Numbers};
use ociseed_spec::lock::{Engine, Lock, LockedImage, UnpackedLayer};
use ociseed_spec::{ChainId, Digest, FileMode, TreePath, records};
use ociseed_tree::{Builder, Claim, Content, Entry, Precedence, Tree};

use super::snapshots::Snapshots;
use super::{StoreOptions, metadata};
use crate::bolt;

/// The modes that containerd gives its directories and files.
mod mode {
    pub(super) const ROOT: u16 = 0o711;
    pub(super) const PLUGIN: u16 = 0o711;
    pub(super) const SNAPSHOTS: u16 = 0o700;
    pub(super) const SNAPSHOTS_FILE: u16 = 0o600;
}

/// Makes what lies below `stores/containerd` in a medium.
pub fn medium_store(
    lock: &Lock,
    layers: &BTreeMap<ChainId, UnpackedLayer>,
    options: StoreOptions<'_>,
) -> Tree {
    let mut files = Files::default();
    root(&mut files, lock, options, containerd_root::SKELETON);
    let numbers = Numbers::of(&lock.content);
    let there = blobs(lock, options);
    for (digest, &number) in numbers.blobs.iter().filter(|(digest, _)| there.contains_key(digest)) {
        files.link(containerd_root::blob(number), format!("../../../blobs/sha256/{}", digest.hex()));
    }
    for (chain, &number) in &numbers.layers {
        let tree = layers[chain].tree.hex();
        files.link(
            format!("{}/fs", containerd_root::layer(number)),
            format!("../../../../layers/sha256/{tree}"),
        );
    }
    files.finish()
}

/// Makes what a target has of the store, from its root on: containerd's root, and the rule by which its links lead to the seed.
pub fn target_store(lock: &Lock, options: StoreOptions<'_>) -> Tree {
    let mut files = Files::default();
    let place = |path: &TreePath| String::from_utf8_lossy(path.as_bytes()).into_owned();
    let containerd = options.containerd;
    let root_path = place(&containerd.root);
    root(&mut files, lock, options, &root_path);
    files.directory(root_path, mode::ROOT);
    let (seed_id, seed) = (lock.seed_id(), place(&containerd.seed_dir));
    // Its specifiers begin with a percent sign.
    let rule = format!("L {} - - - - /{}\n", containerd_root::seed_link(&seed_id), seed.replace('%', "%%"));
    let name = format!("usr/lib/tmpfiles.d/ociseed-{}.conf", containerd_root::short(&seed_id));
    files.file(name, rule.into_bytes(), 0o644);
    files.finish()
}

/// Adds containerd's root at `at`.
fn root(files: &mut Files, lock: &Lock, options: StoreOptions<'_>, at: &str) {
    let (numbers, snapshots) = (Numbers::of(&lock.content), Snapshots::of(&lock.content));
    let seed_id = lock.seed_id();
    let alias = containerd_root::alias(&seed_id);
    let seed = containerd_root::seed_link(&seed_id);
    files.link(format!("{at}/{alias}"), format!("{seed}/{}", Engine::Containerd.place()));

    for digest in blobs(lock, options).keys() {
        let target = containerd_root::blob_target(&alias, numbers.blobs[digest]);
        files.link(format!("{at}/{}/{}", containerd_root::BLOBS, digest.hex()), target);
    }

    let database = metadata::database(&lock.content, &seed_id.to_string(), &snapshots, options);
    let metadata = format!("{at}/{}", containerd_root::METADATA);
    files.directory(metadata.clone(), mode::PLUGIN);
    let file = format!("{metadata}/{}", containerd_root::METADATA_FILE);
    files.file(file, bolt::encode(&database), 0o644);

    let snapshotter = containerd_root::snapshotter(options.containerd.snapshotter.as_str());
    let snapshotter = format!("{at}/{snapshotter}");
    files.directory(snapshotter.clone(), mode::SNAPSHOTS);
    files.directory(format!("{snapshotter}/snapshots"), mode::SNAPSHOTS);
    let database = bolt::encode(&snapshots.database());
    files.file(format!("{snapshotter}/metadata.db"), database, mode::SNAPSHOTS_FILE);
    for (id, snapshot) in snapshots.with_ids() {
        let target = containerd_root::snapshot_target(&alias, numbers.layers[&snapshot.chain]);
        files.link(format!("{snapshotter}/snapshots/{id}"), target);
    }
}

/// Returns the blobs that the medium has.
fn blobs(lock: &Lock, options: StoreOptions<'_>) -> BTreeMap<Digest, u64> {
    let records = |image: &LockedImage| records::content_records(image, options.blobs);
    let records = lock.content.images.iter().flat_map(records);
    records.map(|record| (record.digest, record.size)).collect()
}

/// Collects paths, none of which contradicts another.
#[derive(Default)]
struct Files(Builder);

impl Files {
    fn add(&mut self, path: String, entry: Entry) {
        let path = TreePath::parse(path.as_bytes()).expect("names of the store are good paths");
        self.0.insert(path, entry, Claim::new(0, Precedence::Explicit));
    }

    fn link(&mut self, path: String, target: String) {
        self.add(path, Entry::symlink(target.into_bytes()));
    }

    fn directory(&mut self, path: String, mode: u16) {
        let mut entry = Entry::directory();
        entry.stat.mode = FileMode::new(mode);
        self.add(path, entry);
    }

    fn file(&mut self, path: String, bytes: Vec<u8>, mode: u16) {
        let mut entry = Entry::file(Content::bytes(bytes));
        entry.stat.mode = FileMode::new(mode);
        self.add(path, entry);
    }

    fn finish(self) -> Tree {
        self.0.finish().expect("every path of the store is there once")
    }
}
