"""A one-layer image with a static busybox as an OCI archive: enough to see that an engine of a root works."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def member(archive, name, content, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))


def layer():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member(archive, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        for applet in ("echo", "sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()


def write_archive(path, name):
    """Writes the image as an OCI archive under a full reference, such as docker.io/library/tiny:1."""
    blobs = []

    def descriptor(media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        blobs.append((digest, content))
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def document(media_type, value):
        return descriptor(media_type, json.dumps(value, sort_keys=True).encode())

    content = layer()
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]},
    }
    oci = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": document(f"{oci}.config.v1+json", config),
        "layers": [descriptor(f"{oci}.layer.v1.tar", content)],
    }
    entry = document(f"{oci}.manifest.v1+json", manifest)
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "mediaType": f"{oci}.index.v1+json", "manifests": [entry]}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        member(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        member(archive, "index.json", json.dumps(index).encode())
        for digest, blob in blobs:
            member(archive, f"blobs/sha256/{digest}", blob)
    return entry["digest"]
