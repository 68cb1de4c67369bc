"""Disks as kernels and erofs-utils see them, whoever makes them: what `ociseed build` writes of the images of test_unpacked."""

import re
import unittest

import guest
import guest_base
import probe
import rig
import test_erofs
import test_torture
import test_unpacked

NOBODY = 65534
WITHOUT_RIGHTS = [
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
    "--no-new-privs", "--",
]  # fmt: skip
UUID = "8d3a1c52-3c6f-4d8e-9b1a-0c2f4e6a8b0d"
SPEC = f"""
[layer.small]
add = [
  {{ text = "x", to = "/inline", mode = "4755", owner = "7:8" }},
  {{ hardlink = "/inline", to = "/second" }},
  {{ text = "{'0123456789abcdef' * 512}", to = "/blocks" }},
  {{ text = "{'0123456789abcdef' * 512}", to = "/the-same" }},
]
[disk.small]
medium = "erofs"
layer = "small"
uuid = "{UUID}"
label = "small"
[disk.lz4]
medium = "erofs"
seed = "all"
compression = "lz4"
[disk.zstd]
medium = "erofs"
seed = "all"
compression = "zstd"
[disk.archive]
medium = "tar"
seed = "all"
[disk.flat]
medium = "erofs"
image = "nginx"
"""
EROFS = ["all", "small", "lz4", "zstd", "flat"]


def utilities():
    """The version of erofs-utils, as (1, 8)."""
    # That of Debian 12 says it before it complains of the option.
    output = rig.run(["mkfs.erofs", "--version"], check=False).stdout
    major, minor = re.search(r"(\d+)\.(\d+)", output).groups()
    return int(major), int(minor)

# Debian 12's know no zstd, and fail on the torture set.
OLD = utilities() < (1, 8)


