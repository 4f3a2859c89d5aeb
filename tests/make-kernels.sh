#!/bin/sh
# Builds the kernel trees that tests compare with, from Debian's kernel source packages:
#
#     sh tests/make-kernels.sh [--full]
#
# One generation for each CPU; --full (or KIMAGE_FULL=1) adds the older and newer ones, and big-endian.
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold kernels/NAME for each, with the files of a finished build that the
# tests read, at their places in the tree. What is there is used again, until this script asks for another configuration or
# apt's lists on this machine know another version of the package. Needs apt, a C compiler and what a kernel's build
# needs (tests/run.sh installs it); no root. Kernels are GPL-2.0: test data only, never committed.
set -eu
cd "$(dirname "$0")"
tests=$(pwd)
# shellcheck source=tests/debian-apt.sh
. "$tests/debian-apt.sh"
cache=$cache/kernels
jobs=$(nproc)

# name, source package, suite that has it. The name tells version (* is the package's), CPU and codec. Of those whose names do
# not begin with linux nothing but the kernel is kept: without what unpacks initial RAM disks, or any use of them; big-endian
# (BE8). Neighbours that differ in some options are built by the same objects.
trees='
    linux-6.1-x86_64-xz    linux-source-6.1  bookworm
    without-codecs-6.1-x86_64-gzip linux-source-6.1 bookworm
    without-initrd-6.1-x86_64-gzip linux-source-6.1 bookworm
    linux-6.1-i386-lzma    linux-source-6.1  bookworm
    linux-6.1-arm-gzip     linux-source-6.1  bookworm
'
if [ "${1:-}" = --full ] || [ -n "${KIMAGE_FULL:-}" ]; then
    trees=$trees'
    big-endian-6.1-arm-gzip linux-source-6.1 bookworm
    linux-5.10-x86_64-gzip linux-source-5.10 bullseye
    linux-6.12-x86_64-lz4  linux-source-6.12 trixie
    linux-*-x86_64-zstd    linux-source      sid
'
fi

# What all of them have on top of `make tinyconfig`: a console, an initial RAM disk, programs, and the configuration
# inside. ! is off; ? is on where the kernel knows it.
options() {
    initrd=BLK_DEV_INITRD
    case $1 in without-initrd-*) initrd= ;; esac
    echo PRINTK TTY $initrd BINFMT_ELF BINFMT_SCRIPT PROC_FS SYSFS DEVTMPFS IKCONFIG
    case $1 in
        *-arm-*)
            echo MMU ARCH_MULTIPLATFORM ARCH_MULTI_V7 ARCH_VIRT ARCH_VEXPRESS AEABI VFP NEON THUMB2_KERNEL
            echo SERIAL_AMBA_PL011 SERIAL_AMBA_PL011_CONSOLE ARM_APPENDED_DTB ARM_ATAG_DTB_COMPAT
            ;;
        *)
            echo IKCONFIG_PROC PCI ACPI SERIAL_8250 SERIAL_8250_CONSOLE RELOCATABLE RANDOMIZE_BASE EFI EFI_STUB
            ;;
    esac
    case $1 in
        *-x86_64-*) echo 64BIT '?X86_5LEVEL' VMAP_STACK ;;
        # For the oldest CPU that there is a kernel for.
        *-i386-*) echo '!64BIT' M486 ;;
    esac
    case $1 in
        *-6.12-x86_64-*) echo SMP EFI_MIXED ;;
    esac
    case $1 in
        without-codecs-*) echo '!RD_GZIP !RD_BZIP2 !RD_LZMA !RD_XZ !RD_LZO !RD_LZ4 !RD_ZSTD' ;;
        without-initrd-*) echo '!BLK_DEV_INITRD' ;;
        big-endian-*) echo CPU_BIG_ENDIAN ;;
    esac
    echo '!KERNEL_GZIP !KERNEL_XZ'
    echo "KERNEL_$(echo "${1##*-}" | tr '[:lower:]' '[:upper:]')"
}

