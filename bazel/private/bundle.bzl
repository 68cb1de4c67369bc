"""oci_bundle: images become a directory or a tar that other tools read."""

load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load("//bazel/private/providers:index_info.bzl", "IndexInfo")
load(":attributes.bzl", "bad_attribute", "one_of", "split_names")
load(":images.bzl", "name_blobs", "name_records")
load(":step.bzl", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

# The file's name ends with these; a layout is a directory.
_EXTENSIONS = {"docker-archive": ".tar", "layout": "", "oci-archive": ".tar"}

def _by_name(ctx, form):
    """Returns images and indexes by full name."""
    images, indexes = {}, {}
    for target, text in ctx.attr.images.items():
        for name in split_names(ctx, "images", text):
            if name in images or name in indexes:
                bad_attribute(ctx, "images", "`%s` is the name of two images" % name)
            if ImageInfo in target:
                images[name] = target[ImageInfo]
            elif form == "docker-archive":
                bad_attribute(ctx, "images", "`%s` is an index, which no docker-archive holds; expected format `oci-archive` or `layout`" % (
                    target.label
                ))
            else:
                indexes[name] = target[IndexInfo]
    if not images and not indexes:
        bad_attribute(ctx, "images", "expected at least one image, found none")
    return images, indexes

def _oci_bundle_impl(ctx):
    form = one_of(ctx, "format", _EXTENSIONS.keys())
    images, indexes = _by_name(ctx, form)
    all = images.values() + indexes.values()
    records, blobs = name_records(all), name_blobs(all)
    if form == "layout":
        out = ctx.actions.declare_directory(ctx.label.name)
    else:
        out = ctx.actions.declare_file(ctx.label.name + _EXTENSIONS[form])
    bundle = {
        "format": form,
        "images": {name: records.names[image.record] for name, image in images.items()},
    }
    if indexes:
        bundle["indexes"] = {name: records.names[index.record] for name, index in indexes.items()}
    if not ctx.attr.referrers:
        bundle["referrers"] = False
    run_step(
        ctx,
        step = "bundle",
        mnemonic = "OciBundle",
        params = {"blobs": blobs.params, "bundle": bundle},
        inputs = records.inputs + blobs.inputs,
        directories = blobs.directories,
        outputs = {"--out": out},
    )
    return [DefaultInfo(files = depset([out]))]

oci_bundle = rule(
    implementation = _oci_bundle_impl,
    doc = """Puts images and indexes with their layers into one directory or tar.

```starlark
oci_bundle(
    name = "web_bundle",
    images = {":web": "docker.io/library/web:1"},
)
```""",
    attrs = {
        "format": attr.string(
            doc = """`oci-archive`, a tar, or `layout`, a directory: both are OCI image layouts. Or `docker-archive`, a tar that `docker load`
reads, of any version; for that no layer may be compressed with zstd.""",
            default = "oci-archive",
        ),
        "images": attr.label_keyed_string_dict(
            doc = "Full name of each image or index, as `docker.io/library/web:1`; several names have spaces between them.",
            mandatory = True,
            providers = [[ImageInfo], [IndexInfo]],
        ),
        "referrers": attr.bool(
            doc = "Whether signatures, attestations and the like that imported images came with are carried along.",
            default = True,
        ),
    },
    toolchains = [TOOLCHAIN],
)
