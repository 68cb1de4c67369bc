"""Listings of file systems, to compare an image with what its spec says, with its tars and with what others make of it.

A listing is a dict from the path (relative, without `./`) to an Entry; the root itself is never in it.
"""

import hashlib
import io
import os
import re
import stat
import subprocess
import tarfile
import tomllib
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Entry(NamedTuple):
    kind: str  # "file", "dir" or "link"
    mode: int
    owner: str  # "UID:GID"
    detail: str  # a file's sha256, a link's target
    mtime: int = 0

    def __str__(self):
        return f"{self.kind} {self.mode:04o} {self.owner} {self.detail} at {self.mtime}"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def in_order(paths):
    """Sorts paths by their parts, so that `a/b` comes before `a-b` but after `a`."""
    return sorted(paths, key=lambda path: [part.encode() for part in path.split("/")])


# What docs/format.md says about a layer of a spec


class _Layer:
    """The entries of one layer, with what gives way to what: a parent that is implied, a `dir`, a package, a `mkdir`."""

    IMPLIED, FROM_DIR, FROM_PACKAGE, SAID = range(4)

    def __init__(self):
        self.entries = {}
        self.ranks = {}

    def put(self, path, entry, rank=SAID):
        path = path.strip("/")
        if not path:
            return
        old = self.entries.get(path)
        if old and not old.kind == entry.kind == "dir":
            raise ValueError(f"two entries write {path}")
        if self.ranks.get(path, -1) > rank or rank == self.ranks.get(path) and rank < self.FROM_PACKAGE:
            return
        if self.ranks.get(path) == rank:
            # Of packages that share a directory; two of a spec's own never do.
            entry = entry._replace(mtime=max(entry.mtime, old.mtime))
            if rank == self.SAID or entry != old._replace(mtime=entry.mtime):
                raise ValueError(f"two entries write {path}")
        self.entries[path] = entry
        self.ranks[path] = rank
        self.put(str(PurePosixPath("/", path).parent), Entry("dir", 0o755, "0:0", ""), self.IMPLIED)

    def put_host(self, path, host, owner, mode=None):
        """Puts a file or link of the host, of which content, type and the owner's executable bit count."""
        if host.is_symlink() and mode is None:
            self.put(path, Entry("link", 0o777, owner, os.readlink(host)))
            return
        executable = host.stat().st_mode & stat.S_IXUSR
        self.put(path, Entry("file", mode or (0o755 if executable else 0o644), owner, sha256(host.read_bytes())))

    def put_tree(self, to, host, owner):
        for directory, directories, files in os.walk(host):
            inside = PurePosixPath(to, Path(directory).relative_to(host))
            self.put(str(inside), Entry("dir", 0o755, owner, ""), self.FROM_DIR)
            # os.walk lists links to directories as directories.
            links = [name for name in directories if Path(directory, name).is_symlink()]
            for name in [*files, *links]:
                self.put_host(str(inside / name), Path(directory, name), owner)


    def put_package(self, host, left_out):
        """Puts what dpkg unpacks of a package, and what dpkg would note of it."""
        excluded = set()
        for member, content in _members(host, "--fsys-tarfile"):
            path = member.name.removeprefix("./").strip("/.")
            if not path:
                continue
            if any(pattern.fullmatch(path) for pattern in left_out) or str(PurePosixPath(path).parent) in excluded:
                excluded.add(path)
                continue
            self.put(path, _entry_of_member(member, content), self.FROM_PACKAGE)
        control = {member.name.removeprefix("./"): content for member, content in _members(host, "--ctrl-tarfile")}
        (name,) = re.findall(rb"^Package: (\S+)$", control["control"], re.MULTILINE)
        for file, suffix in (("control", ""), ("md5sums", ".md5sums")):
            if file in control:
                path = f"var/lib/dpkg/status.d/{name.decode()}{suffix}"
                self.put(path, Entry("file", 0o644, "0:0", sha256(control[file])), self.FROM_PACKAGE)


