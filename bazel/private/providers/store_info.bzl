"""StoreInfo: a seed as one engine reads it."""

StoreInfo = provider(
    doc = "A store: a seed's images, arranged as one engine expects them.",
    fields = {
        "engine": "string: `archives` or `containerd`.",
        "seed": "SeedInfo: what it is made of.",
        "store": "File: a tar, or a directory for `archives` in that form.",
    },
)
