# shellcheck shell=bash disable=SC2034
# containerd 1.7.
packages=("${common_packages[@]}")
