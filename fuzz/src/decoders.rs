//! The boot stub's own decoders beside the codecs that pack for them, and what it reads of loaders and firmware. A separate program: without the library there are few
//! counters to clear and to look at after each run, which here are short.
//!
//! What comes out ends where memory ends, or begins where it begins: a byte more is a crash.
#![no_main]

#[path = "../../src/bootstub/src/codec/crc32.rs"]
mod crc32;
#[path = "../../src/bootstub/src/codec/gzip.rs"]
mod gzip;
mod loader;
#[path = "../../src/bootstub/src/codec/lz4.rs"]
mod lz4;
#[allow(dead_code)]
#[path = "../../src/bootstub/src/codec/lzma.rs"]
mod lzma;
#[allow(dead_code)]
#[path = "../../src/bootstub/src/codec/lzo.rs"]
mod lzo;
#[path = "../../src/bootstub/src/codec/lzma2.rs"]
mod of_stub;
#[allow(dead_code)]
#[path = "../../src/bootstub/src/codec/xz.rs"]
mod xz;
#[path = "../../src/bootstub/src/codec/zstd.rs"]
mod zstd_of_stub;

use flate2::{Decompress, FlushDecompress, Status as Inflated};
use libfuzzer_sys::fuzz_target;
use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};
use std::cell::RefCell;
use std::io::Read;
use std::sync::OnceLock;

/// Bytes that may come out of a stream.
const MOST: usize = 1 << 15;
/// Literals of a block of zstd, and what is read too much.
const HEAP: usize = (128 << 10) + 31;

thread_local! {
    static MODELS: RefCell<of_stub::Models> = const { RefCell::new(of_stub::Models::ZERO) };
    static XZ: RefCell<xz::Models> = const { RefCell::new(xz::Models::ZERO) };
    static LZMA: RefCell<lzma::Models> = const { RefCell::new(lzma::Models::ZERO) };
    static ROOM: (Fenced, Fenced, Fenced) = (Fenced::new(), Fenced::new(), Fenced::new());
}

/// Memory between two pages that nobody may touch.
struct Fenced(*mut u8);

impl Fenced {
    const PAGE: usize = 4096;
    /// Large enough for what comes in, too, and for what a decoder has of its own.
    const LEN: usize = 192 << 10;

