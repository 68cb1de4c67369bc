"""Contests about placed roots: images that are there when containerd starts, beside those that are imported, or hashed."""

import contextlib
import json
import os
import shutil
import statistics
import sys
from functools import cache
from pathlib import Path

from harness import cached
from harness.contests import OCISEED, TREE, Contest, Contestant, Limit
from harness.measure import run
from harness.report import times
from harness.rig import SOURCE
from harness.written import Volume

sys.path.insert(0, str(SOURCE / "tests/e2e"))

from engine_base import unmount_below
from engine_containerd import Containerd

LOADER = "/opt/ociseed/bin/ociseed-loader"
PLACE = Path("/scratch/placing")
# Links in placed roots lead through it.
RUN = Path("/run/ociseed")
NAMESPACE = "k8s.io"
IMAGES = 4
# Each image has the shared layers and as many of its own.
SHARED = OWN = 2
LAYERS = SHARED + IMAGES * OWN
# In the directory of a turn: a link to that of its containerd.
ENGINE = "engine"
SOCKET = f"/scratch/turn/{ENGINE}/sock"

UNCHECKED, IMPORT, IMPORT_GZIP = "unchecked", "ctr images import", "ctr images import, gzip"

# How many times our time importing takes at least, and hashing a seed at most that of sha256sum of its files.
IMPORT_TIMES, HASH_TIMES = 200, 1.3
# What the loader and the engine may write, in all and a layer.
WRITTEN, WRITTEN_A_LAYER = 1_000_000, 8_000

# Leaves how long it was from containerd's start until it answered at all and until a command had its answer, and that answer.
START = """
set -e
directory=$1 && shift
began=${EPOCHREALTIME/./}
since() { echo $((${EPOCHREALTIME/./} - began)); }
containerd --config "$directory/config.toml" >>"$directory/log" 2>&1 & daemon=$!
until [ -S "$directory/sock" ] && ctr --address "$directory/sock" version >/dev/null 2>&1; do
    kill -0 $daemon
    sleep 0.002
done
since >"$directory/microseconds"
"$@" >"$directory/answer"
since >>"$directory/microseconds"
kill $daemon
wait $daemon || true
"""


@cache
def medium():
    """A seed with the tree as images of several layers, as an EROFS image with their blobs, uncompressed."""
    _build("disk.all")
    return PLACE / "out/disk/all.erofs"


@cache
def archive(compression):
    """The same images as an archive."""
    _build(f"bundle.{compression}")
    return PLACE / f"out/bundle/{compression}.tar"


def _build(target):
    PLACE.mkdir(exist_ok=True)
    (PLACE / "spec.json").write_text(json.dumps(_spec()))
    command = [OCISEED, "build", PLACE / "spec.json", "--input", f"tree={TREE}", "--out", PLACE / "out", "--no-cache"]
    run([[[*command, target]]])


def _spec():
    names = {f"image{number}": f"example.org/image{number}:1" for number in range(IMAGES)}
    entries = [{"image": f"none-{key}", "name": name, "namespaces": [NAMESPACE]} for key, name in names.items()]
    spec = {"layer": {}, "image": {}, "bundle": {}}
    for compression in ("none", "gzip"):
        for number, pile in enumerate(_piles()):
            spec["layer"][f"{compression}-{number}"] = {"compression": compression, "add": pile}
        keys = [f"{compression}-{number}" for number in range(LAYERS)]
        for number, key in enumerate(names):
            own = SHARED + number * OWN
            spec["image"][f"{compression}-{key}"] = {"layers": [*keys[:SHARED], *keys[own : own + OWN]]}
        images = {name: f"{compression}-{key}" for key, name in names.items()}
        spec["bundle"][compression] = {"format": "oci-archive", "images": images}
    spec["seed"] = {"all": {"stores": ["containerd"], "image": entries}}
    spec["disk"] = {"all": {"medium": "erofs", "seed": "all"}}
    return spec


