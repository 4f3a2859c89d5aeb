#!/bin/sh
# Fetches the newest of systemd's boot stubs and of UEFI firmware for PCs that Debian has:
#
#     sh tests/fetch-sid.sh
#
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold the folder sid with both packages unpacked. What is there already is not
# fetched again. Needs apt and dpkg-deb; no root, and nothing of this machine's own apt is touched.
set -eu
cache=${KIMAGE_CACHE:-$HOME/.cache/kimage}
[ ! -d "$cache/sid" ] || exit 0
mkdir -p "$cache"
work=$(mktemp -d "$cache/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# shellcheck source=tests/debian-apt.sh
. "$(dirname "$0")/debian-apt.sh"

update_apt sid amd64
mkdir "$work/deb" "$work/new"
(cd "$work/deb" && private_apt sid amd64 apt-get download systemd-boot-efi:amd64 ovmf-generic:all >"$work/log" 2>&1) || {
    cat "$work/log" >&2
    exit 1
}
for package in "$work"/deb/*.deb; do dpkg-deb -x "$package" "$work/new"; done
rm -rf "$work/new/usr/share/doc"
mv "$work/new" "$cache/sid"
