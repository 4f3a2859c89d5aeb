#!/bin/sh
# Buildroot: BR2_ROOTFS_POST_IMAGE_SCRIPT="path/post-image.sh", in place of one that calls mkimage.
#
# Makes images/image.itb of the kernel, every device tree and, if there is one, the cpio root file system. Buildroot sets
# BINARIES_DIR; with BR2_REPRODUCIBLE it sets SOURCE_DATE_EPOCH too.
set -eu
: "${BINARIES_DIR:?is set by Buildroot}"
kimage=${KIMAGE:-kimage}
cd "$BINARIES_DIR"

for kernel in zImage Image vmlinux; do
    [ -e "$kernel" ] && break
done
set -- --kernel "$kernel"
for dtb in *.dtb; do
    [ -e "$dtb" ] && set -- "$@" --dtb "$dtb"
done
for ramdisk in rootfs.cpio.gz rootfs.cpio.zst rootfs.cpio; do
    if [ -e "$ramdisk" ]; then
        set -- "$@" --ramdisk "$ramdisk"
        break
    fi
done
# KIMAGE_BOARD: a board file, or the name of a shipped one. Then an image that would not boot fails the build.
"$kimage" fit "$@" ${KIMAGE_FIT_OPTIONS:-} -o image.itb
[ -z "${KIMAGE_BOARD:-}" ] || "$kimage" lint image.itb --board "$KIMAGE_BOARD"
