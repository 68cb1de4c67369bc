//! Layouts, as trees: what is in them, and their bytes.

use std::collections::BTreeMap;

use ociseed_image::{
    Carried, Descriptor, Image, MANIFEST_FILE, Named, assemble, assemble_index, docker_manifest, layout_tree,
    write_layer,
};
use ociseed_spec::file::ImageSpec;
use ociseed_spec::lock::BlobRef;
use ociseed_spec::{Compression, Digest, Reference, TreePath, media_type};
use ociseed_tree::{Builder, Claim, Content, Entry, Node, Precedence, Tree, tar};
use serde_json::{Value, json};

/// Two images with one layer each, and the content of all blobs that are in no record.
fn images(compression: Compression) -> (Vec<Image>, BTreeMap<Digest, Vec<u8>>) {
    let mut blobs = BTreeMap::new();
    let images = ["linux/amd64", "linux/arm64/v8"].map(|platform| {
        let mut builder = Builder::new();
        let path = TreePath::parse(b"platform").expect("good");
        let content = Content::bytes(platform.as_bytes());
        builder.insert(path, Entry::file(content), Claim::new(0, Precedence::Explicit));
        let mut blob = Vec::new();
        let tree = builder.finish().expect("one file");
        let layer = write_layer(&tree, compression, 1, &|_| Ok(()), &mut blob).expect("in memory");
        blobs.insert(layer.digest, blob);
        let platform = Some(platform.parse().expect("good"));
        let spec = ImageSpec { platform, ..ImageSpec::default() };
        assemble(None, &spec, &[layer]).expect("good")
    });
    (images.into(), blobs)
}

fn name(text: &str) -> Reference {
    text.parse().expect("a full name")
}

