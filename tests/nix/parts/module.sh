# shellcheck shell=bash disable=SC2154
# The NixOS module.

# Counts what tests/nix/module/check counts.
check_module() {
    "$checkout/tests/nix/module/check" &>/scratch/module || :
    head -n -2 /scratch/module
    if [[ $(tail -n 2 /scratch/module) =~ ^passed\ ([0-9]+)$'\n'failed\ ([0-9]+)$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
    else
        fail "tests/nix/module/check ended early: $(tail -n 2 /scratch/module)"
    fi
}
