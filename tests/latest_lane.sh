#!/usr/bin/env bash
# Runs the tests on lane tfx-1.21: on Debian 13, which has the glibc and the Python for it, installed in a folder.
#
#     make test-latest                       or, for another command than `make test`:
#     tests/latest_lane.sh COMMAND [ARGUMENT ...]
#
# LANE_DIR is the folder, default .lanes/tfx-1.21; the Debian in it, its .venv and its .venvs are kept between runs.
# What it needs is in debian_folder.sh.
set -euo pipefail

WHO="make test-latest"
RELEASE=trixie
PACKAGES=python3,python3-venv,python3-dev,gcc,g++,libc6-dev,make,git,ca-certificates
# shellcheck source=tests/debian_folder.sh
source "${BASH_SOURCE[0]%/*}/debian_folder.sh"

check_machine
cd "${BASH_SOURCE[0]%/*}/.."
lane=$(realpath -m "${LANE_DIR:-.lanes/tfx-1.21}")
hold "$lane"
[ -d "$lane" ] || install_debian "$lane" "$RELEASE" "$PACKAGES"
copy_tree "$lane/bcl"
[ $# -gt 0 ] || set -- make test PYTHON=python3
run_in_debian "$lane" sh -c 'cd /bcl && exec "$@"' sh "$@"
