"""oci_store: a seed becomes what one engine reads."""

load("//bazel/private/providers:seed_info.bzl", "SeedInfo")
load("//bazel/private/providers:store_info.bzl", "StoreInfo")
load(":attributes.bzl", "one_of")
load(":seed.bzl", "seed_inputs")
load(":step.bzl", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

def store_inputs(seed, engine):
    """Makes the images of a seed inputs of a step that arranges it.

    Args:
      seed: SeedInfo.
      engine: what it is arranged for.

    Returns:
      A struct as `seed_inputs` makes it. The store `containerd` links to the seed and has no blobs of its own.
    """
    inputs = seed_inputs(seed)
    if engine != "containerd":
        return inputs
    return struct(blobs = struct(inputs = [], directories = [], params = []), records = inputs.records, table = inputs.table)

def _oci_store_impl(ctx):
    engine = one_of(ctx, "engine", ["archives", "containerd"])
    seed = ctx.attr.seed[SeedInfo]
    inputs = store_inputs(seed, engine)
    if engine == "archives" and seed.options.get("archives", {}).get("form") == "directory":
        store = ctx.actions.declare_directory(ctx.label.name)
    else:
        store = ctx.actions.declare_file(ctx.label.name + ".tar")
    run_step(
        ctx,
        step = "store",
        mnemonic = "OciStore",
        params = {"blobs": inputs.blobs.params, "engine": engine, "seed": inputs.table},
        inputs = inputs.records + inputs.blobs.inputs,
        directories = inputs.blobs.directories,
        outputs = {"--out": store},
    )
    return [
        DefaultInfo(files = depset([store])),
        StoreInfo(engine = engine, seed = seed, store = store),
    ]

oci_store = rule(
    implementation = _oci_store_impl,
    doc = """Arranges a seed for one engine, as a tar of the target's root with the store in its place.

A store `containerd` holds links to the seed in medium form, so it goes beside that (`oci_disk`); `archives` holds all of the images.

```starlark
oci_store(
    name = "preseed",
    engine = "archives",
    seed = ":appliance",
)
```""",
    attrs = {
        "engine": attr.string(
            doc = "`archives`: a tar for each image, which Monogon, k3s and others import; or `containerd`: its root.",
            mandatory = True,
        ),
        "seed": attr.label(
            doc = "The seed; its `archives` and `containerd` have the options.",
            mandatory = True,
            providers = [SeedInfo],
        ),
    },
    provides = [StoreInfo],
    toolchains = [TOOLCHAIN],
)
