"""Contests about disks: layers as EROFS images, plain and compressed, beside those who make such, and what reading them costs."""

import hashlib
import json
from functools import cache
from pathlib import Path

from harness.contests import OCISEED, TREE, US, Contest, Contestant, Limit
from harness.made import make_tar
from harness.measure import run

PLACE = Path("/scratch/disks")
LAYER = PLACE / "layer.tar"
# A time of making, which no two runs share.
UUID = "8d3a1c52-3c6f-4d8e-9b1a-0c2f4e6a8b0d"
MKFS = ["mkfs.erofs", "--quiet", "--tar=f", "--aufs", "-T0", "-U", UUID]
# Clusters are as large as ours: larger ones compress better and cost more to read.
CLUSTERS = "-C65536"
IMAGES = 10
# What an image of many images may have beside their different files.
SHARED = 1.02


@cache
def layer():
    """The tree as a layer that needs no decompression, which would be measured too."""
    PLACE.mkdir()
    params = {"version": 1, "inputs": {"tree": TREE}, "layer": {"compression": "none", "add": [{"dir": "tree"}]}}
    _step("layer", params, LAYER)
    return LAYER


def _step(name, params, out):
    path = PLACE / "params.json"
    path.write_text(json.dumps(params))
    run([[[OCISEED, name, "--params", path, "--out", out]]])


def _parameters(disk, tar):
    # The UUID is given, as to mkfs.erofs; else it follows from what all files hold.
    named = {"medium": "erofs", "layer": "layer", "uuid": UUID, **disk}
    return {"version": 1, "inputs": {"layer": str(tar)}, "disk": named}


def ociseed_disk(name=US, disk=None, tar=LAYER, more=()):
    """Our step, which has no digest to tell unless it is asked for the metadata."""

    def prepare():
        Path("params.json").write_text(json.dumps(_parameters(disk or {}, tar)))

    return Contestant(name, [[[OCISEED, "disk", "--params", "params.json", "--out", "out", *more]]], "out", prepare)


@cache
def _image(name, **disk):
    """An image to copy or to read."""
    path = PLACE / f"{name}.erofs"
    _step("disk", _parameters(disk, layer()), path)
    return path


def erofs():
    layer()
    return Contest(
        "A layer as an EROFS image",
        [
            ociseed_disk(),
            ociseed_disk("with the image's digest", more=["--metadata", "metadata.json"]),
            Contestant("mkfs.erofs --tar=f --aufs", [[[*MKFS, "out", LAYER]]], "out"),
            Contestant("cp of the image", [[["cp", _image("plain"), "out"]]], "out"),
        ],
        [Limit("mkfs.erofs --tar=f --aufs", 1.0), Limit("cp of the image", 1 / 0.8)],
    )


def lz4():
    layer()
    return Contest(
        "A layer as an EROFS image with LZ4, level 9",
        [
            ociseed_disk(disk={"compression": {"lz4": 9}}),
            Contestant("mkfs.erofs -zlz4hc,9", [[[*MKFS, "-zlz4hc,level=9", CLUSTERS, "out", LAYER]]], "out"),
            _squashfs("sqfstar -comp lz4 -Xhc", ["-comp", "lz4", "-Xhc"]),
        ],
        [Limit("mkfs.erofs -zlz4hc,9", 1.0)],
        same_size=True,
    )


def zstd():
    layer()
    return Contest(
        "A layer as an EROFS image with zstd, level 3",
        [
            ociseed_disk(disk={"compression": {"zstd": 3}}),
            Contestant("mkfs.erofs -zzstd,3", [[[*MKFS, "-zzstd,level=3", CLUSTERS, "out", LAYER]]], "out"),
            _squashfs("sqfstar -comp zstd, 3", ["-comp", "zstd", "-Xcompression-level", "3"]),
        ],
        [Limit("mkfs.erofs -zzstd,3", 1.0)],
        same_size=True,
    )


def _squashfs(name, options):
    words = ["sqfstar", "-quiet", "-no-progress", "-b", "65536", *options, "out"]
    return Contestant(name, [[["cat", LAYER], words]], "out")


