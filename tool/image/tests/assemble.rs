//! Images over bases as Docker and other builders write them.

use ociseed_image::{AssembleError, Image, assemble, assemble_index};
use ociseed_spec::file::{EmptyLayers, HistorySpec, ImageSpec, MediaTypes};
use ociseed_spec::metadata::{ImageRecord, LayerMetadata};
use ociseed_spec::{DiffId, Digest, Platform, TreePath, media_type};
use serde_json::{Value, json};

/// As Docker writes one: nulls for what is empty, fields that OCI does not have, Go's order of keys.
const CONFIG: &str = r#"{"architecture":"arm","variant":"v7","os":"linux","os.version":"","author":null,
"config":{"Hostname":"","User":"","ExposedPorts":{"53/udp":{}},"Env":["PATH=/usr/bin:/bin","LANG=C","EMPTY=","ODD"],
"Cmd":["sh","-c","a && b"],"Healthcheck":{"Test":["CMD","true"],"Interval":30000000000},"ArgsEscaped":true,"Image":"sha256:0",
"Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":["RUN x"],"Labels":{"a":"1","b":"2"},"StopTimeout":7,
"Shell":["/bin/bash","-c"]},"container":"abc","created":"2024-01-02T03:04:05.678Z","docker_version":"20.10.1",
"history":[{"created":"2024-01-02T03:04:05Z","created_by":"ADD file","empty_layer":false}],
"rootfs":{"type":"layers","diff_ids":["sha256:1111111111111111111111111111111111111111111111111111111111111111"]}}"#;

fn digest(byte: char) -> String {
    format!("sha256:{}", byte.to_string().repeat(64))
}

/// A Docker image; the manifest's text is indented as registries have it.
fn docker() -> Image {
    let layer = json!({ "mediaType": media_type::DOCKER_LAYER_TAR_GZIP, "digest": digest('2'), "size": 77,
        "urls": ["https://example.org/layer"] });
    image(media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG, CONFIG, &[layer])
}

fn image(media_type: &str, config_type: &str, config: &str, layers: &[Value]) -> Image {
    let config_blob =
        json!({ "mediaType": config_type, "digest": Digest::of(config.as_bytes()), "size": config.len() });
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config_blob, "layers": layers,
        "annotations": { "base": "yes", "who": "base" }, "x-future": [1] });
    let manifest = format!("{manifest:#}\n");
    Image::from_record(ImageRecord::new(media_type, manifest, config.to_owned())).expect("a good image")
}

