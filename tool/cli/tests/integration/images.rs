//! Images of every form: gzip, bases in layouts, archives and other images, indexes, docker-archives, referrers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ociseed_spec::Digest;
use serde_json::{Value, json};

use crate::run::{assert_golden, bad, digests, good, scratch, workspace};

const SPEC: &str = r#"
[layer.zip]
compression = { gzip = 9 }
add = [{ text = "hello\n", to = "/hello" }]
[layer.tar]
compression = "none"
add = [{ text = "plain\n", to = "/plain" }]

[image.one]
layers = ["zip", "tar"]
cmd = ["/hello"]
annotations = { "org.example.kind" = "test" }
author = "somebody"
created = "2026-01-31T12:00:00Z"
history = [{ created-by = "zip it" }, { comment = "plain" }]
[image.arm]
platform = "linux/arm64/v8"
layers = ["zip"]
[image.over]
base = { image = "one" }
layers = ["tar"]
user = "7"

[index.multi]
images = ["one", "arm"]
annotations = { "org.example.kind" = "several" }

[bundle.docker]
format = "docker-archive"
images = { "docker.io/library/one:1" = "one", "example.org/over:2" = "over" }
[bundle.archive]
format = "oci-archive"
images = { "docker.io/library/one:1" = "one" }
indexes = { "example.org/multi:1" = "multi" }
[bundle.layout]
format = "layout"
indexes = { "example.org/multi:1" = "multi" }
"#;

/// Builds the spec above and returns its scratch directory.
fn build(name: &str) -> PathBuf {
    let dir = scratch(name);
    fs::write(dir.join("spec.toml"), SPEC).expect("written");
    good(&dir, &["build", "spec.toml"]);
    dir
}

