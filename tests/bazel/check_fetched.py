#!/usr/bin/env python3
"""Checks which layer blobs Bazel fetched from a server, by its logs of calls and of actions.

    check_fetched.py all|none|nothing GRPC_LOG EXECUTION_LOG

With `none` fails if it read a layer blob, with `nothing` if it read as much as one file of what actions made; with `all`, the
proof that this would be seen, if there is a layer blob that it did not read.
"""

import re
import sys
from pathlib import Path

from check_log import spawns

# REAPI's name of a blob in a call that reads it; what writes one has `uploads/` and a UUID in front.
BLOB = re.compile(rb"blobs/([0-9a-f]{64})/(\d+)")
READ = b"google.bytestream.ByteStream/Read"


def varint(data: bytes, position: int) -> tuple[int, int]:
    """Reads a number of protobuf; returns it and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def calls(path: Path) -> list[bytes]:
    """Returns the entries of a log of calls, each a message of protobuf with its length in front."""
    data, position, found = path.read_bytes(), 0, []
    while position < len(data):
        length, position = varint(data, position)
        found.append(data[position : position + length])
        position += length
    return found


def fetched(path: Path) -> dict[str, int]:
    """Returns the digests that were read, with their sizes. An entry is searched as bytes: of its fields only names matter."""
    return {
        match[1].decode(): int(match[2]) for entry in calls(path) if READ in entry for match in BLOB.finditer(entry)
    }


def outputs(ran: list[dict]) -> tuple[dict[str, str], set[str]]:
    """Returns the paths of what actions made, by digest, and which of the digests are those of layer blobs."""
    paths, layers = {}, set()
    for spawn in ran:
        for output in spawn["actualOutputs"]:
            path, digest = output["path"], output["digest"]["hash"]
            # Bundles and seeds have the same blobs.
            paths[digest] = f"{paths[digest]}`, `{path}" if digest in paths else path
            if spawn["mnemonic"] == "OciLayer" and ".tar" in path.rpartition("/")[2]:
                layers.add(digest)
    return paths, layers


def main() -> None:
    expected, read = sys.argv[1], fetched(Path(sys.argv[2]))
    paths, layers = outputs(spawns(Path(sys.argv[3])))
    print(f"    read {len(read)} blobs, {sum(read.values())} bytes; {len(layers & read.keys())} of {len(layers)} layers")
    if expected == "all":
        wrong = [f"`{paths[digest]}` was not fetched" for digest in layers - read.keys()]
    else:
        unwanted = layers if expected == "none" else paths.keys()
        wrong = [f"`{paths[digest]}` was fetched" for digest in unwanted & read.keys()]
    if not layers:
        wrong.append("no layer was made")
    for text in wrong:
        print(f"error: {text}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
