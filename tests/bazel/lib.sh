# What the scripts that run in the root with Bazel share; sourced.
#
#   source lib.sh CHECKOUT BINARIES COUNTS
#
# BINARIES has the programs; COUNTS gets the numbers of checks (finish). Writes below /scratch.
# shellcheck shell=bash

checkout=$1
binaries=$2
counts=$3
tests=$checkout/tests/bazel
copy=/scratch/checkout
log=/scratch/log
passed=0
failed=0
# What checks are told apart by.
mode=
workspace_flags=()
# How actions run, and what the execution log calls that. Said, since Bazel would choose workers by itself.
strategy=(--spawn_strategy=linux-sandbox)
runner=linux-sandbox

# Bazel with a small server; the toolchain's and the examples' programs.
bazel=(bazel --host_jvm_args=-Xmx512m --max_idle_secs=300 --bazelrc="$tests/debian.bazelrc")
programs=(--repo_env=OCISEED="$binaries/ociseed" --repo_env=HELLO_SERVER="$binaries/hello-server")
# Where servers keep what they built; another one knows nothing of that.
output_user_root=/scratch/bazel

# shellcheck disable=SC2034 # read by whoever sources this
# What both examples make, beside what the build of the spec makes, and by which actions.
hello_outputs=(
    app.tar.zst=layer/app.tar.zst app.layer.json=layer/app.json hello.image.json=image/hello.json
    hello_bundle.tar=bundle/hello.tar hello_layout=bundle/hello-layout
    appliance=seed/appliance appliance.lock.json=seed/appliance/seed.json
)
hello_actions=(OciLayer=1 OciImage=1 OciBundle=2 OciSeed=1 OciLock=1)

case_outputs=(
    notes.tar=layer/notes.tar notes.layer.json=layer/notes.json more.tar.zst=layer/more.tar.zst more.layer.json=layer/more.json
    one.image.json=image/one.json two.image.json=image/two.json all.tar=bundle/all.tar both=seed/both
    both.lock.json=seed/both/seed.json rich.tar.gz=layer/rich.tar.gz rich.layer.json=layer/rich.json over.image.json=image/over.json
    everywhere.index.json=index/everywhere.json both_kinds.index.json=index/both_kinds.json indexes=bundle/indexes
    docker.tar=bundle/docker.tar from_directory.image.json=image/from_directory.json from_files.image.json=image/from_files.json
    from_archive.image.json=image/from_archive.json index_from_directory.index.json=index/index_from_directory.json
    over_imported.image.json=image/over_imported.json imported.tar=bundle/imported.tar stocked=seed/stocked
    preseed=store/stocked.archives root.tar=store/stocked.containerd.tar seed_disk.erofs=disk/seed_disk.erofs
    seed_disk.disk.json=disk/seed_disk.json seed_tar.tar=disk/seed_tar.tar root_disk.erofs=disk/root_disk.erofs
    preseed_disk.tar=disk/preseed_disk.tar initramfs.cpio=disk/initramfs.cpio layer_disk.erofs=disk/layer_disk.erofs
)
# Layers and an image of three platforms: the host's, and two of an index.
case_actions=(OciLayer=8 OciImage=7 OciIndex=2 OciImport=4 OciBundle=5 OciSeed=4 OciLock=4 OciStore=2 OciDisk=6)

say() { printf '%s\n' "$*"; }

# check NAME COMMAND...: runs a check and counts it; what a failed one said is shown. It passes when every command in it does: with
# `if COMMAND` bash would go on after one that failed. What it sets is gone afterwards.
check() {
    local name=$1 status
    shift
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1
    status=$?
    set -e
    if ((status == 0)); then
        say "ok: $mode: $name"
        grep '^    ' "$log" || true
        passed=$((passed + 1))
    else
        say "FAIL: $mode: $name"
        cat "$log"
        failed=$((failed + 1))
    fi
}

