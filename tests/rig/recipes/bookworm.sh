# shellcheck shell=bash disable=SC2034
# containerd 1.6: the oldest store layout that is supported. Docker 20.10, whose package has the client too; podman 4.3.
packages=("${common_packages[@]}")
