"""Whether time and memory grow as the input does: more and more layers, images, and files in one layer."""

import json
import os
import statistics
import sys
from pathlib import Path

from harness import disks, machine, many_images, measure
from harness.contests import OCISEED, US, Contestant
from harness.made import make_directory

SCRATCH = Path("/scratch/series")
STEPS = (1, 2, 4, 8)
MOST = {"layers": 1000, "images": 1000, "files": 1_000_000}
MOST_QUICK = {"layers": 80, "images": 40, "files": 40_000}
ROUNDS = 3
MEDIANS = ("wall", "cpu", "memory", "written")


def play(names, rounds, quick):
    """Measures series by name and returns their points; more than some rounds are not needed for them."""
    SCRATCH.mkdir()
    os.chdir(SCRATCH)
    return {name: _series(*ALL[name], min(rounds, ROUNDS), quick) for name in names}


def _series(title, unit, prepare, rounds, quick):
    most = (MOST_QUICK if quick else MOST)[unit]
    return {"title": title, "unit": unit, "points": _points(most, prepare, rounds), "rounds": rounds}


def _points(most, prepare, rounds):
    points = []
    for step in STEPS:
        count = most * step // STEPS[-1]
        contestant = prepare(count)
        usages = [_once(contestant) for _ in range(rounds)]
        medians = {key: statistics.median(getattr(usage, key) for usage in usages) for key in MEDIANS}
        points.append({"count": count, **medians})
        print(f"  {count:>9} {medians['wall']:8.2f} s {medians['memory'] / 2**20:8.0f} MiB", file=sys.stderr)
    return points


def _once(contestant):
    measure.run([[["rm", "-rf", "out", "cache"]]])
    if contestant.prepare:
        contestant.prepare()
    machine.rest(SCRATCH)
    usage = measure.run(contestant.steps, servers=contestant.servers())
    if contestant.tidy:
        contestant.tidy()
    return usage


def _layers(count):
    """One image of so many layers, each with one small file, built with an empty cache."""
    keys = [f"l{number}" for number in range(count)]
    layers = {key: {"add": [{"text": key, "to": f"/{key}"}]} for key in keys}
    spec = {"layer": layers, "image": {"web": {"layers": keys}}}
    spec["bundle"] = {"web": {"format": "oci-archive", "images": {"docker.io/library/web:1": "web"}}}
    Path("spec.json").write_text(json.dumps(spec))
    return Contestant(US, [[[OCISEED, "build", "spec.json", "--cache-dir", "cache", "--out", "out"]]], "out")


def _files(count):
    """One layer of so many files."""
    made = Path("made")
    already = int(made.read_text()) if made.exists() else 0
    make_directory(Path("tree"), count, start=already)
    made.write_text(str(count))
    layer = {"compression": "zstd", "add": [{"dir": "tree"}]}
    Path("params.json").write_text(json.dumps({"version": 1, "inputs": {"tree": "tree"}, "layer": layer}))
    return Contestant(US, [[[OCISEED, "layer", "--params", "params.json", "--out", "out"]]], "out")


ALL = {
    "layers": ("Many layers", "layers", _layers),
    "files": ("Many files in one layer", "files", _files),
    "erofs-files": ("Many files in one EROFS image", "files", disks.many_files),
    **many_images.ALL,
}
