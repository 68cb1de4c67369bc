"""The module extension that provides the `ociseed` tool.

The module `ociseed` itself uses it and registers the toolchains, so other modules need only a `bazel_dep`.
"""

load("//bazel/private:repositories.bzl", "declare_repositories")

def _ociseed_impl(module_ctx):
    declare_repositories()
    return module_ctx.extension_metadata(reproducible = True)

ociseed = module_extension(
    implementation = _ociseed_impl,
    doc = "Declares `ociseed_toolchains`, whose toolchains hold the tool.",
)
