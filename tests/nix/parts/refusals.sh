# shellcheck shell=bash
# What is refused, and with which words.

# refuses MESSAGE EXPRESSION: fails at evaluation with that message; `o` is the library.
refuses() {
    local message=$1 expression=$2
    if nix-instantiate --expr "let o = import $checkout/nix { ociseed = $binaries/ociseed; }; in $expression" \
        &>/scratch/log; then
        fail "not refused: $expression"
    elif ! grep -qF "ociseed: $message" /scratch/log; then
        fail "$expression: expected \`$message\`, found: $(cat /scratch/log)"
    else
        pass "refused: $message"
    fi
}

# shellcheck disable=SC2016 # backquotes of messages
check_refusals() {
    refuses 'layer: name: expected a name that matches [a-z0-9][a-z0-9._-]*, found the string `A b`' \
        'o.layer { name = "A b"; }'
    refuses 'layer `a`: add[1].file: expected a path or a derivation, found the string `/etc/passwd`' \
        'o.layer { name = "a"; add = [ { mkdir = "/x"; } { file = "/etc/passwd"; to = "/p"; } ]; }'
    refuses 'layer `a`: add[0].dir: expected a path or a derivation, found a value of type int' \
        'o.layer { name = "a"; add = [ { dir = 1; } ]; }'
    refuses 'layer `a`: add[0].text: expected a string, found a path' \
        'o.layer { name = "a"; add = [ { text = ./run; to = "/t"; } ]; }'
    refuses 'image `i`: layers[0]: expected a value that `layer` made, found a value of type path' \
        'o.image { name = "i"; layers = [ /bin ]; }'
    refuses 'image `i`: base.layout: expected a path or a derivation, found the string `base`' \
        'o.image { name = "i"; base.layout = "base"; }'
    refuses 'image `i`: base: expected a set with one of `layout`, `archive`, `image`, found the string `debian`' \
        'o.image { name = "i"; base = "debian"; }'
    refuses 'bundle `b`: images."x:1": expected a value that `image` made, found a value of type set' \
        'o.bundle { name = "b"; format = "layout"; images."x:1" = o.layer { name = "l"; }; }'
    refuses 'seed `s`: image[0].image: expected a value that `image` made, found null' \
        'o.seed { name = "s"; image = [ { name = "x:1"; } ]; }'
    refuses 'layer `a`: add[0].deb[1]: expected a path or a derivation, found the string `b.deb`' \
        'o.layer { name = "a"; add = [ { deb = [ ./run "b.deb" ]; } ]; }'
    refuses 'layer `a`: add[0].layer: expected a value that `layer` made, found the string `b`' \
        'o.layer { name = "a"; add = [ { layer = "b"; } ]; }'
    refuses 'image `i`: base: expected a set with one of `layout`, `archive`, `image`, found 2 of them' \
        'o.importImage { name = "i"; layout = ./run; archive = ./run; }'
    refuses 'image `i`: base.image: expected a value that `image` made, found the string `b`' \
        'o.image { name = "i"; base.image = "b"; }'
    refuses 'index `i`: images[0]: expected a value that `image` made, found a value of type path' \
        'o.index { name = "i"; images = [ ./run ]; }'
    refuses 'index `i`: base: expected a set with one of `layout`, `archive`, found 0 of them' \
        'o.index { name = "i"; base.image = o.image { name = "i"; }; }'
    refuses 'bundle `b`: indexes."x:1": expected a value that `index` made, found a value of type set' \
        'o.bundle { name = "b"; format = "layout"; indexes."x:1" = o.image { name = "i"; }; }'
    refuses 'store `s`: seed: expected a value that `seed` made, found null' \
        'o.store { name = "s"; engine = "archives"; seed = null; }'
    refuses 'disk `d`: expected one of `seed`, `store`, `image` and `layer`, found 0 of them' \
        'o.disk { name = "d"; medium = "erofs"; }'
    refuses 'disk `d`: store: expected a value that `store` made, found a value of type path' \
        'o.disk { name = "d"; medium = "erofs"; store = ./run; }'
    refuses 'closure layers `c`: expected one of `layers` and `paths`, found none' \
        'builtins.head (o.closureLayers { name = "c"; })'
    refuses 'closure layers `c`: layers: expected a list, found a value of type set' \
        'builtins.head (o.closureLayers { name = "c"; layers = o.layer { name = "l"; }; })'
    refuses 'closure layers `c`: `policy`, `previous`, `import-plan` and `max-size` are about `paths`' \
        'builtins.head (o.closureLayers { name = "c"; layers = [ ]; policy = "balanced"; })'
    refuses 'layer `c-0`: add[0].closure.paths[0]: expected a path or a derivation, found the string `/nix/store/x`' \
        'builtins.head (o.closureLayers { name = "c"; layers = [ [ "/nix/store/x" ] ]; })'
    # shellcheck disable=SC2016
    refuses 'layer `a`: add[0].closure.paths[0]: expected a store path, found the string' \
        'o.layer { name = "a"; add = [ { closure.paths = [ "${o.layer { name = "l"; }}/in" ]; } ]; }'
    refuses 'layer `a`: add[0].closure: there is no key `path`; there are `alone`, `below`' \
        'o.layer { name = "a"; add = [ { closure.path = [ ]; } ]; }'
    refuses 'layer `a`: add[0].closure: expected one of `paths` and `alone`, found none' \
        'o.layer { name = "a"; add = [ { closure = { }; } ]; }'
    refuses 'layer `a`: add[0].closure: expected a set with `paths` or `alone`, found a value of type list' \
        'o.layer { name = "a"; add = [ { closure = [ ]; } ]; }'
    refuses 'layer `a`: expected at most one `closure` with `paths` or `nix-database`, found 2' \
        'o.layer { name = "a"; add = [ { closure.paths = [ ./run ]; } { nix-database = [ ./run ]; } ]; }'
    refuses 'layer `a`: add[0].closure.plan: expected a value that `closurePlan` made, found a value of type path' \
        'o.layer { name = "a"; add = [ { closure = { paths = [ ./run ]; plan = ./run; part = 0; }; } ]; }'
    refuses 'plan `p`: paths: expected a list of store paths, found a value of type path' \
        'o.closurePlan { name = "p"; paths = ./run; }'
    refuses 'plan `p`: disallow: expected a list of patterns and store paths, found the string `gcc`' \
        'o.closureCheck { name = "p"; paths = [ ./run ]; disallow = "gcc"; }'
    refuses 'ociseed: expected a path or a derivation, found the string `/usr/bin/ociseed`' \
        "(import $checkout/nix { ociseed = \"/usr/bin/ociseed\"; }).layer { name = \"a\"; }"
}

# What only the program can know arrives as its own message in the build's log.
check_step_error() {
    if nix-build --no-out-link --expr "(import $checkout/nix { ociseed = $binaries/ociseed; }).layer {
        name = \"a\"; add = [ { text = \"x\"; ot = \"/x\"; } ]; }" &>/scratch/log; then
        fail 'an unknown key is not refused'
    elif grep -q 'error:.*unknown field .ot.' /scratch/log; then
        pass 'refused by the step: an unknown key'
    else
        fail "an unknown key gives: $(cat /scratch/log)"
    fi
}
