#!/bin/sh
# Fetches Debian's kernels, which some boot tests want, into a folder (default: target/debian):
#
#     sh tests/debian.sh [FOLDER]
#
# The tests look for KIMAGE_DEBIAN or target/debian. Debian 12 and its kin have the packages.
set -eu
cd "$(dirname "$0")/.."
out=${1:-target/debian}
mkdir -p "$out"
out=$(cd "$out" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
for kind in amd64 cloud-amd64; do
    # The meta-package's only dependency is the kernel of today.
    package=$(apt-cache depends "linux-image-$kind" | sed -n 's/^ *Depends: //p' | head -n1)
    apt-get download -q "$package"
    dpkg-deb -x "$package"_*.deb .
done
cp boot/vmlinuz-* "$out"
