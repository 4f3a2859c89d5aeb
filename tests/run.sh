#!/bin/sh
# Installs what the tests need and runs them all, from any folder:
#
#     sh tests/run.sh [--full] [arguments for `cargo test`]
#
# --full adds the long boot matrix, and 100,000 hostile files of each format for a kimage that is optimised. On Debian and
# its kin what is missing is installed by apt; elsewhere a test that misses a tool says so loudly and passes. With
# KIMAGE_REQUIRE_ALL=1 (as in .ci/run) it fails instead.
set -eu
cd "$(dirname "$0")/.."

if [ "${1:-}" = --full ]; then
    shift
    export KIMAGE_FULL=1
    # Six times as many hostile files in a second; overflow checks stay.
    export CARGO_PROFILE_DEV_OPT_LEVEL=2
fi

# command:package, for the tests' oracles and machines
needs='
    mkimage:u-boot-tools
    dtc:device-tree-compiler
    make:make
    ninja:ninja-build
    objcopy:binutils
    arm-linux-gnueabihf-ld:binutils-arm-linux-gnueabihf
    aarch64-linux-gnu-ld:binutils-aarch64-linux-gnu
    arc-linux-gnu-ld:binutils-arc-linux-gnu
    m68k-linux-gnu-ld:binutils-m68k-linux-gnu
    mips-linux-gnu-ld:binutils-mips-linux-gnu
    powerpc-linux-gnu-ld:binutils-powerpc-linux-gnu
    riscv64-linux-gnu-ld:binutils-riscv64-linux-gnu
    s390x-linux-gnu-ld:binutils-s390x-linux-gnu
    sh4-linux-gnu-ld:binutils-sh4-linux-gnu
    sparc64-linux-gnu-ld:binutils-sparc64-linux-gnu
    llvm-objcopy:llvm
    qemu-system-x86_64:qemu-system-x86
    qemu-system-arm:qemu-system-arm
    qemu-system-aarch64:qemu-system-arm
    qemu-system-riscv64:qemu-system-misc
    qemu-system-mipsel:qemu-system-mips
    /usr/lib/u-boot/qemu_arm/u-boot.bin:u-boot-qemu
    /usr/share/ovmf/OVMF.fd:ovmf
    cc:gcc
    bzip2:bzip2
    cpio:cpio
    mkbootimg:mkbootimg
    /usr/lib/systemd/boot/efi/linuxx64.efi.stub:systemd-boot-efi
    busybox:busybox-static
    lz4:lz4
    lzop:lzop
    python3:python3
    xz:xz-utils
    zstd:zstd
    file:file
    grub-file:grub-common
    grub-mkrescue:grub-common
    /usr/lib/grub/i386-pc/linux.mod:grub-pc-bin
    xorriso:xorriso
    mformat:mtools
    /usr/lib/grub/x86_64-efi/moddep.lst:grub-efi-amd64-bin
    openssl:openssl
    sbsign:sbsigntool
    swtpm:swtpm
    script:bsdutils
    groff:groff-base
    strace:strace
    unshare:util-linux
'
missing=
for need in $needs; do
    command -v "${need%%:*}" >/dev/null 2>&1 || [ -e "${need%%:*}" ] || missing="$missing ${need##*:}"
done
if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        sudo=
        [ "$(id -u)" = 0 ] || sudo=sudo
        echo "Installing:$missing"
        $sudo apt-get update -q
        # shellcheck disable=SC2086 # a list of words
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $missing
    else
        echo "Not installed, and no apt-get here:$missing" >&2
    fi
fi

# Debian's own kernels, which some tests take apart or boot; what is in the cache is not fetched again.
if command -v apt-get >/dev/null 2>&1; then
    sh tests/fetch-debian.sh >/dev/null || echo "Some of Debian's kernels could not be fetched" >&2
fi

exec cargo test --locked "$@"
