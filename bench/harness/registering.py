"""Contests about containerd that runs on a root in use: images that are registered by links, beside those that are imported."""

import statistics

from harness.contests import Contest, Contestant, Limit
from harness.measure import run
from harness.placing import IMAGES, IMPORT, LAYERS, LOADER, NAMESPACE, PLACE, SOCKET, Engine, archive, medium

FIRST, SETTLED = "run, first", "run, later"
# How many times our time importing takes at least, and what a run that finds nothing to do may take, in seconds.
IMPORT_TIMES, SETTLED_SECONDS = 50, 0.05


def command():
    state = ["--state-dir", PLACE / "run-state"]
    return list(map(str, [LOADER, "run", "--seed", medium(), "--address", SOCKET, "--trust", "unchecked", *state]))


def register():
    engine = Engine()

    def prepare_settled():
        engine.prepare_running()
        run([[command()]])

    importing = ["ctr", "--address", SOCKET, "--namespace", NAMESPACE, "images", "import", str(archive("none"))]
    contestants = [
        Contestant(FIRST, [[command()]], "engine/root", engine.prepare_running, engine.tidy_running, engine.pids),
        Contestant(SETTLED, [[command()]], "engine/root", prepare_settled, engine.tidy_running, engine.pids),
        Contestant(IMPORT, [[importing]], "engine/root", engine.prepare_running, engine.tidy_running, engine.pids),
    ]
    return Contest(
        f"{IMAGES} images of {LAYERS} layers, into a containerd that runs",
        contestants,
        [Limit(IMPORT, 1 / IMPORT_TIMES)],
        baseline=FIRST,
        checks=lambda turns: [_settled(turns[SETTLED])],
    )


def _settled(turns):
    seconds = statistics.median(turn["wall"] for turn in turns)
    sentence = f"a run that finds nothing to do takes {seconds:.3f} s, at most {SETTLED_SECONDS:.3f} s promised"
    return seconds <= SETTLED_SECONDS, sentence


ALL = {"register": register}
