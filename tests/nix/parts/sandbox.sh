# shellcheck shell=bash
# What builders see of their host.

# probe SECRET EXPECTED [OPTION]...: whether builders, with these options, see that file of the host.
probe() {
    local secret=$1 expected=$2 seen
    shift 2
    echo secret >"$secret"
    nix-build "$checkout/tests/nix/probe.nix" --out-link /scratch/probe --arg busybox /usr/bin/busybox \
        --argstr secret "$secret" "$@" &>/scratch/log || cat /scratch/log
    seen=$(cat /scratch/probe)
    if [[ $seen == "$expected" ]]; then
        pass "files of the host are $seen to a builder${*:+ ($*)}"
    else
        fail "files of the host are $seen to a builder${*:+ ($*)}, expected: $expected"
    fi
}

check_sandbox() {
    # With the settings of all builds below; then without a sandbox, which shows that the probe can see.
    probe /scratch/secret hidden
    probe /scratch/open visible --option sandbox false
}

# With the settings of all builds below.
check_settings() {
    if nix-instantiate --expr 'builtins.readFile (derivation { name = "a"; system = builtins.currentSystem; builder = "/bin/sh"; })' \
        &>/scratch/log; then
        fail 'an expression that needs a build to be read is taken'
    elif grep -q 'allow-import-from-derivation' /scratch/log; then
        pass 'no expression can need a build to be read'
    else
        fail "an expression that needs a build to be read gives: $(cat /scratch/log)"
    fi
}
