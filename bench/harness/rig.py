"""The test rig, as the bench uses it: static programs, Debian roots, and the peers that their recipes lack."""

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent.parent.parent
# The newest suite, whose tools are the newest peers.
SUITE = "forky"
# Peers and tools that the tests have no use for, so that their root is not made anew for them.
PEERS = ["pigz", "buildah", "squashfs-tools", "e2fsprogs"]
DOWNLOAD = """
set -e
apt-get -qq -o APT::Update::Error-Mode=any update >&2
apt-get -qq install -y --no-install-recommends --download-only \
    -o APT::Sandbox::User=root -o Dir::Cache::archives=/out/ "$@" >&2
rm -rf /out/partial /out/lock
"""


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Rig:
    """The scripts of tests/rig."""

    def __init__(self):
        default = Path.home() / ".cache/ociseed-e2e"
        self.base = Path(os.environ.get("OCISEED_E2E_DIR", default)) / "bench"
        self.base.mkdir(parents=True, exist_ok=True)

    def programs(self):
        """Builds the programs as they are released and returns where they are."""
        return Path(output(SOURCE / "tests/rig/static-binaries").splitlines()[-1])

    def enter(self, suite, command, *, binds=(), options=()):
        """Runs a command in the root of a suite, which is made if it is not there."""
        output(SOURCE / "tests/rig/make-root", suite)
        options = [*options, *(word for bind in binds for word in ("--bind", bind))]
        subprocess.run([SOURCE / "tests/rig/enter", suite, *options, "--", *command], check=True)

    def peers(self):
        """Fetches the packages of peers and returns where they are; they are installed in a root when it is entered."""
        root = Path(output(SOURCE / "tests/rig/make-root", SUITE)).name
        place = self.base / f"peers-{root}-{'-'.join(PEERS)}"
        if not place.exists():
            new = self.base / ".new-peers"
            new.mkdir(exist_ok=True)
            self.enter(SUITE, ["bash", "-c", DOWNLOAD, "download", *PEERS], binds=[f"{new}:/out"])
            new.rename(place)
        return place
