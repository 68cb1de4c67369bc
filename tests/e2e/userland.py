"""The root of a guest, put together from files of the root that the tests run in, and the disk that is made of it.

    userland = Userland(directory)
    userland.add_programs("/usr/bin/containerd", "/usr/sbin/runc")
    userland.add_packages("systemd")
    userland.write_disk(path, "1G")

Programs bring the libraries that they need. As in Debian /bin, /lib, /lib64 and /sbin are links into /usr.
"""

import os
import re
import shutil
from pathlib import Path

import rig

MERGED = ("bin", "lib", "lib64", "sbin")
DIRECTORIES = ("dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "var/lib", "var/log", "var/tmp")
ELF = b"\x7fELF"


class Userland:
    def __init__(self, directory):
        self.directory = directory
        for name in (*DIRECTORIES, *(f"usr/{name}" for name in MERGED)):
            (directory / name).mkdir(parents=True, exist_ok=True)
        for name in MERGED:
            (directory / name).symlink_to(f"usr/{name}")
        (directory / "var/run").symlink_to("/run")

    def place(self, path):
        """Where a path of the guest lies, which may go through links of the root that the tests run in."""
        path = Path(path)
        return self.directory / Path(os.path.realpath(path.parent), path.name).relative_to("/")

    def add_programs(self, *paths):
        self._copy([Path(path) for path in paths])

    def add_packages(self, *names, without=()):
        """Adds all files of packages, but those below some directories."""
        lines = rig.run(["dpkg", "--listfiles", *names]).stdout.splitlines()
        # Documentation is listed, but not installed.
        paths = [Path(line) for line in lines if line.startswith("/") and os.path.lexists(line)]
        below = [Path(path) for path in without]
        self._copy([path for path in paths if not any(path.is_relative_to(each) for each in below)])

    def add_busybox(self):
        """Adds busybox under the names of all its programs that are not there otherwise."""
        self._copy([Path("/usr/bin/busybox")])
        for path in rig.run(["busybox", "--list-full"]).stdout.split():
            # What it calls linuxrc would be in the root itself.
            if "/" in path and not os.path.lexists(place := self.place(f"/{path}")):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to("/usr/bin/busybox")

    def put(self, path, content, mode=0o644):
        """Writes a file of the guest."""
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)

    def link(self, path, target):
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def unpack(self, archive):
        """Unpacks a tar of the guest's root, with owners."""
        rig.run(["tar", "-C", self.directory, "--numeric-owner", "--keep-directory-symlink", "-xpf", archive])

    def write_disk(self, path, size):
        """Makes a writable file system of it, which a crash does not break; nothing is left for the guest to initialize."""
        options = ["-q", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
        rig.run(["mke2fs", *options, "-d", self.directory, path, size])

    def _copy(self, paths):
        for path in paths:
            self._copy_one(path)
        files = [path for path in paths if path.is_file() and not path.is_symlink()]
        for library in _libraries([path for path in files if _is_elf(path)]):
            # By the name that programs ask for, which is a link to another.
            self._copy_one(Path(os.path.realpath(library)), self.place(library))

    def _copy_one(self, path, place=None):
        place = place or self.place(path)
        if path.is_dir() and not path.is_symlink():
            place.mkdir(parents=True, exist_ok=True)
        elif not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place, follow_symlinks=False)


def _is_elf(path):
    with path.open("rb") as file:
        return file.read(len(ELF)) == ELF


def _libraries(paths):
    """The libraries, and what loads them, that programs and libraries need."""
    # It fails if one of them is static, and goes on.
    said = rig.run(["ldd", *paths], check=False).stdout if paths else ""
    return sorted(set(re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", said, re.MULTILINE)))
