"""Several images as inputs of one step."""

load(":step.bzl", "below", "in_tree", "listed", "named")

def name_records(images):
    """Gives the records of images and indexes names.

    Args:
      images: list of ImageInfo and IndexInfo, in which one may be several times.

    Returns:
      A struct with `inputs` (a list of struct as `named` makes them) and `names` (input name by record).
    """
    records = {image.record: None for image in images}.keys()
    inputs = named("image", records)
    return struct(inputs = inputs, names = {input.file: input.name for input in inputs})

def name_source(source, name):
    """Makes a source an input of a step.

    Args:
      source: SourceInfo.
      name: by which parameters speak of it.

    Returns:
      A struct with `inputs` (a list of struct as `named` makes them), `directories` (a list of struct as `listed` makes them) and
      `param`, how parameters say what it is.
    """
    if source.kind == "archive":
        inputs = [struct(name = name, file = source.files.to_list()[0])]
        return struct(inputs = inputs, directories = [], param = {"archive": name})
    path_of = in_tree if source.prefix == None else below(source.prefix)
    directory = listed(name, [(source.files, path_of)], source.files)
    return struct(inputs = [], directories = [directory], param = {"layout": name})

def name_blobs(images):
    """Gives the blobs of images names.

    Args:
      images: list of ImageInfo and IndexInfo.

    Returns:
      A struct with `inputs` (a list of struct as `named` makes them), `directories` (a list of struct as `listed` makes them) and
      `params` (the value of the parameter `blobs`).
    """
    layers = depset(transitive = [image.blobs for image in images]).to_list()
    blobs = named("blob", [layer.blob for layer in layers])
    metadata = named("metadata", [layer.metadata for layer in layers])
    sources = [
        name_source(source, "source-%d" % number)
        for number, source in enumerate(depset(transitive = [image.sources for image in images]).to_list())
    ]
    params = [
        {"layer": blob.name, "metadata": about.name}
        for blob, about in zip(blobs, metadata)
    ]
    return struct(
        inputs = blobs + metadata + [input for source in sources for input in source.inputs],
        directories = [directory for source in sources for directory in source.directories],
        params = params + [source.param for source in sources],
    )
