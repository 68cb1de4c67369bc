"""Engines for end-to-end tests, each its own instance in a root of the rig.

    with Containerd() as containerd:
        containerd.load("web.tar")
        containerd.run_container("docker.io/library/web:1", ["/bin/true"])

Tests run as root inside tests/rig/enter. Everything an engine writes lies below SCRATCH, the only directory there that
is not on an overlay; leaving the `with` block ends the engine, its containers and its mounts whatever happened before.

All engines have `version`, `load`, `images` and `run_container`; what only one has lies in its own module.
"""

import functools
import os
import unittest
from pathlib import Path

from engine_base import (
    SCRATCH,
    Written,
    kill_and_wait,
    mounts_below,
    processes_of,
    run,
    scratch_directory,
    traced,
    unmount_below,
)
from engine_containerd import Containerd, Image, installed_containerd
from engine_docker import Docker
from engine_podman import Podman

__all__ = [
    "BINARIES",
    "INPUTS",
    "IS_NEWEST",
    "SCRATCH",
    "SOURCE",
    "SUITE",
    "Containerd",
    "Docker",
    "Image",
    "Podman",
    "Written",
    "engines",
    "installed_containerd",
    "kill_and_wait",
    "mounts_below",
    "newest_alone",
    "oldest_and_newest",
    "processes_of",
    "run",
    "scratch_directory",
    "traced",
    "unmount_below",
]

# Where tests/phases/30-e2e binds what it tests: the checkout, the static binaries, what earlier phases prepared.
SOURCE = Path("/src")
BINARIES = Path("/opt/ociseed/bin")
# The suite whose root this is, and whether tests run here that no engine has a part in: one suite is enough for these.
SUITE = os.environ.get("OCISEED_SUITE", "")
IS_NEWEST = SUITE == "forky"
INPUTS = Path("/inputs")


def newest_alone(loader, tests, pattern):
    """The `load_tests` of a module whose tests run in one suite, as the engine's version has no part in them; not so in
    tests/soak."""
    return tests if IS_NEWEST or os.environ.get("OCISEED_SOAK") else unittest.TestSuite()


def oldest_and_newest(loader, tests, pattern):
    """The `load_tests` of a module about what engines have always done: what the ends agree on holds in between."""
    return tests if IS_NEWEST or SUITE == "bookworm" else unittest.TestSuite()


def engines():
    """What makes each engine of this root, by a name: Docker once with each of its stores."""
    dockers = {f"docker-{store}": functools.partial(Docker, store) for store in Docker.stores()}
    return {"containerd": Containerd, **dockers, "podman": Podman}
