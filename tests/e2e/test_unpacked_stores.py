"""Layers in Docker's overlay2 and in containers-storage beside the overlay form (docs/format.md), from which they differ."""

import dataclasses
import json
import posixpath
import time
import unittest
from collections.abc import Callable
from typing import NamedTuple

import probe
import probe_image
import rig
import test_erofs
import test_probe
import test_torture
import test_unpacked
import unpacked
from probe_image import Entry, directory, file

LATEST = 2**63 // 10**9
OPAQUE = {"trusted.overlay.opaque": b"y".hex()}


class Rule(NamedTuple):
    """What a store has otherwise: `change` gets the listing of a layer in overlay form, by path, to edit, and the layer."""

    engines: str
    change: Callable
    reason: str


def root_mode(mode):
    def change(entries, layer):
        entries["/"]["mode"] = mode

    return change


def nothing_from_below(entries, layer):
    """Neither have the directories that a layer does not list a default list that what lies in them would inherit."""
    anew = layer.said.implied - {"/"}
    for path in anew:
        entries[path].update(mode="0755", uid=0, gid=0)
        set_xattrs(entries[path], {name: value for name, value in xattrs(entries[path]).items() if name in OPAQUE})
    for path, member in layer.said.listed.items():
        if path.rpartition("/")[0] in anew:
            inherited = {f"system.posix_acl_{kind}" for kind in ("access", "default")} - said_xattrs(member).keys()
            set_xattrs(entries[path], {k: v for k, v in xattrs(entries[path]).items() if k not in inherited})


def changes_of_nothing(entries, layer):
    if layer.is_lowest:
        for path, member in layer.said.whiteouts.items():
            device = {"kind": "char", "major": 0, "minor": 0, "mode": "0000"}
            entries[path] = {**device, "path": path, "uid": member.uid, "gid": member.gid}
        for path in layer.said.opaque:
            set_xattrs(entries[path], xattrs(entries[path]) | OPAQUE)


def trusted(entries, layer):
    for path, member in layer.said.listed.items():
        kept = {name: value for name, value in said_xattrs(member).items() if name.startswith("trusted.")}
        if entries[path]["kind"] != "link":
            set_xattrs(entries[path], xattrs(entries[path]) | kept)


def xattrs_of_symlinks(entries, layer):
    for path, entry in entries.items():
        if entry["kind"] == "symlink" and "xattrs" in entry:
            target = entries[posixpath.normpath(posixpath.join(posixpath.dirname(path), entry["target"]))]
            set_xattrs(target, xattrs(target) | entry.pop("xattrs"))


def no_empty_values(entries, layer):
    for entry in entries.values():
        set_xattrs(entry, {name: value for name, value in xattrs(entry).items() if value != ""})


def times_of_symlinks(entries, layer):
    for path, member in layer.said.listed.items():
        said = member.pax_headers.get("mtime", "0")
        if entries[path]["kind"] == "symlink" and float(said) < 0:
            entries[path]["mtime"] = said
        elif entries[path]["kind"] == "symlink" and float(said) >= LATEST:
            # It depends on the file system how much of the time that comes out it can hold.
            del entries[path]["mtime"]


def xattrs(entry):
    return entry.get("xattrs", {})


def set_xattrs(entry, xattrs):
    entry.pop("xattrs", None)
    if xattrs:
        entry["xattrs"] = dict(sorted(xattrs.items()))


def said_xattrs(member):
    prefix = "SCHILY.xattr."
    headers = {key.removeprefix(prefix): value for key, value in member.pax_headers.items() if key.startswith(prefix)}
    return {name: value.encode("utf-8", "surrogateescape").hex() for name, value in headers.items()}


CAPABLE = file(b"ping", b"ping", mode=0o755, xattrs={"security.capability": test_probe.capability(13), "user.x": b"1"})
LOSING = file(b"pong", b"pong", mode=0o755, xattrs={"security.capability": test_probe.capability(13)})
# Directories listed after what lies in them, links that repeat what their file has and others that do not, and directories
# that are not listed below one with a list for what is made in it.
ORDERED = [
    [
        directory(b"late", 0o700, xattrs={"user.old": b"1"}),
        CAPABLE,
        Entry("link", b"too", target=CAPABLE.path),
        LOSING,
        Entry("link", b"again", target=LOSING.path),
        dataclasses.replace(LOSING, kind="link", path=b"and-again", target=LOSING.path, content=b""),
    ],
    [
        file(b"late/x"),
        directory(b"late", 0o711, xattrs={"user.new": b"2"}),
        directory(b"lists", xattrs={"system.posix_acl_default": test_probe.DEFAULT}),
        file(b"lists/implied/deeper/f"),
        file(b"lists/late/f"),
        directory(b"lists/late", 0o751),
    ],
]

STORES = "docker-overlay2 podman"

