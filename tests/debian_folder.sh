#!/usr/bin/env bash
# Debian in a folder: functions that install it, copy this tree into it and run commands in it. For other scripts to
# source, after they have set WHO, the name that messages begin with.
#
# DEBIAN_MIRROR is where Debian comes from, default: where apt gets it on this machine, else debootstrap's own default.
# Needs Linux, root that may mount, and debootstrap. Exits with 2 and one line where one of them is missing.
set -euo pipefail

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# What the registries' clients are told here holds in the folder too.
SETTINGS='^((PIP|UV|SSL|REQUESTS|CURL)_[A-Z_]+|(https?|no|all|HTTPS?|NO|ALL)_(proxy|PROXY)|BCL_SHARED_DATA)='

fail() {
    echo "$WHO: $1" >&2
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

# One run at a time uses a folder.
hold() {
    mkdir -p "$(dirname "$1")"
    exec 9>"$1.lock"
    flock -n 9 || fail "another run is using $1"
}

# Installs aside and renames when whole, so that an interrupted run leaves nothing that looks ready.
# install_debian FOLDER RELEASE [PACKAGE,PACKAGE...]
install_debian() {
    local folder=$1 release=$2 packages=${3-} mirror=${DEBIAN_MIRROR:-$(mirror_of_apt)}
    echo "Setting up Debian $release in $folder (a few minutes the first time)"
    rm -rf --one-file-system "$folder.partial"
    unshare --mount debootstrap --variant=minbase --force-check-gpg --keyring="$KEYRING" \
        ${packages:+--include="$packages"} "$release" "$folder.partial" ${mirror:+"$mirror"} >"$folder.log" 2>&1 || {
        tail -n 20 "$folder.log" >&2
        fail "debootstrap failed; its full output is in $folder.log"
    }
    mv "$folder.partial" "$folder"
    rm "$folder.log"
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

# Runs a command in a folder's Debian. The mounts and the processes of a run end with it, however it ends.
# With LEND=nothing it gets no file of this machine but its names of hosts: a step that installs certificates writes
# what others are lent.
# run_in_debian FOLDER COMMAND [ARGUMENT ...]
run_in_debian() {
    unshare --mount --pid --fork --kill-child "$BASH" "${BASH_SOURCE[0]}" --inside "$@"
}

# In its own mount namespace.
run_inside() {
    local folder=$1 path settings
    shift
    # The first process of a namespace gets only the signals that it handles, so the command is not the first.
    trap 'exit 130' INT TERM
    mount -t proc proc "$folder/proc"
    mount --rbind /dev "$folder/dev"
    for path in /etc/resolv.conf /etc/hosts; do lend "$path" "$folder"; done
    if [ "${LEND-}" != nothing ]; then
        while IFS= read -r path; do lend "$path" "$folder"; done < <(lent_paths | sort -u)
    fi
    mapfile -d '' settings < <(env -0 | grep -zE "$SETTINGS")
    env -i "${settings[@]}" HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
        chroot "$folder" "$@"
}

# Files of settings and certificates, and every path that the settings name. They are shown there for the length of a
# run, never copied: no address of this machine's registries stays behind. An index's pages link to files beside it.
lent_paths() {
    printf '%s\n' /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/uv ~root/.config/pip ~root/.config/uv ~root/.pip
    { env | grep -E "$SETTINGS"; python3 -m pip config list 2>/dev/null; } |
        grep -oE "(file://|[=' ])/[^' ]+" | sed -E "s,^file://(.*)/[^/]+/*$,\\1,; s,^[=' ],,"
}

lend() {
    local path=$1 folder=$2
    [ -e "$path" ] || return 0
    if [ -d "$path" ]; then
        mkdir -p "$folder$path"
    else
        mkdir -p "$folder$(dirname "$path")"
        [ -e "$folder$path" ] || touch "$folder$path"
    fi
    mount --bind "$path" "$folder$path"
    mount -o remount,bind,ro "$folder$path"
}

if [ "${1-}" = --inside ] && [ "$0" = "${BASH_SOURCE[0]}" ]; then run_inside "${@:2}"; fi
