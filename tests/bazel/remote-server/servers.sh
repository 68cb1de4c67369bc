# Servers for remote execution, on loopback; sourced. BuildGrid takes actions and keeps blobs and results (buildgrid.yml), with
# PostgreSQL for its queue; buildbox-worker runs the actions, with buildbox-casd as its cache.
#
# Nothing is stopped here: all of it ends with the pid namespace of the root (tests/rig/enter).
# shellcheck shell=bash

remote_dir=/scratch/remote
# shellcheck disable=SC2034 # read by whoever sources this
remote_endpoint=grpc://127.0.0.1:8980
remote_server=$(dirname -- "${BASH_SOURCE[0]}")

bgd() { /opt/buildgrid/bin/python -c 'from buildgrid.server.app import cli; cli()' "$@"; }

# in_background NAME COMMAND...: its output is kept for show_server_logs; leaves the pid in $server.
in_background() {
    local name=$1
    shift
    "$@" >"$remote_dir/$name.log" 2>&1 </dev/null &
    server=$!
}

# ready COMMAND...: waits until a command succeeds, unless the server ($server) has ended.
ready() {
    local deadline=$((SECONDS + 60))
    until "$@" 2>/dev/null; do
        if ! kill -0 "$server" 2>/dev/null; then echo "it has ended before this succeeded: $*" && return 1; fi
        if ((SECONDS > deadline)); then echo "in a minute this has not succeeded: $*" && return 1; fi
        sleep 0.05
    done
}

answers() { (: >"/dev/tcp/127.0.0.1/$1"); }

# A new database; nobody waits for its files to be safe. UTF-8 because BuildGrid takes text from it, not bytes.
start_postgres() {
    local programs as_user=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    programs=$(echo /usr/lib/postgresql/*/bin)
    install -d -o postgres "$remote_dir/postgres"
    (cd / && "${as_user[@]}" "$programs/initdb" --pgdata="$remote_dir/postgres/data" --auth=trust --username=buildgrid \
        --encoding=UTF8 --locale=C --no-sync --no-instructions) >"$remote_dir/initdb.log" 2>&1 || return
    in_background postgres "${as_user[@]}" "$programs/postgres" -D "$remote_dir/postgres/data" -c fsync=off \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=32MB
    ready answers 5432
}

start_buildgrid() {
    bgd migrate apply postgresql://buildgrid@127.0.0.1:5432/postgres >"$remote_dir/migrate.log" 2>&1 || return
    in_background buildgrid bgd server start -v -v "$remote_server/buildgrid.yml"
    ready answers 8980
}

# start_worker RUNNER: RUNNER is the program that runs one action.
start_worker() {
    in_background casd buildbox-casd --bind=127.0.0.1:8981 --cas-remote=http://127.0.0.1:8980 --quota-high=1G \
        --log-level=info "$remote_dir/casd"
    ready answers 8981 || return
    in_background worker buildbox-worker --bots-remote=http://127.0.0.1:8980 --cas-remote=http://127.0.0.1:8981 \
        --concurrent-jobs=2 --buildbox-run="$1" --platform OSFamily=linux --platform ISA="$(isa)" --log-level=info worker
    # It listens nowhere. It says this when it has tried the runner.
    ready grep -qF 'Starting buildbox-worker' "$remote_dir/worker.log"
}

# What the worker's programs call this machine's instruction set.
isa() { uname -m | sed 's/x86_64/x86-64/'; }

start_servers() {
    mkdir -p "$remote_dir" && start_postgres && start_buildgrid && start_worker "$1"
}

show_server_logs() {
    local file
    for file in "$remote_dir"/*.log; do
        echo "--- the end of ${file##*/}"
        tail -n 60 -- "$file"
    done
}
