"""SourceInfo: an image layout or archive that something else made."""

SourceInfo = provider(
    doc = "An image layout or archive that something else made, with the layers of images that are imported from it.",
    fields = {
        "files": "depset of File: of an archive the one tar; of a layout a directory that an action made, or its files.",
        "kind": "string: `layout` or `archive`.",
        "prefix": "string: of the files of a layout, how their short paths begin, up to where their paths in the layout do; else None.",
    },
)
