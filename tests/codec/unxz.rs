//! The xz decoder of the boot stub, on the host: it unpacks what liblzma packs, and stops at damage.

#![allow(unsafe_code, unreachable_pub, clippy::incompatible_msrv, reason = "the stub's own files")]
#![allow(clippy::match_like_matches_macro, clippy::duplicate_mod, reason = "the stub's own files")]

#[allow(dead_code, reason = "the stub's way in")]
#[path = "../../src/bootstub/src/codec/xz.rs"]
mod codec;

use crate::support::noise;
use codec::Models;
use liblzma::bufread::{XzDecoder, XzEncoder};
use liblzma::stream::{Check, Filters, LzmaOptions, MtStreamBuilder, Stream};
use proptest::prelude::*;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

/// The stub has one CPU, and one place for its tables.
static ONE: Mutex<()> = Mutex::new(());

fn unpack(packed: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
    let _guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut models = Box::new(Models::ZERO);
    // What was there before must not matter.
    let mut output = vec![0xe8; len];
    codec::unpack(&mut models, packed, &mut output).map(|()| output)
}

#[derive(Debug, Clone, Copy)]
struct How {
    x86: bool,
    /// lc, lp, pb.
    literal: [u32; 3],
    dictionary: u32,
    /// Bytes of a block; 0 for one block.
    split: u64,
    check: Check,
}

const PLAIN: How = How { x86: true, literal: [3, 0, 2], dictionary: 1 << 20, split: 0, check: Check::Crc32 };

fn pack(bytes: &[u8], how: How) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(3).unwrap();
    let [lc, lp, pb] = how.literal;
    options.literal_context_bits(lc).literal_position_bits(lp).position_bits(pb).dict_size(how.dictionary);
    let mut filters = Filters::new();
    if how.x86 {
        filters.x86();
    }
    filters.lzma2(&options);
    let stream = match how.split {
        0 => Stream::new_stream_encoder(&filters, how.check),
        size => MtStreamBuilder::new().threads(1).block_size(size).filters(filters).check(how.check).encoder(),
    };
    let mut packed = Vec::new();
    XzEncoder::new_stream(bytes, stream.unwrap()).read_to_end(&mut packed).unwrap();
    packed
}

/// Real code of this CPU, then what does not pack at all, then a long run.
pub(super) fn program() -> Vec<u8> {
    let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.truncate(1 << 20);
    bytes.extend(noise(300_000, 1));
    bytes.resize(bytes.len() + 1_000_000, 7);
    bytes
}

#[test]
fn what_liblzma_packs() {
    let program = program();
    for how in [
        PLAIN,
        How { x86: false, ..PLAIN },
        How { check: Check::None, ..PLAIN },
        How { split: 1 << 19, ..PLAIN },
        How { split: 333_333, x86: false, ..PLAIN },
        How { dictionary: 4096, ..PLAIN },
        How { literal: [0, 4, 0], ..PLAIN },
        How { literal: [4, 0, 4], ..PLAIN },
        How { literal: [1, 2, 3], ..PLAIN },
    ] {
        let packed = pack(&program, how);
        assert!(unpack(&packed, program.len()) == Ok(program.clone()), "{how:?}");
        assert_eq!(unpack(&packed, program.len() + 1).err(), Some("it is too short"), "{how:?}");
        assert!(unpack(&packed, program.len() - 1).is_err(), "{how:?}");
    }
}

