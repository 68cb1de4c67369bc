"""containerd, driven with ctr."""

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from engine_base import Daemon, checked, installed_version, run

# Each probes for devices or kernel modules at every start and fills the log with warnings.
NOISY_PLUGINS = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "blockfile", "btrfs", "devmapper", "zfs")]


# What a container prints goes to this program (shims call it with the container's pipes as 3 and 4, and wait until it closes 5),
# and so to files. Through the daemon's fifos it may be lost or cut off: a shim waits 2 s for what it has not copied yet when a
# container ends, and ctr not at all for a fifo that it has not opened.
COLLECTOR = """\
#!/bin/sh
exec 5>&-
cat <&4 >"$1.stderr" &
cat <&3 >"$1.stdout"
wait
"""


class Image(NamedTuple):
    name: str
    media_type: str
    digest: str
    labels: dict


class Containerd(Daemon):
    """A containerd of its own: root, state, socket and log below one scratch directory.

    `sandbox_image` is what CRI runs in each pod; engine_cri.Node is one that pods run in without a network and a registry.
    """

    name = "containerd"
    prefix = "c"

    def __init__(self, namespace="default", extra_config="", sandbox_image=None, root=None):
        super().__init__(installed_containerd())
        self.namespace = namespace
        self.root = root or self.directory / "root"
        self.state = self.directory / "state"
        self.config = self.directory / "config.toml"
        self.config.write_text(self._config(sandbox_image) + extra_config)

    @property
    def cri_runtime(self):
        """The plugin that runs pods."""
        return "io.containerd.cri.v1.runtime" if self.version >= (2,) else "io.containerd.grpc.v1.cri"

    def _config(self, sandbox_image):
        return f"""\
version = {3 if self.version >= (2,) else 2}
root = "{self.root}"
state = "{self.state}"
disabled_plugins = {NOISY_PLUGINS}
[grpc]
address = "{self.socket}"
[plugins."{self.cri_runtime}"]
# A container, and some virtual machines, may not lower their OOM score.
restrict_oom_score_adj = true
{self._sandbox(sandbox_image)}
[plugins."io.containerd.nri.v1.nri"]
# Its socket is the same for all instances.
disable = true
"""

    def _sandbox(self, image):
        """Names the image that CRI starts sandboxes from, in the table of its runtime or in one of its own."""
        if image is None:
            return ""
        if self.version >= (2,):
            return f'[plugins."io.containerd.cri.v1.images".pinned_images]\nsandbox = "{image}"'
        return f'sandbox_image = "{image}"'

    def command(self):
        return ["containerd", "--config", self.config]

    def answers(self):
        return self.ctr("version", check=False).returncode == 0

    def ctr(self, *arguments, namespace=None, check=True, timeout=120):
        """Runs ctr with this instance; stdout and stderr of the result are text."""
        command = ["ctr", "--address", self.socket, "--namespace", namespace or self.namespace, *arguments]
        return run(command, check=check, timeout=timeout)

    def load(self, path):
        """Imports and unpacks an archive (Docker's or OCI's) and returns the names that it brought."""
        output = self.ctr("images", "import", path).stdout
        # "unpacking NAME (sha256:...)...done" up to 1.7, "NAME <blanks> saved" since 2.0.
        return re.findall(r"^(?:unpacking )?(\S+)[ \t]+(?:\(sha256:|saved)", output, re.MULTILINE)

    def run_container(self, image, argv=(), *, net_host=False, namespace=None, options=(), check=True, timeout=120):
        """Runs a container to its end; stdout is what it printed."""
        identity = next(self._container_ids)
        collected = self.directory / identity
        log = f"binary://{self._collector()}?{collected}"
        options = ["--rm", "--log-uri", log, *(["--net-host"] if net_host else []), *options]
        result = self.ctr("run", *options, image, identity, *argv, namespace=namespace, check=False, timeout=timeout)
        for stream in ("stdout", "stderr"):
            with contextlib.suppress(FileNotFoundError):
                printed = Path(f"{collected}.{stream}").read_text(errors="replace")
                setattr(result, stream, printed + getattr(result, stream))
        return checked(result) if check else result

    def _collector(self):
        path = self.directory / "collector"
        if not path.exists():
            path.write_text(COLLECTOR)
            path.chmod(0o755)
        return path

    def start_container(self, image, argv=(), *, namespace=None, options=()):
        """Starts a container that stays until it is removed or the engine is closed; returns its id."""
        identity = next(self._container_ids)
        self.ctr("run", "--detach", *options, image, identity, *argv, namespace=namespace)
        return identity

    def layer_directories(self, image):
        """The directories that hold the files of each layer of an image, bottom first, as overlayfs unpacked them."""
        identity = next(self._container_ids)
        # Not a view of a snapshot: garbage collection takes that away at once, as nothing refers to it.
        self.ctr("containers", "create", "--snapshotter", "overlayfs", image, identity, "/none")
        mount = self.ctr("snapshots", "--snapshotter", "overlayfs", "mounts", "/none", identity).stdout
        self.ctr("containers", "delete", identity)
        return [Path(path) for path in reversed(re.search(r"lowerdir=([^,\s]+)", mount)[1].split(":"))]

    def collect_garbage(self):
        """Has garbage collected now. By itself it does so after a pause that is the longer the busier the machine is.

        Without a change after that there is nothing left that it would do later.
        """
        self.ctr("leases", "create", "--id", "collect")
        self.ctr("leases", "delete", "--sync", "collect")

    def come_to_rest(self):
        """Has garbage collected, as it would be later, and waits until nothing is left to do; returns what was written by then."""
        self.collect_garbage()
        return self.rest()

    def images(self, namespace=None):
        """The image records of a namespace, by name."""
        images = {}
        for line in self.ctr("images", "list", namespace=namespace).stdout.splitlines()[1:]:
            # Between these columns are a size in two words, and platforms.
            name, media_type, digest, *_, labels = line.split()
            pairs = [] if labels == "-" else [pair.partition("=") for pair in labels.split(",")]
            images[name] = Image(name, media_type, digest, {key: value for key, _, value in pairs})
        return images


def installed_containerd():
    """The version of the containerd of this root as a tuple, such as (1, 7, 24)."""
    return installed_version("containerd")
