//! Closures of Nix in layers: which paths, with which metadata, by which plan; and bundles and seeds that link to blobs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::golden;
use crate::layers::{at, layer, listing, paths};
use crate::run::{bad, digests, good, scratch, workspace};

/// The number makes the hash.
fn named(number: usize, name: &str) -> String {
    format!("{number:032}-{name}")
}

fn app() -> String {
    named(1, "app-1.0")
}

fn library() -> String {
    named(2, "libc-2.40")
}

fn link() -> String {
    named(3, "link")
}

fn graph(of: &[(&str, u64, &[&str])]) -> Value {
    let path = |name: &str| format!("/nix/store/{name}");
    let item = |(name, size, references): &(&str, u64, &[&str])| {
        json!({ "path": path(name), "narHash": format!("sha256:{}", "0".repeat(64)), "narSize": size,
            "references": references.iter().map(|name| path(name)).collect::<Vec<_>>() })
    };
    of.iter().map(item).collect()
}

/// A store with a directory, a file and a link, and the graph of the three.
fn project(name: &str) -> PathBuf {
    let dir = scratch(name);
    let store = dir.join("store");
    fs::create_dir_all(store.join(app()).join("bin")).expect("made");
    fs::write(store.join(app()).join("bin/app"), "app\n").expect("written");
    fs::set_permissions(store.join(app()).join("bin/app"), fs::Permissions::from_mode(0o700)).expect("set");
    symlink("app", store.join(app()).join("bin/link")).expect("linked");
    fs::write(store.join(library()), "library\n").expect("written");
    symlink(format!("/nix/store/{}", library()), store.join(link())).expect("linked");
    let all =
        graph(&[(&app(), 300, &[&app(), &link()]), (&library(), 200, &[]), (&link(), 100, &[&library()])]);
    write(&dir, "graph.json", &json!({ "closure": all, "name": "other keys of a derivation" }));
    dir
}

fn write(dir: &Path, name: &str, document: &Value) {
    fs::write(dir.join(name), document.to_string()).expect("written");
}

fn closure(keys: &str) -> String {
    layer(&format!("{{ closure = {{ store = \"store\", {keys} }} }}"))
}

#[test]
fn paths_are_as_a_nix_store_has_them() {
    let dir = project("closure-paths");
    let lines = listing(&dir, &closure("graph = \"graph.json\""));
    let below = |path: String| format!("/nix/store/{path}");
    let expected = [
        "/nix".to_owned(),
        "/nix/store".to_owned(),
        below(app()),
        below(format!("{}/bin", app())),
        below(format!("{}/bin/app", app())),
        below(format!("{}/bin/link", app())),
        below(library()),
        below(link()),
    ];
    assert_eq!(paths(&lines), expected);
    for (path, kind, mode) in [
        (&expected[2], "directory", "0555"),
        (&expected[3], "directory", "0555"),
        (&expected[4], "file", "0555"),
        (&expected[5], "symlink", "0777"),
        (&expected[6], "file", "0444"),
        (&expected[7], "symlink", "0777"),
    ] {
        let line = at(&lines, path);
        assert_eq!((&line["kind"], &line["mode"], &line["mtime"]), (&kind.into(), &mode.into(), &"1".into()));
        assert_eq!((&line["uid"], &line["gid"]), (&0.into(), &0.into()));
    }
    assert_eq!(at(&lines, &expected[7])["target"], below(library()));
    assert_eq!(at(&lines, "/nix/store")["mode"], "0755");
}

#[test]
fn what_lies_below_is_left_out_and_names_may_be_given() {
    let dir = project("closure-below");
    let mut document: Value =
        serde_json::from_slice(&fs::read(dir.join("graph.json")).expect("read")).expect("JSON");
    document["below"] = graph(&[(&library(), 200, &[]), (&link(), 100, &[&library()])]);
    write(&dir, "graph.json", &document);
    let of_graph = listing(&dir, &closure("graph = \"graph.json\""));
    assert!(!paths(&of_graph).contains(&&*format!("/nix/store/{}", library())));
    assert_eq!(listing(&dir, &closure(&format!("paths = [\"{}\"]", app()))), of_graph);
    // What is said of an entry and by rules comes over it.
    let spec = format!(
        "[layer.l]\nadd = [{{ closure = {{ store = \"store\", paths = [\"{}\"] }}, owner = \"7:8\", to = \"/a\" }}]\n\
         set = [{{ path = \"*/*/bin/app\", mode = \"4755\", capabilities = \"cap_kill=ep\" }}]\n",
        app()
    );
    let file = at(&listing(&dir, &spec), &format!("/a/{}/bin/app", app())).clone();
    assert_eq!((&file["mode"], &file["uid"], &file["gid"]), (&"4755".into(), &7.into(), &8.into()));
    assert!(file["xattrs"]["security.capability"].is_string(), "{file}");
}