    fn new() -> Fenced {
        let len = Fenced::LEN + 2 * Fenced::PAGE;
        let (none, both) = (libc::PROT_NONE, libc::PROT_READ | libc::PROT_WRITE);
        unsafe {
            let start = libc::mmap(std::ptr::null_mut(), len, none, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            assert!(start != libc::MAP_FAILED);
            let start = start.cast::<u8>().add(Fenced::PAGE);
            assert_eq!(libc::mprotect(start.cast(), Fenced::LEN, both), 0);
            Fenced(start)
        }
    }

    /// The first `len` bytes, or the last.
    #[allow(clippy::mut_from_ref)]
    fn bytes(&self, len: usize, last: bool) -> &mut [u8] {
        assert!(len <= Fenced::LEN);
        let skipped = if last { Fenced::LEN - len } else { 0 };
        unsafe { std::slice::from_raw_parts_mut(self.0.add(skipped), len) }
    }
}

type Decoder = fn(&[u8], &mut [u8], &'static mut [u8]) -> Result<(), &'static str>;

/// What the stub makes of `packed` when it has to be `len` bytes, once at each end of memory.
fn ours(decoder: Decoder, packed: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
    let once = |last: bool| {
        ROOM.with(|(from, to, heap)| {
            let (input, output) = (from.bytes(packed.len(), !last), to.bytes(len, last));
            let heap = heap.bytes(HEAP, !last);
            // SAFETY: the decoder, which would have it for ever, is the only one, and ends here.
            let heap = unsafe { std::slice::from_raw_parts_mut(heap.as_mut_ptr(), heap.len()) };
            input.copy_from_slice(packed);
            // What was there before must not matter.
            output.fill(0xe8);
            let result = decoder(input, output, heap);
            assert!(input == packed);
            result.map(|()| output.to_vec())
        })
    };
    let (first, second) = (once(true), once(false));
    assert!(first == second, "what stands there before, or where it is, matters");
    first
}

/// Where the codec takes it, the stub does, and makes the same of it; of any other length it makes nothing.
fn both(decoder: Decoder, packed: &[u8], theirs: Option<&[u8]>, guess: u8) {
    let made = ours(decoder, packed, theirs.map_or(usize::from(guess), <[u8]>::len));
    match (made, theirs) {
        (Ok(made), Some(theirs)) => {
            assert!(made == theirs);
            assert!(ours(decoder, packed, theirs.len() + 1).is_err(), "it has one byte less");
        }
        (Ok(_), None) => panic!("the codec does not take it"),
        (Err(why), Some(_)) => panic!("{why}, but the codec takes it"),
        (Err(_), None) => (),
    }
}

/// Deflated data by zlib: what it took, and what it made of it.
fn inflated(deflated: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut made = vec![0; MOST];
    let mut stream = Decompress::new(false);
    match stream.decompress(deflated, &mut made, FlushDecompress::Finish) {
        Ok(Inflated::StreamEnd) => {
            made.truncate(stream.total_out() as usize);
            Some((stream.total_in() as usize, made))
        }
        _ => None,
    }
}

/// Deflated data behind a header with these fields, and what has to stand behind it; or a file as it stands.
fn ungzip(bytes: &[u8]) {
    let Some((&how, data)) = bytes.split_first() else { return };
    if how & 0x80 == 0 {
        let mut theirs = Vec::new();
        let taken = flate2::bufread::GzDecoder::new(data).take(MOST as u64 + 1).read_to_end(&mut theirs);
        // The stub does not look at a header's checksum, nor at flags that nobody sets.
        let is_other = taken.is_err() && data.get(3).is_some_and(|flags| flags & 0xe2 != 0);
        if !is_other && theirs.len() <= MOST {
            both(gzip::decompress, data, taken.is_ok().then_some(&theirs[..]), how);
        }
        return;
    }
    let mut packed = vec![0x1f, 0x8b, 8, how & 0x1c, 0, 0, 0, 0, 2, 3];
    if how & 4 != 0 {
        packed.extend([how >> 5 & 3, 0]);
        packed.resize(packed.len() + usize::from(how >> 5 & 3), 0xff);
    }
    for flag in [8, 16] {
        if how & flag != 0 {
            packed.extend(b"name\0");
        }
    }
    let theirs = inflated(data);
    packed.extend(&data[..theirs.as_ref().map_or(data.len(), |(taken, _)| *taken)]);
    let made = theirs.as_ref().map(|(_, made)| &made[..]);
    if let Some(made) = made {
        packed.extend(crc32fast::hash(made).to_le_bytes());
        packed.extend((made.len() as u32).to_le_bytes());
    }
    both(gzip::decompress, &packed, made, how);
    if made.is_some() {
        let last = packed.len() - 1 - usize::from(how & 7);
        packed[last] ^= 1 << (how >> 3 & 7);
        assert!(
            ours(gzip::decompress, &packed, made.map_or(0, <[u8]>::len)).is_err(),
            "the sum or the length is wrong"
        );
    }
}

/// A block as lz4_Block_format.md has it, without what an encoder must leave alone at the end.
fn block(mut rest: &[u8]) -> Option<Vec<u8>> {
    fn long(rest: &mut &[u8], nibble: u8) -> Option<usize> {
        let mut len = usize::from(nibble);
        let mut byte = if nibble == 15 { 255 } else { 0 };
        while byte == 255 {
            (byte, *rest) = rest.split_first().map(|(byte, rest)| (*byte, rest))?;
            len += usize::from(byte);
        }
        Some(len)
    }
    let mut made = Vec::new();
    loop {
        let (token, behind) = rest.split_first()?;
        rest = behind;
        let len = long(&mut rest, token >> 4)?;
        let (plain, behind) = rest.split_at_checked(len)?;
        made.extend(plain);
        rest = behind;
        if rest.is_empty() {
            return Some(made);
        }
        let (offset, behind) = rest.split_first_chunk()?;
        rest = behind;
        let from =
            made.len().checked_sub(usize::from(u16::from_le_bytes(*offset))).filter(|from| *from < made.len())?;
        let len = long(&mut rest, token & 15)? + 4;
        if made.len() + len > MOST_OF_LZ4 {
            return None;
        }
        (from..from + len).for_each(|at| made.push(made[at]));
    }
}

/// More than any offset can be, and [`MOST`] behind it.
const MOST_OF_LZ4: usize = (65 << 10) + MOST;

/// Sequences that make more than any offset can be: the loop for most of a kernel begins behind them.
fn far() -> Vec<u8> {
    let literals = (0..300_u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8);
    let mut far = vec![0xff, 255, 30];
    far.extend(literals);
    far.extend(300_u16.to_le_bytes());
    far.extend([255; 256]);
    far.push(0);
    far
}

/// One block in its frame. The lz4 library refuses more, for its encoder ends each block in a certain way, and takes an offset
/// of 0, which is none.
fn unlz4(bytes: &[u8]) {
    let Some((&how, data)) = bytes.split_first() else { return };
    if how & 0x80 == 0 {
        let _ = ours(lz4::decompress, data, usize::from(how) << 5);
        return;
    }
    let (data, most) = match how & 0x40 {
        0 => (data.to_vec(), usize::from(how)),
        _ => ([&far(), data].concat(), MOST_OF_LZ4),
    };
    let mut packed = b"\x02\x21\x4c\x18".to_vec();
    packed.extend((data.len() as u32).to_le_bytes());
    packed.extend(&data);
    let plain = block(&data).filter(|made| made.len() <= MOST_OF_LZ4);
    let theirs = ::lz4::block::decompress(&data, Some(MOST_OF_LZ4 as i32)).ok();
    let made = ours(lz4::decompress, &packed, plain.as_ref().map_or(most, Vec::len));
    if let (Some(theirs), Some(plain)) = (theirs.filter(|made| !made.is_empty()), &plain) {
        assert!(*plain == theirs && made.as_ref() == Ok(plain), "{made:?}");
    }
    if let Some(made) = made.ok().filter(|made| !made.is_empty()) {
        assert!(plain.as_ref() == Some(&made));
        assert!(ours(lz4::decompress, &packed, made.len() + 1).is_err(), "it has one byte less");
    }
}

/// Whether all frames that libzstd takes have checksums.
fn all_have_checksums(mut packed: &[u8]) -> bool {
    while let [magic, _, _, _, flags, ..] = packed {
        let len = zstd::zstd_safe::find_frame_compressed_size(packed).unwrap_or(usize::MAX);
        let Some(rest) = packed.get(len..).filter(|_| *magic != 0x28 || flags & 4 != 0) else { return false };
        packed = rest;
    }
    true
}

/// Frames as they stand, or blocks in a frame.
fn unzstd(bytes: &[u8]) {
    let Some((&how, data)) = bytes.split_first() else { return };
    let mut packed = Vec::new();
    if how & 0x80 != 0 {
        // A window of 64 KiB; or one segment, with room for anything.
        packed.extend(b"\x28\xb5\x2f\xfd");
        packed.extend([0, 6 << 3]);
    }
    packed.extend(data);
    let mut made = vec![0; MOST];
    let theirs = zstd::zstd_safe::decompress(&mut made[..], &packed).ok();
    // In one piece it takes blocks that are larger than the window; what it hands out piece by piece has none.
    let is_other = theirs.is_some() && zstd::decode_all(&packed[..]).is_err();
    let made_by_us = ours(zstd_of_stub::decompress, &packed, theirs.unwrap_or_default());
    // libzstd does not look where long streams of literals end: what a checksum would find, it takes without one.
    let is_lax = theirs.is_some() && !all_have_checksums(&packed);
    if !is_other && !is_lax || made_by_us.is_ok() {
        both(zstd_of_stub::decompress, &packed, theirs.map(|len| &made[..len]), how);
    }
}

/// liblzma: what it took, and what it made of it; `None` when it refuses or wants more.
fn theirs(mut stream: Stream, input: &[u8], room: usize) -> Option<(usize, Vec<u8>)> {
    let mut output = vec![0; room];
    match stream.process(input, &mut output, Action::Finish) {
        Ok(Status::StreamEnd) => {
            output.truncate(stream.total_out() as usize);
            Some((stream.total_in() as usize, output))
        }
        _ => None,
    }
}

/// LZMA2 as it stands in a block, with the branch converter that starts to count there.
fn raw(input: &[u8], x86: Option<u32>) -> Option<(usize, Vec<u8>)> {
    let mut options = LzmaOptions::new_preset(0).unwrap();
    options.dict_size(1 << 16);
    let mut filters = Filters::new();
    if let Some(start) = x86 {
        filters.x86_properties(&start.to_le_bytes()).unwrap();
    }
    filters.lzma2(&options);
    theirs(Stream::new_raw_decoder(&filters).unwrap(), input, MOST)
}

/// The stub's LZMA2 and liblzma's take the same, and make the same of it.
fn lzma2(input: &[u8]) {
    let mut output = vec![0xe8; MOST];
    let ours = MODELS.with_borrow_mut(|models| of_stub::unpack(models, input, &mut output));
    let ours = ours.map(|(taken, len)| (taken, output[..len].to_vec()));
    assert!(ours == raw(input, None), "{:?} bytes taken and made", ours.map(|(taken, made)| (taken, made.len())));
}

/// An xz file with this LZMA2 data, all else as it should be.
fn file(how: u8, x86: Option<u32>, mut data: &[u8]) -> (Vec<u8>, usize) {
    fn number(out: &mut Vec<u8>, mut value: usize) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    fn summed(out: &mut Vec<u8>, from: usize) {
        let sum = crc32::crc32(&out[from..]);
        out.extend(sum.to_le_bytes());
    }
    let has_check = how & 1 != 0;
    let mut out = b"\xfd7zXZ\0".to_vec();
    let flags = [0, u8::from(has_check)];
    out.extend(flags);
    summed(&mut out, 6);
    let (mut index, mut count, mut total) = (Vec::new(), 0, 0);
    while !data.is_empty() && count < 4 {
        let (taken, made) = raw(data, x86).unwrap_or((data.len(), Vec::new()));
        let (block, rest) = data.split_at(taken);
        data = rest;
        let start = out.len();
        out.extend([0, u8::from(x86.is_some()) | (how & 6) << 5]);
        if how & 2 != 0 {
            number(&mut out, taken);
        }
        if how & 4 != 0 {
            number(&mut out, made.len());
        }
        match x86 {
            // Nothing said of the start is 0.
            Some(0) if how & 8 != 0 => out.extend([4, 0]),
            Some(from) => {
                out.extend([4, 4]);
                out.extend(from.to_le_bytes());
            }
            None => (),
        }
        // A dictionary of 64 KiB, which is more than what may come out.
        out.extend([0x21, 1, 8]);
        out.resize(start + (out.len() - start).next_multiple_of(4), 0);
        out[start] = ((out.len() - start) / 4) as u8;
        summed(&mut out, start);
        out.extend(block);
        let unpadded = out.len() - start + if has_check { 4 } else { 0 };
        out.resize(start + (out.len() - start).next_multiple_of(4), 0);
        if has_check {
            out.extend(crc32::crc32(&made).to_le_bytes());
        }
        number(&mut index, unpadded);
        number(&mut index, made.len());
        count += 1;
        total += made.len();
    }
    let start = out.len();
    out.push(0);
    number(&mut out, count);
    out.extend(index);
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    summed(&mut out, start);
    let mut end = (((out.len() - start) / 4 - 1) as u32).to_le_bytes().to_vec();
    end.extend(flags);
    out.extend(crc32::crc32(&end).to_le_bytes());
    out.extend(end);
    out.extend(b"YZ");
    (out, total)
}

/// What the stub takes, liblzma takes, and makes the same of it.
fn unxz(bytes: &[u8]) {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let made;
    let (packed, len) = match how & 0x80 {
        // As it stands; its length is what liblzma finds, or, where it finds none, a guess.
        0 => (rest, None),
        _ => {
            let (start, data) = match (how & 0x30, rest) {
                (0 | 0x10, _) => (None, rest),
                (0x20, _) | (_, [] | [_]) => (Some(0), rest),
                (_, [low, high, data @ ..]) => (Some(u32::from(u16::from_be_bytes([*high, *low])) * 4), data),
            };
            let (file, len) = file(how, start, data);
            made = file;
            (&made[..], Some(len))
        }
    };
    let theirs = theirs(Stream::new_stream_decoder(u64::MAX, 0).unwrap(), packed, MOST);
    let theirs = theirs.filter(|(taken, _)| *taken == packed.len()).map(|(_, made)| made);
    let len = len.or(theirs.as_ref().map(Vec::len)).unwrap_or(usize::from(how));
    let ours = ours(|packed, output, _| XZ.with_borrow_mut(|models| xz::unpack(models, packed, output)), packed, len);
    match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) => assert!(ours == theirs),
        (Ok(_), None) => panic!("liblzma does not take it"),
        // A filter or a check that this stub has no use for; what kimage packs it has to unpack.
        (Err(why), Some(_)) => assert!(why.contains("does not know"), "{why}, but liblzma takes it"),
        (Err(_), None) => (),
    }
}

