# shellcheck shell=bash
# Programs of other projects that judge files here and that Debian does not package, from where cargo of the host gets crates.

# cargo_program CRATE VERSION: prints the directory with the programs of a crate; installs them unless they are there.
cargo_program() {
    local crate=$1 version=$2 base root
    base=$(e2e_dir)/cargo
    root=$base/$crate-$version-$(uname -m)
    mkdir -p "$base"
    (
        flock 8
        [[ ! -d $root ]] || exit 0
        say "installing $crate $version"
        rm -rf -- "$base/.new-$crate" "$base/.target-$crate"
        # Away from the checkout, whose settings are not for this.
        cd / && env --unset=RUSTFLAGS --unset=CARGO_TARGET_DIR cargo install --quiet --locked --version "=$version" --no-track \
            --root "$base/.new-$crate" --target-dir "$base/.target-$crate" "$crate" >&2 || exit 1
        rm -rf -- "$base/.target-$crate"
        mv -T -- "$base/.new-$crate" "$root"
    ) 8>"$base/.$crate.lock" || return 1
    printf '%s\n' "$root/bin"
}
