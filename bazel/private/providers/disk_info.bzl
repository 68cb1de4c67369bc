"""DiskInfo: a medium for an OS image."""

DiskInfo = provider(
    doc = "A disk: a file system, tar or cpio archive that an OS image takes in or a kernel mounts.",
    fields = {
        "disk": "File: the disk.",
        "medium": "string: `erofs`, `tar` or `cpio`.",
        "metadata": "File: the disk metadata (docs/format.md): digest, size and, of a disk with a seed, its id.",
    },
)
