"""SeedInfo: images with their names on the target."""

SeedInfo = provider(
    doc = "A seed: images, and under which names and in which way a target gets them.",
    fields = {
        "directory": "File: a directory, the seed in host form (docs/format.md).",
        "images": """depset of struct, one for each image and name, no order:

- `file`: string, the name of its archive in a preseed directory, without `.tar`
- `image`: ImageInfo
- `image_class`: string, `critical` or `background`
- `name`: string, the full name on the target
- `namespaces`: tuple of strings, the containerd namespaces that get it
- `pin`: bool, whether garbage collection must spare it""",
        "lock": "File: `seed.json` alone, made without any layer blob.",
        "options": "dict: what the spec's table for a seed (docs/format.md) has beside its images.",
    },
)