fn layer(media_type: &str, byte: char) -> LayerMetadata {
    let digest: Digest = digest(byte).parse().expect("a digest");
    LayerMetadata {
        version: 1,
        media_type: media_type.to_owned(),
        digest,
        size: 10,
        diff_id: DiffId::new(digest),
        uncompressed_size: 20,
        packages: Vec::new(),
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn an_image_with_only_a_base_is_the_base() {
    let base = docker();
    let platform = |text: &str| Some(text.parse::<Platform>().expect("good"));
    for platform in [None, platform("linux/arm"), platform("linux/arm/v7")] {
        let spec = ImageSpec { platform, ..ImageSpec::default() };
        assert_eq!(assemble(Some(&base), &spec, &[]).expect("good"), base);
    }
    for wrong in ["linux/arm/v6", "linux/arm64", "windows/arm"] {
        let spec = ImageSpec { platform: platform(wrong), ..ImageSpec::default() };
        assert!(matches!(assemble(Some(&base), &spec, &[]), Err(AssembleError::Platform { .. })), "{wrong}");
    }
    // What is OCI's already is not written again.
    let oci = image(
        media_type::MANIFEST,
        media_type::CONFIG,
        CONFIG,
        &[json!({
        "mediaType": media_type::LAYER_TAR, "digest": digest('2'), "size": 7 })],
    );
    let spec = ImageSpec { media_types: MediaTypes::Oci, ..ImageSpec::default() };
    assert_eq!(assemble(Some(&oci), &spec, &[]).expect("good"), oci);
}

#[test]
fn a_whole_configuration_survives_what_is_put_over_it() {
    let text = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let spec = ImageSpec {
        env: text(&[("LANG", "C.UTF-8"), ("ODD", "even"), ("ZZ", "1"), ("AA", "a=b")]),
        labels: text(&[("b", "3"), ("c", "4")]),
        exposed_ports: vec!["80/tcp".to_owned()],
        volumes: vec![TreePath::parse(b"/data").expect("good")],
        author: Some("me".to_owned()),
        created: Some("2026-01-31T12:00:00Z".parse().expect("good")),
        annotations: text(&[("who", "top"), ("new", "1")]),
        history: vec![
            HistorySpec {
                created_by: Some("make".to_owned()),
                comment: Some("why".to_owned()),
                author: None,
            },
            HistorySpec::default(),
        ],
        ..ImageSpec::default()
    };
    let layers = [layer(media_type::LAYER_TAR, '3'), layer(media_type::LAYER_TAR_GZIP, '4')];
    let made = assemble(Some(&docker()), &spec, &layers).expect("good");
    let mut expected = parsed(CONFIG);
    expected["created"] = json!("2026-01-31T12:00:00Z");
    expected["author"] = json!("me");
    let config = &mut expected["config"];
    config["Env"] = json!(["PATH=/usr/bin:/bin", "LANG=C.UTF-8", "EMPTY=", "ODD=even", "AA=a=b", "ZZ=1"]);
    config["Labels"] = json!({ "a": "1", "b": "3", "c": "4" });
    config["ExposedPorts"] = json!({ "53/udp": {}, "80/tcp": {} });
    config["Volumes"] = json!({ "/data": {} });
    expected["rootfs"]["diff_ids"] = json!([digest('1'), digest('3'), digest('4')]);
    let created = "2026-01-31T12:00:00Z";
    expected["history"].as_array_mut().expect("a list").extend([
        json!({ "created": created, "created_by": "make", "comment": "why" }),
        json!({ "created": created, "created_by": "ociseed" }),
    ]);
    assert_eq!(parsed(&made.record().config), expected);
    assert_eq!(made.platform().to_string(), "linux/arm/v7");

    let manifest = parsed(&made.record().manifest);
    assert_eq!(made.record().media_type, media_type::DOCKER_MANIFEST);
    assert_eq!(manifest["mediaType"], media_type::DOCKER_MANIFEST);
    assert_eq!(manifest["config"]["mediaType"], media_type::DOCKER_CONFIG);
    assert_eq!(manifest["annotations"], json!({ "base": "yes", "who": "top", "new": "1" }));
    assert_eq!(manifest["x-future"], json!([1]), "fields that nobody here knows stay");
    assert_eq!(manifest["layers"][0]["urls"], json!(["https://example.org/layer"]));
    let types: Vec<_> = made.layers().iter().map(|layer| layer.blob.media_type.as_str()).collect();
    let gzip = media_type::DOCKER_LAYER_TAR_GZIP;
    assert_eq!(types, [gzip, media_type::DOCKER_LAYER_TAR, gzip]);
}

#[test]
fn an_entrypoint_alone_drops_the_arguments_of_the_base() {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    for (entrypoint, cmd, expected) in [
        (words(&["/a"]), None, Value::Null),
        (words(&["/a"]), words(&["x"]), json!(["x"])),
        (None, words(&[]), json!([])),
        (None, None, json!(["sh", "-c", "a && b"])),
    ] {
        let spec = ImageSpec { entrypoint, cmd, user: Some("1".to_owned()), ..ImageSpec::default() };
        let made = assemble(Some(&docker()), &spec, &[]).expect("good");
        assert_eq!(parsed(&made.record().config)["config"]["Cmd"], expected, "{spec:?}");
    }
}

#[test]
fn docker_media_types_become_ocis_and_blobs_stay() {
    let base = docker();
    let spec = ImageSpec { media_types: MediaTypes::Oci, ..ImageSpec::default() };
    let made = assemble(Some(&base), &spec, &[]).expect("good");
    assert_eq!(made.record().config, base.record().config, "no blob changes");
    let mut expected = parsed(&base.record().manifest);
    expected["mediaType"] = json!(media_type::MANIFEST);
    expected["config"]["mediaType"] = json!(media_type::CONFIG);
    expected["layers"][0]["mediaType"] = json!(media_type::LAYER_TAR_GZIP);
    assert_eq!(parsed(&made.record().manifest), expected);

    let zstd = [layer(media_type::LAYER_TAR_ZSTD, '5')];
    let made = assemble(Some(&base), &spec, &zstd).expect("OCI has a media type for it");
    assert_eq!(made.layers()[1].blob.media_type, media_type::LAYER_TAR_ZSTD);
    let kept = assemble(Some(&base), &ImageSpec::default(), &zstd);
    assert!(matches!(kept, Err(AssembleError::DockerZstd { .. })), "{kept:?}");
}

#[test]
fn a_variant_that_the_spec_says_is_put_over_a_base_without_one() {
    let config = r#"{"os":"linux","architecture":"arm64","rootfs":{"type":"layers","diff_ids":null}}"#;
    let base = image(media_type::MANIFEST, media_type::CONFIG, config, &[]);
    let platform = Some("linux/arm64/v8".parse().expect("good"));
    let spec = ImageSpec { platform, user: Some("1".to_owned()), ..ImageSpec::default() };
    let made = assemble(Some(&base), &spec, &[]).expect("good");
    assert_eq!(made.platform().to_string(), "linux/arm64/v8");
}

#[test]
fn history_says_something_of_every_layer_or_nothing() {
    let without = CONFIG.replace(
        r#""history":[{"created":"2024-01-02T03:04:05Z","created_by":"ADD file","empty_layer":false}],"#,
        "",
    );
    let null = CONFIG.replace(
        r#"[{"created":"2024-01-02T03:04:05Z","created_by":"ADD file","empty_layer":false}]"#,
        "null",
    );
    for (config, expected) in [(without.as_str(), Value::Null), (null.as_str(), Value::Null)] {
        assert_ne!(config, CONFIG);
        let layers = [json!({ "mediaType": media_type::LAYER_TAR, "digest": digest('2'), "size": 7 })];
        let base = image(media_type::MANIFEST, media_type::CONFIG, config, &layers);
        let made = assemble(Some(&base), &ImageSpec::default(), &[layer(media_type::LAYER_TAR, '3')]);
        let made = made.expect("good");
        assert_eq!(parsed(&made.record().config).get("history").cloned().unwrap_or_default(), expected);
    }
    let scratch = assemble(None, &ImageSpec::default(), &[layer(media_type::LAYER_TAR, '3')]).expect("good");
    assert_eq!(parsed(&scratch.record().config)["history"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_a_base_referred_to_its_successor_does_not() {
    let base = docker();
    let mut manifest = parsed(&base.record().manifest);
    manifest["subject"] = json!({ "mediaType": media_type::MANIFEST, "digest": digest('9'), "size": 1 });
    let record = ImageRecord::new(media_type::DOCKER_MANIFEST, manifest.to_string(), CONFIG.to_owned());
    let base = Image::from_record(record).expect("good");
    let spec = ImageSpec { user: Some("1".to_owned()), ..ImageSpec::default() };
    let made = assemble(Some(&base), &spec, &[]).expect("good");
    assert_eq!(parsed(&made.record().manifest).get("subject"), None);
}

#[test]
fn documents_that_contradict_each_other_are_refused() {
    let base = docker();
    let manifest = parsed(&base.record().manifest);
    let with = |pointer: &str, value: Value| {
        let mut manifest = manifest.clone();
        *manifest.pointer_mut(pointer).expect(pointer) = value;
        ImageRecord::new(media_type::DOCKER_MANIFEST, manifest.to_string(), CONFIG.to_owned())
    };
    let cases = [
        (with("/mediaType", json!(media_type::MANIFEST)), "manifest: `mediaType`: expected"),
        (with("/config/size", json!(3)), "configuration: expected"),
        (with("/config/digest", json!(digest('0'))), "configuration: expected"),
        (with("/config/digest", json!("md5:0")), "manifest is not valid"),
        (with("/layers", json!([])), "number of layers: expected 1, found 0"),
        (with("/layers", json!({})), "manifest: `layers`: expected a list"),
        (with("/layers/0/digest", json!(7)), "manifest is not valid"),
        (with("/config", json!(null)), "manifest is not valid"),
        (
            ImageRecord::new("text/plain", base.record().manifest.clone(), CONFIG.to_owned()),
            "media type `text/plain`",
        ),
        (
            ImageRecord::new(media_type::INDEX, base.record().manifest.clone(), CONFIG.to_owned()),
            "media type",
        ),
    ];
    for (record, message) in cases {
        let error = Image::from_record(record).expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}: {message}");
    }
    let config = CONFIG.replace(r#""os":"linux","#, "");
    let blob = json!({ "mediaType": media_type::DOCKER_CONFIG, "digest": Digest::of(config.as_bytes()), "size": config.len() });
    let mut record = with("/config", blob);
    record.config = config;
    let error = Image::from_record(record).expect_err("no os");
    assert_eq!(error.to_string(), "configuration is not valid");
}

#[test]
fn an_index_names_platforms_as_configurations_do() {
    let windows = r#"{"os":"windows","architecture":"amd64","os.version":"10.0.1","os.features":["win32k"],"rootfs":null}"#;
    let newer = windows.replace("10.0.1", "10.0.2");
    let (arm, one) = (docker(), image(media_type::MANIFEST, media_type::CONFIG, windows, &[]));
    let two = image(media_type::MANIFEST, media_type::CONFIG, &newer, &[]);
    let annotations = [("a".to_owned(), "b".to_owned())].into();
    let index = assemble_index(vec![arm.clone(), one.clone(), two], &annotations).expect("good");
    let document = parsed(index.text());
    assert_eq!(document["mediaType"], media_type::INDEX);
    assert_eq!(document["annotations"], json!({ "a": "b" }));
    assert_eq!(
        document["manifests"][0]["platform"],
        json!({ "os": "linux", "architecture": "arm", "variant": "v7" })
    );
    assert_eq!(document["manifests"][0]["mediaType"], media_type::DOCKER_MANIFEST);
    let platform = json!({ "os": "windows", "architecture": "amd64", "os.version": "10.0.1", "os.features": ["win32k"] });
    assert_eq!(document["manifests"][1]["platform"], platform);
    assert_eq!(
        ociseed_image::Index::parse(&ociseed_spec::json::encode(&index.record())).expect("own"),
        index
    );

    let error =
        assemble_index(vec![arm.clone(), one.clone(), arm], &annotations).expect_err("twice").to_string();
    assert_eq!(error, "images 0 and 2 both are for linux/arm/v7");
    let mut record = index.record();
    record.images.push(
        image(media_type::MANIFEST, media_type::CONFIG, &windows.replace("amd64", "arm64"), &[])
            .record()
            .clone(),
    );
    assert!(
        ociseed_image::Index::parse(&ociseed_spec::json::encode(&record)).is_err(),
        "an image that it does not list"
    );
}

#[test]
fn empty_layers_are_left_out_with_their_history() {
    let full = layer(media_type::LAYER_TAR, '3');
    let empty =
        LayerMetadata { diff_id: DiffId::new(Digest::of(&[0; 1024])), ..layer(media_type::LAYER_TAR, '4') };
    let history = ["one", "two", "three"]
        .map(|text| HistorySpec { comment: Some(text.to_owned()), ..HistorySpec::default() });
    let drop = ImageSpec {
        layers: ["a", "b", "c"].map(|key| key.parse().expect("a key")).into(),
        history: history.to_vec(),
        empty_layers: EmptyLayers::Drop,
        ..ImageSpec::default()
    };
    let layers = [empty.clone(), full.clone(), empty.clone()];
    let made = assemble(None, &drop, &layers).expect("an image");
    let alone = ImageSpec {
        layers: vec!["b".parse().expect("a key")],
        history: vec![history[1].clone()],
        ..ImageSpec::default()
    };
    let expected = assemble(None, &alone, std::slice::from_ref(&full)).expect("an image");
    assert_eq!(made.record(), expected.record());
    let keep = ImageSpec { empty_layers: EmptyLayers::Keep, ..drop.clone() };
    assert_eq!(assemble(None, &keep, &layers).expect("an image").layers().len(), 3);
    let none = [empty.clone(), empty.clone(), empty];
    assert!(matches!(assemble(None, &drop, &none), Err(AssembleError::Empty)));
    // Nothing is put over the base, so it passes through.
    let only_empty = ImageSpec { history: Vec::new(), ..drop };
    assert_eq!(assemble(Some(&docker()), &only_empty, &none).expect("the base").record(), docker().record());
}
