"""containerd as the kubelet sees it: the calls of the Container Runtime Interface that tests need.

    with engine_cri.Node() as containerd:
        cri = engine_cri.Cri(containerd)
        cri.load(engine_cri.pause_archive(directory))
        with cri.pod() as pod:
            container = cri.create_container(pod, "docker.io/library/web:1", ["/bin/sleep", "1000"])
            cri.start(container)
            cri.exec_sync(container, ["/bin/true"])

The fields are those of k8s.io/cri-api, pkg/apis/runtime/v1/api.proto; only what is used here is written down.
"""

import contextlib
import itertools
import re
import time
from pathlib import Path
from typing import NamedTuple

import grpc
import probe_image
from engine_containerd import Containerd
from protobuf import decode, encode

PAUSE = "ociseed.test/pause:1"
# What a kubelet waits for a call (`runtimeRequestTimeout`).
TIMEOUT = 120
# What CRI of 1.6 says while it starts, and how long that may last.
START = 30
NOT_READY = "server is not initialized yet"
# containerd cuts what `exec_sync` brings at 16 MiB.
LARGEST_MESSAGE = 64 << 20
# Enums
POD, CONTAINER, NODE = 0, 1, 2
STATES = ("created", "running", "exited", "unknown")

ID = "pod_sandbox_id"
IMAGE_SPEC = {"image": (1, str)}
IMAGE = {
    "id": (1, str), "repo_tags": (2, [str]), "repo_digests": (3, [str]), "size": (4, int), "pinned": (8, bool),
}  # fmt: skip
ID_MAPPING = {"host_id": (1, int), "container_id": (2, int), "length": (3, int)}
USER_NAMESPACE = {"mode": (1, int), "uids": (2, [ID_MAPPING]), "gids": (3, [ID_MAPPING])}
NAMESPACE_OPTION = {"network": (1, int), "pid": (2, int), "ipc": (3, int), "userns_options": (5, USER_NAMESPACE)}
LINUX_SANDBOX = {"security_context": (2, {"namespace_options": (1, NAMESPACE_OPTION)})}
SANDBOX_METADATA = {"name": (1, str), "uid": (2, str), "namespace": (3, str), "attempt": (4, int)}
SANDBOX_CONFIG = {"metadata": (1, SANDBOX_METADATA), "log_directory": (3, str), "linux": (8, LINUX_SANDBOX)}
CONTAINER_CONFIG = {
    "metadata": (1, {"name": (1, str), "attempt": (2, int)}),
    "image": (2, IMAGE_SPEC),
    "command": (3, [str]),
    "log_path": (11, str),
    "linux": (15, {"security_context": (2, {"namespace_options": (3, NAMESPACE_OPTION)})}),
}
CONTAINER_STATUS = {
    "id": (1, str), "state": (3, int), "exit_code": (7, int), "image": (8, IMAGE_SPEC), "image_ref": (9, str),
    "reason": (10, str), "message": (11, str), "log_path": (15, str),
}  # fmt: skip
FILESYSTEM = {
    "mountpoint": (2, {"path": (1, str)}), "used_bytes": (3, {"value": (1, int)}), "inodes_used": (4, {"value": (1, int)}),
}  # fmt: skip
# The request and the response of each method.
IMAGE_SERVICE = {
    "ListImages": ({}, {"images": (1, [IMAGE])}),
    "ImageStatus": ({"image": (1, IMAGE_SPEC)}, {"image": (1, IMAGE)}),
    "RemoveImage": ({"image": (1, IMAGE_SPEC)}, {}),
    "ImageFsInfo": ({}, {"image_filesystems": (1, [FILESYSTEM])}),
}
RUNTIME_SERVICE = {
    "RunPodSandbox": ({"config": (1, SANDBOX_CONFIG)}, {ID: (1, str)}),
    "StopPodSandbox": ({ID: (1, str)}, {}),
    "RemovePodSandbox": ({ID: (1, str)}, {}),
    "CreateContainer": (
        {ID: (1, str), "config": (2, CONTAINER_CONFIG), "sandbox_config": (3, SANDBOX_CONFIG)},
        {"container_id": (1, str)},
    ),
    "StartContainer": ({"container_id": (1, str)}, {}),
    "StopContainer": ({"container_id": (1, str), "timeout": (2, int)}, {}),
    "RemoveContainer": ({"container_id": (1, str)}, {}),
    "ContainerStatus": ({"container_id": (1, str)}, {"status": (1, CONTAINER_STATUS)}),
    "ExecSync": (
        {"container_id": (1, str), "cmd": (2, [str]), "timeout": (3, int)},
        {"stdout": (1, bytes), "stderr": (2, bytes), "exit_code": (3, int)},
    ),
}
METHODS = {
    **{name: ("ImageService", *messages) for name, messages in IMAGE_SERVICE.items()},
    **{name: ("RuntimeService", *messages) for name, messages in RUNTIME_SERVICE.items()},
}


