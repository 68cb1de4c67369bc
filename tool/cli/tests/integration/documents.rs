//! The golden documents and the JSON Schemas say what the types say.

use std::fs;

use ociseed_spec::file::Spec;
use ociseed_spec::load::LoadFile;
use ociseed_spec::lock::Lock;
use ociseed_spec::metadata::{DiskMetadata, ImageRecord, IndexRecord, LayerMetadata};
use ociseed_spec::params::{
    BundleParams, DiskParams, ImageParams, IndexParams, LayerParams, PlanParams, SeedParams, StoreParams,
};
use ociseed_spec::{LayerPlan, json};
use schemars::{JsonSchema, schema_for};

use crate::run::{assert_golden, workspace};

fn read(name: &str) -> Vec<u8> {
    fs::read(workspace().join("tests/golden/format").join(name)).expect(name)
}

#[test]
fn toml_and_json_specs_are_one_spec() {
    for name in ["spec", "every-kind"] {
        let text = read(&format!("{name}.toml"));
        let toml = Spec::parse_toml(std::str::from_utf8(&text).expect("UTF-8")).expect(name);
        let canonical = String::from_utf8(json::encode(&toml)).expect("UTF-8");
        assert_golden(&workspace().join(format!("tests/golden/format/{name}.json")), &canonical);
        assert_eq!(Spec::parse_json(&canonical).expect(name), toml);
    }
}

#[test]
fn documents_parse_and_encode_to_the_same_bytes() {
    assert_eq!(
        json::encode(&LayerMetadata::parse(&read("layer-metadata.json")).expect("metadata")),
        read("layer-metadata.json")
    );
    assert_eq!(
        json::encode(&ImageRecord::parse(&read("image-record.json")).expect("record")),
        read("image-record.json")
    );
    assert_eq!(
        json::encode(&IndexRecord::parse(&read("index-record.json")).expect("record")),
        read("index-record.json")
    );
    assert_eq!(
        json::encode(&DiskMetadata::parse(&read("disk-metadata.json")).expect("metadata")),
        read("disk-metadata.json")
    );
    assert_eq!(
        json::encode(&LayerPlan::parse(&read("layer-plan.json")).expect("plan")),
        read("layer-plan.json")
    );
    assert_eq!(Lock::parse(&read("medium-seed.json")).expect("lock").encode(), read("medium-seed.json"));
    assert_eq!(Lock::parse(&read("seed.json")).expect("lock").encode(), read("seed.json"));
}

#[test]
fn schemas_are_current() {
    check::<Spec>("spec");
    check::<Lock>("lock");
    check::<LoadFile>("load");
    check::<LayerMetadata>("layer-metadata");
    check::<ImageRecord>("image-record");
    check::<IndexRecord>("index-record");
    check::<LayerParams>("layer-params");
    check::<ImageParams>("image-params");
    check::<IndexParams>("index-params");
    check::<BundleParams>("bundle-params");
    check::<SeedParams>("seed-params");
    check::<StoreParams>("store-params");
    check::<DiskParams>("disk-params");
    check::<PlanParams>("plan-params");
    check::<LayerPlan>("layer-plan");
    check::<DiskMetadata>("disk-metadata");
}

fn check<T: JsonSchema>(name: &str) {
    let text = serde_json::to_string_pretty(&schema_for!(T)).expect("a schema is JSON") + "\n";
    assert_golden(&workspace().join(format!("docs/schema/{name}.json")), &text);
}