# A copy, because the checks write to it; of what the rules consist of, so that nothing else is used unseen.
copy_checkout() {
    mkdir -p "$copy/examples" "$copy/tests"
    cp -r -- "$checkout"/{bazel,MODULE.bazel,WORKSPACE,.bazelrc,.bazelignore} "$copy"
    cp -r -- "$checkout/examples/hello" "$copy/examples/hello"
    cp -r -- "$checkout/tests/bazel" "$copy/tests/bazel"
    # Nothing that Bazel tells its actions: it must not get into the layer.
    chmod +x "$copy/examples/hello/index.html"
    make_package made file "$copy/tests/bazel/cases/made.deb"
    make_package other left-out "$copy/tests/bazel/cases/other.deb"
    # The spec's build, in its own copy: the checks change Bazel's.
    cp -r -- "$checkout/examples/hello" /scratch/hello
}

# set_up: what all but the simplest checks need. The layout that the cases have among their files is what the spec's build makes.
set_up() {
    bazel --version
    copy_checkout
    python3 "$tests/make_registry.py" /scratch/registry
    mode=spec
    check "the spec of examples/hello builds" "$binaries/ociseed" build /scratch/hello/ociseed.toml \
        --input server="$binaries/hello-server" --out /scratch/spec
    cp -r -- /scratch/spec/bundle/hello-layout "$copy/tests/bazel/cases/checked_in"
}

# make_package NAME FILE PACKAGE: the least that is a Debian package, with one file.
make_package() {
    local name=$1 file=$2 tree=/scratch/package-$1
    mkdir -p "$tree/DEBIAN" "$tree/usr/share/$name"
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: made\n' "$name" >"$tree/DEBIAN/control"
    echo "$name" >"$tree/usr/share/$name/$file"
    dpkg-deb --root-owner-group --build "$tree" "$3" >/dev/null
}

# bazel_in DIR COMMAND [ARG]...: each workspace has a server, which stays until shut_down. What takes minutes has stopped: an
# interrupt ends it in good order.
bazel_in() {
    local dir=$1 command=$2
    shift 2
    (
        cd -- "$dir" || return
        timeout --signal=INT --kill-after=30 300 "${bazel[@]}" --output_user_root="$output_user_root" "$command" \
            "${workspace_flags[@]}" --registry=file:///scratch/registry "$@"
    )
}

shut_down() {
    bazel_in "$1" shutdown >/dev/null 2>&1 || true
}

# build DIR [OPTION]... [TARGET]...: builds everything there unless TARGETs are named; leaves the execution log in /scratch/actions.
build() {
    local dir=$1
    shift
    bazel_in "$dir" build "${programs[@]}" --jobs=2 --noshow_progress "${strategy[@]}" --output_groups=+lock,+metadata \
        --execution_log_json_file=/scratch/actions "$@"
}

# ran MNEMONIC=COUNT...: checks which actions the last build ran, and how.
ran() { python3 "$tests/check_log.py" "$runner" /scratch/actions "$@"; }

# same DIR SPEC_OUTPUTS BAZEL_PATH=SPEC_PATH...: compares outputs.
same() { python3 "$tests/compare.py" "$binaries/ociseed" "$@"; }

# Builds the spec of the cases, with what Bazel made of them as inputs.
spec_of_cases() {
    local made=$copy/bazel-bin/tests/bazel/cases spec=$copy/tests/bazel/cases/ociseed.toml
    rm -rf /scratch/cases /scratch/runfiles
    # Beside the runfiles Bazel keeps a list of them.
    cp -rL -- "$made/program.runfiles" /scratch/runfiles && rm /scratch/runfiles/MANIFEST
    ((${#workspace_flags[@]} == 0)) || sed -i 's|runfiles/_main/|runfiles/ociseed/|' "$spec"
    "$binaries/ociseed" build "$spec" --out /scratch/cases --input notes.tar="$made/notes.tar" \
        --input layout="$made/layout" --input runfiles=/scratch/runfiles --input indexes="$made/indexes" \
        --input docker.tar="$made/docker.tar"
}

build_and() {
    local dir=$1
    shift
    build "$dir" //... && ran "$@"
}

# finish: says how many checks passed, and fails if one did not.
finish() {
    say "$passed passed, $failed failed"
    printf 'passed %d\nfailed %d\n' "$passed" "$failed" >"$counts"
    ((failed == 0))
}
