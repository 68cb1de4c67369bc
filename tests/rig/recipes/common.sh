# shellcheck shell=bash disable=SC2034
# What every root holds: the engine under test, the judges, and what the tests themselves are written in.
common_packages=(
    containerd runc
    skopeo umoci
    busybox-static python3 strace iproute2 procps
)
