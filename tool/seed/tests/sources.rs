//! Bases, referrers and damage in archives as other tools lay them out.

use std::collections::{BTreeMap, BTreeSet};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_image::{Index, Named};
use ociseed_seed::verify::{Findings, verify_images};
use ociseed_seed::{ChooseError, carry, choose_image, choose_index, read_index};
use ociseed_spec::{Digest, Platform, Reference, TreePath, json, media_type};
use ociseed_store::Archive;
use ociseed_tree::{Builder, Claim, Content, Entry, Precedence, tar};
use serde_json::{Value, json};

/// An image layout that is put together blob by blob.
#[derive(Default)]
struct Store {
    blobs: BTreeMap<Digest, Vec<u8>>,
    listed: Vec<Value>,
}

impl Store {
    fn put(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs.insert(digest, bytes.to_vec());
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    fn document(&mut self, media_type: &str, mut fields: Value) -> Value {
        fields["schemaVersion"] = json!(2);
        fields["mediaType"] = json!(media_type);
        self.put(media_type, &json::encode(&fields))
    }

    /// An image of one layer, as its descriptor; its manifest has `extra` fields.
    fn image(&mut self, platform: &str, extra: Value) -> Value {
        let platform: Platform = platform.parse().expect("good");
        let layer = format!("the layer for {platform}");
        let attestation = platform.os() == "unknown";
        let media_type = if attestation { "application/vnd.in-toto+json" } else { media_type::LAYER_TAR };
        let layer = self.put(media_type, layer.as_bytes());
        let config = json!({
            "os": platform.os(), "architecture": platform.architecture(), "variant": platform.variant(),
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
        });
        let config = self.put(media_type::CONFIG, &json::encode(&config));
        let mut fields = json!({ "config": config, "layers": [layer] });
        fields.as_object_mut().expect("made so").extend(extra.as_object().expect("an object").clone());
        self.document(media_type::MANIFEST, fields)
    }

    /// An artifact without a configuration, as signatures are, that may refer to something.
    fn artifact(&mut self, text: &str, subject: Option<&Value>) -> Value {
        let config = self.put("application/vnd.oci.empty.v1+json", b"{}");
        let layer = self.put("application/vnd.example.signature", text.as_bytes());
        let mut fields =
            json!({ "config": config, "layers": [layer], "artifactType": "application/vnd.example" });
        if let Some(subject) = subject {
            fields["subject"] = subject.clone();
        }
        self.document(media_type::MANIFEST, fields)
    }

    fn list(&mut self, descriptor: &Value, name: &str) {
        let mut descriptor = descriptor.clone();
        if !name.is_empty() {
            descriptor["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
        }
        self.listed.push(descriptor);
    }

    fn forget(&mut self, descriptor: &Value) {
        self.blobs.remove(&digest(descriptor)).expect("it was there");
    }

    /// Writes it as an archive and opens that.
    fn open(&self, name: &str) -> Archive {
        let mut files = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            (
                "index.json".to_owned(),
                json!({ "schemaVersion": 2, "manifests": self.listed }).to_string().into(),
            ),
        ];
        files.extend(
            self.blobs
                .iter()
                .map(|(digest, bytes)| (format!("blobs/sha256/{}", digest.hex()), bytes.clone())),
        );
        let mut builder = Builder::new();
        for (number, (path, bytes)) in (0..).zip(files) {
            let path = TreePath::parse(path.as_bytes()).expect("good");
            builder.insert(
                path,
                Entry::file(Content::bytes(bytes)),
                Claim::new(number, Precedence::Explicit),
            );
        }
        let tree = builder.finish().expect("no conflict");
        let dir = Dir::open_ambient_dir(env!("CARGO_TARGET_TMPDIR"), ambient_authority()).expect("there");
        let name = format!("sources-{name}.tar");
        tar::write(&tree, &mut dir.create(&name).expect("made")).expect("written");
        Archive::open(dir.open(&name).expect("just written"), name).expect("good")
    }
}

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().expect("text").parse().expect("a digest")
}

fn for_platform(descriptor: &Value, platform: &str) -> Value {
    let platform: Platform = platform.parse().expect("good");
    let mut descriptor = descriptor.clone();
    descriptor["platform"] = json!({ "os": platform.os(), "architecture": platform.architecture() });
    if let Some(variant) = platform.variant() {
        descriptor["platform"]["variant"] = json!(variant);
    }
    descriptor
}

