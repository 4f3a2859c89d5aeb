#!/bin/sh
# Installs what the tests need and runs them all, from any folder:
#
#     sh tests/run.sh [--full] [arguments for `cargo test`]
#
# --full adds the long boot matrix, and 100,000 hostile files of each format for a kimage that is optimised. On Debian and
# its kin what is missing is installed by apt, which may remove nothing for it; kernels are fetched and built, once, in
# KIMAGE_CACHE (default: ~/.cache/kimage). What could not be tested is counted and named at the end; with
# KIMAGE_REQUIRE_ALL=1 (as in .ci/run) it fails. The exit status is that of `cargo test`.
set -eu
cd "$(dirname "$0")/.."

if [ "${1:-}" = --full ]; then
    shift
    export KIMAGE_FULL=1
    # Six times as many hostile files in a second; overflow checks stay.
    export CARGO_PROFILE_DEV_OPT_LEVEL=2
fi
# Some minutes more to compile, and half the time to run; a developer's `cargo build` stays quick.
export CARGO_PROFILE_DEV_OPT_LEVEL="${CARGO_PROFILE_DEV_OPT_LEVEL:-1}"

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
    gdb-multiarch:gdb-multiarch
    qemu-system-x86_64:qemu-system-x86
    qemu-system-arm:qemu-system-arm
    qemu-system-aarch64:qemu-system-arm
    qemu-system-riscv64:qemu-system-misc
    qemu-system-mipsel:qemu-system-mips
    /usr/lib/u-boot/qemu_arm/u-boot.bin:u-boot-qemu
    /usr/share/ovmf/OVMF.fd:ovmf
    /usr/share/qemu-efi-aarch64/QEMU_EFI.fd:qemu-efi-aarch64
    /usr/share/OVMF/OVMF32_CODE_4M.secboot.fd:ovmf-ia32
    cc:gcc
    flex:flex
    bison:bison
    bc:bc
    /usr/include/libelf.h:libelf-dev
    /usr/include/openssl/ssl.h:libssl-dev
    arm-linux-gnueabihf-gcc:gcc-arm-linux-gnueabihf
    /usr/arm-linux-gnueabihf/include/stdio.h:libc6-dev-armhf-cross
    rsvg-convert:librsvg2-bin
    pzstd:zstd
    bzip2:bzip2
    cpio:cpio
    mkbootimg:mkbootimg
    /usr/lib/systemd/boot/efi/linuxx64.efi.stub:systemd-boot-efi
    busybox:busybox-static
    modinfo:kmod
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
    fsck.vfat:dosfstools
    sgdisk:gdisk
    fdisk:fdisk
    mkfs.ext4:e2fsprogs
    /usr/lib/grub/x86_64-efi/moddep.lst:grub-efi-amd64-bin
    /usr/share/qemu-efi-aarch64/QEMU_EFI.fd:qemu-efi-aarch64
    openssl:openssl
    swtpm:swtpm
    swtpm_setup:swtpm-tools
    sbsign:sbsigntool
    osslsigncode:osslsigncode
    pesign:pesign
    certutil:libnss3-tools
    cert-to-efi-sig-list:efitools
    /usr/lib/x86_64-linux-gnu/libtss2-esys.so.0:libtss2-esys-3.0.2-0
    /usr/lib/x86_64-linux-gnu/libtss2-rc.so.0:libtss2-rc0
    /usr/lib/x86_64-linux-gnu/libtss2-mu.so.0:libtss2-mu0
    /usr/lib/x86_64-linux-gnu/libtss2-tcti-swtpm.so.0:libtss2-tcti-swtpm0
    softhsm2-util:softhsm2
    pkcs11-tool:opensc
    /usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so:libengine-pkcs11-openssl
    swtpm:swtpm
    /usr/lib/python3/dist-packages/pefile.py:python3-pefile
    script:bsdutils
    groff:groff-base
    zsh:zsh
    fish:fish
    strace:strace
    /usr/sbin/mkfs.xfs:xfsprogs
    /usr/sbin/veritysetup:cryptsetup-bin
    /usr/sbin/mkfs.btrfs:btrfs-progs
    unshare:util-linux
