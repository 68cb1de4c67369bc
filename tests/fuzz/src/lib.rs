//! Functions that take any bytes: for cargo-fuzz (`cargo-fuzz/`) and for the property tests (`tests/`).
//!
//! Each does with bytes what the program does with a file that somebody sent.
//! They may refuse them; they may not panic, hang, or take memory that the
//! bytes do not account for. What they take must hold what the crates promise.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ociseed_image::Image;
use ociseed_media::cpio;
use ociseed_media::erofs::{self, Compression};
use ociseed_nix::{Graph, database, plan};
use ociseed_seed::bolt;
use ociseed_spec::file::{PlanPolicy, Spec};
use ociseed_spec::lock::Lock;
use ociseed_spec::metadata::ImageRecord;
use ociseed_spec::{LayerPlan, json};
use ociseed_tree::{Content, Node, Tree, deb, decompress, listing, read_archive};

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All targets by name; each has a corpus of that name.
pub const TARGETS: [(&str, Target); 9] = [
    ("tar", tar),
    ("deb", package),
    ("compressed", compressed),
    ("layout", layout),
    ("manifest", manifest),
    ("spec", spec),
    ("erofs", image),
    ("cpio", initramfs),
    ("bolt", records),
];

/// Reads a tar or compressed tar. One that is taken is the same tree after it was written and read again.
pub fn tar(bytes: &[u8]) {
    let Ok(tree) = read_tar(bytes) else { return };
    let mut written = Vec::new();
    ociseed_tree::tar::write(&tree, &mut written).expect("what was read can be written");
    let again = read_tar(&written).expect("what we write can be read");
    assert_eq!(listed(&tree), listed(&again), "written and read again it is another tree");
}

fn read_tar(bytes: &[u8]) -> Result<Tree, ()> {
    read_archive(file_of(bytes), Path::new("fuzz.tar").into(), &mut || scratch_file()).map_err(drop)
}

fn listed(tree: &Tree) -> String {
    let mut out = Vec::new();
    listing::write(tree, &mut out).expect("what was read can be listed");
    String::from_utf8(out).expect("a listing is UTF-8")
}

/// Reads a Debian package.
pub fn package(bytes: &[u8]) {
    let read = deb::read(file_of(bytes), Path::new("fuzz.deb").into(), &mut || scratch_file());
    if let Ok(package) = read {
        drop(listed(&package.tree));
    }
}

/// Decompresses, up to a limit.
pub fn compressed(bytes: &[u8]) {
    const LIMIT: u64 = 16 << 20;
    if let Ok(reader) = decompress(bytes) {
        let _ = io::copy(&mut reader.take(LIMIT), &mut io::sink());
    }
}

/// Reads an archive of an image layout: its index, and every image that it names.
pub fn layout(bytes: &[u8]) {
    let file = cap_std::fs::File::from_std(scratch_of(bytes));
    let Ok(archive) = ociseed_store::Archive::open(file, "fuzz.tar") else { return };
    for entry in archive.index() {
        let _ = archive.read_blob(&entry.blob.digest, entry.blob.size, 1 << 20);
    }
}

/// Reads documents: an image record, a manifest with a configuration behind a NUL byte, an index, a lock, a layer plan, a
/// reference graph. Of a graph that is taken every path is in one layer of any plan, and its database can be made.
pub fn manifest(bytes: &[u8]) {
    let _ = Image::parse(bytes);
    let _ = Lock::parse(bytes);
    let _ = ociseed_store::parse_index(bytes);
    let previous = LayerPlan::parse(bytes).ok();
    if let Ok(graph) = Graph::parse(bytes) {
        for policy in [PlanPolicy::Popularity, PlanPolicy::Balanced] {
            let made = plan(&graph, policy, 3, previous.as_ref());
            let planned: usize = made.layers.iter().map(BTreeSet::len).sum();
            assert_eq!(planned, graph.own().count(), "a plan lacks paths");
        }
        let _ = database(&graph);
    }
    let mut parts = bytes.splitn(2, |byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
    if let (Some(manifest), Some(config)) = (parts.next(), parts.next()) {
        let record = ImageRecord::new(ociseed_spec::media_type::MANIFEST, manifest, config);
        let _ = Image::from_record(record);
    }
}

/// Reads a spec in TOML and in JSON. One that is taken is the same after it was written and read again.
pub fn spec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for spec in [Spec::parse_toml(text), Spec::parse_json(text)].into_iter().flatten() {
        let encoded = String::from_utf8(json::encode(&spec)).expect("JSON is UTF-8");
        assert_eq!(Spec::parse_json(&encoded).expect("what we write can be read"), spec);
    }
}

/// Reads an EROFS image. One that is taken is the same tree after it was written, plainly and compressed, and read again.
pub fn image(bytes: &[u8]) {
    /// Files may share blocks, and have holes of any size.
    const LIMIT: u64 = 16 << 20;
    let read = |bytes: &[u8]| erofs::read(file_of(bytes), Path::new("fuzz.erofs"), &mut scratch_file);
    let Ok(tree) = read(bytes) else { return };
    let sizes = tree.iter().map(|(_, entry)| match &entry.node {
        Node::File(content) => content.size(),
        _ => 0,
    });
    if sizes.fold(0, u64::saturating_add) > LIMIT {
        return;
    }
    let planned = erofs::Image::plan(&tree, &|_| None, &erofs::Options::default());
    let size = planned.expect("what was read can be planned").size();
    for compression in [Compression::None, Compression::Lz4(3), Compression::Zstd(1)] {
        let file = scratch_file().expect("the system's directory for such takes files");
        let options = erofs::Options { compression, ..erofs::Options::default() };
        let written = erofs::write(&tree, &|_| None, &options, &|_| Ok(()), &file);
        assert!(written.expect("what was read can be written") <= size + 4096, "{compression:?}");
        let again = erofs::read(Arc::new(file), Path::new("again.erofs"), &mut scratch_file);
        let again = again.expect("what we write can be read");
        assert_eq!(
            listed(&tree),
            listed(&again),
            "{compression:?}: written and read again it is another tree"
        );
    }
}

/// Reads a cpio archive. One that is taken is the same tree after it was written and read again.
pub fn initramfs(bytes: &[u8]) {
    let read = |bytes: &[u8]| cpio::read(file_of(bytes), Path::new("fuzz.cpio"));
    let Ok(tree) = read(bytes) else { return };
    let mut written = Vec::new();
    let content: Content = cpio::extents(&tree).expect("what was read can be written").collect();
    content.copy_to(&mut written).expect("in memory");
    let again = read(&written).expect("what we write can be read");
    assert_eq!(listed(&tree), listed(&again), "written and read again it is another tree");
}

/// Reads a bolt file. One that is taken has the same keys after it was written and read again.
pub fn records(bytes: &[u8]) {
    let Ok(root) = bolt::decode(bytes) else { return };
    let again = bolt::decode(&bolt::encode(&root)).expect("what we write can be read");
    assert!(again == root, "written and read again it has other keys");
}

fn file_of(bytes: &[u8]) -> Arc<cap_std::fs::File> {
    Arc::new(cap_std::fs::File::from_std(scratch_of(bytes)))
}

fn scratch_of(bytes: &[u8]) -> File {
    let mut file = scratch().expect("the system's directory for such takes files");
    file.write_all(bytes).expect("and what is written to them");
    file
}

fn scratch_file() -> io::Result<cap_std::fs::File> {
    scratch().map(cap_std::fs::File::from_std)
}

/// Makes a file without a name.
fn scratch() -> io::Result<File> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(".fuzz-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}
