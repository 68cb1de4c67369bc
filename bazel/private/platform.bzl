"""What the target platform is, in OCI's words."""

load(":attributes.bzl", "bad_attribute")

# Attributes of rules that ask for the target platform.
PLATFORM_ATTRS = {
    "_architectures": attr.label_keyed_string_dict(
        default = {
            "@platforms//cpu:aarch64": "arm64",
            "@platforms//cpu:armv7": "arm/v7",
            "@platforms//cpu:i386": "386",
            "@platforms//cpu:ppc64le": "ppc64le",
            "@platforms//cpu:riscv64": "riscv64",
            "@platforms//cpu:s390x": "s390x",
            "@platforms//cpu:x86_64": "amd64",
        },
    ),
}

def target_platform(ctx, attribute):
    """Returns the target platform, as `linux/amd64`.

    Args:
      ctx: the context of a rule with PLATFORM_ATTRS.
      attribute: name of the attribute that would say it otherwise.
    """
    for constraint, architecture in ctx.attr._architectures.items():
        if ctx.target_platform_has_constraint(constraint[platform_common.ConstraintValueInfo]):
            return "linux/" + architecture
    return bad_attribute(ctx, attribute, "the target platform does not say it; expected a value as `linux/amd64`")
