# shellcheck shell=bash disable=SC2034
# containerd 1.6: the oldest store layout that is supported. Docker 20.10, whose package has the client too; podman 4.3. Nix 2.8,
# the oldest that the Nix functions are for.
packages=("${common_packages[@]}" nix-bin)
# What tests boot (tests/e2e/guest_base.py): Linux 6.1, the oldest kernel that EROFS images are for, under an emulator, since
# many machines that run tests cannot run guests of their own. Appliances (tests/e2e/appliance.py) are made of files of this
# root, and these two packages are only for them: nothing of systemd runs here.
if [[ $(uname -m) == x86_64 ]]; then
    packages+=(qemu-system-x86 systemd cryptsetup-bin)
    guest_kernel=linux-image-cloud-amd64
fi
