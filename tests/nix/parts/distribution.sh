# shellcheck shell=bash
# What was built goes to other machines: by a signed binary cache, as a directory and over HTTP, and by a remote builder. Each
# begins with an empty store.
# shellcheck disable=SC2154

# distribute EXAMPLE OUTPUT=PATH...: what is distributed, outputs with what the spec made of them.
distribute() {
    distributed_file=$1
    shift
    distributed=("${@%%=*}")
    distributed_as=("${@#*=}")
    arguments=(--arg ociseed "$binaries/ociseed")
    [[ $distributed_file == */nginx ]] || arguments+=(--arg server "$binaries/hello-server")
}

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
    with_store "$store" nix-build "$distributed_file" "${attributes[@]}" "${arguments[@]}" \
        --out-link "/scratch/links/$store/result" "$@" >/scratch/paths 2>/scratch/log
}

# happened WORD: how many derivations were `building`, or paths were `copying path`.
happened() { grep -c "^$1 '/nix/store/" /scratch/log; }

is_the_same() {
    local paths index
    mapfile -t paths </scratch/paths
    for index in "${!paths[@]}"; do
        with_store "$1" diff -r "${paths[index]}" "${distributed_as[index]}" >&2 || return
    done
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
        pass "$copied outputs of ${distributed_file##*/} come from $url, $built are built"
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

make_keys() {
    local key
    for key in key other-key; do
        nix key generate-secret --key-name "$key-1" >"/scratch/$key"
        nix key convert-secret-to-public <"/scratch/$key" >"/scratch/public-$key"
    done
}

check_untrusted_caches() {
    local paths
    mapfile -t paths < <(build "$distributed_file" "${distributed[@]}")
    nix copy --to 'file:///scratch/other?compression=zstd&secret-key=/scratch/other-key' "${paths[@]}" 2>/scratch/log
    nix copy --to 'file:///scratch/unsigned?compression=zstd' "${paths[@]}" 2>/scratch/log
    untrusted "a cache without signatures" file:///scratch/unsigned
    untrusted "a cache that another key signed" file:///scratch/other
}

check_binary_cache() {
    local paths name=${distributed_file##*/}
    mapfile -t paths < <(build "$distributed_file" "${distributed[@]}")
    nix copy --to "file:///scratch/signed-$name?compression=zstd&secret-key=/scratch/key" "${paths[@]}" 2>/scratch/log
    substitutes "$name-from-file" "file:///scratch/signed-$name"
    serve "/scratch/signed-$name" 8101
    substitutes "$name-from-http" http://127.0.0.1:8101
    stop_serving
}

# built_in STORE [OPTION]...: how many of what is distributed were built in that store, as it remembers, and did not come there.
built_in() { with_store "$1" xargs nix path-info --sigs "${@:2}" </scratch/paths | grep -cw ultimate || true; }

# The other machine is another store, reached by Nix's own protocol for builders.
check_remote_builder() {
    local name=${distributed_file##*/} all=${#distributed[@]} here there
    local far="local?root=/scratch/far-$name" store="$name-from-builder"
    if ! build_in "$store" --max-jobs 0 --builders "$far $(uname -m)-linux - 2 1"; then
        fail "nothing is built by the remote builder: $(cat /scratch/log)"
        return
    fi
    here=$(built_in "$store")
    there=$(built_in "$store" --store "$far")
    if ((here == 0 && there == all)) && is_the_same "$store"; then
        pass "a remote builder builds $there outputs of $all of $name, this machine $here"
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
    make_keys
    distribute "$checkout/examples/hello" "layer=$spec/hello/layer/app.tar.zst" "image=$spec/hello/image/hello.json" \
        "seed=$spec/hello/seed/appliance" "bundle=$spec/hello/bundle/hello.tar" "preseed=$spec/hello/store/appliance.archives.tar" \
        "disk=$spec/hello/disk/appliance.erofs"
    check_untrusted_caches
    check_binary_cache
    check_remote_builder
    # tests/nix/run said why its packages are not there.
    [[ -d /inputs ]] || return 0
    prepare_nginx
    distribute "$nginx" base=/inputs/nginx/layer/base.tar.zst server=/inputs/nginx/layer/nginx.tar.zst \
        site=/inputs/nginx/layer/site.tar.zst debian=/inputs/nginx/image/debian.json nginx=/inputs/nginx/image/nginx.json \
        bundle=/inputs/nginx/bundle/nginx.tar seed=/inputs/nginx/seed/appliance \
        preseed=/inputs/nginx/store/appliance.archives.tar disk=/inputs/nginx/disk/appliance.erofs
    check_binary_cache
    check_remote_builder
}
