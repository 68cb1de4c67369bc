"""seed_test: a seed, or a disk that holds one, is what its lock says."""

load("//bazel/private/providers:disk_info.bzl", "DiskInfo")
load("//bazel/private/providers:seed_info.bzl", "SeedInfo")
load(":toolchain.bzl", "TOOLCHAIN")

def _seed_test_impl(ctx):
    target = ctx.attr.seed
    artifact = target[SeedInfo].directory if SeedInfo in target else target[DiskInfo].disk

    # The tool under another name takes its arguments from the file beside it: no shell is needed.
    tool = ctx.toolchains[TOOLCHAIN].tool
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = program, target_file = tool.executable, is_executable = True)
    arguments = ctx.actions.declare_file(ctx.label.name + ".args")
    ctx.actions.write(arguments, "verify\n--follow-links\n%s\n" % artifact.short_path)
    runfiles = ctx.runfiles([arguments, artifact, tool.executable])
    return [DefaultInfo(executable = program, runfiles = runfiles)]

seed_test = rule(
    implementation = _seed_test_impl,
    doc = """Checks a seed, or a disk that holds one: every byte by its digest, and that nothing else is there.

```starlark
seed_test(
    name = "appliance_test",
    seed = ":appliance_disk",
)
```""",
    attrs = {
        "seed": attr.label(
            doc = "An `oci_seed` or an `oci_disk`.",
            mandatory = True,
            providers = [[SeedInfo], [DiskInfo]],
        ),
    },
    test = True,
    toolchains = [TOOLCHAIN],
)
