# shellcheck shell=bash
# What was built goes to other machines: by a signed binary cache, as a directory and over HTTP, and by a remote builder. Each
# begins with an empty store.
# shellcheck disable=SC2154

# What is distributed: every output of examples/hello.
distributed=(layer image seed bundle preseed disk)

# with_store NAME COMMAND...: with another store at /nix, empty at its first use.
with_store() {
    local store=/scratch/stores/$1
    shift
    mkdir -p "$store"
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --propagation private -- bash -c 'mount --bind "$0" /nix && "$@"' "$store" "$@"
}

# build_in STORE OPTION...: builds what is distributed, with links to it in /scratch/links/STORE.
build_in() {
    local store=$1 attributes=() attribute
    shift
    for attribute in "${distributed[@]}"; do attributes+=(--attr "$attribute"); done
    mkdir -p "/scratch/links/$store"
    with_store "$store" nix-build "$checkout/examples/hello" "${attributes[@]}" --arg ociseed "$binaries/ociseed" \
        --arg server "$binaries/hello-server" --out-link "/scratch/links/$store/result" "$@" >/scratch/paths 2>/scratch/log
}

# happened WORD: how many derivations were `building`, or paths were `copying path`.
happened() { grep -c "^$1 '/nix/store/" /scratch/log; }

is_the_same() {
    with_store "$1" cmp "$(sed -n 6p /scratch/paths)" "$spec/hello/disk/appliance.erofs" &&
        with_store "$1" cmp "$(sed -n 4p /scratch/paths)" "$spec/hello/bundle/hello.tar"
}

# substitutes STORE URL: gets all of it from there, and builds nothing.
substitutes() {
    local store=$1 url=$2 copied built
    if ! build_in "$store" --option substituters "$url" --option trusted-public-keys "$(cat /scratch/public-key)"; then
        fail "nothing comes from $url: $(cat /scratch/log)"
        return
    fi
    built=$(happened building) || true
    copied=$(happened 'copying path') || true
    if ((built == 0 && copied == ${#distributed[@]})) && is_the_same "$store"; then
        pass "$copied outputs come from $url, $built are built"
    else
        fail "from $url come $copied outputs of ${#distributed[@]}, $built are built: $(cat /scratch/log)"
    fi
}

# untrusted WHAT URL: takes nothing from there; without jobs there is no other way.
untrusted() {
    local what=$1 url=$2
    if build_in refused --option substituters "$url" --option trusted-public-keys "$(cat /scratch/public-key)" --max-jobs 0; then
        fail "outputs come from $what"
    elif (($(happened 'copying path' || true) > 0)) || ! grep -q 'sign' /scratch/log; then
        fail "$what gives: $(cat /scratch/log)"
    else
        pass "$what is not trusted"
    fi
}

check_binary_cache() {
    local paths key
    mapfile -t paths < <(build "$checkout/examples/hello" "${distributed[@]}")
    for key in key other-key; do
        nix key generate-secret --key-name "$key-1" >"/scratch/$key"
        nix key convert-secret-to-public <"/scratch/$key" >"/scratch/public-$key"
    done
    nix copy --to 'file:///scratch/signed?compression=zstd&secret-key=/scratch/key' "${paths[@]}" 2>/scratch/log
    nix copy --to 'file:///scratch/other?compression=zstd&secret-key=/scratch/other-key' "${paths[@]}" 2>/scratch/log
    nix copy --to 'file:///scratch/unsigned?compression=zstd' "${paths[@]}" 2>/scratch/log
    untrusted "a cache without signatures" file:///scratch/unsigned
    untrusted "a cache that another key signed" file:///scratch/other
    substitutes from-file file:///scratch/signed
    serve /scratch/signed 8101
    substitutes from-http http://127.0.0.1:8101
    stop_serving
}

# built_in STORE [OPTION]...: how many of what is distributed were built in that store, as it remembers, and did not come there.
built_in() { with_store "$1" xargs nix path-info --sigs "${@:2}" </scratch/paths | grep -cw ultimate || true; }

# The other machine is another store, reached by Nix's own protocol for builders.
check_remote_builder() {
    local far='local?root=/scratch/far' all=${#distributed[@]} here there
    if ! build_in from-builder --max-jobs 0 --builders "$far $(uname -m)-linux - 2 1"; then
        fail "nothing is built by the remote builder: $(cat /scratch/log)"
        return
    fi
    here=$(built_in from-builder)
    there=$(built_in from-builder --store "$far")
    if ((here == 0 && there == all)) && is_the_same from-builder; then
        pass "a remote builder builds $there outputs of $all, this machine $here"
    else
        fail "a remote builder builds $there outputs of $all, this machine $here: $(cat /scratch/log)"
    fi
}

check_distribution() {
    build_spec_of_hello
    local NIX_CONFIG="$NIX_CONFIG
experimental-features = nix-command
narinfo-cache-negative-ttl = 0
narinfo-cache-positive-ttl = 0"
    export NIX_CONFIG
    check_binary_cache
    check_remote_builder
}