/// What builders write: an index with images, one that was not copied, and an attestation; and an image beside it.
fn multi() -> (Store, BTreeMap<&'static str, Value>) {
    let mut store = Store::default();
    let mut all = BTreeMap::new();
    let mut listed = Vec::new();
    for platform in ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/s390x"] {
        let image = store.image(platform, json!({}));
        listed.push(for_platform(&image, platform));
        all.insert(platform, image);
    }
    store.forget(&all["linux/s390x"]);
    let attestation = store.image("unknown/unknown", json!({ "annotations": { "x": "attestation" } }));
    listed.push(for_platform(&attestation, "unknown/unknown"));
    let inner = store.document(media_type::DOCKER_INDEX, json!({ "manifests": listed }));
    let outer = store.document(media_type::INDEX, json!({ "manifests": [inner] }));
    let single = store.image("linux/riscv64", json!({}));
    store.list(&inner, "docker.io/library/multi:1");
    store.list(&outer, "nested");
    store.list(&single, "example.org/single:1");
    all.extend([("attestation", attestation), ("inner", inner), ("outer", outer), ("single", single)]);
    (store, all)
}

#[test]
fn bases_are_chosen_by_name_digest_and_platform() {
    let (store, all) = multi();
    let archive = store.open("multi");
    let amd64 = digest(&all["linux/amd64"]).to_string();
    let (inner, pinned) = (digest(&all["inner"]).to_string(), format!("multi@{amd64}"));
    for (reference, platform, expected) in [
        ("multi:1", "linux/amd64", "linux/amd64"),
        ("docker.io/library/multi:1", "linux/arm/v7", "linux/arm/v7"),
        ("multi:1", "linux/arm64", "linux/arm64/v8"),
        ("nested", "linux/arm/v6", "linux/arm/v6"),
        (&inner, "linux/amd64", "linux/amd64"),
        (&amd64, "", "linux/amd64"),
        (&pinned, "", "linux/amd64"),
        ("example.org/single:1", "", "single"),
        ("", "linux/riscv64", "single"),
        ("", "linux/amd64", "linux/amd64"),
    ] {
        let platform = (!platform.is_empty()).then(|| platform.parse::<Platform>().expect("good"));
        let reference = (!reference.is_empty()).then_some(reference);
        let image = choose_image(&archive, reference, platform.as_ref());
        let image = image.unwrap_or_else(|error| panic!("{reference:?} {platform:?}: {error}"));
        assert_eq!(image.manifest().digest, digest(&all[expected]), "{reference:?} {platform:?}");
    }
}

#[test]
fn what_cannot_be_chosen_is_said_with_what_is_there() {
    let (store, all) = multi();
    let archive = store.open("wrong");
    let platforms = "linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8, linux/s390x";
    let there = [
        format!("`docker.io/library/multi:1` ({platforms})"),
        format!("`nested` ({platforms})"),
        "`example.org/single:1` (linux/riscv64)".to_owned(),
    ];
    for (reference, platform, message) in [
        ("multi:1", "", "expected one image named `multi:1` in `sources-wrong.tar`, found 5"),
        (
            "multi:1",
            "linux/arm",
            "expected one image named `multi:1` for linux/arm in `sources-wrong.tar`, found 2",
        ),
        ("multi:1", "linux/arm/v5", "for linux/arm/v5 in `sources-wrong.tar`, found 0"),
        ("multi:1", "linux/amd64/v2", "for linux/amd64/v2 in `sources-wrong.tar`, found 0"),
        ("multi:2", "", "expected one image named `multi:2` in `sources-wrong.tar`, found 0"),
        ("", "", "expected one image in `sources-wrong.tar`, found 6"),
    ] {
        let platform = (!platform.is_empty()).then(|| platform.parse::<Platform>().expect("good"));
        let error = choose_image(&archive, (!reference.is_empty()).then_some(reference), platform.as_ref());
        let error = error.expect_err(message);
        assert!(error.to_string().contains(message), "{error}");
        assert!(matches!(&error, ChooseError::NotOne { there: found, .. } if *found == there), "{error:?}");
    }
    let s390x = "linux/s390x".parse().expect("good");
    let error =
        choose_image(&archive, Some("multi:1"), Some(&s390x)).expect_err("it was not copied").to_string();
    assert!(error.contains(&digest(&all["linux/s390x"]).to_string()), "{error}");
    let error = choose_index(&archive, Some("example.org/single:1")).expect_err("an image").to_string();
    assert!(error.starts_with("expected one index named `example.org/single:1`"), "{error}");
}