# The table of docs/engines.md. Where a version is named, the line was seen with engines before it and not with those from it
# on. What is not here does not differ: owners and modes, xattrs, whiteouts (0:0, mode 0000, owner of the entry), opaque
# directories, links, times, which paths there are, and which of them have the time of the unpacking.
RULES = [
    Rule("podman", root_mode("0555"), "containers/storage gives it this mode, whatever the tar says"),
    Rule(STORES, nothing_from_below, "each layer is unpacked into an empty directory, without a look at those below"),
    Rule(STORES, changes_of_nothing, "the same: nobody looks whether there is anything to hide"),
    Rule(STORES, trusted, "Docker's archive code, and what was made from it, sets all xattrs; containerd passes over these"),
    Rule("docker>=28", xattrs_of_symlinks, "set on the target, without which it fails (moby/go-archive#109)"),
    Rule("docker<25 podman<5", no_empty_values, "they read Go's Header.Xattrs, which leaves these out (moby#46707)"),
    Rule("docker<28 podman", times_of_symlinks, "LUtimesNano takes any; nanoseconds after 2262 overflow 64 bits"),
]


class Stores(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = rig.scratch_directory()
        # Fewer layers than the whole set has: podman takes long for each, and they are all alike.
        spec = test_torture.write_images(directory, layers := test_torture.layers() | {"deep": test_probe.deep(6)})
        bases = test_unpacked.write_bases(directory)
        spec += "".join(f"[image.{key}]\nbase = {{ {base} }}\n" for key, base in bases.items())
        cls.images = {key: test_unpacked.name_of(key) for key in [*layers, "said", *bases]}
        names = ", ".join(f'"{name}" = "{key}"' for key, name in cls.images.items())
        spec += f'[bundle.all]\nformat = "docker-archive"\nimages = {{ {names} }}\n'
        out = test_torture.build(directory, spec + test_unpacked.medium(cls.images))
        cls.archive = out / "bundle" / "all.tar"
        entries, lock = test_unpacked.mounted(out / "disk" / "all.erofs", test_erofs.mount_loop)
        cls.trees, cls.lock = test_unpacked.by_tree(entries), json.loads(lock)["layers"]
        cls.layers = {
            image: unpacked.layers(f"docker-archive:{cls.archive}:{image}", rig.scratch_directory())
            for image in cls.images.values()
        }

    def expected(self, layer, engine):
        """The listing of a layer as an engine has it, and the rules that said how."""
        entries = {entry["path"]: dict(entry) for entry in self.trees[self.lock[layer.chain_id]["tree"]]}
        used = []
        for rule in RULES:
            if probe.concerns(rule.engines, engine):
                before = json.dumps(entries)
                rule.change(entries, layer)
                used += [rule] if json.dumps(entries) != before else []
        return list(entries.values()), used

    def assert_differs_by_the_rules(self, engine):
        with engine:
            begun, used = time.time(), []
            engine.load(self.archive)
            for image, layers in self.layers.items():
                for number, (layer, found) in enumerate(zip(layers, unpacked.listings(engine, image), strict=True)):
                    expected, rules = self.expected(layer, engine)
                    used += rules
                    untold = {entry["path"] for entry in expected if "mtime" not in entry}
                    new = {entry["path"] for entry in found if float(entry.get("mtime", 0)) >= int(begun)}
                    with self.subTest(engine=str(engine), image=image, layer=number):
                        self.assertEqual(probe.compare(expected, found, layer.undated | untold), [])
                        self.assertEqual(new, layer.undated)
            concerning = [rule for rule in RULES if probe.concerns(rule.engines, engine)]
            self.assertEqual([rule.reason for rule in concerning if rule not in used], [])

    def test_order_and_links_count_as_in_containerd(self):
        name, directory = test_unpacked.name_of("late"), rig.scratch_directory()
        archive = probe_image.write_archive(directory / "late.tar", probe_image.image_files(name, ORDERED, ("oci",)))
        spec = '[image.late]\nbase = { archive = "late.tar" }\n' + test_unpacked.medium(["late"])
        out = test_torture.build(directory, spec)
        entries, lock = test_unpacked.mounted(out / "disk" / "all.erofs", test_erofs.mount_loop)
        trees, lock = test_unpacked.by_tree(entries), json.loads(lock)["layers"]
        layers = unpacked.layers(f"oci-archive:{archive}", rig.scratch_directory())
        with rig.Containerd() as containerd:
            containerd.load(archive)
            found = unpacked.listings(containerd, name)
        for layer, found in zip(layers, found, strict=True):
            with self.subTest(layer=layer.tar.name):
                self.assertEqual(probe.compare(found, trees[lock[layer.chain_id]["tree"]], layer.undated), [])
        seen = [{entry["path"]: xattrs(entry) for entry in trees[lock[layer.chain_id]["tree"]]} for layer in layers]
        self.assertEqual((seen[0]["/ping"], seen[0]["/again"].keys()), ({"user.x": "31"}, {"security.capability"}))
        self.assertEqual(seen[1]["/late"], {"user.new": "32", "user.old": "31"})
        self.assertIn("system.posix_acl_default", seen[1]["/lists/implied/deeper"])
        self.assertIn("system.posix_acl_default", seen[1]["/lists/late"])

    def test_docker_overlay2(self):
        self.assert_differs_by_the_rules(rig.Docker("overlay2"))

    def test_containers_storage(self):
        self.assert_differs_by_the_rules(rig.Podman())


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
