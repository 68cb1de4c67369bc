"""Inputs of many small files, made and not found."""

import io
import tarfile


def name_of(number):
    """A path such as real file systems have: 60 bytes long on average, a thousand files a directory."""
    return f"usr/share/some/package/directory-{number // 1000:05}/a-file-{number:08}.txt"


def make_tar(path, files):
    """Makes a tar of so many small files."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(files):
            member = tarfile.TarInfo(name_of(number))
            content = b"%d\n" % number
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def make_directory(path, files, *, start=0):
    """Makes so many small files below a directory; those before `start` are there."""
    for number in range(start, files):
        file = path / name_of(number)
        if number % 1000 == 0:
            file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"%d\n" % number)
