# shellcheck shell=bash
# Layers of closures: the bytes that a spec makes of them, what a container sees, and what an edit has built again.
# shellcheck disable=SC2154

# closure ATTRIBUTE... [OPTION]...: prints the outputs' store paths.
closure() {
    local arguments=()
    while [[ $# -gt 0 && $1 != -* ]]; do
        arguments+=(--attr "$1")
        shift
    done
    nix-build "$checkout/tests/nix/closures.nix" --no-out-link --arg ociseed "$binaries/ociseed" --arg busybox /usr/bin/busybox \
        "${arguments[@]}" "$@" 2>/scratch/log && return
    cat /scratch/log >&2
    return 1
}

# Prints the names of what the last `closure` built, sorted.
was_built() { sed -n "s|^building '/nix/store/[^-]*-\(.*\)\.drv'.*|\1|p" /scratch/log | LC_ALL=C sort | tr '\n' ' '; }

# built WHAT EXPECTED ATTRIBUTE... [OPTION]...: names what is built.
built() {
    local what=$1 expected=$2 found
    shift 2
    closure "$@" >/dev/null || true
    found=$(was_built)
    if [[ $found == "${expected:+$expected }" ]]; then
        pass "$what builds ${expected:-nothing}"
    else
        fail "$what: expected to build \`$expected\`, built \`${found% }\`"
    fi
}

# equal WHAT ONE OTHER: two outputs are the same, links to the store followed.
equal() {
    if diff -r "$2" "$3" >/scratch/log; then
        pass "$1: $(if [[ -d $2 ]]; then find -L "$2" -type f | wc -l; else sha256sum <"$2" | cut -c1-64; fi)"
    else
        fail "$1: $(head -n 3 /scratch/log)"
    fi
}

# quoted PATH...: names of store paths as a list of TOML.
quoted() { printf '"%s",' "${@##*/}"; }

compare_closures() {
    local paths out=$spec/closures attribute
    mapfile -t paths < <(closure libc ssl zlib http alias data shell app)
    local libc=${paths[0]} ssl=${paths[1]} zlib=${paths[2]} http=${paths[3]} alias=${paths[4]} data=${paths[5]} shell=${paths[6]} \
        app=${paths[7]}
    mapfile -t paths < <(closure graph upper-graph plan balanced-plan)
    sed -e "s|@BOTTOM|$(quoted "$libc" "$ssl" "$zlib" "$http")|; s|@MIDDLE|$(quoted "$shell" "$data")|" \
        -e "s|@TOP|$(quoted "$app" "$alias")|; s|@APP|${app##*/}|" "$checkout/tests/nix/closures.toml" >/scratch/closures.toml
    "$binaries/ociseed" build /scratch/closures.toml --quiet --out "$out" --input store=/nix/store --input "graph=${paths[0]}" \
        --input "upper=${paths[1]}" --input "plan=${paths[2]}" --input "balanced=${paths[3]}"
    local pairs=(bottom=layer/bottom.tar.zst middle=layer/middle.tar.zst top=layer/top.tar.gz top.metadata=layer/top.json
        database=layer/database.tar.zst image=image/app.json disk=disk/app.tar bundle=bundle/app popular=image/popular.json
        balanced=image/balanced.json)
    for attribute in "${pairs[@]}"; do
        equal "closure: ${attribute%%=*}" "$(closure "${attribute%%=*}")" "$out/${attribute#*=}"
    done
    # What lies below is left out of the graph's, as it is of the list's.
    paths=("$("$binaries/ociseed" inspect --files --json "$out/layer/upper.tar.zst" | sed -n 's|.*"path":"/nix/store/[^-/]*-\([^/"]*\)".*|\1|p' | tr '\n' ' ')")
    if [[ $(tr ' ' '\n' <<<"${paths[0]}" | sort | tr '\n' ' ') == " alias app-1.0 data shell " ]]; then
        pass "a graph leaves out what lies below"
    else
        fail "what lies below is in the layer: $("$binaries/ociseed" inspect --files "$out/layer/upper.tar.zst")"
    fi
    if [[ $(manifest_layers "$(closure spread)") == 8 && $(manifest_layers "$(closure popular)") == 4 ]]; then
        pass "an image has no layers for parts that a plan does not have"
    else
        fail "images have $(manifest_layers "$(closure spread)") and $(manifest_layers "$(closure popular)") layers"
    fi
    closure pinned >/dev/null
    if closure pinned database bundle balanced --check >/dev/null; then
        pass "layers of closures are the same when made again"
    else
        fail "layers of closures are not the same when made again"
    fi
    check_bundle_references "$(closure bundle)"
    # Its bytes name what it has, and Nix would find that.
    paths=("$(closure plain)")
    if ! grep -qa "$zlib/lib/names\|${zlib##*/}" "${paths[0]}"; then fail "the layer does not name $zlib; this check checks nothing"; fi
    if ! discards_references || [[ -z $(nix-store --query --references "${paths[0]}") ]]; then
        pass "an uncompressed layer of a closure refers to nothing"
    else
        fail "an uncompressed layer of a closure refers to $(nix-store --query --references "${paths[0]}")"
    fi
}

manifest_layers() { python3 -c 'import json, sys; print(len(json.loads(json.load(open(sys.argv[1]))["manifest"])["layers"]))' "$1"; }

# A layout of links keeps alive what it links to, and what that was made of goes.
check_bundle_references() {
    local found expected
    expected=$(find "$1" -type l -printf '%l\n' | sort --unique)
    found=$(nix-store --query --references "$1" | sort)
    if [[ -n $expected && $found == "$expected" ]]; then
        pass "a layout refers to its $(wc -l <<<"$found") layers"
    elif discards_references; then
        fail "a layout refers to \`$found\`, expected \`$expected\`"
    fi
    found=$(nix-store --query --requisites "$1" | grep -c 'libc\|app-1.0$' || true)
    if [[ $found == 0 ]]; then
        pass "nothing that was put into layers is kept alive"
    elif discards_references; then
        fail "$found paths are kept alive that are in layers"
    fi
}

# What is in an image is a store: Nix itself looks at each path's hash, and a program of it runs.
check_closure_store() {
    local root=/scratch/closure-root app said
    app=$(closure app)
    mkdir -p "$root"
    tar -C "$root" --xattrs --xattrs-include='*' -xpf "$(closure disk)"
    if nix-store --store "local?root=$root" --verify --check-contents >/scratch/log 2>&1; then
        pass "Nix finds $(nix-store --store "local?root=$root" --query --requisites "$app" | wc -l) paths in the image, and each is what its hash says"
    else
        fail "nix-store --verify: $(cat /scratch/log)"
    fi
    if diff <(nix-store --query --requisites "$app") <(nix-store --store "local?root=$root" --query --requisites "$app") >/scratch/log; then
        pass "the closure in the image is that of the host"
    else
        fail "the closure in the image is another one: $(cat /scratch/log)"
    fi
    nix-store --store "local?root=$root" --gc >/scratch/log 2>&1 || true
    if [[ -e $root$app && -e $root$(closure libc) ]]; then
        pass "a collection of garbage in the image spares its closure"
    else
        fail "a collection of garbage in the image removed its closure: $(cat /scratch/log)"
    fi
    said=$(chroot "$root" /bin/app)
    if [[ $said == "hello of $app with $(closure alias) and $(closure data)" ]]; then
        pass "what the image starts runs: $said"
    else
        fail "what the image starts says: $said"
    fi
    said=$(stat -c '%a %u:%g %Y' "$root$app/bin/app" "$root$(closure libc)" "$root$(closure libc)/lib/names" | tr '\n' ,)
    if [[ $said == "4755 1:2 1,555 0:0 1,444 0:0 1," ]] && getcap "$root$app/bin/app" | grep -q 'cap_net_bind_service=ep'; then
        pass "modes, owners, times and capabilities of paths: $said"
    else
        fail "modes, owners and times of paths are $said"
    fi
}

check_closure_rebuilds() {
    closure image other >/dev/null
    built "nothing new in a closure" "" image other
    built "an edit of the uppermost path" "app-1.0 app.json database.tar.zst links.tar.zst lists-2.tar.gz" image other --argstr greeting bye
}

check_closure_plans() {
    local old new
    old=$(closure plan)
    # With nothing changed the plan of before gives itself.
    equal "a plan after itself" "$old" "$(closure plan --arg previous "$old")"
    # Not one that this policy would make.
    old=$(closure balanced-plan)
    new=$(closure plan --arg previous "$old" --argstr version 2)
    if diff <(names_of "$old" | sed 's/ssl-1/ssl-2/g') <(names_of "$new") >/scratch/log; then
        pass "a new version of a path stays in its layer"
    else
        fail "a new version of a path moved: $(cat /scratch/log)"
    fi
    # Only the layers with the edited path and what names it are other ones.
    local before after
    old=$(closure plan)
    before=$(diff_ids "$(closure popular --arg previous "$old")")
    after=$(diff_ids "$(closure popular --arg previous "$old" --argstr greeting bye)")
    if [[ $(comm -12 <(sort <<<"$before") <(sort <<<"$after") | wc -l) == 3 && $(wc -l <<<"$after") == 4 ]]; then
        pass "an edit changes one of four planned layers"
    else
        fail "an edit changes planned layers: $before; $after"
    fi
}

names_of() { python3 -c 'import json, sys; [print(*sorted(name[33:] for name in layer)) for layer in json.load(open(sys.argv[1]))["layers"]]' "$1"; }

diff_ids() { python3 -c 'import json, sys; print(*json.loads(json.load(open(sys.argv[1]))["config"])["rootfs"]["diff_ids"], sep="\n")' "$1"; }

# Where evaluation may build, a layer depends on its own paths alone.
check_closure_imports() {
    local allowed=(--option allow-import-from-derivation true) same
    if closure imported &>/scratch/refused; then
        fail "a plan is read where evaluation must not build"
    else
        pass "a plan is read only where evaluation may build"
    fi
    same=$(closure popular)
    equal "layers of their own paths" "$(closure imported "${allowed[@]}")" "$same"
    built "an edit, each layer of its own paths," "app-1.0 part-3.tar.zst part-plan.json planned.json" imported --argstr greeting ciao \
        "${allowed[@]}"
}

check_closure_limits() {
    if closure check >/dev/null && ! grep -q never-built /scratch/log; then
        pass "a closure keeps its limits, and what it may not have is not built"
    else
        fail "a closure that keeps its limits: $(cat /scratch/log)"
    fi
    if closure disallowed &>/scratch/refused; then
        fail "a path that may not be there is taken"
    elif grep -q 'error: `plan`: the closure has `.*-ssl-1`, .*: `.*-app-1.0` refers to `.*-alias` refers to `.*-http-4` refers to' /scratch/refused; then
        pass "refused, with the way to it: a path that may not be there"
    else
        fail "a path that may not be there gives: $(cat /scratch/refused)"
    fi
    if closure too-large &>/scratch/refused; then
        fail "a closure that is too large is taken"
    elif grep -q 'bytes, at most 1000 are allowed; the largest are `.*-shell` with' /scratch/refused; then
        pass "refused, with what is largest: a closure that is too large"
    else
        fail "a closure that is too large gives: $(cat /scratch/refused)"
    fi
}

# A layer by its digest: whatever it is made of, what is over it is built again only where that changes.
check_pins() {
    local pin=/scratch/pin.json wrong=/scratch/wrong.json
    cp --no-preserve=mode -- "$(closure pinned.metadata)" "$pin"
    equal "a pinned layer" "$(closure pinned --arg pin "$pin")" "$(closure pinned)"
    equal "a layout over a pinned layer" "$(closure over-pinned --arg pin "$pin")" "$(closure over-pinned)"
    built "another source of a pinned layer" "" over-pinned --arg pin "$pin" --argstr comment other
    built "another source of a layer" "file-$(printf other | sha256sum | cut -c1-64) over-pinned pinned-image.json pinned.tar.zst" over-pinned --argstr comment other
    sed 's/"size":[0-9]*/"size":7/' "$pin" >"$wrong"
    # Nix has a file with that digest already, and asks nobody for it.
    sed -i 's/"digest":"sha256:./"digest":"sha256:0/' "$wrong"
    if closure pinned --arg pin "$wrong" &>/scratch/refused; then
        fail "a layer that is not the pinned one is taken"
    elif grep -q 'error: the layer is not what .* says: digest sha256:.*, expected sha256:0.*; size .*, expected 7' /scratch/refused; then
        pass "refused: a layer that is not the pinned one"
    else
        fail "a layer that is not the pinned one gives: $(cat /scratch/refused)"
    fi
}

# Outputs by their content: what is made anew and is the same ends it there.
check_content_addressed() {
    if ! discards_references; then
        say "THIS VERSION OF NIX MAKES NO STEPS THAT ARE ADDRESSED BY CONTENT AND HAVE GRAPHS: not asserted"
        return
    fi
    local options=(--arg ca true --option extra-experimental-features ca-derivations)
    closure over-pinned "${options[@]}" >/dev/null
    equal "an image, addressed by content" "$(closure image "${options[@]}")" "$(closure image)"
    built "another source with the same bytes" "file-$(printf third | sha256sum | cut -c1-64) pinned.tar.zst" over-pinned --argstr comment third "${options[@]}"
}
