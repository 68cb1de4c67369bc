#!/usr/bin/env python3
"""Checks that what registries get of the project agrees with the rest of it.

    check_release.py CHECKOUT

Says all that is wrong. Prints nothing else.
"""

import json
import re
import sys
from pathlib import Path
from typing import Iterator

VERSIONS_OF_BAZEL = '["7.x", "8.x", "9.x"]'
MODULE_VERSION = re.compile(r'module\(\s*name = "ociseed",\s*version = "([^"]*)"')
DEPENDENCY = re.compile(r'bazel_dep\(name = "ociseed", version = "([^"]*)"\)')
# Who says which version of this project they want.
DEPENDENTS = ["docs/bazel/guide.md", "examples/hello/MODULE.bazel", "tests/bazel/smoke/MODULE.bazel"]


def expect(what: str, expected, found) -> Iterator[str]:
    if found != expected:
        yield f"{what}: expected `{expected}`, found `{found}`"


def versions(checkout: Path) -> Iterator[str]:
    cargo = (checkout / "Cargo.toml").read_text(encoding="utf-8")
    version = re.search(r'^\[workspace\.package\]\nversion = "([^"]*)"', cargo, re.MULTILINE)[1]
    module = (checkout / "MODULE.bazel").read_text(encoding="utf-8")
    yield from expect("MODULE.bazel: version", [version], MODULE_VERSION.findall(module))
    # Bazel 8.6 and 9.1 ignore it and warn; later ones will refuse it.
    if "compatibility_level =" in module:
        yield "MODULE.bazel: expected no `compatibility_level`"
    if "bazel_compatibility =" not in module:
        yield "MODULE.bazel: expected `bazel_compatibility`"
    for name in DEPENDENTS:
        found = set(DEPENDENCY.findall((checkout / name).read_text(encoding="utf-8")))
        yield from expect(f"{name}: version of ociseed", {version}, found)


def templates(checkout: Path) -> Iterator[str]:
    metadata = json.loads((checkout / ".bcr/metadata.template.json").read_text(encoding="utf-8"))
    keys = ["homepage", "maintainers", "repository", "versions", "yanked_versions"]
    yield from expect("metadata.template.json: keys", keys, sorted(metadata))
    yield from expect("metadata.template.json: versions, which are filled in by a release", [], metadata["versions"])
    for repository in metadata["repository"]:
        homepage = "https://github.com/" + repository.removeprefix("github:")
        yield from expect("metadata.template.json: homepage", homepage, metadata["homepage"])
    source = json.loads((checkout / ".bcr/source.template.json").read_text(encoding="utf-8"))
    yield from expect("source.template.json: keys", ["integrity", "strip_prefix", "url"], sorted(source))
    archive = source["url"].rpartition("/")[2]
    yield from expect("source.template.json: name of the archive", source["strip_prefix"] + ".tar.gz", archive)


def archive(checkout: Path, module_path: str) -> Iterator[str]:
    paths = (checkout / ".bcr/archive").read_text(encoding="utf-8").split()
    yield from (f"archive: `{path}` is not there" for path in paths if not (checkout / path).exists())
    yield from (f"archive: expected `{path}`" for path in ["LICENSE", "MODULE.bazel", "bazel", module_path] if path not in paths)


def presubmit(checkout: Path) -> Iterator[str]:
    text = (checkout / ".bcr/presubmit.yml").read_text(encoding="utf-8")
    matrices = re.findall(r"^ +bazel: (\[.*\])$", text, re.MULTILINE)
    yield from expect("presubmit.yml: versions of Bazel", [VERSIONS_OF_BAZEL] * 2, matrices)
    (module_path,) = re.findall(r'^  module_path: "(.*)"$', text, re.MULTILINE)
    yield from archive(checkout, module_path)


def main() -> None:
    checkout = Path(sys.argv[1])
    wrong = [*versions(checkout), *templates(checkout), *presubmit(checkout)]
    for what in wrong:
        print(f"error: {what}")
    sys.exit(1 if wrong else 0)


main()
