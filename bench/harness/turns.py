"""Lets contestants take turns inside a root of the rig and writes down what each turn took."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness import boot, cached, closures, contests, disks, machine, measure, placing, registering, series, workers
from harness.rig import SOURCE, SUITE

SCRATCH = Path("/scratch")
CONTESTS = {**contests.ALL, "build": cached.contest, **workers.ALL, **closures.ALL, **disks.ALL, **placing.ALL, **registering.ALL, **boot.ALL}
# The Debian packages of the peers, in each root.
PACKAGES = {
    SUITE: [
        *("tar", "zstd", "pigz", "umoci", "buildah", "crane", "docker-cli", "erofs-utils", "squashfs-tools", "containerd"),
        *("bazel-bootstrap", "nix-bin"),
    ],
    boot.SUITE: boot.PACKAGES,
}


def play_all(names, rounds):
    """Runs contests by name and returns all that the report needs to know of them."""
    played = {}
    with contextlib.ExitStack() as daemons:
        for name in names:
            contest = CONTESTS[name]()
            if name == "image":
                contest.contestants.append(contests.docker_image(daemons.enter_context(_docker())))
            print(f"{contest.title}, {rounds} rounds", file=sys.stderr)
            played[name] = _play(contest, rounds)
    return played


def _docker():
    sys.path.insert(0, str(SOURCE / "tests/e2e"))
    from engine_docker import Docker

    return Docker("overlay2")


def _play(contest, rounds):
    turns = {contestant.name: [] for contestant in contest.contestants}
    # The first round brings programs and the tree into the page cache, and is not counted.
    for number in range(rounds + 1):
        for contestant in contest.contestants:
            usage = _turn(contestant)
            if number > 0:
                turns[contestant.name].append(usage.as_dict())
            what = "warm" if number == 0 else f"{number}/{rounds}"
            print(f"  {what:5} {contestant.name:32} {usage.wall:7.2f} s {usage.cpu:7.2f} s CPU", file=sys.stderr)
    return {
        "title": contest.title,
        "baseline": contest.baseline,
        "limits": [limit._asdict() for limit in contest.limits],
        "same-size": contest.same_size,
        "checks": [list(check) for check in contest.checks(turns)],
        "notes": list(contest.notes),
        "turns": turns,
    }


def _turn(contestant):
    place = SCRATCH / "turn"
    place.mkdir()
    os.chdir(place)
    try:
        if contestant.prepare:
            contestant.prepare()
        machine.rest(place)
        usage = measure.run(contestant.steps, servers=contestant.servers())
        usage.size = _size(place / contestant.made)
        if contestant.tidy:
            contestant.tidy()
        return usage
    finally:
        os.chdir("/")
        _remove(place)


def _size(path):
    if path.is_file():
        return path.stat().st_size
    # What links lead to was made before.
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


def _remove(place):
    # buildah leaves its storage mounted.
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(mounts):
        if Path(point).is_relative_to(place):
            subprocess.run(["umount", point], check=True)
    shutil.rmtree(place)


def versions(packages):
    """The versions of packages, as Debian calls them."""
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *packages]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return dict(line.split() for line in lines)


def main(request):
    """Does what a request (JSON) says and returns the results."""
    results = {
        "machine": machine.facts(SCRATCH),
        "versions": {request["suite"]: versions(PACKAGES[request["suite"]])},
        "rounds": request["rounds"],
        "contests": play_all([name for name in request["names"] if name not in series.ALL], request["rounds"]),
    }
    if names := [name for name in request["names"] if name in series.ALL]:
        results["series"] = series.play(names, request["rounds"], request["quick"])
    return results
