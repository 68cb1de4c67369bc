"""podman, which has no daemon."""

import json
import os
import re
from pathlib import Path

from engine_base import Engine, installed_version, run


class Podman(Engine):
    """A podman with its own storage, state and configuration below one scratch directory, and without networks."""

    name = "podman"
    prefix = "p"

    def __init__(self):
        super().__init__(installed_version("podman"))
        self.root = self.directory / "root"
        self.state = self.directory / "run"
        # crun refuses to run where the old cgroup hierarchies are mounted beside the new one.
        unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        self.runtime = "crun" if unified else "runc"
        (self.directory / "storage.conf").write_text(self._storage())
        (self.directory / "containers.conf").write_text(self._containers())
        self.environment = os.environ | {
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            # Where it keeps what it downloads or loads until it is stored.
            "TMPDIR": str(self.state),
        }
        self.state.mkdir()

    def _storage(self):
        return f"""\
[storage]
driver = "overlay"
graphroot = "{self.root}"
runroot = "{self.state}/storage"
"""

    def _containers(self):
        return f"""\
[containers]
# podman 4.3 raises the limits further than a machine may allow ("error setting rlimit type 7").
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "{self.runtime}"
cgroup_manager = "cgroupfs"
events_logger = "none"
# The default, a segment of shared memory, is the same for all instances.
lock_type = "file"
static_dir = "{self.root}/libpod"
tmp_dir = "{self.state}/libpod"
volume_path = "{self.root}/volumes"
[network]
network_config_dir = "{self.directory}/networks"
"""

    def podman(self, *arguments, check=True, timeout=120):
        """Runs podman with this instance; stdout and stderr of the result are text; stderr goes to the log too."""
        command = ["podman", "--runtime-flag", f"root={self.state}/runtime", *arguments]
        result = run(command, check=check, timeout=timeout, env=self.environment)
        with self.log.open("a") as log:
            log.write(result.stderr)
        return result

    def load(self, path):
        """Loads an archive (Docker's or OCI's) and returns the names, else the ids, that it brought."""
        output = self.podman("load", "--input", path).stdout
        return re.findall(r"^Loaded image(?:\(s\))?: (\S+)$", output, re.MULTILINE)

    def pull(self, source):
        """Copies an image in, such as from `oci:DIRECTORY:NAME` or `docker-archive:FILE`; returns its id."""
        return self.podman("pull", "--quiet", source).stdout.split()

    def images(self):
        """The ids of the images, by name."""
        output = self.podman("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout
        return dict(line.split(" ") for line in output.splitlines())

    def layer_directories(self, image):
        """The directories that hold the files of each layer of an image, bottom first."""
        driver = json.loads(self.podman("inspect", "--type", "image", image).stdout)[0]["GraphDriver"]["Data"]
        return [Path(path) for path in reversed([driver["UpperDir"], *driver.get("LowerDir", "").split(":")]) if path]

    def run_container(self, image, argv=(), *, options=(), check=True, timeout=120):
        """Runs a container to its end; stdout is what it printed."""
        command = [*self._run(next(self._container_ids)), "--rm", *options, image, *argv]
        return self.podman(*command, check=check, timeout=timeout)

    def start_container(self, image, argv=(), *, options=()):
        """Starts a container that stays until it is removed or the engine is closed; returns its name."""
        name = next(self._container_ids)
        self.podman(*self._run(name), "--detach", *options, image, *argv)
        return name

    @staticmethod
    def _run(name):
        return ["run", "--network", "none", "--pull", "never", "--name", name]
