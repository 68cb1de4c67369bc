# shellcheck shell=bash
# The flake: without a release, with one from a server on loopback, and from elsewhere; and the overlay for nixpkgs.
# shellcheck disable=SC2154

flake=/scratch/flake
archives=/scratch/archives

# A copy of the flake, in which all that follows happens, and what it is to make.
prepare_flake() {
    system=$(uname -m)-linux
    cp -r -- /flake "$flake"
    build_spec_of_hello
    NIX_CONFIG="$NIX_CONFIG
experimental-features = nix-command flakes
flake-registry ="
    export NIX_CONFIG
}

# succeeds WHAT COMMAND...
succeeds() {
    local what=$1
    shift
    if "$@" &>/scratch/log; then pass "$what"; else fail "$what: $(cat /scratch/log)"; fi
}

# fails_with WHAT WORDS COMMAND...: in its messages; terminals' colours are left out.
fails_with() {
    local what=$1 words=$2
    shift 2
    if "$@" &>/scratch/log; then
        fail "$what: expected \`$words\`, but it succeeds"
    elif grep -qF -- "$words" /scratch/log; then
        pass "$what: $words"
    else
        fail "$what: expected \`$words\`, found: $(cat /scratch/log)"
    fi
}

# is_made ATTRIBUTE PATH: what the flake makes is the same as the file or directory.
is_made() { nix build "path:$flake#$1" --out-link /scratch/made && cmp "/scratch/made${3-}" "$2"; }

# Serves a directory on loopback until `stop_serving`.
serve() {
    python3 -m http.server "$2" --bind 127.0.0.1 --directory "$1" &>"/scratch/http-$2" &
    server=$!
    until (: <"/dev/tcp/127.0.0.1/$2") 2>/dev/null; do
        kill -0 "$server" || return 1
        sleep 0.05
    done
}

stop_serving() {
    kill "$server"
    wait "$server" || true
}

layer_of() { nix eval --raw "path:$flake#lib.$system" --apply 'o: (o.layer { name = "a"; }).outPath'; }

# As it is in the repository before the first release.
check_flake_without_release() {
    echo '{}' >"$flake/nix/releases.json"
    succeeds "flake check, without a release" nix flake check "path:$flake"
    succeeds "flake show, without a release" nix flake show "path:$flake"
    fails_with "a function, without a release" "names no release for $system; nix/lock-releases writes one" layer_of
    mkdir -p /scratch/new
    succeeds "flake init" env --chdir /scratch/new nix flake init --template "path:$flake"
    # As a user changes a line of it.
    sed -i "s|github:OWNER/ociseed|path:$flake|" /scratch/new/flake.nix
    fails_with "the template, without a release" "names no release for $system; nix/lock-releases writes one" \
        nix build --no-link --no-write-lock-file path:/scratch/new
}

# A builder of one's own, in a flake of one's own.
check_flake_of_own_builder() {
    local own=/scratch/own
    mkdir -p "$own"
    cp -- "$binaries/ociseed" "$binaries/hello-server" "$own"
    cat >"$own/flake.nix" <<END
{
  inputs.ociseed.url = "path:$flake";
  outputs = { ociseed, ... }: {
    packages.$system = import "\${ociseed}/examples/hello" {
      ociseed = ./ociseed;
      server = ./hello-server;
      system = "$system";
    };
    made = (ociseed.lib.make { ociseed = ./ociseed; system = "$system"; }).layer { name = "a"; };
  };
}
END
    succeeds "a flake builds with a builder of its own" nix build --no-write-lock-file "path:$own#disk" --out-link /scratch/made
    succeeds "it is what the spec makes" cmp /scratch/made "$spec/hello/disk/appliance.erofs"
    succeeds "lib.make takes a builder" nix build --no-write-lock-file "path:$own#made" --no-link
}

