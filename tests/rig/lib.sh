# shellcheck shell=bash
# Shared by the scripts of the rig: messages, where things lie, and running a command that cannot outlive its caller.

say() { printf '%s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Prints the home directory, also where HOME is not set (cron, some CI runners).
home_dir() {
    if [[ -n ${HOME-} ]]; then
        printf '%s\n' "$HOME"
    else
        getent passwd "$(id -u)" | cut -d: -f6
    fi
}

# Prints the directory that holds roots, package archives and scratch space.
e2e_dir() { printf '%s\n' "${OCISEED_E2E_DIR:-$(home_dir)/.cache/ociseed-e2e}"; }

# Prints why roots cannot be made or entered here; fails if they can.
why_no_roots() {
    if [[ $(id -u) != 0 ]]; then
        echo "needs root"
    elif ! command -v unshare >/dev/null || ! command -v setpriv >/dev/null; then
        echo "needs util-linux's unshare and setpriv"
    elif ! unshare --mount --pid --fork --mount-proc true 2>/dev/null; then
        echo "this machine allows no mount and pid namespaces"
    elif ! command -v debootstrap >/dev/null && ! command -v apt-get >/dev/null; then
        echo "needs debootstrap or apt-get to install it"
    else
        return 1
    fi
}

# Tells whether a child process ($1) still runs after some seconds ($2).
outlives() {
    local deadline=$((SECONDS + $2))
    while kill -0 "$1" 2>/dev/null; do
        ((SECONDS < deadline)) || return 0
        sleep 0.05
    done
    return 1
}

# Runs `unshare ARG...` with its own pid namespace, so that nothing started inside is left behind however this ends:
# a signal to this shell is passed on and, after $contain_grace seconds (ten), enforced; a SIGKILL of this shell kills the namespace too.
# Returns the command's exit code. The caller must not have traps on these signals.
contain() {
    local child init status=0 caught=
    # In the background because bash runs no trap while a foreground command lasts; <&0 because bash would give a
    # background command /dev/null as its standard input.
    setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child=KILL "$@" <&0 &
    child=$!
    trap 'caught=143' TERM
    trap 'caught=130' INT
    trap 'caught=129' HUP
    while [[ -z $caught ]] && kill -0 "$child" 2>/dev/null; do
        wait "$child" && status=0 || status=$?
    done
    if [[ -n $caught ]]; then
        status=$caught
        # unshare ignores these signals while it waits; the namespace's init, its child, is the one to end.
        init=$(cat "/proc/$child/task/$child/children" 2>/dev/null || true)
        init=${init%% *}
        # Ctrl-C reached everything in the terminal's foreground already: let it end by itself first.
        if [[ $caught == 130 ]]; then
            outlives "$child" "${contain_grace-10}" || init=
        fi
        if [[ -n $init ]]; then
            kill -TERM "$init" 2>/dev/null || true
            # When init dies the kernel kills the rest and only then lets unshare's wait return.
            if outlives "$child" "${contain_grace-10}"; then kill -KILL "$init" 2>/dev/null || true; fi
        fi
        wait "$child" 2>/dev/null || true
    fi
    trap - TERM INT HUP
    return "$status"
}

# side_by_side JOBS FUNCTION ITEM...: runs `FUNCTION ITEM` for every item in a subshell, so many at a time, begun in their
# order. With several at a time the output of each is kept apart and printed whole when it ends. Fails if one of them did.
# A signal to this shell ends them with all that they started, waits for that, and ends this shell too.
side_by_side() {
    local jobs=$1 function=$2 pid code status=0 logs
    local -A running=()
    shift 2
    logs=$(mktemp -d)
    trap 'end_side_by_side; exit 143' TERM HUP
    trap 'end_side_by_side; exit 130' INT
    while (($# > 0 || ${#running[@]} > 0)); do
        if (($# > 0 && ${#running[@]} < jobs)); then
            begin_side_by_side "$1"
            shift
            continue
        fi
        code=0
        wait -n -p pid "${!running[@]}" || code=$?
        print_side_by_side "$pid"
        ((code == 0)) || status=1
    done
    trap - TERM INT HUP
    rm -rf -- "$logs"
    return "$status"
}

begin_side_by_side() {
    # In a process group of its own, so that a signal can end it with all that it started.
    set -m
    if ((jobs == 1)); then
        (run_side_by_side "$1") </dev/null &
    else
        say "... $1"
        (run_side_by_side "$1") </dev/null &>"$logs/$1" &
    fi
    set +m
    running[$!]=$1
}

run_side_by_side() {
    set +m
    # A signal ends what this runs; this then still says how that went.
    trap : TERM INT HUP
    "$function" "$1"
}

# Prints the output of one that ended, by its pid.
print_side_by_side() {
    if ((jobs > 1)); then cat -- "$logs/${running[$1]}"; fi
    unset "running[$1]"
}

end_side_by_side() {
    local pid
    trap '' TERM INT HUP
    for pid in "${!running[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    for pid in "${!running[@]}"; do
        wait "$pid" || true
        print_side_by_side "$pid"
    done
    rm -rf -- "$logs"
}

# install_on_host PACKAGE...: installs Debian packages on the host. Two at once would find apt locked.
install_on_host() {
    say "installing $*"
    (
        flock 8
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends "$@" >&2
    ) 8>"${TMPDIR:-/tmp}/.ociseed-apt.lock"
}

# For phases (tests/phases), which get OCISEED_SRC, OCISEED_INPUTS and OCISEED_COUNTS from tests/run.

# The suites that have a recipe, oldest first; OCISEED_SUITES narrows them down.
# shellcheck disable=SC2034 # read by phases
read -ra suites <<<"${OCISEED_SUITES:-bookworm trixie forky}"

# Ends the phase as skipped for a reason. tests/run repeats the reason at the end, and fails in CI.
skip() {
    printf 'skipped %s (%s)\n' "${OCISEED_PHASE:-phase}" "$*" >>"${OCISEED_COUNTS:-/dev/stderr}"
    exit 77
}

skip_without_roots() {
    local reason
    if reason=$(why_no_roots); then skip "$reason"; fi
}

# Runs the unittest tests of a directory ($2, below tests) in the root of a suite ($1); further arguments go to enter.
# The counts reach tests/run through a file that is bound in, since nothing else that is written inside remains.
run_python_tests() {
    local suite=$1 directory=$2 counts status=0 names=() name soak=()
    shift 2
    say "--- $suite: tests/$directory"
    counts=$(mktemp)
    if [[ $directory == e2e ]]; then read -ra names <<<"${OCISEED_TESTS-}"; fi
    # Set by tests/soak, or by hand.
    for name in OCISEED_SOAK OCISEED_SOAK_SEED; do
        if [[ -n ${!name-} ]]; then soak+=(--env "$name=${!name}"); fi
    done
    "$OCISEED_SRC/tests/rig/enter" "$suite" --no-network --cwd /scratch --bind "$OCISEED_SRC:/src:ro" "$@" \
        --bind "$counts:/counts" --env "OCISEED_SUITE=$suite" --env "CI=${CI-}" "${soak[@]}" -- \
        python3 -B /src/tests/rig/run-tests.py "/src/tests/$directory" /counts "${names[@]}" || status=$?
    # A run that ended before it counted is a failure of its own.
    if [[ $status != 0 ]] && ! grep -q '^failed [1-9]' "$counts"; then echo "failed 1" >>"$counts"; fi
    sed "s/^skipped /skipped $suite: /" "$counts" >>"$OCISEED_COUNTS"
    rm -f "$counts"
    return "$status"
}
