"""seed_test: a seed, or a disk that holds one, is what its lock says."""

load("//bazel/private/providers:disk_info.bzl", "DiskInfo")
load("//bazel/private/providers:seed_info.bzl", "SeedInfo")
load(":programs.bzl", "program_of")
load(":toolchain.bzl", "TOOLCHAIN")

def _seed_test_impl(ctx):
    target = ctx.attr.seed
    artifact = target[SeedInfo].directory if SeedInfo in target else target[DiskInfo].disk

    # The tool takes its arguments from the file beside it (docs/format.md, "Steps").
    executable, needed = program_of(ctx, ctx.toolchains[TOOLCHAIN].tool.executable)
    arguments = ctx.actions.declare_file(ctx.label.name + ".args")
    ctx.actions.write(arguments, "verify\n--follow-links\n%s\n" % artifact.short_path)
    runfiles = ctx.runfiles([arguments, artifact] + needed)
    return [DefaultInfo(executable = executable, runfiles = runfiles)]

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