#[test]
fn an_index_is_read_with_the_images_that_are_there() {
    let (store, all) = multi();
    let archive = store.open("index");
    let read = choose_index(&archive, Some("multi:1")).expect("good");
    assert_eq!(read.text().as_bytes(), store.blobs[&digest(&all["inner"])], "byte for byte");
    let digests =
        |index: &Index| index.images().iter().map(|image| image.manifest().digest).collect::<Vec<_>>();
    let platforms = ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "attestation"];
    let expected: Vec<_> = platforms.iter().map(|platform| digest(&all[platform])).collect();
    assert_eq!(digests(&read), expected);
    assert_eq!(Index::parse(&json::encode(&read.record())).expect("own"), read);
    let nested = choose_index(&archive, Some("nested")).expect("good");
    assert_eq!(digests(&nested), expected, "through the index in it");

    // What a bundle of the nested one needs beside images: the index in it.
    let name: Reference = "example.org/all:1".parse().expect("good");
    let carried = carry(&[&archive], &[Named::index(&name, &nested)], true).expect("good");
    assert_eq!(carried.blobs.keys().copied().collect::<Vec<_>>(), [digest(&all["inner"])]);
    assert!(carried.referrers.is_empty());
}

#[test]
fn referrers_are_carried_along_transitively() {
    let mut store = Store::default();
    let (image, other) = (store.image("linux/amd64", json!({})), store.image("linux/arm64", json!({})));
    let signature = store.artifact("signature", Some(&image));
    let of_signature = store.artifact("countersignature", Some(&signature));
    let of_other = store.artifact("other's", Some(&other));
    let alone = store.artifact("nobody's", None);
    let listed_in_index = store.artifact("by the fallback tag", Some(&image));
    let fallback = store.document(media_type::INDEX, json!({ "manifests": [listed_in_index] }));
    let index_layer = store.artifact("of an index", None);
    let subject_index =
        store.document(media_type::INDEX, json!({ "manifests": [index_layer], "subject": image }));
    // The later before the earlier: order does not matter.
    let mut named = of_signature.clone();
    named["annotations"] = json!({ "kept": "yes", "io.containerd.image.name": "gone" });
    named["artifactType"] = json!("application/vnd.example");
    store.list(&named, "gone too");
    for descriptor in [&image, &other] {
        store.list(descriptor, "");
    }
    store.list(&fallback, &format!("sha256-{}", digest(&image).hex()));
    for descriptor in [&signature, &of_other, &alone, &subject_index] {
        store.list(descriptor, "");
    }
    let archive = store.open("referrers");
    let name: Reference = "example.org/x:1".parse().expect("good");
    let read = choose_image(&archive, Some(&digest(&image).to_string()), None).expect("good");
    let named = [Named::image(&name, &read)];
    let carried = carry(&[&archive], &named, true).expect("good");
    let found: BTreeSet<_> = carried.referrers.iter().map(|descriptor| descriptor.blob().digest).collect();
    let expected = [&signature, &of_signature, &listed_in_index, &subject_index].map(digest);
    assert_eq!(found, expected.into());
    let last =
        carried.referrers.iter().find(|found| found.blob().digest == digest(&of_signature)).expect("seen");
    let mut expected = of_signature.clone();
    expected["annotations"] = json!({ "kept": "yes" });
    expected["artifactType"] = json!("application/vnd.example");
    assert_eq!(serde_json::to_value(last).expect("JSON"), expected, "what it had, without names");
    for text in ["signature", "countersignature", "by the fallback tag", "of an index", "{}"] {
        assert_eq!(carried.blobs.get(&Digest::of(text.as_bytes())), Some(&(text.len() as u64)), "{text}");
    }
    for text in ["other's", "nobody's"] {
        assert!(!carried.blobs.contains_key(&Digest::of(text.as_bytes())), "{text}");
    }
    let without = carry(&[&archive], &named, false).expect("good");
    assert!(without.referrers.is_empty() && without.blobs.is_empty());
}

