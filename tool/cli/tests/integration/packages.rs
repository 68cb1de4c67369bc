//! Debian packages in layers: one, and lists of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::layers::{at, layer, listing, paths, project};
use crate::run::{bad, good, ociseed};

/// Makes a Debian package as packagers do.
fn package(dir: &Path, name: &str, file: &str) {
    let script = format!(
        "mkdir -p p/DEBIAN p/usr/share/{name} && echo {name} > p/usr/share/{name}/{file} && ln -s {file} p/usr/share/{name}/link
         printf 'Package: {name}\\nVersion: 1:2-3\\nArchitecture: all\\nMaintainer: a <a@example.org>\\nDescription: x\\n y\\n' > p/DEBIAN/control
         echo 'd41d8cd98f00b204e9800998ecf8427e  usr/share/{name}/{file}' > p/DEBIAN/md5sums
         printf '#!/bin/sh\\n' | tee p/DEBIAN/postinst > p/DEBIAN/prerm && chmod 755 p/DEBIAN/p*
         SOURCE_DATE_EPOCH=1700000000 dpkg-deb --root-owner-group -Zxz -b p {name}.deb && rm -r p"
    );
    let output = Command::new("sh").args(["-ec", &script]).current_dir(dir).output().expect("sh runs");
    assert!(
        output.status.success(),
        "dpkg-deb is on every build machine: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn packages_bring_their_files_and_say_what_they_are() {
    let dir = project("layer-packages");
    package(&dir, "one", "a");
    package(&dir, "two", "b");
    let spec = layer("{ deb = \"two.deb\", exclude = [\"usr/share/two/link\"] }, { deb = \"one.deb\" }");
    let lines = listing(&dir, &spec);
    let expected = [
        "/usr",
        "/usr/share",
        "/usr/share/one",
        "/usr/share/one/a",
        "/usr/share/one/link",
        "/usr/share/two",
        "/usr/share/two/b",
        "/var",
        "/var/lib",
        "/var/lib/dpkg",
        "/var/lib/dpkg/status.d",
        "/var/lib/dpkg/status.d/one",
        "/var/lib/dpkg/status.d/one.md5sums",
        "/var/lib/dpkg/status.d/two",
        "/var/lib/dpkg/status.d/two.md5sums",
    ];
    assert_eq!(paths(&lines), expected);
    let report: Value =
        serde_json::from_slice(&fs::read(dir.join("out/report.json")).expect("read")).expect("JSON");
    let package = |name: &str| serde_json::json!({ "name": name, "version": "1:2-3", "architecture": "all", "scripts": ["postinst", "prerm"] });
    let packages = serde_json::json!([package("one"), package("two")]);
    assert_eq!(report["targets"]["layer.l"]["packages"], packages);
    let metadata: Value =
        serde_json::from_slice(&fs::read(dir.join("out/layer/l.json")).expect("read")).expect("JSON");
    assert_eq!(metadata["packages"], packages);
    let text = good(&dir, &["build", "spec.toml", "--out", "out"]);
    assert!(text.contains("two 1:2-3: not run: postinst, prerm"), "{text}");

    // The one that wins is the one that is there.
    listing(&dir, &layer("{ deb = \"one.deb\" }, { deb = \"one.deb\", replace = true }"));
    let metadata: Value =
        serde_json::from_slice(&fs::read(dir.join("out/layer/l.json")).expect("read")).expect("JSON");
    assert_eq!(metadata["packages"], serde_json::json!([package("one")]));

    let lines = listing(&dir, &layer("{ deb = \"one.deb\", status = false }"));
    assert!(paths(&lines).iter().all(|path| !path.starts_with("/var")), "{lines:?}");
}

#[test]
fn a_list_of_packages_is_as_an_entry_for_each() {
    let dir = project("layer-package-lists");
    package(&dir, "one", "a");
    package(&dir, "two", "b");
    let listed = |entries: &str| listing(&dir, &layer(entries));
    let keys = "owner = \"33:33\", mtime = 7";
    let list = listed(&format!("{{ deb = [\"one.deb\", \"two.deb\"], exclude = [\"link\"], {keys} }}"));
    let each = listed(&format!(
        "{{ deb = \"one.deb\", exclude = [\"link\"], {keys} }}, {{ deb = \"two.deb\", exclude = [\"link\"], {keys} }}"
    ));
    assert_eq!(list, each);
    assert!(paths(&list).contains(&"/usr/share/two/b"), "{list:?}");

    // A pattern for the one is none for the other.
    let list = listed(
        "{ deb = [\"one.deb\", \"two.deb\"], exclude = [\"usr/share/one/a\", \"usr/share/two/link\"] }",
    );
    let kept: Vec<_> = paths(&list).into_iter().filter(|path| path.matches('/').count() == 4).collect();
    assert_eq!(kept[..2], ["/usr/share/one/link", "/usr/share/two/b"]);
    let list = listed("{ deb = [\"one.deb\", \"two.deb\"], include = [\"usr/share/one\"], status = false }");
    assert_eq!(paths(&list).last(), Some(&"/usr/share/one/link"));

    // The later one wins, wherever it is in the list.
    fs::rename(dir.join("one.deb"), dir.join("first.deb")).expect("renamed");
    package(&dir, "one", "link-of-another");
    let both = "{ deb = [\"first.deb\", \"one.deb\"], exclude = [\"[ab]\"], replace = true }";
    let target = |lines: &[Value]| at(lines, "/usr/share/one/link")["target"].clone();
    assert_eq!(target(&listed(both)), "link-of-another");
    // A build that remembers the other order must not take it for this one.
    assert_eq!(
        target(&listed(&both.replace("\"first.deb\", \"one.deb\"", "\"one.deb\", \"first.deb\""))),
        "a"
    );
}

#[test]
fn mistakes_in_lists_of_packages() {
    let dir = project("layer-package-mistakes");
    package(&dir, "one", "a");
    fs::copy(dir.join("one.deb"), dir.join("same.deb")).expect("copied");
    fs::write(dir.join("no.deb"), "this is no package").expect("written");
    let cases = [
        ("{ deb = [] }", 2, &["2:16: an empty list of packages"][..]),
        ("{ deb = [3] }", 2, &["expected a string"]),
        ("{ deb = 3 }", 2, &["expected a Debian package or a list of them"]),
        ("{ deb = [\"one.deb\"], to = \"/x\" }", 2, &["`deb` cannot have the key `to`"]),
        (
            "{ deb = [\"one.deb\", \"same.deb\"] }",
            2,
            &["two entries write `/usr/share/one/a`: `add[0]` (deb `one.deb`) and `add[0]` (deb `same.deb`)"],
        ),
        (
            "{ deb = [\"one.deb\", \"same.deb\"], exclude = [\"**\"], status = false }, { text = \"\", to = \"/a\" }, { text = \"\", to = \"/a\" }",
            2,
            &["two entries write `/a`: `add[1]` and `add[2]`"],
        ),
        (
            "{ deb = [\"one.deb\", \"gone.deb\", \"lost.deb\"] }",
            1,
            &["layer.l.add[0].deb[1]: ", "gone.deb", "layer.l.add[0].deb[2]: ", "lost.deb"],
        ),
        ("{ deb = [\"one.deb\", \"../up.deb\"] }", 2, &["layer.l.add[0].deb[1]: `../up.deb` leads out"]),
        ("{ deb = [\"one.deb\", \"no.deb\"] }", 1, &["layer.l.add[0].deb[1]: ", "no Debian package"]),
        (
            "{ deb = [\"one.deb\"], exclude = [\"etc\"] }",
            2,
            &["layer.l.add[0]: pattern `etc` matches nothing"],
        ),
        (
            "{ deb = [\"one.deb\", \"same.deb\"], exclude = [\"a\", \"etc\"], replace = true }",
            2,
            &["layer.l.add[0]: pattern `etc` matches nothing"],
        ),
    ];
    for (entries, code, parts) in cases {
        fs::write(dir.join("spec.toml"), layer(entries)).expect("written");
        let message = bad(&dir, &["build", "spec.toml", "--out", "out"], code);
        for part in parts {
            assert!(message.contains(part), "{entries}: {message}");
        }
        assert!(!dir.join("out/report.json").exists(), "{entries}");
    }
}

#[test]
fn a_change_of_any_package_of_a_list_is_noticed() {
    let dir = project("layer-package-changes");
    package(&dir, "one", "a");
    package(&dir, "two", "b");
    let spec = layer("{ deb = [\"one.deb\", \"two.deb\"] }");
    listing(&dir, &spec);
    let explained = || {
        let output = ociseed(&dir, &["build", "spec.toml", "--out", "out", "--explain", "layer.l"]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(explained(), "layer.l: nothing changed\n");
    for (name, file) in [("two", "c"), ("one", "d")] {
        package(&dir, name, file);
        assert!(paths(&listing(&dir, &spec)).contains(&&*format!("/usr/share/{name}/{file}")), "{name}");
    }
    // The same bytes under other names are the same layer.
    fs::rename(dir.join("one.deb"), dir.join("uno.deb")).expect("renamed");
    fs::write(dir.join("spec.toml"), spec.replace("one.deb", "uno.deb")).expect("written");
    assert_eq!(explained(), "layer.l: nothing changed\n");
}

#[test]
fn in_a_step_each_word_of_a_list_is_an_input() {
    let dir = project("layer-package-steps");
    package(&dir, "one", "a");
    package(&dir, "two", "b");
    listing(&dir, &layer("{ deb = [\"one.deb\", \"two.deb\"], exclude = [\"link\"] }"));
    let params = r#"{"version":1,"inputs":{"deb-0":"one.deb"},"layer":{"add":[{"deb":["deb-0","deb-1"],"exclude":["link"]}]}}"#;
    fs::write(dir.join("p.json"), params).expect("written");
    let args = ["layer", "--params", "p.json", "--out", "l.tar.zst"];
    let message = bad(&dir, &args, 2);
    assert!(message.contains("layer.add[0].deb[1]: no input `deb-1`"), "{message}");
    let output = ociseed(&dir, &[&args[..], &["--input", "deb-1=two.deb"]].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let read = |path: &str| fs::read(dir.join(path)).expect(path);
    assert!(read("l.tar.zst") == read("out/layer/l.tar.zst"), "a step makes what a build makes");
}
