#!/bin/sh
# Fetches Debian's own kernels, for the tests of what kimage says of images that others made:
#
#     sh tests/fetch-debian.sh [CACHE]
#
# CACHE (default: KIMAGE_DEBIAN, else debian in KIMAGE_CACHE, which is ~/.cache/kimage) comes to hold a folder SUITE-ARCH-PACKAGE for each, with what the
# package has in /boot: vmlinuz and config; for some, modules and Module.symvers of the same build; and a folder of programs that are wrapped like a kernel and are none. What is there already is not fetched again. Needs apt and dpkg-deb; no
# root, and nothing of this machine's own apt is touched. Kernels are GPL-2.0: test data only, never committed.
set -eu
# shellcheck source=tests/debian-apt.sh
. "$(dirname "$0")/debian-apt.sh"
cache=${1:-${KIMAGE_DEBIAN:-$cache/debian}}

# suite architecture metapackage: every CPU, every generation, the small flavours where there are some; MIPS is for
# U-Boot (tests/boot/boards.rs)
kernels='
    bullseye amd64   linux-image-cloud-amd64
    bookworm amd64   linux-image-amd64
    bookworm amd64   linux-image-cloud-amd64
    bookworm i386    linux-image-686
    bookworm armhf   linux-image-armmp
    bookworm armel   linux-image-marvell
    bookworm armel   linux-image-rpi
    bookworm mipsel  linux-image-4kc-malta
    bookworm mips64el linux-image-5kc-malta
    bookworm arm64   linux-image-cloud-arm64
    trixie   amd64   linux-image-cloud-amd64
    trixie   arm64   linux-image-cloud-arm64
    trixie   riscv64 linux-image-riscv64
    sid      amd64   linux-image-cloud-amd64
    sid      arm64   linux-image-cloud-arm64
    bookworm s390x   linux-image-s390x
    sid      loong64 linux-image-loong64
'

work_below "$cache"
failed=0

