//! The zstd decoder of the boot stub, on the host: it unpacks what libzstd packs, and stops at damage.

#![allow(unsafe_code, unreachable_pub, clippy::incompatible_msrv, reason = "the stub's own files")]
#![allow(clippy::precedence, clippy::while_immutable_condition, reason = "the stub's own files")]

#[path = "../../src/bootstub/src/codec/zstd.rs"]
mod codec;

use super::unxz::program;
use crate::support::noise;
use proptest::prelude::*;
use std::sync::{Mutex, OnceLock, PoisonError};
use zstd::bulk::{Compressor, decompress};
use zstd::zstd_safe::CParameter;

/// The stub has one CPU, and one place for its tables and literals.
static HEAP: Mutex<[u8; (128 << 10) + 64]> = Mutex::new([0; (128 << 10) + 64]);

fn unpack(packed: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
    let mut heap = HEAP.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the decoder, which would have it for ever, ends before the guard does.
    let heap = unsafe { std::slice::from_raw_parts_mut(heap.as_mut_ptr(), heap.len()) };
    // What was there before must not matter.
    let mut output = vec![0xe8; len];
    codec::decompress(packed, &mut output, heap).map(|()| output)
}

fn pack(bytes: &[u8], level: i32, checksum: bool, more: &[CParameter]) -> Vec<u8> {
    let mut compressor = Compressor::new(level).unwrap();
    compressor.include_checksum(checksum).unwrap();
    more.iter().for_each(|parameter| compressor.set_parameter(*parameter).unwrap());
    compressor.compress(bytes).unwrap()
}

#[test]
fn what_libzstd_packs() {
    let program = program()[900_000..1_500_000].to_vec();
    // Words that come again and again, a number between them: long runs of sequences without literals.
    let text: Vec<u8> =
        (0..20_000_u32).flat_map(|index| format!("function_{} ", index * 7919 % 5003).into_bytes()).collect();
    for bytes in [&program, &text] {
        for (level, more) in [
            (-5, &[][..]),
            (1, &[]),
            (3, &[CParameter::ContentSizeFlag(false)]),
            (12, &[CParameter::WindowLog(12)]),
            (19, &[CParameter::EnableLongDistanceMatching(true)]),
        ] {
            let packed = pack(bytes, level, level != 1, more);
            assert!(unpack(&packed, bytes.len()).as_ref() == Ok(bytes), "level {level}");
            assert_eq!(unpack(&packed, bytes.len() + 1).err(), Some("it is too short"), "level {level}");
            assert!(unpack(&packed, bytes.len() - 1).is_err(), "level {level}");
        }
    }
}

/// Blocks of every kind, and all that does not fill a block.
#[test]
fn short_ones() {
    let program = program();
    for len in (0..50).chain((50..600).step_by(13)).chain([1000, 10_000, 131_071, 131_072, 131_073]) {
        for bytes in [&program[5000..][..len], &vec![7; len], &noise(len, 1)] {
            let packed = pack(bytes, 3, true, &[]);
            assert!(unpack(&packed, len).as_deref() == Ok(bytes), "{len} bytes");
        }
    }
}

/// Several frames are one behind the other, and some have nothing to unpack.
#[test]
fn frames() {
    let [first, second] = [pack(&[1; 300], 1, true, &[]), pack(b"second", 1, false, &[])];
    let skippable = b"\x5f\x2a\x4d\x18\x03\0\0\0abc";
    let all = [&first[..], skippable, &second].concat();
    assert_eq!(unpack(&all, 306).unwrap(), [&[1; 300][..], b"second"].concat());
    assert_eq!(unpack(&[&all[..], b"more"].concat(), 306).err(), Some("no zstd frame"));
    assert_eq!(unpack(&[&all[..], b"mo"].concat(), 306).err(), Some("it is truncated"));
    assert_eq!(unpack(b"\x1f\x8b\x08 and more", 5).err(), Some("no zstd frame"));
    // A dictionary.
    let unknown = Some("it is packed in a way that this stub does not know");
    assert_eq!(unpack(b"\x28\xb5\x2f\xfd\x21\x07\x05\x29\0\0hello", 5).err(), unknown);
    assert_eq!(unpack(b"\x28\xb5\x2f\xfd\x20\x05\x29\0\0hello", 5).unwrap(), b"hello");
    assert_eq!(codec::decompress(&first, &mut [0; 300], &mut []), Err("the decompressor is out of memory"));
}

/// Any changed bit, and any byte that is missing. A bit may mean nothing (the version of the format, what comes behind the last
/// literal of a run): then libzstd takes it, too, and the bytes are the same.
#[test]
fn damage() {
    let bytes = &program()[64 << 10..][..400];
    for level in [1, 19] {
        let packed = pack(bytes, level, true, &[]);
        for bit in 0..packed.len() * 8 {
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let theirs = decompress(&damaged, bytes.len());
            match unpack(&damaged, bytes.len()) {
                Ok(out) => assert!(out == bytes && theirs.unwrap() == bytes, "bit {bit}"),
                Err(why) => assert!(theirs.is_err(), "bit {bit}: {why}"),
            }
        }
        for len in 0..packed.len() {
            assert!(unpack(&packed[..len], bytes.len()).is_err(), "{len} bytes");
        }
        let mut wrong = packed.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(unpack(&wrong, bytes.len()).err(), Some("its checksum is wrong"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No checksum stands in the way: the decoder ends, inside its bounds, and takes nothing that libzstd does not take. (That
    /// takes more: it does not look where streams of literals end.)
    #[test]
    fn hostile(
        start in 0..500_000_usize,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        level in 1..6_i32,
    ) {
        static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
        let bytes = &PROGRAM.get_or_init(program)[start..][..3000];
        let mut packed = pack(bytes, level, false, &[]);
        // Behind the header of the frame.
        for (index, byte) in changes {
            let at = 7 + index.index(packed.len() - 7);
            packed[at] = byte;
        }
        let theirs = decompress(&packed, bytes.len()).ok().filter(|made| made.len() == bytes.len());
        if let Ok(made) = unpack(&packed, bytes.len()) {
            prop_assert!(Some(made) == theirs);
        }
    }
}
