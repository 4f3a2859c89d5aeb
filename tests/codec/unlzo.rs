//! The LZO decoder of zboot images, on the host: it unpacks what `lzop` and kimage pack, and stops at damage.

#![allow(unsafe_code, unreachable_pub, clippy::incompatible_msrv, reason = "the stub's own files")]
#![allow(clippy::duplicate_mod, reason = "each decoder has its parts")]

#[allow(dead_code, reason = "the stub's way in")]
#[path = "../../src/bootstub/src/codec/lzo.rs"]
mod codec;

use super::unxz::program;
use crate::support::{Random, put, run_ok, tempdir, tool};
use kimage::codec::{Codec, Parameters};
use std::process::Command;

fn unpack(packed: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
    let mut output = vec![0xe8; len];
    codec::unpack(packed, &mut output).map(|()| output)
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    Codec::Lzo.compress(bytes, &Parameters::default(), &mut packed).unwrap();
    packed
}

/// Words that come again near and far, numbers between them: every kind of code.
fn text() -> Vec<u8> {
    let mut random = Random(3);
    let mut text = Vec::new();
    while text.len() < 200_000 {
        match random.below(4) {
            0 => text.extend(format!("function_{} ", random.below(5000)).bytes()),
            1 => text.resize(text.len() + random.below(700), random.below(3) as u8),
            2 => text.extend((0..random.below(40)).map(|_| random.below(256) as u8)),
            _ => {
                let at = text.len().saturating_sub(1 + random.below(60_000));
                let end = text.len().min(at + 2 + random.below(300));
                text.extend_from_within(at..end);
            }
        }
    }
    text
}

#[test]
fn what_lzop_packs() {
    let dir = tempdir();
    let (program, text) = (program(), text());
    for (name, bytes) in [("program", &program[..]), ("text", &text), ("little", &text[..9]), ("nothing", b"")] {
        let mut streams = vec![pack(bytes)];
        if let Some(lzop) = tool("lzop", "lzop") {
            let file = put(dir.path(), name, bytes);
            for level in ["-1", "-6", "-9"] {
                streams.push(run_ok(Command::new(&lzop).args([level, "-c"]).arg(&file)).stdout);
            }
        }
        for packed in streams {
            assert!(unpack(&packed, bytes.len()).as_deref() == Ok(bytes), "{name}");
            assert!(unpack(&packed, bytes.len() + 1).is_err(), "{name}");
            assert!(bytes.is_empty() || unpack(&packed, bytes.len() - 1).is_err(), "{name}");
            assert!(unpack(&[&packed[..], &[0]].concat(), bytes.len()).is_err(), "{name}");
        }
    }
}

/// Any changed bit, and any byte that is missing. A bit may lead to another place with the same bytes.
#[test]
fn damage() {
    let bytes = &text()[..1500];
    let packed = pack(bytes);
    for bit in 0..packed.len() * 8 {
        let mut damaged = packed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(unpack(&damaged, bytes.len()).map_or(true, |out| out == bytes), "bit {bit}");
    }
    for len in 0..packed.len() {
        assert!(unpack(&packed[..len], bytes.len()).is_err(), "{len} bytes");
    }
    assert_eq!(unpack(b"\x1f\x8b\x08 and more", 5).err(), Some("no LZO file"));
}

/// No checksum stands in the way: whatever the decoder reads, it ends, inside its bounds.
#[test]
fn hostile() {
    let (bytes, mut random) = (text()[..1500].to_vec(), Random(8));
    let packed = pack(&bytes);
    let start = packed.len() - 16;
    for _ in 0..20_000 {
        let mut damaged = packed.clone();
        for _ in 0..=random.below(6) {
            damaged[50 + random.below(start - 50)] = random.below(256) as u8;
        }
        let _ = unpack(&damaged, random.below(3000));
    }
}
