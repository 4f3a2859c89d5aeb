#!/bin/sh
# Fetches systemd's ukify, which Debian 12 has not, and the boot stubs of the same release:
#
#     sh tests/fetch-ukify.sh
#
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold the folder ukify with both packages unpacked. What is there already is not
# fetched again. Needs apt, dpkg-deb and python3-pefile; no root, and nothing of this machine's own apt is touched.
set -eu
cache=${KIMAGE_CACHE:-$HOME/.cache/kimage}
[ ! -x "$cache/ukify/usr/bin/ukify" ] || exit 0
mkdir -p "$cache"
work=$(mktemp -d "$cache/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# shellcheck source=tests/debian-apt.sh
. "$(dirname "$0")/debian-apt.sh"

update_apt trixie amd64
mkdir "$work/deb" "$work/new"
(cd "$work/deb" && private_apt trixie amd64 apt-get download systemd-ukify:all systemd-boot-efi:amd64 >"$work/log" 2>&1) || {
    cat "$work/log" >&2
    exit 1
}
for package in "$work"/deb/*.deb; do dpkg-deb -x "$package" "$work/new"; done
rm -rf "$work/new/usr/share"
mv "$work/new" "$cache/ukify"
