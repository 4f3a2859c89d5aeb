//! zstd: RFC 8878, without dictionaries. Straight into the kernel's place, which is the window, too; literals of a block, and
//! they alone, wait in memory of their own.

#[path = "copies.rs"]
mod copies;
#[path = "fse.rs"]
mod fse;
#[path = "huffman.rs"]
mod huffman;
#[path = "sequences.rs"]
mod sequences;
#[path = "xxh64.rs"]
mod xxh64;

use fse::Table;
use huffman::Huffman;
use sequences::{KINDS, Kind, Run, Tables};
use xxh64::xxh64;

const MAGIC: u32 = 0xfd2f_b528;
/// Of frames that have nothing to unpack; the last four bits are anything.
const SKIPPABLE: u32 = 0x184d_2a50;
/// Flags of a frame.
const HAS_CHECKSUM: u8 = 1 << 2;
const RESERVED: u8 = 1 << 3;
const IS_ONE_SEGMENT: u8 = 1 << 5;
/// No window is larger, as its logarithm.
const WINDOW_MAX: u32 = 31;
/// No block is larger, nor what is in it.
const BLOCK_MAX: u64 = 128 << 10;
/// Literals of a block, and what may be read too much.
const LITERALS: usize = BLOCK_MAX as usize + copies::MORE;

const TRUNCATED: &str = "it is truncated";
const DAMAGED: &str = "it is damaged";

/// What is remembered from block to block.
struct State {
    huffman: Huffman,
    /// Whether there is a code of literals, and whether there are tables of sequences.
    has: [bool; 2],
    tables: Tables,
    /// For the weights of a code of literals.
    weights: Table,
    repeats: [usize; 3],
}

#[inline(never)]
pub fn decompress(input: &[u8], output: &mut [u8], heap: &'static mut [u8]) -> Result<(), &'static str> {
    static mut STATE: State =
        State { huffman: Huffman::ZERO, has: [false; 2], tables: Tables::ZERO, weights: Table::ZERO, repeats: [0; 3] };
    let state = unsafe { &mut *core::ptr::addr_of_mut!(STATE) };
    let literals = heap.first_chunk_mut::<LITERALS>().ok_or("the decompressor is out of memory")?;
    state.tables.prepare();
    let (mut rest, mut done) = (input, 0);
    while !rest.is_empty() {
        let magic = u32::from_le_bytes(*take(&mut rest)?);
        if magic & !15 == SKIPPABLE {
            let len = u32::from_le_bytes(*take(&mut rest)?);
            rest = rest.get(len as usize..).ok_or(TRUNCATED)?;
        } else if magic == MAGIC {
            done += frame(state, &mut rest, &mut output[done..], literals)?;
        } else {
            return Err("no zstd frame");
        }
    }
    if done == output.len() { Ok(()) } else { Err("it is too short") }
}

fn take<'a, const LEN: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; LEN], &'static str> {
    let (first, behind) = rest.split_first_chunk().ok_or(TRUNCATED)?;
    *rest = behind;
    Ok(first)
}

/// A number of up to eight bytes.
fn number(rest: &mut &[u8], len: usize) -> Result<u64, &'static str> {
    let mut value = [0; 8];
    let (first, behind) = rest.split_at_checked(len).ok_or(TRUNCATED)?;
    value[..len].copy_from_slice(first);
    *rest = behind;
    Ok(u64::from_le_bytes(value))
}

/// A frame behind its magic number. Returns how much came out.
fn frame(
    state: &mut State,
    rest: &mut &[u8],
    output: &mut [u8],
    literals: &mut [u8; LITERALS],
) -> Result<usize, &'static str> {
    let [flags] = *take(rest)?;
    let is_one_segment = flags & IS_ONE_SEGMENT != 0;
    let mut window = 0;
    if !is_one_segment {
        let [size] = *take(rest)?;
        let log = 10 + u32::from(size >> 3);
        window = (1_u64 << log) + (1_u64 << log >> 3) * u64::from(size & 7);
        if log > WINDOW_MAX {
            return Err(DAMAGED);
        }
    }
    let dictionary = number(rest, [0, 1, 2, 4][usize::from(flags & 3)])?;
    if dictionary != 0 || flags & RESERVED != 0 {
        return Err("it is packed in a way that this stub does not know");
    }
    let size = match flags >> 6 {
        0 if !is_one_segment => None,
        0 => Some(number(rest, 1)?),
        1 => Some(number(rest, 2)? + 256),
        more => Some(number(rest, 1 << more)?),
    };
    let block_max = size.filter(|_| is_one_segment).unwrap_or(window).min(BLOCK_MAX) as usize;
    state.has = [false; 2];
    state.repeats = [1, 4, 8];
    let mut done = 0;
    loop {
        let header = number(rest, 3)? as usize;
        let len = header >> 3;
        match header >> 1 & 3 {
            0 => {
                let (plain, behind) = rest.split_at_checked(len).ok_or(TRUNCATED)?;
                output[done..].get_mut(..len).ok_or(DAMAGED)?.copy_from_slice(plain);
                (*rest, done) = (behind, done + len);
            }
            1 => {
                let [byte] = *take(rest)?;
                output[done..].get_mut(..len).ok_or(DAMAGED)?.fill(byte);
                done += len;
            }
            2 if len <= block_max => {
                let (packed, behind) = rest.split_at_checked(len).ok_or(TRUNCATED)?;
                done = block(state, packed, output, done, literals, block_max).ok_or(DAMAGED)?;
                *rest = behind;
            }
            _ => return Err(DAMAGED),
        }
        if header & 1 != 0 {
            break;
        }
    }
    if size.is_some_and(|size| size != done as u64) {
        return Err(DAMAGED);
    }
    if flags & HAS_CHECKSUM != 0 && u32::from_le_bytes(*take(rest)?) != xxh64(&output[..done]) as u32 {
        return Err("its checksum is wrong");
    }
    Ok(done)
}

