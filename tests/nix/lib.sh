# shellcheck shell=bash
# What the parts of tests/nix/in-root share. shellcheck does not see who reads these: checkout, binaries, counts.
# shellcheck disable=SC2154

passed=0
failed=0

say() { printf '%s\n' "$*"; }

pass() {
    say "$*"
    passed=$((passed + 1))
}

fail() {
    say "FAIL: $*"
    failed=$((failed + 1))
}

# Writes the numbers of checks; fails if one did.
conclude() {
    printf '%s\n' "passed $passed" "failed $failed" | tee "$counts"
    ((failed == 0))
}

# A store of this run alone, no daemon, nothing to fetch from; the sandbox or nothing; what is built is known before
# anything is built.
prepare_nix() {
    mkdir -p /scratch/nix /nix
    mount --bind /scratch/nix /nix
    export NIX_CONFIG='sandbox = true
sandbox-fallback = false
allow-import-from-derivation = false
substituters =
build-users-group =
max-jobs = 2'
    nix --version
    if ! discards_references; then
        say "THIS VERSION OF NIX HAS NO unsafeDiscardReferences: outputs refer to what they name, and that is expected below"
    fi
}

# Whether this Nix leaves references out where a derivation asks for it.
discards_references() { [[ $(printf '%s\n' 2.16 "$(nix --version | sed 's/.* //')" | sort --version-sort | head -n 1) == 2.16 ]]; }

# build FILE ATTRIBUTE... [OPTION]...: prints the outputs' store paths, a line each.
build() {
    local file=$1 arguments=(--arg ociseed "$binaries/ociseed")
    shift
    [[ $file == */nginx ]] || arguments+=(--arg server "$binaries/hello-server")
    [[ $file != */cases.nix ]] || arguments+=(--arg deb /scratch/made.deb)
    while [[ $# -gt 0 && $1 != -* ]]; do
        arguments+=(--attr "$1")
        shift
    done
    nix-build "$file" --no-out-link "${arguments[@]}" "$@" 2>/scratch/log && return
    cat /scratch/log >&2
    return 1
}
