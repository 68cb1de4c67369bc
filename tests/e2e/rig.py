"""Engines for end-to-end tests, each its own instance in a root of the rig.

    with Containerd() as containerd:
        containerd.ctr("images", "import", "web.tar")
        containerd.run_container("docker.io/library/web:1", ["/bin/true"])

Tests run as root inside tests/rig/enter. Everything an engine writes lies below SCRATCH, the only directory there that is
not on an overlay; leaving the `with` block ends the engine, its shims and its mounts whatever happened before.
"""

import itertools
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

SCRATCH = Path("/scratch")
# Where tests/phases/50-e2e binds what it tests: the checkout, the static binaries, what earlier phases prepared.
SOURCE = Path("/src")
BINARIES = Path("/opt/ociseed/bin")
INPUTS = Path("/inputs")

# Each probes for devices or kernel modules at every start and fills the log with warnings.
NOISY_PLUGINS = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "blockfile", "btrfs", "devmapper", "zfs")]


class Written(NamedTuple):
    """What a process has written: bytes sent to storage, and bytes given to write calls of any kind."""

    write_bytes: int
    wchar: int


class Image(NamedTuple):
    name: str
    media_type: str
    digest: str
    labels: dict


def scratch_directory(prefix="t"):
    """Makes a new directory on the host's file system.

    The name is short, because sockets lie in it (limit 107 bytes), and hexadecimal, because it goes into container ids:
    containerd refuses two underscores in a row, which names by tempfile have now and then.
    """
    directory = SCRATCH / f"{prefix}{secrets.token_hex(4)}"
    directory.mkdir()
    return directory


class Containerd:
    """A containerd of its own: root, state, socket and log below one scratch directory."""

    def __init__(self, namespace="default", extra_config=""):
        self.namespace = namespace
        self.directory = scratch_directory("c")
        self.root = self.directory / "root"
        self.state = self.directory / "state"
        self.socket = self.directory / "sock"
        self.log = self.directory / "log"
        self.config = self.directory / "config.toml"
        self.version = installed_containerd()
        self.config.write_text(self._config() + extra_config)
        self.process = None
        self._container_ids = (f"{self.directory.name}-{n}" for n in itertools.count(1))

    def _config(self):
        cri_runtime = "io.containerd.cri.v1.runtime" if self.version >= (2,) else "io.containerd.grpc.v1.cri"
        return f"""\
version = {3 if self.version >= (2,) else 2}
root = "{self.root}"
state = "{self.state}"
disabled_plugins = {NOISY_PLUGINS}
[grpc]
address = "{self.socket}"
[plugins."{cri_runtime}"]
# A container, and some virtual machines, may not lower their OOM score.
restrict_oom_score_adj = true
[plugins."io.containerd.nri.v1.nri"]
# Its socket is the same for all instances.
disable = true
"""

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind, *_):
        if kind is not None:
            print(f"--- end of the log of containerd {self.version}\n{self.log_tail()}", file=sys.stderr)
        self.close()

    # Life

    def start(self, timeout=30):
        """Starts the daemon and returns once it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["containerd", "--config", self.config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout
        # ctr waits long for a socket that is not there yet.
        while not self.socket.exists() or self.ctr("version", check=False).returncode != 0:
            if self.process.poll() is not None:
                raise RuntimeError(f"containerd ended with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"containerd does not answer after {timeout} s:\n{self.log_tail()}")
            time.sleep(0.05)
        return self

    def kill(self, number=signal.SIGKILL):
        """Sends the daemon a signal and waits for its end; containers keep running under their shims."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        # A socket left by a killed daemon would look like the next one's.
        self.socket.unlink(missing_ok=True)
        return code

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            try:
                self.kill(signal.SIGTERM)
            except subprocess.TimeoutExpired:
                self.kill()

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        """Ends everything of this instance and removes its files."""
        self.stop()
        kill_and_wait(self._shims())
        unmount_below(self.directory)
        shutil.rmtree(self.directory)

    @property
    def pid(self):
        return self.process.pid

    def _shims(self):
        """The shims of this instance and what runs under them."""
        parents = {}
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "containerd-shim" in arguments[0] and str(self.socket) in arguments:
                found.add(int(entry.name))
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def log_tail(self, lines=40):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # Questions and commands

    def ctr(self, *arguments, namespace=None, check=True, timeout=120):
        """Runs ctr with this instance; stdout and stderr of the result are text."""
        command = ["ctr", "--address", self.socket, "--namespace", namespace or self.namespace, *arguments]
        return run(command, check=check, timeout=timeout)

    def run_container(self, image, argv, *, net_host=False, namespace=None, options=(), check=True, timeout=120):
        """Runs a container to its end; stdout is what it printed."""
        options = [*(["--net-host"] if net_host else []), *options]
        identity = next(self._container_ids)
        return self.ctr("run", "--rm", *options, image, identity, *argv, namespace=namespace, check=check, timeout=timeout)

    def images(self, namespace=None):
        """The image records of a namespace, by name."""
        images = {}
        for line in self.ctr("images", "list", namespace=namespace).stdout.splitlines()[1:]:
            # Between these columns are a size in two words, and platforms.
            name, media_type, digest, *_, labels = line.split()
            pairs = [] if labels == "-" else [pair.partition("=") for pair in labels.split(",")]
            images[name] = Image(name, media_type, digest, {key: value for key, _, value in pairs})
        return images

    def write_bytes(self):
        """What the daemon itself has written since it started; its shims are not counted."""
        fields = dict(line.split(": ") for line in Path(f"/proc/{self.pid}/io").read_text().splitlines())
        return Written(int(fields["write_bytes"]), int(fields["wchar"]))


def run(command, *, check=True, timeout=120, **options):
    """Runs a command with its output as text; a failure that is not expected shows what it said."""
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout, **options
    )
    if check and result.returncode != 0:
        words = " ".join(map(str, command))
        raise AssertionError(f"`{words}` ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result


def installed_containerd():
    """The version of the containerd of this root as a tuple, such as (1, 7, 24)."""
    text = run(["containerd", "--version"]).stdout
    return tuple(map(int, re.search(r"\b(\d+)\.(\d+)\.(\d+)", text).groups()))


def kill_and_wait(pids, timeout=10):
    """Kills processes that need not be children and waits until they are gone."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    deadline = time.monotonic() + timeout
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still there after SIGKILL: {pids}")
        time.sleep(0.02)


def mounts_below(directory):
    """Mount points below a directory, inner ones first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    # The kernel writes a blank and the like as an octal escape.
    points = [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), point) for point in points]
    return [point for point in reversed(points) if Path(directory) in Path(point).parents]


def unmount_below(directory):
    """Unmounts everything below a directory, so that removing the directory follows no mount."""
    for point in mounts_below(directory):
        run(["umount", point])
