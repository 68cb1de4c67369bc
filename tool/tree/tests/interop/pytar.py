"""Writes a tar with Python's tarfile, or prints what it sees in one (both over standard streams)."""

import io
import json
import sys
import tarfile


def entries(long):
    def info(name, kind, **values):
        made = tarfile.TarInfo(name)
        made.type = kind
        made.mode, made.mtime, made.uid, made.gid, made.uname, made.gname = 0o640, 1_700_000_000, 5, 6, "web", "www"
        for key, value in values.items():
            setattr(made, key, value)
        return made

    yield info("dir", tarfile.DIRTYPE, mode=0o750), b""
    yield info("dir/file", tarfile.REGTYPE, mode=0o4755), b"x" * 1000
    yield info("dir/hard", tarfile.LNKTYPE, linkname="dir/file", mode=0o4755), b""
    yield info("link", tarfile.SYMTYPE, linkname="../else/where"), b""
    yield info("char", tarfile.CHRTYPE, devmajor=1, devminor=3), b""
    yield info("block", tarfile.BLKTYPE, devmajor=259, devminor=300), b""
    yield info("fifo", tarfile.FIFOTYPE), b""
    yield info("cont", tarfile.CONTTYPE), b"contiguous"
    if long:
        yield info("p/" * 120 + "name", tarfile.REGTYPE, uid=4_000_000_000, gid=3_000_000), b"deep"
        yield info("ünï", tarfile.SYMTYPE, linkname="ü" * 100), b""


def write(form):
    formats = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=formats[form]) as tar:
        for info, data in entries(form != "ustar"):
            if form == "pax" and info.name == "link":
                info.mtime = 1_700_000_000.5
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def show():
    with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()), errors="surrogateescape") as tar:
        for info in tar:
            data = tar.extractfile(info).read() if info.isreg() else b""
            xattrs = {
                key.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape").hex()
                for key, value in info.pax_headers.items()
                if key.startswith("SCHILY.xattr.")
            }
            seen = {
                "path": info.name.encode("utf-8", "surrogateescape").hex(),
                "type": info.type.decode(),
                "mode": info.mode,
                "owner": [info.uid, info.gid, info.uname, info.gname],
                "mtime": int(info.mtime // 1),
                "target": info.linkname.encode("utf-8", "surrogateescape").hex(),
                "device": [info.devmajor, info.devminor] if info.ischr() or info.isblk() else None,
                "data": data.hex(),
                "xattrs": xattrs,
            }
            print(json.dumps(seen, sort_keys=True))


if sys.argv[1] == "show":
    show()
else:
    write(sys.argv[1])
