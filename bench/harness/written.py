"""What reaches a disk: a small volume of its own, whose device counts what is written to it."""

import contextlib
import os
from pathlib import Path

from harness.measure import run
from harness.rig import output

SIZE = 512 << 20
SECTOR = 512
# By default the kernel writes tables of inodes and the journal at its leisure, which would count.
MKFS = ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]


class Volume:
    """A fresh ext4 at a directory, on a loop device."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self._file = self.directory.with_suffix(".ext4")
        self._end = contextlib.ExitStack()

    def __enter__(self):
        self.directory.mkdir()
        self._end.callback(self.directory.rmdir)
        self._end.callback(self._file.unlink)
        with self._file.open("wb") as file:
            file.truncate(SIZE)
        run([[[*MKFS, self._file]]])
        device = output("losetup", "--find", "--show", self._file)
        self._end.callback(run, [[["losetup", "--detach", device]]])
        self._counters = Path("/sys/block") / Path(device).name / "stat"
        run([[["mount", device, self.directory]]])
        self._end.callback(run, [[["umount", self.directory]]])
        return self

    def __exit__(self, *_):
        self._end.close()

    def state(self):
        """Bytes that the device was given, bytes in use, and inodes in use, once nothing is left to be written."""
        os.sync()
        # https://docs.kernel.org/block/stat.html
        sectors = int(self._counters.read_text().split()[6])
        found = os.statvfs(self.directory)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        return {"device": sectors * SECTOR, "used": used, "inodes": found.f_files - found.f_ffree}

    def growth(self, action):
        """What an action adds to the state."""
        before = self.state()
        action()
        return {key: value - before[key] for key, value in self.state().items()}
