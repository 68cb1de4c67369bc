"""oci_seed: images become what goes into an OS image."""

load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load("//bazel/private/providers:seed_info.bzl", "SeedInfo")
load(":attributes.bzl", "bad_attribute", "one_of", "options_of", "split_names")
load(":images.bzl", "name_blobs", "name_records")
load(":step.bzl", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

# What engines' stores can be told, by the words of the spec.
_STORES = {
    "archives": ["form", "root"],
    "containerd": ["root", "sandbox-image", "seed-dir", "snapshotter", "version"],
}

def _file_name(name):
    """Returns the name of a target as a word that the spec takes for a file."""
    plain = "".join([char if char.isalnum() or char in "._-" else "-" for char in name.lower().elems()])
    return plain.lstrip("._-") or "image"

def _own_images(ctx):
    """Returns the images of this target, as SeedInfo describes them."""
    if ctx.attr.images and not ctx.attr.namespaces:
        bad_attribute(ctx, "namespaces", "expected at least one containerd namespace, found none")
    image_class = one_of(ctx, "image_class", ["background", "critical"])
    images = [
        struct(
            file = ctx.attr.archive_names.get(name, _file_name(target.label.name)),
            image = target[ImageInfo],
            image_class = image_class,
            name = name,
            namespaces = tuple(ctx.attr.namespaces),
            pin = ctx.attr.pin,
        )
        for target, text in ctx.attr.images.items()
        for name in split_names(ctx, "images", text)
    ]
    for name in ctx.attr.archive_names:
        if name not in [image.name for image in images]:
            bad_attribute(ctx, "archive_names", "no image here is called `%s`" % name)
    return images

def _options(ctx):
    """Returns what the spec's table for the seed has beside its images."""
    for store in ctx.attr.stores:
        if store not in _STORES:
            words = " or ".join(["`%s`" % word for word in _STORES])
            bad_attribute(ctx, "stores", "expected %s, found `%s`" % (words, store))
    options = {"stores": ctx.attr.stores}
    if one_of(ctx, "blobs", ["all", "metadata"]) != "all":
        options["blobs"] = ctx.attr.blobs
    for store, known in _STORES.items():
        if options_of(ctx, store, known):
            options[store] = getattr(ctx.attr, store)
    return options

def seed_inputs(info):
    """Makes the images of a seed inputs of a step.

    Args:
      info: SeedInfo, or a struct with its `images` and `options`.

    Returns:
      A struct with `table` (the value of the parameter `seed`), `records` (a list of struct as `named` makes them) and `blobs` (a
      struct as `name_blobs` makes it).
    """
    entries = info.images.to_list()
    records = name_records([entry.image for entry in entries])
    table = info.options | {
        "image": [
            {
                "class": entry.image_class,
                "file": entry.file,
                "image": records.names[entry.image.record],
                "name": entry.name,
                "namespaces": entry.namespaces,
                "pin": entry.pin,
            }
            for entry in entries
        ],
    }
    return struct(blobs = name_blobs([entry.image for entry in entries]), records = records.inputs, table = table)

def _oci_seed_impl(ctx):
    images = depset(_own_images(ctx), transitive = [target[SeedInfo].images for target in ctx.attr.seeds])
    if not images:
        bad_attribute(ctx, "images", "expected at least one image here or in `seeds`, found none")
    options = _options(ctx)
    inputs = seed_inputs(struct(images = images, options = options))

    directory = ctx.actions.declare_directory(ctx.label.name)
    run_step(
        ctx,
        step = "seed",
        mnemonic = "OciSeed",
        params = {"blobs": inputs.blobs.params, "seed": inputs.table},
        inputs = inputs.records + inputs.blobs.inputs,
        directories = inputs.blobs.directories,
        outputs = {"--out": directory},
    )

    # An action of its own, so that the seed id can be had without any layer blob.
    lock = ctx.actions.declare_file(ctx.label.name + ".lock.json")
    run_step(
        ctx,
        step = "seed",
        mnemonic = "OciLock",
        params = {"blobs": [], "seed": inputs.table},
        inputs = inputs.records,
        outputs = {"--metadata": lock},
    )
    return [
        DefaultInfo(files = depset([directory])),
        OutputGroupInfo(lock = depset([lock])),
        SeedInfo(directory = directory, images = images, lock = lock, options = options),
    ]

oci_seed = rule(
    implementation = _oci_seed_impl,
    doc = """Makes a seed in host form: a directory with `seed.json` and an OCI image layout of all its images.

`oci_store` arranges it for an engine, `oci_disk` makes a medium of it, `oci_load` brings an engine of this machine to it.
`namespaces`, `image_class` and `pin` hold for all of `images`. Where images differ in them, make a seed for each kind and
one that has those as `seeds`. Output group `lock`: `seed.json` alone, made without the layer blobs.

```starlark
oci_seed(
    name = "appliance",
    images = {":web": "docker.io/library/web:1"},
    namespaces = ["k8s.io"],
    stores = ["containerd"],
)
```""",
    attrs = {
        "archive_names": attr.string_dict(
            doc = "Names of files in a preseed directory, without `.tar`, by full name of the image; the target's name unless said.",
        ),
        "archives": attr.string_dict(
            doc = """Options of the store `archives`: `root`, the directory on the target (`/containerd/preseed` unless said), and `form`: `tar`
(unless said) or `directory`.""",
        ),
        "blobs": attr.string(
            doc = "`all`, or `metadata`: the medium form has no layer blobs, only unpacked layers.",
            default = "all",
        ),
        "containerd": attr.string_dict(
            doc = """Options of the store `containerd`, with what they are unless said: `root` (`/var/lib/containerd`), `snapshotter`
(`overlayfs`), `version` (any of 1.6 to 2.x), `sandbox-image` (not checked), `seed-dir` (`/usr/lib/ociseed/seed`).""",
        ),
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
            doc = "Other seeds, whose images this one has too; of their options nothing comes along.",
            providers = [SeedInfo],
        ),
        "stores": attr.string_list(
            doc = "The stores that the medium form has: `archives`, `containerd`.",
        ),
    },
    provides = [SeedInfo],
    toolchains = [TOOLCHAIN],
)
