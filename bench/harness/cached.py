"""The contest of ociseed with itself: a build of ten layers, with and without a cache."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

from harness.contests import OCISEED, TREE, Contest, Contestant, Limit

PLACE = Path("/scratch/build")
LAYERS = 10
# What a build that has nothing to do may take.
NOTHING_SECONDS = 0.1
NOTHING = "nothing changed"
COMMAND = [OCISEED, "build", f"{PLACE}/spec.json", "--out", f"{PLACE}/out"]
CACHED = [*COMMAND, "--cache-dir", f"{PLACE}/cache"]


def contest():
    """Cuts the tree into ten directories of about one size, which are a layer each."""
    PLACE.mkdir()
    keys = [f"part{number}" for number in range(LAYERS)]
    for key, source in zip(itertools.cycle(keys), leaves(Path(TREE))):
        target = PLACE / key / source.relative_to(TREE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, symlinks=True)
    layers = {key: {"add": [{"dir": key}]} for key in keys}
    spec = {"layer": layers, "image": {"web": {"layers": keys}}}
    (PLACE / "spec.json").write_text(json.dumps(spec))
    changed = PLACE / keys[-1] / "changed"
    numbers = itertools.count()
    out = str(PLACE / "out")
    return Contest(
        "A build of ten layers",
        [
            Contestant("--no-cache", [[[*COMMAND, "--no-cache"]]], out, _remove_built),
            Contestant("with an empty cache", [[CACHED]], out, _remove_built),
            Contestant(NOTHING, [[CACHED]], out),
            Contestant("one layer changed", [[CACHED]], out, lambda: changed.write_text(str(next(numbers)))),
        ],
        [Limit(NOTHING, seconds=NOTHING_SECONDS)],
        baseline="--no-cache",
        checks=_checks,
    )


def leaves(tree):
    """Directories that are cut no further, largest first, so that dealing them out gives piles of about one size."""
    sizes = {path: sum(1 for _ in path.rglob("*")) for path in tree.glob("usr/*/*/") if not path.is_symlink()}
    return sorted(sizes, key=sizes.get, reverse=True)


def _remove_built():
    for name in ("out", "cache"):
        shutil.rmtree(PLACE / name, ignore_errors=True)


def _checks(_):
    opened = _opened()
    return [(opened == 0, f"where nothing changed {opened} files of the input are opened")]


def _opened():
    """Counts files of the input that a build in which nothing changed opens to read them."""
    subprocess.run(CACHED, check=True, stdout=subprocess.DEVNULL)
    log = PLACE / "strace"
    command = ["strace", "-f", "-y", "-e", "trace=open,openat,openat2", "-o", log, *CACHED]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    below = re.compile(rf"= \d+<{PLACE}/part\d+/[^>]*>$")
    reading = [line for line in log.read_text().splitlines() if below.search(line) and "O_PATH" not in line]
    return sum("O_DIRECTORY" not in line for line in reading)
