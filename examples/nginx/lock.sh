# Reads packages.lock for `fetch`, and looks whether the spec names the same; sourced, never run.
#
# The lock is JSON with one package on a line, so that a shell reads it without another tool and a diff of
# it shows packages. Anything that is not exactly of that shape is refused with its line.

# shellcheck shell=bash disable=SC2034  # the scripts that source this use what it sets

# Facts of the lock, by the name of the .deb file; lock_files has the names in the lock's order.
declare -a lock_files=()
declare -A lock_layer=() lock_name=() lock_version=() lock_architecture=() lock_size=() lock_sha256=()
lock_suite='' lock_arch=''

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE [HINT]
die() {
  say "error: $1"
  [[ $# -lt 2 ]] || say "hint: $2"
  exit 1
}

# lock_row LINE: takes one package into the arrays; fails when LINE is not a package of the lock.
lock_row() {
  local row='^  \{"layer": "(base|nginx)", "name": "([a-z0-9][a-z0-9+.-]*)", "version": "([A-Za-z0-9.+:~-]+)", '
  row+='"architecture": "([a-z0-9-]+)", "file": "([a-z0-9][A-Za-z0-9._+~-]*\.deb)", "size": ([0-9]+), '
  row+='"sha256": "([0-9a-f]{64})"\},?$'
  [[ $1 =~ $row ]] || return 1
  local file=${BASH_REMATCH[5]}
  [[ -z ${lock_layer[$file]-} ]] || return 1
  lock_files+=("$file")
  lock_layer[$file]=${BASH_REMATCH[1]}
  lock_name[$file]=${BASH_REMATCH[2]}
  lock_version[$file]=${BASH_REMATCH[3]}
  lock_architecture[$file]=${BASH_REMATCH[4]}
  lock_size[$file]=${BASH_REMATCH[6]}
  lock_sha256[$file]=${BASH_REMATCH[7]}
}

# read_lock FILE
read_lock() {
  local lock=$1 line number=0 format='' closed=''
  [[ -f $lock ]] || die "no lock: expected \`$lock\`" "\`fetch --update\` writes it"
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    case $line in
      '{' | '"packages": [' | ']') ;;
      '}') closed=yes ;;
      '"format": '*) format=${line#* } format=${format%,} ;;
      '"suite": "'*) lock_suite=${line#*: \"} lock_suite=${lock_suite%\",} ;;
      '"architecture": "'*) lock_arch=${line#*: \"} lock_arch=${lock_arch%\",} ;;
      *) lock_row "$line" || die "$lock:$number: not a line of a lock, or a package named twice" ;;
    esac
  done <"$lock"
  [[ $format == 1 ]] || die "$lock: format \`${format:-none}\`, expected \`1\`"
  [[ -n $closed && -n $lock_suite && -n $lock_arch && ${#lock_files[@]} -gt 0 ]] || die "$lock: not complete"
}

# deb_fault PATH FILE: prints what is wrong with PATH as the lock's FILE; nothing when it is right.
deb_fault() {
  local path=$1 file=$2 size digest
  if [[ ! -f $path ]]; then
    echo missing
    return
  fi
  size=$(stat --dereference --format=%s -- "$path")
  if [[ $size != "${lock_size[$file]}" ]]; then
    echo "size $size, expected ${lock_size[$file]}"
    return
  fi
  # From standard input: for a path with a backslash sha256sum would print an escaped line.
  read -r digest _ < <(sha256sum <"$path")
  [[ $digest == "${lock_sha256[$file]}" ]] || echo "sha256 $digest, expected ${lock_sha256[$file]}"
}

# check_spec SPEC: dies unless the layers of the spec have the packages of the lock, each on a line of its own.
check_spec() {
  local spec=$1 file layer name bad=''
  local -A named=()
  while read -r layer name; do
    named[$layer/$name]=yes
    [[ ${lock_layer[$name]-} == "$layer" ]] ||
      { bad=yes && say "error: $spec: layer \`$layer\` has \`$name\`, which packages.lock does not have for it"; }
  done < <(sed -nE -e '/^\[/h' -e '/^ *"work\/debs\//{G;s/^ *"work\/debs\/([^"]*)".*\n\[layer\.(.*)\]/\2 \1/p}' "$spec")
  for file in "${lock_files[@]}"; do
    layer=${lock_layer[$file]}
    [[ -n ${named[$layer/$file]-} ]] ||
      { bad=yes && say "error: $spec: layer \`$layer\` lacks \`$file\`, which packages.lock has for it"; }
  done
  [[ -z $bad ]] || die "the spec and the lock name different packages" "change the lists of \`deb\` in the spec"
}
