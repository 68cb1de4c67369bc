"""oci_seed: images become what goes into an OS image."""

load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load("//bazel/private/providers:seed_info.bzl", "SeedInfo")
load(":attributes.bzl", "bad_attribute", "one_of", "split_names")
load(":images.bzl", "name_blobs", "name_records")
load(":step.bzl", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

def _own_images(ctx):
    """Returns the images of this target, as SeedInfo describes them."""
    if ctx.attr.images and not ctx.attr.namespaces:
        bad_attribute(ctx, "namespaces", "expected at least one containerd namespace, found none")
    image_class = one_of(ctx, "image_class", ["background", "critical"])
    return [
        struct(
            image = target[ImageInfo],
            name = name,
            namespaces = tuple(ctx.attr.namespaces),
            image_class = image_class,
            pin = ctx.attr.pin,
        )
        for target, text in ctx.attr.images.items()
        for name in split_names(ctx, "images", text)
    ]

def _seed_table(entries, records):
    """Returns the spec's table for the seed."""
    return {
        "image": [
            {
                "class": entry.image_class,
                "image": records.names[entry.image.record],
                "name": entry.name,
                "namespaces": entry.namespaces,
                "pin": entry.pin,
            }
            for entry in entries
        ],
    }

def _oci_seed_impl(ctx):
    images = depset(_own_images(ctx), transitive = [target[SeedInfo].images for target in ctx.attr.seeds])
    entries = images.to_list()
    if not entries:
        bad_attribute(ctx, "images", "expected at least one image here or in `seeds`, found none")
    records = name_records([entry.image for entry in entries])
    blobs = name_blobs([entry.image for entry in entries])
    seed = _seed_table(entries, records)

    directory = ctx.actions.declare_directory(ctx.label.name)
    run_step(
        ctx,
        step = "seed",
        mnemonic = "OciSeed",
        params = {"blobs": blobs.params, "seed": seed},
        inputs = records.inputs + blobs.inputs,
        outputs = {"--out": directory},
    )

    # An action of its own, so that the seed id can be had without any layer blob.
    lock = ctx.actions.declare_file(ctx.label.name + ".lock.json")
    run_step(
        ctx,
        step = "seed",
        mnemonic = "OciLock",
        params = {"blobs": [], "seed": seed},
        inputs = records.inputs,
        outputs = {"--metadata": lock},
    )
    return [
        DefaultInfo(files = depset([directory])),
        OutputGroupInfo(lock = depset([lock])),
        SeedInfo(directory = directory, images = images, lock = lock),
    ]

oci_seed = rule(
    implementation = _oci_seed_impl,
    doc = """Makes a seed in host form: a directory with `seed.json` and an OCI image layout of all its images.

`namespaces`, `image_class` and `pin` hold for all of `images`. Where images differ in them, make a seed for each kind and
one that has those as `seeds`. Output group `lock`: `seed.json` alone, made without the layer blobs.

```starlark
oci_seed(
    name = "appliance",
    images = {":web": "docker.io/library/web:1"},
    namespaces = ["k8s.io"],
)
```""",
    attrs = {
        "image_class": attr.string(
            doc = "`critical`: the boot waits for these images; `background`: it does not.",
            default = "critical",
        ),
        "images": attr.label_keyed_string_dict(
            doc = "Full name of each image on the target; several names have spaces between them.",
            providers = [ImageInfo],
        ),
        "namespaces": attr.string_list(
            doc = "The containerd namespaces that get the images.",
            default = ["k8s.io"],
        ),
        "pin": attr.bool(
            doc = "Whether garbage collection on the target must spare the images.",
            default = True,
        ),
        "seeds": attr.label_list(
            doc = "Other seeds, whose images this one has too.",
            providers = [SeedInfo],
        ),
    },
    provides = [SeedInfo],
    toolchains = [TOOLCHAIN],
)
