#!/bin/sh
# Counts the instructions that a machine executes from one place to another, and prints the number:
#
#     sh tests/count.sh [--hot COUNT] FROM TO qemu-system-CPU [ARGUMENT...]
#
#     sh tests/count.sh 0x100000 0x1000000 qemu-system-x86_64 -kernel bzImage -append nokaslr -display none -serial null
#
# From the first time that it comes to FROM to the first time after that that it comes to TO: virtual addresses (0x...), or
# bytes:HEX, the bytes of the instructions there, up to a jump at most. FROM's own instruction counts, TO's does not. --hot
# prints the blocks that most instructions were executed in, too. Exact, and the same each time (tests/boot/counted.rs), as
# long as the guest waits for nobody: no console of a serial line, no addresses by chance. Each round of a repeated
# string instruction counts as one, and the look at its count that ends it. Needs cc, and a QEMU with TCG plugins: Debian's
# has them.
set -eu
hot=0
if [ "${1:-}" = --hot ]; then
    hot=$2
    shift 2
fi
[ $# -ge 3 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cc -shared -fPIC -O1 -Wall -Wextra -o "$work/count.so" "$(dirname "$0")/count.c"
plugin=$work/count.so,from=$1,to=$2,out=$work/count,hot=$hot
shift 2
if ! timeout 300 "$@" -plugin "$plugin" </dev/null >"$work/said" 2>&1 || [ ! -s "$work/count" ]; then
    echo "$1 did not come from one place to the other:" >&2
    cat "$work/said" >&2
    exit 1
fi
cat "$work/count"
