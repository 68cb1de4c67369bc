"""Where the `ociseed` programs come from.

A repository holds the programs of one platform: those of an archive, or those that were built here. The hub,
`ociseed_toolchains`, holds nothing but `toolchain()` targets, so that only the repository of the toolchain that is selected is ever
fetched.
"""

load(":prebuilt.bzl", "PREBUILT")

# The platforms that there are archives for.
PLATFORMS = {
    "linux_amd64": ["@platforms//os:linux", "@platforms//cpu:x86_64"],
    "linux_arm64": ["@platforms//os:linux", "@platforms//cpu:aarch64"],
}

# Architectures as Java, so Bazel, calls them.
_ARCHITECTURES = {"aarch64": "arm64", "amd64": "amd64", "x86_64": "amd64"}

def _host_platform(os):
    if not os.name.startswith("linux"):
        fail("ociseed: expected a Linux host, found `%s`" % os.name)
    if os.arch not in _ARCHITECTURES:
        fail("ociseed: expected a host of %s, found `%s`" % (", ".join(sorted(_ARCHITECTURES)), os.arch))
    return "linux_" + _ARCHITECTURES[os.arch]

def _programs_build(programs):
    """Returns the BUILD file of a repository of programs.

    Args:
      programs: names of the programs that are below `bin`.
    """
    rules = []
    if "ociseed" in programs:
        load_tool = '\n    load_tool = "bin/ociseed-load",' if "ociseed-load" in programs else ""
        rules.append("""\
ociseed_toolchain(
    name = "tool",%s
    tool = "bin/ociseed",
    visibility = ["//visibility:public"],
)
""" % load_tool)
    if "ociseed-loader" in programs:
        rules.append("""\
ociseed_loader_toolchain(
    name = "loader",
    loader = "bin/ociseed-loader",
    visibility = ["//visibility:public"],
)
""")
    loads = 'load("%s", "ociseed_loader_toolchain", "ociseed_toolchain")\n' % Label("//bazel:defs.bzl")
    return "\n".join([loads] + rules)

_PROGRAMS = ["ociseed", "ociseed-load", "ociseed-loader"]

def _local_impl(repository_ctx):
    path = repository_ctx.getenv("OCISEED", "")
    if not path.startswith("/") or not repository_ctx.path(path).exists:
        fail("OCISEED: expected the absolute path of an `ociseed` binary, found `%s`\n" % path +
             "hint: bazel build --repo_env=OCISEED=/path/to/ociseed (in .bazelrc: common --repo_env=…)")
    programs = ["ociseed"]

    # Below a directory: a file must not have the name of a target.
    repository_ctx.symlink(path, "bin/ociseed")
    for name in _PROGRAMS[1:]:
        beside = repository_ctx.path(path).dirname.get_child(name)
        if beside.exists:
            repository_ctx.symlink(beside, "bin/" + name)
            programs.append(name)
    repository_ctx.file("BUILD.bazel", _programs_build(programs))

_local = repository_rule(
    implementation = _local_impl,
    doc = "The binary that `--repo_env=OCISEED=…` names, and those beside it.",
)

def _archive_impl(repository_ctx):
    attr = repository_ctx.attr
    # By position: the name of the last, what is stripped off paths, differs between versions of Bazel.
    repository_ctx.download_and_extract(attr.urls, "", attr.sha256, "", "ociseed")
    for name in _PROGRAMS:
        if not repository_ctx.path("bin/" + name).exists:
            fail("ociseed: expected `bin/%s` in the archive for `%s`, found none\nhint: `release/archives` makes such archives" % (name, attr.platform))
    repository_ctx.file("BUILD.bazel", _programs_build(_PROGRAMS))

_archive = repository_rule(
    implementation = _archive_impl,
    doc = "The programs of one platform, from an archive.",
    attrs = {
        "platform": attr.string(mandatory = True),
        "sha256": attr.string(mandatory = True),
        "urls": attr.string_list(mandatory = True),
    },
)

def _toolchain(name, toolchain, type, exec = None, target = None):
    return """\
toolchain(
    name = "{name}",
    exec_compatible_with = {exec},
    target_compatible_with = {target},
    toolchain = "{toolchain}",
    toolchain_type = "{type}",
)
""".format(
        name = name,
        exec = exec or [],
        target = target or [],
        toolchain = toolchain,
        type = type,
    )

def _hub_impl(repository_ctx):
    tool, loader = Label("//bazel/toolchain"), Label("//bazel/toolchain:loader")
    toolchains = []

    # Toolchains are tried in the order of their names: what was built here comes before archives. Without either it says what to do.
    local, archives = repository_ctx.getenv("OCISEED", ""), repository_ctx.attr.archives
    if local or not archives:
        host = PLATFORMS[_host_platform(repository_ctx.os)]
        repository = "@%s//:" % repository_ctx.attr.local
        toolchains.append(_toolchain("local", repository + "tool", tool, exec = host))

        # Its neighbour may not be there; then the next one is taken.
        if local.startswith("/") and repository_ctx.path(local).dirname.get_child("ociseed-loader").exists:
            toolchains.append(_toolchain("local_loader", repository + "loader", loader, target = host))
    for platform, name in archives.items():
        toolchains.append(_toolchain("prebuilt_%s" % platform, "@%s//:tool" % name, tool, exec = PLATFORMS[platform]))
        toolchains.append(_toolchain("prebuilt_%s_loader" % platform, "@%s//:loader" % name, loader, target = PLATFORMS[platform]))
    repository_ctx.file("BUILD.bazel", "\n".join(toolchains))

_hub = repository_rule(
    implementation = _hub_impl,
    doc = "The toolchains, each in a repository of its own.",
    attrs = {
        "archives": attr.string_dict(doc = "Name of the repository of each platform's archive.", mandatory = True),
        "local": attr.string(doc = "Name of the repository of what was built here.", mandatory = True),
    },
)

def declare_repositories(archives = {}):
    """Declares all repositories; for a WORKSPACE and for the module extension alike.

    Args:
      archives: dict from platform to a struct with `urls` and `sha256`, put over those of the release.
    """
    for platform, archive in archives.items():
        if platform not in PLATFORMS:
            fail("ociseed: expected the platform of an archive to be %s, found `%s`" % (" or ".join(["`%s`" % name for name in PLATFORMS]), platform))
        if not archive.urls or not archive.sha256:
            fail("ociseed: expected `urls` and `sha256` of the archive for `%s`, found none" % platform)
    names = {}
    for platform, archive in (PREBUILT | archives).items():
        names[platform] = "ociseed_" + platform
        _archive(name = names[platform], platform = platform, sha256 = archive.sha256, urls = archive.urls)
    _local(name = "ociseed_local")
    _hub(name = "ociseed_toolchains", archives = names, local = "ociseed_local")