/// LZMA alone, as it stands or behind a header with these properties and, where one is given, this length.
fn unlzma(bytes: &[u8]) {
    /// More than what may come out.
    const DICTIONARY: [u8; 4] = (1_u32 << 16).to_le_bytes();
    const LEN_AT: usize = 1 + DICTIONARY.len();
    let Some((&how, mut data)) = bytes.split_first() else { return };
    let mut packed = Vec::new();
    if how & 0x80 != 0 {
        let mut properties = 0x5d;
        if how & 0x40 != 0 {
            let Some((byte, rest)) = data.split_first() else { return };
            (properties, data) = (*byte, rest);
        }
        let mut len = u64::MAX;
        if how & 0x20 != 0 {
            let Some((bytes, rest)) = data.split_first_chunk() else { return };
            (len, data) = (u16::from_be_bytes(*bytes).into(), rest);
        }
        packed.push(properties);
        packed.extend(DICTIONARY);
        packed.extend(len.to_le_bytes());
    }
    packed.extend(data);
    // The stub has no use for the dictionary's size: it keeps all.
    if let Some(dictionary) = packed.get_mut(1..LEN_AT) {
        dictionary.copy_from_slice(&DICTIONARY);
    }
    let by_liblzma = |packed: &[u8]| {
        let made = theirs(Stream::new_lzma_decoder(u64::MAX).unwrap(), packed, MOST);
        made.filter(|(taken, _)| *taken == packed.len()).map(|(_, made)| made)
    };
    let by_stub: Decoder = |packed, output, _| LZMA.with_borrow_mut(|models| lzma::unpack(models, packed, output));
    let theirs = by_liblzma(&packed);
    let Some(len) = packed.get_mut(LEN_AT..LEN_AT + 8) else { return both(by_stub, &packed, None, how) };
    if len == [0xff; 8] {
        return both(by_stub, &packed, theirs.as_deref(), how);
    }
    // liblzma takes a mark of the end that the length had made needless, and the stub does not.
    let made = theirs.as_ref().map(|made| ours(by_stub, &packed, made.len()));
    if !matches!(made, Some(Err(_))) {
        return both(by_stub, &packed, theirs.as_deref(), how);
    }
    packed[LEN_AT..LEN_AT + 8].fill(0xff);
    both(by_stub, &packed, theirs.as_deref(), how);
}

