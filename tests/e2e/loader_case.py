"""What the loader's tests have in common: running it, and looking at what it left."""

import contextlib
import hashlib
import io
import json
import signal
import subprocess
import tarfile
import time
import unittest
from pathlib import Path
from typing import NamedTuple

import loader_seed as seed
import rig

LOADER = rig.BINARIES / "ociseed-loader"
OWNER = "io.ociseed.seed"
ADOPTED = "io.ociseed.adopted"
PINNED = "io.cri-containerd.pinned"
MANAGED = "io.cri-containerd.image"
# The calls of a run that finds nothing to do: they only read.
READS = {
    "containerd.services.content.v1.Content/Info",
    "containerd.services.content.v1.Content/List",
    "containerd.services.content.v1.Content/ListStatuses",
    "containerd.services.content.v1.Content/Read",
    "containerd.services.images.v1.Images/List",
    "containerd.services.introspection.v1.Introspection/Plugins",
    "containerd.services.leases.v1.Leases/List",
    "containerd.services.namespaces.v1.Namespaces/List",
    "containerd.services.snapshots.v1.Snapshots/List",
    "containerd.services.version.v1.Version/Version",
}


class Run(NamedTuple):
    code: int
    report: dict
    log: str
    seconds: float

    def image(self, name, namespace="k8s.io"):
        found = [i for i in self.report["images"] if i["name"] == name and i["namespace"] == namespace]
        if len(found) != 1:
            raise AssertionError(f"{name} in {namespace}: {len(found)} in the report\n{self.log}")
        return found[0]

    def outcome(self, name, namespace="k8s.io"):
        return self.image(name, namespace)["outcome"]

    @property
    def writes(self):
        """Calls that could have changed something."""
        return {method: count for method, count in self.report["calls"].items() if method not in READS}


