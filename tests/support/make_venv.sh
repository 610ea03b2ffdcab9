#!/bin/sh
# make_venv.sh PYTHON DIRECTORY: make a virtual environment, also where Debian's python3-venv is missing.
set -eu
python=$1
venv=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Shoal needs Python 3.11 or newer, and '$python' is not. Name one: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi

# Debian takes ensurepip out of its Python: then venv fails, after it has made half a directory.
if "$python" -c 'import ensurepip, venv' 2>/dev/null && "$python" -m venv "$venv"; then
    exit 0
fi
rm -rf "$venv"

# virtualenv does the same without ensurepip. --target leaves the system's packages alone, so an
# "externally managed" Python has no objection.
echo "python3-venv is missing here; using virtualenv from the package index instead."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
if ! "$python" -m pip install --quiet --disable-pip-version-check --target "$tools" virtualenv; then
    echo "Could not install virtualenv through pip. Install python3-venv (apt-get install python3-venv), then try again." >&2
    exit 1
fi
PYTHONPATH=$tools "$python" -m virtualenv --quiet "$venv"
