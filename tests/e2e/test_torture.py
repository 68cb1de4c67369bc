"""Images with everything that a layer can hold, built by ociseed, seen from inside containers of every engine."""

import json
import unittest

import probe
import probe_image
import rig
import test_probe

OCISEED = rig.BINARIES / "ociseed"
# What a spec says in words, and what a container must see of it. The same numbers as in test_probe, written as people do.
ACL = "user::rw-,user:1234:r--,group::r--,mask::rw-,other::r--"
SAID = [
    ('{ file = "program", to = "/said/tool", mode = "4755", capabilities = "cap_net_raw,cap_net_admin=ep" }',
     {"path": "/said/tool", "kind": "file", "mode": "4755", "uid": 0, "gid": 0, "mtime": "0",
      "xattrs": {"security.capability": test_probe.capability(12, 13).hex()}}),
    ('{ text = "a", to = "/said/owned", mode = "0600", owner = "4000000:3000000", user = "someone", mtime = "1700000000.123456789" }',
     {"path": "/said/owned", "kind": "file", "mode": "0600", "uid": 4000000, "gid": 3000000, "mtime": "1700000000.123456789"}),
    ('{ text = "a", to = "/said/xattrs", xattrs = { "user.a" = "text", "user.b" = { hex = "00ff" } } }',
     {"path": "/said/xattrs", "kind": "file", "mode": "0644", "uid": 0, "gid": 0, "mtime": "0",
      "xattrs": {"user.a": b"text".hex(), "user.b": "00ff"}}),
    (f'{{ text = "a", to = "/said/acl", acl = "{ACL}" }}',
     {"path": "/said/acl", "kind": "file", "mode": "0664", "uid": 0, "gid": 0, "mtime": "0",
      "xattrs": {"system.posix_acl_access": test_probe.ACCESS.hex()}}),
    ('{ mkdir = "/said/default", default-acl = "user::rwx,user:4321:rwx,group::r-x,mask::rwx,other::r-x" }',
     {"path": "/said/default", "kind": "directory", "mode": "0755", "uid": 0, "gid": 0, "mtime": "0",
      "xattrs": {"system.posix_acl_default": test_probe.DEFAULT.hex()}}),
    ('{ text = "a", to = "/said/default/below" }',
     {"path": "/said/default/below", "kind": "file", "mode": "0644", "uid": 0, "gid": 0, "mtime": "0"}),
    ('{ mkdir = "/said/default/inner", mode = "0700" }',
     {"path": "/said/default/inner", "kind": "directory", "mode": "0700", "uid": 0, "gid": 0, "mtime": "0"}),
    ('{ symlink = "../tool", to = "/said/link", owner = "5:6", mtime = 7 }',
     {"path": "/said/link", "kind": "symlink", "mode": "0777", "uid": 5, "gid": 6, "mtime": "7", "target": "../tool"}),
    ('{ hardlink = "/said/tool", to = "/said/z-tool" }', {"path": "/said/z-tool", "kind": "link", "link": "/said/tool"}),
    ('{ device = "c 1:3", to = "/said/null", mode = "0666" }',
     {"path": "/said/null", "kind": "char", "mode": "0666", "uid": 0, "gid": 0, "mtime": "0", "major": 1, "minor": 3}),
    ('{ device = "b 259:300", to = "/said/disk", owner = "0:6" }',
     {"path": "/said/disk", "kind": "block", "mode": "0600", "uid": 0, "gid": 6, "mtime": "0", "major": 259, "minor": 300}),
    ('{ fifo = "/said/pipe", mode = "0622" }',
     {"path": "/said/pipe", "kind": "fifo", "mode": "0622", "uid": 0, "gid": 0, "mtime": "0"}),
    ('{ dir = "tree", to = "/said/tree", exclude = ["*.map"] }',
     {"path": "/said/tree", "kind": "directory", "mode": "0755", "uid": 0, "gid": 0, "mtime": "0"}),
    ('{ whiteout = "/changes/kept-below" }', None),
    ('{ mkdir = "/nodes", mode = "0711", opaque = true }',
     {"path": "/nodes", "kind": "directory", "mode": "0711", "uid": 0, "gid": 0, "mtime": "0"}),
]  # fmt: skip
# Names of the host's files, as bytes: what a TOML file cannot say.
TREE = {b"latin-\xe9": b"1", b"b\\slash": b"2", b"n" * 255: b"3", b"left-out.map": b"4"}


def build(directory, spec, *options):
    """Builds a spec of a scratch directory and returns its output directory."""
    (directory / "spec.toml").write_text(spec)
    rig.run([OCISEED, "build", directory / "spec.toml", "--out", directory / "out", *options], timeout=300)
    return directory / "out"


