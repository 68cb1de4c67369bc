"""Disks with a GUID partition table (UEFI 2.10, chapter 5), by a writer that is not ours.

    partitioned(path, {"seed-a": image, "seed-b": other})
"""

import struct
import uuid
import zlib

SECTOR = 512
# Partitions begin where tools let them begin.
ALIGNMENT = 2048
ENTRIES, ENTRY_SIZE = 128, 128
# A header and the sectors of the entries, at the beginning (behind the first sector) and in the end.
TABLE = 1 + ENTRIES * ENTRY_SIZE // SECTOR
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


def partitioned(file, images):
    """Writes a disk with a partition for each image, by the partitions' names, and returns its file."""
    first, entries, places = ALIGNMENT, b"", []
    for number, (name, image) in enumerate(images.items(), start=1):
        last = first + -(-image.stat().st_size // SECTOR) - 1
        unique = uuid.UUID(int=number).bytes_le
        entries += struct.pack("<16s16sQQQ72s", LINUX.bytes_le, unique, first, last, 0, name.encode("utf-16-le"))
        places.append((first, image))
        first = -(-(last + 1) // ALIGNMENT) * ALIGNMENT
    entries = entries.ljust(ENTRIES * ENTRY_SIZE, b"\0")
    total = first + TABLE
    protective = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, total - 1)
    with open(file, "wb") as out:
        out.write(bytes(446) + protective + bytes(48) + b"\x55\xaa" + _header(total, entries, 1, total - 1, 2) + entries)
        for place, image in places:
            out.seek(place * SECTOR)
            out.write(image.read_bytes())
        out.seek((total - TABLE) * SECTOR)
        out.write(entries + _header(total, entries, total - 1, 1, total - TABLE))
    return file


def _header(total, entries, at, other, table):
    usable = (1 + TABLE, total - TABLE - 1)
    fields = [b"EFI PART", 0x10000, 92, 0, 0, at, other, *usable, b"g" * 16, table, ENTRIES, ENTRY_SIZE, zlib.crc32(entries)]
    fields[3] = zlib.crc32(struct.pack("<8sIIIIQQQQ16sQIII", *fields))
    return struct.pack("<8sIIIIQQQQ16sQIII", *fields).ljust(SECTOR, b"\0")
