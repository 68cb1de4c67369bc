"""What a container sees of its image, by the probe (tests/probe), compared with what the image should hold.

    found = probe.inside(engine, "docker.io/library/web:1")
    self.assertEqual(probe.differences(expected, found, engine), "")

The image must hold the static program `ociseed-probe`. Listings are lists of dicts as the probe prints them.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import PurePosixPath
from typing import NamedTuple

PROBE = "/ociseed-probe"


class Found(NamedTuple):
    mounts: list
    entries: list


def inside(engine, image, argv=(PROBE,), **options):
    """Runs the probe in a container of an engine; () as `argv` for an image whose entrypoint is the probe."""
    for _ in range(3):
        output = engine.run_container(image, argv, **options).stdout
        # On a busy machine engines lose now and then what a container printed that has ended; the probe prints always.
        if output:
            break
    return parse(output)


def parse(output):
    first, *rest = map(json.loads, output.splitlines())
    return Found(first["mounts"], rest)


def escape(path):
    """Writes a path as the probe does: a backslash twice, bytes that are not part of valid UTF-8 as `\\xNN`."""
    text = path.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)


def seconds(nanoseconds):
    """Writes a time as the probe does and PAX headers may: decimal seconds without needless digits."""
    whole, part = divmod(abs(nanoseconds), 10**9)
    return f"{'-' if nanoseconds < 0 else ''}{whole}" + f".{part:09}".rstrip("0").rstrip(".")


def in_order(paths):
    """Sorts paths (bytes, without a leading slash) by their parts, so that `a/b` comes before `a-b` but after `a`."""
    return sorted(paths, key=lambda path: path.split(b"/") if path else [])


def compare(expected, found, undated=frozenset()):
    """Says how two lists of entries differ, one line for each path; of the paths that are `undated` the time may differ."""
    expected, found = ({entry["path"]: _without_time(entry, undated) for entry in entries} for entries in (expected, found))
    paths = [*expected, *(path for path in found if path not in expected)]
    pairs = ((path, expected.get(path), found.get(path)) for path in paths)
    return [f"{path}: {_difference(left, right)}" for path, left, right in pairs if left != right]


def _without_time(entry, undated):
    return {key: value for key, value in entry.items() if key != "mtime" or entry["path"] not in undated}


# What engines make of an image. Nothing else may differ.


class Mount(NamedTuple):
    """Something that the engine mounts over the image: what the image holds there is not seen."""

    engines: str
    path: str
    reason: str


class Made(NamedTuple):
    """A path that the engine makes where the image has none."""

    engines: str
    path: str
    reason: str


class Change(NamedTuple):
    """What the engine turns an entry into: `change` gets the entry that is expected, as a dict, and edits it."""

    engines: str
    change: Callable
    reason: str


def _nanoseconds(text):
    return int(Decimal(text).scaleb(9))


def _clamp_times(*kinds):
    """Times before 1970, and those that 64 bits of nanoseconds do not hold, become 0; of some kinds of entries."""

    def change(entry):
        if entry["kind"] in kinds and "mtime" in entry and not 0 <= _nanoseconds(entry["mtime"]) < 2**63:
            entry["mtime"] = "0"

    return change


def _overlook_late_times_of_symlinks(entry):
    if entry["kind"] == "symlink" and _nanoseconds(entry["mtime"]) >= 2**63:
        del entry["mtime"]


def _keep_xattrs(keep):
    def change(entry):
        kept = {name: value for name, value in entry.pop("xattrs", {}).items() if keep(name, value)}
        if kept:
            entry["xattrs"] = kept

    return change


def _root(mode):
    def change(entry):
        if entry["path"] == "/":
            entry.pop("xattrs", None)
            entry.pop("mtime", None)
            entry.update(mode=mode, uid=0, gid=0)

    return change


ALL = "containerd docker podman"
ALL_BUT_SYMLINKS = ("file", "directory", "char", "block", "fifo")

# Where a version is named, the line was seen with engines before it and not with those from it on; between the versions
# of two suites nothing was run.
EXCEPTIONS = [
    Mount(ALL, "/dev", "a tmpfs with the devices of the container"),
    Mount(ALL, "/proc", "the processes of the container"),
    Mount(ALL, "/sys", "the kernel"),
    Mount("containerd", "/run", "ctr mounts a tmpfs there"),
    Mount("containerd-cri docker podman", "/etc/hostname", "written for each container, or for each pod"),
    Mount("containerd-cri docker podman", "/etc/hosts", "the same"),
    Mount("containerd-cri docker podman", "/etc/resolv.conf", "the same; podman leaves it out without a network"),
    Mount("podman", "/run/.containerenv", "tells programs that they run in a container"),
    Made("docker", "/.dockerenv", "tells programs that they run in a container"),
    Made("docker podman", "/etc/mtab", "a symlink to /proc/mounts"),
    Change("containerd docker", _root("0755"), "/ is the top of the container's own layer, made anew each time"),
    Change("podman", _root("0555"), "the same; containers/storage gives it this mode"),
    Change(
        ALL,
        _clamp_times(*ALL_BUT_SYMLINKS),
        "Chtimes of Docker's archive code, which the others took over, sets what it holds invalid to the epoch",
    ),
    Change(
        "containerd docker-containerd docker-overlay2>=28",
        _clamp_times("symlink"),
        "the same for symlinks, for which the older code has a path of its own (LUtimesNano)",
    ),
    Change(
        "docker-overlay2<28 podman",
        _overlook_late_times_of_symlinks,
        "that path keeps times before 1970; its nanoseconds overflow 64 bits in 2262, and a time before 1970 comes out",
    ),
    Change(
        ALL,
        _keep_xattrs(lambda name, _: not name.startswith("trusted.")),
        "the kernel shows them only to CAP_SYS_ADMIN of the host; containerd does not even unpack them",
    ),
    Change(
        "docker<25 podman<5",
        _keep_xattrs(lambda _, value: value != ""),
        "they read Go's Header.Xattrs, which leaves empty values out; later ones Header.PAXRecords (moby#46707)",
    ),
]


def differences(expected, found, engine, limit=20):
    """Says how a listing and what a container of an engine saw differ, one line for each path; empty if they do not."""
    rules = [rule for rule in EXCEPTIONS if concerns(rule.engines, engine)]
    expected = {entry["path"]: dict(entry) for entry in expected}
    entries = {entry["path"]: dict(entry) for entry in found.entries}
    lines = _unknown_mounts(found.mounts, rules)
    for entry in expected.values():
        for rule in rules:
            if isinstance(rule, Change):
                rule.change(entry)
    _set_aside_what_the_engine_made(expected, entries, found.mounts, rules)
    for path in [*expected, *(path for path in entries if path not in expected)]:
        # Where only the engine knows what a member is, the expected entry has none.
        left, right = expected.get(path), entries.get(path)
        if left and right and "mtime" not in left:
            right.pop("mtime", None)
        if left != right:
            lines.append(f"{path}: {_difference(left, right)}")
    return "\n".join([*lines[:limit], *([f"and {len(lines) - limit} more"] if len(lines) > limit else [])])


def concerns(engines, engine):
    """Tells whether words such as `docker podman<5` mean an engine.

    A word is an engine's name or `NAME-STORE`, and may end with `<` or `>=` and a version.
    """
    names = {engine.name, f"{engine.name}-{getattr(engine, 'store', '')}"}
    for word in engines.split():
        name, sign, text = re.fullmatch(r"([a-z0-9-]+)(?:(<|>=)([\d.]+))?", word).groups()
        if name in names:
            version = tuple(map(int, text.split("."))) if sign else ()
            if not sign or (engine.version < version) == (sign == "<"):
                return True
    return False


def _unknown_mounts(mounts, rules):
    known = {rule.path for rule in rules if isinstance(rule, Mount)}
    return [f"{path}: a mount that the exceptions do not know" for path in mounts if path not in known]


def _set_aside_what_the_engine_made(expected, entries, mounts, rules):
    """Takes what is hidden out of what is expected, and what the engine made out of what was found.

    A directory in which the engine made something has its time from then. Where the directory was not there either, the
    engine made it, and so on upwards.
    """
    made = [rule.path for rule in rules if isinstance(rule, Made) and rule.path in entries]
    for path in [*mounts, *made]:
        is_new = path not in expected
        while is_new and path != "/":
            entries.pop(path, None)
            path = str(PurePosixPath(path).parent)
            is_new = path not in expected
            if not is_new:
                expected[path].pop("mtime", None)
    below = tuple(f"{mount}/" for mount in mounts)
    for path in [path for path in expected if f"{path}/".startswith(below)]:
        del expected[path]


def _difference(left, right):
    if left is None or right is None:
        return f"expected {json.dumps(left) if left else 'nothing'}, found {json.dumps(right) if right else 'nothing'}"
    keys = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    words = (f"{key} {json.dumps(left.get(key))}, found {json.dumps(right.get(key))}" for key in keys)
    return "expected " + "; ".join(words)
