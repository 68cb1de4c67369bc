"""What all guests of the tests have: Debian's Linux 6.1 with the modules that they need, an initramfs, QEMU and their console.

    modules, names = module_members(("virtio_pci", "virtio_blk"))
    path.write_bytes(initramfs([file("init", INIT), *modules]))
    console = boot(path, [Disk(image, read_only=True)], memory=512)
    console.marks["mounted"].guest

QEMU emulates the guest's processor: many machines that run tests cannot run guests of their own. The kernel and QEMU are in
the root of bookworm only (tests/rig/recipes).
"""

import dataclasses
import os
import platform
import re
import stat
import subprocess
import threading
import time
import unittest
from pathlib import Path
from typing import NamedTuple

# Other roots have no such tests; on other machines than these they are skipped, by name.
IN_THIS_SUITE = os.environ["OCISEED_SUITE"] == "bookworm"
needs_machine = unittest.skipUnless(platform.machine() == "x86_64", "the guest is one for x86-64")
KERNEL = Path("/opt/guest-kernel")
BUSYBOX = Path("/bin/busybox")
# Booting takes seconds, on a busy machine many.
PATIENCE = 240
POWERED_OFF = "powered-off"
# What guests say when something is reached, with the first number of their /proc/uptime; kernel messages may lie before it.
MARK = re.compile(r"@mark (?P<name>\S+) (?P<uptime>\d+\.\d+)")
# The kernel's last message, which it prints however quiet it is. After a panic QEMU ends as well, but without it.
POWER_DOWN = re.compile(r"\[ *(?P<uptime>\d+\.\d+)\] reboot: Power down")


class Disk(NamedTuple):
    """A file that is a disk of the guest: /dev/vda, /dev/vdb and so on in their order."""

    path: Path
    read_only: bool = False
    writes_a_second: int | None = None  # as many as can be made, unless said


class Mark(NamedTuple):
    """When something was reached. On a busy machine the guest's clock is seconds wrong when it starts, but then goes right: of
    its times only differences count."""

    guest: float  # seconds since the guest's kernel started
    host: float  # seconds since QEMU was started
    cpu: float  # seconds of the host's processors that QEMU has used by then: what a busy machine changes least


@dataclasses.dataclass
class Console:
    """What a guest said, line by line, and when it said what."""

    lines: list = dataclasses.field(default_factory=list)
    times: list = dataclasses.field(default_factory=list)  # of each line, in seconds since QEMU was started
    marks: dict = dataclasses.field(default_factory=dict)
    killed: bool = False  # at the line that was asked for
    seconds: float = 0  # from start to end of QEMU

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def powered_off(self):
        return POWERED_OFF in self.marks

    def add(self, line, seconds, process):
        self.lines.append(line)
        self.times.append(seconds)
        found, name = MARK.search(line), None
        if found:
            name = found["name"]
        elif found := POWER_DOWN.search(line):
            name = POWERED_OFF
        if name:
            self.marks[name] = Mark(float(found["uptime"]), seconds, cpu_seconds(process))

    def said_at(self, pattern):
        """When the first line was said in which a pattern is found, in seconds since QEMU was started."""
        for line, seconds in zip(self.lines, self.times, strict=True):
            if re.search(pattern, line):
                return seconds
        raise AssertionError(f"the guest never said `{pattern}`; its console:\n{self.text}")


def cpu_seconds(process):
    """What a process that was not waited for has used of the processors, user and system time of all its threads."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def kernel():
    """The version of the guest's kernel, as its files are named."""
    (image,) = KERNEL.glob("boot/vmlinuz-*")
    return image.name.removeprefix("vmlinuz-")


# QEMU


def boot(initramfs, disks, *, memory, arguments=(), patience=PATIENCE, kill_at=None):
    """Runs a guest to its end, or kills it, as if its power were cut, once a line has the pattern `kill_at` in it.

    What the guest wrote to its disks by then is in their files.
    """
    return watch(command(initramfs, disks, memory, arguments), patience, kill_at)


