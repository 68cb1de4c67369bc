"""Layers as containerd unpacks them, whose form the layers on a medium must have."""

import dataclasses
import json
import re
import time
import unittest

import guest
import guest_base
import images_examples
import probe
import probe_image
import rig
import test_erofs
import test_probe
import test_torture
import unpacked
from probe_image import directory, file, link, opaque, symlink, whiteout

REPOSITORY = "docker.io/library"
XATTRS = {"user.x": b"1"}
# A list that says no more than the mode does; yet it keeps a file from what its directory would give it.
MODE_ALONE = test_probe.acl(
    (test_probe.USER_OBJ, 6, test_probe.NOBODY),
    (test_probe.GROUP_OBJ, 4, test_probe.NOBODY),
    (test_probe.OTHER, 4, test_probe.NOBODY),
)
# Images with the same layer on top, whose tar says nothing of the directories that its files lie in: what becomes of these
# is for the layers below to say.
BASES = {
    "owned": [
        [
            directory(b"var", 0o711, uid=1, gid=2),
            directory(b"var/lib", 0o755, xattrs={"trusted.x": b"1", **XATTRS}),
            directory(b"var/lib/x", 0o700, uid=33, gid=33, mtime_ns=5, xattrs=XATTRS),
            file(b"var/lib/x/old", b"1"),
            directory(b"opaque", 0o750, uid=5, gid=6),
            file(b"opaque/hidden", b"1"),
            directory(b"real", 0o751, uid=7, gid=8),
            symlink(b"alias", b"real"),
            directory(b"sticky", 0o3777, uid=9, gid=9),
            directory(b"removed", 0o700, uid=3, gid=3),
            directory(b"hidden", 0o755),
            directory(b"hidden/below", 0o700, uid=4, gid=4),
            directory(b"acl", xattrs={"system.posix_acl_default": test_probe.DEFAULT}),
            file(b"acl/inherits"),
            file(b"acl/none", xattrs={"system.posix_acl_access": probe_image.NO_ACL}),
            file(b"acl/mode-alone", xattrs={"system.posix_acl_access": MODE_ALONE}),
            directory(b"replaced", 0o700, uid=3, gid=3),
        ],
        [
            whiteout(b"removed"),
            directory(b"hidden", 0o701),
            opaque(b"hidden"),
            file(b"replaced", b"now a file"),
        ],
    ],
    "plain": [
        [
            directory(b"", 0o751, uid=7, gid=8, xattrs=XATTRS),
            directory(b"var/lib/x", 0o755),
            file(b"var/lib/x/old", b"1"),
            symlink(b"alias", b"gone"),
            symlink(b"pointer", b"var/lib/x/old", xattrs={"security.x": b"1", "trusted.x": b"1"}),
            whiteout(b"never"),
            opaque(b"var/lib/x"),
        ],
    ],
}
NEW = file(b"var/lib/x/f", b"new", mode=0o640, uid=33, gid=33)
TOP = [
    NEW,
    link(b"var/lib/x/g", NEW),
    dataclasses.replace(whiteout(b"var/lib/x/old"), mode=0o600, uid=11, gid=12),
    file(b"opaque/.wh..wh..opq"),
    file(b"opaque/new", b"2"),
    *(file(name + b"/f") for name in (b"alias", b"sticky", b"removed", b"hidden/below", b"acl", b"replaced", b"nowhere")),
]
# What becomes of the directories: mode, owner, and names of xattrs.
IMPLIED = {
    "owned": {
        "/var": ("0711", 1, 2, []),
        "/var/lib": ("0755", 0, 0, ["user.x"]),
        "/var/lib/x": ("0700", 33, 33, ["user.x"]),
        "/opaque": ("0750", 5, 6, ["trusted.overlay.opaque"]),
        "/alias": ("0751", 7, 8, []),
        "/sticky": ("3777", 9, 9, []),
        "/removed": ("0755", 0, 0, []),
        "/hidden": ("0701", 0, 0, []),
        # An opaque directory hides it in a container, but not from the unpacking.
        "/hidden/below": ("0700", 4, 4, []),
        "/acl": ("0755", 0, 0, ["system.posix_acl_default"]),
        "/replaced": ("0755", 0, 0, []),
        "/nowhere": ("0755", 0, 0, []),
    },
    "plain": {
        "/var": ("0755", 0, 0, []),
        "/var/lib": ("0755", 0, 0, []),
        "/var/lib/x": ("0755", 0, 0, []),
        "/opaque": ("0755", 0, 0, ["trusted.overlay.opaque"]),
        "/alias": ("0755", 0, 0, []),
        "/sticky": ("0755", 0, 0, []),
        "/removed": ("0755", 0, 0, []),
        "/hidden": ("0755", 0, 0, []),
        "/hidden/below": ("0755", 0, 0, []),
        "/acl": ("0755", 0, 0, []),
        "/replaced": ("0755", 0, 0, []),
        "/nowhere": ("0755", 0, 0, []),
    },
}


