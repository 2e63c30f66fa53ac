#!/usr/bin/env bash
# Runs the tests on lane tfx-1.21: on Debian 13, which has the glibc and the Python for it, installed in a folder.
#
#     make test-latest                       or, for another command than `make test`:
#     tests/latest_lane.sh COMMAND [ARGUMENT ...]
#
# LANE_DIR is the folder, default .lanes/tfx-1.21; the Debian in it, its .venv and its .venvs are kept between runs.
# DEBIAN_MIRROR is where Debian comes from, default: where apt gets it on this machine, else debootstrap's own default.
# Needs Linux, root that may mount, and debootstrap. Exits with 2 and one line where one of them is missing.
set -euo pipefail

RELEASE=trixie
PACKAGES=python3,python3-venv,python3-dev,gcc,g++,libc6-dev,make,git,ca-certificates
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# What the registries' clients are told here holds in the folder too.
SETTINGS='^((PIP|UV|SSL|REQUESTS|CURL)_[A-Z_]+|(https?|no|all|HTTPS?|NO|ALL)_(proxy|PROXY)|BCL_SHARED_DATA)='

main() {
    check_machine
    cd "${BASH_SOURCE[0]%/*}/.."
    local lane
    lane=$(realpath -m "${LANE_DIR:-.lanes/tfx-1.21}")
    mkdir -p "$(dirname "$lane")"
    exec 9>"$lane.lock"
    flock -n 9 || fail "another run is using $lane"
    [ -d "$lane" ] || install_debian "$lane"
    copy_tree "$lane/bcl"
    [ $# -gt 0 ] || set -- make test PYTHON=python3
    # The mounts and the processes of a run end with it, however it ends.
    unshare --mount --pid --fork --kill-child "$BASH" tests/latest_lane.sh --inside "$lane" "$@"
}

fail() {
    echo "make test-latest: $1" >&2
    exit 2
}

check_machine() {
    [[ $OSTYPE == linux* ]] || fail "needs Linux. Received: $OSTYPE"
    [ "$EUID" -eq 0 ] || fail "needs root, to mount and to chroot. Received: user id $EUID"
    local tool
    for tool in debootstrap unshare chroot flock git tar; do
        command -v "$tool" >/dev/null || fail "needs the command $tool, which is not here"
    done
    [ -f "$KEYRING" ] || fail "needs Debian's keys (package debian-archive-keyring): there is no $KEYRING"
    unshare --mount --pid --fork true 2>/dev/null || fail "needs root that may mount (CAP_SYS_ADMIN), which this root may not"
}

# Installs aside and renames when whole, so that an interrupted run leaves nothing that looks ready.
install_debian() {
    local lane=$1 mirror=${DEBIAN_MIRROR:-$(mirror_of_apt)}
    echo "Setting up Debian 13 in $lane (a few minutes the first time)"
    rm -rf --one-file-system "$lane.partial"
    unshare --mount debootstrap --variant=minbase --force-check-gpg --keyring="$KEYRING" --include="$PACKAGES" \
        "$RELEASE" "$lane.partial" ${mirror:+"$mirror"} >"$lane.log" 2>&1 || {
        tail -n 20 "$lane.log" >&2
        fail "debootstrap failed; the whole of what it said is in $lane.log"
    }
    mv "$lane.partial" "$lane"
    rm "$lane.log"
}

mirror_of_apt() {
    command -v apt-get >/dev/null || return 0
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' |
        grep -E '^https?://' | head -n 1 || true
}

# What git tracks or would track; environments made by an earlier run move along.
copy_tree() {
    local tree=$1 kept
    rm -rf "$tree.new"
    mkdir "$tree.new"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' path; do
            if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\0' "$path"; fi
        done | tar --create --null --files-from=- | tar --extract --no-same-owner --directory="$tree.new"
    for kept in .venv .venvs; do
        [ ! -d "$tree/$kept" ] || mv "$tree/$kept" "$tree.new/$kept"
    done
    rm -rf "$tree"
    mv "$tree.new" "$tree"
}

# In its own mount namespace.
run_in() {
    local lane=$1 path settings
    shift
    # The first process of a namespace heeds only the signals that it asks for; so the command is not the first.
    trap 'exit 130' INT TERM
    mount -t proc proc "$lane/proc"
    mount --rbind /dev "$lane/dev"
    for path in /etc/resolv.conf /etc/hosts; do lend "$path" "$lane"; done
    while IFS= read -r path; do lend "$path" "$lane"; done < <(lent_paths | sort -u)
    mapfile -d '' settings < <(env -0 | grep -zE "$SETTINGS")
    env -i "${settings[@]}" HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
        chroot "$lane" sh -c 'cd /bcl && exec "$@"' sh "$@"
}

# Files of settings and certificates, and every path that the settings name. They are shown there for the length of a
# run, never copied: no address of this machine's registries stays behind. An index's pages link to files beside it.
lent_paths() {
    printf '%s\n' /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/uv ~root/.config/pip ~root/.config/uv ~root/.pip
    { env | grep -E "$SETTINGS"; python3 -m pip config list 2>/dev/null; } |
        grep -oE "(file://|[=' ])/[^' ]+" | sed -E "s,^file://(.*)/[^/]+/*$,\\1,; s,^[=' ],,"
}

lend() {
    local path=$1 lane=$2
    [ -e "$path" ] || return 0
    if [ -d "$path" ]; then
        mkdir -p "$lane$path"
    else
        mkdir -p "$lane$(dirname "$path")"
        [ -e "$lane$path" ] || touch "$lane$path"
    fi
    mount --bind "$path" "$lane$path"
    mount -o remount,bind,ro "$lane$path"
}

if [ "${1-}" = --inside ]; then run_in "${@:2}"; else main "$@"; fi
