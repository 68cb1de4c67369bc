"""Makes a directory with everything that a file system can hold without being root."""

import os
import struct
import sys

root = sys.argv[1]
os.chdir(root)


def write(path, data=b"", mode=0o644):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


os.mkdir("dir", 0o750)
write("dir/setuid", b"x" * 700, 0o4711)
write("plain", b"some text\n")
os.link("plain", "zlink")
os.symlink("../plain", "dir/symlink")
os.mkfifo("fifo", 0o600)
os.chmod("fifo", 0o600)
with open("sparse", "wb") as file:
    for index in range(30):
        file.seek(index * 200_000 + 65536)
        file.write(b"data %d" % index)
    file.truncate(30 * 200_000)
os.chmod("sparse", 0o644)

long = len(sys.argv) > 2
if long:
    os.makedirs("deep/" + "/".join(["d" * 90] * 4))
    write("deep/" + "/".join(["d" * 90] * 4) + "/" + "f" * 200, b"far away")
    os.symlink("t" * 300, "longlink")
    write("n\nl ünïcode", b"named")
    write(b"not\xffutf8", b"bytes")
    os.link("deep/" + "/".join(["d" * 90] * 4) + "/" + "f" * 200, "zz")
    os.setxattr("plain", "user.text", b"value")
    os.setxattr("plain", "user.binary", b"\x00\n=\xff\n9 a=b\n")
    os.setxattr("plain", "user.empty", b"")
    # A number without a name: GNU tar writes names where the machine has some, which no other machine understands.
    entries = [(1, 6, -1), (2, 4, 54321), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr("dir/setuid", "system.posix_acl_access", acl)
    os.setxattr("dir", "system.posix_acl_default", acl)

for parent, directories, files in os.walk(b".", topdown=False):
    for name in [*directories, *files]:
        os.utime(os.path.join(parent, name), ns=(0, 1_700_000_000_123_456_789), follow_symlinks=False)
