#!/bin/sh
# Builds the kernel trees that tests compare with, from Debian's kernel source packages:
#
#     sh tests/make-kernels.sh
#
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold kernels/NAME for each, with the files of a finished build that the
# tests read, at their places in the tree. A tree is made again when this script's configuration of it has changed, or
# when apt's lists on this machine know another version of its package. Needs apt, a C compiler, and what a kernel's build
# needs (tests/run.sh installs that); no root. Kernels are GPL-2.0: test data only, never committed.
set -eu
cd "$(dirname "$0")"
tests=$(pwd)
cache=${KIMAGE_CACHE:-$HOME/.cache/kimage}/kernels

# name, package, suite where this machine's own apt does not know the package. The names say version, CPU and codec.
trees='
    linux-6.1-x86_64-xz    linux-source-6.1  bookworm
    linux-6.1-i386-lzma    linux-source-6.1  bookworm
    linux-6.1-arm-gzip     linux-source-6.1  bookworm
'

# What all of them have on top of `make tinyconfig`: a console, an initial RAM disk, programs, and the configuration inside.
dtbs=unused
common='PRINTK TTY BLK_DEV_INITRD BINFMT_ELF BINFMT_SCRIPT PROC_FS SYSFS DEVTMPFS IKCONFIG'

options() {
    case $1 in
        *-arm-*) echo "$common MMU ARCH_MULTIPLATFORM ARCH_MULTI_V7 ARCH_VIRT ARCH_VEXPRESS AEABI VFP NEON SERIAL_AMBA_PL011" \
            "SERIAL_AMBA_PL011_CONSOLE ARM_APPENDED_DTB ARM_ATAG_DTB_COMPAT THUMB2_KERNEL KERNEL_GZIP !KERNEL_XZ" ;;
        *) echo "$common IKCONFIG_PROC PCI ACPI SERIAL_8250 SERIAL_8250_CONSOLE RELOCATABLE RANDOMIZE_BASE EFI EFI_STUB" ;;
    esac
    case $1 in
        *-x86_64-*) echo 64BIT ;;
        *-i386-*) echo '!64BIT' ;;
    esac
    case $1 in
        *-x86_64-*|*-i386-*) echo '!KERNEL_GZIP !KERNEL_XZ'; echo "KERNEL_$(echo "${1##*-}" | tr a-z A-Z)" ;;
    esac
}

# Only what tests read is kept: what the image is put together from, every file on the way, and the result.
keep() {
    from=$1 to=$2
    case $3 in *-arm-*) boot=arch/arm/boot ;; *) boot=arch/x86/boot ;; esac
    (
        cd "$from"
        for file in .config System.map vmlinux vmlinux.unstripped arch/x86/tools/relocs $boot/bzImage $boot/zImage \
            $boot/Image $boot/setup.elf $boot/setup.bin $boot/vmlinux.bin $boot/voffset.h $boot/zoffset.h \
            $boot/compressed/*.o $boot/compressed/vmlinux* $boot/compressed/.vmlinux.cmd $boot/compressed/.piggy.o.cmd \
            $boot/compressed/piggy.S $boot/compressed/piggy_data $boot/compressed/voffset.h $boot/startup/*.[oa] \
            drivers/firmware/efi/libstub/*.[oa]; do
            [ ! -f "$file" ] || echo "$file"
        done | grep -v '/compressed/voffset.h\|/vmlinux.o$' | tar -c -T - -f -
    ) | tar -x -C "$to" -f -
    for file in "$from"/$boot/dts/*.dtb "$from"/$boot/dts/arm/*.dtb; do
        if [ -f "$file" ]; then mkdir -p "$to/$boot/dts" && cp "$file" "$to/$boot/dts"; fi
    done
    # The decompressor's objects are all there, or the link could not be done again.
    for file in $(cat "$to/$boot/compressed/.vmlinux.cmd"); do
        case $file in *.o|*.a) [ -f "$to/$file" ] || { echo "$3: $file was not kept" >&2; return 1; } ;; esac
    done
}

# build NAME SOURCE OUTPUT: configures and builds one kernel.
build() {
    name=$1 source=$2 out=$3
    mkdir -p "$out"
    case $name in
        *-arm-*) set -- ARCH=arm CROSS_COMPILE=arm-linux-gnueabihf- ; goals="zImage $dtbs" ;;
        *-i386-*) set -- ARCH=i386 ; goals=bzImage ;;
        *) set -- ARCH=x86_64 ; goals=bzImage ;;
    esac
    # Nothing of this machine goes in, and nobody's environment.
    set -- -C "$source" O="$out" KBUILD_BUILD_TIMESTAMP='2026-01-01' KBUILD_BUILD_USER=kimage KBUILD_BUILD_HOST=tests "$@"
    make -s "$@" tinyconfig >"$out/log" 2>&1
    for option in $(options "$name"); do
        case $option in
            !*) echo "# CONFIG_${option#!} is not set" ;;
            *) echo "CONFIG_$option=y" ;;
        esac
    done >"$out/wanted"
    (cd "$out" && cat wanted >>.config)
    make -s "$@" olddefconfig >>"$out/log" 2>&1
    while read -r line; do
        case $line in CONFIG_*) grep -qx "$line" "$out/.config" || { echo "$name: $line does not hold" >&2; return 1; } ;; esac
    done <"$out/wanted"
    # shellcheck disable=SC2086 # a list of words
    nice -n 10 make -s -j"$jobs" "$@" OBJCOPY="$work/objcopy-$name" $goals >>"$out/log" 2>&1
}
