"""Contests of boots: what passes from power to the first container's output, with images placed and with images imported.

The machine is one that QEMU emulates, of the tests' own appliance (tests/e2e/appliance.py): seconds are many times those of a
real one, and what counts is how many times another's they are. A turn is QEMU from its start until the guest, having said what
its first container says, cuts its own power.
"""

import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.contests import OCISEED, TREE, US, Contest, Contestant, Limit
from harness.measure import Failed, run
from harness.rig import SOURCE

# The suite whose root has QEMU, a kernel and what appliances are made of.
SUITE = "bookworm"
PACKAGES = ["qemu-system-x86", "containerd", "runc"]
PLACE = Path("/scratch/boots")
# Parts of the tree that are about 100 MB together; `base` is in all three images.
PARTS = {
    "base": "usr/lib/python3.13",
    "git": "usr/lib/git-core",
    "ruby": "usr/lib/ruby",
    "perl": "usr/share/perl",
}
IMAGES = {f"docker.io/library/{key}:1": key for key in PARTS if key != "base"}
SAID = "the first container"
FIRST = next(iter(IMAGES))
ARCHIVE = "/run/archives/images.tar"
# The pipe ends the guest before `ctr` tidies up after the container.
RUN = f'ctr run --rm {FIRST} first /bin/busybox echo "{SAID}" | {{ read -r line && echo "$line" && poweroff -f; }}\n'
SAY = f'ctr run --rm {FIRST} first /bin/busybox echo "{SAID}"\n'
IMPORT = f"ctr images import {ARCHIVE} >/dev/null\n"
NAMESPACE = "export CONTAINERD_NAMESPACE=k8s.io\n"


@cache
def tests():
    """The modules that tests boot appliances with."""
    os.environ["OCISEED_SUITE"] = SUITE
    sys.path.insert(0, str(SOURCE / "tests/e2e"))
    import appliance

    return appliance


@cache
def built():
    """Builds the disk of the seed and the disk of the archive from the same images."""
    PLACE.mkdir()
    layers = {key: {"compression": "gzip", "add": [{"dir": key, "to": f"/{path}"}]} for key, path in PARTS.items()}
    layers["base"]["add"].append({"file": "busybox", "to": "/bin/busybox", "mode": "0755"})
    layers["archive"] = {"compression": "none", "add": [{"file": "archive", "to": "/images.tar"}]}
    images = {key: {"layers": ["base", key]} for key in IMAGES.values()}
    entries = [{"image": key, "name": name, "namespaces": ["k8s.io"]} for name, key in IMAGES.items()]
    spec = {
        "layer": layers,
        "image": images,
        "bundle": {"images": {"format": "oci-archive", "images": IMAGES}},
        "seed": {"all": {"stores": ["containerd"], "image": entries}},
        "disk": {
            "seed": {"medium": "erofs", "seed": "all", "label": "seed"},
            "archive": {"medium": "erofs", "layer": "archive"},
        },
    }
    (PLACE / "spec.json").write_text(json.dumps(spec))
    # What the second needs is made by the first.
    _build("bundle.images", "disk.seed")
    _build("disk.archive")
    return PLACE / "out/disk/seed.erofs", PLACE / "out/disk/archive.erofs"


def _build(*targets):
    inputs = {key: f"{TREE}/{path}" for key, path in PARTS.items()}
    inputs |= {"busybox": "/bin/busybox", "archive": PLACE / "out/bundle/images.tar"}
    given = [f"--input={key}={path}" for key, path in inputs.items()]
    run([[[OCISEED, "build", PLACE / "spec.json", "--out", PLACE / "out", *given, *targets]]])


@dataclass(frozen=True)
class Way:
    """One way from a disk to containers: what comes before containerd starts, and what before the first container does."""

    name: str
    disk: str  # of `disks`
    before: str = ""
    script: str = ""

    def boot(self, guest):
        """Boots to the end, which leaves in /var what it leaves."""
        guest.seed = disks()[self.disk]
        guest.boot(NAMESPACE + self.script + SAY, before=self.before)

    def contestant(self, guest):
        """Boots a copy of a guest's root disk, in each turn."""
        twin = guest.copy(PLACE / f"{guest.directory.name}, {self.name}")
        pristine, twin.seed, twin.disk = twin.disk, disks()[self.disk], Path("root.ext4")
        command = twin.command(NAMESPACE + self.script + RUN, before=self.before)
        # All begin as the guest's disk is; a copy for each would only take space.
        pristine.unlink()
        size = str(twin.seed.path)
        return Contestant(self.name, [[[*command, ">", "console"]]], size, lambda: _copy(guest.disk), _check)


def _place(trust):
    return f"ociseed-loader place --seed LABEL=seed --trust {trust}\n"


PLACED = [Way(US if trust == "sealed" else f"--trust {trust}", "seed", _place(trust)) for trust in ("sealed", "unchecked")]
PLACED.append(Way("--trust verity", "verity", _place("verity")))
IMPORTED = Way("ctr images import", "archive", script=IMPORT)
KEPT = Way("what was imported before", "archive")


@cache
def disks():
    """What the ways have beside the root disk."""
    seed, archive = built()
    appliance = tests()
    return {
        "seed": appliance.SeedDisk(seed, mount=""),
        "verity": appliance.verity_disk(seed, mount=""),
        "archive": appliance.SeedDisk(archive, mount="/run/archives"),
    }


@cache
def new():
    """The guest that never ran."""
    built()
    directory = PLACE / "new"
    directory.mkdir()
    return tests().Appliance(directory)


@cache
def ran(way):
    """A guest that ran once."""
    guest = new().copy(PLACE / f"ran by {way.name}")
    way.boot(guest)
    return guest


def _copy(disk):
    run([[["cp", "--sparse=always", disk, "root.ext4"]]])


def _check():
    console = Path("console").read_text(errors="replace")
    if SAID not in console.splitlines():
        raise Failed(f"the first container said nothing; the guest's console:\n{console}")


def first():
    return Contest(
        "From power to a container's output, at the first boot of an emulated machine",
        [way.contestant(new()) for way in (*PLACED, IMPORTED)],
        _limits(),
    )


def second():
    return Contest(
        "From power to a container's output, at the second boot of an emulated machine",
        # All ways to place leave the same.
        [*(way.contestant(ran(PLACED[0])) for way in PLACED), *(way.contestant(ran(IMPORTED)) for way in (IMPORTED, KEPT))],
        _limits(),
    )


def _limits():
    """What others import at each boot must not be faster, on a machine that does nothing else or on one that does."""
    return [Limit(IMPORTED.name, 1.0), Limit(IMPORTED.name, 1.0, of="cpu")]


ALL = {"boot": first, "boot-again": second}
