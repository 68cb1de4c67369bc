"""What is compared with what: each contest makes the same thing from the same tree with several programs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.measure import run

OCISEED = "/opt/ociseed/bin/ociseed"
TREE = "/inputs/tree"
US = "ociseed"


@dataclass(frozen=True)
class Contestant:
    """One way to make it. Turns run in an empty directory of their own."""

    name: str
    steps: list  # pipelines, run one after the other
    made: str  # what is there in the end
    prepare: object = None  # called before the clock starts
    tidy: object = None  # called after it has stopped
    servers: object = tuple  # called after `prepare`: daemons that do the work, by pid


class Limit(NamedTuple):
    """Our time may be at most so many times another's; or that of one of our own ways so many seconds."""

    other: str
    factor: float | None = None
    seconds: float | None = None
    of: str = "wall"  # which of our times: this or `cpu`


@dataclass(frozen=True)
class Contest:
    """Contestants, and what was promised of us."""

    title: str
    contestants: list
    limits: list
    same_size: bool = False  # whether what we make may not be larger than theirs
    baseline: str = US  # whom others are compared with
    # Called in the end with all turns: whether other things that were promised are so, and a sentence about each.
    checks: object = lambda turns: []
    # What others say of themselves, which nobody measured here.
    notes: tuple = ()


def ociseed_layer(compression):
    """Our step, with parameters as a build system writes them."""

    def prepare():
        layer = {"compression": compression, "add": [{"dir": "tree"}]}
        Path("params.json").write_text(json.dumps({"version": 1, "inputs": {"tree": TREE}, "layer": layer}))

    command = [OCISEED, "layer", "--params", "params.json", "--out", "out", "--metadata", "metadata.json"]
    return Contestant(US, [[command]], "out", prepare)


TAR = ["tar", "-C", TREE, "-cf", "-", "."]
TAR_FILE = ["tar", "-C", TREE, "-cf", "out", "."]


def shell(name, script):
    return Contestant(name, [[["bash", "-c", f"set -o pipefail; {script}"]]], "out")


def uncompressed():
    return Contest(
        "A layer without compression, with its digest",
        [
            ociseed_layer("none"),
            Contestant("tar", [[TAR_FILE]], "out"),
            Contestant("tar | tee | sha256sum", [[TAR, ["tee", "out"], ["sha256sum"]]], "out"),
        ],
        [Limit("tar", 1.2)],
    )


def zstd():
    digests = f"tar -C {TREE} -cf - . | tee >(sha256sum >1) | zstd -3 -T2 | tee out | sha256sum >2"
    return Contest(
        "A layer with zstd, level 3, with diff id and digest",
        [
            ociseed_layer({"zstd": 3}),
            Contestant("tar | zstd -3 -T2", [[TAR, ["zstd", "-q", "-3", "-T2", "-o", "out"]]], "out"),
            shell("the same, with both digests", digests),
        ],
        [Limit("tar | zstd -3 -T2", 1.0)],
        same_size=True,
    )


def gzip():
    return Contest(
        "A layer with gzip, with diff id and digest",
        [
            ociseed_layer("gzip"),
            Contestant("tar | pigz -p2", [[TAR, ["pigz", "-p2", ">", "out"]]], "out"),
            Contestant("umoci insert", [[["umoci", "insert", "--image", "out:base", TREE, "/"]]], "out", _umoci_base),
        ],
        [Limit("tar | pigz -p2", 1 / 1.5), Limit("umoci insert", 1.0)],
        same_size=True,
    )


def _umoci_base():
    run([[["umoci", "init", "--layout", "out"]], [["umoci", "new", "--image", "out:base"]]])


def image():
    """The contestants without a daemon."""
    buildah = ["buildah", "--root", "root", "--runroot", "run", "--storage-driver", "overlay"]
    return Contest(
        "An image as one file, with gzip",
        [
            _ociseed_image(),
            Contestant(
                "buildah",
                [
                    [[*buildah, "from", "--name", "web", "scratch"]],
                    [[*buildah, "add", "--quiet", "web", TREE, "/"]],
                    [[*buildah, "commit", "--quiet", "--disable-compression=false", "web", "oci-archive:out"]],
                ],
                "out",
            ),
            Contestant("tar; crane append", [[TAR_FILE], [_crane()]], "image"),
        ],
        [],
    )


def _ociseed_image():
    def prepare():
        spec = {
            "layer": {"web": {"compression": "gzip", "add": [{"dir": "tree"}]}},
            "image": {"web": {"layers": ["web"]}},
            "bundle": {"web": {"format": "docker-archive", "images": {"docker.io/library/web:1": "web"}}},
        }
        Path("spec.json").write_text(json.dumps(spec))

    command = [OCISEED, "build", "spec.json", "--out", "out", "--no-cache", "--input", f"tree={TREE}", "bundle.web"]
    return Contestant(US, [[command]], "out/bundle/web.tar", prepare)


def docker_image(docker):
    """What docker makes of the same tree, with a daemon that runs."""
    client = ["docker", "--host", f"unix://{docker.socket}"]
    children = Path(f"/proc/{docker.pid}/task/{docker.pid}/children").read_text().split()
    return Contestant(
        "docker import; docker save",
        [[TAR, [*client, "import", "-", "web:1"]], [[*client, "save", "--output", "out", "web:1"]]],
        "out",
        tidy=lambda: docker.docker("rmi", "--force", "web:1"),
        servers=lambda: (docker.pid, *map(int, children)),
    )


def _crane():
    return ["crane", "append", "--new_layer", "out", "--new_tag", "docker.io/library/web:1", "--output", "image"]


ALL = {"tar": uncompressed, "zstd": zstd, "gzip": gzip, "image": image}
