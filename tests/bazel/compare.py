#!/usr/bin/env python3
"""Compares what Bazel made with what `ociseed build` made of the same spec, byte for byte.

    compare.py OCISEED BAZEL_DIR SPEC_DIR BAZEL_PATH=SPEC_PATH...

Paths are files, or directories, whose files and their names must be the same. Prints the digests, for directories with a seed
the seed id.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digests(path: Path) -> dict[str, str]:
    """Returns the digest of a file, or of each file below a directory, by relative path."""
    if path.is_file():
        return {"": digest(path.read_bytes())}
    files = {str(file.relative_to(path)): digest(file.read_bytes()) for file in path.rglob("*") if file.is_file()}
    if not files:
        sys.exit(f"error: {path} is not there or is empty")
    return files


def summary(path: Path) -> str:
    """Returns what stands for a file or directory in the report."""
    lock = path / "seed.json" if path.is_dir() else path
    if lock.name == "seed.json" and lock.is_file():
        content = json.loads(lock.read_bytes())["content"]
        # Canonical JSON (RFC 8785), as far as strings of ASCII, integers and booleans go.
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return "seed id " + digest(text.encode("ascii"))
    files = digests(path)
    return files.get("", f"{len(files)} files")


def differences(ours: Path, theirs: Path) -> list[str]:
    """Names every file that is not the same."""
    found, expected = digests(ours), digests(theirs)
    return [
        f"{ours.name}{'/' * bool(name)}{name}: the spec's build has {expected.get(name)}, Bazel {found.get(name)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


def main() -> None:
    ociseed, bazel, spec = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    failed = False
    for ours, _, theirs in (pair.partition("=") for pair in sys.argv[4:]):
        wrong = differences(bazel / ours, spec / theirs)
        for text in wrong:
            print(f"error: {text}", file=sys.stderr)
        if wrong:
            # Of layers, seeds and the like it says more than digests do.
            subprocess.run([ociseed, "diff", spec / theirs, bazel / ours], check=False, stdout=sys.stderr)
        if not wrong:
            print(f"    {ours:<24} {summary(spec / theirs)}")
        failed = failed or bool(wrong)
    sys.exit(1 if failed else 0)


main()