class LoaderCase(unittest.TestCase):
    """A test with an engine and a directory of its own."""

    maxDiff = None
    namespace = "k8s.io"

    def setUp(self):
        self.directory = rig.scratch_directory("l")
        self.addCleanup(rig.run, ["rm", "-rf", "--", self.directory])
        self.seed = self.directory / "seed"
        self.archives = self.directory / "archives"
        self.state = self.directory / "state"
        self.engine = self.enterContext(self.new_engine())

    def new_engine(self):
        return rig.Containerd(namespace=self.namespace)

    # Running it

    def command(self, *arguments, source=None, json_report=True, command="run"):
        source = source or ["--seed", self.seed]
        report = ["--json"] if json_report else []
        places = ["--address", self.engine.socket, "--run-dir", self.directory / "run", "--state-dir", self.state]
        return [LOADER, command, *source, *places, *report, *arguments]

    def load(self, *arguments, source=None, expect=0, command="run"):
        start = time.monotonic()
        result = rig.run(self.command(*arguments, source=source, command=command), check=False)
        seconds = time.monotonic() - start
        if expect is not None:
            self.assertEqual(result.returncode, expect, result.stderr)
        run = Run(result.returncode, json.loads(result.stdout), result.stderr, seconds)
        self.assertEqual(run.report["exit-code"], result.returncode)
        return run

    def load_archives(self, *arguments, expect=0):
        return self.load(*arguments, source=["--archives", self.archives], expect=expect)

    def cut_power(self):
        """What the loader noted is of an earlier boot now, and nobody said how that ended: as after a power cut."""
        file = self.state / "state.json"
        saved = json.loads(file.read_text())
        file.write_text(json.dumps(saved | {"boot": "an earlier one", "state": "changed"}))

    @contextlib.contextmanager
    def loading(self, *arguments, **options):
        """The loader in the background; ended if the test does not."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(self.command(*arguments, **options), text=True, **pipes)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.communicate()

    # Looking at the engine

    def suspend(self):
        """Stops the daemon until the test ends or lets it go on; it does nothing more once this returns."""
        self.engine.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.engine.process.send_signal, signal.SIGCONT)
        tasks = Path(f"/proc/{self.engine.pid}/task")
        wait_until(lambda: all(" T " in path.read_text().rpartition(")")[2][:3] for path in tasks.glob("*/stat")))

    def store_file(self, blob):
        return self.engine.root / "io.containerd.content.v1.content/blobs/sha256" / blob.digest[7:]

    def leases(self, namespace=None):
        lines = self.engine.ctr("leases", "list", "--quiet", namespace=namespace).stdout.split()
        return [lease for lease in lines if lease.startswith("ociseed")]

    def ingests(self, namespace=None):
        lines = self.engine.ctr("content", "active", namespace=namespace).stdout.splitlines()[1:]
        return [line.split()[0] for line in lines if line.startswith("ociseed")]

    def content_labels(self, blob, namespace=None):
        """The labels of a blob's record; None when there is no record."""
        for line in self.engine.ctr("content", "list", namespace=namespace).stdout.splitlines()[1:]:
            digest, *_, labels = line.split("\t")
            if digest.strip() == blob.digest:
                labels = labels.strip()
                return {} if labels == "-" else dict(pair.split("=", 1) for pair in labels.split(","))
        return None

    def is_complete(self, name, namespace=None):
        for line in self.engine.ctr("images", "check", f"name=={name}", namespace=namespace).stdout.splitlines()[1:]:
            if line.split()[0] == name:
                return "complete (" in line and "incomplete" not in line
        return False

    def assert_nothing_left(self):
        """No lease and no ingest of ours in any namespace."""
        for namespace in self.engine.ctr("namespaces", "list", "--quiet").stdout.split():
            self.assertEqual(self.leases(namespace), [], namespace)
            self.assertEqual(self.ingests(namespace), [], namespace)

    def assert_right(self, image, namespace=None):
        """Everything of an image is in the store, byte for byte."""
        for blob in image.blobs:
            found = self.store_file(blob).read_bytes()
            self.assertEqual(seed.sha256(found), blob.digest, f"{blob.media_type} in the store")
            self.assertIsNotNone(self.content_labels(blob, namespace), f"record of {blob.media_type}")
        for name in image.names:
            check = self.engine.ctr("images", "check", namespace=namespace).stdout
            self.assertTrue(self.is_complete(name, namespace), check)

    def output(self, image, command, namespace=None):
        """What a command prints in a new container of an image."""
        return self.engine.run_container(image.name, ["/bin/sh", "-c", command], namespace=namespace).stdout

    def assert_runs(self, image, namespace=None):
        """What a container sees in its own files is what was put into the image."""
        expected = "".join(
            f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(image_files(image).items())
        )
        command = "sha256sum " + " ".join(sorted(image_files(image)))
        self.assertEqual(self.output(image, command, namespace), expected)


def image_files(image):
    """The regular files of an image by path, as its layers lay over each other."""
    found = {}
    for layer in image.layers:
        with tarfile.open(fileobj=io.BytesIO(layer.tar)) as tar:
            for member in tar:
                if member.isfile():
                    found["/" + member.name] = tar.extractfile(member).read()
    return found


SHELL = None


def image(name, text="hello\n", *, data=None, **options):
    """An image with a shell, a text of its own, and on request a large layer."""
    global SHELL
    SHELL = SHELL or seed.shell()
    layers = [SHELL, seed.files({"/etc/motd": text})]
    if data is not None:
        layers.append(seed.files({"/data": data}, compressed=False))
    return seed.Image(name, layers, **options)


def flip(file, offset=None):
    """Flips one bit of a file in place, keeping its size."""
    data = bytearray(Path(file).read_bytes())
    data[len(data) // 2 if offset is None else offset] ^= 1
    overwrite(file, data)


def overwrite(file, data):
    """Replaces a file's content; the stores' files may be read-only, which does not keep root from it."""
    with open(file, "wb") as out:
        out.write(data)


def wait_until(condition, timeout=20, interval=0.002):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(interval)