# A network plugin (CNI) that makes no network. containerd wants an address for each pod; for the loopback device it calls a
# plugin of that name.
PLUGIN = r"""#!/bin/sh
version=$(sed -n 's/.*"cniVersion" *: *"\([^"]*\)".*/\1/p')
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}' ;;
ADD) echo '{"cniVersion": "'"$version"'", "interfaces": [{"name": "'"$CNI_IFNAME"'"}],
    "ips": [{"version": "4", "address": "192.0.2.1/32", "interface": 0}]}' ;;
esac
"""
NETWORK = '{"cniVersion": "0.4.0", "name": "nothing", "plugins": [{"type": "nothing"}]}'


class CriError(AssertionError):
    """A call that containerd refused; the text is containerd's own."""

    def __init__(self, method, error):
        self.code = error.code().name
        super().__init__(f"{method}: {self.code}: {error.details()}")


class Image(NamedTuple):
    id: str
    repo_tags: list
    repo_digests: list
    size: int
    pinned: bool


class Filesystem(NamedTuple):
    mountpoint: str
    used_bytes: int
    inodes_used: int


class Output(NamedTuple):
    stdout: str
    stderr: str
    returncode: int


class Status(NamedTuple):
    state: str
    exit_code: int
    image_ref: str
    reason: str
    message: str
    log: Path


class Pod(NamedTuple):
    """A sandbox that runs; its configuration is needed again for each container."""

    id: str
    config: dict


class Node(Containerd):
    """A containerd that is set up for pods: with an image for their sandboxes (pause_archive), and a network that is none."""

    def __init__(self, namespace="k8s.io", extra_config=""):
        super().__init__(namespace, extra_config, sandbox_image=PAUSE)
        plugins, networks = self.directory / "cni-plugins", self.directory / "cni-networks"
        for directory in (plugins, networks):
            directory.mkdir()
        for name in ("nothing", "loopback"):
            (plugins / name).write_text(PLUGIN)
            (plugins / name).chmod(0o755)
        (networks / "nothing.conflist").write_text(NETWORK)
        programs = f'bin_dirs = ["{plugins}"]' if self.version >= (2, 1) else f'bin_dir = "{plugins}"'
        with self.config.open("a") as config:
            config.write(f'[plugins."{self.cri_runtime}".cni]\n{programs}\nconf_dir = "{networks}"\n')


