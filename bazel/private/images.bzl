"""Several images as inputs of one step."""

load(":step.bzl", "named")

def name_records(images):
    """Gives the records of images names.

    Args:
      images: list of ImageInfo, in which one image may be several times.

    Returns:
      A struct with `inputs` (a list of struct as `named` makes them) and `names` (input name by record).
    """
    records = {image.record: None for image in images}.keys()
    inputs = named("image", records)
    return struct(inputs = inputs, names = {input.file: input.name for input in inputs})

def name_blobs(images):
    """Gives the blobs of images names.

    Args:
      images: list of ImageInfo.

    Returns:
      A struct with `inputs` (a list of struct as `named` makes them) and `params` (the value of the parameter `blobs`).
    """
    layers = depset(transitive = [image.blobs for image in images]).to_list()
    blobs = named("blob", [layer.blob for layer in layers])
    metadata = named("metadata", [layer.metadata for layer in layers])
    return struct(
        inputs = blobs + metadata,
        params = [
            {"layer": blob.name, "metadata": about.name}
            for blob, about in zip(blobs, metadata)
        ],
    )