@cache
def _piles():
    """Deals the directories of the tree out, so that layers have about one size."""
    piles = [[] for _ in range(LAYERS)]
    for number, leaf in enumerate(cached.leaves(Path(TREE))):
        below = leaf.relative_to(TREE)
        piles[number % LAYERS].append({"dir": f"tree/{below}", "to": f"/{below}"})
    return piles


class Engine:
    """The containerd of one turn after the other, each with an empty root, and how long it takes to start."""

    def __init__(self):
        self.starts = {"empty": [], "placed": []}
        self.containerd = None

    def prepare(self):
        self.containerd = Containerd(NAMESPACE)
        Path(ENGINE).symlink_to(self.containerd.directory)

    def prepare_running(self):
        """Starts it on its empty root, once to see how long that takes and once to stay."""
        self.prepare()
        self.start("empty")
        self.containerd.start()

    def start(self, root):
        """Starts it until it has checked its images, stops it, and returns what it said."""
        seconds, answer = start(self.containerd, "images", "check")
        self.starts[root].append(seconds)
        return answer

    def tidy_placed(self):
        assert_usable(self.start("placed"))
        self.tidy()

    def tidy_running(self):
        assert_usable(self.containerd.ctr("images", "check").stdout)
        self.tidy()

    def tidy(self):
        self.containerd.close()
        unmount_seeds()

    def pids(self):
        return (self.containerd.pid,)

    def more(self):
        """How many seconds longer a root that was placed takes than an empty one until any answer, and until the check's."""

        def medians(root):
            return map(statistics.median, zip(*self.starts[root], strict=True))

        return [placed - empty for placed, empty in zip(medians("placed"), medians("empty"), strict=True)]


def start(containerd, *question):
    """Starts containerd until ctr has an answer, stops it, and returns the seconds until any answer and this, and this."""
    words = ["ctr", "--address", containerd.socket, "--namespace", NAMESPACE, *question]
    run([[["bash", "-c", START, "start", containerd.directory, *words]]])
    microseconds = (containerd.directory / "microseconds").read_text().split()
    return [int(word) / 1e6 for word in microseconds], (containerd.directory / "answer").read_text()


def assert_usable(checked):
    """Sees to it that `ctr images check` says of all images that they are complete and unpacked."""
    lines = checked.splitlines()[1:]
    if len(lines) < IMAGES or not all(" complete " in line and line.split()[-1] == "true" for line in lines):
        raise AssertionError(f"not all of {IMAGES} images are complete and unpacked:\n{checked}")


def unmount_seeds():
    unmount_below(RUN)
    shutil.rmtree(RUN, ignore_errors=True)


def forget():
    """Makes the next boot the first."""
    shutil.rmtree(PLACE / "state", ignore_errors=True)


def loader(trust, root, state=PLACE / "state"):
    words = [LOADER, "place", "--seed", medium(), "--root", root, "--trust", trust, "--state-dir", state]
    return list(map(str, words))


def place():
    engine = Engine()

    def ours(name, trust, before=lambda: None):
        def prepare():
            before()
            engine.prepare()

        root = f"{ENGINE}/root"
        return Contestant(name, [[loader(trust, root)]], root, prepare, engine.tidy_placed)

    def imported(compression, name):
        command = ["ctr", "--address", SOCKET, "--namespace", NAMESPACE, "images", "import", str(archive(compression))]
        return Contestant(name, [[command]], f"{ENGINE}/root", engine.prepare_running, engine.tidy_running, engine.pids)

    contestants = [
        ours(UNCHECKED, "unchecked"),
        ours("sealed, first boot", "sealed", forget),
        ours("sealed, later boots", "sealed"),
        imported("none", IMPORT),
        imported("gzip", IMPORT_GZIP),
    ]
    return Contest(
        f"{IMAGES} images of {LAYERS} layers, from power to runnable",
        contestants,
        [Limit(name, 1 / IMPORT_TIMES) for name in (IMPORT, IMPORT_GZIP)],
        baseline=UNCHECKED,
        checks=lambda turns: [_with_start(turns, engine), *_written()],
    )