check_flake_with_release() {
    local here=linux_amd64 other=linux_arm64 other_system=aarch64-linux platform program
    [[ $system == x86_64-linux ]] || here=linux_arm64 other=linux_amd64 other_system=x86_64-linux
    fails_with "a lock of no archives" "in \`/scratch\`, found none" "$flake/nix/lock-releases" /scratch http://127.0.0.1:8100
    fails_with "a lock without a URL" "expected a URL, found \`/scratch\`" "$flake/nix/lock-releases" "$archives" /scratch
    for platform in "$here" "$other"; do "$checkout/release/archives" "$binaries" "$platform" "$archives" >/dev/null; done
    # What another system's programs are matters to no evaluation.
    echo "not an archive" >"$archives"/*-"$other".tar.gz
    serve "$archives" 8100
    "$flake/nix/lock-releases" "$archives" http://127.0.0.1:8100 >"$flake/nix/releases.json"

    succeeds "flake check" nix flake check "path:$flake"
    succeeds "flake show" nix flake show "path:$flake"
    for program in ociseed ociseed-load ociseed-loader; do
        succeeds "the package static has $program" is_made static "$binaries/$program" "/bin/$program"
    done
    succeeds "the package ociseed" is_made ociseed "$binaries/ociseed" /bin/ociseed
    succeeds "the package ociseed-loader" is_made ociseed-loader "$binaries/ociseed-loader" /bin/ociseed-loader
    succeeds "it has the loader alone" test "$(cd /scratch/made/ && find . -type f)" = ./bin/ociseed-loader
    succeeds "it refers to nothing" test -z "$(nix-store --query --references /scratch/made)"
    succeeds "nix run" nix run "path:$flake" -- --version
    succeeds "the package is the same when made again, without a sandbox" nix build --rebuild --no-link --option sandbox false \
        "path:$flake#static"
    succeeds "a function with the builder of the release" layer_of
    succeeds "packages of the other system" nix eval --raw "path:$flake#packages.$other_system.static.drvPath"
    succeeds "without flakes, too" nix-build --no-out-link --expr "(import $flake/nix { }).layer { name = \"a\"; }"
    check_flake_module
    check_template
    check_overlay
    sed -i 's/"sha256": ".*"/"sha256": "'"$(printf '0%.0s' {1..64})"'"/' "$flake/nix/releases.json"
    fails_with "an archive that is not the locked one" "hash mismatch" nix build --no-link "path:$flake#static"
    stop_serving
}

# loader_of PKGS: the loader that the flake's module takes, where NixOS has this for `pkgs`.
loader_of() {
    nix eval --raw --impure --expr "
        let
          flake = builtins.getFlake \"path:$flake\";
          lib = import (flake + \"/tests/nix/module/lib.nix\");
          modules = [ flake.nixosModules.default (flake + \"/tests/nix/module/nixos.nix\") { _module.args.pkgs = $1; } ];
        in \"\${(lib.evalModules { inherit modules; }).config.services.ociseed.package}\""
}

# The loader of the release, unless nixpkgs has one by the overlay.
check_flake_module() {
    local release pkgs="stdenv.hostPlatform.system = \"$system\";"
    local other='ociseed-loader = { type = "derivation"; name = "other"; outPath = "/nix/store/other"; };'
    release=$(nix eval --raw "path:$flake#packages.$system.ociseed-loader")
    succeeds "the module takes the loader of the release" test "$(loader_of "{ $pkgs }")" = "$release"
    succeeds "the module takes the overlay's loader" test "$(loader_of "{ $pkgs $other }")" = /nix/store/other
}

check_template() {
    succeeds "the check of the template" nix build "path:$flake#checks.$system.template" --out-link /scratch/template
    succeeds "the template's disk is whole" "$binaries/ociseed" verify /scratch/template
    succeeds "the template builds" nix build --no-write-lock-file path:/scratch/new --out-link /scratch/made
    succeeds "it builds what the check builds" test "$(readlink /scratch/made)" = "$(readlink /scratch/template)"
}

# of_stub ATTRIBUTE [OPTION]...: evaluates nixpkgs_stub.nix, as `nix-instantiate`; prints a string as it is.
of_stub() {
    local attribute=$1
    shift
    nix-instantiate "$checkout/tests/nix/nixpkgs_stub.nix" --arg checkout "$flake" --arg programs "$binaries" \
        --arg busybox /usr/bin/busybox --attr "$attribute" "$@" 2>/scratch/log | sed 's/^"//; s/"$//; s/\\n/\n/g'
}

check_overlay() {
    local version asked expected
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$checkout/Cargo.toml" | head -n 1)
    asked=$(of_stub asked --eval)
    expected="ordinary ociseed $version release --package ociseed locked unchecked ociseed asl20 installShellFiles
static ociseed-load $version loader --package ociseed-load locked unchecked ociseed-load asl20 
static ociseed-loader $version loader --package ociseed-loader locked unchecked ociseed-loader asl20 "
    succeeds "the overlay asks nixpkgs for the programs" diff <(echo "$expected") <(echo "$asked")
    # What was built, and what is no part of the programs, must not have them built again.
    mkdir -p "$flake/target/release" "$flake/tool/cli/target" "$flake/tests/fuzz/target"
    touch "$flake"/target/release/x "$flake"/tool/cli/target/x "$flake"/tests/fuzz/target/x
    succeeds "the overlay builds from the sources alone" diff <(sources "$flake") \
        <(cd -- "$(of_stub source --eval --read-write-mode)" && find . -type f | sort)
    nix-store --realise "$(of_stub disk)" --add-root /scratch/made &>/scratch/log || cat /scratch/log
    succeeds "the overlay's functions make what the flake's make" cmp /scratch/made /scratch/template
}

# What cargo needs, of a checkout.
sources() {
    (cd -- "$1" && find ./Cargo.toml ./Cargo.lock ./tool ./examples/hello/server ./tests/probe ./tests/fuzz/Cargo.toml \
        ./tests/fuzz/src -path ./tool/cli/target -prune -o -type f -print | sort)
}

# A stand-in that says what it is asked to format.
check_formatter() {
    local path=$PATH
    fails_with "nix fmt, without nixfmt" "expected \`nixfmt\` in PATH, found none" env --chdir "$flake" nix fmt
    mkdir -p /scratch/bin
    printf '#!/bin/sh\nprintf "%%s\\n" "$@" >/scratch/formatted\n' >/scratch/bin/nixfmt
    chmod +x /scratch/bin/nixfmt
    succeeds "nix fmt" env --chdir "$flake" "PATH=/scratch/bin:$path" nix fmt
    succeeds "it formats every expression" diff <(cd -- "$flake" && find . -name '*.nix' | sort) <(sort /scratch/formatted)
    succeeds "nix fmt FILE" env --chdir "$flake" "PATH=/scratch/bin:$path" nix fmt flake.nix
    succeeds "it formats that" test "$(cat /scratch/formatted)" = flake.nix
}

check_flake() {
    local NIX_CONFIG=$NIX_CONFIG system
    prepare_flake
    check_flake_without_release
    check_formatter
    check_flake_of_own_builder
    check_flake_with_release
}
