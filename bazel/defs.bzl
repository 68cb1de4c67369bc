"""Public rules and providers: layers, images, bundles, seeds, stores and disks.

Everything else below //bazel/private may change without notice.
"""

load("//bazel/private:bundle.bzl", _oci_bundle = "oci_bundle")
load("//bazel/private:disk.bzl", _oci_disk = "oci_disk")
load("//bazel/private:image.bzl", _oci_image = "oci_image")
load("//bazel/private:import.bzl", _oci_import = "oci_import")
load("//bazel/private:index.bzl", _oci_index = "oci_index")
load("//bazel/private:layer.bzl", _oci_layer = "oci_layer")
load("//bazel/private:load.bzl", _oci_load = "oci_load")
load("//bazel/private:seed.bzl", _oci_seed = "oci_seed")
load("//bazel/private:seed_test.bzl", _seed_test = "seed_test")
load("//bazel/private:store.bzl", _oci_store = "oci_store")
load(
    "//bazel/private:toolchain.bzl",
    _ociseed_loader = "ociseed_loader",
    _ociseed_loader_toolchain = "ociseed_loader_toolchain",
    _ociseed_toolchain = "ociseed_toolchain",
)
load("//bazel/private/providers:disk_info.bzl", _DiskInfo = "DiskInfo")
load("//bazel/private/providers:image_info.bzl", _ImageInfo = "ImageInfo")
load("//bazel/private/providers:index_info.bzl", _IndexInfo = "IndexInfo")
load("//bazel/private/providers:layer_info.bzl", _LayerInfo = "LayerInfo")
load("//bazel/private/providers:seed_info.bzl", _SeedInfo = "SeedInfo")
load("//bazel/private/providers:source_info.bzl", _SourceInfo = "SourceInfo")
load("//bazel/private/providers:store_info.bzl", _StoreInfo = "StoreInfo")

oci_layer = _oci_layer
oci_image = _oci_image
oci_index = _oci_index
oci_import = _oci_import
oci_bundle = _oci_bundle
oci_seed = _oci_seed
oci_store = _oci_store
oci_disk = _oci_disk
oci_load = _oci_load
seed_test = _seed_test
ociseed_loader = _ociseed_loader
ociseed_toolchain = _ociseed_toolchain
ociseed_loader_toolchain = _ociseed_loader_toolchain

# A place for `oci_pull`, which will bring images from registries.

LayerInfo = _LayerInfo
ImageInfo = _ImageInfo
IndexInfo = _IndexInfo
SourceInfo = _SourceInfo
SeedInfo = _SeedInfo
StoreInfo = _StoreInfo
DiskInfo = _DiskInfo