def name_of(key):
    return f"docker.io/library/{key}:1"


def write_spec(directory):
    """Writes a spec, and what it reads, into a directory: every image there is. Returns the spec and the images' keys."""
    spec = [test_torture.write_images(directory, layers := test_torture.layers())]
    bases = write_bases(directory)
    for name, example in images_examples.by_image().items():
        bases[name.split("/")[-1].split(":")[0]] = f'layout = "{example.name}", reference = "{name}"'
    spec += [f"[image.{key}]\nbase = {{ {base} }}\n" for key, base in bases.items()]
    return "\n".join(spec), [*layers, "said", *bases]


def write_bases(directory):
    """Writes the images that have the same layer on top into a directory, and returns what a spec says of each, by key."""
    for key, layers_below in BASES.items():
        archive = probe_image.image_files(name_of(key), [*layers_below, TOP], ("oci",))
        probe_image.write_archive(directory / f"{key}.tar", archive)
    return {key: f'archive = "{key}.tar"' for key in BASES}


def medium(keys):
    """The spec of an EROFS medium with the layers of all images."""
    images = ",\n".join(f'{{ image = "{key}", name = "{name_of(key)}" }}' for key in keys)
    return f'[seed.all]\nblobs = "metadata"\nimage = [\n{images}\n]\n[disk.all]\nmedium = "erofs"\nseed = "all"\n'


def mounted(medium, mount):
    """The listing of a medium by this machine's kernel, and its lock."""
    point = rig.scratch_directory()
    mount(medium, point)
    try:
        return probe.parse(rig.run([test_erofs.PROBE, point]).stdout).entries, (point / "seed.json").read_text()
    finally:
        rig.run(["umount", point])


def by_tree(entries):
    """The listings of the layers on a medium, by tree digest, with paths relative to each."""
    trees = {}
    for entry in entries:
        match = re.fullmatch(r"/layers/sha256/([0-9a-f]{64})(/.*)?", entry["path"], re.DOTALL)
        if match:
            entry = entry | {"path": match[2] or "/"}
            if "link" in entry:
                entry["link"] = entry["link"].removeprefix(f"/layers/sha256/{match[1]}")
            trees.setdefault(f"sha256:{match[1]}", []).append(entry)
    return trees


