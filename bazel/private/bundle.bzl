"""oci_bundle: images become a directory or a tar that other tools read."""

load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load(":attributes.bzl", "bad_attribute", "one_of", "split_names")
load(":images.bzl", "name_blobs", "name_records")
load(":step.bzl", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

def _images_by_name(ctx):
    """Returns ImageInfo by full name."""
    images = {}
    for target, text in ctx.attr.images.items():
        for name in split_names(ctx, "images", text):
            if name in images:
                bad_attribute(ctx, "images", "`%s` is the name of two images" % name)
            images[name] = target[ImageInfo]
    if not images:
        bad_attribute(ctx, "images", "expected at least one image, found none")
    return images

def _oci_bundle_impl(ctx):
    form = one_of(ctx, "format", ["layout", "oci-archive"])
    images = _images_by_name(ctx)
    records = name_records(images.values())
    blobs = name_blobs(images.values())
    if form == "layout":
        out = ctx.actions.declare_directory(ctx.label.name)
    else:
        out = ctx.actions.declare_file(ctx.label.name + ".tar")
    run_step(
        ctx,
        step = "bundle",
        mnemonic = "OciBundle",
        params = {
            "blobs": blobs.params,
            "bundle": {
                "format": form,
                "images": {name: records.names[image.record] for name, image in images.items()},
            },
        },
        inputs = records.inputs + blobs.inputs,
        outputs = {"--out": out},
    )
    return [DefaultInfo(files = depset([out]))]

oci_bundle = rule(
    implementation = _oci_bundle_impl,
    doc = """Puts images with their layers into one directory or tar.

```starlark
oci_bundle(
    name = "web_bundle",
    images = {":web": "docker.io/library/web:1"},
)
```""",
    attrs = {
        "format": attr.string(
            doc = "`oci-archive`, a tar, or `layout`, a directory: both are OCI image layouts.",
            default = "oci-archive",
        ),
        "images": attr.label_keyed_string_dict(
            doc = "Full name of each image, as `docker.io/library/web:1`; several names have spaces between them.",
            mandatory = True,
            providers = [ImageInfo],
        ),
    },
    toolchains = [TOOLCHAIN],
)
