//! Archives of `docker save` and of its likenesses, written as those programs write them.

use std::io::Read;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::{Digest, media_type};
use ociseed_store::{Archive, ArchiveError, BlobError, DockerError, Place, Source};
use serde_json::{Value, json};

/// What goes into a tar, in order.
enum Member<'a> {
    File(&'a str, Vec<u8>),
    Symlink(&'a str, &'a str),
    Hardlink(&'a str, &'a str),
}
use Member::{File, Hardlink, Symlink};

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        match member {
            File(path, bytes) => {
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, path, bytes.as_slice())
            }
            Symlink(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, path, target)
            }
            Hardlink(path, target) => {
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                builder.append_link(&mut header, path, target)
            }
        }
        .expect("in memory");
    }
    builder.into_inner().expect("in memory")
}

fn open(name: &str, members: &[Member<'_>]) -> Result<Archive, ArchiveError> {
    let path = scratch(name);
    let dir = Dir::open_ambient_dir(path.parent().expect("it has one"), ambient_authority()).expect("there");
    dir.write(name, tar(members)).expect("written");
    Archive::open(dir.open(name).expect("just written"), name)
}

fn config(diff_ids: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = diff_ids.iter().map(|tar| Digest::of(tar)).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }).to_string().into_bytes()
}

fn list(images: Value) -> Member<'static> {
    File("manifest.json", images.to_string().into_bytes())
}

fn document(archive: &Archive, digest: &Digest, size: u64) -> Value {
    serde_json::from_slice(&archive.read_blob(digest, size, 1 << 20).expect("good")).expect("JSON")
}

#[test]
fn layers_by_id_shared_through_links() {
    let (one, two) = (tar(&[File("one", b"1".to_vec())]), tar(&[File("two", b"2".to_vec())]));
    let config = config(&[&one, &two, &one]);
    let hex = Digest::of(&config).hex().to_string();
    let config_name = format!("{hex}.json");
    // As Docker 20.10 wrote it: a directory a layer, the config by its digest, symbolic links for what repeats.
    let members = [
        File("aa/VERSION", b"1.0".to_vec()),
        File("aa/layer.tar", one.clone()),
        File("bb/layer.tar", two.clone()),
        Symlink("aa/again.tar", "./layer.tar"),
        Symlink("cc/layer.tar", "../aa/again.tar"),
        File(&config_name, config.clone()),
        list(json!([{
            "Config": config_name,
            "RepoTags": ["debian:13", "example.org/x:1"],
            "Layers": ["aa/layer.tar", "bb/layer.tar", "cc/layer.tar"],
        }])),
        File("repositories", b"{}".to_vec()),
    ];
    let archive = open("by-id.tar", &members).expect("good");
    let names: Vec<_> = archive.index().iter().map(|entry| entry.name().expect("named")).collect();
    assert_eq!(names, ["docker.io/library/debian:13", "example.org/x:1"], "familiar names are full here");
    let manifest = &archive.index()[0].blob;
    assert_eq!(manifest.media_type, media_type::MANIFEST);
    let layer = |tar: &[u8]| json!({ "mediaType": media_type::LAYER_TAR, "digest": Digest::of(tar), "size": tar.len() });
    let expected = json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": { "mediaType": media_type::CONFIG, "digest": Digest::of(&config), "size": config.len() },
        "layers": [layer(&one), layer(&two), layer(&one)],
    });
    assert_eq!(document(&archive, &manifest.digest, manifest.size), expected);
    // Manifest, configuration and the two layers; each is what it should be, and found where it lies.
    let blobs = Source::blobs(&archive).expect("listed");
    assert_eq!(blobs.len(), 4);
    for (digest, size) in blobs {
        archive.read_blob(&digest, size, 1 << 20).expect("good");
    }
    assert!(matches!(archive.find(&Digest::of(&one)), Some(Place::Range { offset, size, .. })
        if tar(&members)[offset as usize..][..size as usize] == one));
    assert!(matches!(archive.find(&manifest.digest), Some(Place::Bytes(_))));
    assert!(archive.find(&Digest::of(b"nothing")).is_none());
}

#[test]
fn layers_by_digest_compressed_and_hard_linked() {
    let (one, two) = (tar(&[File("one", b"1".to_vec())]), tar(&[File("two", b"2".to_vec())]));
    // Nobody decompresses these here: the first bytes tell, and the digest is that of all of them.
    let (gzip, zstd) = ([b"\x1f\x8b\x08", &*one].concat(), [b"\x28\xb5\x2f\xfd", &*two].concat());
    let config = config(&[&one, &two, &one]);
    let images = json!([
        { "Config": "config.json", "RepoTags": null, "Layers": ["x/a.tar.gz", "b", "c/layer.tar"] },
        { "Config": "config.json", "RepoTags": ["<none>:<none>"], "Layers": ["x/a.tar.gz", "b", "/c/layer.tar"] },
    ]);
    // Absolute paths are no paths of an archive, so the second image is not there.
    let members = |images: Value| {
        [
            list(images),
            File("config.json", config.clone()),
            File("x/a.tar.gz", gzip.clone()),
            File("b", zstd.clone()),
            Hardlink("c/layer.tar", "x/a.tar.gz"),
        ]
    };
    let missing = open("by-digest-missing.tar", &members(images.clone()));
    assert!(
        matches!(missing, Err(ArchiveError::Docker { source: DockerError::Missing(path), .. }) if path == "/c/layer.tar")
    );
    let archive = open("by-digest.tar", &members(json!([images[0]]))).expect("good");
    assert_eq!(archive.index().len(), 1);
    assert_eq!(archive.index()[0].name(), None);
    let manifest = &archive.index()[0].blob;
    let layers = &document(&archive, &manifest.digest, manifest.size)["layers"];
    for (number, media_type, bytes) in [
        (0, media_type::LAYER_TAR_GZIP, &gzip),
        (1, media_type::LAYER_TAR_ZSTD, &zstd),
        (2, media_type::LAYER_TAR_GZIP, &gzip),
    ] {
        let expected = json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() });
        assert_eq!(layers[number], expected);
    }
    assert_eq!(archive.read_blob(&Digest::of(&gzip), gzip.len() as u64, 1 << 20).expect("good"), gzip);
}

