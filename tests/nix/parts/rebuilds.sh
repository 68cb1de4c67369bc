# shellcheck shell=bash
# What an edit has built again: the steps that it is part of, and nothing else.
# shellcheck disable=SC2154

# rebuilds WHAT EXPECTED [OPTION]...: builds rebuilds.nix and compares the names of what was built; EXPECTED is sorted.
rebuilds() {
    local what=$1 expected=$2 built
    shift 2
    nix-build "$checkout/tests/nix/rebuilds.nix" --no-out-link --arg ociseed "$binaries/ociseed" --arg files /scratch/rebuilds \
        "$@" >/dev/null 2>/scratch/log || cat /scratch/log
    built=$(sed -n "s|^building '/nix/store/[^-]*-\(.*\)\.drv'.*|\1|p" /scratch/log | LC_ALL=C sort | tr '\n' ' ')
    if [[ $built == "${expected:+$expected }" ]]; then
        pass "$what builds ${expected:-nothing}"
    else
        fail "$what: expected to build \`$expected\`, built \`${built% }\`"
    fi
}

check_rebuilds() {
    local files=/scratch/rebuilds name
    for name in base app other; do mkdir -p "$files/$name/srv" && echo "$name" >"$files/$name/srv/$name"; done
    rebuilds "a first time" \
        "app.tar.zst base.tar.zst bundle disk.erofs other-bundle other.json other.tar.zst seed store.tar tools-bundle tools.json web.json"
    rebuilds "a second time" ""
    echo edited >"$files/app/srv/app"
    rebuilds "an edit of a layer" "app.tar.zst bundle disk.erofs seed store.tar web.json"
    rebuilds "another label" "bundle disk.erofs seed store.tar web.json" --argstr title site
    echo edited >"$files/other/srv/other"
    rebuilds "an edit of a layer of another image" "other-bundle other.json other.tar.zst"
    echo edited >"$files/base/srv/base"
    rebuilds "an edit of a shared layer" "base.tar.zst bundle disk.erofs seed store.tar tools-bundle tools.json web.json"
    touch --date 2001-01-01 "$files/app/srv/app" && echo text >"$files/README"
    rebuilds "another time of a file, and a file beside" ""
}
