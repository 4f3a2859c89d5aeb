#!/bin/sh
# Checks library and binary with the oldest Rust that Cargo.toml promises (rust-version), as Debian 12 packages it.
# The packages are unpacked below target/, not installed.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
root=$(pwd)/target/msrv/root

if [ ! -x "$root/usr/bin/rustc" ]; then
    # The newest build of that version that apt knows.
    exact=$(apt-cache madison rustc-web 2>/dev/null | awk -v v="$version." 'index($3, v) == 1 { print $3; exit }')
    if [ -z "$exact" ]; then
        echo "*** NOT TESTED: apt has no rustc-web $version, so rust-version was checked by clippy only" >&2
        exit 0
    fi
    rm -rf target/msrv
    mkdir -p target/msrv/packages
    (
        cd target/msrv/packages
        apt-get download -q "rustc-web=$exact" "libstd-rust-web-dev=$exact" "libstd-rust-web-$version=$exact" libllvm19
        for package in *.deb; do dpkg -x "$package" ../root; done
        cd ..
        rm -r packages
    )
fi

cat > target/msrv/rustc <<END
#!/bin/sh
LD_LIBRARY_PATH='$root/usr/lib/x86_64-linux-gnu:$root/usr/lib' exec '$root/usr/bin/rustc' "\$@"
END
chmod +x target/msrv/rustc
target/msrv/rustc --version
# Nothing of it runs: the C libraries need no optimisation.
RUSTC=$(pwd)/target/msrv/rustc CARGO_TARGET_DIR=target/msrv/build cargo check --locked --lib --bins \
    --config 'profile.dev.package."*".opt-level=0' --config profile.dev.debug=false
