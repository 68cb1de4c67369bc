"""What the report says of the machine: enough to judge the numbers by, and nothing that names it."""

import os
from pathlib import Path


def facts(directory):
    """Describes the machine and the file system that a directory is on."""
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu("model name") or os.uname().machine,
        "sha instructions": "sha_ni" in (_cpu("flags") or "").split(),
        "memory": f"{round(int(memory['MemTotal'].split()[0]) / 2**20)} GiB",
        "kernel": os.uname().release,
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