#[test]
fn a_changed_graph_and_a_changed_path_are_seen_by_the_next_build() {
    let dir = project("closure-cache");
    let spec = closure("graph = \"graph.json\"");
    let first = listing(&dir, &spec);
    assert_eq!(listing(&dir, &spec), first);
    fs::write(dir.join("store").join(library()), "another library\n").expect("written");
    let changed = listing(&dir, &spec);
    assert_eq!(at(&changed, &format!("/nix/store/{}", library()))["size"], 16);
    write(&dir, "graph.json", &json!({ "closure": graph(&[(&library(), 200, &[])]) }));
    assert_eq!(paths(&listing(&dir, &spec)).len(), 3);
}

#[test]
fn plans_spread_a_closure_over_layers() {
    let dir = project("closure-plans");
    let plan = |keys: Value| {
        let mut table = json!({ "graph": "graph" });
        table.as_object_mut().expect("a table").extend(keys.as_object().expect("a table").clone());
        write(
            &dir,
            "plan-params.json",
            &json!({ "version": 1, "plan": table,
            "inputs": { "graph": "graph.json", "old": "plan.json" } }),
        );
        assert_eq!(good(&dir, &["plan", "--params", "plan-params.json", "--out", "plan.json"]), "");
        serde_json::from_slice::<Value>(&fs::read(dir.join("plan.json")).expect("read")).expect("JSON")
    };
    assert_eq!(plan(json!({}))["layers"], json!([[library()], [link()], [app()]]));
    assert_eq!(
        plan(json!({ "policy": "balanced", "max-layers": 2 }))["layers"],
        json!([[library(), link()], [app()]])
    );
    let part = |number: usize| {
        let keys = format!("graph = \"graph.json\", plan = \"plan.json\", part = {number}");
        listing(&dir, &closure(&keys)).len()
    };
    assert_eq!([part(0), part(1), part(2)], [4, 6, 0], "one number too many is an empty layer");
    // A new version of the library stays where the old one was.
    let new = named(9, "libc-2.40");
    fs::rename(dir.join("store").join(library()), dir.join("store").join(&new)).expect("moved");
    let all = graph(&[(&app(), 300, &[&app(), &link()]), (&new, 200, &[]), (&link(), 100, &[&new])]);
    write(&dir, "graph.json", &json!({ "closure": all }));
    let stderr = bad(&dir, &["build", "spec.toml"], 1);
    assert!(stderr.contains("layer.l.add[0]: only the layer plan has"), "{stderr}");
    assert!(stderr.contains("ociseed plan"), "{stderr}");
    assert_eq!(plan(json!({ "previous": "old" }))["layers"], json!([[link(), new], [app()]]));
    write(&dir, "graph.json", &json!({ "closure": graph(&[(&new, 200, &[]), (&named(4, "x"), 1, &[])]) }));
    let stderr = bad(&dir, &["build", "spec.toml"], 1);
    assert!(stderr.contains("layer plan"), "{stderr}");
    let stderr = bad(
        &dir,
        &["plan", "--params-json", r#"{"version":1,"plan":{"graph":"g","max-layers":121}}"#, "--out", "x"],
        2,
    );
    assert!(stderr.contains("`max-layers` is 121, expected 1 to 120"), "{stderr}");
}

#[test]
fn what_a_closure_may_not_have_is_refused() {
    let dir = project("closure-limits");
    let fails = |keys: &str, code: i32| {
        fs::write(dir.join("spec.toml"), closure(keys)).expect("written");
        bad(&dir, &["build", "spec.toml"], code)
    };
    let stderr = fails("graph = \"graph.json\", disallow = [\"gcc-*\", \"libc-*\"]", 1);
    let way = format!("`{}` refers to `{}` refers to `{}`", app(), link(), library());
    assert!(stderr.contains("which `libc-*` disallows") && stderr.contains(&way), "{stderr}");
    for (limit, message) in [("\"disallow\":[\"libc-*\"]", &*way), ("\"max-size\":599", "has 600 bytes")] {
        let text = format!(
            "{{\"version\":1,\"inputs\":{{\"g\":\"graph.json\"}},\"plan\":{{\"graph\":\"g\",{limit}}}}}"
        );
        let stderr = bad(&dir, &["plan", "--params-json", &text, "--out", "plan.json"], 1);
        assert!(stderr.contains(message) && stderr.contains("error: `plan`: the closure has"), "{stderr}");
        assert!(!dir.join("plan.json").exists());
    }
    let stderr = fails("graph = \"graph.json\", max-size = 599", 1);
    assert!(stderr.contains("has 600 bytes, at most 599 are allowed"), "{stderr}");
    let stderr = fails("graph = \"graph.json\", paths = []", 2);
    assert!(stderr.contains("`closure`: expected one of `graph` and `paths`"), "{stderr}");
    let stderr = fails(&format!("paths = [\"{}\"]", named(5, "none")), 1);
    assert!(stderr.contains(&named(5, "none")), "{stderr}");
    write(&dir, "graph.json", &json!({ "closure": [] }));
    let stderr = fails("graph = \"graph.json\"", 1);
    assert!(stderr.contains("the reference graph has no paths"), "{stderr}");
    let item = json!({ "path": format!("/gnu/store/{}", library()), "narSize": 1, "references": [],
        "narHash": format!("sha256:{}", "0".repeat(64)) });
    write(&dir, "graph.json", &json!({ "closure": [item] }));
    let stderr = fails("graph = \"graph.json\"", 2);
    assert!(stderr.contains("say `to = \"/gnu/store\"`"), "{stderr}");
}

#[test]
fn a_database_knows_the_paths() {
    let dir = project("closure-database");
    let lines = listing(&dir, &layer("{ nix-database = \"graph.json\" }"));
    let root = format!("/nix/var/nix/gcroots/ociseed/{}", app());
    let expected = [
        "/nix",
        "/nix/var",
        "/nix/var/nix",
        "/nix/var/nix/db",
        "/nix/var/nix/db/db.sqlite",
        "/nix/var/nix/db/schema",
        "/nix/var/nix/gcroots",
        "/nix/var/nix/gcroots/ociseed",
        &root,
    ];
    assert_eq!(paths(&lines), expected);
    assert_eq!(at(&lines, &root)["target"], format!("/nix/store/{}", app()));
    assert_eq!(at(&lines, "/nix/var/nix/db/db.sqlite")["mode"], "0644");
}

#[test]
fn bundles_and_seeds_link_to_blobs_where_they_were_given() {
    let dir = golden::build("links", "2");
    for (from, to) in
        [("image/over.json", "over.json"), ("image/web.json", "web.json"), ("image/arm.json", "arm.json")]
    {
        fs::copy(dir.join("out").join(from), dir.join(to)).expect("copied");
    }
    let absolute = |path: &str| dir.join(path).to_str().expect("UTF-8").to_owned();
    let step = |name: &str, out: &str, links: bool| {
        let text = fs::read(workspace().join("tests/golden/format").join(format!("{name}-params.json")));
        let mut params: Value = serde_json::from_slice(&text.expect("read")).expect("JSON");
        for (word, file) in [
            ("site", "out/layer/site.tar.zst"),
            ("site-metadata", "out/layer/site.json"),
            ("plain", "out/layer/plain.tar"),
            ("plain-metadata", "out/layer/plain.json"),
            ("base", "base"),
        ] {
            if params["inputs"].get(word).is_some() {
                params["inputs"][word] = absolute(file).into();
            }
        }
        if name == "bundle" {
            params["bundle"]["format"] = "layout".into();
        }
        write(&dir, "params.json", &params);
        let mut args = vec![name, "--params", "params.json", "--out", out];
        args.extend(links.then_some("--link-blobs"));
        (params, args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    };
    for name in ["bundle", "seed"] {
        let mut made = Vec::new();
        for (out, links) in [("copied", false), ("linked", true)] {
            let (params, args) = step(name, &format!("{name}-{out}"), links);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            if links {
                let mut relative = params.clone();
                let inputs = relative["inputs"].as_object_mut().expect("a table");
                let blob =
                    inputs.iter_mut().find(|(_, path)| path.as_str().expect("text").ends_with(".tar.zst"));
                *blob.expect("a blob").1 = "out/layer/site.tar.zst".into();
                write(&dir, "params.json", &relative);
                let stderr = bad(&dir, &args, 2);
                assert!(stderr.contains("is no absolute path"), "{stderr}");
                write(&dir, "params.json", &params);
            }
            assert_eq!(good(&dir, &args), "");
            made.push(dir.join(format!("{name}-{out}")));
        }
        let [copied, linked] = &*made else { unreachable!("two were made") };
        let mut links = 0;
        for blob in fs::read_dir(linked.join("blobs/sha256")).expect("read") {
            let blob = blob.expect("read").path();
            if blob.is_symlink() {
                links += 1;
                assert!(fs::read_link(&blob).expect("a link").starts_with(&dir), "{}", blob.display());
            }
            let same = copied.join("blobs/sha256").join(blob.file_name().expect("a name"));
            assert!(fs::read(&blob).expect("read") == fs::read(&same).expect("read"), "{}", blob.display());
        }
        assert!(links >= 2, "{links} links in {name}");
        let count = |of: &Path| fs::read_dir(of.join("blobs/sha256")).expect("read").count();
        assert_eq!(count(copied), count(linked));
        good(&dir, &["verify", "--follow-links", linked.to_str().expect("UTF-8")]);
        // Only what is right is linked.
        let blob = dir.join("out/layer/site.tar.zst");
        let right = fs::read(&blob).expect("read");
        let mut wrong = right.clone();
        wrong[20] ^= 1;
        fs::write(&blob, wrong).expect("written");
        let (_, args) = step(name, "wrong", true);
        let stderr = bad(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>(), 1);
        assert!(stderr.contains("site.tar.zst"), "{stderr}");
        assert!(!dir.join("wrong").exists());
        fs::write(&blob, right).expect("written");
    }
    let (mut params, args) = step("bundle", "tar", true);
    params["bundle"]["format"] = "oci-archive".into();
    write(&dir, "params.json", &params);
    let stderr = bad(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    assert!(stderr.contains("`--link-blobs` makes links in a directory"), "{stderr}");
    assert!(!digests(&dir.join("bundle-copied")).is_empty());
}
