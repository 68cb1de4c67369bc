"""oci_layer: files become a layer."""

load("//bazel/private/providers:layer_info.bzl", "LayerInfo")
load(":attributes.bzl", "bad_attribute", "one_of")
load(":runfiles.bzl", "program")
load(":step.bzl", "listed", "named", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

# The highest level of each, and what blobs are called.
_COMPRESSIONS = {
    "gzip": struct(most = 12, extension = ".tar.gz"),
    "none": struct(most = 0, extension = ".tar"),
    "zstd": struct(most = 19, extension = ".tar.zst"),
}

def _compression(ctx):
    compression = one_of(ctx, "compression", _COMPRESSIONS.keys())
    level, most = ctx.attr.compression_level, _COMPRESSIONS[compression].most
    if level == 0:
        return compression
    if most == 0:
        bad_attribute(ctx, "compression_level", "expected 0 for compression `%s`, found %d" % (compression, level))
    if level < 1 or level > most:
        bad_attribute(ctx, "compression_level", "expected 1 to %d, or 0 for the default, found %d" % (most, level))
    return {compression: level}

def _only_file(ctx, attribute, target):
    """Returns the file that a target makes."""
    made = target[DefaultInfo].files.to_list()
    if len(made) != 1:
        bad_attribute(ctx, attribute, "expected a target that makes one file, found %d files of `%s`; `dirs` takes many" % (
            len(made),
            target.label,
        ))
    if made[0].is_directory:
        bad_attribute(ctx, attribute, "expected a target that makes a file, found the directory of `%s`; `dirs` takes those" % (
            target.label
        ))
    return made[0]

def _inputs_of(ctx, attribute, kind):
    """Returns the inputs for an attribute that says where the file of each target goes."""
    return named(kind, [_only_file(ctx, attribute, target) for target in getattr(ctx.attr, attribute)])

def _file_entries(ctx, attribute, kind, inputs):
    return [
        (path, {kind: input.name, "to": path})
        for input, path in zip(inputs, getattr(ctx.attr, attribute).values())
    ]

def _in_tree(file):
    return file.tree_relative_path, file

def _below(prefix):
    return lambda file: (file.short_path[len(prefix):], file)

def _prefix(ctx, target, path, files):
    """Returns how the short paths of a target's files begin, up to where their paths in the layer do."""
    label = target.label
    parts = ["../" + label.workspace_name if label.workspace_name else "", label.package, ctx.attr.strip_prefixes.get(path, "")]
    prefix = "".join([part + "/" for part in parts if part])
    for file in files:
        if not file.short_path.startswith(prefix):
            bad_attribute(ctx, "dirs", "expected files below `%s`, found `%s` of `%s`" % (prefix, file.short_path, label))
    return prefix

def _directories(ctx):
    """Returns directories, and entries by path, for what `dirs` names."""
    directories, entries = [], []
    for path in ctx.attr.strip_prefixes:
        if path not in ctx.attr.dirs.values():
            bad_attribute(ctx, "strip_prefixes", "nothing of `dirs` goes to `%s`" % path)
    for number, (target, path) in enumerate(ctx.attr.dirs.items()):
        made = target[DefaultInfo].files.to_list()
        trees = [file for file in made if file.is_directory]
        files = [file for file in made if not file.is_directory]
        parts = [(depset([tree]), _in_tree) for tree in trees]
        if files:
            parts.append((depset(files), _below(_prefix(ctx, target, path, files))))
        if not parts:
            bad_attribute(ctx, "dirs", "expected a target that makes files, found none of `%s`" % target.label)
        directory = listed("dir-%d" % number, parts, target[DefaultInfo].files)
        directories.append(directory)
        entries.append((path, {"dir": directory.name, "to": path}))
    return directories, entries

def _programs(ctx):
    """Returns directories, and entries by path, for what `binaries` names."""
    directories, entries = [], []
    for number, (target, path) in enumerate(ctx.attr.binaries.items()):
        if not target[DefaultInfo].files_to_run or not target[DefaultInfo].files_to_run.executable:
            bad_attribute(ctx, "binaries", "expected a target that can be run, found `%s`" % target.label)
        directory, made = program(ctx, "binary-%d" % number, target, path)
        directories.append(directory)
        entries += made
    return directories, entries

# Entries that may make a path that others make, too: what is in a directory adds to what is there.
_MERGED = ["dir", "tar"]

def _merge_paths(ctx, groups):
    """Returns entries by path; fails where one path is made twice."""
    merged = {}
    for attribute, entries in groups.items():
        for path, entry in entries:
            if not path.startswith("/"):
                bad_attribute(ctx, attribute, "expected an absolute path, found `%s`" % path)
            others = merged.setdefault(path, [])
            if not [kind for kind in _MERGED if kind in entry]:
                for other in others:
                    if not [kind for kind in _MERGED if kind in other.entry]:
                        bad_attribute(ctx, attribute, "`%s` is already made by attribute `%s`" % (path, other.attribute))
            others.append(struct(attribute = attribute, entry = entry))
    return merged

def _set(ctx, merged, attribute, key, takes):
    """Adds a key to the entries whose paths an attribute has."""
    for path, value in getattr(ctx.attr, attribute).items():
        if path not in merged:
            bad_attribute(ctx, attribute, "nothing here makes `%s`" % path)
        taking = [made.entry for made in merged[path] if [kind for kind in takes if kind in made.entry]]
        if not taking:
            kinds = [kind for kind in merged[path][0].entry.keys() if kind != "to"]
            bad_attribute(ctx, attribute, "`%s` is a `%s`, which has no %s of its own" % (path, kinds[0], key))
        for entry in taking:
            entry[key] = value

def _entries(ctx, groups):
    merged = _merge_paths(ctx, groups | {
        "texts": [(path, {"text": text, "to": path}) for path, text in ctx.attr.texts.items()],
        "symlinks": [(path, {"symlink": to, "to": path}) for path, to in ctx.attr.symlinks.items()],
        "mkdirs": [(path, {"mkdir": path}) for path in ctx.attr.mkdirs],
        "whiteouts": [(path, {"whiteout": path}) for path in ctx.attr.whiteouts],
    })
    _set(ctx, merged, "modes", "mode", takes = ["file", "text", "mkdir"])
    _set(ctx, merged, "owners", "owner", takes = ["file", "text", "mkdir", "symlink", "dir", "tar"])
    _set(ctx, merged, "capabilities", "capabilities", takes = ["file", "text"])
    return [made.entry for entries in merged.values() for made in entries]

def _oci_layer_impl(ctx):
    compression = _compression(ctx)
    files, tars = _inputs_of(ctx, "files", "file"), _inputs_of(ctx, "tars", "tar")
    debs = named("deb", ctx.files.debs)
    directories, directory_entries = _directories(ctx)
    programs, program_entries = _programs(ctx)
    entries = _entries(ctx, {
        "dirs": directory_entries,
        "tars": _file_entries(ctx, "tars", "tar", tars),
        "files": _file_entries(ctx, "files", "file", files),
        "binaries": program_entries,
    })
    blob = ctx.actions.declare_file(ctx.label.name + _COMPRESSIONS[ctx.attr.compression].extension)
    metadata = ctx.actions.declare_file(ctx.label.name + ".layer.json")
    run_step(
        ctx,
        step = "layer",
        mnemonic = "OciLayer",
        params = {"layer": {"add": [{"deb": input.name} for input in debs] + entries, "compression": compression}},
        inputs = files + tars + debs,
        outputs = {"--out": blob, "--metadata": metadata},
        directories = directories + programs,
    )
    return [
        DefaultInfo(files = depset([blob])),
        OutputGroupInfo(metadata = depset([metadata])),
        LayerInfo(blob = blob, metadata = metadata),
    ]

oci_layer = rule(
    implementation = _oci_layer_impl,
    doc = """Makes a layer: files, directories, programs, tars, packages, texts and links.

Of a file only its content and whether it is executable get into the layer: no owner, time or other mode bits. Parent
directories are made as they are needed, 0755 and owned by 0:0. Tars and packages come with all of their metadata. Output group
`metadata`: the layer metadata.

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
        "binaries": attr.label_keyed_string_dict(
            doc = """Where each program goes, an absolute path.

All that it needs when it runs (its runfiles) goes beside it, to `PATH.runfiles`, where programs look for them; the program itself
is a symbolic link into that, so nothing is there twice. Only symbolic links that actions declare as such cannot be among them.""",
        ),
        "capabilities": attr.string_dict(
            doc = "File capabilities by path, as `cap_net_bind_service=ep`; for paths of `files` and `texts`.",
        ),
        "compression": attr.string(
            doc = "`zstd`, `gzip` or `none`.",
            default = "zstd",
        ),
        "compression_level": attr.int(
            doc = "1 to 19 for zstd, 1 to 12 for gzip; 0 is the default level, 3 or 6.",
        ),
        "debs": attr.label_list(
            doc = "Debian packages to unpack. Their maintainer scripts are not run.",
            allow_files = [".deb"],
        ),
        "dirs": attr.label_keyed_string_dict(
            doc = """Where the files of each target go: the directory in the layer, an absolute path.

Of a directory that an action made, all that is in it; other files by their paths in the target's package, without what
`strip_prefixes` says. What several targets have in one directory comes together there. Directories without files do not come
along: Bazel knows nothing of them.""",
            allow_files = True,
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
            doc = "Owners by path, as `UID:GID`; 0:0 unless said. For a path of `dirs` or `tars`, of all that comes from there.",
        ),
        "strip_prefixes": attr.string_dict(
            doc = "Directories in packages, by path of `dirs`: what goes there is below them, and comes without them.",
        ),
        "symlinks": attr.string_dict(
            doc = "Symbolic links to make: the target by path. The target is kept as it is.",
        ),
        "tars": attr.label_keyed_string_dict(
            doc = """Where each tar is unpacked: a directory in the layer, an absolute path; `/` keeps its paths.

Plain, or compressed by gzip, zstd, xz, bzip2 or lzma. A target must make one file.""",
            allow_files = True,
        ),
        "texts": attr.string_dict(
            doc = "Files to make: the content by path; 0644 unless `modes` says otherwise.",
        ),
        "whiteouts": attr.string_list(
            doc = "Absolute paths; what the layers below have there is gone.",
        ),
    },
    provides = [LayerInfo],
    toolchains = [TOOLCHAIN],
)