# Only what tests read is kept: what the image is put together from, every file on the way, and the result.
keep() {
    name=$1 source=$2 from=$3 to=$4
    case $name in
        without-*) cp "$from/arch/x86/boot/bzImage" "$to"; return ;;
        big-endian-*) cp "$from/vmlinux" "$from/arch/arm/boot/zImage" "$to"; return ;;
    esac
    case $name in *-arm-*) boot=arch/arm/boot ;; *) boot=arch/x86/boot ;; esac
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
    # ARM's has no program to write it, and stands in the sources.
    [ -f "$to/$boot/compressed/piggy.S" ] || cp "$source/$boot/compressed/piggy.S" "$to/$boot/compressed/"
    for file in "$from"/$boot/dts/*.dtb "$from"/$boot/dts/arm/*.dtb; do
        if [ -f "$file" ]; then mkdir -p "$to/$boot/dts" && cp "$file" "$to/$boot/dts"; fi
    done
    # The decompressor's objects are all there, or the link could not be done again.
    for file in $(cat "$to/$boot/compressed/.vmlinux.cmd"); do
        case $file in *.o|*.a) [ -f "$to/$file" ] || { echo "$name: $file was not kept" >&2; return 1; } ;; esac
    done
}

# build NAME SOURCE OUTPUT: configures and builds one kernel; objects that are there already and fit are not built again.
build() {
    name=$1 source=$2 out=$3
    prefix=
    mkdir -p "$out"
    case $name in
        *-arm-*)
            prefix=arm-linux-gnueabihf-
            set -- ARCH=arm CROSS_COMPILE=$prefix
            goals="zImage vexpress-v2p-ca9.dtb vexpress-v2p-ca15_a7.dtb"
            ;;
        *-i386-*) set -- ARCH=i386 ; goals=bzImage ;;
        *) set -- ARCH=x86_64 ; goals=bzImage ;;
    esac
    # Nothing of this machine goes in, and nobody's environment.
    set -- -C "$source" O="$out" KBUILD_BUILD_USER=kimage KBUILD_BUILD_HOST=tests \
        KBUILD_BUILD_TIMESTAMP='Thu Jan  1 12:34:56 UTC 2026' KBUILD_BUILD_VERSION=1 "$@"
    make -s "$@" tinyconfig >"$out/log" 2>&1
    for option in $(options "$name"); do
        option=${option#\?}
        case $option in
            !*) echo "# CONFIG_${option#!} is not set" ;;
            *) echo "CONFIG_$option=y" ;;
        esac
    done >"$out/wanted"
    (cd "$out" && cat wanted >>.config)
    make -s "$@" olddefconfig >>"$out/log" 2>&1
    for option in $(options "$name"); do
        case $option in
            !*|\?*) ;;
            *) grep -qx "CONFIG_$option=y" "$out/.config" || { echo "$name: $option cannot be set" >&2; return 1; } ;;
        esac
    done
    # Between Linux 6.10 and 6.15 the link's last step takes the relocations out of vmlinux: the file before that is kept.
    cat >"$out/objcopy" <<SCRIPT
#!/bin/sh
case "\$*" in
    *vmlinux.unstripped*) ;;
    *--remove-section=.rel*' vmlinux') cp vmlinux vmlinux.unstripped ;;
esac
exec ${prefix}objcopy "\$@"
SCRIPT
    chmod +x "$out/objcopy"
    # shellcheck disable=SC2086 # a list of words
    make -s -j"$jobs" "$@" OBJCOPY="$out/objcopy" $goals >>"$out/log" 2>&1
}

# The version of this package of one series that this machine's apt would install, or nothing.
known() {
    case $1 in *[0-9]) ;; *) return 0 ;; esac
    apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([^(].*\)$/\1/p'
}

# recipe PATTERN: what is to be made is another thing when this is.
recipe() {
    # shellcheck disable=SC2046 # words
    echo $(options "$1") | cksum | cut -d' ' -f1
}

# is_made PATTERN PACKAGE
is_made() {
    for folder in "$cache"/$1; do
        [ -f "$folder/made-from" ] || continue
        read -r _ version sum <"$folder/made-from"
        [ "$sum" = "$(recipe "$1")" ] || continue
        now=$(known "$2")
        [ -z "$now" ] || [ "$now" = "$version" ] && return 0
    done
    return 1
}

# sources PACKAGE SUITE: fetches and unpacks a kernel's sources once; sets `source`, `version` and `series`.
sources() {
    package=$1 suite=$2
    case $package in
        *[0-9]) ;;
        *)
            update_apt "$suite" amd64
            package=$(private_apt "$suite" amd64 apt-cache depends "$package" | sed -n 's/^ *Depends: \(linux-source-[0-9.]*\)$/\1/p')
            ;;
    esac
    series=${package#linux-source-}
    if [ ! -d "$work/$package" ]; then
        rm -rf "$work"/linux-source-* "$work"/build-*
        mkdir "$work/new"
        echo "Fetching $package"
        # Of this machine's own apt, which may have the security updates, or of the suite.
        (cd "$work/new" && [ -n "$(known "$package")" ] && apt-get download -q "$package" >"$work/log" 2>&1) ||
            { update_apt "$suite" amd64 &&
                (cd "$work/new" && private_apt "$suite" amd64 apt-get download "$package" >"$work/log" 2>&1); } ||
            { cat "$work/log" >&2; return 1; }
        dpkg-deb -f "$work"/new/*.deb Version >"$work/new/version"
        dpkg-deb -x "$work"/new/*.deb "$work/new"
        rm "$work"/new/*.deb
        # A header of 3 MB for each graphics card, which nothing here looks at.
        tar -x -C "$work/new" -f "$work/new/usr/src/$package.tar.xz" --exclude='*/drivers/gpu/drm/amd/include'
        rm "$work/new/usr/src/$package.tar.xz"
        mv "$work/new" "$work/$package"
    fi
    source=$work/$package/$package
    read -r version <"$work/$package/version"
}

