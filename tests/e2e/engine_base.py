"""What all engines of the tests share: a scratch directory of their own, and an end that leaves nothing behind."""

import contextlib
import itertools
import math
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
# In seconds.
PATIENCE = 30


class Written(NamedTuple):
    """What a process has written: bytes sent to storage, and bytes given to write calls of any kind."""

    write_bytes: int
    wchar: int


class Engine:
    """An engine of its own: all that it writes lies below one scratch directory.

    Leaving the `with` block ends its processes, containers and mounts and removes its files, whatever happened before;
    after a failure it shows the end of the log first.
    """

    name = None  # what the engine is called
    prefix = None  # of its directory: one letter

    def __init__(self, version):
        self.version = version
        self.directory = scratch_directory(self.prefix)
        self.log = self.directory / "log"
        self._container_ids = (f"{self.directory.name}-{n}" for n in itertools.count(1))

    def __str__(self):
        return f"{self.name} {'.'.join(map(str, self.version))}"

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind, *_):
        if kind is not None:
            print(f"--- end of the log of {self}\n{self.log_tail()}", file=sys.stderr)
        self.close()

    def start(self):
        """Makes the engine ready for commands."""
        return self

    def stop(self):
        """Asks the engine to end."""

    def close(self):
        """Ends everything of this instance and removes its files; a second time it finds nothing to do."""
        self.stop()
        end_processes_of(self.directory)
        unmount_below(self.directory)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def log_tail(self, lines=40):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


class Daemon(Engine):
    """An engine that is a server with a socket."""

    def __init__(self, version):
        super().__init__(version)
        self.socket = self.directory / "sock"
        self.process = None

    def command(self):
        """The command that starts the daemon."""
        raise NotImplementedError

    def answers(self):
        """Tells whether the daemon answers; its socket is there."""
        raise NotImplementedError

    def start(self, timeout=30):
        """Starts the daemon and returns once it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + timeout
        # Clients wait long for a socket that is not there yet.
        while not self.socket.exists() or not self.answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self} ended with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self} does not answer after {timeout} s:\n{self.log_tail()}")
            time.sleep(0.05)
        return self

    def kill(self, number=signal.SIGKILL):
        """Sends the daemon a signal and waits for its end; after SIGKILL containers keep running under their shims."""
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

    @property
    def pid(self):
        return self.process.pid

    def write_bytes(self):
        """What the daemon itself has written since it started; its shims are not counted."""
        fields = dict(line.split(": ") for line in Path(f"/proc/{self.pid}/io").read_text().splitlines())
        return Written(int(fields["write_bytes"]), int(fields["wchar"]))

    def rest(self, quiet=0.3):
        """Waits until the daemon has nothing left to write; returns what it has written by then.

        That is when it has written nothing for a while. Time in which one of its threads waited for a processor or a disk does
        not count: it could not have written. One that runs may (containerd 1.6 at times has one that always does).
        """
        deadline = time.monotonic() + PATIENCE
        written, still = self.write_bytes(), 0
        waits, at = self._waits(), time.monotonic()
        while still < quiet:
            if at > deadline:
                raise AssertionError(f"{self.name} did not come to rest within {PATIENCE} s")
            time.sleep(0.05)
            now, later, before = self._waits(), self.write_bytes(), at
            at = time.monotonic()
            waited = max((wait if wait == math.inf else wait - waits.get(thread, 0) for thread, wait in now.items()), default=0)
            still = still + max(0, at - before - waited) if later.write_bytes == written.write_bytes else 0
            waits, written = now, later
        return written

    def _waits(self):
        """For how long each thread of the daemon has waited for a processor, in seconds; one that waits for a disk, forever."""
        waits = {}
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            # It may end meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                waits[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
                if (thread / "stat").read_text().rpartition(")")[2].split()[0] == "D":
                    waits[thread.name] = math.inf
        return waits


def scratch_directory(prefix="t"):
    """Makes a new directory on the host's file system.

    The name is short, because sockets lie in it (limit 107 bytes), and hexadecimal, because it goes into container ids:
    containerd refuses two underscores in a row, which names by tempfile have now and then. Ids have it in them because
    cgroups are named for them, and roots that run side by side share the cgroups of the machine.
    """
    directory = SCRATCH / f"{prefix}{secrets.token_hex(4)}"
    directory.mkdir()
    return directory


def run(command, *, check=True, timeout=120, **options):
    """Runs a command with its output as text; a failure that is not expected shows what it said."""
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout, **options
    )
    return checked(result) if check else result


def checked(result):
    """Returns the result of a command that succeeded, else shows what it said."""
    if result.returncode != 0:
        words = " ".join(map(str, result.args))
        raise AssertionError(f"`{words}` ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result


def traced(*options, output="/dev/null"):
    """The beginning of a command whose system calls strace writes down or tampers with."""
    # Stops at no other calls, which is much faster; but where the kernel stops for it, it takes no signal.
    fast = [] if any(":signal=" in option for option in options) else ["--seccomp-bpf"]
    return ["strace", "-f", *fast, "-qq", "-o", output, *options]


def installed_version(program):
    """The version of a program of this root as a tuple, such as (1, 7, 24)."""
    text = run([program, "--version"]).stdout
    return tuple(map(int, re.search(r"\b(\d+)\.(\d+)\.(\d+)", text).groups()))


# What an engine leaves running and mounted


def end_processes_of(directory, timeout=10):
    """Kills what belongs to an engine and waits until it is gone.

    More than once, because a supervisor that sees its container end may start a program that cleans up.
    """
    deadline = time.monotonic() + timeout
    while pids := processes_of(directory):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of {directory} keep coming: {pids}")
        kill_and_wait(pids, timeout)


def processes_of(directory):
    """The processes that belong to an engine with this directory.

    Those are all that were started with a path in it, the daemons, shims and monitors; all that run on a file system in
    it, the containers, also those whose shim is gone; and what these started.
    """
    path = f"{directory}/"
    own_mounts = os.readlink("/proc/self/ns/mnt")
    parents = {}
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        try:
            parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            # A process in this mount namespace sees the mounts of all engines.
            if any(path in argument for argument in arguments) or (
                os.readlink(entry / "ns/mnt") != own_mounts and path in (entry / "mountinfo").read_text()
            ):
                found.add(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


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
