"""The machine: what the report says of it, enough to judge the numbers by and nothing that names it; and its rest."""

import os
import re
import tempfile
from pathlib import Path

# More than most turns write. Less than what the kernel lets lie before it begins to write to the disk.
READY_BYTES = 1536 << 20
PIECE = bytes(1 << 20)


def rest(directory):
    """Brings the machine to the state in which every turn begins.

    What the turn before left to be written must not be written in this one. And a virtual machine gives free memory back to
    its host after a while: the next use of each page is then a fault that the host handles, which took one and the same
    `tar` from 1.1 to 3.4 seconds. So the page cache gets memory here, for a file that is gone when the turn begins.
    """
    os.sync()
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(READY_BYTES // len(PIECE)):
            file.write(PIECE)


def facts(directory):
    """Describes the machine and the file system that a directory is on."""
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu("model name") or os.uname().machine,
        "sha instructions": "sha_ni" in (_cpu("flags") or "").split(),
        "memory": f"{round(int(memory['MemTotal'].split()[0]) / 2**20)} GiB",
        # What a distributor or provider adds to it says nothing here.
        "kernel": re.match(r"[\d.]+", os.uname().release)[0],
        "file system": _file_system(directory),
    }


def _cpu(key):
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _file_system(directory):
    device = os.stat(directory).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == number:
            return after.split()[0]
    return "unknown"
