"""The tree that is measured: Debian packages, locked by version and sha256, unpacked."""

import hashlib
import shutil
import subprocess
from pathlib import Path

SUITE = "trixie"
LOCK = Path(__file__).parent.parent / "packages.lock"

# Runs in the root of the suite, whose apt checks the archive's signature; "$@" are the packages.
FETCH = """
set -e
apt-get -qq -o APT::Update::Error-Mode=any update >&2
cd /out
apt-get -q -o APT::Sandbox::User=root download "$@" >&2
"""
UNPACK = 'set -e; for deb in /out/debs/*.deb; do dpkg-deb -x "$deb" /out/tree; done'


class Unavailable(Exception):
    """The input cannot be made."""


def read_lock():
    """Returns name, version and sha256 of each package."""
    return [tuple(line.split()) for line in LOCK.read_text().splitlines() if not line.startswith("#")]


def lock_digest():
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]


def make(rig, base):
    """Makes the tree below a directory unless it is there, and returns it."""
    place = base / f"tree-{lock_digest()}"
    if not place.exists():
        new = base / ".new-tree"
        shutil.rmtree(new, ignore_errors=True)
        (new / "debs").mkdir(parents=True)
        lock = read_lock()
        fetch(rig, new / "debs", [f"{name}={version}" for name, version, _ in lock])
        found = {digest for _, digest in _digests(new / "debs")}
        if missing := [name for name, _, digest in lock if digest not in found]:
            raise Unavailable(f"packages with another sha256 than {LOCK.name} says: {', '.join(missing)}")
        (new / "tree").mkdir()
        rig.enter(SUITE, ["bash", "-c", UNPACK], binds=[f"{new}:/out"])
        shutil.rmtree(new / "debs")
        new.rename(place)
    return place / "tree"


def fetch(rig, place, packages):
    command = ["bash", "-c", FETCH, "fetch", *packages]
    try:
        rig.enter(SUITE, command, binds=[f"{place}:/out"])
    except subprocess.CalledProcessError as error:
        hint = "hint: where the mirror has newer packages: bench/run --update"
        raise Unavailable(f"the packages of {LOCK.name} cannot be fetched\n{hint}") from error


def update(rig, base):
    """Writes the lock anew: the same packages, as the mirror has them now."""
    place = base / ".new-debs"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    fetch(rig, place, [name for name, *_ in read_lock()])
    head = [line for line in LOCK.read_text().splitlines() if line.startswith("#")]
    lines = []
    for deb, digest in _digests(place):
        # Debian escapes the colon of an epoch in file names.
        name, version, _ = deb.name.split("_")
        lines.append(f"{name} {version.replace('%3a', ':')} {digest}")
    LOCK.write_text("\n".join([*head, *lines, ""]))
    shutil.rmtree(place)


def _digests(place):
    return [(deb, hashlib.sha256(deb.read_bytes()).hexdigest()) for deb in sorted(place.glob("*.deb"))]


def describe(tree):
    """Counts what is in the tree."""
    files = size = entries = 0
    for path in tree.rglob("*"):
        entries += 1
        if path.is_file() and not path.is_symlink():
            files += 1
            size += path.stat().st_size
    return {"entries": entries, "files": files, "bytes": size, "packages": len(read_lock()), "suite": SUITE}
