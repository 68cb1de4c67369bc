"""What tests of `ociseed-loader run` with seeds in medium form have in common: seeds, running it, and looking at links.

    a = self.medium("a", [image("r.io/web:1", "one\n")])
    run = self.load(source=["--seed", a])
    self.assert_linked(images)

Links in roots lead through /run/ociseed, so that is where they are in these tests, too: one test at a time.
"""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import grpc
import loader_seed as seed
import rig
from loader_case import LOADER, OWNER, LoaderCase
from protobuf import decode, encode

RUN = Path("/run/ociseed")
CONTENT = "io.containerd.content.v1.content/blobs/sha256"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"
DIRECTORY = "io.ociseed.directory"

# containerd's api/services/snapshots/v1/snapshots.proto, as far as it is needed here.
LIST = "/containerd.services.snapshots.v1.Snapshots/List"
LABEL = {"key": (1, str), "value": (2, str)}
SNAPSHOT = {"name": (1, str), "parent": (2, str), "kind": (3, int), "labels": (6, [LABEL])}
KINDS = ("Unknown", "View", "Active", "Committed")


class Snapshot(NamedTuple):
    name: str
    parent: str
    kind: str
    labels: dict


class LinkCase(LoaderCase):
    """A test with an engine that has a root of its own, and seeds in medium form."""

    # What the loader is started by.
    wrapper = ()

    def setUp(self):
        super().setUp()
        self.addCleanup(self.forget)
        self.state = self.directory / "state"

    def forget(self):
        """As a reboot does: nothing in /run is left. What containers have mounted goes with the engine."""
        rig.unmount_below(RUN)
        shutil.rmtree(RUN, ignore_errors=True)

    def medium(self, name, images, **options):
        """A seed in medium form, as a directory."""
        path = self.directory / name
        seed.write_medium(path, images, **options)
        return path

    def command(self, *arguments, source=None, json_report=True, command="run"):
        source = source or ["--seed", self.seed]
        report = ["--json"] if json_report else []
        address = [] if "--address" in arguments else ["--address", self.engine.socket]
        places = [*address, "--state-dir", self.state]
        return [*self.wrapper, LOADER, command, *source, *places, *report, *arguments]

    def know_boot(self):
        """Has the loader take what is there for what this boot left, so that it need not look behind records."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self.state.mkdir()
        saved = {"version": 1, "boot": boot, "state": "changed", "unread": [], "roots": []}
        (self.state / "state.json").write_text(json.dumps(saved))

    # Looking

    def snapshots(self, namespace=None):
        """The snapshots of a namespace by name."""
        options = {"metadata": [("containerd-namespace", namespace or self.namespace)], "timeout": 60}
        # One call, which also brings the labels: `ctr` starts once for each snapshot.
        with grpc.insecure_channel(f"unix:{self.engine.socket}") as channel:
            answers = channel.unary_stream(LIST)(encode({"snapshotter": (1, str)}, {"snapshotter": "overlayfs"}), **options)
            infos = [info for answer in answers for info in decode({"info": (1, [SNAPSHOT])}, answer)["info"]]
        found = {}
        for info in infos:
            labels = {label["key"]: label["value"] for label in info["labels"]}
            found[info["name"]] = Snapshot(info["name"], info["parent"], KINDS[info["kind"]], labels)
        return found

    def snapshot_labels(self, name, namespace=None):
        return self.snapshots(namespace)[name].labels

    def links(self):
        """Every link in the engine's root that leads to a seed, with its target."""
        found = {}
        for path in self.engine.root.rglob("*"):
            if path.is_symlink() and "ociseed" in os.readlink(path):
                found[str(path.relative_to(self.engine.root))] = os.readlink(path)
        return found

    def link_names(self):
        """Which seeds links lead to, by the digits in their names."""
        return {target.split("io.ociseed.seed.")[1].split("/")[0] for target in self.links().values() if "io.ociseed.seed." in target}

    def assert_linked(self, images, name=None):
        """All blobs and layers of these images are links that lead somewhere: to the seed of these digits, if it is said."""
        links = self.links()
        for one in images:
            for blob in one.blobs:
                target = links[f"{CONTENT}/{blob.digest[7:]}"]
                self.assertTrue((self.engine.root / CONTENT / blob.digest[7:]).exists(), target)
                if name:
                    self.assertIn(name, target)
        for place, target in links.items():
            self.assertTrue((self.engine.root / place).exists(), f"{place} -> {target}")

    def owners(self, namespace=None):
        """The records of ours by name, with the seed that each came from."""
        images = self.engine.images(namespace)
        return {name: image.labels[OWNER] for name, image in images.items() if OWNER in image.labels}

    def assert_settled(self, run):
        """A run that changed nothing."""
        self.assertEqual(run.writes, {}, run.log)
        self.assertEqual({one["outcome"] for one in run.report["images"]} - {"settled"}, set(), run.log)
