"""SeedInfo: images with their names on the target."""

SeedInfo = provider(
    doc = "A seed: images, and under which names and in which way a target gets them.",
    fields = {
        "directory": "File: a directory, the seed in host form (docs/format.md).",
        "images": """depset of struct, one for each image and name, no order:
            `file` the name of its archive in a preseed directory, without `.tar`,
            `image` is the ImageInfo,
            `name` the full name on the target,
            `namespaces` a tuple of containerd namespaces,
            `image_class` is `critical` or `background`,
            `pin` a bool, whether garbage collection must spare it.""",
        "lock": "File: `seed.json` alone, made without any layer blob.",
        "options": "dict: what the spec's table for a seed (docs/format.md) has beside its images.",
    },
)