/// A compressed block. Returns where it ends in the output; `None` when it is damaged.
#[inline(never)]
fn block(
    state: &mut State,
    packed: &[u8],
    output: &mut [u8],
    done: usize,
    buffer: &mut [u8; LITERALS],
    block_max: usize,
) -> Option<usize> {
    let (taken, len) = literals(state, packed, buffer, block_max)?;
    let mut rest = packed.get(taken..)?;
    let [first, behind @ ..] = rest else { return None };
    rest = behind;
    let count = match usize::from(*first) {
        255 => 0x7f00 + number(&mut rest, 2).ok()? as usize,
        more @ 128.. => (more - 128 << 8) + number(&mut rest, 1).ok()? as usize,
        few => few,
    };
    if count == 0 {
        output[done..].get_mut(..len)?.copy_from_slice(&buffer[..len]);
        return rest.is_empty().then_some(done + len);
    }
    let [modes, behind @ ..] = rest else { return None };
    rest = behind;
    if modes & 3 != 0 {
        return None;
    }
    for (kind, shift) in [(Kind::Literals, 6), (Kind::Offset, 4), (Kind::Match, 2)] {
        table(
            &mut state.tables.kinds[kind as usize],
            &KINDS[kind as usize],
            modes >> shift & 3,
            &mut rest,
            state.has[1],
        )?;
    }
    state.has[1] = true;
    Run::new(&state.tables, rest, count, buffer, len, &mut state.repeats, output, done)?.all()
}

/// A table of sequences, which comes with the block or does not.
fn table(table: &mut Table, kind: &sequences::Codes, mode: u8, rest: &mut &[u8], has: bool) -> Option<()> {
    match mode {
        0 => table.build(kind.usual, kind.usual_bits, kind.values),
        1 => {
            let [symbol, behind @ ..] = *rest else { return None };
            *rest = behind;
            table.only(*kind.values.get(usize::from(*symbol))?);
            Some(())
        }
        2 => {
            let mut counts = [0; 64];
            let counts = counts.get_mut(..kind.values.len())?;
            let (bits, taken) = fse::counts(rest, counts).filter(|(bits, _)| *bits <= kind.bits_max)?;
            *rest = rest.get(taken..)?;
            table.build(counts, bits, kind.values)
        }
        _ => has.then_some(()),
    }
}

/// Unpacks the literals of a block. Returns what they took, and how many there are.
fn literals(state: &mut State, packed: &[u8], buffer: &mut [u8; LITERALS], block_max: usize) -> Option<(usize, usize)> {
    let first = *packed.first()?;
    let (kind, form) = (first & 3, first >> 2 & 3);
    if kind < 2 {
        let (header_len, shift) = match form {
            1 => (2, 4),
            3 => (3, 4),
            _ => (1, 3),
        };
        let mut behind = packed;
        let len = (number(&mut behind, header_len).ok()? >> shift) as usize;
        if len > block_max {
            return None;
        }
        let taken = if kind == 0 { len } else { 1 };
        let bytes = behind.get(..taken)?;
        match kind {
            0 => buffer[..len].copy_from_slice(bytes),
            _ => buffer[..len].fill(bytes[0]),
        }
        return Some((header_len + taken, len));
    }
    // What comes in no fewer bytes than the longest header has.
    let header = packed.first_chunk::<5>()?;
    let header = u64::from_le_bytes([header[0], header[1], header[2], header[3], header[4], 0, 0, 0]);
    let (header_len, bits) = [(3, 10), (3, 10), (4, 14), (5, 18)][usize::from(form)];
    let [len, packed_len] = [4, 4 + bits].map(|shift| (header >> shift) as usize & ((1 << bits) - 1));
    if len > block_max {
        return None;
    }
    let mut streams = packed.get(header_len..)?.get(..packed_len)?;
    if kind == 2 {
        let taken = state.huffman.read(&mut state.weights, streams)?;
        streams = streams.get(taken..)?;
    } else if !state.has[0] {
        return None;
    }
    let to = &mut buffer[..len];
    if form == 0 {
        state.huffman.one(streams, to)?
    } else {
        state.huffman.four(streams, to)?
    }
    state.has[0] = true;
    Some((header_len + packed_len, len))
}
