#!/bin/sh
# Installs a lock and the project itself, editable, into the environment of PYTHON: tools/install.sh PYTHON LOCK
# With uv where it is there (UV= on the command line of make: not), else with pip, in a third of the speed.
set -eu
python=$1
lock=$2
uv=${UV-$(command -v uv || true)}

install() {
    if [ -n "$uv" ]; then
        "$uv" pip install --quiet --compile-bytecode --python "$python" "$@"
    else
        "$python" -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

if [ -t 2 ]; then # a sign of life for whoever waits
    (while sleep 1; do printf . >&2; done) &
    dots=$!
    trap 'kill $dots; echo >&2' EXIT
fi
install --require-hashes --requirement "$lock"
install --no-deps --no-build-isolation --editable .
