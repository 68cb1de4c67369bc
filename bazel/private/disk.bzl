"""oci_disk: a seed, a store, an image or a layer becomes what an OS image takes in."""

load("//bazel/private/providers:disk_info.bzl", "DiskInfo")
load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load("//bazel/private/providers:layer_info.bzl", "LayerInfo")
load("//bazel/private/providers:seed_info.bzl", "SeedInfo")
load("//bazel/private/providers:store_info.bzl", "StoreInfo")
load(":attributes.bzl", "bad_attribute", "compression_of", "one_of")
load(":images.bzl", "name_blobs")
load(":seed.bzl", "seed_inputs")
load(":step.bzl", "run_step")
load(":store.bzl", "store_inputs")
load(":toolchain.bzl", "TOOLCHAIN")

_SOURCES = ["seed", "store", "image", "layer"]

# The highest level of each compression.
_LEVELS = {"lz4": 12, "none": 0, "zstd": 19}

def _of_layer(ctx):
    inputs = [struct(name = "layer", file = ctx.attr.layer[LayerInfo].blob)]
    return struct(inputs = inputs, directories = [], disk = {"layer": "layer"}, params = {"blobs": []})

def _of_image(ctx):
    image = ctx.attr.image[ImageInfo]
    blobs = name_blobs([image])
    return struct(
        inputs = [struct(name = "image", file = image.record)] + blobs.inputs,
        directories = blobs.directories,
        disk = {"image": "image"},
        params = {"blobs": blobs.params},
    )

def _of_seed(inputs, disk):
    return struct(
        inputs = inputs.records + inputs.blobs.inputs,
        directories = inputs.blobs.directories,
        disk = disk,
        params = {"blobs": inputs.blobs.params, "seed": inputs.table},
    )

def _source(ctx):
    """Returns inputs, and what they are in parameters."""
    given = [name for name in _SOURCES if getattr(ctx.attr, name)]
    if len(given) != 1:
        found = " and ".join(["`%s`" % name for name in given]) or "none"
        bad_attribute(ctx, given[0] if given else "seed", "expected one of `seed`, `store`, `image` and `layer`, found " + found)
    if ctx.attr.layer:
        return _of_layer(ctx)
    if ctx.attr.image:
        return _of_image(ctx)
    if ctx.attr.store:
        store = ctx.attr.store[StoreInfo]
        return _of_seed(store_inputs(store.seed, store.engine), {"store": "seed." + store.engine})
    return _of_seed(seed_inputs(ctx.attr.seed[SeedInfo]), {"seed": "seed"})

def _erofs_options(ctx, medium):
    """Returns what only EROFS has."""
    options = {}
    compression = compression_of(ctx, _LEVELS)
    if compression != "none":
        options["compression"] = compression
    for attribute in ["label", "uuid"]:
        if getattr(ctx.attr, attribute):
            options[attribute] = getattr(ctx.attr, attribute)
    if medium != "erofs":
        for attribute in options:
            bad_attribute(ctx, attribute, "only `erofs` has it, found medium `%s`" % medium)
    return options

def _oci_disk_impl(ctx):
    medium = one_of(ctx, "medium", ["erofs", "tar", "cpio"])
    source = _source(ctx)
    disk = ctx.actions.declare_file("%s.%s" % (ctx.label.name, medium))
    metadata = ctx.actions.declare_file(ctx.label.name + ".disk.json")
    run_step(
        ctx,
        step = "disk",
        mnemonic = "OciDisk",
        params = source.params | {"disk": source.disk | _erofs_options(ctx, medium) | {"medium": medium}},
        inputs = source.inputs,
        directories = source.directories,
        outputs = {"--out": disk, "--metadata": metadata},
    )
    return [
        DefaultInfo(files = depset([disk])),
        OutputGroupInfo(metadata = depset([metadata])),
        DiskInfo(disk = disk, medium = medium, metadata = metadata),
    ]

oci_disk = rule(
    implementation = _oci_disk_impl,
    doc = """Makes a file system, tar or cpio archive that an OS image takes in.

Of a seed: its medium form, with every layer unpacked as the engine has it. Of a store: what `oci_store` makes, for the target's root.
Of an image: its file system, all layers put over each other. Of a layer: in overlay form, as over another one. Output group
`metadata`: digest and size, and of a disk with a seed its id and what `--expect-seed` of the loader wants.

```starlark
oci_disk(
    name = "appliance_disk",
    label = "ociseed",
    medium = "erofs",
    seed = ":appliance",
)
```""",
    attrs = {
        "compression": attr.string(
            doc = "How files are compressed, in `erofs` alone: `none`, `lz4` or `zstd`. Linux reads LZ4 since 4.19 and zstd since 6.10.",
            default = "none",
        ),
        "compression_level": attr.int(
            doc = "1 to 12 for lz4, 1 to 19 for zstd; 0 is the default level, 9 or 3.",
        ),
        "image": attr.label(
            doc = "The image whose file system it holds.",
            providers = [ImageInfo],
        ),
        "label": attr.string(
            doc = "Of `erofs`: the volume's label, at most 15 bytes.",
        ),
        "layer": attr.label(
            doc = "The layer that it holds.",
            providers = [LayerInfo],
        ),
        "medium": attr.string(
            doc = "What it is: `erofs`, a file system, or an archive, `tar` or `cpio`.",
            default = "erofs",
        ),
        "seed": attr.label(
            doc = "The seed whose medium form it holds.",
            providers = [SeedInfo],
        ),
        "store": attr.label(
            doc = "The `oci_store` that it holds.",
            providers = [StoreInfo],
        ),
        "uuid": attr.string(
            doc = "Of `erofs`: the volume's UUID; unless said it follows from what is in it.",
        ),
    },
    provides = [DiskInfo],
    toolchains = [TOOLCHAIN],
)
