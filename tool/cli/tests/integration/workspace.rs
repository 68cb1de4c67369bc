//! The workspace keeps its own rules: who depends on whom, and which lints make crates pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use crate::run::workspace;

/// Who may depend on whom (docs/decisions, design): each crate and all that it may use.
const DIRECTION: [(&str, &[&str]); 11] = [
    ("spec", &[]),
    ("tree", &["spec"]),
    ("store", &["spec"]),
    ("containerd", &[]),
    ("nix", &["spec"]),
    ("image", &["spec", "tree"]),
    ("media", &["spec", "tree"]),
    ("seed", &["spec", "tree", "image", "store"]),
    ("loader", &["spec", "store", "containerd"]),
    ("load", &["spec", "store", "containerd"]),
    ("cli", &["spec", "tree", "image", "store", "seed", "media", "nix"]),
];

#[test]
fn crates_depend_in_one_direction() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let short =
        |name: &str| if name == "ociseed" { "cli".to_owned() } else { name.replacen("ociseed-", "", 1) };
    let ours = |name: &str| name == "ociseed" || name.starts_with("ociseed-");
    let packages = metadata["packages"].as_array().expect("a list");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages.iter().filter(|package| ours(package["name"].as_str().expect("a name"))) {
        let dependencies = package["dependencies"].as_array().expect("a list").iter();
        let names =
            dependencies.filter_map(|dependency| dependency["name"].as_str()).filter(|name| ours(name));
        found.insert(short(package["name"].as_str().expect("a name")), names.map(short).collect());
    }
    let drawn: BTreeMap<_, _> = DIRECTION.iter().map(|(name, may)| ((*name).to_owned(), may)).collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), drawn.keys().collect::<Vec<_>>(), "draw new crates here");
    for (name, uses) in &found {
        let extra: Vec<_> = uses.iter().filter(|used| !drawn[name].contains(&used.as_str())).collect();
        assert!(extra.is_empty(), "`{name}` must not depend on {extra:?}");
    }
}

#[test]
fn pure_crates_share_one_list_of_bans() {
    let list =
        |name: &str| fs::read_to_string(workspace().join("tool").join(name).join("clippy.toml")).expect(name);
    let expected = list("spec");
    for name in ["tree", "image", "seed", "media", "nix"] {
        assert!(list(name) == expected, "tool/{name}/clippy.toml differs from tool/spec/clippy.toml");
    }
    for ban in [
        "HashMap",
        "SystemTime::now",
        "env::var",
        "std::fs::read",
        "serde_json::to_vec",
        "available_parallelism",
    ] {
        assert!(expected.contains(ban), "{ban}");
    }
}

#[test]
fn pure_crates_do_not_allow_their_bans() {
    for name in ["spec", "tree", "image", "seed", "media", "nix"] {
        for entry in fs::read_dir(workspace().join("tool").join(name).join("src")).expect(name) {
            let path = entry.expect("can be read").path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            for lint in ["allow(clippy::disallowed", "expect(clippy::disallowed"] {
                assert!(!text.contains(lint), "{}", path.display());
            }
        }
    }
}