fn json_file(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn report(dir: &Path, out: &str) -> Value {
    json_file(&dir.join(out).join("report.json"))["targets"].clone()
}

#[test]
fn bytes_of_every_form_are_as_they_were() {
    let dir = build("images-golden");
    assert_golden(&workspace().join("tests/golden/build/images.txt"), &digests(&dir.join("out")));
    for bundle in ["docker.tar", "archive.tar", "layout"] {
        good(&dir, &["verify", &format!("out/bundle/{bundle}")]);
    }
    // What is built alone is what is built with all else.
    good(&dir, &["build", "spec.toml", "--out", "alone", "bundle.archive", "index.multi"]);
    let (all, alone) = (report(&dir, "out"), report(&dir, "alone"));
    assert_eq!(alone.as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(alone["bundle.archive"], all["bundle.archive"]);
    let index = json_file(&dir.join("alone/index/multi.json"));
    assert_eq!(
        alone["index.multi"]["digest"],
        json!(Digest::of(index["index"].as_str().expect("text").as_bytes()))
    );
}

/// Tells whether a spec has a use for `NAME=PATH`.
fn uses(spec: &str, input: &str) -> bool {
    input.split_once('=').is_some_and(|(name, _)| spec.contains(&format!("\"{name}\"")))
}

#[test]
fn a_base_is_the_same_wherever_it_is() {
    let dir = build("images-bases");
    let one = report(&dir, "out")["image.one"]["digest"].as_str().expect("a digest").to_owned();
    let pack =
        "gzip -nc out/bundle/docker.tar > docker.tar.gz && xz -c out/bundle/archive.tar > archive.tar.xz";
    let packed = Command::new("sh").args(["-c", pack]).current_dir(&dir).status().expect("sh runs");
    assert!(packed.success(), "gzip and xz are on every build machine");
    let bases = [
        r#"layout = "layout", reference = "example.org/multi:1""#.to_owned(),
        format!(r#"layout = "layout", reference = "{one}""#),
        r#"archive = "archive", reference = "one:1""#.to_owned(),
        r#"archive = "archive", reference = "example.org/multi:1""#.to_owned(),
        r#"archive = "docker", reference = "docker.io/library/one:1""#.to_owned(),
        // As a whole compressed, as dockerTools of nixpkgs leaves them.
        r#"archive = "gzipped", reference = "docker.io/library/one:1""#.to_owned(),
        r#"archive = "xz", reference = "one:1""#.to_owned(),
    ];
    for (number, base) in bases.iter().enumerate() {
        let spec = format!(
            "[image.keep]\nbase = {{ {base} }}\nplatform = \"linux/amd64\"\n\
             [image.more]\nbase = {{ image = \"keep\" }}\nlabels = {{ a = \"b\" }}\n\
             [bundle.b]\nformat = \"oci-archive\"\nimages = {{ \"example.org/b:1\" = \"more\" }}\n"
        );
        fs::write(dir.join("over.toml"), spec).expect("written");
        let out = format!("over-{number}");
        let inputs = [
            "layout=out/bundle/layout",
            "archive=out/bundle/archive.tar",
            "docker=out/bundle/docker.tar",
            "gzipped=docker.tar.gz",
            "xz=archive.tar.xz",
        ];
        let mut args = vec!["build", "over.toml", "--out", &out];
        args.extend(inputs.iter().filter(|input| uses(base, input)).flat_map(|input| ["--input", input]));
        good(&dir, &args);
        let targets = report(&dir, &out);
        assert_eq!(targets["image.keep"]["digest"], json!(one), "{base}");
        assert_eq!(targets, report(&dir, "over-0"), "{base}");
        good(&dir, &["verify", &out]);
    }
    let whole = fs::read(dir.join("docker.tar.gz")).expect("read");
    fs::write(dir.join("docker.tar.gz"), &whole[..whole.len() / 2]).expect("written");
    let base = "[image.keep]\nbase = { archive = \"docker.tar.gz\" }\n";
    fs::write(dir.join("cut.toml"), base).expect("written");
    let stderr = bad(&dir, &["build", "cut.toml", "--out", "cut"], 1);
    assert!(stderr.contains("`docker.tar.gz`: cannot decompress"), "{stderr}");
}

#[test]
fn an_archive_of_an_old_docker_becomes_an_oci_image() {
    let dir = build("images-old-docker");
    // What `docker save` before 25 writes, of the blobs of our own image.
    let record = json_file(&dir.join("out/image/one.json"));
    let config = record["config"].as_str().expect("text");
    let hex = Digest::of(config.as_bytes()).hex().to_string();
    for path in ["old/aa", "old/bb"] {
        fs::create_dir_all(dir.join(path)).expect("made");
    }
    fs::write(dir.join(format!("old/{hex}.json")), config).expect("written");
    fs::copy(dir.join("out/layer/zip.tar.gz"), dir.join("old/aa/layer.tar")).expect("copied");
    fs::copy(dir.join("out/layer/tar.tar"), dir.join("old/blob.tar")).expect("copied");
    std::os::unix::fs::symlink("../blob.tar", dir.join("old/bb/layer.tar")).expect("made");
    let manifest = json!([{ "Config": format!("{hex}.json"), "RepoTags": ["one:1"], "Layers": ["aa/layer.tar", "bb/layer.tar"] }]);
    fs::write(dir.join("old/manifest.json"), manifest.to_string()).expect("written");
    let tar = Command::new("tar").args(["-C", "old", "-cf", "old.tar", "."]).current_dir(&dir).status();
    assert!(tar.expect("tar runs").success());

    let spec = "[image.keep]\nbase = { archive = \"old.tar\" }\n\
                [bundle.b]\nformat = \"docker-archive\"\nimages = { \"example.org/b:1\" = \"keep\" }\n";
    fs::write(dir.join("old.toml"), spec).expect("written");
    good(&dir, &["build", "old.toml", "--out", "kept"]);
    good(&dir, &["verify", "kept"]);
    let kept = json_file(&dir.join("kept/image/keep.json"));
    assert_eq!(kept["config"], record["config"], "byte for byte");
    let layers = |record: &Value| -> Value {
        serde_json::from_str::<Value>(record["manifest"].as_str().expect("text")).expect("JSON")["layers"]
            .clone()
    };
    assert_eq!(layers(&kept), layers(&record), "gzip stays gzip, and links are followed");

    // The same by steps, with the archive for its blobs.
    let image =
        json!({ "version": 1, "inputs": { "base": "old.tar" }, "image": { "base": { "archive": "base" } } });
    fs::write(dir.join("image.json"), image.to_string()).expect("written");
    good(&dir, &["image", "--params", "image.json", "--out", "keep.json"]);
    assert_eq!(
        fs::read(dir.join("keep.json")).expect("read"),
        fs::read(dir.join("kept/image/keep.json")).expect("read")
    );
    let bundle = json!({
        "version": 1, "inputs": { "keep": "keep.json", "base": "old.tar" }, "blobs": [{ "archive": "base" }],
        "bundle": { "format": "docker-archive", "images": { "example.org/b:1": "keep" } },
    });
    fs::write(dir.join("bundle.json"), bundle.to_string()).expect("written");
    good(&dir, &["bundle", "--params", "bundle.json", "--out", "b.tar"]);
    assert_eq!(
        fs::read(dir.join("b.tar")).expect("read"),
        fs::read(dir.join("kept/bundle/b.tar")).expect("read")
    );
}

#[test]
fn steps_make_the_index_and_bundle_of_a_build() {
    let dir = build("images-steps");
    let index = json!({
        "version": 1, "inputs": { "one": "out/image/one.json", "arm": "out/image/arm.json" },
        "index": { "images": ["one", "arm"], "annotations": { "org.example.kind": "several" } },
    });
    fs::write(dir.join("index.json"), index.to_string()).expect("written");
    good(&dir, &["index", "--params", "index.json", "--out", "multi.json"]);
    let read = |path: &str| fs::read(dir.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(read("multi.json"), read("out/index/multi.json"));
    let bundle = json!({
        "version": 1,
        "inputs": {
            "one": "out/image/one.json", "multi": "multi.json",
            "zip": "out/layer/zip.tar.gz", "zip.json": "out/layer/zip.json",
            "tar": "out/layer/tar.tar", "tar.json": "out/layer/tar.json",
        },
        "bundle": {
            "format": "oci-archive", "images": { "docker.io/library/one:1": "one" },
            "indexes": { "example.org/multi:1": "multi" },
        },
        "blobs": [{ "layer": "zip", "metadata": "zip.json" }, { "layer": "tar", "metadata": "tar.json" }],
    });
    fs::write(dir.join("bundle.json"), bundle.to_string()).expect("written");
    good(&dir, &["bundle", "--params", "bundle.json", "--out", "b.tar"]);
    assert_eq!(read("b.tar"), read("out/bundle/archive.tar"));

    // An index of an archive comes through byte for byte.
    let base = json!({ "version": 1, "inputs": { "a": "b.tar" }, "index": { "base": { "archive": "a", "reference": "example.org/multi:1" } } });
    fs::write(dir.join("base.json"), base.to_string()).expect("written");
    good(&dir, &["index", "--params", "base.json", "--out", "again.json"]);
    assert_eq!(read("again.json"), read("multi.json"));
}

/// Adds a signature of `subject` to a layout, as tools do: a manifest of its own in the index.
pub(crate) fn sign(layout: &Path, subject: &Value, text: &str) -> Digest {
    let put = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).expect("written");
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example", "subject": subject,
        "config": put("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [put("text/plain", text.as_bytes())],
    });
    let mut descriptor = put("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    descriptor["annotations"] = json!({ "who": text });
    let mut index = json_file(&layout.join("index.json"));
    index["manifests"].as_array_mut().expect("a list").push(descriptor.clone());
    fs::write(layout.join("index.json"), index.to_string()).expect("written");
    descriptor["digest"].as_str().expect("text").parse().expect("a digest")
}

#[test]
fn referrers_come_along_from_the_bases_of_a_bundle_alone() {
    let dir = build("images-referrers");
    crate::run::copy(&dir.join("out/bundle/layout"), &dir.join("signed"));
    crate::run::copy(&dir.join("out/bundle/layout"), &dir.join("elsewhere"));
    let subject = json_file(&dir.join("signed/index.json"))["manifests"][0].clone();
    let first = sign(&dir.join("signed"), &subject, "signature");
    sign(&dir.join("elsewhere"), &subject, "another");
    let spec = r#"
[index.all]
base = { layout = "signed", reference = "example.org/multi:1" }
[image.other]
base = { layout = "elsewhere" }
platform = "linux/arm64"
[bundle.with]
format = "layout"
indexes = { "example.org/all:1" = "all" }
[bundle.without]
format = "layout"
indexes = { "example.org/all:1" = "all" }
referrers = false
[bundle.other]
format = "layout"
images = { "example.org/other:1" = "other" }
"#;
    fs::write(dir.join("s.toml"), spec).expect("written");
    good(&dir, &["build", "s.toml", "--out", "made"]);
    for bundle in ["with", "without", "other"] {
        good(&dir, &["verify", &format!("made/bundle/{bundle}")]);
    }
    let listed =
        |bundle: &str| json_file(&dir.join(format!("made/bundle/{bundle}/index.json")))["manifests"].clone();
    let with = listed("with");
    assert_eq!(with.as_array().map(Vec::len), Some(2));
    assert_eq!((&with[0]["digest"], &with[1]["digest"]), (&subject["digest"], &json!(first)));
    assert_eq!(with[1]["annotations"], json!({ "who": "signature" }));
    let blob = dir.join("made/bundle/with/blobs/sha256").join(Digest::of(b"signature").hex());
    assert_eq!(fs::read(blob).expect("there"), b"signature");
    assert_eq!(listed("without").as_array().map(Vec::len), Some(1));
    assert_eq!(listed("other").as_array().map(Vec::len), Some(1), "the index is not in this bundle");
}

#[test]
fn mistakes_have_a_way_out() {
    let dir = build("images-mistakes");
    let zstd = "[layer.z]\nadd = [{ text = \"z\", to = \"/z\" }]\n";
    let image = "[image.a]\nlayers = [\"z\"]\n";
    for (spec, code, messages) in [
        (
            format!("{zstd}{image}[bundle.b]\nformat = \"docker-archive\"\nimages = {{ \"r.io/a:1\" = \"a\" }}\n"),
            2,
            vec!["error: bundle.b: `r.io/a:1`: layer sha256:", "hint: give the layer `compression = \"gzip\"`"],
        ),
        (
            format!("{zstd}{image}[image.b]\nlayers = [\"z\", \"z\"]\n[index.i]\nimages = [\"a\", \"b\"]\n"),
            2,
            vec!["error: index.i: images `a` and `b` both are for linux/amd64"],
        ),
        (
            "[image.a]\nbase = { archive = \"archive\", reference = \"nothing:1\" }\n".to_owned(),
            1,
            vec![
                "error: image.a.base: expected one image named `nothing:1` in `out/bundle/archive.tar", "found 0",
                "hint: it has `docker.io/library/one:1` (linux/amd64), `example.org/multi:1` (linux/amd64, linux/arm64/v8)",
            ],
        ),
        (
            "[image.a]\nbase = { archive = \"archive\", reference = \"example.org/multi:1\" }\n".to_owned(),
            1,
            vec!["expected one image named `example.org/multi:1` in `out/bundle/archive.tar", "found 2"],
        ),
        (
            "[image.a]\nbase = { archive = \"archive\", reference = \"one\" }\n".to_owned(),
            1,
            vec!["expected one image named `one` in"],
        ),
        (
            "[index.a]\nbase = { archive = \"docker\" }\n".to_owned(),
            1,
            vec!["error: index.a.base: expected one index in `out/bundle/docker.tar", "found 0"],
        ),
        (
            "[image.a]\nbase = { archive = \"layer\" }\n".to_owned(),
            1,
            vec!["`out/layer/tar.tar", "is no OCI archive: it has no `oci-layout`"],
        ),
        (
            "[image.a]\nbase = { image = \"b\" }\nplatform = \"linux/arm64\"\n[image.b]\nbase = { archive = \"docker\", reference = \"one:1\" }\n".to_owned(),
            2,
            vec!["error: image.a: platform linux/arm64 was asked for, but the base is for linux/amd64"],
        ),
    ] {
        fs::write(dir.join("wrong.toml"), &spec).expect("written");
        let mut args = vec!["build", "wrong.toml", "--out", "wrong"];
        let inputs = ["archive=out/bundle/archive.tar", "docker=out/bundle/docker.tar", "layer=out/layer/tar.tar"];
        args.extend(inputs.iter().filter(|input| uses(&spec, input)).flat_map(|input| ["--input", input]));
        let found = bad(&dir, &args, code);
        for message in messages {
            assert!(found.contains(message), "{spec}\n{found}");
        }
    }
}

#[test]
fn a_docker_base_keeps_its_media_types_unless_asked() {
    let dir = build("images-docker-base");
    // A registry's Docker manifest in a layout, as `skopeo copy --preserve-digests` leaves it.
    let layout = dir.join("docker");
    crate::run::copy(&dir.join("out/bundle/layout"), &layout);
    let record = json_file(&dir.join("out/image/arm.json"));
    let oci = record["manifest"].as_str().expect("text");
    let docker = oci
        .replace(
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        )
        .replace("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
        .replace(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        );
    let digest = Digest::of(docker.as_bytes());
    fs::write(layout.join("blobs/sha256").join(digest.hex()), &docker).expect("written");
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    let index = json!({ "schemaVersion": 2, "manifests": [{ "mediaType": media_type, "digest": digest, "size": docker.len() }] });
    fs::write(layout.join("index.json"), index.to_string()).expect("written");
    let layers = "[layer.g]\ncompression = \"gzip\"\nadd = [{ text = \"z\", to = \"/z\" }]\n[layer.z]\nadd = [{ text = \"z\", to = \"/z\" }]\n";
    let images = "[image.keep]\nbase = { layout = \"docker\" }\n[image.more]\nbase = { layout = \"docker\" }\nlayers = [\"g\"]\n\
                  [image.oci]\nbase = { layout = \"docker\" }\nmedia-types = \"oci\"\n\
                  [image.zstd]\nbase = { layout = \"docker\" }\nmedia-types = \"oci\"\nlayers = [\"z\"]\n\
                  [seed.s]\nimage = [{ image = \"more\", name = \"example.org/more:1\" }]\n";
    fs::write(dir.join("s.toml"), format!("{layers}{images}")).expect("written");
    good(&dir, &["build", "s.toml", "--out", "made"]);
    good(&dir, &["verify", "made"]);
    let types = |image: &str| -> Vec<String> {
        let record = json_file(&dir.join(format!("made/image/{image}.json")));
        let manifest: Value = serde_json::from_str(record["manifest"].as_str().expect("text")).expect("JSON");
        let layers = manifest["layers"].as_array().expect("a list").iter();
        [&manifest["mediaType"], &manifest["config"]["mediaType"]]
            .into_iter()
            .chain(layers.map(|layer| &layer["mediaType"]))
            .map(|media_type| {
                media_type.as_str().expect("text").rsplit("/vnd.").next().expect("one").to_owned()
            })
            .collect()
    };
    let docker_types = [
        "docker.distribution.manifest.v2+json",
        "docker.container.image.v1+json",
        "docker.image.rootfs.diff.tar.gzip",
    ];
    assert_eq!(json_file(&dir.join("made/image/keep.json"))["manifest"], json!(docker), "byte for byte");
    assert_eq!(types("more"), [&docker_types[..], &docker_types[2..]].concat());
    let oci_types = ["oci.image.manifest.v1+json", "oci.image.config.v1+json", "oci.image.layer.v1.tar+gzip"];
    assert_eq!(types("oci"), oci_types);
    assert_eq!(json_file(&dir.join("made/image/oci.json"))["config"], record["config"], "blobs stay");
    assert_eq!(types("zstd"), [&oci_types[..], &["oci.image.layer.v1.tar+zstd"]].concat());

    let wrong = format!("{layers}[image.a]\nbase = {{ layout = \"docker\" }}\nlayers = [\"z\"]\n");
    fs::write(dir.join("wrong.toml"), wrong).expect("written");
    let message = bad(&dir, &["build", "wrong.toml", "--out", "wrong"], 2);
    assert!(message.contains("for which a Docker manifest has no media type"), "{message}");
    assert!(message.contains("hint: say `media-types = \"oci\"` for the image"), "{message}");
}
