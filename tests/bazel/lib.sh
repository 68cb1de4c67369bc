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

say() { printf '%s\n' "$*"; }

# check NAME COMMAND...: runs a check and counts it; what a failed one said is shown.
check() {
    local name=$1
    shift
    if "$@" >"$log" 2>&1; then
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
    make_package "$copy/tests/bazel/cases/made.deb"
    # The spec's build, in its own copy: the checks change Bazel's.
    cp -r -- "$checkout/examples/hello" /scratch/hello
}

# make_package FILE: the least that is a Debian package.
make_package() {
    local tree=/scratch/package
    mkdir -p "$tree/DEBIAN" "$tree/usr/share/made"
    printf 'Package: made\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: made\n' >"$tree/DEBIAN/control"
    echo made >"$tree/usr/share/made/file"
    dpkg-deb --root-owner-group --build "$tree" "$1" >/dev/null
}

# bazel_in DIR COMMAND [ARG]...: each workspace has a server, which stays until shut_down.
bazel_in() {
    local dir=$1 command=$2
    shift 2
    (
        cd -- "$dir"
        bazel --output_user_root=/scratch/bazel --host_jvm_args=-Xmx512m --max_idle_secs=300 --bazelrc="$tests/debian.bazelrc" \
            "$command" "${workspace_flags[@]}" --registry=file:///scratch/registry "$@"
    )
}

shut_down() {
    bazel_in "$1" shutdown >/dev/null 2>&1 || true
}

# build DIR [OPTION]... [TARGET]...: builds everything there unless TARGETs are named; leaves the execution log in /scratch/actions.
build() {
    local dir=$1
    shift
    bazel_in "$dir" build --repo_env=OCISEED="$binaries/ociseed" --repo_env=HELLO_SERVER="$binaries/hello-server" \
        --jobs=2 --noshow_progress --output_groups=+lock,+metadata --execution_log_json_file=/scratch/actions "$@"
}

# ran MNEMONIC=COUNT...: checks which actions the last build ran, and how.
ran() { python3 "$tests/check_log.py" /scratch/actions "$@"; }

# same DIR SPEC_OUTPUTS BAZEL_PATH=SPEC_PATH...: compares outputs.
same() { python3 "$tests/compare.py" "$binaries/ociseed" "$@"; }

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
