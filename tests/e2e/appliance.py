"""An appliance: a guest with containerd of this root, started by a plain init or by systemd, and the disk of a seed beside it.

    appliance = Appliance(directory, seed=SeedDisk(image), init="systemd")
    console = appliance.boot("ctr run --rm docker.io/library/web:1 c1; mark first-output")
    console.marks["containerd-answers"].guest
    appliance.boot(script, kill_at="@mark placed")

Its root disk, and with it /var, stays from boot to boot; seed and script may be others at each. Marks that all boots have, in
this order: `init` (the init of the root disk starts), `containerd-answers`, `script-ended`, `powered-off`.
"""

import copy
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import guest_base
import rig
from userland import Userland

FILES = Path(__file__).parent / "appliance_files"
PROGRAMS = (
    "/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/ctr", "/usr/sbin/runc", "/usr/sbin/veritysetup",
)  # fmt: skip
# ext4 is in the kernel itself.
MODULES = ("virtio_pci", "virtio_blk", "overlay", "loop", "erofs", "dm_mod", "dm_verity", "autofs4")
SEED_MOUNT = "/usr/lib/ociseed/seed"
INITS = {"plain": "/usr/lib/appliance/plain-init", "systemd": "/usr/lib/systemd/systemd"}
# What an appliance has no use for, and what looks for consoles, partitions and the like that it has not.
MASKED = (
    "dev-hugepages.mount", "dev-mqueue.mount", "getty.target", "kmod-static-nodes.service",
    "proc-sys-fs-binfmt_misc.automount", "remote-fs.target", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path", "systemd-binfmt.service", "systemd-firstboot.service", "systemd-initctl.socket",
    "systemd-journal-flush.service", "systemd-logind.service", "systemd-machine-id-commit.service",
    "systemd-modules-load.service", "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service",
    "systemd-random-seed.service", "systemd-repart.service", "systemd-sysctl.service", "systemd-sysusers.service",
    "systemd-tmpfiles-setup-dev.service", "systemd-tmpfiles-clean.timer", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "systemd-user-sessions.service",
)  # fmt: skip


class Verity(NamedTuple):
    """What vouches for the bytes of a disk: a disk of hashes, and the hash of these."""

    hashes: Path
    root: str


class SeedDisk(NamedTuple):
    """The second disk, read-only. Where `mount` is empty, whoever wants it mounts it; its device is /dev/vdb, and with
    verity (its hashes are /dev/vdc) /dev/mapper/seed."""

    path: Path
    type: str = "erofs"
    mount: str = SEED_MOUNT
    verity: Verity | None = None


def verity_disk(image, mount=SEED_MOUNT):
    """Hashes an image, beside which the hashes will lie, and returns it as a disk for which they vouch."""
    hashes = image.with_name(f"{image.name}.verity")
    # The salt of all zeros and the UUID make the same hashes of the same image.
    fixed = [f"--salt={'0' * 64}", "--uuid=00000000-0000-4000-8000-000000000000"]
    output = rig.run(["veritysetup", "format", *fixed, image, hashes]).stdout
    root = re.search(r"^Root hash:\s+([0-9a-f]{64})$", output, re.MULTILINE)[1]
    return SeedDisk(image, mount=mount, verity=Verity(hashes, root))


