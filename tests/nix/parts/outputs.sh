# shellcheck shell=bash
# Outputs: the bytes that `ociseed build` makes of the spec, reproducible, without references.

# Compares what an attribute made with what the spec made; where it has links to blobs, what these lead to.
same() {
    if [[ -d $1 ]]; then
        diff -r "$1" "$2" && diff <(executables "$1") <(executables "$2")
    else
        cmp "$1" "$2"
    fi
}

executables() { (cd -- "$1" && find -L . -type f -perm /111 | sort); }

# The store paths that a directory has links to.
linked() { if [[ -d $1 ]]; then find "$1" -type l -printf '%l\n' | cut -d / -f 1-4 | sort --unique; fi; }

# compare FILE ATTRIBUTE PATH: what the attribute makes is, byte for byte, what the spec made at PATH; it refers to no
# store path but those that it has links to; and made again it is the same. `compared` looks: Nix is asked about all at once.
compare() {
    compared_file=$1
    compared_attributes+=("$2")
    compared_with+=("$3")
}

compared_attributes=()
compared_with=()

# Looks at what `compare` collected.
compared() {
    local paths index
    mapfile -t paths < <(build "$compared_file" "${compared_attributes[@]}")
    if ((${#paths[@]} != ${#compared_attributes[@]})); then
        fail "$compared_file: expected ${#compared_attributes[@]} outputs, found ${#paths[@]}"
    else
        for index in "${!paths[@]}"; do
            compare_output "${compared_attributes[index]}" "${paths[index]}" "${compared_with[index]}"
        done
        if build "$compared_file" "${compared_attributes[@]}" --check >/dev/null; then
            pass "${compared_file#"$checkout/"}: ${#paths[@]} outputs are the same when made again"
        else
            fail "$compared_file is not the same when made again"
        fi
    fi
    compared_attributes=()
    compared_with=()
}

compare_output() {
    local attribute=$1 path=$2 expected=$3 references=
    if discards_references; then references=$(comm -3 <(nix-store --query --references "$path" | sort) <(linked "$path")); fi
    if ! same "$path" "$expected"; then
        fail "$attribute is not $expected"
    elif [[ -n $references ]]; then
        fail "$attribute refers to, or has links to without that: $references"
    elif [[ -d $path ]]; then
        pass "$attribute: $(find -L "$path" -type f | wc -l) files as from the spec"
    else
        pass "$attribute: sha256:$(sha256sum <"$path" | cut -c1-64)"
    fi
}

# What `ociseed build` makes of examples/hello, once.
build_spec_of_hello() {
    [[ -e $spec/hello ]] || "$binaries/ociseed" build "$checkout/examples/hello/ociseed.toml" \
        --input "server=$binaries/hello-server" --out "$spec/hello"
}

compare_hello() {
    local file=$checkout/examples/hello
    build_spec_of_hello
    compare "$file" layer "$spec/hello/layer/app.tar.zst"
    compare "$file" layer.metadata "$spec/hello/layer/app.json"
    compare "$file" image "$spec/hello/image/hello.json"
    compare "$file" bundle "$spec/hello/bundle/hello.tar"
    compare "$file" bundle-layout "$spec/hello/bundle/hello-layout"
    compare "$file" seed "$spec/hello/seed/appliance"
    compare "$file" seed.lock "$spec/hello/seed/appliance/seed.json"
    compare "$file" preseed "$spec/hello/store/appliance.archives.tar"
    compare "$file" disk "$spec/hello/disk/appliance.erofs"
    compare "$file" disk.metadata "$spec/hello/disk/appliance.json"
    compared
    python3 "$checkout/tests/nix/lock_ids.py" "$(build "$file" seed.lock)"
}

# The least that is a Debian package.
make_package() {
    local tree=/scratch/package
    mkdir -p "$tree/DEBIAN" "$tree/usr/share/made"
    printf 'Package: made\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: made\n' >"$tree/DEBIAN/control"
    echo made | tee "$tree/usr/share/made/file" >"$tree/usr/share/made/left-out"
    dpkg-deb --root-owner-group --build "$tree" /scratch/made.deb >/dev/null
}

compare_cases() {
    local file=$checkout/tests/nix/cases.nix inputs
    inputs=(--input "base=$spec/hello/bundle/hello-layout" --input "archive=$spec/hello/bundle/hello.tar"
        --input "app=$spec/hello/layer/app.tar.zst" --input deb=/scratch/made.deb)
    # `both` is taken in again.
    "$binaries/ociseed" build "$checkout/tests/nix/cases.toml" "${inputs[@]}" --out "$spec/first" bundle.both
    "$binaries/ociseed" build "$checkout/tests/nix/cases.toml" "${inputs[@]}" --input "both=$spec/first/bundle/both" \
        --out "$spec/cases"
    compare "$file" tree "$spec/cases/layer/tree.tar.zst"
    compare "$file" tree.metadata "$spec/cases/layer/tree.json"
    compare "$file" renamed "$spec/cases/layer/tree.tar.zst"
    compare "$file" plain "$spec/cases/layer/plain.tar"
    compare "$file" scratch "$spec/cases/image/scratch.json"
    compare "$file" over "$spec/cases/image/over.json"
    compare "$file" same "$spec/cases/image/same.json"
    compare "$file" bundle "$spec/cases/bundle/all"
    compare "$file" seed "$spec/cases/seed/all"
    compare "$file" packed "$spec/cases/layer/packed.tar.gz"
    compare "$file" packed.metadata "$spec/cases/layer/packed.json"
    compare "$file" alone "$spec/cases/layer/alone.tar.gz"
    compare "$file" imported "$spec/cases/image/imported.json"
    compare "$file" over-imported "$spec/cases/image/over-imported.json"
    compare "$file" platforms "$spec/cases/index/platforms.json"
    compare "$file" imported-index "$spec/cases/index/imported-index.json"
    compare "$file" both "$spec/cases/bundle/both"
    compare "$file" docker "$spec/cases/bundle/docker.tar"
    compare "$file" again "$spec/cases/bundle/again.tar"
    compare "$file" stocked "$spec/cases/seed/stocked"
    compare "$file" stocked.lock "$spec/cases/seed/stocked/seed.json"
    compare "$file" preseed "$spec/cases/store/stocked.archives"
    compare "$file" tars "$spec/cases/store/tars.archives.tar"
    compare "$file" root "$spec/cases/store/stocked.containerd.tar"
    compare "$file" seed-disk "$spec/cases/disk/seed-disk.erofs"
    compare "$file" seed-disk.metadata "$spec/cases/disk/seed-disk.json"
    compare "$file" store-disk "$spec/cases/disk/store-disk.tar"
    compare "$file" archives-disk "$spec/cases/disk/archives-disk.cpio"
    compare "$file" image-disk "$spec/cases/disk/image-disk.tar"
    compare "$file" layer-disk "$spec/cases/disk/layer-disk.erofs"
    compared
}

# Real packages, and every artifact of the spec; of the tested copy, whose lock is another one where the mirror has moved on.
nginx=/scratch/copy/examples/nginx

# The example with its packages, once.
prepare_nginx() {
    [[ ! -d $nginx ]] || return 0
    mkdir -p "${nginx%/*}"
    cp -r -- "$checkout/nix" /scratch/copy/nix
    cp -r -- /inputs/nginx-example "$nginx"
    # The example may be older than what it is tested with.
    cp -- "$checkout/examples/nginx/default.nix" "$nginx"
}

compare_nginx() {
    local file=$nginx path
    # tests/nix/run said why its packages are not there.
    [[ -d /inputs ]] || return 0
    prepare_nginx
    local outputs=(base=layer/base.tar.zst base.metadata=layer/base.json server=layer/nginx.tar.zst
        server.metadata=layer/nginx.json site=layer/site.tar.zst site.metadata=layer/site.json debian=image/debian.json
        nginx=image/nginx.json bundle=bundle/nginx.tar seed=seed/appliance seed.lock=seed/appliance/seed.json
        preseed=store/appliance.archives.tar disk=disk/appliance.erofs disk.metadata=disk/appliance.json)
    for path in "${outputs[@]}"; do compare "$file" "${path%%=*}" "/inputs/nginx/${path#*=}"; done
    compared
    # Every artifact of the report is among them.
    python3 -c 'import json, sys; [print(each["path"]) for each in json.load(sys.stdin)["targets"].values()]' \
        </inputs/nginx/report.json >/scratch/paths
    while read -r path; do
        [[ " ${outputs[*]} " == *"=$path "* ]] || fail "\`$path\` of examples/nginx is not compared"
    done </scratch/paths
    # The store has what the lock named so far.
    cp -r -- /scratch/copy /scratch/spoiled
    file=/scratch/spoiled/examples/nginx
    sed -i '/"name": "sed"/s/"sha256": "[0-9a-f]*"/"sha256": "'"$(printf '0%.0s' {1..64})"'"/' "$file/packages.lock"
    if build "$file" base 2>/scratch/bad; then
        fail "a package that is not the locked one is taken"
    elif grep -q 'hash.*sed\.deb\|mismatch' /scratch/bad; then
        pass "refused: a package that is not the locked one"
    else
        fail "a package that is not the locked one gives: $(cat /scratch/bad)"
    fi
}

# Store paths in an uncompressed blob are content, not references.
check_references() {
    local blob named references
    blob=$(build "$checkout/tests/nix/cases.nix" naming)
    for named in '/nix/store/[^/]*-ociseed' '/nix/store/[^/]*-app.tar.zst'; do
        if ! grep -qa "$named" "$blob"; then fail "the blob does not name $named; this check checks nothing"; fi
    done
    references=$(nix-store --query --references "$blob")
    if ! discards_references; then
        # What it scans for is what goes into the derivation, and the text of the other does not.
        if [[ $references == /nix/store/*-ociseed && $references != *$'\n'* ]]; then
            pass 'store paths of inputs in a layer are references, as in every output of this version'
        else
            fail "expected the layer to refer to the input that it names, found: $references"
        fi
    elif [[ -n $references ]]; then
        fail "store paths in a layer's files became references: $references"
    else
        pass "store paths in a layer's files are no references"
    fi
}

# Programs in another place and under another name give the same store paths.
check_places() {
    local here there
    mkdir -p '/scratch/another place'
    cp "$binaries/ociseed" '/scratch/another place/tool'
    cp "$binaries/hello-server" '/scratch/another place/the server'
    here=$(build "$checkout/examples/hello" seed)
    there=$(build "$checkout/examples/hello" seed --arg ociseed '/scratch + "/another place/tool"' \
        --arg server '/scratch + "/another place/the server"')
    if [[ $here == "$there" ]]; then
        pass 'names and places of inputs reach no store path'
    else
        fail "programs in another place give $there, not $here"
    fi
}
