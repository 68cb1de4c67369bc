//! The medium form of seeds, and what `verify` says of one that is not what its lock says.

use std::collections::BTreeMap;
use std::sync::Arc;

use ociseed_image::{assemble, write_layer};
use ociseed_seed::Seed;
use ociseed_seed::medium::{Medium, MediumForm, MediumOptions, Unpacked, verify_medium};
use ociseed_seed::verify::Findings;
use ociseed_spec::file::{BaseSpec, ImageSpec, SeedSpec};
use ociseed_spec::lock::{Engine, Lock};
use ociseed_spec::{Compression, Digest, FileMode, Timestamp, TreePath};
use ociseed_tree::testing::{directory, file, path, tree};
use ociseed_tree::{Builder, Claim, Content, Entry, Node, Precedence, Tree, listing};

fn later(mut entry: Entry) -> Entry {
    entry.stat.mtime = Timestamp::new(5, 7);
    entry
}

/// A layer as a tar would be read, which knows what it does not list: made of a directory's parent.
fn layers() -> BTreeMap<&'static str, Tree> {
    BTreeMap::from([
        ("private", tree([("/var/x", directory(0o700)), ("/a", later(file("a")))])),
        ("open", tree([("/var/x", directory(0o755)), ("/a", file("a"))])),
        ("top", tree([("/var/x/f", file("f")), ("/gone", Entry::whiteout()), ("/a", Entry::whiteout())])),
        ("same", tree([("/z", file("z"))])),
    ])
}

/// A seed, and where its layers are.
struct Made {
    spec: SeedSpec,
    seed: Seed,
    blobs: BTreeMap<Digest, Vec<u8>>,
    unpacked: BTreeMap<Digest, Arc<Unpacked>>,
}

/// A seed of two images with the same two layers over different bases.
fn seed(spec: &str) -> Made {
    let spec: SeedSpec = serde_json::from_str(spec).expect(spec);
    let (mut blobs, mut unpacked, mut metadata) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (name, tree) in layers() {
        let mut blob = Vec::new();
        let made = write_layer(&tree, Compression::None, 1, &|_| Ok(()), &mut blob).expect("in memory");
        let digests = tree.iter().filter_map(|(path, entry)| match &entry.node {
            Node::File(content) => Some((path.clone(), listing::digest(content).expect("in memory"))),
            _ => None,
        });
        let digests = digests.collect();
        unpacked.insert(made.digest, Arc::new(Unpacked { tree, digests }));
        blobs.insert(made.digest, blob);
        metadata.insert(name, made);
    }
    let image = |layers: [&str; 3]| {
        let layers = layers.map(|name| metadata[name].clone());
        let table = ImageSpec { base: None::<BaseSpec>, ..ImageSpec::default() };
        assemble(None, &table, &layers).expect("good")
    };
    let images =
        BTreeMap::from([("one", image(["private", "top", "same"])), ("two", image(["open", "top", "same"]))]);
    let seed = Seed::new(&spec, |key| Ok::<_, ()>(images[key.as_str()].clone())).expect("good");
    Made { spec, seed, blobs, unpacked }
}

const SPEC: &str = r#"{"stores":["archives"],"image":[
    {"image":"one","name":"example.org/one:1"},{"image":"two","name":"example.org/two:1"}]}"#;

fn form(spec: &str) -> MediumForm {
    form_with(spec, false)
}

fn form_with(spec: &str, whole_seconds: bool) -> MediumForm {
    let Made { spec, seed, blobs, unpacked } = seed(spec);
    let options = MediumOptions { spec: &spec, whole_seconds };
    let form = seed.medium_form(
        options,
        |layer| Ok::<_, ()>(Arc::clone(&unpacked[&layer.digest])),
        |digest, _| Ok(Content::bytes(blobs[digest].as_slice())),
    );
    form.expect("good")
}

fn problems(tree: Tree) -> Vec<String> {
    let medium = Medium::of(tree, "a medium".to_owned()).expect("readable").expect("a seed is in it");
    let mut findings = Findings::default();
    verify_medium(&medium, &medium, &mut findings);
    findings.problems
}

