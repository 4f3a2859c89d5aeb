# For tests/*.sh, to be read by `.`: Debian's packages of any suite and architecture, with a state of apt's own below $work.
# No root, and nothing of this machine's own apt is touched.
cache=${KIMAGE_CACHE:-$HOME/.cache/kimage}
mirror=${KIMAGE_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keys=/usr/share/keyrings/debian-archive-keyring.gpg

# work_below FOLDER: makes it, and $work in it for what lies about meanwhile, which goes with the script.
work_below() {
    mkdir -p "$1"
    work=$(mktemp -d "$1/.fetch-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
}

# private_apt SUITE ARCHITECTURE COMMAND [ARGUMENT...]
private_apt() {
    state=$work/$1-$2
    if [ ! -d "$state" ]; then
        mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/etc/preferences.d"
        : >"$state/status"
        echo "deb [signed-by=$keys] $mirror $1 main" >"$state/sources.list"
    fi
    arch_of=$2
    shift 2
    command=$1
    shift
    "$command" -q \
        -o Dir::Etc="$state/etc" -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State="$state" -o Dir::State::Lists="$state/lists" -o Dir::State::Status="$state/status" \
        -o Dir::Cache="$state" -o Dir::Cache::Archives="$state/archives" \
        -o APT::Architecture="$arch_of" -o APT::Architectures="$arch_of" -o APT::Default-Release= \
        -o Acquire::Languages=none -o APT::Sandbox::User= "$@"
}

# update_apt SUITE ARCHITECTURE: fetches the suite's list of packages, once.
update_apt() {
    [ -e "$work/$1-$2/updated" ] && return 0
    private_apt "$1" "$2" apt-get update >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        return 1
    }
    : >"$work/$1-$2/updated"
}

# unpack SUITE ARCHITECTURE PACKAGE...: fetches the packages and unpacks them into $work/new.
unpack() {
    update_apt "$1" "$2" || return 1
    rm -rf "$work/deb" "$work/new"
    mkdir "$work/deb" "$work/new"
    suite_of=$1 cpu_of=$2
    shift 2
    (cd "$work/deb" && private_apt "$suite_of" "$cpu_of" apt-get download "$@" >"$work/log" 2>&1) || {
        cat "$work/log" >&2
        return 1
    }
    for package in "$work"/deb/*.deb; do dpkg-deb -x "$package" "$work/new"; done
}
