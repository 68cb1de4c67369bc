# shellcheck shell=bash disable=SC2034
# containerd 1.6: the oldest store layout that is supported.
packages=("${common_packages[@]}")