#[test]
fn an_image_layout_wins_over_what_is_beside_it() {
    let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string().into_bytes();
    let blob = format!("blobs/sha256/{}", Digest::of(b"blob").hex());
    let link = format!("blobs/sha256/{}", Digest::of(b"linked").hex());
    let members = [
        list(json!([{ "Config": "nothing" }])),
        File("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        File("index.json", index.clone()),
        File(&blob, b"blob".to_vec()),
        Hardlink(&link, &blob),
    ];
    let archive = open("both.tar", &members).expect("good");
    assert_eq!(archive.index_text(), index);
    assert!(archive.index().is_empty());
    assert_eq!(archive.read_blob(&Digest::of(b"blob"), 4, 100).expect("good"), b"blob");
    let wrong = archive.read_blob(&Digest::of(b"linked"), 4, 100);
    assert!(
        matches!(wrong, Err(BlobError::Digest { .. })),
        "links are followed, and what they lead to is checked"
    );
}

#[test]
fn damage_is_found_when_it_is_read() {
    let one = tar(&[File("one", b"1".to_vec())]);
    let mut damaged = one.clone();
    damaged[512] ^= 1;
    let image = json!([{ "Config": "c", "Layers": ["l"] }]);
    let archive = open("damaged.tar", &[list(image), File("c", config(&[&one])), File("l", damaged)]);
    let archive = archive.expect("nothing was read yet");
    let mut bytes = Vec::new();
    let error =
        archive.open_blob(&Digest::of(&one), one.len() as u64).expect("there").read_to_end(&mut bytes);
    assert!(error.expect_err("another digest").to_string().contains("expected this digest"));
}

#[test]
fn mistakes_are_named() {
    let layer = tar(&[File("one", b"1".to_vec())]);
    let good = config(&[&layer]);
    let image = || list(json!([{ "Config": "c", "Layers": ["l"] }]));
    let zeros = "0".repeat(64);
    let wrong_name = format!("blobs/sha256/{zeros}");
    let cases: Vec<(Vec<Member<'_>>, &str)> = vec![
        (vec![File("a", vec![])], "`mistake.tar` is no OCI archive: it has no `oci-layout`"),
        (vec![File("manifest.json", b"[".to_vec())], "`manifest.json` is not valid"),
        (vec![list(json!([]))], "`manifest.json` names no image"),
        (vec![list(json!([{ "RepoTags": [] }]))], "`manifest.json` is not valid"),
        (vec![image(), File("l", layer.clone())], "`manifest.json` names `c`, which is not in the archive"),
        (vec![image(), File("c", good.clone())], "`manifest.json` names `l`, which is not in the archive"),
        (
            vec![image(), File("c", good.clone()), Symlink("l", "m"), Symlink("m", "l")],
            "`manifest.json` names `l`, which is not in the archive",
        ),
        (vec![image(), File("c", b"3".to_vec()), File("l", layer.clone())], "`c` is not valid"),
        (
            vec![image(), File("c", config(&[])), File("l", layer.clone())],
            "`c`: number of layers: expected 0, found 1",
        ),
        (
            vec![image(), File("c", good.clone()), File("l", b"\xfd7zXZ\0".to_vec())],
            "`l` is compressed with xz, for which no image has a media type",
        ),
        (
            vec![list(json!([{ "Config": wrong_name, "Layers": [] }])), File(&wrong_name, config(&[]))],
            "expected this digest, found sha256:",
        ),
    ];
    for (members, message) in cases {
        let error = open("mistake.tar", &members).expect_err(message);
        let source = std::error::Error::source(&error).map(|source| source.to_string());
        let text = format!("{error}: {}", source.unwrap_or_default());
        assert!(text.contains(message), "{text}: {message}");
    }
}

#[test]
fn a_directory_is_no_archive() {
    let dir = Dir::open_ambient_dir(scratch(""), ambient_authority()).expect("there");
    let error = Archive::open(dir.open(".").expect("there"), "d").expect_err("a directory");
    assert_eq!(error.to_string(), "`d` is a directory: an OCI archive is a tar, a directory is a layout");
}

#[test]
fn headers_that_say_that_they_have_gigabytes_are_not_read() {
    const SIZE: u64 = 6 << 30;
    for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(SIZE);
        header.set_cksum();
        let dir = Dir::open_ambient_dir(scratch(""), ambient_authority()).expect("there");
        dir.write("long.tar", header.as_bytes()).expect("written");
        let file = dir.open_with("long.tar", cap_std::fs::OpenOptions::new().write(true)).expect("there");
        file.set_len(SIZE + 2048).expect("a hole");
        let error = Archive::open(dir.open("long.tar").expect("there"), "long.tar").expect_err("too long");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains("headers of one entry have more than 4194304 bytes"), "{kind:?}: {source}");
    }
}
