"""Running the loader, and containers from the images that it brought."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import images_listing
import rig

URL = "http://127.0.0.1:8080/"
# Long for a server that starts in a moment: the machine may be busy.
PATIENCE = 30


class Run(NamedTuple):
    code: int
    report: dict
    log: str


def load(containerd, *arguments, expect=0):
    """Runs the loader against an engine; it must end as expected."""
    state = ["--state-dir", containerd.directory / "ociseed-state"]
    command = [rig.BINARIES / "ociseed-loader", "run", "--address", containerd.socket, "--json"]
    result = rig.run([*command, "--run-dir", containerd.directory / "run", *state, *arguments], check=False, timeout=300)
    if result.returncode != expect:
        raise AssertionError(f"{command} ended with {result.returncode}, not {expect}:\n{result.stderr}")
    return Run(result.returncode, json.loads(result.stdout), result.stderr)


def check(containerd, namespace):
    """What `ctr images check` says of each image of a namespace: how many of its blobs are there, of how many."""
    found = {}
    for line in containerd.ctr("images", "check", namespace=namespace).stdout.splitlines()[1:]:
        word, present, needed = re.search(r" (\w+) \((\d+)/(\d+)\)", line).groups()
        found[line.split()[0]] = (word, int(present), int(needed))
    return found


def blob_digest(containerd, namespace, digest):
    """The sha256 of what the engine hands out for a digest."""
    command = ["ctr", "--address", containerd.socket, "--namespace", namespace, "content", "get", digest]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    if result.returncode != 0:
        raise AssertionError(f"{digest} in {namespace}: {result.stderr.decode(errors='replace')}")
    return f"sha256:{images_listing.sha256(result.stdout)}"


def fetch(url, still_runs=lambda: True, patience=PATIENCE):
    """The body that a server answers with, as soon as there is one."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url}: status {error.code}") from error
        except OSError as error:
            if time.monotonic() > deadline or not still_runs():
                raise AssertionError(f"{url}: no answer: {error}") from error
            time.sleep(0.1)


@contextlib.contextmanager
def container(containerd, image, *command, namespace, options=()):
    """A container that runs in the background, by its id; its end is waited for."""
    identity = f"{containerd.directory.name}-{os.urandom(4).hex()}"
    log = containerd.directory / f"{identity}.log"
    arguments = ["--detach", "--log-uri", f"file://{log}", *options, image, identity, *command]
    containerd.ctr("run", *arguments, namespace=namespace)
    try:
        yield identity
    except BaseException as error:
        error.add_note(f"the container printed: {log.read_text() if log.exists() else ''}")
        raise
    finally:
        containerd.ctr("tasks", "kill", "--signal", "SIGKILL", identity, namespace=namespace, check=False)
        deadline = time.monotonic() + PATIENCE
        while runs(containerd, identity, namespace) and time.monotonic() < deadline:
            time.sleep(0.05)
        containerd.ctr("tasks", "delete", identity, namespace=namespace, check=False)
        containerd.ctr("containers", "delete", identity, namespace=namespace)


def runs(containerd, identity, namespace):
    rows = containerd.ctr("tasks", "list", namespace=namespace).stdout.splitlines()
    return any(row.split()[0] == identity and row.split()[2] == "RUNNING" for row in rows)


def answer_of(containerd, image, namespace, path=""):
    """What the server of an image answers, run as the image itself says."""
    with container(containerd, image, namespace=namespace, options=["--net-host"]) as identity:
        return fetch(URL + path, lambda: runs(containerd, identity, namespace))


def listing_in_container(containerd, image, namespace, tools=None):
    """The listing of an image's files as root of a container of it sees them, and the mount points there.

    An image without programs gets those of a directory of the host, mounted at /tools. Containers start as the user of
    the image, who may not read all of it, so root comes in afterwards.
    """
    options = []
    sleep, shell = "/bin/sleep", "/bin/sh"
    if tools:
        options = ["--mount", f"type=bind,src={tools},dst=/tools,options=rbind:ro", "--env", "PATH=/tools"]
        sleep, shell = "/tools/sleep", "/tools/sh"
    with container(containerd, image, sleep, "600", namespace=namespace, options=options) as identity:
        command = ["tasks", "exec", "--exec-id", "list", "--user", "0:0", identity]
        result = containerd.ctr(*command, shell, "-c", images_listing.CONTAINER_SCRIPT, namespace=namespace)
    if result.stderr:
        raise AssertionError(f"listing {image}: {result.stderr}")
    return images_listing.of_container(result.stdout)


def busybox_tools():
    """A directory with the programs that the listing needs, for images that have none."""
    directory = rig.scratch_directory()
    shutil.copy("/bin/busybox", directory / "busybox")
    for name in ("cut", "echo", "find", "printf", "readlink", "sh", "sha256sum", "sleep", "stat", "xargs"):
        (directory / name).symlink_to("busybox")
    return directory


def unpack_preseed(*archives):
    """Unpacks preseed directories as tar does into the root file system of an appliance; returns where they are."""
    root = rig.scratch_directory()
    for archive in archives:
        rig.run(["tar", "--directory", root, "--extract", "--file", archive])
    return root / "containerd" / "preseed"


# What an engine counts and writes

METRICS = "127.0.0.1:1338"
METRICS_CONFIG = f'[metrics]\naddress = "{METRICS}"\n'


def calls_answered():
    """How often the engine answered each gRPC method, by its own count."""
    counts = {}
    for line in fetch(f"http://{METRICS}/v1/metrics").decode().splitlines():
        if line.startswith("grpc_server_handled_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            method = f"{labels['grpc_service']}/{labels['grpc_method']}"
            counts[method] = counts.get(method, 0) + int(float(line.split()[-1]))
    return counts


def added(before, after):
    return {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)}


def state_of(directory):
    """What changes when anything below a directory is written: inode, size and times of each file."""
    state = {}
    for path in sorted(Path(directory).rglob("*")):
        status = path.lstat()
        times = (status.st_mtime_ns, status.st_ctime_ns)
        state[str(path.relative_to(directory))] = (status.st_ino, status.st_size, *times)
    return state