/// Replaces, adds or removes one path of a tree.
fn changed(tree: &Tree, at: &str, entry: Option<Entry>) -> Tree {
    let mut builder = Builder::new();
    for (path, entry) in tree.iter().filter(|(path, _)| **path != self::path(at)) {
        builder.insert(path.clone(), entry.clone(), Claim::new(0, Precedence::Explicit));
    }
    if let Some(entry) = entry {
        builder.insert(path(at), entry, Claim::new(1, Precedence::Explicit));
    }
    builder.finish().expect("no conflict")
}

#[test]
fn a_layer_has_a_tree_for_each_base_and_equal_trees_are_there_once() {
    let form = form(SPEC);
    let lock = Lock::parse(&form.lock.encode()).expect("good");
    let chains: Vec<Vec<_>> = lock
        .content
        .images
        .iter()
        .map(|image| image.layers.iter().map(|layer| lock.layers[&layer.chain_id].tree).collect())
        .collect();
    assert_ne!(chains[0][0], chains[1][0], "the bases differ");
    assert_ne!(chains[0][1], chains[1][1], "so does what the layer over them does not list");
    assert_eq!(chains[0][2], chains[1][2], "nothing is left unsaid here");
    let modes = [0, 1].map(|image: usize| {
        let top = form.tree.within(&path(&format!("/layers/sha256/{}", chains[image][1].hex())));
        let top = top.expect("there");
        let kinds: Vec<_> =
            top.iter().map(|(path, entry)| (path.to_string(), listing::kind(&entry.node))).collect();
        let expected = [
            ("/a", "char"),
            ("/gone", "char"),
            ("/var", "directory"),
            ("/var/x", "directory"),
            ("/var/x/f", "file"),
        ];
        assert_eq!(kinds, expected.map(|(path, kind)| (path.to_owned(), kind)));
        top.get(&path("/var/x")).expect("there").stat.mode.bits()
    });
    assert_eq!(modes, [0o700, 0o755]);
    assert_eq!(
        form.tree
            .within(&path("/layers/sha256"))
            .expect("there")
            .iter()
            .filter(|(path, _)| path.parent().is_none_or(|above| above.is_root()))
            .count(),
        5
    );
    assert_eq!(problems(form.tree), [""; 0]);
}

#[test]
fn whole_seconds_are_cut_before_digests_are_taken() {
    let (whole, exact) = (form_with(SPEC, true), form(SPEC));
    assert_eq!(whole.lock.seed_id(), exact.lock.seed_id());
    let times = |form: &MediumForm| {
        let times = form.tree.iter().map(|(_, entry)| entry.stat.mtime.to_string());
        times.filter(|time| time != "0").collect::<Vec<_>>()
    };
    assert_eq!((times(&whole), times(&exact)), (vec!["5".to_owned()], vec!["5.000000007".to_owned()]));
    assert_eq!(problems(whole.tree), [""; 0]);
}

#[test]
fn a_seed_has_one_id_in_both_forms() {
    let seed = seed(SPEC).seed;
    let form = form(SPEC);
    assert_eq!(form.lock.seed_id(), seed.lock().seed_id());
    assert_ne!(form.lock.encode(), seed.lock().encode());
}

#[test]
fn layers_blobs_may_be_left_out() {
    let whole = form(SPEC);
    let form = form(&SPEC.replace("\"stores\":[\"archives\"]", "\"blobs\":\"metadata\""));
    let blobs = |form: &MediumForm| form.tree.within(&path("/blobs/sha256")).expect("there").len();
    assert_eq!((blobs(&whole), blobs(&form)), (8, 4));
    assert!(form.lock.medium.expect("said").size < whole.lock.medium.expect("said").size);
    let sum = |form: &MediumForm| {
        let files = form.digests.iter().filter(|(path, _)| path.as_bytes() != b"seed.json");
        let size = |(path, digest): (&TreePath, &Digest)| match &form.tree.get(path).expect("there").node {
            Node::File(content) => (*digest, content.size()),
            _ => panic!("`{path}` is no file"),
        };
        files.map(size).collect::<BTreeMap<_, _>>().values().sum::<u64>()
    };
    assert_eq!(
        (form.lock.medium.expect("said").size, whole.lock.medium.expect("said").size),
        (sum(&form), sum(&whole))
    );
    assert_eq!(problems(form.tree), [""; 0]);
}

