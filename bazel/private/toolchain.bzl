"""The toolchain that holds the `ociseed` tool."""

# What rules ask for. A Label, so that it means this repository wherever it is used.
TOOLCHAIN = Label("//bazel/toolchain")

def _ociseed_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(tool = ctx.attr.tool[DefaultInfo].files_to_run)]

ociseed_toolchain = rule(
    implementation = _ociseed_toolchain_impl,
    doc = """Makes a toolchain of a prebuilt `ociseed`.

Its `ToolchainInfo` has one field, `tool`, a FilesToRunProvider. What the tool writes does not depend on where it runs, so
`toolchain()` targets of this need `exec_compatible_with` only, never `target_compatible_with`.""",
    attrs = {
        "tool": attr.label(
            doc = "The executable. It should be static, so that sandboxes need nothing of the host.",
            allow_single_file = True,
            cfg = "exec",
            executable = True,
            mandatory = True,
        ),
    },
)
