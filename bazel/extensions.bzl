"""The module extension that provides the `ociseed` programs.

The module `ociseed` itself uses it and registers the toolchains, so other modules need only a `bazel_dep`.
"""

load("//bazel/private:repositories.bzl", "declare_repositories")

def _ociseed_impl(module_ctx):
    archives = {}

    # The root module first: what it says counts.
    for module in module_ctx.modules:
        for tag in module.tags.archive:
            if tag.platform not in archives:
                archives[tag.platform] = struct(urls = tag.urls, sha256 = tag.sha256)
    declare_repositories(archives)
    return module_ctx.extension_metadata(reproducible = True)

_archive = tag_class(
    doc = "Names an archive of the programs for one platform, in place of the release's.",
    attrs = {
        "platform": attr.string(doc = "`linux_amd64` or `linux_arm64`.", mandatory = True),
        "sha256": attr.string(doc = "The archive's sha256, in hexadecimal.", mandatory = True),
        "urls": attr.string_list(doc = "Where the archive is; `release/archives` makes them.", mandatory = True),
    },
)

ociseed = module_extension(
    implementation = _ociseed_impl,
    doc = """Declares `ociseed_toolchains`, whose toolchains hold the programs.

The module `ociseed` uses it and registers the toolchains; a module that depends on it need not. The programs are those that
`--repo_env=OCISEED=/path/to/ociseed` names, else those of an archive.""",
    tag_classes = {"archive": _archive},
)
