"""A one-layer image with a static busybox: enough to see that an engine of a root works."""

import json
from pathlib import Path

import probe_image
from probe_image import file, symlink


def write_archive(path, name):
    """Writes the image under a full reference, such as docker.io/library/tiny:1; returns the digest of its manifest."""
    layer = [file(b"bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)]
    layer += [symlink(b"bin/" + applet, b"busybox") for applet in (b"echo", b"sh", b"sleep")]
    # Docker's old store takes only archives that are Docker's too.
    files = probe_image.image_files(name, [layer], ("docker", "oci"))
    probe_image.write_archive(path, files)
    return json.loads(files["index.json"])["manifests"][0]["digest"]
