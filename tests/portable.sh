#!/bin/sh
# Checks the library without the command for a 32-bit target: ARM, whose C compiler the tests have, too.
set -eu
cd "$(dirname "$0")/.."
target=armv7-unknown-linux-gnueabihf
why=
if ! command -v rustup >/dev/null 2>&1; then
    why='no rustup, which has the standard library of other targets'
elif ! rustup target list --installed | grep -qx "$target" && ! timeout 300 rustup target add "$target"; then
    why="rustup cannot fetch the standard library of $target"
elif ! command -v arm-linux-gnueabihf-gcc >/dev/null 2>&1 || [ ! -e /usr/arm-linux-gnueabihf/include/stdio.h ]; then
    why='no C compiler and library for ARM (apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross)'
fi
if [ -n "$why" ]; then
    echo "*** NOT TESTED: the library for a 32-bit target: $why" >&2
    exit 0
fi
# Nothing of it runs: the C libraries need no optimisation.
CFLAGS_armv7_unknown_linux_gnueabihf=-O0 cargo check --locked --lib --no-default-features --target "$target"
