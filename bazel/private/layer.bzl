"""oci_layer: files become a layer."""

load("//bazel/private/providers:layer_info.bzl", "LayerInfo")
load(":attributes.bzl", "bad_attribute", "compression_of", "only_file", "package_prefix")
load(":runfiles.bzl", "PROGRAM_MODE", "program")
load(":step.bzl", "below", "in_tree", "listed", "named", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

# The highest level of each compression, and what blobs are called.
_LEVELS = {"gzip": 12, "none": 0, "zstd": 19}
_EXTENSIONS = {"gzip": ".tar.gz", "none": ".tar", "zstd": ".tar.zst"}

def _inputs_of(ctx, attribute, kind):
    """Returns the inputs for an attribute that says where the file of each target goes."""
    return named(kind, [only_file(ctx, attribute, target) for target in getattr(ctx.attr, attribute)])

def _file_entries(ctx, attribute, kind, inputs):
    return [
        (path, {kind: input.name, "to": path})
        for input, path in zip(inputs, getattr(ctx.attr, attribute).values())
    ]

# Modes are said of every file: Bazel does not keep track of which are executable. To servers for remote execution, and of what actions
# write, it says that all are.
_DATA = "0644"

def _mode(target, file):
    # A file's own label calls it a program, whatever it is.
    is_program = file == target[DefaultInfo].files_to_run.executable and file.owner == target.label
    return PROGRAM_MODE if is_program and not file.is_source else _DATA

def _add_modes(ctx, entries, inputs):
    for (_, entry), target, input in zip(entries, ctx.attr.files, inputs):
        entry["mode"] = _mode(target, input.file)
    return entries

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
        parts = [(depset([tree]), in_tree) for tree in trees]
        if files:
            prefix = package_prefix(ctx, "dirs", target, ctx.attr.strip_prefixes.get(path, ""), files)
            parts.append((depset(files), below(prefix)))
        if not parts:
            bad_attribute(ctx, "dirs", "expected a target that makes files, found none of `%s`" % target.label)
        directory = listed("dir-%d" % number, parts, target[DefaultInfo].files)
        directories.append(directory)
        entries.append((path, {"dir": directory.name, "mode": _DATA, "to": path}))
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

# Attributes of paths, the spec's key of each, and the kinds of entries that have it.
_OF_FILES = ["file", "text", "mkdir"]
_OF_ALL = _OF_FILES + ["symlink", "dir", "tar"]
_PATH_ATTRIBUTES = {
    "acls": ("acl", _OF_FILES),
    "capabilities": ("capabilities", ["file", "text"]),
    "excludes": ("exclude", _MERGED),
    "includes": ("include", _MERGED),
    "modes": ("mode", _OF_FILES + ["dir"]),
    "mtimes": ("mtime", _OF_ALL),
    "owners": ("owner", _OF_ALL),
    "replaces": ("replace", _OF_ALL + ["whiteout"]),
    "xattrs": ("xattrs", _OF_FILES),
}

# Those that say what becomes an entry, and nothing of paths in it.
_OF_ENTRIES = ["excludes", "includes", "replaces"]

def _xattrs(ctx, texts):
    """Returns the spec's table for texts as `user.name=value`."""
    xattrs = {}
    for text in texts:
        name, is_there, value = text.partition("=")
        if not is_there:
            bad_attribute(ctx, "xattrs", "expected a text as `user.name=value`, found `%s`" % text)
        xattrs[name] = {"hex": value[2:]} if value.startswith("0x") else value
    return xattrs

def _values(ctx, attribute):
    """Returns the values of an attribute of paths, as the spec has them, by path."""
    values = getattr(ctx.attr, attribute)
    if attribute == "replaces":
        return {path: True for path in values}
    if attribute == "xattrs":
        return {path: _xattrs(ctx, texts) for path, texts in values.items()}
    return values

def _rule(ctx, merged, attribute, key, path, value):
    """Returns the rule of the spec for a path in a directory, tar, package or program; the tool looks whether it is there."""
    if attribute in _OF_ENTRIES or not (ctx.attr.debs or [above for above in merged if _holds(merged, above, path)]):
        bad_attribute(ctx, attribute, "nothing here makes `%s`" % path)
    for char in "*?[]{}\\".elems():
        if char in path:
            bad_attribute(ctx, attribute, "expected a path without `%s`, as it is in a directory, tar or package, found `%s`" % (char, path))
    return {key: value, "path": path}

def _holds(merged, above, path):
    many = [made for made in merged[above] if [kind for kind in _MERGED if kind in made.entry]]
    return many and path.startswith(above.rstrip("/") + "/")

def _set(ctx, merged, rules, attribute, key, takes):
    """Adds a key to the entries whose paths an attribute has, or rules for what is in them."""
    for path, value in _values(ctx, attribute).items():
        if path not in merged:
            rules.append(_rule(ctx, merged, attribute, key, path, value))
            continue
        taking = [made.entry for made in merged[path] if [kind for kind in takes if kind in made.entry]]
        if not taking:
            kinds = [kind for kind in merged[path][0].entry.keys() if kind != "to"]
            bad_attribute(ctx, attribute, "`%s` is a `%s`, which has no %s of its own" % (path, kinds[0], key))
        for entry in taking:
            entry[key] = value

def _entries(ctx, groups):
    """Returns the spec's entries and rules for the layer."""
    merged = _merge_paths(ctx, groups | {
        "texts": [(path, {"text": text, "to": path}) for path, text in ctx.attr.texts.items()],
        "symlinks": [(path, {"symlink": to, "to": path}) for path, to in ctx.attr.symlinks.items()],
        "mkdirs": [(path, {"mkdir": path}) for path in ctx.attr.mkdirs],
        "whiteouts": [(path, {"whiteout": path}) for path in ctx.attr.whiteouts],
    })
    rules = []
    for attribute, (key, takes) in _PATH_ATTRIBUTES.items():
        _set(ctx, merged, rules, attribute, key, takes)
    return [made.entry for entries in merged.values() for made in entries], rules

def _packages(ctx, debs):
    """Returns the entries for packages: one list of them all, as patterns need match in one only."""
    if not debs:
        if ctx.attr.deb_excludes:
            bad_attribute(ctx, "deb_excludes", "expected packages in `debs`, found none")
        return []
    entry = {"deb": [input.name for input in debs]}
    if ctx.attr.deb_excludes:
        entry["exclude"] = ctx.attr.deb_excludes
    return [entry]

def _oci_layer_impl(ctx):
    compression = compression_of(ctx, _LEVELS)
    files, tars = _inputs_of(ctx, "files", "file"), _inputs_of(ctx, "tars", "tar")
    debs = named("deb", ctx.files.debs)
    directories, directory_entries = _directories(ctx)
    programs, program_entries = _programs(ctx)
    entries, rules = _entries(ctx, {
        "dirs": directory_entries,
        "tars": _file_entries(ctx, "tars", "tar", tars),
        "files": _add_modes(ctx, _file_entries(ctx, "files", "file", files), files),
        "binaries": program_entries,
    })
    layer = {"add": _packages(ctx, debs) + entries, "compression": compression}
    if rules:
        layer["set"] = rules
    blob = ctx.actions.declare_file(ctx.label.name + _EXTENSIONS[ctx.attr.compression])
    metadata = ctx.actions.declare_file(ctx.label.name + ".layer.json")
    run_step(
        ctx,
        step = "layer",
        mnemonic = "OciLayer",
        params = {"layer": layer},
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

Of a file of `files` only its content gets into the layer: no owner, time or mode. Parent directories are made as they are needed,
0755 and owned by 0:0. Tars and packages come with all of their metadata. Output group `metadata`: the layer metadata.

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
        "acls": attr.string_dict(
            doc = "Access lists by path, as `user::rw-,user:33:r--,group::r--,mask::r--,other::---`; for paths as those of `modes`.",
        ),
        "binaries": attr.label_keyed_string_dict(
            doc = """Where each program goes, an absolute path.

All that it needs when it runs (its runfiles) goes beside it, to `PATH.runfiles`, where programs look for them; the program itself
is a symbolic link into that, so nothing is there twice. All of these files become 0755. Symbolic links that actions declare as such
(`ctx.actions.declare_symlink`) cannot be among them.""",
        ),
        "capabilities": attr.string_dict(
            doc = "File capabilities by path, as `cap_net_bind_service=ep`; for paths of `files` and `texts`.",
        ),
        "compression": attr.string(
            doc = "How the blob is compressed: `zstd`, `gzip` or `none`.",
            default = "zstd",
        ),
        "compression_level": attr.int(
            doc = "1 to 19 for zstd, 1 to 12 for gzip; 0 is the default level, 3 or 6.",
        ),
        "deb_excludes": attr.string_list(
            doc = "Patterns over the paths of `debs`, as `excludes` has them: what matches one is left out. Each must match in a package.",
        ),
        "debs": attr.label_list(
            doc = "Debian packages to unpack. Their maintainer scripts are not run.",
            allow_files = [".deb"],
        ),
        "dirs": attr.label_keyed_string_dict(
            doc = """Where the files of each target go: the directory in the layer, an absolute path.

Its files become 0644, wherever they are executable: `modes` says otherwise. Of a directory that an action made, all that is in it; other files by their paths in the target's package, without what
`strip_prefixes` says. What several targets have in one directory comes together there. Directories without files do not come
along: Bazel knows nothing of them.""",
            allow_files = True,
        ),
        "excludes": attr.string_list_dict(
            doc = """Patterns by path of `dirs` or `tars`: what of their paths, before they are put there, matches one is left out.

`*` and `?` match within one part of a path, `**` any number of parts; a pattern without `/` the last part at any depth. One
that matches nothing is an error.""",
        ),
        "files": attr.label_keyed_string_dict(
            doc = """Where each file goes, an absolute path.

A target must make one file. It becomes 0755 if the target is a program that is built, as of a `cc_binary`, else 0644, as Bazel
does not tell which other files are executable: `modes` does, also for a script of the source tree.""",
            allow_files = True,
        ),
        "includes": attr.string_list_dict(
            doc = "Patterns by path of `dirs` or `tars`, as `excludes` has them: what matches none is left out.",
        ),
        "mkdirs": attr.string_list(
            doc = "Directories to make, as absolute paths; 0755 unless `modes` says otherwise.",
        ),
        "modes": attr.string_dict(
            doc = """Permission bits by path, as `0644`; for paths of `files`, `texts` and `mkdirs`, for one of `dirs` of all files in it.

This and other attributes by path can also name what is in a directory, tar, package or program that goes there.""",
        ),
        "mtimes": attr.string_dict(
            doc = "Times by path, seconds since the epoch, which is what files have unless said; for paths as those of `owners`.",
        ),
        "owners": attr.string_dict(
            doc = "Owners by path, as `UID:GID`; 0:0 unless said. For a path of `dirs` or `tars`, of all that comes from there.",
        ),
        "replaces": attr.string_list(
            doc = "Paths that others here make, too, in a directory, tar or package: what stands there by its own path wins.",
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
        "xattrs": attr.string_list_dict(
            doc = "Extended attributes by path, as `user.name=value`, or `user.name=0x00ff` for bytes; for paths as those of `modes`.",
        ),
    },
    provides = [LayerInfo],
    toolchains = [TOOLCHAIN],
)
