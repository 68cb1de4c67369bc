"""Where the `ociseed` tool comes from.

Two kinds of repositories: one that holds a binary, and the hub `ociseed_toolchains`, which holds nothing but `toolchain()`
targets, so that only the repository of the toolchain that is selected is ever fetched.
"""

# The architecture as Java, so Bazel, calls it: the constraint.
_CPUS = {
    "aarch64": "@platforms//cpu:aarch64",
    "amd64": "@platforms//cpu:x86_64",
    "x86_64": "@platforms//cpu:x86_64",
}

def _host_constraints(os):
    if not os.name.startswith("linux"):
        fail("ociseed: expected a Linux host, found `%s`" % os.name)
    if os.arch not in _CPUS:
        fail("ociseed: expected a host of %s, found `%s`" % (", ".join(sorted(_CPUS)), os.arch))
    return ["@platforms//os:linux", _CPUS[os.arch]]

def _local_impl(repository_ctx):
    path = repository_ctx.getenv("OCISEED", "")
    if not path.startswith("/") or not repository_ctx.path(path).exists:
        fail("OCISEED: expected the absolute path of an `ociseed` binary, found `%s`\n" % path +
             "hint: bazel build --repo_env=OCISEED=/path/to/ociseed (in .bazelrc: common --repo_env=…)")

    # Not at the top: a file must not have the name of a target.
    repository_ctx.symlink(path, "bin/ociseed")
    repository_ctx.file("BUILD.bazel", """\
load("{defs}", "ociseed_toolchain")

ociseed_toolchain(
    name = "ociseed",
    tool = "bin/ociseed",
    visibility = ["//visibility:public"],
)
""".format(defs = Label("//bazel:defs.bzl")))

_local = repository_rule(
    implementation = _local_impl,
    doc = "The binary that `--repo_env=OCISEED=…` names.",
)

def _hub_impl(repository_ctx):
    repository_ctx.file("BUILD.bazel", """\
toolchain(
    name = "local",
    exec_compatible_with = {constraints},
    toolchain = "@{local}//:ociseed",
    toolchain_type = "{toolchain_type}",
)
""".format(
        constraints = _host_constraints(repository_ctx.os),
        local = repository_ctx.attr.local,
        toolchain_type = Label("//bazel/toolchain"),
    ))

_hub = repository_rule(
    implementation = _hub_impl,
    doc = "The toolchains, each in a repository of its own.",
    attrs = {
        "local": attr.string(doc = "Name of the repository of the local binary.", mandatory = True),
    },
)

def declare_repositories():
    """Declares all repositories; for a WORKSPACE and for the module extension alike."""
    _local(name = "ociseed_local")
    _hub(name = "ociseed_toolchains", local = "ociseed_local")
