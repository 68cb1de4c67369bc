"""oci_image: layers become an image."""

load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load("//bazel/private/providers:layer_info.bzl", "LayerInfo")
load(":attributes.bzl", "bad_attribute", "one_of")
load(":platform.bzl", "PLATFORM_ATTRS", "target_platform")
load(":step.bzl", "named", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

# Attributes that go to the tool as they are, under the key of the spec.
_CONFIGURATION = {
    "annotations": "annotations",
    "author": "author",
    "cmd": "cmd",
    "created": "created",
    "entrypoint": "entrypoint",
    "env": "env",
    "exposed_ports": "exposed-ports",
    "labels": "labels",
    "stop_signal": "stop-signal",
    "user": "user",
    "volumes": "volumes",
    "working_dir": "working-dir",
}

def _image(ctx, layers):
    """Returns the spec's table for the image."""
    image = {"layers": layers}
    if ctx.attr.base:
        image["base"] = {"image": "base"}
    if ctx.attr.platform:
        image["platform"] = ctx.attr.platform
    elif not ctx.attr.base:
        image["platform"] = target_platform(ctx, "platform")
    if one_of(ctx, "media_types", ["keep", "oci"]) != "keep":
        image["media-types"] = ctx.attr.media_types
    if ctx.attr.history:
        if len(ctx.attr.history) != len(layers):
            bad_attribute(ctx, "history", "expected a text for each of %d layers, found %d" % (len(layers), len(ctx.attr.history)))
        image["history"] = [{"created-by": text} for text in ctx.attr.history]
    for attribute, key in _CONFIGURATION.items():
        value = getattr(ctx.attr, attribute)
        if value:
            image[key] = value
    return image

def _oci_image_impl(ctx):
    if not ctx.attr.layers and not ctx.attr.base:
        bad_attribute(ctx, "layers", "expected at least one layer or a `base`, found none")
    layers = [target[LayerInfo] for target in ctx.attr.layers]
    metadata = named("layer", [layer.metadata for layer in layers])
    base = ctx.attr.base[ImageInfo] if ctx.attr.base else None
    record = ctx.actions.declare_file(ctx.label.name + ".image.json")
    run_step(
        ctx,
        step = "image",
        mnemonic = "OciImage",
        params = {"image": _image(ctx, [layer.name for layer in metadata])},
        inputs = metadata + ([struct(name = "base", file = base.record)] if base else []),
        outputs = {"--out": record},
    )
    return [
        DefaultInfo(files = depset([record])),
        ImageInfo(
            blobs = depset(layers, transitive = [base.blobs] if base else []),
            record = record,
            sources = base.sources if base else depset(),
        ),
    ]

oci_image = rule(
    implementation = _oci_image_impl,
    doc = """Makes an image for one platform of layers.

Only the layers' metadata is read, so this needs no layer blob. The output is an image record, which `oci_index`, `oci_bundle` and
`oci_seed` take. An image with a `base` and nothing else is the base, with its digest.

```starlark
oci_image(
    name = "web",
    layers = [":app", ":site"],
    entrypoint = ["/usr/bin/server"],
    exposed_ports = ["8080/tcp"],
)
```""",
    attrs = PLATFORM_ATTRS | {
        "annotations": attr.string_dict(
            doc = "Annotations of the manifest; each name replaces the base's.",
        ),
        "author": attr.string(
            doc = "Who made the image.",
        ),
        "base": attr.label(
            doc = "The image below: an `oci_image` or `oci_import`.",
            providers = [ImageInfo],
        ),
        "cmd": attr.string_list(
            doc = "Arguments that a user may replace.",
        ),
        "created": attr.string(
            doc = "When the image was made, as `2026-01-31T12:00:00Z`; the epoch unless said.",
        ),
        "entrypoint": attr.string_list(
            doc = "The program with its fixed arguments; alone it drops the base's `cmd`.",
        ),
        "env": attr.string_dict(
            doc = "Environment variables; each name replaces the base's.",
        ),
        "exposed_ports": attr.string_list(
            doc = "Ports as `8080/tcp`.",
        ),
        "history": attr.string_list(
            doc = "What made each layer of `layers`, for people.",
        ),
        "labels": attr.string_dict(
            doc = "Labels: texts for people and other tools.",
        ),
        "layers": attr.label_list(
            doc = "Layers, bottom first, over those of `base`; without a base at least one.",
            providers = [LayerInfo],
        ),
        "media_types": attr.string(
            doc = "`keep`, or `oci`: Docker's media types of the base become OCI's.",
            default = "keep",
        ),
        "platform": attr.string(
            doc = "`os/architecture[/variant]`; unless said the base's, else `linux` and the architecture of the target platform.",
        ),
        "stop_signal": attr.string(
            doc = "The signal that asks the program to stop, as `SIGQUIT`.",
        ),
        "user": attr.string(
            doc = "User and perhaps group, as `33:33` or names of the image's own passwd file.",
        ),
        "volumes": attr.string_list(
            doc = "Paths that engines put volumes on.",
        ),
        "working_dir": attr.string(
            doc = "The directory that the program starts in, an absolute path.",
        ),
    },
    provides = [ImageInfo],
    toolchains = [TOOLCHAIN],
)
