#!/bin/sh
# Fetches systemd's ukify, which Debian 12 has not, and the boot stubs of the same release:
#
#     sh tests/fetch-ukify.sh
#
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold the folder ukify with both packages unpacked. What is there already is not
# fetched again. Needs apt, dpkg-deb and python3-pefile; no root, and nothing of this machine's own apt is touched.
set -eu
# shellcheck source=tests/debian-apt.sh
. "$(dirname "$0")/debian-apt.sh"
[ ! -x "$cache/ukify/usr/bin/ukify" ] || exit 0
work_below "$cache"

unpack trixie amd64 systemd-ukify:all systemd-boot-efi:amd64
rm -rf "$work/new/usr/share"
mv "$work/new" "$cache/ukify"