/// lzop's container around LZO data, all else as it should be; or a file as it stands, only that nothing breaks.
fn unlzo(bytes: &[u8]) {
    /// Where the header begins, of which a sum is behind it.
    const HEADER_AT: usize = 9;
    fn sum(bytes: &[u8]) -> [u8; 4] {
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in bytes {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        (b << 16 | a).to_be_bytes()
    }
    let Some((&how, mut data)) = bytes.split_first() else { return };
    if how & 0x80 == 0 {
        let _ = ours(|packed, output, _| lzo::unpack(packed, output), data, usize::from(how) << 5);
        return;
    }
    let mut packed = b"\x89LZO\0\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x03\x09\x03\0\0\x0d".to_vec();
    packed.resize(packed.len() + 12, 0);
    packed.push(how & 3);
    packed.extend(&b"abc"[..usize::from(how & 3)]);
    packed.extend(sum(&packed[HEADER_AT..]));
    // What all blocks make; `None` when one of them is damaged.
    let mut theirs = Some(Vec::new());
    let mut sum_at = None;
    while let Some((len, rest)) = data.split_first_chunk() {
        let (block, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*len).into()));
        data = rest;
        let mut made = vec![0; MOST];
        let result = lzokay::decompress::decompress(block, &mut made);
        // How long the mark at the end says that it is, which it is not, matters to it, and not to the stub.
        if result == Err(lzokay::Error::Error) {
            return;
        }
        let len = result.unwrap_or(usize::from(how));
        made.truncate(len);
        // What did not shrink stands there as it is.
        let stored = if result.is_ok() && block.len() >= len { &made[..] } else { block };
        let is_good = result.is_ok() || block.len() == len;
        let plain = if result.is_ok() { &made[..] } else { block };
        if len == 0 {
            // A block without bytes is the end.
            return;
        }
        packed.extend((len as u32).to_be_bytes());
        packed.extend((stored.len() as u32).to_be_bytes());
        sum_at = Some(packed.len());
        packed.extend(sum(plain));
        packed.extend(stored);
        theirs = theirs.filter(|_| is_good);
        if let Some(theirs) = &mut theirs {
            theirs.extend(plain);
        }
    }
    packed.extend([0; 4]);
    let theirs = theirs.filter(|made| made.len() <= MOST);
    let by_stub: Decoder = |packed, output, _| lzo::unpack(packed, output);
    both(by_stub, &packed, theirs.as_deref(), how);
    if let (Some(at), Some(made)) = (sum_at, theirs) {
        packed[at + usize::from(how >> 2 & 3)] ^= 1 << (how >> 4 & 7);
        assert!(ours(by_stub, &packed, made.len()).is_err(), "the sum is wrong");
    }
}

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn initialize() {
    const ALL: [(&str, fn(&[u8])); 11] = [
        ("unxz", unxz),
        ("lzma2", lzma2),
        ("ungzip", ungzip),
        ("unlz4", unlz4),
        ("unzstd", unzstd),
        ("unlzma", unlzma),
        ("unlzo", unlzo),
        ("places", loader::places),
        ("told", loader::told),
        ("tables", loader::tables),
        ("sections", loader::sections),
    ];
    let wanted = std::env::var("TARGET").unwrap_or_default();
    let target = ALL.iter().find(|(name, _)| *name == wanted);
    let _ = TARGET.set(target.unwrap_or_else(|| panic!("TARGET: known are {}", ALL.map(|(name, _)| name).join(" "))).1);
}

fuzz_target!(init: initialize(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        target(bytes);
    }
});
