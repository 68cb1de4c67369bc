# shellcheck shell=bash
# Python programs that Debian does not package, in a root of their own (/opt/NAME): exactly the wheels of a lock
# (recipes/NAME.lock). The host's pip fetches them, so the host's own configuration says from where, and the root needs no pip.
# shellcheck disable=SC2154 # make-root's: rig, suite, new

need_pip() { python3 -m pip --version >/dev/null 2>&1 || install_on_host python3-pip; }

# pip_for VERSION MACHINE COMMAND [ARG]...: runs a command of pip for another Python, as 3.14, than the one that runs pip.
pip_for() {
    local version=$1 machine=$2 command=$3 platform options=()
    shift 3
    # pip does not derive the older ones from the newest.
    for platform in manylinux_2_34 manylinux_2_28 manylinux_2_17 manylinux2014; do
        options+=(--platform "${platform}_$machine")
    done
    for platform in "cp${version/./}" abi3 none; do options+=(--abi "$platform"); done
    # These of a developer's settings would be refused beside --target.
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore python3 -m pip "$command" --quiet \
        --disable-pip-version-check --implementation cp --python-version "$version" "${options[@]}" --only-binary=:all: "$@"
}

# install_python_program NAME: installs recipes/NAME.lock into the new root at /opt/NAME, with /opt/NAME/bin/python.
install_python_program() {
    local name=$1 version target
    need_pip
    # Not Debian's packages of the same names, which may be of other versions.
    in_new_root python3 -m venv --without-pip "/opt/$name"
    version=$(in_new_root python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    target=$new/opt/$name/lib/python$version/site-packages
    say "$suite: $name for Python $version, by pip of this machine"
    # Older versions of pip install only what runs where they run: this was settled when the lock was made.
    pip_for "$version" "$(uname -m)" install --target "$target" --upgrade --no-deps --no-compile \
        --ignore-requires-python --require-hashes --requirement "$rig/recipes/$name.lock" >&2 ||
        die "pip of this machine cannot install $rig/recipes/$name.lock: either it reaches no index (see \`pip config list\`)," \
            "or the lock has no wheels for Python $version (tests/rig/lock-python makes a new one)"
    # Their first line names the Python that ran pip.
    rm -rf -- "${target:?}/bin"
    # What is compiled in an overlay is lost.
    in_new_root python3 -m compileall -q -j 2 "/opt/$name/lib"
}
