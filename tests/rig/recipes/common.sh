# shellcheck shell=bash disable=SC2034
# What every root holds: the engines under test, the judges, and what the tests themselves are written in. docker.io
# brings iptables, podman brings conmon. crun is podman's default runtime; where the old cgroup hierarchies are mounted
# beside the new one it refuses to run, and runc serves podman too. gRPC is how tests speak to containerd as the kubelet does;
# no suite has crictl.
common_packages=(
    containerd runc
    docker.io
    podman crun
    skopeo umoci erofs-utils cpio
    busybox-static python3 python3-grpcio strace iproute2 procps
)
