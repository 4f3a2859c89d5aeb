#!/bin/sh
# Fetches the newest of systemd's boot stubs and of UEFI firmware for PCs that Debian has:
#
#     sh tests/fetch-sid.sh
#
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold the folder sid with both packages unpacked. What is there already is not
# fetched again. Needs apt and dpkg-deb; no root, and nothing of this machine's own apt is touched.
set -eu
# shellcheck source=tests/debian-apt.sh
. "$(dirname "$0")/debian-apt.sh"
[ ! -d "$cache/sid" ] || exit 0
work_below "$cache"

unpack sid amd64 systemd-boot-efi:amd64 ovmf-generic:all
rm -rf "$work/new/usr/share/doc"
mv "$work/new" "$cache/sid"