class Cri:
    """The CRI of a containerd that runs, also of one that is restarted meanwhile."""

    # Which exceptions of probe.py are its own: containerd's, and `containerd-cri`.
    name = "containerd"
    store = "cri"

    def __init__(self, engine):
        self.engine = engine
        self.version = engine.version
        self._numbers = itertools.count(1)

    def __str__(self):
        return f"{self.engine} ({self.store})"

    def log_tail(self, lines=40):
        return self.engine.log_tail(lines)

    def call(self, method, **request):
        """Calls a method; the response is a dict. Waits for CRI, which may need longer to start than containerd does."""
        deadline = time.monotonic() + START
        while True:
            try:
                return self._call(method, request)
            except CriError as error:
                if NOT_READY not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def _call(self, method, request):
        service, takes, gives = METHODS[method]
        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE)]
        # A connection of its own: one that saw the daemon go waits a while before it tries again.
        with grpc.insecure_channel(f"unix:{self.engine.socket}", options) as channel:
            function = channel.unary_unary(f"/runtime.v1.{service}/{method}")
            try:
                return decode(gives, function(encode(takes, request), timeout=TIMEOUT))
            except grpc.RpcError as error:
                raise CriError(method, error) from None

    # Images

    def images(self):
        """All images, by id."""
        return {image["id"]: Image(**image) for image in self.call("ListImages")["images"]}

    def image_status(self, name):
        """The image that a name, an id or a digest means; None if there is none."""
        image = self.call("ImageStatus", image={"image": name})["image"]
        return image and Image(**image)

    def load(self, path):
        """Imports an archive and waits until pods can be made of what it brought."""
        self.wait_for_images(*self.engine.load(path))

    def wait_for_images(self, *names, timeout=20):
        """Waits until images are known by all these names: CRI hears by events, later, of what others did.

        What is asked of it before is answered as if it had not been done: a removal by a name finds nothing to remove.
        """
        deadline = time.monotonic() + timeout
        while unknown := [name for name in names if self.image_status(name) is None]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self}: unknown after {timeout} s: {unknown}")
            time.sleep(0.002)

    def remove_image(self, name):
        """Removes the image that a name means with all its names; one that is not there is no error."""
        self.call("RemoveImage", image={"image": name})

    def image_fs_info(self):
        (found,) = self.call("ImageFsInfo")["image_filesystems"]
        numbers = (found[key]["value"] for key in ("used_bytes", "inodes_used"))
        return Filesystem(found["mountpoint"]["path"], *numbers)

    # Pods

    def run_pod_sandbox(self, *, mapping=None):
        """Starts a sandbox; with a `mapping` (the first id on the host, how many) it has a user namespace of its own.

        Else it is on the network of the machine. In a user namespace it cannot be, as the kernel then refuses to mount /sys.
        """
        # Numbers alone would do, were it not that cgroups are named for sandboxes on some machines.
        name = f"{self.engine.directory.name}-pod-{next(self._numbers)}"
        logs = self.engine.directory / "pods" / name
        logs.mkdir(parents=True)
        config = {
            "metadata": {"name": name, "uid": name, "namespace": "tests", "attempt": 0},
            "log_directory": str(logs),
            "linux": {"security_context": {"namespace_options": _namespaces(mapping)}},
        }
        return Pod(self.call("RunPodSandbox", config=config)[ID], config)

    def remove_pod(self, pod):
        """Ends and removes a sandbox with all containers in it."""
        self.call("StopPodSandbox", **{ID: pod.id})
        self.call("RemovePodSandbox", **{ID: pod.id})

    @contextlib.contextmanager
    def pod(self, **options):
        """A sandbox that is removed afterwards, with its containers."""
        pod = self.run_pod_sandbox(**options)
        try:
            yield pod
        finally:
            self.remove_pod(pod)

    # Containers

    def create_container(self, pod, image, command=()):
        """Makes a container of an image, by a name or, as the kubelet does it, by the id that CRI gives; returns its id."""
        name = f"container-{next(self._numbers)}"
        namespaces = pod.config["linux"]["security_context"]["namespace_options"]
        config = {
            "metadata": {"name": name, "attempt": 0},
            "image": {"image": image},
            "command": list(command),
            "log_path": f"{name}.log",
            "linux": {"security_context": {"namespace_options": namespaces}},
        }
        request = {ID: pod.id, "config": config, "sandbox_config": pod.config}
        return self.call("CreateContainer", **request)["container_id"]

    def start(self, container):
        self.call("StartContainer", container_id=container)

    def stop(self, container, timeout=0):
        self.call("StopContainer", container_id=container, timeout=timeout)

    def remove_container(self, container):
        self.call("RemoveContainer", container_id=container)

    def exec_sync(self, container, argv, timeout=TIMEOUT):
        """Runs a command in a container to its end."""
        found = self.call("ExecSync", container_id=container, cmd=list(argv), timeout=timeout)
        return Output(*(found[key].decode(errors="replace") for key in ("stdout", "stderr")), found["exit_code"])

    def status(self, container):
        found = self.call("ContainerStatus", container_id=container)["status"]
        texts = (found[key] for key in ("image_ref", "reason", "message"))
        return Status(STATES[found["state"]], found["exit_code"], *texts, Path(found["log_path"]))

    def wait(self, container, timeout=60):
        """Waits for the end of a container; returns its status."""
        deadline = time.monotonic() + timeout
        while (status := self.status(container)).state != "exited":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self}: {container} is {status.state} after {timeout} s")
            time.sleep(0.02)
        return status

    def logged(self, container, stream="stdout"):
        """What a container has written."""
        return read_log(self.status(container).log.read_text(errors="replace"), stream)

    def run_container(self, image, argv=(), *, mapping=None, check=True, timeout=60):
        """Runs a container to its end, in a pod of its own; stdout is what it printed."""
        with self.pod(mapping=mapping) as pod:
            container = self.create_container(pod, image, argv)
            self.start(container)
            status = self.wait(container, timeout)
            output = Output(self.logged(container), self.logged(container, "stderr"), status.exit_code)
        if check and output.returncode != 0:
            raise AssertionError(f"{self}: {argv} ended with {output.returncode}:\n{output.stdout}{output.stderr}")
        return output


def _namespaces(mapping):
    # What a kubelet asks for where a pod says nothing but `hostNetwork: true`, or `hostUsers: false`.
    options = {"network": POD if mapping else NODE, "pid": CONTAINER, "ipc": POD}
    if mapping:
        ids = [{"host_id": mapping[0], "container_id": 0, "length": mapping[1]}]
        options["userns_options"] = {"mode": POD, "uids": ids, "gids": ids}
    return options


def read_log(text, stream="stdout"):
    """What one of the streams brought, of a log of which each line begins with a time, the stream, and F or P.

    P means that the line goes on in the next one of the stream.
    """
    out = []
    for line in text.splitlines():
        _, name, kind, part = re.fullmatch(r"(\S+) (stdout|stderr) ([FP]) (.*)", line).groups()
        if name == stream:
            out.append(part + ("\n" if kind == "F" else ""))
    return "".join(out)


# The image of sandboxes


def pause_archive(directory):
    """Writes an archive of the image that each sandbox runs, which here is not the one of Kubernetes."""
    layer = [probe_image.directory(b"bin"), sleep()]
    files = probe_image.image_files(PAUSE, [layer], ("oci",), command=["/bin/sleep", FOREVER])
    return probe_image.write_archive(directory / "pause.tar", files)


FOREVER = "1000000"


def sleep():
    """A static program that waits, at /bin/sleep: busybox goes by the name that it is called by."""
    return probe_image.file(b"bin/sleep", Path("/bin/busybox").read_bytes(), mode=0o755)
