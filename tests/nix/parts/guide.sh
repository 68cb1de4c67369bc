# shellcheck shell=bash
# The guide: what it shows is built.
# shellcheck disable=SC2154

check_guide() {
    local blocks=/scratch/guide block count=0
    mkdir -p "$blocks/public"
    echo page >"$blocks/public/index.html"
    cp -- "$checkout/tests/nix/guide.nix" "$blocks/guide.nix"
    awk -v to="$blocks" '
        /^```nix$/ { getline; if ($0 == "# checked") { file = sprintf("%s/block-%02d.nix", to, ++n)
            print "with import ./guide.nix { ociseed = " tool "; checkout = " checkout "; busybox = /usr/bin/busybox; };" >file; next } }
        /^```$/ { file = "" }
        file { print >file }' tool="$binaries/ociseed" checkout="$checkout" "$checkout/docs/nix/guide.md"
    # A plan of before: whatever this version has.
    cp --no-preserve=mode -- "$(nix-build "$blocks/guide.nix" -A plan --no-out-link --arg ociseed "$binaries/ociseed" \
        --arg checkout "$checkout" --arg busybox /usr/bin/busybox 2>/scratch/log)" "$blocks/layers.json"
    for block in "$blocks"/block-*.nix; do
        if nix-build "$block" --no-out-link &>/scratch/log; then
            count=$((count + 1))
        else
            fail "a block of the guide cannot be built: $(cat "$block" /scratch/log)"
        fi
    done
    if ((count >= 8)); then pass "what the guide shows is built: $count blocks"; else fail "the guide has $count blocks that can be built"; fi
}