count=0
for folder in "$cache"/*-*-*; do if [ -d "$folder" ] && [ "${folder%-programs}" = "$folder" ]; then count=$((count + 1)); fi; done
# Said beforehand, once.
[ "$count" -ge 17 ] || echo "Fetching up to $((17 - count)) of Debian's kernels into $cache: 40 MB each of packages, 12 MB kept" >&2

fetch() {
    suite=$1 arch=$2 meta=$3
    folder=$cache/$suite-$arch-${meta#linux-image-}
    if [ -d "$folder" ]; then
        echo "there already: $folder"
        return 0
    fi
    update_apt "$suite" "$arch" || return 1
    # The metapackage depends on the kernel of the day.
    package=$(private_apt "$suite" "$arch" apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || { echo "$suite $arch: $meta depends on no linux-image package" >&2; return 1; }
    echo "$suite $arch $package"
    mkdir "$work/new"
    # Newer packages have the kernel and its configuration in packages of their own.
    version=${package#linux-image-}
    for package in "$package" "linux-binary-$version" "linux-base-$version"; do
        rm -rf "$work/deb"
        mkdir "$work/deb"
        (cd "$work/deb" && private_apt "$suite" "$arch" apt-get download "$package" >"$work/log" 2>&1) || {
            cat "$work/log" >&2
            break
        }
        dpkg-deb --fsys-tarfile "$work"/deb/*.deb >"$work/deb/data.tar"
        # The board that QEMU has of those with such a CPU (tests/boot/zimage_stub.rs).
        tar -x -C "$work/new" -f "$work/deb/data.tar" --strip-components=4 --wildcards './usr/lib/linux-image-*-rpi/bcm2835-rpi-zero.dtb' \
            2>/dev/null || :
        tar -x -C "$work/new" -f "$work/deb/data.tar" --strip-components=2 --wildcards './boot/*' 2>/dev/null && break
        tar -x -C "$work/new" -f "$work/deb/data.tar" --strip-components=5 --wildcards \
            './usr/lib/modules/*/vmlinu*' './usr/lib/modules/*/config' 2>/dev/null || :
    done
    if ls "$work"/new/vmlinu* >/dev/null 2>&1; then
        rm -f "$work"/new/System.map*
        mv "$work/new" "$folder"
    else
        rm -rf "$work/new"
        return 1
    fi
}

while read -r suite arch meta; do
    [ -n "$suite" ] || continue
    fetch "$suite" "$arch" "$meta" || { echo "NOT FETCHED: $suite $arch $meta" >&2; failed=1; }
done <<LIST
$kernels
LIST

# Modules of the kernel that is there, and the checksums of what all of that build export (tests/inspect/modules.rs,
# tests/elf/strip/objects.rs).
fetch_modules() {
    suite=$1 arch=$2
    folder=$cache/$suite-$arch-$3
    if [ -d "$folder/modules" ]; then
        echo "there already: $folder/modules"
        return 0
    fi
    version=$(cd "$folder" && ls vmlinu*-* | sed 's/^vmlinu[xz]-//')
    [ -n "$version" ] && update_apt "$suite" "$arch" || return 1
    for name in "linux-image-$version" "linux-headers-$version"; do
        rm -rf "$work/deb"
        mkdir "$work/deb"
        (cd "$work/deb" && private_apt "$suite" "$arch" apt-get download "$name" >"$work/log" 2>&1) || {
            cat "$work/log" >&2
            return 1
        }
        dpkg-deb -x "$work"/deb/*.deb "$work/root"
    done
    mkdir "$work/new"
    for name in virtio_net failover ext4 crc16 loop vfat af_packet dm-mod nls_utf8 zram; do
        find "$work/root" -name "$name.ko*" -exec cp '{}' "$work/new/" ';'
    done
    find "$work/root" -name Module.symvers -exec cp '{}' "$work/new/" ';'
    rm -rf "$work/root"
    mv "$work/new" "$folder/modules"
}
while read -r suite arch flavour; do
    fetch_modules "$suite" "$arch" "$flavour" || { echo "NOT FETCHED: modules of $suite $arch $flavour" >&2; failed=1; }
done <<LIST
bookworm amd64 cloud-amd64
bookworm arm64 cloud-arm64
bookworm armhf armmp
bookworm mipsel 4kc-malta
trixie amd64 cloud-amd64
LIST

# Programs that boot as a kernel does (tests/inspect/programs.rs).
fetch_programs() {
    folder=$cache/bookworm-amd64-programs
    if [ -d "$folder" ]; then
        echo "there already: $folder"
        return 0
    fi
    update_apt bookworm amd64 || return 1
    rm -rf "$work/deb" "$work/new"
    mkdir "$work/deb" "$work/new"
    (cd "$work/deb" && private_apt bookworm amd64 apt-get download memtest86+ ipxe syslinux-common >"$work/log" 2>&1) || {
        cat "$work/log" >&2
        return 1
    }
    for package in "$work"/deb/*.deb; do
        dpkg-deb -x "$package" "$work/deb/root"
    done
    for file in boot/ipxe.lkrn boot/ipxe.efi boot/memtest86+ia32.bin boot/memtest86+x64.bin boot/memtest86+x64.efi \
        usr/lib/ipxe/snponly.efi usr/lib/ipxe/ipxe.pxe usr/lib/syslinux/memdisk; do
        cp "$work/deb/root/$file" "$work/new/" || return 1
    done
    mv "$work/new" "$folder"
}
fetch_programs || { echo "NOT FETCHED: memtest86+, ipxe, syslinux-common" >&2; failed=1; }

# Boot loaders for arm64, whose packages are of that CPU (tests/boot/zboot.rs).
fetch_loaders() {
    folder=$cache/trixie-arm64-programs
    if [ -d "$folder" ]; then
        echo "there already: $folder"
        return 0
    fi
    update_apt trixie arm64 || return 1
    rm -rf "$work/deb" "$work/new"
    mkdir "$work/deb" "$work/new"
    (cd "$work/deb" && private_apt trixie arm64 apt-get download systemd-boot-efi grub-efi-arm64-bin >"$work/log" 2>&1) || {
        cat "$work/log" >&2
        return 1
    }
    for package in "$work"/deb/*.deb; do
        dpkg-deb -x "$package" "$work/deb/root"
    done
    cp -r "$work/deb/root/usr/lib/grub/arm64-efi" "$work/deb/root/usr/lib/systemd/boot/efi/systemd-bootaa64.efi" "$work/new/" || return 1
    mv "$work/new" "$folder"
}
fetch_loaders || { echo "NOT FETCHED: systemd-boot, GRUB for arm64" >&2; failed=1; }

# QEMU and UEFI firmware for RISC-V and LoongArch, newer than what may be installed here, with all that they need (tests/boot/zboot.rs).
fetch_machines() {
    folder=$cache/trixie-machines-programs
    if [ -d "$folder" ]; then
        echo "there already: $folder"
        return 0
    fi
    update_apt trixie amd64 || return 1
    rm -rf "$work/deb" "$work/new"
    mkdir "$work/deb" "$work/new" "$work/new/lib" "$work/new/share"
    private_apt trixie amd64 apt-get -y --no-install-recommends --download-only -o Dir::Cache::Archives="$work/deb" install \
        qemu-system-misc qemu-system-riscv qemu-efi-riscv64 qemu-efi-loongarch64 >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        return 1
    }
    for package in "$work"/deb/*.deb; do
        dpkg-deb -x "$package" "$work/deb/root"
        rm "$package"
    done
    usr=$work/deb/root/usr
    libraries=$usr/lib/x86_64-linux-gnu
    for cpu in riscv64 loongarch64; do
        name=qemu-system-$cpu
        cp "$usr/bin/$name" "$work/new/lib/" || return 1
        "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" --list "$usr/bin/$name" |
            sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | while read -r library; do cp "$library" "$work/new/lib/"; done
        cat >"$work/new/$name" <<'SCRIPT'
#!/bin/sh
here=$(dirname "$0")
name=$(basename "$0")
exec "$here/lib/ld-linux-x86-64.so.2" --library-path "$here/lib" "$here/lib/$name" -L "$here/share" "$@"
SCRIPT
        chmod +x "$work/new/$name"
        cp "$usr"/share/qemu-efi-$cpu/*.fd "$work/new/share/" || return 1
    done
    cp "$libraries/ld-linux-x86-64.so.2" "$work/new/lib/"
    cp "$usr"/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin "$work/new/share/" || return 1
    rm -rf "$work/deb"
    mv "$work/new" "$folder"
}
if [ "$(uname -m)" = x86_64 ]; then
    fetch_machines || { echo "NOT FETCHED: QEMU and firmware of RISC-V and LoongArch" >&2; failed=1; }
fi
exit $failed
