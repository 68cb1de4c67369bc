"""oci_image: layers become an image."""

load("//bazel/private/providers:image_info.bzl", "ImageInfo")
load("//bazel/private/providers:layer_info.bzl", "LayerInfo")
load(":attributes.bzl", "bad_attribute")
load(":step.bzl", "named", "run_step")
load(":toolchain.bzl", "TOOLCHAIN")

# Attributes that go to the tool as they are, under the key of the spec.
_CONFIGURATION = {
    "cmd": "cmd",
    "entrypoint": "entrypoint",
    "env": "env",
    "exposed_ports": "exposed-ports",
    "labels": "labels",
    "stop_signal": "stop-signal",
    "user": "user",
    "volumes": "volumes",
    "working_dir": "working-dir",
}

def _platform(ctx):
    """Returns the platform that the attribute names, or what the target platform is."""
    if ctx.attr.platform:
        return ctx.attr.platform
    for constraint, architecture in ctx.attr._architectures.items():
        if ctx.target_platform_has_constraint(constraint[platform_common.ConstraintValueInfo]):
            return "linux/" + architecture
    return bad_attribute(ctx, "platform", "the target platform does not say it; expected a value as `linux/amd64`")

def _oci_image_impl(ctx):
    if not ctx.attr.layers:
        bad_attribute(ctx, "layers", "expected at least one layer, found none")
    layers = [target[LayerInfo] for target in ctx.attr.layers]
    metadata = named("layer", [layer.metadata for layer in layers])
    image = {"layers": [layer.name for layer in metadata], "platform": _platform(ctx)}
    for attribute, key in _CONFIGURATION.items():
        value = getattr(ctx.attr, attribute)
        if value:
            image[key] = value

    record = ctx.actions.declare_file(ctx.label.name + ".image.json")
    run_step(
        ctx,
        step = "image",
        mnemonic = "OciImage",
        params = {"image": image},
        inputs = metadata,
        outputs = {"--out": record},
    )
    return [
        DefaultInfo(files = depset([record])),
        ImageInfo(blobs = depset(layers), record = record),
    ]

oci_image = rule(
    implementation = _oci_image_impl,
    doc = """Makes an image for one platform of layers.

Only the layers' metadata is read, so this needs no layer blob. The output is an image record, which `oci_bundle` and
`oci_seed` take.

```starlark
oci_image(
    name = "web",
    layers = [":app", ":site"],
    entrypoint = ["/usr/bin/server"],
    exposed_ports = ["8080/tcp"],
)
```""",
    attrs = {
        "cmd": attr.string_list(
            doc = "Arguments that a user may replace.",
        ),
        "entrypoint": attr.string_list(
            doc = "The program with its fixed arguments.",
        ),
        "env": attr.string_dict(
            doc = "Environment variables.",
        ),
        "exposed_ports": attr.string_list(
            doc = "Ports as `8080/tcp`.",
        ),
        "labels": attr.string_dict(
            doc = "Labels: texts for people and other tools.",
        ),
        "layers": attr.label_list(
            doc = "Layers, bottom first; at least one.",
            providers = [LayerInfo],
        ),
        "platform": attr.string(
            doc = "`os/architecture[/variant]`; unless said, `linux` and the architecture of the target platform.",
        ),
        "stop_signal": attr.string(
            doc = "The signal that asks the program to stop, as `SIGQUIT`.",
        ),
        "user": attr.string(
            doc = "User and perhaps group, as `33:33` or names of the image's own passwd file.",
        ),
        "volumes": attr.string_list(
            doc = "Paths that engines put volumes on.",
        ),
        "working_dir": attr.string(
            doc = "The directory that the program starts in, an absolute path.",
        ),
        "_architectures": attr.label_keyed_string_dict(
            default = {
                "@platforms//cpu:aarch64": "arm64",
                "@platforms//cpu:x86_64": "amd64",
            },
        ),
    },
    provides = [ImageInfo],
    toolchains = [TOOLCHAIN],
)