def _members(package, option):
    """The members of one of the tars of a package, with what is in them."""
    tar = subprocess.run(["dpkg-deb", option, package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return [(member, archive.extractfile(member).read() if member.isreg() else b"") for member in archive]


def _entry_of_member(member, content):
    """The entry that a member of a tar makes."""
    if member.isreg():
        kind, detail = "file", sha256(content)
    elif member.isdir():
        kind, detail = "dir", ""
    elif member.issym():
        kind, detail = "link", member.linkname
    else:
        raise ValueError(f"{member.name}: a member of type {member.type}")
    return Entry(kind, member.mode, f"{member.uid}:{member.gid}", detail, int(member.mtime))


def _expression(pattern):
    """A pattern of a spec, with a `/` in it, as a regular expression: as much of them as the examples use."""
    words = {"*": "[^/]*", "[!": "[^/", "{": "(?:", "}": ")", ",": "|", "]": "]"}
    tokens = re.findall(r"\[!|[*{},\]]|[^*{},\[\]]+", pattern)
    if "".join(tokens) != pattern or "**" in pattern or "/" not in pattern:
        raise ValueError(f"the pattern {pattern}")
    return re.compile("".join(words.get(token, re.escape(token)) for token in tokens))


def layer_of_spec(spec, key, host):
    """The listing of a layer; `host` finds the host path that a path of the spec means."""
    layer = _Layer()
    for entry in tomllib.loads(spec.read_text())["layer"][key]["add"]:
        owner = entry.get("owner", "0:0")
        mode = int(entry["mode"], 8) if "mode" in entry else None
        match entry:
            case {"file": source, "to": to}:
                path = host(source).resolve()
                layer.put_host(to, path, owner, mode)
            case {"dir": source}:
                layer.put_tree(entry.get("to", "/"), host(source), owner)
            case {"deb": [*packages]}:
                left_out = [_expression(pattern) for pattern in entry.get("exclude", [])]
                for package in packages:
                    layer.put_package(host(package), left_out)
            case {"text": text, "to": to}:
                layer.put(to, Entry("file", mode or 0o644, owner, sha256(text.encode())))
            case {"symlink": target, "to": to}:
                layer.put(to, Entry("link", 0o777, owner, target))
            case {"mkdir": path}:
                layer.put(path, Entry("dir", mode or 0o755, owner, ""))
            case _:
                raise ValueError(f"unknown kind of entry: {entry}")
    return layer.entries


def merge(layers):
    """The file system that layers without whiteouts make, bottom first."""
    merged = {}
    for layer in layers:
        for path, entry in layer.items():
            below = merged.get(path)
            if below and "dir" in (below.kind, entry.kind) and below.kind != entry.kind:
                raise ValueError(f"{path} is a {below.kind} in one layer and a {entry.kind} in another")
            merged[path] = entry
    return merged


# What is there


def layer_of_tar(path):
    """The listing of a layer's tar, in the tar's order."""
    entries = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            # Packages bring the names of their owners, which is root for all of them.
            if member.name in entries or not {member.uname, member.gname} <= {"", "root"}:
                raise ValueError(f"{member.name}: twice in the tar, or with names of owners")
            entries[member.name] = _entry_of_member(member, archive.extractfile(member).read() if member.isreg() else b"")
    return entries


def of_directory(root):
    """The listing of what lies below a directory."""
    entries = {}
    for directory, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = Path(directory, name)
            status = path.lstat()
            if path.is_symlink():
                kind, detail = "link", os.readlink(path)
            elif path.is_dir():
                kind, detail = "dir", ""
            else:
                kind, detail = "file", sha256(path.read_bytes())
            mode = stat.S_IMODE(status.st_mode)
            owner = f"{status.st_uid}:{status.st_gid}"
            entries[str(path.relative_to(root))] = Entry(kind, mode, owner, detail, int(status.st_mtime))
    return entries


# Prints the listing of the root of a container, with ordinary tools or with busybox. Mount points and what lies on them
# are the container's, not the image's.
CONTAINER_SCRIPT = r"""
set -e
cd /
cut -d' ' -f5 /proc/self/mountinfo
echo ---
find . -xdev -mindepth 1 -print0 | xargs -0 stat -c '%f %u:%g %Y %n'
echo ---
find . -xdev -type f -print0 | xargs -0 sha256sum
echo ---
find . -xdev -type l -exec sh -c 'for link; do printf "%s\n%s\n" "$link" "$(readlink "$link")"; done' sh {} +
"""


def of_container(output):
    """The listing that CONTAINER_SCRIPT printed, without its mount points, and these."""
    mounts, stats, sums, links = (part.splitlines() for part in output.split("---\n"))
    digests = dict(reversed(line.split("  ", 1)) for line in sums)
    targets = dict(zip(links[::2], links[1::2], strict=True))
    mounts = {mount.strip("/") for mount in mounts} - {""}
    entries = {}
    for line in stats:
        mode, owner, mtime, name = line.split(" ", 3)
        mode = int(mode, 16)
        path = name.removeprefix("./")
        if path in mounts:
            continue
        if stat.S_ISREG(mode):
            kind, detail = "file", digests[name]
        elif stat.S_ISLNK(mode):
            kind, detail = "link", targets[name]
        elif stat.S_ISDIR(mode):
            kind, detail = "dir", ""
        else:
            raise ValueError(f"{path} has the mode {mode:o}")
        entries[path] = Entry(kind, stat.S_IMODE(mode), owner, detail, int(mtime))
    return entries, mounts


def without(listing, paths):
    """A listing without some paths and what lies below them."""
    return {
        path: entry
        for path, entry in listing.items()
        if path not in paths and not any(str(parent) in paths for parent in PurePosixPath(path).parents)
    }


def differences(expected, found, limit=20):
    """Says how two listings differ, one line for each path."""
    lines = []
    for path in in_order(expected.keys() | found.keys()):
        if expected.get(path) != found.get(path):
            lines.append(f"{path}: expected {expected.get(path, 'nothing')}, found {found.get(path, 'nothing')}")
    return "\n".join([*lines[:limit], *([f"and {len(lines) - limit} more"] if len(lines) > limit else [])])
