"""Runs pipelines and says what they took: time, CPU, bytes and memory, of all their processes together."""

import os
import subprocess
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

# A process grows little in this time, and looking costs a hundredth of one core.
SAMPLE_SECONDS = 0.01


@dataclass
class Usage:
    """What one turn took."""

    wall: float = 0.0  # seconds from the first start to the last end
    cpu: float = 0.0  # seconds, user and system
    read: int = 0  # bytes that read calls returned, from pipes too
    written: int = 0  # bytes that write calls took, into pipes too
    memory: int = 0  # bytes: the largest sum of the peaks of processes that were there together
    size: int = 0  # bytes of what was made

    def add(self, other):
        """Adds a step that ran after this one."""
        self.wall += other.wall
        self.cpu += other.cpu
        self.read += other.read
        self.written += other.written
        self.memory = max(self.memory, other.memory)

    as_dict = asdict


class Failed(Exception):
    """A program under measure ended badly."""


def run(steps, *, servers=()):
    """Runs steps one after the other, each a list of commands joined by pipes, and returns their usage.

    A command is a list of words; the last of a pipeline may end with ">" and its output file. What daemons
    (`servers`, by pid) do meanwhile counts too.
    """
    usage = Usage()
    for pipeline in steps:
        before = [_of_server(pid) for pid in servers]
        step = _run_pipeline(pipeline, servers)
        for pid, (cpu, read, written) in zip(servers, before, strict=True):
            now = _of_server(pid)
            step.add(Usage(cpu=now[0] - cpu, read=now[1] - read, written=now[2] - written))
        usage.add(step)
    return usage


def _run_pipeline(pipeline, servers):
    start = time.perf_counter()
    children = _start(pipeline)
    peak = _Peak([child.pid for child in children] + list(servers))
    usage = Usage()
    failures = []
    for child, command in zip(children, pipeline, strict=True):
        code, cpu, read, written = _wait(child)
        usage.add(Usage(cpu=cpu, read=read, written=written))
        if code != 0:
            failures.append(f"`{' '.join(map(str, command))}` ended with {code}")
    usage.wall = time.perf_counter() - start
    usage.memory = peak.stop()
    if failures:
        raise Failed("; ".join(failures))
    return usage


def _start(pipeline):
    children = []
    previous = subprocess.DEVNULL
    for number, command in enumerate(pipeline):
        out = subprocess.DEVNULL if number + 1 == len(pipeline) else subprocess.PIPE
        if ">" in command:
            out = Path(command[-1]).open("wb")
            command = command[: command.index(">")]
        child = subprocess.Popen(command, stdin=previous, stdout=out)
        for end in (previous, out):
            # Our copies: a reader would never see the end.
            if hasattr(end, "close"):
                end.close()
        previous = child.stdout
        children.append(child)
    return children


def _wait(child):
    """Waits for a child and returns its exit code, CPU seconds, and bytes read and written, with its own children's."""
    # Left as a zombie first, which still says what it has read and written.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    read, written = _bytes(child.pid)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_utime + usage.ru_stime, read, written


def _bytes(pid):
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"]), int(fields["wchar"])


def _of_server(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # utime, stime, and those of children that ended.
    ticks = sum(map(int, fields[11:15]))
    return (ticks / os.sysconf("SC_CLK_TCK"), *_bytes(pid))


class _Peak:
    """Looks at processes and what they start until it is stopped."""

    def __init__(self, pids):
        self._pids = pids
        self._largest = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while True:
            self._largest = max(self._largest, sum(map(_memory_of_tree, self._pids)))
            if self._end.wait(SAMPLE_SECONDS):
                return

    def stop(self):
        self._end.set()
        self._thread.join()
        return self._largest


def _memory_of_tree(pid):
    """The peak memory of a process and of all below it that are alive."""
    try:
        # The peak of this program only: what the kernel says at the end counts what the one that started it had.
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return sum(int(peak) * 1024 for peak in peaks) + sum(map(_memory_of_tree, children))