/// Each converter on code of its CPU, as Debian's kernels have it, and on words that look so, at any place.
#[test]
fn the_converters_of_other_cpus() {
    use kimage::codec::{Bcj, Codec, Parameters};
    let mut random = crate::support::Random(11);
    let code: [(Bcj, &[u32]); 4] = [
        (Bcj::Arm, &[0xeb00_0000, 0xebff_fff0, 0xea00_0001]),
        (Bcj::ArmThumb, &[0xf801_f003, 0xffff_f7ff, 0xf800_f000, 0xf000_bf00]),
        (Bcj::Arm64, &[0x9400_0000, 0x97ff_ffff, 0x9000_0001, 0xb0ff_ffe0, 0xf0ef_ffe0, 0x9010_0000]),
        (
            Bcj::RiscV,
            &[0x0000_00ef, 0xfe1f_f2ef, 0x0000_0097, 0x0000_80e7, 0x0000_0117, 0x0001_3117, 0x4000_0517, 0x0005_0513],
        ),
    ];
    for (bcj, words) in code {
        for round in 0..40 {
            let mut bytes = Vec::new();
            while bytes.len() < 3000 {
                let word = words[random.below(words.len())];
                // Some with bits of their own, some half a word further.
                let noise = (random.below(1 << 16) as u32) << 12;
                bytes.extend((if random.below(2) == 0 { word } else { word ^ noise }).to_le_bytes());
                bytes.extend(vec![7; 2 * random.below(2) * (round % 2)]);
            }
            bytes.truncate(3000 - random.below(9));
            let mut packed = Vec::new();
            let parameters = Parameters { bcj: Some(bcj), ..Parameters::default() };
            Codec::Xz.compress(&bytes, &parameters, &mut packed).unwrap();
            assert!(unpack(&packed, bytes.len()) == Ok(bytes.clone()), "{bcj:?} {round}");
        }
    }
}

/// What this stub cannot unpack, it does not begin.
#[test]
fn other_checks_and_filters() {
    let unknown = Some("it is packed in a way that this stub does not know");
    assert_eq!(unpack(&pack(b"bytes", How { check: Check::Crc64, ..PLAIN }), 5).err(), unknown);
    let mut filters = Filters::new();
    filters.ia64().lzma2(&LzmaOptions::new_preset(3).unwrap());
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32).unwrap();
    let mut packed = Vec::new();
    XzEncoder::new_stream(&b"bytes"[..], stream).read_to_end(&mut packed).unwrap();
    assert_eq!(unpack(&packed, 5).err(), unknown);
    assert_eq!(unpack(b"\x1f\x8b\x08 and more", 5).err(), Some("no xz stream"));
}

/// Any changed bit, and any byte that is missing. A bit may mean nothing (how many bits of the byte before a literal goes by,
/// where only others differ): then liblzma takes it, too, and the bytes are the same.
#[test]
fn damage() {
    let bytes = &program()[64 << 10..][..500];
    for how in [PLAIN, How { split: 200, ..PLAIN }] {
        let packed = pack(bytes, how);
        assert!(unpack(&packed, bytes.len()).is_ok());
        for bit in 0..packed.len() * 8 {
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(out) = unpack(&damaged, bytes.len()) {
                let mut by_liblzma = Vec::new();
                XzDecoder::new(&damaged[..]).read_to_end(&mut by_liblzma).expect("liblzma finds damage");
                assert!(out == bytes && by_liblzma == bytes, "bit {bit}");
            }
        }
        for len in 0..packed.len() {
            assert!(unpack(&packed[..len], bytes.len()).is_err(), "{len} bytes");
        }
        assert!(unpack(&[&packed[..], &[0]].concat(), bytes.len()).is_err());
    }
}

/// Bytes that look like calls, near each other.
fn calls() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(0xe8_u8), 3 => Just(0xe9), 4 => Just(0), 4 => Just(0xff), 2 => any::<u8>()];
    proptest::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn branches(bytes in calls(), split in prop_oneof![Just(0_u64), 1..100_u64]) {
        let packed = pack(&bytes, How { split, ..PLAIN });
        prop_assert_eq!(unpack(&packed, bytes.len()), Ok(bytes));
    }

    /// No check stands in the way: whatever the decoder reads, it ends, inside its bounds.
    #[test]
    fn hostile(
        mut packed in calls().prop_map(|bytes| pack(&bytes.repeat(20), How { check: Check::None, ..PLAIN })),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        len in 0..5000_usize,
    ) {
        // Behind the headers of stream and block.
        for (index, byte) in changes {
            let at = 28 + index.index(packed.len() - 28);
            packed[at] = byte;
        }
        let _ = unpack(&packed, len);
    }
}