# Single files that tests read, of the sources that were fetched last.
keep_files() {
    for file in scripts/extract-vmlinux usr/gen_init_cpio.c; do
        cp "$source/$file" "$work/${file##*/}"
        mv "$work/${file##*/}" "$cache/"
    done
}

make_tree() {
    pattern=$1
    sources "$2" "$3" || return 1
    name=$(echo "$pattern" | sed "s/\*/$series/")
    echo "Building $name of $version"
    case $name in *-i386-*) objects=$work/build-i386 ;; *-arm-*) objects=$work/build-arm ;; *) objects=$work/build-x86_64 ;; esac
    rm -rf "$work/tree"
    mkdir "$work/tree"
    if ! build "$name" "$source" "$objects"; then
        tail -n 20 "$objects/log" >&2
        return 1
    fi
    keep "$name" "$source" "$objects" "$work/tree" || return 1
    keep_files
    echo "$2 $version $(recipe "$pattern")" >"$work/tree/made-from"
    for old in "$cache"/$pattern; do rm -rf "$old"; done
    mv "$work/tree" "$cache/$name"
}

missing=0 packages=
while read -r pattern package suite; do
    [ -n "$pattern" ] || continue
    if is_made "$pattern" "$package"; then continue; fi
    missing=$((missing + 1))
    case "$packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
done <<LIST
$trees
LIST
if [ "$missing" = 0 ] && [ -f "$cache/gen_init_cpio.c" ]; then
    echo "All kernel trees are there: $cache"
    exit 0
fi
echo "Making $missing kernel trees in $cache, of$packages:"
echo "120 to 165 MB to fetch of each package, 2 to 6 minutes a tree on 2 CPUs, 2.5 GB of disk meanwhile, 2 to 40 MB kept of each."

mkdir -p "$cache"
# Who runs it at the same time finds it done.
exec 9>"$cache/.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
work_below "$cache"

failed=0
while read -r pattern package suite; do
    [ -n "$pattern" ] || continue
    if is_made "$pattern" "$package"; then continue; fi
    make_tree "$pattern" "$package" "$suite" || { echo "NOT MADE: $pattern" >&2; failed=1; }
done <<LIST
$trees
LIST
# A cache of before has the trees alone.
[ -f "$cache/gen_init_cpio.c" ] || { sources linux-source-6.1 bookworm && keep_files; } || failed=1
exit $failed