#[test]
fn whatever_is_not_as_the_lock_says_is_named() {
    let form = form(SPEC);
    let lock = &form.lock;
    let image = &lock.content.images[0];
    let layer =
        |index: usize| format!("/layers/sha256/{}", lock.layers[&image.layers[index].chain_id].tree.hex());
    let blob = format!("/blobs/sha256/{}", image.layers[0].digest.hex());
    let manifest = format!("/blobs/sha256/{}", image.manifest.digest.hex());
    let archive = "/stores/archives/k8s.io/one.tar";
    let text = |at: &str| {
        let Node::File(content) = &form.tree.get(&path(at)).expect(at).node else {
            panic!("`{at}` is no file")
        };
        let mut bytes = Vec::new();
        content.copy_to(&mut bytes).expect("in memory");
        bytes
    };
    let flipped = |at: &str| {
        let mut bytes = text(at);
        *bytes.last_mut().expect("not empty") ^= 1;
        Some(Entry::file(Content::bytes(bytes)))
    };
    let spaced = || {
        let mut bytes = text("/seed.json");
        bytes.push(b'\n');
        Some(Entry::file(Content::bytes(bytes)))
    };
    let indented = || Some(Entry::file(Content::bytes([b"{ ", &text("/index.json")[1..]].concat())));
    let mut private = file("f");
    private.stat.mode = FileMode::new(0o600);
    let cases: Vec<(String, Option<Entry>, &str)> = vec![
        (format!("{}/var/x/f", layer(1)), Some(file("g")), "expected the tree digest"),
        (format!("{}/var/x/f", layer(1)), Some(private.clone()), "expected the tree digest"),
        (format!("{}/var/x/f", layer(1)), None, "expected the tree digest"),
        (format!("{}/more", layer(1)), Some(file("f")), "expected the tree digest"),
        (format!("{}/gone", layer(1)), Some(file("")), "expected the tree digest"),
        (format!("{}/var/x", layer(0)), Some(directory(0o755)), "expected the tree digest"),
        (layer(0), Some(directory(0o700)), "is not a plain"),
        (blob.clone(), flipped(&blob), "expected this digest"),
        (blob.clone(), None, "is not in a medium"),
        (manifest.clone(), flipped(&manifest), "expected this digest"),
        (archive.to_owned(), flipped(archive), "`/stores/archives/k8s.io/one.tar`: expected sha256:"),
        (archive.to_owned(), None, "`/stores/archives/k8s.io/one.tar` is not there"),
        ("/stores/archives/k8s.io/more.tar".to_owned(), Some(file("x")), "more.tar` is not in the lock"),
        ("/stores/docker/x".to_owned(), Some(file("x")), "`/stores/docker` is not in the lock"),
        ("/layers/sha256/more".to_owned(), Some(file("x")), "`/layers/sha256/more` is not in the lock"),
        ("/more".to_owned(), Some(file("x")), "`/more` is not in the lock"),
        ("/oci-layout".to_owned(), Some(private), "`/oci-layout` is not a plain"),
        (
            "/oci-layout".to_owned(),
            Some(file(r#"{"imageLayoutVersion":"1.0.0" }"#)),
            "`/oci-layout` has other",
        ),
        ("/index.json".to_owned(), indented(), "not the bytes that follow"),
        ("/blobs/sha256/more".to_owned(), Some(file("x")), "`/blobs/sha256/more` is no blob"),
        ("/seed.json".to_owned(), spaced(), "not in canonical form"),
    ];
    for (at, entry, expected) in cases {
        let found = problems(changed(&form.tree, &at, entry));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{at}: {found:?}");
    }
    let said = |change: &dyn Fn(&mut Lock), expected: &str| {
        let mut lock = form.lock.clone();
        change(&mut lock);
        let found =
            problems(changed(&form.tree, "/seed.json", Some(Entry::file(Content::bytes(lock.encode())))));
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    };
    said(&|lock| lock.medium.as_mut().expect("said").size += 1, "`medium.size`");
    said(&|lock| lock.medium.as_mut().expect("said").copied += 1, "`medium.copied`");
    let archives = |lock: &mut Lock| {
        let store = lock.stores.values_mut().next().expect("one");
        store.files.values_mut().next().expect("one").size += 1;
    };
    said(&archives, "bytes, found");
}

const CONTAINERD: &str = "/stores/containerd/root/io.containerd.";

fn with_containerd() -> MediumForm {
    let options = r#""stores":["archives","containerd"],"containerd":{"root":"/data/c"}"#;
    form(&SPEC.replace(r#""stores":["archives"]"#, options))
}

#[test]
fn what_a_store_has_beside_the_bytes_of_files_is_checked_too() {
    let tree = with_containerd().tree;
    assert_eq!(problems(tree.clone()), [""; 0]);
    let link = |target: &str| Some(Entry::symlink(target.as_bytes().to_vec()));
    let public = |at: &str| {
        let mut entry = tree.get(&path(at)).expect(at).clone();
        entry.stat.mode = FileMode::new(0o777);
        Some(entry)
    };
    let (snapshots, database) = (
        format!("{CONTAINERD}snapshotter.v1.overlayfs/snapshots"),
        format!("{CONTAINERD}metadata.v1.bolt/meta.db"),
    );
    let cases = [
        (format!("{snapshots}/1"), link("elsewhere")),
        (format!("{snapshots}/1"), None),
        (format!("{snapshots}/100"), link("elsewhere")),
        ("/stores/containerd/blobs/0".to_owned(), link("../../../blobs/sha256/other")),
        (format!("{CONTAINERD}metadata.v1.bolt"), public(&format!("{CONTAINERD}metadata.v1.bolt"))),
        (database.clone(), public(&database)),
    ];
    for (at, entry) in cases {
        let found = problems(changed(&tree, &at, entry));
        let named = |problem: &String| problem.starts_with("`/stores/containerd`: expected the tree digest");
        assert!(found.len() == 1 && named(&found[0]), "{at}: {found:?}");
    }
}

#[test]
fn the_lock_says_what_a_store_is_and_what_is_copied_of_it() {
    let form = with_containerd();
    let store = &form.lock.stores[&Engine::Containerd];
    let size = |name: &String| match &form
        .tree
        .get(&path(&format!("/stores/containerd/{name}")))
        .expect(name)
        .node
    {
        Node::File(content) => content.size(),
        _ => panic!("`{name}` is no file"),
    };
    let sizes: Vec<u64> = store.files.keys().map(size).collect();
    assert_eq!(store.files.values().map(|file| file.size).collect::<Vec<_>>(), sizes);
    // The files of the archives are not copied.
    assert_eq!(form.lock.medium.expect("said").copied, sizes.iter().sum::<u64>());
    let root = store.options.root.as_ref().map(ToString::to_string);
    let snapshotter = store.options.snapshotter.as_ref().map(|name| name.as_str());
    assert_eq!((root.as_deref(), snapshotter), (Some("/data/c"), Some("overlayfs")));
}

#[test]
fn locks_whose_layers_are_others_are_refused() {
    let form = form(SPEC);
    let chain = *form.lock.layers.keys().next().expect("some");
    let mut fewer = form.lock.clone();
    fewer.layers.remove(&chain);
    let mut host = form.lock.clone();
    host.medium = None;
    let mut stores = host.clone();
    stores.layers.clear();
    for (lock, expected) in
        [(fewer, "is not in `layers`"), (host, "of no image"), (stores, "`stores` without")]
    {
        let error = Lock::parse(&lock.encode()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
