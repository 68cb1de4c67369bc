"""The contest of ociseed with itself under Bazel: a process for each of many small actions, and a worker for all of them."""

import atexit
import itertools
import os
import subprocess
from pathlib import Path

from harness.contests import OCISEED, Contest, Contestant, Limit

WORKSPACE = Path("/scratch/bazel-workspace")
LAYERS = 200
TESTS = Path("/src/tests/bazel")
REGISTRY = Path("/scratch/bazel-registry")
BAZEL = ["bazel", "--output_user_root=/scratch/bazel", f"--bazelrc={TESTS}/debian.bazelrc"]
BUILD = ["build", f"--registry=file://{REGISTRY}", f"--repo_env=OCISEED={OCISEED}", "--jobs=2", "--noshow_progress"]
WORKER, SANDBOXED_WORKER, PROCESSES = "worker", "worker, sandboxed", "linux-sandbox"
FLAGS = {
    WORKER: ["--spawn_strategy=worker"],
    SANDBOXED_WORKER: ["--spawn_strategy=worker", "--worker_sandboxing", "--experimental_worker_multiplex_sandboxing"],
    PROCESSES: ["--spawn_strategy=linux-sandbox"],
}
# What the worker was made for.
MOST_OF_PROCESSES = 1 / 3

MODULE = """
bazel_dep(name = "ociseed", version = "0.1.0")
local_path_override(module_name = "ociseed", path = "/src")
"""
PACKAGE = f"""
load("@ociseed//bazel:defs.bzl", "oci_layer")

[oci_layer(name = "layer%d" % number, files = {{"files/%d" % number: "/file"}}) for number in range({LAYERS})]

oci_layer(name = "first", texts = {{"/file": ""}}, tags = ["manual"])
"""


def contest():
    """Layers of one small file each, all of them changed for each turn: nothing is found that a worker keeps."""
    (WORKSPACE / "files").mkdir(parents=True)
    (WORKSPACE / ".bazelrc").write_text("common --enable_bzlmod --noenable_workspace\nbuild --incompatible_strict_action_env\n")
    (WORKSPACE / "MODULE.bazel").write_text(MODULE)
    (WORKSPACE / "BUILD.bazel").write_text(PACKAGE)
    subprocess.run([TESTS / "make_registry.py", REGISTRY], check=True)
    atexit.register(lambda: _bazel("shutdown"))
    turn = itertools.count()

    def contestant(name):
        def prepare():
            number = next(turn)
            for layer in range(LAYERS):
                (WORKSPACE / f"files/{layer}").write_text(f"{number} {layer}\n")
            _bazel("clean")
            # The same for all: packages are loaded and analysed, and a worker runs where there is one.
            _bazel(*BUILD, *FLAGS[name], "--nobuild", "//:all")
            _bazel(*BUILD, *FLAGS[name], "//:first")
            os.symlink(WORKSPACE / "bazel-bin", "made")

        command = ["env", f"--chdir={WORKSPACE}", *BAZEL, *BUILD, *FLAGS[name], "//:all"]
        return Contestant(name, [[command]], "made/.", prepare, servers=_servers)

    return Contest(
        f"{LAYERS} small layers with Bazel, analysed, two at a time",
        [contestant(name) for name in FLAGS],
        [Limit(PROCESSES, MOST_OF_PROCESSES)],
        baseline=WORKER,
    )


def _bazel(*words):
    command = [*BAZEL, *words]
    return subprocess.run(command, cwd=WORKSPACE, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def _servers():
    """Bazel's server, and workers that it has."""
    server = int(_bazel("info", "server_pid"))
    children = Path(f"/proc/{server}/task").glob("*/children")
    return (server, *(int(child) for file in children for child in file.read_text().split()))


ALL = {"workers": contest}
