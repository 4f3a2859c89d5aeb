//! CRC-32 of gzip (RFC 1952): sixteen bytes at a time, and without tables as long as there are many.
//!
//! The polynomial divides x^300 + x^155 + x^117 + x^89 + 1, and so, in a field where squares of sums are sums of squares, that
//! of x^128, too: a piece of 128 bits may be taken away when it is added to those that are 145, 183, 211 and 300 pieces
//! behind. What is left of any length are 300 pieces. (arXiv:2412.16398.)

/// Reversed, as the bits of each byte are.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// 128 bits.
type Piece = [u64; 2];
const LEFT: usize = 300;
const TAPS: [usize; 4] = [145, 183, 211, LEFT];
/// Pieces that are taken away at a time, and those before them.
const ROOM: usize = 2048;
const STEP: usize = ROOM - LEFT;

/// Four tables of what a byte does to the sum that many bytes later; made at run time, for the file has no room.
static mut TABLES: [u32; 4 * 256] = [0; 4 * 256];

#[repr(align(16))]
struct Taken([Piece; ROOM]);
static mut TAKEN: Taken = Taken([[0; 2]; ROOM]);

pub fn crc32(bytes: &[u8]) -> u32 {
    // The ARM stub has another sum of the kernel, and asks for that of short headers alone: bit by bit.
    if cfg!(target_arch = "arm") {
        let add_bit = |sum: u32| sum >> 1 ^ POLYNOMIAL & (sum & 1).wrapping_neg();
        return !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| add_bit(sum)));
    }
    let (tables, taken) = unsafe { (&mut *(&raw mut TABLES), &mut *(&raw mut TAKEN)) };
    for index in 0..tables.len() {
        tables[index] = match index.checked_sub(256) {
            None => (0..8).fold(index as u32, |sum, _| sum >> 1 ^ POLYNOMIAL & (sum & 1).wrapping_neg()),
            Some(before) => tables[before] >> 8 ^ tables[tables[before] as usize & 0xff],
        };
    }
    // SAFETY: any bytes are pieces.
    let (before, mut pieces, behind) = unsafe { bytes.align_to::<Piece>() };
    let mut sum = add(tables, !0, before);
    if pieces.len() >= 2 * LEFT {
        taken.0[..LEFT].fill([0; 2]);
        while pieces.len() > LEFT {
            let (some, rest) = pieces.split_at(STEP.min(pieces.len() - LEFT));
            take_away(&mut taken.0, some, &mut sum);
            taken.0.copy_within(some.len()..some.len() + LEFT, 0);
            pieces = rest;
        }
        for (index, piece) in pieces.iter().enumerate() {
            // What had been added to this one.
            let mut all = piece.map(u64::from_le);
            for tap in TAPS.iter().filter(|tap| **tap > index) {
                all = xor(all, taken.0[LEFT + index - tap]);
            }
            sum = all.iter().fold(sum, |sum, word| add(tables, sum, &word.to_le_bytes()));
        }
        pieces = &[];
    }
    // SAFETY: as bytes again.
    let rest = unsafe { core::slice::from_raw_parts(pieces.as_ptr().cast::<u8>(), size_of_val(pieces)) };
    !add(tables, add(tables, sum, rest), behind)
}

/// All of a piece at once, where every CPU can.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn xor(a: Piece, b: Piece) -> Piece {
    use core::{arch::x86_64::_mm_xor_si128, mem::transmute};
    // SAFETY: any bits are either.
    unsafe { transmute(_mm_xor_si128(transmute(a), transmute(b))) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn xor(a: Piece, b: Piece) -> Piece {
    [a[0] ^ b[0], a[1] ^ b[1]]
}

/// Takes pieces away, at most [`STEP`]. The sum up to here is added to them, and is none afterwards. `taken` begins with the last
/// ones that were taken away before.
#[inline(never)]
fn take_away(taken: &mut [Piece; ROOM], pieces: &[Piece], sum: &mut u32) {
    let Some(pieces) = pieces.get(..pieces.len().min(STEP)) else { return };
    let mut first = [u64::from(core::mem::take(sum)), 0];
    let mut one = |at: usize, piece: &Piece| {
        let mut all = xor(piece.map(u64::from_le), first);
        first = [0; 2];
        for tap in TAPS {
            all = xor(all, taken[at - tap]);
        }
        taken[at] = all;
    };
    let (fours, rest) = pieces.as_chunks::<4>();
    for (index, [a, b, c, d]) in fours.iter().enumerate() {
        let at = LEFT + 4 * index;
        one(at, a);
        one(at + 1, b);
        one(at + 2, c);
        one(at + 3, d);
    }
    for (index, piece) in rest.iter().enumerate() {
        one(LEFT + 4 * fours.len() + index, piece);
    }
}

/// Goes on with a sum, by tables.
fn add(tables: &[u32; 4 * 256], mut sum: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word) ^ sum;
        let of = |byte: usize| tables[(3 - byte) * 256 + ((word >> (8 * byte)) as usize & 0xff)];
        sum = of(0) ^ of(1) ^ of(2) ^ of(3);
    }
    for byte in rest {
        sum = sum >> 8 ^ tables[(sum as u8 ^ byte) as usize];
    }
    sum
}
