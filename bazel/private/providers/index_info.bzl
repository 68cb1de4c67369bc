"""IndexInfo: images for several platforms."""

IndexInfo = provider(
    doc = "An index: images for several platforms under one name.",
    fields = {
        "blobs": "depset of LayerInfo: the layers of its images that were built here; no order.",
        "record": "File: the index record (docs/format.md), the index and the records of its images in one JSON file.",
        "sources": "depset of SourceInfo: where the other layers are; no order.",
    },
)
