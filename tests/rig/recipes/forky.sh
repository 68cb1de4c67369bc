# shellcheck shell=bash disable=SC2034
# containerd 2.1, and the build systems: their rules are tested in this root.
packages=("${common_packages[@]}" bazel-bootstrap nix-bin erofs-utils crane git zstd)
# Debian 12's debootstrap has no script of this name.
debootstrap_script=sid
