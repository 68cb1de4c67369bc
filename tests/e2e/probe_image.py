"""Images made by hand, with Python alone: what goes in is known without the builder and without any engine.

A layer is a list of Entry; `tar` writes it, `listing` says what a container of such layers must see, in the words of
the probe, and the `write_` functions make images of layers.
"""

import dataclasses
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from probe import escape, in_order, seconds

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
TYPES = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "link": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}
OPAQUE = b".wh..wh..opq"
WHITEOUT = b".wh."
# The value of an ACL without entries. Setting it removes an ACL, such as one that a file got from its directory.
NO_ACL = bytes([2, 0, 0, 0])
USTAR_MAX_ID = 0o7777777
USTAR_MAX_TIME = 0o77777777777


@dataclasses.dataclass(frozen=True)
class Entry:
    """A member of a layer.

    `path` has no leading slash, that of the root is empty; `target` is that of a symlink, or the path that a link names.
    """

    kind: str
    path: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 1_600_000_000_000_000_000
    content: bytes = b""
    target: bytes = b""
    device: tuple = (0, 0)
    xattrs: dict = dataclasses.field(default_factory=dict)  # of str to bytes


def file(path, content=b"", **rest):
    return Entry("file", path, content=content, **rest)


def directory(path, mode=0o755, **rest):
    return Entry("directory", path, mode, **rest)


def symlink(path, target, **rest):
    return Entry("symlink", path, 0o777, target=target, **rest)


def link(path, of):
    """A further name of an entry. It repeats what the entry says, because engines apply what the last name says."""
    return dataclasses.replace(of, kind="link", path=path, content=b"", target=of.path)


def whiteout(path):
    parent, slash, name = path.rpartition(b"/")
    return file(parent + slash + WHITEOUT + name)


def opaque(path):
    return file(path + b"/" + OPAQUE)


# Bytes


def tar(entries):
    """The tar of a layer."""
    out = io.BytesIO()
    for entry in entries:
        _add(out, entry)
    out.write(bytes(2 * tarfile.BLOCKSIZE))
    return out.getvalue()


def _add(out, entry):
    records = _records(entry)
    if records:
        header = tarfile.TarInfo("PaxHeader")
        header.type = tarfile.XHDTYPE
        _write(out, header, b"".join(map(_record, records.items())))
    header = tarfile.TarInfo(_text(b"long" if b"path" in records else entry.path or b"./"))
    header.type = TYPES[entry.kind]
    header.mode = entry.mode
    header.linkname = _text(b"long" if b"linkpath" in records else entry.target)
    header.uid = 0 if b"uid" in records else entry.uid
    header.gid = 0 if b"gid" in records else entry.gid
    header.mtime = 0 if b"mtime" in records else entry.mtime_ns // 10**9
    header.devmajor, header.devminor = entry.device
    _write(out, header, entry.content)


def _records(entry):
    """What the ustar header cannot hold. tarfile's own PAX headers would take no values that are not UTF-8."""
    records = {}
    for key, value in ((b"path", entry.path), (b"linkpath", entry.target)):
        if len(value) > tarfile.LENGTH_NAME:
            records[key] = value
    for key, value in ((b"uid", entry.uid), (b"gid", entry.gid)):
        if value > USTAR_MAX_ID:
            records[key] = b"%d" % value
    if entry.mtime_ns % 10**9 or not 0 <= entry.mtime_ns <= USTAR_MAX_TIME * 10**9:
        records[b"mtime"] = seconds(entry.mtime_ns).encode()
    for name, value in entry.xattrs.items():
        records[b"SCHILY.xattr." + name.encode()] = value
    return records


def _record(item):
    """A record of a PAX header: its own length, in decimal digits that count too, then `key=value`."""
    rest = b" %s=%s\n" % item
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return b"%d%s" % (length, rest)


def _write(out, header, content):
    header.size = len(content)
    out.write(header.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape"))
    out.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))


