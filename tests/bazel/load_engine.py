#!/usr/bin/env python3
"""Runs a command twice that brings an engine to a seed: the second time moves no layer.

    load_engine.py E2E ENGINE SEED COMMAND [ARG]...

E2E is the directory of the end-to-end tests, whose engines this takes; ENGINE `containerd`, `docker` or `podman`; SEED the seed's
directory. COMMAND gets `--engine`, `--json` and the engine's address in the environment, as a person would have it. Of each run it
looks at the report, and at the layer blobs that were opened.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import rig  # noqa: E402  pylint: disable=wrong-import-position


def engine_named(name: str):
    """Returns an engine of its own, and the environment by which clients find it."""
    if name == "containerd":
        engine = rig.Containerd()
        return engine, {"CONTAINERD_ADDRESS": str(engine.socket)}
    if name == "docker":
        engine = rig.Docker("overlay2")
        return engine, {"DOCKER_HOST": f"unix://{engine.socket}"}
    engine = rig.Podman()
    return engine, {name: value for name, value in engine.environment.items() if os.environ.get(name) != value}


def layers(seed: Path) -> set[str]:
    """Returns the digests of the seed's layers, as their files are called."""
    lock = json.loads((seed / "seed.json").read_bytes())
    return {layer["digest"].partition(":")[2] for image in lock["content"]["images"] for layer in image["layers"]}


def run(command: list[str], name: str, environment: dict[str, str]) -> tuple[dict, set[str]]:
    """Runs the command; returns its report and the blobs that were opened."""
    with tempfile.NamedTemporaryFile(mode="r", suffix=".trace") as trace:
        # A flag of Bazel may stand behind the target.
        under = f"--run_under=strace --follow-forks --seccomp-bpf --output={trace.name} --trace=open,openat,openat2"
        words = [*command, under, "--", "--engine", name, "--json"]
        done = subprocess.run(words, env=os.environ | environment, stdout=subprocess.PIPE, check=True)
        opened = re.findall(r'([0-9a-f]{64})"[^\n]* = \d', trace.read())
    return json.loads(done.stdout), set(opened)


def main() -> None:
    name, seed, command = sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
    engine, environment = engine_named(name)
    with engine:
        first, opened = run(command, name, environment)
        assert [image["outcome"] for image in first["images"]] == ["loaded"], first
        assert first["layers-sent"] == len(layers(seed)), first
        assert layers(seed) <= opened, f"the first run opened {opened}"
        second, opened = run(command, name, environment)
        assert [image["outcome"] for image in second["images"]] == ["present"], second
        assert (second["layers-sent"], second["bytes-sent"]) == (0, 0), second
        assert not opened & layers(seed), f"the second run opened {opened}"
    print(f"    {engine}: {first['bytes-sent']} bytes sent, then {second['bytes-sent']}")


main()
