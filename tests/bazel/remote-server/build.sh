# Building by a real server for remote execution on loopback; sourced behind lib.sh, by those whose workspaces it builds.
# shellcheck shell=bash

# shellcheck source-path=SCRIPTDIR source=servers.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/servers.sh"

# The runner puts each action into a root that has its inputs and nothing else. (buildbox-run-hosttools is no sandbox.)
action_runner=/usr/bin/buildbox-run-bubblewrap
calls=/scratch/calls

# remote_build DIR DOWNLOADS [OPTION]...: builds with the server; leaves what Bazel said in /scratch/output, and the log of its
# calls. Without --noremote_local_fallback Bazel would build here what the server does not.
remote_build() {
    local dir=$1 downloads=$2 status=0
    shift 2
    rm -f -- "$calls" /scratch/actions
    build "$dir" --remote_executor="$remote_endpoint" --spawn_strategy=remote --noremote_local_fallback \
        --remote_download_outputs="$downloads" --remote_grpc_log="$calls" "$@" >/scratch/output 2>&1 || status=$?
    cat /scratch/output
    return "$status"
}

# all_by RUNNER DIR DOWNLOADS MNEMONIC=COUNT... [-- OPTION...]: builds everything; exactly these actions must be dealt with by
# RUNNER, in the words of the execution log, and in Bazel's own summary.
all_by() {
    local dir=$2 downloads=$3 count=0 pairs=()
    runner=$1
    shift 3
    while (($#)) && [[ $1 != -- ]]; do
        pairs+=("$1")
        count=$((count + ${1#*=}))
        shift
    done
    remote_build "$dir" "$downloads" "${@:2}" //... && ran "${pairs[@]}" && summed_up "$count $runner"
}

# summed_up TEXT: what Bazel itself does, as writing parameters, is called internal.
summed_up() {
    local found
    found=$(sed -n 's/^INFO: [0-9]* process\(es\)\?: \(.*\)\.$/\2/p' /scratch/output | sed 's/, /\n/g' |
        grep -v ' internal$') || true
    if [[ $found != "$1" ]]; then echo "expected Bazel to sum up \`$1\`, found \`$found\`" && return 1; fi
}