class Disks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = rig.scratch_directory()
        spec, keys = test_unpacked.write_spec(cls.directory)
        cls.spec = "\n".join([spec, test_unpacked.medium(keys), SPEC])
        cls.disks = test_unpacked.build(cls.directory, cls.spec) / "disk"

    def listing(self, image, mount=test_erofs.mount_loop):
        """What the kernel sees of an image; the root first."""
        point = rig.scratch_directory()
        mount(image, point)
        try:
            return probe.parse(rig.run([test_erofs.PROBE, point]).stdout).entries
        finally:
            rig.run(["umount", point])

    def test_fsck_accepts_every_image(self):
        for name in EROFS:
            with self.subTest(disk=name):
                if name == "zstd" and OLD:
                    continue  # It knows none: test_old_utilities_are_known_to_refuse_zstd.
                result = rig.run(["fsck.erofs", "--extract", self.disks / f"{name}.erofs"], check=False)
                self.assertEqual((result.returncode, result.stderr.strip()), (0, ""), result.stdout)

    def test_old_utilities_are_known_to_refuse_zstd(self):
        self.assertNotEqual(rig.run(["fsck.erofs", self.disks / "zstd.erofs"], check=False).returncode, 0)

    def test_compressed_files_are_the_same_to_the_kernel(self):
        expected = self.listing(self.disks / "all.erofs")
        for name in ("lz4", "zstd"):
            for mount in (test_erofs.mount_loop, test_erofs.mount_file):
                with self.subTest(disk=name, mount=mount.__name__):
                    self.assertEqual(self.listing(self.disks / f"{name}.erofs", mount), expected)
                    self.assertLess(self.size(name), self.size("all") * 0.7)

    def size(self, name):
        return (self.disks / f"{name}.erofs").stat().st_size

    @guest_base.needs_machine
    def test_compressed_files_are_the_same_to_linux_6_1(self):
        images = [self.disks / "all.erofs", self.disks / "lz4.erofs"]
        plain, lz4 = (guest.listings(images)[image].entries for image in images)
        self.assertGreater(len(plain), 1000)
        self.assertEqual(lz4, plain)

    def test_an_image_of_mkfs_erofs_of_the_same_tree_is_the_same_to_the_kernel(self):
        image, point = self.directory / "theirs.erofs", rig.scratch_directory()
        test_erofs.mount_loop(self.disks / "all.erofs", point)
        try:
            rig.run(["mkfs.erofs", image, point], timeout=300)
        finally:
            rig.run(["umount", point])
        theirs = self.listing(image)
        for entry in theirs:
            # It adds this to opaque directories and to what lies in them; overlayfs does without.
            if entry.get("xattrs", {}).pop("trusted.overlay.origin", None) is not None and not entry["xattrs"]:
                del entry["xattrs"]
        self.assertEqual(theirs, self.listing(self.disks / "all.erofs"))

    def test_whoever_makes_them_they_have_the_same_bytes(self):
        """As nobody, with no capability, one thread, another umask, time zone and language."""
        home = rig.scratch_directory()
        home.chmod(0o755)
        out = home / "out"
        out.mkdir()
        out.chmod(0o777)
        self.directory.chmod(0o755)
        environment = ["env", "-i", "PATH=/usr/bin:/bin", "TZ=Pacific/Chatham", "LC_ALL=tr_TR.UTF-8"]
        script = 'umask 077; test "$(id -u)" = 65534; grep -q "^CapEff:.0000000000000000$" /proc/self/status; exec "$@"'
        disks = [f"disk.{name}" for name in (*EROFS, "archive")]
        options = [*test_unpacked.inputs(), "--out", out, "--jobs", "1", "--no-cache", *disks]
        build = [test_torture.OCISEED, "build", self.directory / "spec.toml", *options]
        rig.run([*environment, *WITHOUT_RIGHTS, "sh", "-ec", script, "sh", *build], timeout=600)
        for name in (*(f"{name}.erofs" for name in EROFS), "archive.tar"):
            with self.subTest(disk=name):
                self.assertTrue((out / "disk" / name).read_bytes() == (self.disks / name).read_bytes())

    def test_dump_shows_what_was_meant(self):
        image = self.disks / "small.erofs"
        superblock = rig.run(["dump.erofs", "-s", image]).stdout
        for expected in (f"UUID: +{UUID}", "inode count: +4", "blocks: +4", "features: +sb_csum mtime"):
            self.assertRegex(superblock, expected)
        inline = rig.run(["dump.erofs", "--path=/inline", image]).stdout
        for expected in ("Links: 2 +Layout: 2", "Inode size: 32", "Uid: 7 +Gid: 8 +Access: .755", "Size: 1 "):
            self.assertRegex(inline, expected)
        nids = [re.search(r"NID: (\d+)", rig.run(["dump.erofs", f"--path=/{name}", image]).stdout)[1]
                for name in ("inline", "second")]  # fmt: skip
        self.assertEqual(nids[0], nids[1])
        self.assertRegex(rig.run(["dump.erofs", "--path=/blocks", image]).stdout, "Layout: 0")
        # Two blocks for both: superblock, these two, inodes; and nothing else.
        self.assertEqual(image.stat().st_size, 4 * 4096)

    def test_the_file_system_of_an_image_is_what_inspect_says(self):
        root, *entries = self.listing(self.disks / "flat.erofs")
        self.assertEqual((root["mode"], root["uid"]), ("0755", 0))
        inspected = rig.run([rig.BINARIES / "ociseed", "inspect", "--files", "--json", self.disks / "flat.erofs"]).stdout
        self.assertEqual([test_unpacked.canonical(entry) for entry in entries], inspected.splitlines())

if OLD:
    del Disks.test_an_image_of_mkfs_erofs_of_the_same_tree_is_the_same_to_the_kernel
else:
    del Disks.test_old_utilities_are_known_to_refuse_zstd
if not rig.IS_NEWEST:
    del Disks.test_whoever_makes_them_they_have_the_same_bytes
if not guest_base.IN_THIS_SUITE:
    del Disks.test_compressed_files_are_the_same_to_linux_6_1


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
