"""oci_index: images for several platforms become an index."""

load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load("//bazel/private/providers:index_info.bzl", "IndexInfo")
load(":attributes.bzl", "bad_attribute")
load(":images.bzl", "name_records")
load(":step.bzl", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

_PLATFORMS = "//command_line_option:platforms"

def _for_each_platform_impl(settings, attr):
    if not attr.platforms:
        return {"unchanged": {_PLATFORMS: settings[_PLATFORMS]}}

    # Bazel hands the results out sorted by key; images of an index have an order.
    return {("000%d" % number)[-4:]: {_PLATFORMS: str(platform)} for number, platform in enumerate(attr.platforms)}

_for_each_platform = transition(
    implementation = _for_each_platform_impl,
    inputs = [_PLATFORMS],
    outputs = [_PLATFORMS],
)

def _images(ctx):
    """Returns the images, platform by platform."""
    images = []
    for key in sorted(ctx.split_attr.images.keys()):
        images += [target[ImageInfo] for target in ctx.split_attr.images[key]]
    return images

def _oci_index_impl(ctx):
    if not ctx.attr.images:
        bad_attribute(ctx, "images", "expected at least one image, found none")
    labels = [platform.label for platform in ctx.attr.platforms]
    for number, label in enumerate(labels):
        if label in labels[:number]:
            bad_attribute(ctx, "platforms", "`%s` is there twice" % label)
    images = _images(ctx)
    records = name_records(images)
    index = {"images": [records.names[image.record] for image in images]}
    if ctx.attr.annotations:
        index["annotations"] = ctx.attr.annotations
    record = ctx.actions.declare_file(ctx.label.name + ".index.json")
    run_step(
        ctx,
        step = "index",
        mnemonic = "OciIndex",
        params = {"index": index},
        inputs = records.inputs,
        outputs = {"--out": record},
    )
    return [
        DefaultInfo(files = depset([record])),
        IndexInfo(
            blobs = depset(transitive = [image.blobs for image in images]),
            record = record,
            sources = depset(transitive = [image.sources for image in images]),
        ),
    ]

oci_index = rule(
    implementation = _oci_index_impl,
    doc = """Makes an index: images for several platforms under one name.

With `platforms` each image is built once for each of them; without, images are taken as they are. Only image records are read.

```starlark
oci_index(
    name = "web_everywhere",
    images = [":web"],
    platforms = ["//platforms:linux_amd64", "//platforms:linux_arm64"],
)
```""",
    attrs = {
        "annotations": attr.string_dict(
            doc = "Annotations of the index.",
        ),
        "images": attr.label_list(
            doc = "Images, in their order in the index; no two for one platform.",
            cfg = _for_each_platform,
            providers = [ImageInfo],
        ),
        "platforms": attr.label_list(
            doc = "The platforms that `images` are built for, in their order in the index; none twice.",
            providers = [platform_common.PlatformInfo],
        ),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
    provides = [IndexInfo],
    toolchains = [TOOLCHAIN],
)