def _text(path):
    return path.decode("utf-8", "surrogateescape")


# What a container must see


def listing(layers):
    """The files of layers, bottom first, as the probe lists them."""
    merged = {b"": directory(b"")}
    for layer in layers:
        _remove_hidden(merged, layer)
        _merge(merged, layer)
    paths = in_order(merged)
    # The first of the names of a file is listed with all that the file has.
    first = {}
    for path in paths:
        first.setdefault(id(merged[path]), path)
    return [
        _described(path, merged[path])
        if first[id(merged[path])] == path
        else {"kind": "link", "link": _listed(first[id(merged[path])]), "path": _listed(path)}
        for path in paths
    ]


def _remove_hidden(merged, layer):
    """Removes what whiteouts of a layer hide of the layers below; their own layer's files are not there yet."""
    for entry in layer:
        parent, _, name = entry.path.rpartition(b"/")
        if name == OPAQUE:
            _remove_below(merged, parent)
        elif name.startswith(WHITEOUT):
            hidden = entry.path.replace(WHITEOUT, b"")
            _remove_below(merged, hidden)
            merged.pop(hidden, None)


def _remove_below(merged, path):
    for below in [other for other in merged if other.startswith(path + b"/")]:
        del merged[below]


def _merge(merged, layer):
    for entry in layer:
        if entry.path.rpartition(b"/")[2].startswith(WHITEOUT):
            continue
        if entry.kind != "directory":
            _remove_below(merged, entry.path)
        # Names of one file share one entry.
        merged[entry.path] = merged[entry.target] if entry.kind == "link" else entry


def _described(path, entry):
    described = {
        "gid": entry.gid,
        "kind": entry.kind,
        "mode": f"{entry.mode:04o}",
        "mtime": seconds(entry.mtime_ns),
        "path": _listed(path),
        "uid": entry.uid,
    }
    if entry.kind == "file":
        described |= {"size": len(entry.content), "digest": digest_of(entry.content)}
    elif entry.kind == "symlink":
        described["target"] = escape(entry.target)
    elif entry.kind in ("char", "block"):
        described["major"], described["minor"] = entry.device
    xattrs = {name: value.hex() for name, value in sorted(entry.xattrs.items()) if value != NO_ACL}
    if xattrs:
        described["xattrs"] = xattrs
    return described


def _listed(path):
    return escape(b"/" + path)


# Images


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def image_files(name, layers, kinds=("docker", "oci"), command=()):
    """The files of an archive of an image under a full name, by path: for `docker load`, for OCI's tools, or for both.

    The blobs of both lie at the same place, so an archive that is both is hardly larger.
    """
    tars = [tar(layer) for layer in layers]
    files = {}

    def blob(content):
        path = "blobs/sha256/" + hashlib.sha256(content).hexdigest()
        files[path] = content
        return path

    def descriptor(media_type, content):
        blob(content)
        media_type = f"application/vnd.oci.image.{media_type}"
        return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}

    config = document({
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], **({"Cmd": list(command)} if command else {})},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(content) for content in tars]},
    })
    if "docker" in kinds:
        manifest = {"Config": blob(config), "RepoTags": [name], "Layers": [blob(content) for content in tars]}
        files["manifest.json"] = document([manifest])
    if "oci" in kinds:
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", config),
            "layers": [descriptor("layer.v1.tar", content) for content in tars],
        }
        entry = descriptor("manifest.v1+json", document(manifest))
        # containerd, and Docker with its store, read the first; skopeo and podman the second.
        entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
        files["index.json"] = document({"schemaVersion": 2, "manifests": [entry]})
        files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    return files


def document(value):
    return json.dumps(value, sort_keys=True).encode()


def write_archive(path, files):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_directory(path, files):
    for name, content in files.items():
        Path(path, name).parent.mkdir(parents=True, exist_ok=True)
        Path(path, name).write_bytes(content)
    return path
