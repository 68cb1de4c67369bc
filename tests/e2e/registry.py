"""A registry that serves on this machine while a test needs it: crane's own, which keeps everything in memory.

    with registry.serving(directory / "log") as address:
        rig.run(["skopeo", "copy", …, f"docker://{address}/web:1"])

Only the newest suite has crane.
"""

import contextlib
import re
import shutil
import subprocess
import time

THERE = shutil.which("crane") is not None
PATIENCE = 30


@contextlib.contextmanager
def serving(log):
    """The address of a registry that is empty at first; its output goes to a file."""
    with log.open("w") as output:
        command = ["crane", "registry", "serve", "--address", "127.0.0.1:0"]
        with subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                yield _address_in(log)
            finally:
                process.terminate()


def _address_in(log):
    """Waits until the registry says where it serves."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = re.search(r"serving on port (\d+)|127\.0\.0\.1:([1-9]\d*)", log.read_text())
        if found:
            return f"127.0.0.1:{found[1] or found[2]}"
        time.sleep(0.05)
    raise TimeoutError(f"no registry after {PATIENCE} s:\n{log.read_text()}")
