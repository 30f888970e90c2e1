#!/bin/sh
# Install Debian packages whose programs are missing: PROGRAM or PROGRAM=PACKAGE, each. Where nothing can be installed,
# go on: whoever needs a program says what is skipped without it.
missing=""
for wanted in "$@"; do
    command -v "${wanted%%=*}" >/dev/null || missing="$missing ${wanted#*=}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing, and not installed without root and apt-get:$missing" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 (several packages)
{ apt-get update -qq && apt-get install -qq --yes --no-install-recommends $missing; } >/dev/null
