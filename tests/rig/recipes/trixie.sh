# shellcheck shell=bash disable=SC2034
# containerd 1.7, Docker 26.1, podman 5.4.
packages=("${common_packages[@]}" docker-cli)