fn problems(archive: &Archive) -> (Vec<String>, u64) {
    let mut findings = Findings::default();
    verify_images(archive, &mut findings);
    (findings.problems, findings.blobs)
}

#[test]
fn everything_that_an_index_leads_to_is_hashed() {
    let (mut store, all) = multi();
    let signature = store.artifact("signature", Some(&all["inner"]));
    store.list(&signature, "");
    let (found, blobs) = problems(&store.open("verify"));
    assert_eq!(
        (found, blobs),
        (Vec::new(), store.blobs.len() as u64),
        "an image that nobody copied is no damage"
    );

    for (path, what) in [
        ("the layer for linux/arm/v7", "layer"),
        ("the layer for unknown/unknown", "attestation"),
        ("signature", "signature"),
    ] {
        let (mut store, all) = multi();
        let signature = store.artifact("signature", Some(&all["inner"]));
        store.list(&signature, "");
        let damaged = Digest::of(path.as_bytes());
        store.blobs.get_mut(&damaged).expect(path)[0] ^= 1;
        let (found, _) = problems(&store.open("verify-damaged"));
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        assert!(found[0].contains(&damaged.to_string()), "{what}: {found:?}");
        store.blobs.remove(&damaged);
        let (found, _) = problems(&store.open("verify-missing"));
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        assert!(found[0].contains("is not in"), "{what}: {found:?}");
    }
}

#[test]
fn what_is_wrong_with_indexes_is_found() {
    let mut store = Store::default();
    let image = store.image("linux/amd64", json!({}));
    let index = store.document(media_type::INDEX, json!({ "manifests": [image] }));
    store.list(&index, "a");
    store.forget(&image);
    let (found, _) = problems(&store.open("empty-index"));
    assert_eq!(found, [format!("index {}: nothing that it lists is here", digest(&index))]);

    // Deeper than anybody makes them.
    let mut store = Store::default();
    let mut innermost = store.image("linux/amd64", json!({}));
    for _ in 0..9 {
        innermost = store.document(media_type::INDEX, json!({ "manifests": [innermost] }));
    }
    store.list(&innermost, "deep");
    let archive = store.open("deep");
    let (found, _) = problems(&archive);
    assert!(found.len() == 1 && found[0].ends_with("lies in too many others"), "{found:?}");
    assert!(choose_image(&archive, None, None).is_err());
    assert!(choose_index(&archive, None).is_err());

    // A layer whose tar is not what the configuration says.
    let mut store = Store::default();
    let layer = store.put(media_type::LAYER_TAR_GZIP, &gzip(b"the tar"));
    let config = |diff_id: Digest| {
        json::encode(&json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": [diff_id] } }))
    };
    for (diff_id, good) in [(Digest::of(b"the tar"), true), (Digest::of(b"another"), false)] {
        let config = store.put(media_type::DOCKER_CONFIG, &config(diff_id));
        let image =
            store.document(media_type::DOCKER_MANIFEST, json!({ "config": config, "layers": [layer] }));
        store.listed.clear();
        store.list(&image, "x");
        let archive = store.open("gzip");
        let (found, _) = problems(&archive);
        assert_eq!(found.is_empty(), good, "{found:?}");
        assert!(good || found[0].contains("diff id: expected"), "{found:?}");
        assert!(read_index(&archive, &archive.index()[0].blob).is_err(), "a manifest is no index");
    }
}

/// Compresses as gzip does, in two members.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let (one, two) = bytes.split_at(3);
    let stored = |part: &[u8]| {
        // A stored block (RFC 1951, 3.2.4) between header and checksum.
        let length = u16::try_from(part.len()).expect("short");
        let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
        member.extend(length.to_le_bytes());
        member.extend((!length).to_le_bytes());
        member.extend(part);
        member.extend(crc32(part).to_le_bytes());
        member.extend(u32::from(length).to_le_bytes());
        member
    };
    [stored(one), stored(two)].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)))
    };
    !bytes.iter().fold(!0, step)
}
