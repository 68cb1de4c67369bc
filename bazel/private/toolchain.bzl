"""The toolchains: the tool, which runs where actions run, and the loader, which runs on the target."""

# What rules ask for. Labels, so that they mean this repository wherever they are used.
TOOLCHAIN = Label("//bazel/toolchain")
LOADER_TOOLCHAIN = Label("//bazel/toolchain:loader")

def _ociseed_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(
        load_tool = ctx.executable.load_tool,
        tool = ctx.attr.tool[DefaultInfo].files_to_run,
    )]

ociseed_toolchain = rule(
    implementation = _ociseed_toolchain_impl,
    doc = """Makes a toolchain of a prebuilt `ociseed`, of the type `@ociseed//bazel/toolchain`.

Its `ToolchainInfo` has the fields `tool`, a FilesToRunProvider, and `load_tool`, a File or None. What the tool writes does not depend on
where it runs, so `toolchain()` targets of this need `exec_compatible_with` only, never `target_compatible_with`.

```starlark
ociseed_toolchain(
    name = "ociseed",
    load_tool = "bin/ociseed-load",
    tool = "bin/ociseed",
    visibility = ["//visibility:public"],
)

toolchain(
    name = "toolchain",
    exec_compatible_with = ["@platforms//os:linux", "@platforms//cpu:x86_64"],
    toolchain = ":ociseed",
    toolchain_type = "@ociseed//bazel/toolchain",
)
```""",
    attrs = {
        "load_tool": attr.label(
            doc = "The executable `ociseed-load`, which `oci_load` runs; without it there is no `oci_load`.",
            allow_single_file = True,
            cfg = "exec",
            executable = True,
        ),
        "tool": attr.label(
            doc = "The executable `ociseed`. It should be static, so that sandboxes need nothing of the host.",
            allow_single_file = True,
            cfg = "exec",
            executable = True,
            mandatory = True,
        ),
    },
)

def _ociseed_loader_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(loader = ctx.file.loader)]

ociseed_loader_toolchain = rule(
    implementation = _ociseed_loader_toolchain_impl,
    doc = """Makes a toolchain of a prebuilt `ociseed-loader`, of the type `@ociseed//bazel/toolchain:loader`.

Its `ToolchainInfo` has one field, `loader`, a File. The program runs on the target, so `toolchain()` targets of this need
`target_compatible_with` only, never `exec_compatible_with`.""",
    attrs = {
        "loader": attr.label(
            doc = "The program `ociseed-loader`.",
            allow_single_file = True,
            mandatory = True,
        ),
    },
)

def _ociseed_loader_impl(ctx):
    # Under the name that it has on the target, whatever the toolchain calls it.
    loader = ctx.actions.declare_file(ctx.label.name + "/ociseed-loader")
    ctx.actions.symlink(output = loader, target_file = ctx.toolchains[LOADER_TOOLCHAIN].loader)
    return [DefaultInfo(files = depset([loader]))]

ociseed_loader = rule(
    implementation = _ociseed_loader_impl,
    doc = """The program `ociseed-loader` for the target platform, to be put into an OS image.

```starlark
ociseed_loader(name = "loader")

oci_layer(
    name = "os",
    files = {":loader": "/usr/bin/ociseed-loader"},
    modes = {"/usr/bin/ociseed-loader": "0755"},
)
```""",
    toolchains = [LOADER_TOOLCHAIN],
)
