#!/bin/sh
# Fetches mkimage of other releases than Debian 12's, for the test of `kimage fit --layout`:
#
#     sh tests/fetch-mkimage.sh
#
# KIMAGE_CACHE (default: ~/.cache/kimage) comes to hold a folder mkimage/SUITE for each, with the package, the libraries that
# it needs, and a script mkimage that runs it with them. What is there already is not fetched again. Needs apt and dpkg-deb; no
# root, and nothing of this machine's own apt is touched.
set -eu
# shellcheck source=tests/debian-apt.sh
. "$(dirname "$0")/debian-apt.sh"
cache=$cache/mkimage
work_below "$cache"
arch=$(dpkg --print-architecture)

# fetch FOLDER SUITE [SUITE]: the package of the second suite, its libraries of the first where that does not have them.
fetch() {
    folder=$1 base=$2 suite=${3:-$2}
    if [ -x "$cache/$folder/mkimage" ]; then
        echo "there already: $cache/$folder"
        return 0
    fi
    if [ "$suite" != "$base" ] && [ ! -d "$work/$suite-$arch" ]; then
        private_apt "$suite" "$arch" true
        echo "deb [signed-by=$keys] $mirror $base main" >>"$work/$suite-$arch/sources.list"
    fi
    update_apt "$suite" "$arch" || return 1
    # Of what apt would install into an empty system, the libraries alone.
    packages=$(private_apt "$suite" "$arch" apt-get -s install --no-install-recommends -t "$suite" u-boot-tools |
        sed -n 's/^Inst \(lib[^ ]*\|u-boot-tools\) (\([^ ]*\) .*/\1=\2/p')
    case $packages in *u-boot-tools=*) ;; *) return 1 ;; esac
    # shellcheck disable=SC2086 # a list of words
    unpack "$suite" "$arch" $packages || return 1
    # The loader has another name on each CPU; its link leads to a place in the package.
    loader=$(cd "$work/new" && find . -name 'ld-linux*.so.*' -path '*-linux-gnu*' | head -n 1)
    [ -n "$loader" ] || return 1
    cat >"$work/new/mkimage" <<SCRIPT
#!/bin/sh
here=\$(dirname "\$0")
libraries=\$(echo "\$here"/usr/lib/*-linux-gnu*):\$(echo "\$here"/lib/*-linux-gnu*)
exec "\$here/$loader" --library-path "\$libraries" "\$here/usr/bin/mkimage" "\$@"
SCRIPT
    chmod +x "$work/new/mkimage"
    "$work/new/mkimage" -V || return 1
    rm -rf "${cache:?}/$folder"
    mv "$work/new" "$cache/$folder"
}

[ -x "$cache/newest/mkimage" ] || echo "Fetching mkimage of three suites into $cache: 30 MB of packages, 90 MB kept" >&2
failed=0
fetch bullseye bullseye || failed=1
fetch trixie trixie || failed=1
# What Debian is going to have, or has.
fetch newest sid experimental || fetch newest sid || failed=1
[ "$failed" = 0 ] || echo "NOT FETCHED: some release of mkimage" >&2
exit $failed
