"""LayerInfo: one layer of an image."""

LayerInfo = provider(
    doc = "A layer of an image.",
    fields = {
        "blob": "File: the layer as images hold it, a tar, perhaps compressed.",
        "metadata": "File: the layer metadata (docs/format.md), from which manifests are made without the blob.",
    },
)