def reading():
    """Reads every file of a file system that was mounted just now, whose image is in the page cache."""
    layer()
    mkfs = PLACE / "mkfs-lz4.erofs"
    run([[[*MKFS, "-zlz4hc,level=9", CLUSTERS, mkfs, LAYER]]])
    images = {
        "plain": _image("plain"),
        "lz4": _image("lz4", compression="lz4"),
        "zstd": _image("zstd", compression="zstd"),
        "lz4 of mkfs.erofs": mkfs,
    }
    return Contest(
        "Reading all files of the mounted image",
        [Contestant(name, [[["bash", "-c", _READ, "read", image]]], ".") for name, image in images.items()],
        [],
        baseline="plain",
    )


_READ = """
set -e
mkdir mounted && mount -t erofs -o ro,loop "$1" mounted
find mounted -type f -print0 | xargs -0 cat >/dev/null
umount mounted && rmdir mounted
"""


def images():
    """Ten images over one base, each with a file of its own and one of the base's replaced."""
    layer()
    place = PLACE / "images"
    place.mkdir()
    base, tops, spec = _ten(place)
    command = [OCISEED, "build", place / "spec.json", "--cache-dir", place / "cache"]
    run([[[*command, "--out", place / "first", "disk.all"]]])
    mkfs = [[[*MKFS, f"out{number}", tar]] for number, tar in enumerate([base, *tops])]
    return Contest(
        "A seed of ten images over one base, unpacked",
        [
            Contestant(US, [[[*command, "--out", "out", "disk.all"]]], "out/disk/all.erofs"),
            Contestant("mkfs.erofs for each layer", mkfs, "."),
        ],
        [Limit("mkfs.erofs for each layer", 1.0)],
        checks=lambda _: [_shared(place / "first/disk/all.erofs", spec)],
    )


def _ten(place):
    replaced = sorted(path for path in Path(TREE).rglob("*") if path.is_file() and not path.is_symlink())[:IMAGES]
    layers = {"base": {"compression": "none", "add": [{"tar": "layer.tar"}]}}
    images, entries, contents = {}, [], {}
    for number, path in enumerate(replaced):
        key, texts = f"image{number}", [f"{number}\n" * 1000, f"replaced {number}\n" * 1000]
        contents[key] = texts
        there = f"/{path.relative_to(TREE)}"
        add = [{"text": text, "to": to} for text, to in zip(texts, [f"/own/{key}", there], strict=True)]
        layers[key] = {"compression": "none", "add": add}
        images[key] = {"layers": ["base", key]}
        entries.append({"image": key, "name": f"example.org/{key}:1"})
    seed = {"blobs": "metadata", "image": entries}
    spec = {"layer": layers, "image": images, "seed": {"all": seed}, "disk": {"all": {"medium": "erofs", "seed": "all"}}}
    (place / "layer.tar").hardlink_to(LAYER)
    (place / "spec.json").write_text(json.dumps(spec))
    run([[[OCISEED, "build", place / "spec.json", "--cache-dir", place / "cache", "--out", place / "layers"]]])
    tops = [place / f"layers/layer/{key}.tar" for key in images]
    return place / "layers/layer/base.tar", tops, contents


def _shared(image, contents):
    """Compares an image with the sum of the different files in it, which are counted here and not by ociseed."""
    sizes = {}
    for path in Path(TREE).rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                sizes[hashlib.file_digest(file, "sha256").digest()] = path.stat().st_size
    for text in (text.encode() for texts in contents.values() for text in texts):
        sizes[hashlib.sha256(text).digest()] = len(text)
    found = image.stat().st_size / sum(sizes.values())
    return found <= SHARED, f"{found:.4f} times the bytes of its {len(sizes):,} different files, at most {SHARED} promised"


def many_files(count):
    """One layer of so many small files as an image."""
    make_tar("many.tar", count)
    Path("params.json").write_text(json.dumps(_parameters({}, "many.tar")))
    return Contestant(US, [[[OCISEED, "disk", "--params", "params.json", "--out", "out"]]], "out")


ALL = {"erofs": erofs, "erofs-lz4": lz4, "erofs-zstd": zstd, "images": images, "reading": reading}