def watch(words, patience, kill_at=None, kill_after=0):
    """Runs a command whose output is a console; fails if that does not end as it was meant to.

    It is killed so many seconds after the first line with the pattern `kill_at`, or, if that is a tuple, with the last of
    these patterns, each behind the one before it. What it says until then is kept.
    """
    ahead = list((kill_at,) if isinstance(kill_at, str) else kill_at or ())
    console, begun = Console(), time.monotonic()
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(words, **pipes)
    late = threading.Event()
    timer = threading.Timer(patience, lambda: (late.set(), process.kill()))
    cut = threading.Timer(kill_after, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            line = line.decode(errors="replace").rstrip("\r\n")
            console.add(line, time.monotonic() - begun, process)
            if not ahead or not re.search(ahead[0], line):
                continue
            del ahead[0]
            if not ahead:
                # Without another thread where that is not needed: each millisecond the guest goes on.
                cut.start() if kill_after else process.kill()
                console.killed = True
        code = process.wait()
    finally:
        timer.cancel()
        cut.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    console.seconds = time.monotonic() - begun
    check_end(console, code, patience if late.is_set() else None, kill_at)
    return console


def check_end(console, code, patience, kill_at):
    problem = None
    if patience is not None:
        problem = f"the guest did not end within {patience} s"
    elif kill_at is not None and not console.killed:
        problem = f"the guest ended before it said `{kill_at}`"
    elif code != 0 and not console.killed:
        problem = f"QEMU ended with {code}"
    if problem:
        raise AssertionError(f"{problem}; the guest's console:\n{console.text}")


def command(initramfs, disks, memory, arguments):
    words = [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(memory),
        "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
        "-kernel", KERNEL / "boot" / f"vmlinuz-{kernel()}", "-initrd", initramfs,
        "-append", " ".join(["console=ttyS0 quiet panic=-1 mitigations=off", *arguments]),
    ]  # fmt: skip
    for number, disk in enumerate(disks):
        access = "read-only=on" if disk.read_only else "cache=unsafe"
        if disk.writes_a_second:
            access += f",throttling.iops-write={disk.writes_a_second}"
        words += ["-drive", f"if=none,id=disk{number},format=raw,{access},file={disk.path}"]
        words += ["-device", f"virtio-blk-pci,drive=disk{number}"]
    return words


# The initramfs


def directory(name):
    return name, stat.S_IFDIR | 0o755, b""


def file(name, content, mode=0o755):
    return name, stat.S_IFREG | mode, content.encode() if isinstance(content, str) else content


def initramfs(members):
    """A cpio archive, as docs of Linux (driver-api/early-userspace/buffer-format) say; the kernel unpacks it as its root.

    Members are triples as `directory` and `file` make them, in the order in which they are made.
    """
    # Without it the kernel has no place to say what fails before /dev is mounted.
    console = ("dev/console", stat.S_IFCHR | 0o600, b"")
    members = [directory("bin"), directory("dev"), console, file("bin/busybox", BUSYBOX.read_bytes()), *members]
    members.append(("TRAILER!!!", 0, b""))
    return b"".join(_member(number, *member) for number, member in enumerate(members, start=1))


def _member(number, name, mode, content):
    # The one device is the console.
    major, minor = (5, 1) if stat.S_ISCHR(mode) else (0, 0)
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(header) + _padded(content)


def _padded(content):
    return content + bytes(-len(content) % 4)


def module_members(names):
    """Members for the modules of these names, /modules/NAME.ko, and their names in the order in which they can be loaded."""
    found = _modules(names)
    return [directory("modules"), *(file(f"modules/{name}.ko", found[name], 0o644) for name in found)], list(found)


def _modules(names):
    """The contents of modules by name, with those that they need, in the order in which they can be loaded."""
    files = {path.stem.replace("-", "_"): path for path in KERNEL.glob(f"lib/modules/{kernel()}/**/*.ko")}
    found = {}

    def add(name):
        content = files[name].read_bytes()
        # The package has no list of them, that is made when it is installed; each module says what it needs.
        needs = re.search(rb"\0depends=([^\0]*)\0", content)[1].decode()
        for need in needs.replace("-", "_").split(",") if needs else ():
            if need not in found:
                add(need)
        found[name] = content

    for name in names:
        if name not in found:
            add(name)
    return found
