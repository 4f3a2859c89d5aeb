#!/bin/sh
# Builds fit_check_sign, fit_info and fdt_add_pubkey, which are in no package of Debian's, from the sources of its U-Boot:
#
#     sh tests/fetch-uboot-tools.sh
#
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold the folders uboot-tools/2023.01 (of Debian 12) and uboot-tools/newest (of
# experimental, or of sid), each with the tools and the mkimage of that release. What is there already is not built again. Needs apt,
# cc, make, flex, bison, xz, bzip2 and the headers of OpenSSL; no root, and nothing of this machine's own apt is touched.
set -eu
# shellcheck source=tests/debian-apt.sh
. "$(dirname "$0")/debian-apt.sh"
cache=$cache/uboot-tools
work_below "$cache"
arch=$(dpkg --print-architecture)

# build FOLDER SUITE: the tools of the suite's U-Boot.
build() {
    folder=$1 suite=$2
    if [ -x "$cache/$folder/mkimage" ]; then
        echo "there already: $cache/$folder"
        return 0
    fi
    rm -rf "$work/source" "$work/tree" "$work/new"
    mkdir "$work/source" "$work/tree" "$work/new"
    if [ ! -d "$work/$suite-$arch" ]; then
        private_apt "$suite" "$arch" true
        sed -i 's/^deb /deb-src /' "$work/$suite-$arch/sources.list"
    fi
    update_apt "$suite" "$arch" || return 1
    (cd "$work/source" && private_apt "$suite" "$arch" apt-get source --download-only u-boot >"$work/log" 2>&1) || {
        cat "$work/log" >&2
        return 1
    }
    # Debian's own changes are none of these tools.
    set -- "$work"/source/u-boot_*.orig.tar.*[0-9a-z]
    tar -xf "$1" -C "$work/tree" --strip-components=1 || return 1
    {
        make -C "$work/tree" NO_PYTHON=1 tools-only_defconfig
        # It needs libraries that nothing else here does.
        sed -i '/CONFIG_TOOLS_MKEFICAPSULE/d' "$work/tree/.config"
        echo '# CONFIG_TOOLS_MKEFICAPSULE is not set' >>"$work/tree/.config"
        make -C "$work/tree" -j "$(nproc)" NO_PYTHON=1 tools-only
    } >"$work/log" 2>&1 </dev/null || {
        tail -n 40 "$work/log" >&2
        return 1
    }
    for tool in fit_check_sign fit_info fdt_add_pubkey mkimage; do
        # fdt_add_pubkey came with 2023.04.
        [ ! -x "$work/tree/tools/$tool" ] || cp "$work/tree/tools/$tool" "$work/new/"
    done
    [ -x "$work/new/fit_check_sign" ] && "$work/new/mkimage" -V || return 1
    rm -rf "${cache:?}/$folder" "$work/tree"
    mv "$work/new" "$cache/$folder"
}

[ -x "$cache/newest/mkimage" ] || echo "Building the tools of two releases of U-Boot in $cache: 50 MB of sources, 2 MB kept" >&2
failed=0
build 2023.01 bookworm || failed=1
build newest experimental || build newest sid || failed=1
[ "$failed" = 0 ] || echo "NOT BUILT: some release of U-Boot's tools" >&2
exit $failed
