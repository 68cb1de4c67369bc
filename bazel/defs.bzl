"""Public rules and providers: layers, images, bundles and seeds.

Everything else below //bazel/private may change without notice.
"""

load("//bazel/private:bundle.bzl", _oci_bundle = "oci_bundle")
load("//bazel/private:image.bzl", _oci_image = "oci_image")
load("//bazel/private:layer.bzl", _oci_layer = "oci_layer")
load("//bazel/private:seed.bzl", _oci_seed = "oci_seed")
load("//bazel/private:toolchain.bzl", _ociseed_toolchain = "ociseed_toolchain")
load("//bazel/private/providers:image_info.bzl", _ImageInfo = "ImageInfo")
load("//bazel/private/providers:layer_info.bzl", _LayerInfo = "LayerInfo")
load("//bazel/private/providers:seed_info.bzl", _SeedInfo = "SeedInfo")

oci_layer = _oci_layer
oci_image = _oci_image
oci_bundle = _oci_bundle
oci_seed = _oci_seed
ociseed_toolchain = _ociseed_toolchain

LayerInfo = _LayerInfo
ImageInfo = _ImageInfo
SeedInfo = _SeedInfo
