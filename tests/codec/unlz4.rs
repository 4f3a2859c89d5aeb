//! The boot stubs' LZ4 decoder, on the host: it unpacks what `lz4` packs and any other sequences as liblz4 does, and stops at damage,
//! inside its places. The sum that x86 images have of its payload is XXH64.

#![allow(unsafe_code, unreachable_pub, clippy::incompatible_msrv, reason = "the stub's own files")]
#![allow(clippy::duplicate_mod, reason = "each decoder has its parts")]

#[path = "../../src/bootstub/src/codec/lz4.rs"]
mod codec;
#[path = "../../src/bootstub/src/codec/xxh64.rs"]
mod sum;

use super::unxz::program;
use crate::support::{Random, put, run_ok, tempdir, tool};
use kimage::codec::{Codec, Parameters};
use std::process::Command;

/// Around what is written to, to see that nothing else is.
const GUARD: usize = 64;

fn unpack(packed: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
    let mut all = vec![0xe8; GUARD + len + GUARD];
    let done = codec::decompress(packed, &mut all[GUARD..GUARD + len], &mut []);
    assert!(all[..GUARD].iter().chain(&all[GUARD + len..]).all(|byte| *byte == 0xe8), "written beyond its place");
    done.map(|()| all[GUARD..GUARD + len].to_vec())
}

/// One block in its frame.
fn frame(block: &[u8]) -> Vec<u8> {
    [&[0x02, 0x21, 0x4c, 0x18], &(block.len() as u32).to_le_bytes()[..], block].concat()
}

/// A length that does not fit into four bits, behind the token.
fn push_more(block: &mut Vec<u8>, len: usize) {
    if let Some(more) = len.checked_sub(15) {
        block.resize(block.len() + more / 255, 255);
        block.push((more % 255) as u8);
    }
}

/// A block of sequences by chance, `len` bytes or some more, and how many: short and long ones, near and far. It ends as liblz4
/// wants it, with literals.
fn sequences(random: &mut Random, len: usize) -> (Vec<u8>, usize) {
    let (mut block, mut made) = (Vec::new(), 0);
    loop {
        let is_last = made >= len;
        let literals = match random.below(8) {
            _ if is_last => 13 + random.below(50),
            0 => 1 + random.below(40),
            1 if made > 0 => 0,
            _ => 1 + random.below(15),
        };
        let more = match random.below(10) {
            0 => random.below(700),
            1 => random.below(40),
            _ => random.below(15),
        };
        block.push((literals.min(15) << 4 | if is_last { 0 } else { more.min(15) }) as u8);
        push_more(&mut block, literals);
        block.extend((0..literals).map(|_| random.below(256) as u8));
        made += literals;
        if is_last {
            return (block, made);
        }
        let near = if random.below(4) == 0 { 20 } else { 0xffff };
        let offset = 1 + random.below(made.min(near));
        block.extend((offset as u16).to_le_bytes());
        push_more(&mut block, more);
        made += more + 4;
    }
}

/// Zeros between, as many as a kernel has; more than one block.
fn much() -> Vec<u8> {
    let (part, mut much) = (program(), Vec::new());
    while much.len() < 9 << 20 {
        much.extend(&part);
        much.resize(much.len() + (1 << 20) + 7, 0);
    }
    much
}

#[test]
fn what_lz4_packs() {
    let dir = tempdir();
    let (program, much) = (program(), much());
    for (name, bytes) in [("program", &program[..]), ("much", &much), ("little", &program[..9])] {
        let mut packed = Vec::new();
        Codec::Lz4Legacy.compress(bytes, &Parameters::default(), &mut packed).unwrap();
        let mut streams = vec![packed];
        if let Some(lz4) = tool("lz4", "lz4") {
            let file = put(dir.path(), name, bytes);
            for level in ["-1", "-9"] {
                streams.push(run_ok(Command::new(&lz4).args(["-l", level, "-c"]).arg(&file)).stdout);
            }
        }
        for packed in streams {
            assert!(unpack(&packed, bytes.len()).as_deref() == Ok(bytes), "{name}");
            assert!(unpack(&packed, bytes.len() + 1).is_err(), "{name}");
            assert!(unpack(&packed, bytes.len() - 1).is_err(), "{name}");
        }
    }
}

/// Most go through the loop that is quick, which begins 64 KiB behind the start; every other has a few bytes changed.
#[test]
fn any_sequences_as_liblz4_unpacks_them() {
    let (mut random, mut good) = (Random(14), 0);
    for round in 0..400 {
        let len = if round % 4 == 0 { 150_000 } else { 1 + random.below(3000) };
        let (mut block, made) = sequences(&mut random, len);
        let is_whole = round % 2 == 0;
        if !is_whole {
            for _ in 0..=random.below(3) {
                let at = random.below(block.len());
                block[at] = random.below(256) as u8;
            }
        }
        let theirs = lz4::block::decompress(&block, Some(made as i32)).ok().filter(|theirs| theirs.len() == made);
        let ours = unpack(&frame(&block), made);
        assert!(!is_whole || theirs.is_some(), "round {round}");
        // liblz4 takes less than the format has, but an offset of 0.
        if let (Some(theirs), Ok(ours)) = (&theirs, &ours) {
            assert!(theirs == ours, "round {round}");
            good += 1;
        }
        assert!(!is_whole || ours.is_ok(), "round {round}");
    }
    assert!(good >= 200, "{good}");
}

#[test]
fn what_is_missing() {
    let (block, made) = sequences(&mut Random(3), 70_000);
    let packed = frame(&block);
    for len in (0..packed.len()).step_by(97).chain(packed.len() - 40..packed.len()) {
        assert!(unpack(&packed[..len], made).is_err(), "{len} bytes");
        if let Some(cut) = len.checked_sub(8).map(|len| frame(&block[..len])) {
            assert!(unpack(&cut, made).is_err(), "a block of {len} bytes");
        }
    }
    assert_eq!(unpack(b"\x1f\x8b\x08 and more", 5).err(), Some("no LZ4 legacy frame"));
}

#[test]
fn the_sum_is_xxh64() {
    let bytes: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    for len in 0..300 {
        let some = &bytes[len % 7..][..len];
        assert_eq!(sum::xxh64(some), twox_hash::XxHash64::oneshot(0, some), "{len} bytes");
    }
}

/// Any byte, words in each other's place, what is cut off, and what is zeros.
#[test]
fn the_sum_finds_damage() {
    let mut random = Random(5);
    let bytes: Vec<u8> = (0..2000).map(|_| random.below(256) as u8).collect();
    let whole = sum::xxh64(&bytes);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert_ne!(sum::xxh64(&changed), whole, "byte {at}");
        assert_ne!(sum::xxh64(&bytes[..at]), whole, "cut to {at} bytes");
        let (mut swapped, mut zeroed) = (bytes.clone(), bytes.clone());
        let words = [random.below(250), random.below(250)].map(|word| word * 8);
        (0..8).for_each(|byte| swapped.swap(words[0] + byte, words[1] + byte));
        assert!(swapped == bytes || sum::xxh64(&swapped) != whole, "words at {words:?}");
        zeroed[at..].iter_mut().take(1 + random.below(300)).for_each(|byte| *byte = 0);
        assert!(zeroed == bytes || sum::xxh64(&zeroed) != whole, "zeros at {at}");
    }
}
