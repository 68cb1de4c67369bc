"""What an engine unpacked: for each layer of an image the listing of its directory, by chain id, and what its tar says of it.

    with rig.Containerd() as containerd:
        containerd.load("web.tar")
        layers = unpacked.layers(f"oci-archive:web.tar:{image}", directory)
        for layer, found in zip(layers, unpacked.listings(containerd, image), strict=True):
            lines = probe.compare(expected[layer.chain_id], found, layer.undated)

An overlayfs snapshot of containerd has the files of its own layer only, in the form in which overlayfs takes them; it is what
the overlay form (docs/format.md) must be equal to, but for the times that nobody said. Docker's overlay2 and
containers-storage have such directories too, which differ from it (test_unpacked_stores.py).
"""

import dataclasses
import functools
import hashlib
import json
import tarfile
from pathlib import Path
from typing import NamedTuple

import probe
import probe_image
import rig

PROBE = rig.BINARIES / "ociseed-probe"
WHITEOUT = probe_image.WHITEOUT.decode()
OPAQUE = probe_image.OPAQUE.decode()


class Said(NamedTuple):
    """What the tar of a layer says, by path as the probe writes it."""

    listed: dict  # of members
    implied: set  # directories that are in the way to what is listed but not listed themselves; always the root
    whiteouts: dict  # of members, by the paths that they hide
    opaque: set


@dataclasses.dataclass(frozen=True)
class Layer:
    chain_id: str
    tar: Path

    @property
    def is_lowest(self):
        return _hex(self.chain_id) == self.tar.name

    @functools.cached_property
    def said(self):
        return said(self.tar)

    @property
    def undated(self):
        """The paths that get the time of the unpacking, because the tar says none for them.

        Those are directories that it does not list; the root, since containerd passes over an entry for it; and
        whiteouts, which become devices without a look at the entry's time.
        """
        return self.said.implied | self.said.whiteouts.keys()


def layers(source, directory):
    """The layers of an image, bottom first, as tars; `source` is in skopeo's words.

    skopeo, not ociseed, decompresses: its files are named for the digests of what is in them.
    """
    rig.run(["skopeo", "--insecure-policy", "copy", "--dest-decompress", source, f"dir:{directory}"])
    manifest = json.loads((directory / "manifest.json").read_text())
    config = json.loads((directory / _hex(manifest["config"]["digest"])).read_text())
    diff_ids = config["rootfs"]["diff_ids"]
    return [Layer(chain, directory / _hex(diff)) for chain, diff in zip(chain_ids(diff_ids), diff_ids, strict=True)]


def chain_ids(diff_ids):
    """Names each layer for itself and all below it."""
    chain = []
    for diff_id in diff_ids:
        name = f"{chain[-1]} {diff_id}" if chain else None
        chain.append(f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" if name else diff_id)
    return chain


def _hex(digest):
    return digest.removeprefix("sha256:")


def listings(engine, image):
    """What the probe lists of each layer of an image that was unpacked, bottom first."""
    return [probe.parse(rig.run([PROBE, path]).stdout).entries for path in engine.layer_directories(image)]


def said(tar):
    listed, parents, whiteouts, opaque = {}, {"/"}, {}, set()
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            *parent, name = [part for part in member.name.split("/") if part not in ("", ".")] or [""]
            parents |= {_path(parent[:length]) for length in range(len(parent) + 1)}
            if name == OPAQUE:
                opaque.add(_path(parent))
            elif name.startswith(WHITEOUT):
                whiteouts[_path([*parent, name.removeprefix(WHITEOUT)])] = member
            elif name:
                listed[_path([*parent, name])] = member
    return Said(listed, parents - listed.keys(), whiteouts, opaque)


def _path(parts):
    return "/" + probe.escape("/".join(parts).encode("utf-8", "surrogateescape"))
