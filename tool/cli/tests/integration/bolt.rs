//! Bolt files, shown with every key, and what is none.

use std::fs;

use ociseed_seed::bolt::{Bucket, encode};

use crate::run::{bad, good, scratch};

fn sample() -> Bucket {
    let mut root = Bucket::new();
    root.bucket("empty");
    let v1 = root.bucket("v1");
    v1.put("version", [6]);
    let images = v1.bucket("k8s.io").bucket("images");
    images.bucket("docker.io/library/web:1").bucket("target").put("digest", "sha256:00");
    let snapshots = v1.bucket("k8s.io").bucket("snapshots");
    snapshots.set_sequence(3);
    snapshots.put([0, 0xff, b'\\'], "back\\slash");
    root.set_sequence(1);
    root
}

#[test]
fn every_key_is_shown() {
    let dir = scratch("bolt-keys");
    fs::write(dir.join("meta.db"), encode(&sample())).expect("written");
    let text = "bolt file
  sequence: 1
  empty: 0 keys
  v1: 2 keys
  v1 > k8s.io: 2 keys
  v1 > k8s.io > images: 1 key
  v1 > k8s.io > images > docker.io/library/web:1: 1 key
  v1 > k8s.io > images > docker.io/library/web:1 > target: 1 key
  v1 > k8s.io > images > docker.io/library/web:1 > target > digest = sha256:00
  v1 > k8s.io > snapshots: 1 key, sequence 3
  v1 > k8s.io > snapshots > \\x00\\xff\\\\ = back\\\\slash
  v1 > version = 0x06
";
    assert_eq!(good(&dir, &["inspect", "meta.db"]), text);
    let json: serde_json::Value =
        serde_json::from_str(&good(&dir, &["inspect", "meta.db", "--json"])).expect("JSON");
    assert_eq!((&json["kind"], &json["sequence"]), (&"bolt file".into(), &1.into()));
    let entries = json["entries"].as_array().expect("a list");
    assert_eq!(entries.len(), 10);
    let expected = [
        (0, r#"{"path":["empty"],"kind":"bucket","keys":0,"sequence":0}"#),
        (7, r#"{"path":["v1","k8s.io","snapshots"],"kind":"bucket","keys":1,"sequence":3}"#),
        (
            8,
            r#"{"path":["v1","k8s.io","snapshots","\u0000\\xff\\\\"],"kind":"value","text":"back\\\\slash"}"#,
        ),
        (9, r#"{"path":["v1","version"],"kind":"value","hex":"06"}"#),
    ];
    for (index, entry) in expected {
        assert_eq!(
            entries[index],
            serde_json::from_str::<serde_json::Value>(entry).expect("JSON"),
            "{index}"
        );
    }
    assert!(good(&dir, &["verify", "meta.db"]).contains("good"));
}

#[test]
fn what_is_no_whole_bolt_file_is_refused() {
    let dir = scratch("bolt-refused");
    let bytes = encode(&sample());
    let mut damaged = bytes.clone();
    damaged[bytes.len() - 4096 + 8] = 0x10;
    let cases: [(&[u8], &[&str], i32, &str); 4] = [
        (&bytes[..bytes.len() - 1], &[], 1, "`meta.db`: expected 8 pages of 4096 bytes, found 32767 bytes"),
        (&bytes[..100], &[], 1, "`meta.db`: expected 8 pages of 4096 bytes, found 100 bytes"),
        (&damaged, &[], 1, "`meta.db`: page 7: expected a leaf or a branch, found a page of kind 0x10"),
        (&bytes, &["--image", "web"], 2, "`meta.db`: no image `web`"),
    ];
    for (bytes, more, code, message) in cases {
        fs::write(dir.join("meta.db"), bytes).expect("written");
        let args = [&["inspect", "meta.db"][..], more].concat();
        let found = bad(&dir, &args, code);
        assert!(found.starts_with(&format!("error: {message}")), "{found}");
    }
}

#[test]
fn a_file_larger_than_may_be_is_refused() {
    let dir = scratch("bolt-large");
    let path = dir.join("meta.db");
    fs::write(&path, encode(&sample())).expect("written");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("there");
    file.set_len((1 << 30) + 1).expect("the hole takes no room");
    let found = bad(&dir, &["inspect", "meta.db"], 1);
    assert!(found.contains("expected a bolt file of at most 1073741824 bytes, found 1073741825"), "{found}");
}
