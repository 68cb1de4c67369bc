"""A seed that nothing made."""

load("//bazel:defs.bzl", "SeedInfo")

def _seed_of_files_impl(ctx):
    return [SeedInfo(directory = ctx.file.directory, images = depset(), lock = None, options = {})]

seed_of_files = rule(
    implementation = _seed_of_files_impl,
    doc = "Takes a directory for a seed.",
    attrs = {"directory": attr.label(allow_single_file = True)},
)
