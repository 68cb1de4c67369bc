# shellcheck shell=bash disable=SC2034
# containerd 2.1, Docker 28.5, podman 5.8, and the build systems: their rules are tested in this root. The first suite that
# has crane.
packages=("${common_packages[@]}" docker-cli bazel-bootstrap nix-bin crane git zstd)
# A server for remote execution of Bazel's actions, on loopback (tests/bazel/remote): Debian has the worker, not the scheduler.
packages+=(buildbox bubblewrap postgresql)
python_programs=(buildgrid)
# Debian 12's debootstrap has no script of this name.
debootstrap_script=sid
