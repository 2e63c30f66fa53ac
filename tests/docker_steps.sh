#!/usr/bin/env bash
# Runs the steps of the Dockerfile without Docker: in a plain Debian, which debootstrap installs in a folder.
#
#     tests/docker_steps.sh                            all steps, then the image's command
#     tests/docker_steps.sh COMMAND [ARGUMENT ...]     all steps, then another command, as `docker run` takes it
#
# STEPS_DIR is the folder, default .lanes/docker. The plain Debian in it is kept, and so is what the last run made of it.
# The last line says how long the steps took and what they take on the disk. What it needs is in debian_folder.sh.
set -euo pipefail

WHO="tests/docker_steps.sh"
# shellcheck source=tests/debian_folder.sh
source "${BASH_SOURCE[0]%/*}/debian_folder.sh"
FROM='^FROM (--platform=linux/amd64 )?debian:([a-z]+)-slim$'
WORDS='^\["[^"]*"(, "[^"]*")*\]$'

# Comments go, continued lines become one.
steps() {
    sed -e '/^[[:space:]]*#/d' -e '/^[[:space:]]*$/d' Dockerfile | sed -e ':more' -e '/\\$/{N;s/\\\n[[:space:]]*//;b more' -e '}'
}

run_step() {
    local kind=${1%% *} rest=${1#* }
    case $kind in
    RUN)
        [[ $rest != *apt-get* ]] || local -x LEND=nothing
        in_image sh -c "$rest" || fail "the step failed: $1"
        ;;
    WORKDIR) workdir=$rest && mkdir -p "$image$workdir" ;;
    ENV) read -ra words <<<"$rest" && variables+=("${words[@]}") ;;
    COPY)
        [ "$rest" = ". ." ] || fail "knows COPY . . alone. Received: $1"
        copy_tree "$image$workdir"
        ;;
    CMD)
        [[ $rest =~ $WORDS ]] || fail "knows CMD [\"word\", ...] alone. Received: $1"
        mapfile -t default_command < <(grep -oE '"[^"]*"' <<<"$rest" | tr -d '"')
        ;;
    *) fail "does not know the step $1" ;;
    esac
}

in_image() {
    run_in_debian "$image" env "${variables[@]}" sh -c 'cd "$0" && exec "$@"' "$workdir" "$@" </dev/null
}

check_machine
cd "${BASH_SOURCE[0]%/*}/.."
mapfile -t all < <(steps)
[[ ${all[0]} =~ $FROM ]] || fail "knows FROM debian:RELEASE-slim alone. Received: ${all[0]}"
release=${BASH_REMATCH[2]}
folder=$(realpath -m "${STEPS_DIR:-.lanes/docker}")
hold "$folder"
mkdir -p "$folder"
plain=$folder/$release image=$folder/image workdir=/ variables=() default_command=()
[ -d "$plain" ] || install_debian "$plain" "$release"
rm -rf --one-file-system "$image"
cp -a --reflink=auto "$plain" "$image"
SECONDS=0
for step in "${all[@]:1}"; do
    echo "STEP $step"
    run_step "$step"
done
echo "The steps took $SECONDS s; the image takes $(du -sm "$image" | cut -f1) MB, $(du -sm "$plain" | cut -f1) MB of it the plain Debian."
if [ $# -eq 0 ]; then set -- "${default_command[@]}"; fi
[ $# -eq 0 ] || in_image "$@"
