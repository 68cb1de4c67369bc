"""A guest with Linux 6.1 and what it sees of EROFS images: it mounts each by loop and lists it with the probe.

    for image, found in guest.listings(images).items():
        self.assertEqual(found.entries, ...)

The machine that runs the tests has another kernel, which reads more. QEMU emulates the guest's processor: many such machines
cannot run guests of their own. The kernel and QEMU are in the root of bookworm only (tests/rig/recipes); the guest's
programs are this root's busybox and the probe, both static, so it needs no file system but an initramfs.
"""

import os
import platform
import re
import stat
import subprocess
import tarfile
import unittest
from pathlib import Path

import probe
import rig

# Other roots have no such tests; on other machines than these they are skipped, by name.
IN_THIS_SUITE = os.environ["OCISEED_SUITE"] == "bookworm"
needs_machine = unittest.skipUnless(platform.machine() == "x86_64", "the guest is one for x86-64")
KERNEL = Path("/opt/guest-kernel")
PROGRAMS = {"bin/busybox": Path("/bin/busybox"), "bin/ociseed-probe": rig.BINARIES / "ociseed-probe"}
# ext4 is in the kernel itself.
MODULES = ("virtio_pci", "virtio_blk", "loop", "erofs")
# Booting takes seconds, on a busy machine many.
PATIENCE = 240
# Room for listings: the output disk is a sparse file.
OUTPUT_SIZE = 1 << 30
INIT = r"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
# A command that fails ends the guest, and the host shows what it said.
trap 'echo "init ended with $?"; sync; poweroff -f' EXIT
set -e
for module in MODULES; do insmod "/modules/$module.ko"; done
for disk in /dev/vda /dev/vdb; do
    until [ -b "$disk" ]; do sleep 0.1; done
done
mount -t ext4 -o ro /dev/vda /in
uname -r >/out/kernel
for image in /in/[0-9]*; do
    name=${image##*/}
    if mount -t erofs -o ro,loop "$image" /mnt 2>"/out/$name.error"; then
        ociseed-probe /mnt >"/out/$name.listing" 2>"/out/$name.error" || echo failed >>"/out/$name.error"
        umount /mnt
    else
        dmesg | tail -n 5 >>"/out/$name.error"
    fi
done
tar -C /out -cf /dev/vdb .
"""


def kernel():
    """The version of the guest's kernel, as its files are named."""
    (image,) = KERNEL.glob("boot/vmlinuz-*")
    return image.name.removeprefix("vmlinuz-")


def listings(images):
    """Boots the guest once; returns what it saw of each image (a path), and fails if there was one that it could not read."""
    directory = rig.scratch_directory("g")
    names = {f"{number:04}": image for number, image in enumerate(images)}
    source, output = directory / "in.ext4", directory / "out.tar"
    _write_disk(source, directory / "in", names)
    with output.open("wb") as file:
        file.truncate(OUTPUT_SIZE)
    initramfs = directory / "initramfs"
    initramfs.write_bytes(_initramfs())
    console = _boot(initramfs, source, output)
    return _read(output, names, console)


def _write_disk(path, directory, names):
    """Makes a file system of the images: what is mounted by loop is a file, as it will be on an appliance."""
    directory.mkdir()
    for name, image in names.items():
        rig.run(["cp", "--sparse=always", image, directory / name])
    size = sum(image.stat().st_size for image in names.values())
    # A tenth and 16 MiB are more than ext4 needs for itself.
    rig.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", directory, path, f"{size * 11 // 10 // 1024 + 16384}k"])


def _boot(initramfs, source, output):
    """Runs the guest to its end and returns what it said on its console."""
    command = [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512",
        "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
        "-kernel", KERNEL / "boot" / f"vmlinuz-{kernel()}", "-initrd", initramfs,
        "-append", "console=ttyS0 quiet panic=-1 mitigations=off",
        "-drive", f"if=none,id=in,format=raw,read-only=on,file={source}", "-device", "virtio-blk-pci,drive=in",
        "-drive", f"if=none,id=out,format=raw,cache=unsafe,file={output}", "-device", "virtio-blk-pci,drive=out",
    ]  # fmt: skip
    try:
        result = rig.run(command, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        raise AssertionError(f"the guest did not end within {PATIENCE} s; its console:\n{said}") from error
    return result.stdout + result.stderr


def _read(output, names, console):
    """What the guest wrote to its second disk: a tar with a listing, or what went wrong, of each image."""
    with tarfile.open(output, "r:") as archive:
        files = {Path(each.name).name: archive.extractfile(each).read() for each in archive if each.isreg()}
    if not files:
        # An empty disk reads as an empty tar.
        raise AssertionError(f"the guest wrote nothing; its console:\n{console}")
    if files["kernel"].decode().strip() != kernel():
        raise AssertionError(f"the guest is a Linux {files['kernel']}, not {kernel()}")
    errors = [f"{image}: {files[f'{name}.error'].decode()}" for name, image in names.items() if files.get(f"{name}.error")]
    if errors:
        raise AssertionError("\n".join(["what the guest could not read:", *errors, "its console:", console]))
    return {image: probe.parse(files[f"{name}.listing"].decode()) for name, image in names.items()}


# The initramfs


def _initramfs():
    """A cpio archive, as docs of Linux (driver-api/early-userspace/buffer-format) say; the kernel unpacks it as its root."""
    modules = _modules(MODULES)
    members = [(name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "in", "mnt", "modules", "out", "proc")]
    # Without it the kernel has no place to say what fails before /dev is mounted.
    members.append(("dev/console", stat.S_IFCHR | 0o600, b""))
    members.append(("init", stat.S_IFREG | 0o755, INIT.replace("MODULES", " ".join(modules)).encode()))
    members += [(name, stat.S_IFREG | 0o755, path.read_bytes()) for name, path in PROGRAMS.items()]
    members += [(f"modules/{name}.ko", stat.S_IFREG | 0o644, content) for name, content in modules.items()]
    members.append(("TRAILER!!!", 0, b""))
    return b"".join(_member(number, *member) for number, member in enumerate(members, start=1))


def _member(number, name, mode, content):
    # The one device is the console.
    major, minor = (5, 1) if stat.S_ISCHR(mode) else (0, 0)
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(header) + _padded(content)


def _padded(content):
    return content + bytes(-len(content) % 4)


def _modules(names):
    """The contents of modules by name, with those that they need, in the order in which they can be loaded."""
    files = {path.stem.replace("-", "_"): path for path in KERNEL.glob(f"lib/modules/{kernel()}/**/*.ko")}
    found = {}

    def add(name):
        content = files[name].read_bytes()
        # The package has no list of them, that is made when it is installed; each module says what it needs.
        needs = re.search(rb"\0depends=([^\0]*)\0", content)[1].decode()
        for need in needs.replace("-", "_").split(",") if needs else ():
            if need not in found:
                add(need)
        found[name] = content

    for name in names:
        add(name)
    return found