def listing(path, image=None):
    """The canonical listing that ociseed prints of an image's file system or of a layer."""
    choose = ["--image", image] if image else []
    output = rig.run([OCISEED, "inspect", path, "--files", "--json", *choose]).stdout
    return [json.loads(line) for line in output.splitlines()]


def layers():
    """The layers of each image that is made of tars."""
    return {
        "torture": [[*test_probe.base(), probe_image.file(b"changes/kept-below", b"1")], test_probe.changes()],
        "deep": test_probe.deep(),
    }


def write_images(directory, layers):
    """Writes what the images are made of into a directory, and returns the spec of them and of `said`, over the first."""
    spec = []
    for name, tars in layers.items():
        keys = [f"{name}-{number}" for number in range(len(tars))]
        for key, layer in zip(keys, tars, strict=True):
            (directory / f"{key}.tar").write_bytes(probe_image.tar(layer))
            spec.append(f'[layer.{key}]\ncompression = "gzip"\nadd = [{{ tar = "{key}.tar", devices = true }}]\n')
        spec.append(f"[image.{name}]\nlayers = {json.dumps(keys)}\n")
    (directory / "tree").mkdir()
    for name, content in TREE.items():
        (directory / "tree").joinpath(name.decode(errors="surrogateescape")).write_bytes(content)
    (directory / "program").write_bytes((rig.BINARIES / "ociseed-probe").read_bytes())
    entries = ",\n".join(toml for toml, _ in SAID)
    spec.append(f'[layer.said]\ncompression = "none"\nadd = [\n{entries}\n]\n')
    spec.append('[image.said]\nbase = { image = "torture" }\nlayers = ["said"]\n')
    return "\n".join(spec)


def bundles(image, key):
    """Bundles of an image of a spec, one of each form."""
    return "".join(
        f'[bundle.{key}-{form}]\nformat = "{form}"\nimages = {{ "docker.io/library/{image}:1" = "{key}" }}\n'
        for form in ("layout", "oci-archive", "docker-archive")
    )


class Torture(test_probe.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.layers = layers()
        spec = [write_images(cls.directory, cls.layers), *(bundles(key, key) for key in (*cls.layers, "said"))]
        cls.out = build(cls.directory, "\n".join(spec))

    def in_each_engine(self, key, check):
        """Runs an image in each engine, from an oci-archive where the engine takes one; `check` gets what was found."""
        docker = self.out / "bundle" / f"{key}-docker-archive.tar"
        archive = self.out / "bundle" / f"{key}-oci-archive.tar"
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                engine.load(docker if test_probe.is_graph_driver(engine) else archive)
                check(engine, probe.inside(engine, f"docker.io/library/{key}:1"))

    def assert_same(self, expected, found, engine):
        lines = probe.differences(expected, found, engine)
        if lines:
            self.fail(f"{engine}:\n{lines}")

    def expected(self, key):
        """What containers must see, by the builder's listing; the root is what engines make of it."""
        root = {"path": "/", "kind": "directory", "mode": "0755", "uid": 0, "gid": 0}
        lines = listing(self.out / "bundle" / f"{key}-oci-archive.tar")
        for line in lines:
            # Names are in the tar only.
            line.pop("user", None), line.pop("group", None)
        return [root, *lines]

    def test_containers_see_what_was_put_in(self):
        """Against the builder's own listing, and against what the test's own rules say of the tars that went in."""
        self.assertEqual(len(self.layers["deep"]), 120)
        for name, layers in self.layers.items():
            def check(engine, found, name=name, layers=layers):
                self.assert_same(self.expected(name), found, engine)
                self.assert_same(probe_image.listing(layers), found, engine)

            self.in_each_engine(name, check)

    def test_containers_see_what_the_spec_says(self):
        program = (self.directory / "program").read_bytes()

        def check(engine, found):
            self.assert_same(self.expected("said"), found, engine)
            entries = {entry["path"]: entry for entry in found.entries}
            for _, said in SAID:
                if said is not None:
                    seen = {key: value for key, value in entries[said["path"]].items() if key not in ("size", "digest")}
                    self.assertEqual(seen, said)
            self.assertEqual(entries["/said/tool"]["digest"], probe_image.digest_of(program))
            self.assertNotIn("/changes/kept-below", entries)
            self.assertEqual([path for path in entries if path.startswith("/nodes/")], [])
            tree = {path for path in entries if path.startswith("/said/tree/")}
            self.assertEqual(tree, {"/said/tree/" + probe.escape(name) for name in TREE if not name.endswith(b".map")})

        self.in_each_engine("said", check)


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
