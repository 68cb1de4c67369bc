"""oci_import: an image that something else made."""

load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load("//bazel/private/providers:index_info.bzl", "IndexInfo")
load("//bazel/private/providers:source_info.bzl", "SourceInfo")
load(":attributes.bzl", "bad_attribute", "only_file", "package_prefix")
load(":images.bzl", "name_source")
load(":platform.bzl", "PLATFORM_ATTRS", "target_platform")
load(":step.bzl", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

def _source(ctx):
    if bool(ctx.attr.layout) == bool(ctx.attr.archive):
        bad_attribute(ctx, "layout", "expected one of `layout` and `archive`, found %s" % ("both" if ctx.attr.layout else "none"))
    if ctx.attr.archive:
        if ctx.attr.strip_prefix:
            bad_attribute(ctx, "strip_prefix", "expected none with `archive`, found `%s`" % ctx.attr.strip_prefix)
        return SourceInfo(files = depset([only_file(ctx, "archive", ctx.attr.archive)]), kind = "archive", prefix = None)
    files = ctx.attr.layout[DefaultInfo].files
    made = files.to_list()
    if not made:
        bad_attribute(ctx, "layout", "expected a target that makes files, found none of `%s`" % ctx.attr.layout.label)
    if len(made) == 1 and made[0].is_directory:
        return SourceInfo(files = files, kind = "layout", prefix = None)
    for file in made:
        if file.is_directory:
            bad_attribute(ctx, "layout", "expected one directory, or files, found both in `%s`" % ctx.attr.layout.label)
    prefix = package_prefix(ctx, "layout", ctx.attr.layout, ctx.attr.strip_prefix, made)
    if prefix + "index.json" not in [file.short_path for file in made]:
        bad_attribute(ctx, "layout", "expected `%sindex.json` among the files of `%s`; `strip_prefix` says below which directory they are" % (
            prefix,
            ctx.attr.layout.label,
        ))
    return SourceInfo(files = files, kind = "layout", prefix = prefix)

def _oci_import_impl(ctx):
    source = _source(ctx)
    input = name_source(source, "base")
    base = dict(input.param)
    if ctx.attr.reference:
        base["reference"] = ctx.attr.reference
    table = {"base": base}
    if ctx.attr.platform and ctx.attr.index:
        bad_attribute(ctx, "platform", "expected none with `index`, which has images for all of its platforms, found `%s`" % ctx.attr.platform)
    if ctx.attr.platform:
        table["platform"] = target_platform(ctx, "platform") if ctx.attr.platform == "target" else ctx.attr.platform
    kind = "index" if ctx.attr.index else "image"
    record = ctx.actions.declare_file("%s.%s.json" % (ctx.label.name, kind))
    run_step(
        ctx,
        step = kind,
        mnemonic = "OciImport",
        params = {kind: table},
        inputs = input.inputs,
        directories = input.directories,
        outputs = {"--out": record},
    )
    info = IndexInfo if ctx.attr.index else ImageInfo
    return [
        DefaultInfo(files = depset([record])),
        info(blobs = depset(), record = record, sources = depset([source])),
    ]

oci_import = rule(
    implementation = _oci_import_impl,
    doc = """Takes an image, or an index, that something else made: rules_oci, rules_img, a tar that is checked in.

Its manifest stays as it is, byte for byte, so its digest too. What comes of it is as good as an `oci_image` (or `oci_index`): a
base, or what goes into bundles and seeds.

```starlark
oci_import(
    name = "debian",
    archive = "debian.tar",  # of `docker save` or `skopeo copy … oci-archive:`
)

oci_import(
    name = "theirs",
    layout = ":their_image",  # of rules_oci; of rules_img its output group `oci_layout`
)
```""",
    attrs = PLATFORM_ATTRS | {
        "archive": attr.label(
            doc = "A tar of an image layout, or what `docker save` writes, of any version.",
            allow_files = True,
        ),
        "index": attr.bool(
            doc = "Whether to take the whole index, rather than one image.",
        ),
        "layout": attr.label(
            doc = "An OCI image layout: a directory that an action made, or a target with its files.",
            allow_files = True,
        ),
        "platform": attr.string(
            doc = "Which image to take where there are several: `os/architecture[/variant]`, or `target` for the target platform's.",
        ),
        "reference": attr.string(
            doc = "Name or digest of the image or index, where there are several.",
        ),
        "strip_prefix": attr.string(
            doc = "The directory in its package that the files of `layout` are below.",
        ),
    },
    toolchains = [TOOLCHAIN],
)