fn tree(
    named: &[Named<'_>],
    carried: &Carried,
    extra: &[(&str, Vec<u8>)],
    blobs: &BTreeMap<Digest, Vec<u8>>,
) -> Tree {
    let find = |digest: &Digest, size: u64| {
        let bytes = blobs.get(digest).ok_or(*digest)?;
        assert_eq!(bytes.len() as u64, size);
        Ok::<_, Digest>(Some(Content::bytes(bytes.as_slice())))
    };
    layout_tree(named, carried, extra, find).expect("every blob is there")
}

fn file(tree: &Tree, path: &str) -> Vec<u8> {
    let entry =
        tree.get(&TreePath::parse(path.as_bytes()).expect("good")).unwrap_or_else(|| panic!("no {path}"));
    let Node::File(content) = &entry.node else { panic!("{path}") };
    let mut bytes = Vec::new();
    content.copy_to(&mut bytes).expect("in memory");
    bytes
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.iter().filter(|(_, entry)| !entry.is_directory()).map(|(path, _)| path.to_string()).collect()
}

fn digest_of(tree: &Tree) -> String {
    let mut bytes = Vec::new();
    tar::write(tree, &mut bytes).expect("in memory");
    Digest::of(&bytes).to_string()
}

#[test]
fn an_index_brings_all_of_its_images() {
    let (images, blobs) = images(Compression::Gzip(6));
    let index = assemble_index(images.clone(), &BTreeMap::new()).expect("two platforms");
    let (all, one) = (name("example.org/all:1"), name("example.org/one:1"));
    let named = [Named::image(&one, &images[0]), Named::index(&all, &index)];
    let tree = tree(&named, &Carried::default(), &[], &blobs);
    // Manifest, configuration and layer of each, the index, and the two files of a layout.
    assert_eq!(paths(&tree).len(), 2 * 3 + 1 + 2);
    let listed: Value = serde_json::from_slice(&file(&tree, "/index.json")).expect("JSON");
    assert_eq!(listed["manifests"][0]["digest"], json!(index.blob().digest), "sorted by name");
    assert_eq!(listed["manifests"][0]["mediaType"], media_type::INDEX);
    assert_eq!(listed["manifests"][1]["annotations"]["io.containerd.image.name"], "example.org/one:1");
    assert_eq!(file(&tree, &format!("/blobs/sha256/{}", index.blob().digest.hex())), index.text().as_bytes());
    assert_eq!(digest_of(&tree), "sha256:ba83f299a4be53089daefa6a1333137fc4972a652770726da8a24b4819100226");
}

#[test]
fn referrers_come_last_sorted_and_without_names() {
    let (images, mut blobs) = images(Compression::None);
    let image_name = name("example.org/z:1");
    let mut carried = Carried::default();
    for text in ["one", "two", "three"] {
        let digest = Digest::of(text.as_bytes());
        blobs.insert(digest, text.into());
        carried.blobs.insert(digest, text.len() as u64);
        let media_type = media_type::MANIFEST.to_owned();
        let mut descriptor = Descriptor::new(BlobRef { media_type, digest, size: text.len() as u64 });
        descriptor.annotate([("kept".to_owned(), text.to_owned())]);
        carried.referrers.push(descriptor);
    }
    let tree = tree(&[Named::image(&image_name, &images[0])], &carried, &[], &blobs);
    let listed: Value = serde_json::from_slice(&file(&tree, "/index.json")).expect("JSON");
    let listed = listed["manifests"].as_array().expect("a list");
    assert_eq!(listed[0]["digest"], json!(images[0].manifest().digest));
    let digests: Vec<_> = listed[1..].iter().map(|listed| listed["digest"].as_str().expect("text")).collect();
    assert_eq!(digests.len(), 3);
    assert!(digests.is_sorted(), "{digests:?}");
    assert!(listed[1]["annotations"]["kept"].is_string());
    assert_eq!(file(&tree, &format!("/blobs/sha256/{}", Digest::of(b"two").hex())), b"two");
    assert_eq!(digest_of(&tree), "sha256:3ec5dc384e56d8de8dc20af435465ecab45fa0d0a7f652aec87b8402edaffa66");
}

#[test]
fn a_docker_archive_names_its_images_for_old_dockers() {
    let (images, blobs) = images(Compression::Gzip(6));
    let names = ["b.org/x:2", "a.org/x:1", "a.org/y:1"].map(name);
    let pinned = name(&format!("a.org/z:3@{}", images[1].manifest().digest));
    let bare = name(&format!("a.org/z@{}", images[1].manifest().digest));
    let mut named: Vec<_> = names.iter().map(|name| Named::image(name, &images[0])).collect();
    named.extend([&pinned, &bare].map(|name| Named::image(name, &images[1])));
    let manifest = docker_manifest(&named).expect("gzip is good");
    let listed: Value = serde_json::from_slice(&manifest).expect("JSON");
    let mut expected: Vec<Value> =
        [(&images[0], json!(["a.org/x:1", "a.org/y:1", "b.org/x:2"])), (&images[1], json!(["a.org/z:3"]))]
            .map(|(image, tags)| {
                let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
                let layers: Vec<_> = image.layers().iter().map(|layer| path(&layer.blob.digest)).collect();
                json!({ "Config": path(&image.config().digest), "Layers": layers, "RepoTags": tags })
            })
            .into();
    expected.sort_by_key(|image| image["Config"].to_string());
    assert_eq!(listed, Value::Array(expected));
    let tree = tree(&named, &Carried::default(), &[(MANIFEST_FILE, manifest)], &blobs);
    for image in listed.as_array().expect("a list") {
        let layers = image["Layers"].as_array().expect("a list");
        for path in layers.iter().chain([&image["Config"]]) {
            file(&tree, &format!("/{}", path.as_str().expect("text")));
        }
    }
    assert_eq!(digest_of(&tree), "sha256:eb7c1177cf32fa5070d1b8bb3cd18130573d928092534c06d8c23b11f5162dd1");
}

#[test]
fn zstd_is_refused_where_docker_could_not_read_it() {
    let (images, _) = images(Compression::Zstd(3));
    let name = name("a.org/x:1");
    let error = docker_manifest(&[Named::image(&name, &images[0])]).expect_err("zstd").to_string();
    assert!(error.starts_with("`a.org/x:1`: layer sha256:") && error.contains("zstd"), "{error}");
}

#[test]
fn a_blob_that_is_nowhere_is_an_error() {
    let (images, _) = images(Compression::None);
    let name = name("a.org/x:1");
    let missing = layout_tree(&[Named::image(&name, &images[0])], &Carried::default(), &[], |digest, _| {
        Err::<Option<Content>, _>(*digest)
    });
    assert_eq!(missing.expect_err("no blobs"), images[0].layers()[0].blob.digest);
}
