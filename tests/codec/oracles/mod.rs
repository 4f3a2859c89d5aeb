//! The codecs against the commands they replace: each reads what the other wrote, the bytes are the same where that is
//! promised and no larger where not, threads change nothing, and hostile streams fail in bounded memory.

mod command;
mod hostile;
mod skippable;
mod streams;

use crate::support::{self, assert_same, corpus, kimage, missing, run, run_ok, stderr, tempdir, tool, tree};
use kimage::codec::{Bcj, Codec, Error, Literal, Parameters};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const LIMIT: u64 = 4 << 30;

fn with_threads(threads: usize) -> Parameters {
    Parameters { threads, ..Parameters::default() }
}

fn pack(codec: Codec, data: &[u8], parameters: &Parameters) -> Vec<u8> {
    let mut out = Vec::new();
    codec.compress(data, parameters, &mut out).unwrap_or_else(|error| panic!("{}: {error}", codec.name()));
    out
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    Codec::identify(bytes)?.decompress(bytes, LIMIT, &mut out)?;
    Ok(out)
}

/// A codec's own command: its name, Debian's package, the kernel's arguments, the arguments to decompress.
fn command_of(codec: Codec) -> (&'static str, &'static str, &'static [&'static str], &'static [&'static str]) {
    match codec {
        Codec::Gzip => ("gzip", "gzip", &["-n", "-f", "-9"], &["-dc"]),
        Codec::Bzip2 => ("bzip2", "bzip2", &["-9"], &["-dc"]),
        Codec::Lzma => ("xz", "xz-utils", &["--format=lzma", "-9"], &["--format=lzma", "-dc"]),
        Codec::Xz => ("xz", "xz-utils", &["--check=crc32", "--threads=1", "--x86", "--lzma2=,dict=128MiB"], &["-dc"]),
        Codec::Lzo => ("lzop", "lzop", &["-9"], &["-dc"]),
        Codec::Lz4Legacy => ("lz4", "lz4", &["-q", "-l", "-9", "-", "-"], &["-q", "-dc", "-", "-"]),
        Codec::Lz4Frame => ("lz4", "lz4", &["-q", "-9", "-", "-"], &["-q", "-dc", "-", "-"]),
        _ => ("zstd", "zstd", &["-q", "-22", "--ultra"], &["-q", "-dc"]),
    }
}

/// Runs a filter; `None`, said loudly, when it is not installed.
fn filter((name, package): (&str, &str), args: &[&str], data: &[u8]) -> Option<Vec<u8>> {
    let path = tool(name, package)?;
    let dir = tempdir();
    let input = dir.path().join("input");
    fs::write(&input, data).unwrap();
    let mut command = Command::new(path);
    command.args(args).stdin(fs::File::open(&input).unwrap()).stderr(Stdio::inherit());
    Some(run_ok(&mut command).stdout)
}

/// What a kernel's build compresses: the stripped vmlinux and its relocations, or ARM's Image.
fn payloads() -> &'static [(String, Vec<u8>)] {
    static PAYLOADS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    // Each test that finds none says so.
    let _ = corpus();
    PAYLOADS.get_or_init(|| {
        let payload = |tree: &support::Tree| {
            if tree.is_arm() {
                return (tree.name.clone(), tree.read("arch/arm/boot/Image"));
            }
            let mut data = tree.read("arch/x86/boot/compressed/vmlinux.bin");
            if tree.path("arch/x86/boot/compressed/vmlinux.relocs").is_file() {
                data.extend(tree.read("arch/x86/boot/compressed/vmlinux.relocs"));
            }
            (tree.name.clone(), data)
        };
        corpus().iter().map(payload).collect()
    })
}

/// The smallest payload: enough for what need not be shown on every kernel.
fn small() -> Option<&'static [u8]> {
    payloads().iter().map(|(_, data)| &data[..]).min_by_key(|data| data.len())
}

/// Kernel-like bytes of any length without the corpus: text, tables, zeros and noise.
fn synthetic(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut data = Vec::with_capacity(len + 64);
    while data.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state % 5 {
            0 => data.extend(state.to_le_bytes()),
            1 => data.resize(data.len() + (state >> 40) as usize % 700, 0),
            2 => data.extend(b"kallsyms_lookup_name\0printk\0"),
            3 => data.extend([0xe8, state as u8, (state >> 8) as u8 & 3, 0, 0, 0x48, 0x89, 0xe5]),
            _ => {
                let back = (state >> 20) as usize % data.len().max(1);
                let piece = data[data.len() - back.min(data.len())..].iter().copied().take(40).collect::<Vec<_>>();
                data.extend(piece);
            }
        }
    }
    data.truncate(len);
    data
}
