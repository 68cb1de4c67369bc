"""oci_load: an engine of this machine gets the images of a seed."""

load("//bazel/private/providers:seed_info.bzl", "SeedInfo")
load(":attributes.bzl", "bad_attribute", "one_of")
load(":programs.bzl", "program_of")
load(":runfiles.bzl", "runfiles_path")
load(":toolchain.bzl", "TOOLCHAIN")

def _oci_load_impl(ctx):
    engine = one_of(ctx, "engine", ["containerd", "docker", "podman"]) if ctx.attr.engine else ""
    if ctx.attr.namespaces and engine not in ["", "containerd"]:
        bad_attribute(ctx, "namespaces", "only containerd has some, found engine `%s`" % engine)
    load_tool = ctx.toolchains[TOOLCHAIN].load_tool
    if not load_tool:
        fail("\n%s: the toolchain of `ociseed` that was selected has no `ociseed-load`; expected it beside `ociseed`, or as `load_tool`" % ctx.label)
    seed = ctx.attr.seed[SeedInfo].directory

    # The program finds the file beside it (docs/load.md, "The load file").
    executable, needed = program_of(ctx, load_tool)
    about = {"seed": runfiles_path(ctx.workspace_name, seed.short_path), "version": 1}
    if engine:
        about["engine"] = engine
    if ctx.attr.namespaces:
        about["namespaces"] = ctx.attr.namespaces
    load_file = ctx.actions.declare_file(ctx.label.name + ".load.json")
    ctx.actions.write(load_file, json.encode(about))
    return [DefaultInfo(
        executable = executable,
        files = depset([executable, load_file]),
        runfiles = ctx.runfiles([load_file, seed] + needed),
    )]

oci_load = rule(
    implementation = _oci_load_impl,
    doc = """Brings an engine of this machine to what a seed says: `bazel run :NAME`.

Only what is missing there is moved, so a second run moves nothing. Images that are there stay, names move to those of the seed. More
arguments follow `--`; they are described in docs/load.md.

```starlark
oci_load(
    name = "load",
    engine = "docker",
    seed = ":appliance",
)
```

```
bazel run :load
bazel run :load -- --engine podman
```""",
    attrs = {
        "engine": attr.string(
            doc = "`containerd`, `docker` or `podman`; unless said, `--engine` on the command line must say it.",
        ),
        "namespaces": attr.string_list(
            doc = "The namespaces of containerd that get the images; unless said, those that the seed says.",
        ),
        "seed": attr.label(
            doc = "The seed.",
            mandatory = True,
            providers = [SeedInfo],
        ),
    },
    executable = True,
    toolchains = [TOOLCHAIN],
)
