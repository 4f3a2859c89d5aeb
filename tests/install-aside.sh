#!/bin/sh
# Unpacks packages that cannot be installed here without removing others, with all that they need and is not there:
#
#     sh tests/install-aside.sh PACKAGE...
#
# Into aside/root below KIMAGE_CACHE (default: ~/.cache/kimage); aside/bin has a script for each of their programs, which
# finds its libraries there. Needs apt and dpkg-deb, no root, and changes nothing outside of the cache.
set -eu
# shellcheck source=tests/debian-apt.sh
. "$(dirname "$0")/debian-apt.sh"
aside=$cache/aside
mkdir -p "$aside/root" "$aside/bin"
work_below "$aside"

# What apt would install, were it let.
wanted=$(apt-get -s install --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
# shellcheck disable=SC2086 # a list of words
echo "Unpacking into $aside:" $wanted
# shellcheck disable=SC2086 # a list of words
(cd "$work" && apt-get download -q $wanted >log 2>&1) || { cat "$work/log" >&2; exit 1; }
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$aside/root"; done

libraries=
for folder in "$aside"/root/usr/lib/*-linux-gnu "$aside"/root/lib/*-linux-gnu "$aside"/root/usr/lib/*-linux-gnu/*/; do
    [ ! -d "$folder" ] || libraries="$libraries${libraries:+:}${folder%/}"
done
for program in "$aside"/root/usr/bin/* "$aside"/root/usr/sbin/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    script=$aside/bin/$(basename "$program")
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "'$libraries'" "'$program'" >"$script"
    chmod +x "$script"
done
