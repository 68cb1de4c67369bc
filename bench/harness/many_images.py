"""Many images of many small layers in one seed: making their disk, placing them, and starting containerd with them."""

import json
import shutil
from pathlib import Path

from harness.contests import OCISEED, US, Contestant
from harness.measure import run
from harness.placing import LOADER, START, Containerd, unmount_seeds

LAYERS = 20
NAMESPACES = ["k8s.io", "moby"]
SPEC = Path("images.json")
BUILD = [OCISEED, "build", SPEC, "--cache-dir", "cache", "disk.all", "--out"]

# All that clients ask for: names and snapshots of both namespaces. In k8s.io an image has three names.
LIST = """
set -eo pipefail
count() { ctr --address "$1/sock" --namespace "$2" "$3" ls $4 | wc -l; }
[ $(count "$1" k8s.io images -q) = $((3 * $2)) ]
[ $(count "$1" moby images -q) = "$2" ]
for namespace in k8s.io moby; do
    [ $(count "$1" $namespace snapshots) = $(($2 * $3 + 1)) ]
done
"""


def build(count):
    """The disk of so many images, with an empty cache."""
    _write_spec(count)
    return Contestant(US, [[[*BUILD, "out"]]], "out")


def place(count):
    """Placing so many images, with nobody to vouch for them."""
    return Contestant(US, [_place(_disk(count))], "out", tidy=unmount_seeds)


def _place(disk, root="out"):
    return [[LOADER, "place", "--seed", disk, "--root", root, "--trust", "unchecked", "--state-dir", "state"]]


def start(count):
    """Starting containerd on a root with so many images until it has listed them, and stopping it."""
    disk = _disk(count)
    containerd = Containerd(NAMESPACES[0])

    def prepare():
        shutil.rmtree(containerd.root, ignore_errors=True)
        run([_place(disk, containerd.root)])

    question = ["bash", "-c", LIST, "list", containerd.directory, str(count), str(LAYERS)]
    command = ["bash", "-c", START, "start", containerd.directory, *question]
    return Contestant(US, [[command]], "out", prepare, unmount_seeds)


def _disk(count):
    disk = Path(f"images-{count}.erofs")
    if not disk.exists():
        _write_spec(count)
        run([[[*BUILD, "made"]]])
        Path("made/disk/all.erofs").rename(disk)
        for name in ("made", "cache"):
            shutil.rmtree(name)
    return disk


def _write_spec(count):
    layers, images, entries = {}, {}, []
    for number in range(count):
        keys = [f"l{number}-{layer}" for layer in range(LAYERS)]
        layers |= {key: {"compression": "none", "add": [{"text": key, "to": f"/{key}"}]} for key in keys}
        images[f"i{number}"] = {"layers": keys}
        entries.append({"image": f"i{number}", "name": f"example.org/i{number}:1", "namespaces": NAMESPACES})
    spec = {"layer": layers, "image": images}
    spec["seed"] = {"all": {"stores": ["containerd"], "image": entries}}
    spec["disk"] = {"all": {"medium": "erofs", "seed": "all"}}
    SPEC.write_text(json.dumps(spec))


ALL = {
    "images-build": ("Many images: their disk, with an empty cache", "images", build),
    "images-place": ("Many images: placing them", "images", place),
    "images-start": ("Many images: containerd's start until they are listed", "images", start),
}
