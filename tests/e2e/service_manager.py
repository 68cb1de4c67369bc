"""systemd as the first process of a namespace, with none but the units that a test gives it, and a stand-in for the loader.

    manager = ServiceManager(directory, units, environment="RUN=--wait 3\n")
    manager.behave("run critical", "beat 3", "exit 8")
    lines = manager.boot("systemctl is-active ociseed-critical.service >> LOG")

What the stand-in is called with is in the log, as is what other units and the script, for which LOG is its path, write there. The
script runs when all units are started; then the system goes down in good order.
"""

import subprocess
import time
from pathlib import Path

import rig

LOADER = Path("/usr/bin/ociseed-loader")
ENVIRONMENT = Path("/etc/default/ociseed")
LIBRARY = Path("/lib/systemd/system")
# What default dependencies name, and what an orderly end is made of.
SHIPPED = ("basic.target", "exit.target", "final.target", "shutdown.target", "sysinit.target", "systemd-exit.service")
PATIENCE = 60
# A namespace of cgroups, for systemd takes all for its own that it sees.
INNER = """
set -e
echo $$ > "$1/cgroup.procs"
exec unshare --cgroup --pid --fork --kill-child --mount --propagation private -- bash -e -c '
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 tmpfs /run
    umount -R /sys/fs/cgroup 2>/dev/null || :
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    touch "$1/messages"
    mount --bind "$1/messages" /dev/kmsg
    exec env container=ociseed SYSTEMD_UNIT_PATH="$1/units" \\
        /lib/systemd/systemd --system --unit=test.target --show-status=no --log-target=kmsg --log-level=notice
' inner "$2"
"""
# One line of its file is how it behaves; when there is but one left, that is how it goes on.
STAND_IN = """#!/usr/bin/python3
import os, pathlib, signal, socket, sys, time

directory = pathlib.Path("{directory}")
words = [word for word in sys.argv[1:] if word in ("place", "run", "settle", "critical", "background")]
name = " ".join(words)

def say(text):
    with open(directory / "log", "a") as log:
        log.write(text + "\\n")

def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
say("loader " + " ".join(sys.argv[1:]))
file = directory / "behaviour" / name
first, *others = file.read_text().splitlines() if file.exists() else ["exit 0"]
if others:
    file.write_text("\\n".join(others))
word, number = first.split()
if word == "beat":
    for _ in range(4 * int(number)):
        tell("EXTEND_TIMEOUT_USEC=1000000")
        time.sleep(0.25)
    number = 0
if word == "hang":
    time.sleep(int(number))
if int(number) in (0, 7) and "NOTIFY_SOCKET" in os.environ:
    tell("READY=1")
say("end of " + name)
sys.exit(int(number))
"""


class ServiceManager:
    """The units are paths or, by name, texts; all that some target or service wants are enabled."""

    def __init__(self, directory, units, others, environment=""):
        self.directory, self.log = directory, directory / "log"
        (directory / "behaviour").mkdir()
        self.log.touch()
        ENVIRONMENT.write_text(environment)
        LOADER.write_text(STAND_IN.format(directory=directory))
        LOADER.chmod(0o755)
        for path in (*(LIBRARY / name for name in SHIPPED), *units):
            # Mounts are the root's and stay.
            self.add(path.name, path.read_text().replace(" umount.target", ""))
        for name, text in others.items():
            self.add(name, text.replace("LOG", str(self.log)))
        self.wanted = {"test.target": [*others, "script.service"]}
        for unit in units:
            for line in unit.read_text().splitlines():
                if line.startswith("WantedBy="):
                    self.wanted.setdefault(line.removeprefix("WantedBy="), []).append(unit.name)

    def add(self, name, text):
        path = self.directory / "units" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def behave(self, command, *behaviour):
        (self.directory / "behaviour" / command).write_text("\n".join(behaviour))

    def boot(self, script=""):
        """Starts all, runs the script and ends; returns the lines of the log."""
        # Its own job is over when it starts, so it may wait for all jobs.
        text = f"systemctl is-system-running --wait >/dev/null || :\n{script}\nsystemctl --no-block exit 0\n"
        (self.directory / "script").write_text(text.replace("LOG", str(self.log)))
        self.add("script.service", f"[Service]\nExecStart=/bin/bash {self.directory}/script\n")
        self.add("test.target", "[Unit]\nDescription=What the test wants\nAllowIsolate=yes\n")
        for by, names in self.wanted.items():
            wants = self.directory / "units" / f"{by}.wants"
            wants.mkdir(exist_ok=True)
            for name in names:
                (wants / name).symlink_to(self.directory / "units" / name)
        self._run()
        return self.log.read_text().splitlines()

    def _run(self):
        group = self._cgroup()
        try:
            result = rig.run(["bash", "-c", INNER, "bash", group, self.directory], check=False, timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"systemd did not end:\n{self._said()}") from error
        finally:
            remove(group)
        if result.returncode != 0:
            raise AssertionError(f"systemd ended with {result.returncode}:\n{result.stderr}{self._said()}")

    def _said(self):
        return (self.directory / "messages").read_text(errors="replace") + self.log.read_text()

    def _cgroup(self):
        hierarchy = self.directory / "cgroup"
        hierarchy.mkdir()
        rig.run(["mount", "-t", "cgroup2", "cgroup2", hierarchy])
        group = hierarchy / f"ociseed-units-{self.directory.name}"
        group.mkdir()
        return group


def remove(group):
    """Removes a cgroup, as soon as the last process in it is gone, and unmounts its hierarchy."""
    (group / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + PATIENCE
    while "populated 1" in (group / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            raise AssertionError("what was killed goes on")
        time.sleep(0.05)
    for directory in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        directory.rmdir()
    group.rmdir()
    rig.run(["umount", group.parent])
