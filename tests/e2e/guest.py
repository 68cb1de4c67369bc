"""A guest with Linux 6.1 and what it sees of EROFS images: it mounts each by loop and lists it with the probe.

    for image, found in guest.listings(images).items():
        self.assertEqual(found.entries, ...)

The machine that runs the tests has another kernel, which reads more. The guest's programs are this root's busybox and the
probe, both static, so it needs no file system but an initramfs.
"""

import tarfile
from pathlib import Path

import guest_base
import probe
import rig

PROBE = rig.BINARIES / "ociseed-probe"
# ext4 is in the kernel itself.
MODULES = ("virtio_pci", "virtio_blk", "loop", "erofs")
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
    disks = [guest_base.Disk(source, read_only=True), guest_base.Disk(output)]
    console = guest_base.boot(initramfs, disks, memory=512)
    return _read(output, names, console.text)


def _write_disk(path, directory, names):
    """Makes a file system of the images: what is mounted by loop is a file, as it will be on an appliance."""
    directory.mkdir()
    for name, image in names.items():
        rig.run(["cp", "--sparse=always", image, directory / name])
    size = sum(image.stat().st_size for image in names.values())
    # A tenth and 16 MiB are more than ext4 needs for itself.
    rig.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", directory, path, f"{size * 11 // 10 // 1024 + 16384}k"])


def _read(output, names, console):
    """What the guest wrote to its second disk: a tar with a listing, or what went wrong, of each image."""
    with tarfile.open(output, "r:") as archive:
        files = {Path(each.name).name: archive.extractfile(each).read() for each in archive if each.isreg()}
    if not files:
        # An empty disk reads as an empty tar.
        raise AssertionError(f"the guest wrote nothing; its console:\n{console}")
    if files["kernel"].decode().strip() != guest_base.kernel():
        raise AssertionError(f"the guest is a Linux {files['kernel']}, not {guest_base.kernel()}")
    errors = [f"{image}: {files[f'{name}.error'].decode()}" for name, image in names.items() if files.get(f"{name}.error")]
    if errors:
        raise AssertionError("\n".join(["what the guest could not read:", *errors, "its console:", console]))
    return {image: probe.parse(files[f"{name}.listing"].decode()) for name, image in names.items()}


def _initramfs():
    modules, names = guest_base.module_members(MODULES)
    directories = [guest_base.directory(name) for name in ("in", "mnt", "out", "proc")]
    programs = [
        guest_base.file("init", INIT.replace("MODULES", " ".join(names))),
        guest_base.file("bin/ociseed-probe", PROBE.read_bytes()),
    ]
    return guest_base.initramfs([*directories, *programs, *modules])
