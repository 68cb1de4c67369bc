"""What the tests of ociseed-load have in common: running it under strace, and each engine that it loads."""

import contextlib
import json
import os
import re
import shutil
import socket
import tarfile
import threading
import unittest
from pathlib import Path
from typing import NamedTuple

import loader_seed as seed
import rig

LOAD = rig.BINARIES / "ociseed-load"
# Requests for records and their answers, and nothing like a layer.
QUESTIONS = 64 << 10


class Run(NamedTuple):
    code: int
    report: dict
    log: str
    # By strace, whatever the report says: hexadecimal names of blobs of a layout that were opened, and bytes written to sockets.
    opened: set
    written: int

    def outcomes(self):
        return [image["outcome"] for image in self.report["images"]]


class LoadCase(unittest.TestCase):
    """A test with an engine and a directory of its own."""

    maxDiff = None

    def setUp(self):
        self.directory = rig.scratch_directory("o")
        self.addCleanup(rig.run, ["rm", "-rf", "--", self.directory])
        self.engine = self.enterContext(self.new_engine())

    def seed_of(self, *images, name="seed"):
        """A seed in host form of these images alone. A colon in its path is nothing special."""
        path = self.directory / f"a:b {name}"
        shutil.rmtree(path, ignore_errors=True)
        seed.write_seed(path, images)
        return path

    def load(self, path, *arguments, expect=0, program=LOAD, environment=None, flags=None):
        """Runs it; by default with the flags that lead to the engine, and with the seed."""
        trace = self.directory / "trace"
        flags = self.flags() if flags is None else flags
        source = [] if path is None else ["--seed", path]
        calls = "trace=openat,openat2,write,writev,sendto,sendmsg"
        command = [*rig.traced("-yy", "-e", calls, output=trace), program, *source, *flags, "--json", *arguments]
        environment = self.environment() if environment is None else environment
        result = rig.run(command, check=False, env=environment)
        self.assertEqual(result.returncode, expect, result.stderr)
        report = json.loads(result.stdout) if result.stdout else None
        if report:
            self.assertEqual(report["exit-code"], result.returncode)
        return Run(result.returncode, report, result.stderr, *traced(trace))

    def output(self, name, command):
        """What a shell command prints in a new container of an image."""
        return self.run_container(name, ["/bin/sh", "-c", command])

    def environment(self):
        return dict(os.environ)

    def reported_store(self):
        return self.store

    def flags(self):
        return ["--engine", self.kind, "--address", self.engine.socket]


def traced(file):
    """Which blobs were opened, and how many bytes were written to sockets."""
    opened, written = set(), 0
    for line in file.read_text(errors="replace").splitlines():
        if blob := re.search(r'openat2?\(.*"(?:[^"]*/)?blobs/sha256/([0-9a-f]{64})".*\) = \d', line):
            opened.add(blob[1])
        # One that was interrupted ends on a line that does not say what it wrote to; there is none at these sizes.
        if sent := re.search(r"\b(?:write|writev|sendto|sendmsg)\(\d+<(?:UNIX|socket).* = (\d+)$", line):
            written += int(sent[1])
    return opened, written


def hexes(blobs):
    return {blob.digest.removeprefix("sha256:") for blob in blobs}


def owned():
    """A layer whose files have owners and modes of their own, and what `stat` says of them."""
    entries = []
    for path, kind, mode, uid, gid, data in (
        ("srv", tarfile.DIRTYPE, 0o2750, 7, 33, b""),
        ("srv/secret", tarfile.REGTYPE, 0o640, 1000, 33, b"secret\n"),
        ("srv/tool", tarfile.REGTYPE, 0o4755, 70000, 5, b"tool\n"),
    ):
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.uid, info.gid = kind, mode, uid, gid
        entries.append((info, data))
    return seed.Layer(seed.tar_of(entries))


LOOK = "cat /srv/secret /srv/tool /etc/motd; busybox stat -c '%n %u:%g %a' /srv /srv/secret /srv/tool"
SEEN = "secret\ntool\n{motd}/srv 7:33 2750\n/srv/secret 1000:33 640\n/srv/tool 70000:5 4755\n"
SHELL = None


