#!/bin/sh
# Make sure that the Redis programs the tests call are in PATH; install Debian's packages when allowed to.
set -eu

missing() {
    for program in redis-server redis-cli redis-benchmark redis-check-aof; do
        command -v "$program" >/dev/null 2>&1 || printf ' %s' "$program"
    done
}

[ -n "$(missing)" ] || exit 0

advice="The tests need$(missing). On Debian: apt-get install redis-server redis-tools"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "$advice" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    sudo=
elif sudo -n true 2>/dev/null; then
    sudo="sudo -n"
else
    echo "$advice (as root)" >&2
    exit 1
fi

echo "Installing redis-server and redis-tools for the tests."
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server redis-tools

if [ -n "$(missing)" ]; then
    echo "Still not in PATH after the installation:$(missing)" >&2
    exit 1
fi
