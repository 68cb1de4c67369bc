"""ImageInfo: one image for one platform."""

ImageInfo = provider(
    doc = "An image for one platform: its documents, and where its layers are.",
    fields = {
        "blobs": "depset of LayerInfo: the layers that were built here; no order.",
        "record": "File: the image record (docs/format.md), manifest and configuration in one JSON file.",
        "sources": "depset of SourceInfo: where the other layers are; no order.",
    },
)
