"""oci_layer: files become a layer."""

load("//bazel/private/providers:layer_info.bzl", "LayerInfo")
load(":attributes.bzl", "bad_attribute", "one_of")
load(":step.bzl", "named", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

def _compression(ctx):
    compression = one_of(ctx, "compression", ["none", "zstd"])
    level = ctx.attr.compression_level
    if level == 0:
        return compression
    if compression != "zstd":
        bad_attribute(ctx, "compression_level", "expected 0 for compression `%s`, found %d" % (compression, level))
    if level < 1 or level > 19:
        bad_attribute(ctx, "compression_level", "expected 1 to 19, or 0 for the default, found %d" % level)
    return {"zstd": level}

def _only_file(ctx, target):
    """Returns the file that a target makes."""
    made = target[DefaultInfo].files.to_list()
    if len(made) != 1:
        bad_attribute(ctx, "files", "expected a target that makes one file, found %d files of `%s`" % (
            len(made),
            target.label,
        ))

    # Bazel's sandbox lays the files of a directory out as links to somewhere else, and links in a directory stay links.
    if made[0].is_directory:
        bad_attribute(ctx, "files", "expected a target that makes a file, found the directory of `%s`" % target.label)
    return made[0]

def _file_inputs(ctx):
    """Returns inputs and entries for what `files` names."""
    inputs = named("file", [_only_file(ctx, target) for target in ctx.attr.files])
    return inputs, [
        {"file": input.name, "to": path}
        for input, path in zip(inputs, ctx.attr.files.values())
    ]

def _merge_paths(ctx, groups):
    """Returns entries by path; fails where one path is made twice."""
    merged = {}
    for attribute, entries in groups.items():
        for path, entry in entries:
            if not path.startswith("/"):
                bad_attribute(ctx, attribute, "expected an absolute path, found `%s`" % path)
            if path in merged:
                bad_attribute(ctx, attribute, "`%s` is already made by attribute `%s`" % (path, merged[path].attribute))
            merged[path] = struct(attribute = attribute, entry = entry)
    return merged

def _set(ctx, merged, attribute, key, refused):
    """Adds a key to the entries whose paths an attribute has."""
    for path, value in getattr(ctx.attr, attribute).items():
        if path not in merged:
            bad_attribute(ctx, attribute, "nothing here makes `%s`" % path)
        for kind in refused:
            if kind in merged[path].entry:
                bad_attribute(ctx, attribute, "`%s` is a `%s`, which has no %s of its own" % (path, kind, key))
        merged[path].entry[key] = value

def _entries(ctx, files):
    merged = _merge_paths(ctx, {
        "files": [(entry["to"], entry) for entry in files],
        "texts": [(path, {"text": text, "to": path}) for path, text in ctx.attr.texts.items()],
        "symlinks": [(path, {"symlink": to, "to": path}) for path, to in ctx.attr.symlinks.items()],
        "mkdirs": [(path, {"mkdir": path}) for path in ctx.attr.mkdirs],
    })
    _set(ctx, merged, "modes", "mode", refused = ["symlink"])
    _set(ctx, merged, "owners", "owner", refused = [])
    return [made.entry for made in merged.values()]

def _oci_layer_impl(ctx):
    compression = _compression(ctx)
    inputs, files = _file_inputs(ctx)
    blob = ctx.actions.declare_file(ctx.label.name + (".tar" if compression == "none" else ".tar.zst"))
    metadata = ctx.actions.declare_file(ctx.label.name + ".layer.json")
    run_step(
        ctx,
        step = "layer",
        mnemonic = "OciLayer",
        params = {"layer": {"add": _entries(ctx, files), "compression": compression}},
        inputs = inputs,
        outputs = {"--out": blob, "--metadata": metadata},
    )
    return [
        DefaultInfo(files = depset([blob])),
        OutputGroupInfo(metadata = depset([metadata])),
        LayerInfo(blob = blob, metadata = metadata),
    ]

oci_layer = rule(
    implementation = _oci_layer_impl,
    doc = """Makes a layer: files, texts, links and directories in a tar.

Of a file only its content and whether it is executable get into the layer: no owner, time or other mode bits. Parent
directories are made as they are needed, 0755 and owned by 0:0. Output group `metadata`: the layer metadata.

```starlark
oci_layer(
    name = "site",
    files = {":index.html": "/srv/index.html"},
    symlinks = {"/srv/www": "/srv"},
    mkdirs = ["/var/empty"],
    modes = {"/var/empty": "0555"},
)
```""",
    attrs = {
        "compression": attr.string(
            doc = "`zstd` or `none`.",
            default = "zstd",
        ),
        "compression_level": attr.int(
            doc = "1 to 19 for zstd; 0 is the default level, 3.",
        ),
        "files": attr.label_keyed_string_dict(
            doc = """Where each file goes, an absolute path.

A target must make one file. Files that are executable become 0755, others 0644. Bazel makes each file that an action
writes executable: where that is not meant, say so in `modes`.""",
            allow_files = True,
        ),
        "mkdirs": attr.string_list(
            doc = "Directories to make, as absolute paths; 0755 unless `modes` says otherwise.",
        ),
        "modes": attr.string_dict(
            doc = "Permission bits by path, as `0644`; for paths of `files`, `texts` and `mkdirs`.",
        ),
        "owners": attr.string_dict(
            doc = "Owners by path, as `UID:GID`; 0:0 unless said.",
        ),
        "symlinks": attr.string_dict(
            doc = "Symbolic links to make: the target by path. The target is kept as it is.",
        ),
        "texts": attr.string_dict(
            doc = "Files to make: the content by path; 0644 unless `modes` says otherwise.",
        ),
    },
    provides = [LayerInfo],
    toolchains = [TOOLCHAIN],
)
