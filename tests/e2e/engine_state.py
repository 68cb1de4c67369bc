"""All that an engine has, and all that lies in its root, in a form in which two of them can be compared."""

import concurrent.futures
import os
import re
from pathlib import Path

LISTS = {
    "images": ["images", "list"],
    "content": ["content", "list"],
    "snapshots": ["snapshots", "list"],
    "leases": ["leases", "list"],
    "ingests": ["content", "active"],
}
# What the engine makes for itself when it first unpacks or runs something.
OWN = ("metadata.db", "io.containerd.runtime.v2.task", "opt", "tmpmounts")


def state(engine, namespaces):
    """Everything that namespaces record, and every path in the root with where it leads; without numbers that are given in
    the order of calls."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = {
            (namespace, kind): pool.submit(engine.ctr, *words, namespace=namespace)
            for namespace in namespaces
            for kind, words in LISTS.items()
        }
    found = {key: sorted(map(plain, result.result().stdout.splitlines()[1:])) for key, result in asked.items()}
    found["root"] = sorted(paths(engine.root))
    return found


def plain(line):
    """A line without ages, which go on, and with its labels in order."""
    line = re.sub(r"\b\d+ (seconds?|minutes?)\b|\bLess than a second\b|\bAbout a minute\b", "AGE", line)
    return [",".join(sorted(word.split(","))) for word in line.split()]


def paths(root):
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(directory, name)
            place = str(path.relative_to(root))
            if any(part in OWN for part in place.split("/")):
                continue
            target = os.readlink(path) if path.is_symlink() else ""
            yield re.sub(r"(snapshots)/\d+", r"\1/N", place), target


def differences(expected, found):
    """What one has and the other has not."""
    lines = []
    for key in sorted(expected.keys() | found.keys(), key=str):
        before, after = expected.get(key, []), found.get(key, [])
        lines += [f"{key}: expected {line}" for line in before if line not in after]
        lines += [f"{key}: found {line}" for line in after if line not in before]
        if not lines and before != after:
            lines.append(f"{key}: expected {len(before)} entries, found {len(after)}")
    return lines
