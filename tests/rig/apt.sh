# shellcheck shell=bash
# What a root takes over from the host's apt: the mirror, the way to it (proxy, certificates, names) and the keys that
# vouch for it.

# Prints the URIs of the host's package sources, one a line, without repeats. apt itself reads them, so every format
# that it knows counts; what `update` would download is known before anything was downloaded, as in a fresh image.
host_mirrors() {
    local uri list
    # 'http://host/debian/dists/bookworm/InRelease' host_debian_dists_bookworm_InRelease 0
    apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/.*/InRelease' .*|\1|p" | awk '!seen[$0]++' |
        while read -r uri; do
            case $uri in
            mirror+file:*)
                # Debian's cloud images name their mirror in a file.
                list=${uri#mirror+file:}
                awk '/^[a-z]/ { print $1 }' "/${list##+(/)}"
                ;;
            http://* | https://* | file:* | copy:*) printf '%s\n' "$uri" ;;
            esac
        done
}

# Downloads the signed index of a suite ($1) from a mirror ($2) to a file ($3).
fetch_release() {
    /usr/lib/apt/apt-helper download-file "${2%/}/dists/$1/InRelease" "$3" >/dev/null 2>&1
}

# Prints the first of the host's mirrors that serves a suite ($1); leaves its signed index in the file $2.
mirror_of() {
    local mirror
    while read -r mirror; do
        rm -f "$2"
        if fetch_release "$1" "$mirror" "$2" && grep -qx 'Label: Debian' "$2" && grep -qx "Codename: $1" "$2"; then
            printf '%s\n' "$mirror"
            return 0
        fi
    done < <(if [[ -n ${OCISEED_E2E_MIRROR-} ]]; then printf '%s\n' "$OCISEED_E2E_MIRROR"; else host_mirrors; fi)
    return 1
}

# Prints the first keyring that vouches for a signed index ($1): the host's, else one that came with a finished root
# below $2. A host can be older than the key of a newer suite, but then the root of a suite in between, itself checked
# with the host's keys, brought that key in a package.
keyring_for() {
    local keyring
    for keyring in /usr/share/keyrings/debian-archive-keyring.gpg \
        "$2"/*/usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
        if [[ -e $keyring ]] && gpgv -q --keyring "$keyring" "$1" >/dev/null 2>&1; then
            printf '%s\n' "$keyring"
            return 0
        fi
    done
    return 1
}

# Prints apt's settings for reaching a mirror. Not a copy of apt.conf.d: that also holds hooks of the host's packages.
host_apt_settings() {
    apt-config dump | grep -E '^Acquire::(https?::|Check-(Date|Valid-Until)|Retries|ForceIPv[46])' |
        grep -vi -e 'Proxy-Auto-Detect' -e 'CAInfo' || true
}

# Gives debootstrap, which does not read apt's settings, the proxy that they name.
export_apt_proxy() {
    local name proxy
    for name in http https; do
        proxy=$(apt-config dump --format '%v%n' "Acquire::$name::Proxy")
        if [[ -n $proxy && $proxy != DIRECT && $proxy != false ]]; then
            export "${name}_proxy=$proxy"
        fi
    done
}

# Writes into a root ($1) what apt-get needs to reach the suite ($2) on a mirror ($3).
write_apt_configuration() {
    local file
    printf 'deb %s %s main\n' "$3" "$2" >"$1/etc/apt/sources.list"
    {
        host_apt_settings
        echo 'APT::Install-Recommends "false";'
        echo 'Acquire::Languages "none";'
        echo 'Acquire::https::CAInfo "/etc/ssl/host-ca-certificates.crt";'
    } >"$1/etc/apt/apt.conf.d/80host"
    cp -L --remove-destination /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/host-ca-certificates.crt"
    for file in resolv.conf hosts; do
        cp -L --remove-destination "/etc/$file" "$1/etc/$file"
    done
}
