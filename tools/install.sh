#!/bin/sh
# Installs a lock and the project itself, editable, into the environment of PYTHON: tools/install.sh PYTHON LOCK
# With uv when UV names it, else with pip.
set -eu
python=$1
lock=$2

install() {
    if [ -n "${UV-}" ]; then
        "$UV" pip install --quiet --python "$python" "$@"
    else
        "$python" -m pip install --quiet --disable-pip-version-check --no-compile "$@"
    fi
}

if [ -t 2 ]; then # a sign of life for whoever waits
    (while sleep 1; do printf . >&2; done) &
    dots=$!
    trap 'kill $dots; echo >&2' EXIT
fi
install --require-hashes --requirement "$lock"
install --no-deps --no-build-isolation --editable .
