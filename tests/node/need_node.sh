#!/bin/sh
# Make sure that Node.js and npm are there, and new enough for the programs that are tried.
set -eu

advice="make test-node needs Node.js 20 or newer, with npm, in PATH"

for program in node npm; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "$advice: there is no $program." >&2
        exit 1
    fi
done
if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
    echo "$advice: this one is $(node --version)." >&2
    exit 1
fi