def image(names, motd="hello\n", *, layers=()):
    """An image of four layers, more on request; the text is in the top one."""
    global SHELL
    SHELL = SHELL or seed.shell()
    large = seed.files({"/data": seed.noise(3_000_000, "data")}, compressed=False)
    return seed.Image(names, [SHELL, owned(), large, *layers, seed.files({"/etc/motd": motd})])


class OnContainerd:
    kind = "containerd"
    namespace = "k8s.io"
    store = "overlayfs"
    # Whether an image that shares layers with another one needs these sent.
    shares = True

    def new_engine(self):
        return rig.Containerd(namespace=self.namespace)

    def run_container(self, name, argv):
        return self.engine.run_container(name, argv).stdout

    def stands_for(self, name):
        """What the engine has by a name, as `identity` has it; None for nothing."""
        found = self.engine.images().get(name)
        return found and found.digest

    @staticmethod
    def identity(of):
        return of.manifest.digest

    def parts(self):
        """All that the engine has of images, down to the last layer."""
        self.engine.collect_garbage()
        content = self.engine.ctr("content", "list", "--quiet").stdout.split()
        snapshots = self.engine.ctr("snapshots", "list").stdout.splitlines()[1:]
        leases = self.engine.ctr("leases", "list", "--quiet").stdout.split()
        ingests = self.engine.ctr("content", "active").stdout.splitlines()[1:]
        return {*content, *(line.split()[0] for line in snapshots), *leases, *ingests, *self.engine.images()}


class OnDocker:
    kind = "docker"
    store = "overlay2"
    shares = True

    def new_engine(self):
        return rig.Docker(self.store)

    def run_container(self, name, argv):
        return self.engine.run_container(name, argv).stdout

    def stands_for(self, name):
        result = self.engine.docker("image", "inspect", "--format", "{{.Id}}", name, check=False)
        return result.stdout.strip() or None

    @staticmethod
    def identity(of):
        return of.config.digest

    def parts(self):
        images = self.engine.docker("images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}").stdout
        layers = self.engine.root / "image/overlay2/layerdb/sha256"
        return {*images.splitlines(), *(path.name for path in layers.glob("*"))}


class OnDockerContainerd(OnDocker):
    """Docker with containerd's image store."""

    store = "containerd"

    def reported_store(self):
        return "overlayfs"

    @property
    def shares(self):
        return self.engine.version >= (27,)

    @staticmethod
    def identity(of):
        return of.manifest.digest

    def parts(self):
        images = self.engine.docker("images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}").stdout
        # Its own containerd collects in its own time.
        command = ["ctr", "--address", self.engine.state / "containerd/containerd.sock", "--namespace", "moby"]
        rig.run([*command, "leases", "create", "--id", "collect"])
        rig.run([*command, "leases", "delete", "--sync", "collect"])
        return {*images.splitlines(), *rig.run([*command, "content", "list", "--quiet"]).stdout.split()}


class OnPodman:
    kind = "podman"
    store = None
    shares = True

    def new_engine(self):
        return rig.Podman()

    def flags(self):
        return ["--engine", "podman"]

    def environment(self):
        return self.engine.environment

    def run_container(self, name, argv):
        return self.engine.run_container(name, argv).stdout

    def stands_for(self, name):
        result = self.engine.podman("image", "inspect", "--format", "{{.Digest}}", name, check=False)
        return result.stdout.strip() or None

    @staticmethod
    def identity(of):
        return of.manifest.digest

    def parts(self):
        files = ("overlay-images/images.json", "overlay-layers/layers.json")
        found = [json.loads((self.engine.root / file).read_text()) for file in files if (self.engine.root / file).exists()]
        return {part["id"] for parts in found for part in parts}


class Proxy:
    """A socket that leads to another one, and does something before it hands on a request that begins in some way."""

    def __init__(self, target, path, beginning, action):
        self.target, self.socket, self.beginning, self.action = str(target), str(path), beginning, action
        # How many such requests there were; the action is done at the first.
        self.seen = 0

    def __enter__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._connect, args=[client], daemon=True).start()

    def _connect(self, client):
        first = client.recv(1 << 16)
        if first.startswith(self.beginning):
            self.seen += 1
            if self.seen == 1:
                self.action()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.target)
        server.sendall(first)
        threading.Thread(target=self._copy, args=[server, client], daemon=True).start()
        self._copy(client, server)

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
