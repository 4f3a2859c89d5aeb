#!/bin/sh
# Builds a U-Boot that decrypts, which no package has, from the source package of Debian's own:
#
#     sh tests/make-uboot.sh
#
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold u-boot/qemu_arm/u-boot.bin, for QEMU's board virt: that of Debian's
# u-boot-qemu, with AES, PSS and overlays, and without EFI. What is there is used again, until this script asks for another
# configuration. Needs apt, a compiler for ARM and what U-Boot's build needs (tests/run.sh installs it); no root. U-Boot is
# GPL-2.0: test data only, never committed.
set -eu
cd "$(dirname "$0")"
tests=$(pwd)
# shellcheck source=tests/debian-apt.sh
. "$tests/debian-apt.sh"
cache=$cache/u-boot
made=$cache/qemu_arm
suite=bookworm release=2023.01
options='FIT_SIGNATURE FIT_CIPHER FIT_RSASSA_PSS FIT_VERBOSE AES OF_LIBFDT_OVERLAY LEGACY_IMAGE_FORMAT !EFI_LOADER'
recipe=$(echo "$suite $release $options" | cksum | cut -d' ' -f1)

is_made() { [ -f "$made/u-boot.bin" ] && [ "$(cat "$made/made-from")" = "$recipe" ]; }
if is_made; then
    echo "It is there: $made"
    exit 0
fi
mkdir -p "$cache"
# Who runs it at the same time finds it done.
exec 9>"$cache/.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
if is_made; then exit 0; fi
echo "Making a U-Boot that decrypts in $made: 16 MB to fetch, half a minute on 2 CPUs, 250 MB of disk meanwhile, 1 MB kept."
work_below "$cache"
fail() {
    tail -n 20 "$work/log" >&2
    echo "NOT MADE: U-Boot: $1" >&2
    exit 1
}

private_apt "$suite" amd64 true
echo "deb-src [signed-by=$keys] $mirror $suite main" >"$work/$suite-amd64/sources.list"
update_apt "$suite" amd64 || fail "no list of $suite's source packages"
(cd "$work" && private_apt "$suite" amd64 apt-get source --download-only u-boot >log 2>&1) || fail "no sources"
tar -x -C "$work" -f "$work"/u-boot_$release*.orig.tar.xz >"$work/log" 2>&1 || fail "no release $release"
source=$(echo "$work"/u-boot-*/)
out=$work/out
set -- -s -C "$source" O="$out" CROSS_COMPILE=arm-linux-gnueabihf- SOURCE_DATE_EPOCH=1700000000
make "$@" qemu_arm_defconfig >"$work/log" 2>&1 || fail "no qemu_arm_defconfig"
for option in $options; do
    case $option in
        !*) echo "# CONFIG_${option#!} is not set" ;;
        *) echo "CONFIG_$option=y" ;;
    esac
done >>"$out/.config"
make "$@" olddefconfig >"$work/log" 2>&1 || fail "configuration"
for option in $options; do
    case $option in
        !*) ! grep -qx "CONFIG_${option#!}=y" "$out/.config" || fail "$option cannot be unset" ;;
        *) grep -qx "CONFIG_$option=y" "$out/.config" || fail "$option cannot be set" ;;
    esac
done
make "$@" -j"$(nproc)" u-boot.bin >"$work/log" 2>&1 || fail "build"
mkdir "$work/made"
cp "$out/u-boot.bin" "$work/made/"
echo "$recipe" >"$work/made/made-from"
rm -rf "$made"
mv "$work/made" "$made"