class Appliance:
    """All its files lie in one directory. Units are files: they are installed and, if they say by what, enabled. Archives are
    unpacked into its root, files are put there. `others` are images of further disks, read-only, behind those of the seed.
    Its disk takes so many writes a second, if that is said."""

    def __init__(
        self, directory, *, seed=None, others=(), init="plain", units=(), files=None, archives=(), size="1G", memory=1024,
        kernel_arguments=(),
    ):  # fmt: skip
        self.directory = directory
        self.seed = seed
        self.others = others
        self.init = init
        self.memory = memory
        self.kernel_arguments = kernel_arguments
        self.writes_a_second = None
        self.disk = directory / "root.ext4"
        tree = directory / "root"
        userland = Userland(tree)
        add_engine(userland)
        if init == "systemd":
            add_systemd(userland, units)
        for path, content in (files or {}).items():
            userland.put(path, content)
        for archive in archives:
            userland.unpack(archive)
        # Last, since what is there otherwise comes first.
        userland.add_busybox()
        userland.write_disk(self.disk, size)
        shutil.rmtree(tree)

    def boot(self, script, *, before="", kill_at=None, kill_after=0, patience=guest_base.PATIENCE):
        """Boots, has a shell run the script once containerd answers, and powers off; returns the console.

        `before` is run before containerd starts, by the plain init; for systemd there are units. A command that fails, in
        either, is a failure here. So many seconds after a line with the pattern `kill_at` the power is cut.
        """
        console = guest_base.watch(self.command(script, before=before), patience, kill_at, kill_after)
        if kill_at is None and not ("script-ended" in console.marks and console.powered_off):
            raise AssertionError(f"the appliance failed; its console:\n{console.text}")
        return console

    def copy(self, directory):
        """Another one, whose root disk is as this one's is now."""
        twin = copy.copy(self)
        twin.directory, twin.disk = directory, directory / self.disk.name
        directory.mkdir()
        # Most of it are holes.
        rig.run(["cp", "--sparse=always", self.disk, twin.disk])
        return twin

    def command(self, script, *, before=""):
        """The words that boot it, once."""
        if before and self.init == "systemd":
            raise ValueError("what comes before containerd is a unit where systemd is init")
        initramfs = self.directory / "initramfs"
        initramfs.write_bytes(self._initramfs(script, before))
        return guest_base.command(initramfs, self._disks(), self.memory, self.kernel_arguments)

    def has_unwritten_journal(self):
        """Tells whether the root disk was in use when the appliance ended."""
        return "needs_recovery" in rig.run(["dumpe2fs", "-h", self.disk]).stdout

    def _disks(self):
        disks = [guest_base.Disk(self.disk, writes_a_second=self.writes_a_second)]
        if self.seed:
            disks.append(guest_base.Disk(self.seed.path, read_only=True))
            if self.seed.verity:
                disks.append(guest_base.Disk(self.seed.verity.hashes, read_only=True))
        return [*disks, *(guest_base.Disk(image, read_only=True) for image in self.others)]

    def _initramfs(self, script, before):
        modules, names = guest_base.module_members(MODULES)
        verity = self.seed and self.seed.verity
        settings = {
            "modules": " ".join(names),
            "init": INITS[self.init],
            "seed_type": self.seed.type if self.seed else "",
            "seed_mount": self.seed.mount if self.seed else "",
            "root_hash": verity.root if verity else "",
        }
        lines = [f"{name}='{value}'\n" for name, value in settings.items()]
        return guest_base.initramfs([
            *(guest_base.directory(name) for name in ("appliance", "proc", "root", "sys")),
            guest_base.file("init", (FILES / "initramfs-init").read_bytes()),
            guest_base.file("settings", "".join(lines)),
            guest_base.file("appliance/before", before),
            guest_base.file("appliance/script", script),
            *modules,
        ])  # fmt: skip


def add_engine(userland):
    userland.add_programs(*PROGRAMS)
    userland.put("/etc/containerd/config.toml", (FILES / "config.toml").read_bytes())
    loader = rig.BINARIES / "ociseed-loader"
    userland.put("/usr/bin/ociseed-loader", loader.read_bytes(), 0o755)
    for name in ("explain", "functions", "main", "plain-init"):
        userland.put(f"/usr/lib/appliance/{name}", (FILES / name).read_bytes(), 0o755)
    for name in ("passwd", "group"):
        userland.put(f"/etc/{name}", Path("/etc", name).read_bytes())
    userland.put("/etc/hostname", "appliance\n")


def add_systemd(userland, units):
    # Generators make units of what an appliance has not: partitions, /etc/fstab, init scripts.
    userland.add_packages("systemd", "libsystemd-shared", "mount", without=["/lib/systemd/system-generators"])
    # Without it this boot would be the first, at which systemd asks and presets.
    userland.put("/etc/machine-id", f"{'0123456789abcdef' * 2}\n")
    userland.put("/etc/os-release", Path("/etc/os-release").read_bytes())
    enabled = [Path("/lib/systemd/system/containerd.service"), FILES / "appliance.service", *units]
    for unit in enabled:
        userland.put(f"/lib/systemd/system/{unit.name}", unit.read_bytes())
    systemctl = ["systemctl", f"--root={userland.directory}", "--quiet"]
    rig.run([*systemctl, "set-default", "multi-user.target"])
    rig.run([*systemctl, "mask", *MASKED])
    rig.run([*systemctl, "enable", *(unit.name for unit in enabled if "\n[Install]\n" in unit.read_text())])
