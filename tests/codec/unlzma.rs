//! The LZMA decoder of zboot images, on the host: it unpacks what liblzma and `lzma` pack, and stops at damage.

#![allow(unsafe_code, unreachable_pub, clippy::incompatible_msrv, reason = "the stub's own files")]
#![allow(clippy::duplicate_mod, reason = "each decoder has its parts")]

#[allow(dead_code, reason = "the stub's way in")]
#[path = "../../src/bootstub/src/codec/lzma.rs"]
mod codec;

use super::unxz::program;
use crate::support::{read, testdata};
use codec::Models;
use kimage::codec::{Codec, Parameters};
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;
use std::io::Read;

fn unpack(packed: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
    let mut models = Box::new(Models::ZERO);
    let mut output = vec![0xe8; len];
    codec::unpack(&mut models, packed, &mut output).map(|()| output)
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    Codec::Lzma.compress(bytes, &Parameters { level: Some(1), ..Parameters::default() }, &mut packed).unwrap();
    packed
}

#[test]
fn what_lzma_packs() {
    let program = program();
    for len in [0, 1, 2, 300, 4096, program.len()] {
        let bytes = &program[..len];
        let packed = pack(bytes);
        assert!(unpack(&packed, len).as_deref() == Ok(bytes), "{len}");
        assert!(unpack(&packed, len + 1).is_err() && (len == 0 || unpack(&packed, len - 1).is_err()), "{len}");
        assert!(unpack(&[&packed[..], &[0]].concat(), len).is_err(), "{len}");
        // As the kernel's build has it where the size is known: a stream whose length is in its header.
        let mut known = packed.clone();
        known[5..13].copy_from_slice(&(len as u64).to_le_bytes());
        assert!(unpack(&known, len).is_err() || len == 0, "a mark that nobody announced");
    }
}

/// Any changed bit, any byte that is missing: LZMA has no checksum, but what comes out is at least what liblzma makes of it.
#[test]
fn damage() {
    let bytes = &read(&testdata("tiny/kernel"))[0x1000..][..500];
    let packed = pack(bytes);
    let mut taken = 0;
    for bit in 0..packed.len() * 8 {
        let mut damaged = packed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(out) = unpack(&damaged, bytes.len()) {
            let (mut by_liblzma, stream) = (Vec::new(), Stream::new_lzma_decoder(u64::MAX).unwrap());
            // Not the size of the dictionary, of which the stub needs nothing.
            damaged[1..5].copy_from_slice(&packed[1..5]);
            XzDecoder::new_stream(&damaged[..], stream).read_to_end(&mut by_liblzma).expect("liblzma finds damage");
            assert!(out == by_liblzma, "bit {bit}");
            taken += usize::from(out != bytes);
        }
    }
    assert!(taken < 8, "{taken}");
    for len in 0..packed.len() {
        assert!(unpack(&packed[..len], bytes.len()).is_err(), "{len} bytes");
    }
}
