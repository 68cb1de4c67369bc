"""Where a program can be killed, and killing it there: at each of its calls that changes something.

    for point in sample(points(command, directory / "trace"), 8):
        prepare()
        hit = kill(command, point, directory / "trace")

Or having something else happen there, while it stands still: `stop`.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import rig
from build_case import calls_of

# Calls that can change a file, and those by which the engine is asked for something.
CHANGING = (
    *("write", "writev", "sendto", "sendmsg", "pwrite64", "copy_file_range", "sendfile", "ftruncate", "fallocate"),
    *("flock", "ioctl"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir"),
    *("mkdir", "mkdirat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "utimensat"),
    *("fsync", "fdatasync", "syncfs", "mount", "umount2", "setxattr", "fsetxattr"),
)
ASKING = ("writev", "sendto", "sendmsg")
OPENING = ("open", "openat", "openat2", "creat")
TRACED = f"trace={','.join((*CHANGING, *OPENING))}"
# Set by tests/soak: how many points of each kind of run there shall be; all, where there are fewer.
SOAK = int(os.environ.get("OCISEED_SOAK") or 0)


class Point(NamedTuple):
    call: str
    # Which of this name, as strace counts them: for each thread.
    number: int

    def __str__(self):
        return f"{self.call} {self.number}"


def is_change(call):
    """Whether it changed a file, or told the engine something: not what is said on standard error, nor what failed."""
    if call.failed or (call.name in OPENING and not call.creates()):
        return False
    return not (call.name == "write" and ("<pipe:" in call.text or "<anon_inode:" in call.text))


def points(command, trace, expect=0, tracer=()):
    """Runs a command, and returns where it could have been killed, in the order of its calls.

    What `tracer` has is told to strace besides, for instance what the kernel is to refuse.
    """
    strace = ["strace", "-qq", "-f", "-y", "-o", trace, "-e", TRACED, *tracer]
    result = rig.run([*strace, *command], check=False)
    if result.returncode != expect:
        raise AssertionError(f"ended with {result.returncode}, not {expect}:\n{result.stderr}")
    found = [Point(call.name, call.number) for call in calls_of(trace) if is_change(call)]
    return list(dict.fromkeys(found))


def sample(found, count):
    """Some of the points: one half of those at which files are changed, the other of those at which the engine is asked,
    both spread over all; more of them when tests/soak asks."""
    count = max(SOAK, count)
    if count >= len(found):
        return found
    asking = [point for point in found if point.call in ASKING]
    files = [point for point in found if point.call not in ASKING]
    chosen = {*spread(files, count // 2), *spread(asking, count - count // 2)}
    return [point for point in found if point in chosen]


def spread(found, count):
    return [found[(2 * number + 1) * len(found) // (2 * count)] for number in range(count)] if found else []


def kill(command, point, trace, tracer=()):
    """Kills a command before a call; tells whether it came to that, and None where it made fewer calls of this name.

    How many there are of those to the engine differs from run to run, as several writes go out at once or one by one.
    """
    strace = ["strace", "-qq", "-f", "-o", trace, "-e", TRACED, *tracer]
    strace += ["-e", f"inject={point.call}:signal=KILL:when={point.number}"]
    result = rig.run([*strace, *command], check=False)
    if result.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return True
    made = max((call.number for call in calls_of(trace) if call.name == point.call), default=0)
    return None if made < point.number else False


def stop(command, point, trace, meanwhile):
    """Runs a command that stands still at a call until `meanwhile` has returned; returns how it ended, and what it said.

    It fails with `Missed` where the command ends without having made that call.
    """
    trace.unlink(missing_ok=True)
    strace = ["strace", "-f", "-o", trace, "-e", f"trace={point.call}"]
    strace += ["-e", f"inject={point.call}:signal=STOP:when={point.number}"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*map(str, strace), *map(str, command)], text=True, **pipes)
    try:
        while (stopped := _stopped(trace)) is None:
            if process.poll() is not None:
                raise Missed(f"{point}: {process.communicate()[1]}")
            time.sleep(0.002)
        meanwhile()
        while True:
            # More than once: every thread stops at its call of this number, and a signal that comes before all of them stand
            # still is lost.
            with contextlib.suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                output, log = process.communicate(timeout=0.05)
                return subprocess.CompletedProcess(command, process.returncode, output, log)
    except BaseException:
        process.kill()
        process.communicate()
        raise


class Missed(Exception):
    """The command made fewer calls of this name."""


def _stopped(trace):
    """The process that stands still, by the account of its tracer, which begins lines with the number of a thread."""
    with contextlib.suppress(FileNotFoundError):
        for line in trace.read_text().splitlines():
            if "--- stopped by SIGSTOP ---" in line:
                status = Path(f"/proc/{line.split()[0]}/status").read_text()
                return int(status.split("Tgid:")[1].split()[0])
    return None
