"""Builds that are killed, side by side, or on full disks: a small project, builds of it with a cache, and what they leave."""

import contextlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import unittest

OCISEED = "/opt/ociseed/bin/ociseed"
SCRATCH = "/scratch"
STRACE = ["strace", "-qq"]
# Every form of output there is. The layer of random bytes does not compress, so its blob has a size that tests can reckon with.
SPEC = """\
[layer.random]
add = [{ dir = "tree", to = "/tree" }, { file = "random", to = "/random" }]
[layer.plain]
compression = "none"
add = [{ file = "plain", to = "/plain" }]
[image.web]
layers = ["random", "plain"]
[bundle.layout]
format = "layout"
images = { "example.org/web:1" = "web" }
[bundle.archive]
format = "oci-archive"
images = { "example.org/web:1" = "web" }
[seed.node]
stores = ["archives"]
image = [{ image = "web", name = "example.org/web:1" }]
[disk.node]
medium = "erofs"
seed = "node"
[disk.small]
medium = "erofs"
layer = "plain"
compression = "lz4"
"""
# Bytes of the layer that differs between variants of the project, and of the one that does not.
RANDOM, PLAIN = 100_000, 20_000
VARIANTS = (0, 1)


def content_of(path):
    """What a file or directory is: its bytes and modes, and what lies below it; nothing where there is none."""
    if path.is_dir():
        return {name: content_of(path / name) for name in sorted(os.listdir(path))}
    return (path.stat().st_mode, path.read_bytes()) if path.exists() else None


class Project:
    """The inputs of a build, and what comes out of it without a cache."""

    def __init__(self, directory):
        self.directory = directory
        self.inputs = directory / "inputs"
        self.spec = self.inputs / "spec.toml"
        (self.inputs / "tree" / "below").mkdir(parents=True)
        (self.inputs / "tree" / "below" / "file").write_text("a file\n")
        (self.inputs / "plain").write_bytes(random.Random(2).randbytes(PLAIN))
        self.spec.write_text(SPEC)
        self.references = []
        for variant in VARIANTS:
            self.become(variant)
            out = directory / f"reference-{variant}"
            subprocess.run([*self.command(out), "--no-cache"], check=True, capture_output=True, timeout=60)
            self.references.append(content_of(out))

    def become(self, variant):
        """Changes the inputs to one of two variants; only one layer differs."""
        (self.inputs / "random").write_bytes(random.Random(variant).randbytes(RANDOM))

    def command(self, out, cache=None, *options):
        cached = ["--cache-dir", cache] if cache else []
        return [OCISEED, "build", self.spec, "--out", out, *cached, *options]


class CacheCase(unittest.TestCase):
    def setUp(self):
        # Where no disk has to be waited for; what tells file systems apart has tests of its own.
        self.memory = self.directory("memory")
        self.mount(self.memory)
        self.project = Project(self.memory)

    def directory(self, name):
        directory = tempfile.TemporaryDirectory(dir=SCRATCH)
        self.addCleanup(directory.cleanup)
        path = pathlib.Path(directory.name, name)
        path.mkdir()
        return path

    def mount(self, point, options="size=256m"):
        """Mounts a tmpfs; what is read-only or full later is only that."""
        point.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", point], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", point], check=True)
        return point

    def remount(self, point, options):
        subprocess.run(["mount", "-o", f"remount,{options}", point], check=True)

    def run_build(self, out, cache, *options, tracer=()):
        command = [*tracer, *self.project.command(out, cache, *options)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def build(self, out, cache, variant, *options, tracer=()):
        """Builds, and sees that all is right; returns what was said on standard error, by lines."""
        result = self.run_build(out, cache, *options, tracer=tracer)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assert_right(out, cache, variant)
        return result.stderr.splitlines()

    def explained(self, out, cache, variant):
        """Builds, and returns why each step below the seed and the bundle ran or not, and the other lines said."""
        reasons, others = {}, []
        for target in ("seed.node", "bundle.layout"):
            for line in self.build(out, cache, variant, "--explain", target):
                step, _, reason = line.partition(": ")
                if step.startswith(("layer.", "image.", "bundle.", "seed.")):
                    reasons.setdefault(step, reason)
                else:
                    others.append(line)
        return reasons, others

    def assert_right(self, out, cache, variant):
        """The outputs are all there and nothing else is, and in the cache is nothing half-written or wrong."""
        if content_of(out) != self.project.references[variant]:
            self.fail(f"{out} is not variant {variant}: {differences(self.project.references[variant], content_of(out))}")
        if (cache / "v1" / "tmp").exists():
            self.assertEqual(os.listdir(cache / "v1" / "tmp"), [])


def differences(expected, found, path=""):
    """Names what is in one of two contents and not in the other."""
    if isinstance(expected, dict) and isinstance(found, dict):
        names = sorted(expected.keys() | found.keys())
        return [line for name in names for line in differences(expected.get(name), found.get(name), f"{path}/{name}")]
    return [] if expected == found else [path]


def assert_full(case, result):
    """One error for each step that ran out of space, as several run at once, and one hint."""
    case.assertEqual((result.returncode, result.stdout), (1, ""), result.stderr)
    *errors, hint = result.stderr.splitlines()
    case.assertTrue(hint.startswith("hint: free space"), result.stderr)
    case.assertTrue(errors)
    for line in errors:
        # What a disk is made of is decompressed into files that have no names.
        case.assertRegex(line, "^error: (disk.*: )?cannot write (`.*`|a scratch file): No space left on device")


def remove(*paths):
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)


class Call:
    """A line of strace: which thread called what, with what text, and whether that failed."""

    LINE = re.compile(r"(?:(?P<thread>\d+) +)?(?P<name>\w+)\((?P<text>.*)\) += (?P<result>-?\w+)")

    def __init__(self, match, number):
        self.thread = match["thread"]
        self.name = match["name"]
        self.text = match["text"]
        self.failed = match["result"].startswith("-")
        # Its number among the calls of this name of its thread, as strace counts where it injects.
        self.number = number

    def creates(self):
        return "O_CREAT" in self.text


def calls_of(path):
    """Reads what strace wrote."""
    unfinished, numbers, calls = {}, {}, []
    for line in path.read_text(errors="replace").splitlines():
        thread = line.split(None, 1)[0]
        if line.endswith("<unfinished ...>"):
            unfinished[thread] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        if "<... " in line:
            line = unfinished.pop(thread, "") + re.sub(r".*<\.\.\. \w+ resumed>", "", line)
        match = Call.LINE.match(line)
        if match:
            key = match["thread"], match["name"]
            numbers[key] = numbers.get(key, 0) + 1
            calls.append(Call(match, numbers[key]))
    return calls
