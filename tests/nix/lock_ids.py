"""Prints what a lock pins: digests of layers and manifests, and the seed id.

The id is computed here from the format's description, not asked of the program.
"""

import hashlib
import json
import sys

text = open(sys.argv[1], encoding="utf-8").read()
lock = json.loads(text)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


assert canonical(lock) == text, "the lock is not canonical JSON"
for image in lock["content"]["images"]:
    print("manifest", image["manifest"]["digest"], *image["names"])
    for layer in image["layers"]:
        print("layer", layer["digest"])
print("seed id", "sha256:" + hashlib.sha256(canonical(lock["content"]).encode()).hexdigest())
