# For tests/*.sh, to be read by `.`: Debian's packages of any suite and architecture, with a state of apt's own below $work.
# No root, and nothing of this machine's own apt is touched.
mirror=${KIMAGE_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keys=/usr/share/keyrings/debian-archive-keyring.gpg

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