def canonical(line):
    """A line of a canonical listing."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def digest_of(listing):
    """The digest of a canonical listing, which has no root."""
    return probe_image.digest_of("".join(f"{canonical(line)}\n" for line in listing[1:]).encode())


def inputs():
    """Where the examples are, as options of a build."""
    examples = {example.name: example.seed for example in images_examples.by_image().values()}
    return [f"--input={name}={seed}" for name, seed in examples.items()]


def build(directory, spec):
    """Builds the spec and returns its output directory."""
    return test_torture.build(directory, spec, *inputs())


class Unpacked(unittest.TestCase):
    """What containerd's snapshots hold of each layer, and when that is from."""

    @classmethod
    def setUpClass(cls):
        directory = rig.scratch_directory()
        spec, keys = write_spec(directory)
        names = ", ".join(f'"{name_of(key)}" = "{key}"' for key in keys)
        bundle = f'[bundle.all]\nformat = "oci-archive"\nimages = {{ {names} }}\n'
        out = build(directory, "\n".join([spec, bundle, medium(keys)]))
        cls.archive = out / "bundle" / "all.tar"
        cls.medium = out / "disk" / "all.erofs"
        cls.begun = time.time()
        containerd = cls.enterClassContext(rig.Containerd())
        containerd.load(cls.archive)
        cls.layers, cls.found = {}, {}
        for key in keys:
            cls.layers[key] = unpacked.layers(f"oci-archive:{cls.archive}:{name_of(key)}", rig.scratch_directory())
            cls.found[key] = unpacked.listings(containerd, name_of(key))

    def each_layer(self):
        """Each layer of each image with what was found of it; first what to call it in a subtest."""
        for key, layers in self.layers.items():
            for number, (layer, found) in enumerate(zip(layers, self.found[key], strict=True)):
                yield {"image": key, "layer": number, "chain_id": layer.chain_id}, layer, found

    def test_every_image_is_there_with_all_its_layers(self):
        self.assertEqual(len(self.layers["deep"]), 120)
        self.assertGreater(len(self.layers["nginx"]), 1)
        for key, found in self.found.items():
            self.assertEqual(len(found), len(self.layers[key]), key)

    def test_what_the_tar_gives_no_time_has_that_of_the_unpacking_and_nothing_else(self):
        for place, layer, found in self.each_layer():
            new = {entry["path"] for entry in found if float(entry.get("mtime", 0)) >= int(self.begun)}
            # There is nothing to hide below the lowest layer: whiteouts are dropped.
            there = {entry["path"] for entry in found}
            with self.subTest(**place):
                self.assertEqual(new, layer.undated & there if place["layer"] == 0 else layer.undated)

    def test_directories_that_a_layer_does_not_list_are_as_below(self):
        for key, expected in IMPLIED.items():
            with self.subTest(image=key):
                found = {entry["path"]: entry for entry in self.found[key][-1]}
                self.assertEqual({path: self.summary(found[path]) for path in expected}, expected)

    def test_lists_are_inherited_where_the_tar_says_none(self):
        found = {entry["path"]: entry for entry in self.found["owned"][0]}
        having = [path for path, entry in found.items() if "system.posix_acl_access" in entry.get("xattrs", {})]
        self.assertEqual(having, ["/acl/inherits"])

    def summary(self, entry):
        return entry["mode"], entry["uid"], entry["gid"], sorted(entry.get("xattrs", {}))

    def test_the_same_layer_differs_over_different_bases(self):
        one, other = (self.layers[key][-1] for key in BASES)
        self.assertEqual(one.tar.name, other.tar.name)
        self.assertNotEqual(one.chain_id, other.chain_id)
        lines = probe.compare(self.found["owned"][-1], self.found["plain"][-1], one.undated)
        self.assertIn("/var/lib/x", {line.split(":")[0] for line in lines})

    def assert_layers(self, entries, lock):
        """Asserts that a medium has every layer as containerd unpacked it, once for each tree, and no other."""
        lock, trees = json.loads(lock)["layers"], by_tree(entries)
        self.assertEqual(lock.keys(), {layer.chain_id for layers in self.layers.values() for layer in layers})
        self.assertEqual(trees.keys(), {layer["tree"] for layer in lock.values()})
        for place, layer, found in self.each_layer():
            said = lock[layer.chain_id]
            with self.subTest(**place):
                self.assertEqual(said["size"], sum(entry.get("size", 0) for entry in found))
                self.assertEqual(probe.compare(found, trees[said["tree"]], layer.undated), [])
                self.assertEqual(digest_of(trees[said["tree"]]), said["tree"])

    def test_a_medium_has_the_same_by_loop(self):
        self.assert_layers(*mounted(self.medium, test_erofs.mount_loop))

    def test_a_medium_has_the_same_as_a_file(self):
        self.assert_layers(*mounted(self.medium, test_erofs.mount_file))

    @guest_base.needs_machine
    def test_a_medium_has_the_same_in_linux_6_1(self):
        # The guest hands out no files; that this is the lock that it sees, the digest says.
        _, lock = mounted(self.medium, test_erofs.mount_loop)
        entries = guest.listings([self.medium])[self.medium].entries
        (seen,) = (entry["digest"] for entry in entries if entry["path"] == "/seed.json")
        self.assertEqual(seen, probe_image.digest_of(lock.encode()))
        self.assert_layers(entries, lock)


if not guest_base.IN_THIS_SUITE:
    del Unpacked.test_a_medium_has_the_same_in_linux_6_1


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
