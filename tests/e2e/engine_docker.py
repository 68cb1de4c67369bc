"""dockerd with either of its image stores, driven with docker."""

import json
import os
import re
from pathlib import Path

from engine_base import Daemon, installed_version, run


class Docker(Daemon):
    """A dockerd of its own, all below one scratch directory, and without networks.

    `store` is "overlay2", the graph driver that Docker had up to 28, or "containerd", the image store of containerd. Unless it
    gets a `containerd` that runs, as installed ones do, it starts one of its own.
    """

    name = "docker"
    prefix = "d"

    def __init__(self, store="overlay2", containerd=None):
        super().__init__(installed_version("dockerd"))
        self.store = store
        self.containerd = containerd
        self.root = self.directory / "data"
        self.state = self.directory / "exec"
        self.config = self.directory / "daemon.json"
        self.config.write_text(json.dumps(self._config()))

    @staticmethod
    def stores():
        """The stores that the Docker of this root has; the second is for general use since 25."""
        return ("overlay2", "containerd") if installed_version("dockerd") >= (25,) else ("overlay2",)

    def __str__(self):
        return f"{super().__str__()} ({self.store})"

    def _config(self):
        config = {"data-root": str(self.root), "exec-root": str(self.state), "pidfile": str(self.directory / "pid")}
        config |= {"hosts": [f"unix://{self.socket}"], "shutdown-timeout": 2}
        if self.containerd:
            config |= {"containerd": str(self.containerd.socket)}
        config |= {"bridge": "none", "iptables": False, "ip6tables": False}
        # Its builder has containerd collect garbage a second after the start, by a lease that others see until it is done.
        config |= {"builder": {"gc": {"enabled": False}}}
        if self.store == "containerd":
            # Its driver is called after containerd's snapshotter.
            return config | {"features": {"containerd-snapshotter": True}}
        # Named, because what dockerd takes by itself depends on what else the data directory holds.
        return config | {"storage-driver": self.store}

    def command(self):
        return ["dockerd", "--config-file", self.config]

    def answers(self):
        return self.docker("version", check=False).returncode == 0

    def docker(self, *arguments, check=True, timeout=120):
        """Runs the client with this instance; stdout and stderr of the result are text."""
        environment = os.environ | {"DOCKER_CONFIG": str(self.directory / "client"), "DOCKER_CLI_HINTS": "false"}
        command = ["docker", "--host", f"unix://{self.socket}", *arguments]
        return run(command, check=check, timeout=timeout, env=environment)

    def driver(self):
        """The storage driver that dockerd says it uses."""
        return self.docker("info", "--format", "{{.Driver}}").stdout.strip()

    def load(self, path):
        """Loads an archive and returns the names, else the ids, that it brought."""
        output = self.docker("load", "--input", path).stdout
        return re.findall(r"^Loaded image(?: ID)?: (\S+)$", output, re.MULTILINE)

    def images(self):
        """The ids of the images, by name; docker leaves docker.io/library/ out of names."""
        output = self.docker("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout
        return dict(line.split(" ") for line in output.splitlines())

    def layer_directories(self, image):
        """The directories that hold the files of each layer of an image, bottom first; with overlay2 only."""
        driver = json.loads(self.docker("inspect", "--type", "image", image).stdout)[0]["GraphDriver"]["Data"]
        return [Path(path) for path in reversed([driver["UpperDir"], *driver.get("LowerDir", "").split(":")]) if path]

    def run_container(self, image, argv=(), *, options=(), check=True, timeout=120):
        """Runs a container to its end; stdout is what it printed."""
        command = [*self._run(next(self._container_ids)), "--rm", *options, image, *argv]
        return self.docker(*command, check=check, timeout=timeout)

    def start_container(self, image, argv=(), *, options=()):
        """Starts a container that stays until it is removed or the engine is closed; returns its name."""
        name = next(self._container_ids)
        self.docker(*self._run(name), "--detach", *options, image, *argv)
        return name

    @staticmethod
    def _run(name):
        return ["run", "--network", "none", "--pull", "never", "--name", name]