'
cache=${KIMAGE_CACHE:-$HOME/.cache/kimage}
# Where tests/install-aside.sh leaves what cannot be installed.
PATH=$PATH:$cache/aside/bin
missing=
for need in $needs; do
    command -v "${need%%:*}" >/dev/null 2>&1 || [ -e "${need%%:*}" ] ||
        case " $missing " in *" ${need##*:} "*) ;; *) missing="$missing ${need##*:}" ;; esac
done
install() {
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-remove --no-install-recommends "$@"
}
if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        sudo=
        [ "$(id -u)" = 0 ] || sudo=sudo
        echo "Installing:$missing"
        $sudo apt-get update -q || echo "apt-get update failed: going by the lists that are there" >&2
        # shellcheck disable=SC2086 # a list of words
        if ! install $missing; then
            # One of them, or what it needs, collides with what is installed: nothing of this machine is removed for a test.
            aside=
            for package in $missing; do
                install "$package" >/dev/null 2>&1 && continue
                collides=$(apt-get -s install --no-install-recommends "$package" 2>/dev/null | sed -n 's/^Remv \([^ ]*\).*/\1/p')
                # shellcheck disable=SC2086 # a list of words
                echo "Not installed: $package, which would remove:" ${collides:-nothing, but cannot be installed} >&2
                [ -z "$collides" ] || aside="$aside $package"
            done
            # shellcheck disable=SC2086 # a list of words
            [ -z "$aside" ] || sh tests/install-aside.sh $aside || echo "Not unpacked aside:$aside" >&2
        fi
    else
        echo "Not installed, and no apt-get here:$missing" >&2
    fi
fi

if command -v apt-get >/dev/null 2>&1; then
    # Debian's own kernels, which some tests take apart or boot; what is in the cache is not fetched again.
    sh tests/fetch-debian.sh >/dev/null || echo "Some of Debian's kernels could not be fetched" >&2
    # mkimage of other releases.
    sh tests/fetch-mkimage.sh >/dev/null || echo "Some release of mkimage could not be fetched" >&2
    # fit_check_sign and the like, which no package has.
    sh tests/fetch-uboot-tools.sh >/dev/null || echo "U-Boot's tools of some release could not be built" >&2
    # ukify, which Debian 12 has not.
    sh tests/fetch-ukify.sh || echo "ukify could not be fetched" >&2
    # The newest boot stub of systemd's, and UEFI firmware that keeps data from being executed.
    sh tests/fetch-sid.sh || echo "Debian unstable's boot stub and firmware could not be fetched" >&2
    # A U-Boot that decrypts, which Debian's is not.
    sh tests/make-uboot.sh >/dev/null || echo "The U-Boot that decrypts could not be made" >&2
    # Kernel trees, and kernels without this or that.
    sh tests/make-kernels.sh || echo "Some kernel trees could not be made" >&2
fi

# What the tests say: how many there were, and which of them could not test.
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
trap 'exit 1' INT TERM
export KIMAGE_UNTESTED="$said/untested"
: >"$KIMAGE_UNTESTED"
{
    status=0
    # All of them, for the sum; who gives options of his own decides himself.
    if [ $# = 0 ]; then set -- --no-fail-fast; fi
    cargo test --locked "$@" || status=$?
    echo "$status" >"$said/status"
} | tee "$said/output"
read -r status <"$said/status"

count=$(sed -n 's/^test result: [^.]*\. \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$said/output" |
    awk '{ n += $1 + $2 } END { print n + 0 }')
sort -u "$KIMAGE_UNTESTED" >"$said/sorted"
tests=$(cut -f1 "$said/sorted" | sort -u | wc -l)
if [ "$tests" = 0 ]; then
    echo "$count tests; 0 could not test"
else
    echo "$count tests; $tests could not test all that they should:"
    awk -F '\t' '{ print "    " $1 ": " $2 }' "$said/sorted"
fi
exit "$status"