def _with_start(turns, engine):
    """Counts for us what containerd needs to start with images, which those who import let it do later."""
    answers, checked = engine.more()
    ours, theirs = (statistics.median(turn["wall"] for turn in turns[name]) for name in (UNCHECKED, IMPORT))
    found = theirs / (ours + max(checked, 0))
    return found >= IMPORT_TIMES, (
        f"from its start until `ctr images check` has answered containerd takes {checked:.3f} s longer on the placed root than "
        f"on an empty one ({answers:.3f} s until `ctr version` has); with that, importing takes {found:.0f} times as long, "
        f"at least {IMPORT_TIMES} promised"
    )


def _written():
    """Places on a volume of its own, starts containerd there, and says what both wrote."""
    with Volume(PLACE / "volume") as volume:
        command = loader("sealed", volume.directory / "root", state=volume.directory / "state")
        placed = volume.growth(lambda: run([[command]]))
        engine = volume.growth(lambda: _start_at(volume.directory / "root"))
        unmount_seeds()
    with Volume(PLACE / "volume") as volume:
        alone = volume.growth(lambda: _start_at(volume.directory / "root"))
    most, more = WRITTEN + WRITTEN_A_LAYER * LAYERS, engine["device"] - alone["device"]
    written, used, started, empty, both, limit = map(
        _kilobytes, [placed["device"], placed["used"], engine["device"], alone["device"], placed["device"] + more, most]
    )
    yield placed["device"] <= most, (
        f"placing writes {written} to a disk with ext4 and its journal, of which {used} and {placed['inodes']} inodes "
        f"stay in use, at most {limit} promised"
    )
    yield placed["device"] + more <= most, (
        f"with what containerd's first start writes more there ({started}) than to an empty root ({empty}) "
        f"it is {both}, at most {limit} promised"
    )


def _start_at(root):
    with contextlib.closing(Containerd(NAMESPACE, root=root)) as containerd:
        start(containerd, "images", "check")


def _kilobytes(count):
    return f"{count / 1000:,.0f} kB"


def sealed():
    """Hashing a seed that nobody has hashed, beside sha256sum; all files are read through a mount that was made just now."""
    medium()

    def ours(name, before):
        def prepare():
            forget()
            before()

        return Contestant(name, [[loader("sealed", "root")]], "root", prepare, unmount_seeds)

    def theirs(name, options=(), before=lambda: None):
        def prepare():
            run([[loader("unchecked", "root")]])
            before()

        hash_all = f"set -o pipefail; find {RUN}/seeds/*/ -type f -print0 | xargs -0 {' '.join(options)} sha256sum"
        return Contestant(name, [[["bash", "-c", hash_all]]], "root", prepare, unmount_seeds)

    plain, cold, cold_plain = "sha256sum of all files", "sealed, nothing in memory", "sha256sum, nothing in memory"
    return Contest(
        "Hashing a seed at its first boot",
        [
            ours("sealed", lambda: None),
            theirs(plain),
            theirs("sha256sum, two at a time", ["-P2"]),
            Contestant("sha256sum of the image", [[["sha256sum", medium()]]], "."),
            ours(cold, drop_caches),
            theirs(cold_plain, before=drop_caches),
        ],
        [Limit(plain, HASH_TIMES)],
        baseline="sealed",
        checks=lambda turns: [_cold(times(turns[cold], turns[cold_plain]))],
    )


def _cold(found):
    sentence = f"with nothing in memory {found:.2f} times the time of sha256sum, at most {HASH_TIMES:.2f} promised"
    return found <= HASH_TIMES, sentence


def drop_caches():
    """Makes the next turn read all from the disk."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


ALL = {"place": place, "sealed": sealed}
