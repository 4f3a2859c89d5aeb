//! The xz decoder of the boot stub beside liblzma. A separate program: without the library there are few counters to clear and
//! to look at after each run, which here are short.
#![no_main]

#[path = "../../src/bootstub/src/crc32.rs"]
mod crc32;
#[path = "../../src/bootstub/src/codec/lzma2.rs"]
mod of_stub;
#[allow(dead_code)]
#[path = "../../src/bootstub/src/codec/xz.rs"]
mod xz;

use libfuzzer_sys::fuzz_target;
use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};
use std::cell::RefCell;
use std::sync::OnceLock;

/// Bytes that may come out of a stream.
const MOST: usize = 1 << 15;

thread_local! {
    static MODELS: RefCell<of_stub::Models> = const { RefCell::new(of_stub::Models::ZERO) };
    static XZ: RefCell<xz::Models> = const { RefCell::new(xz::Models::ZERO) };
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
    let mut output = vec![0xe8; len];
    let ours = XZ.with_borrow_mut(|models| xz::unpack(models, packed, &mut output)).map(|()| output);
    match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) => assert!(ours == theirs),
        (Ok(_), None) => panic!("liblzma does not take it"),
        // A filter or a check that this stub has no use for; what kimage packs it has to unpack.
        (Err(why), Some(_)) => assert!(why.contains("does not know"), "{why}, but liblzma takes it"),
        (Err(_), None) => (),
    }
}

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn initialize() {
    let target = match std::env::var("TARGET").as_deref() {
        Ok("unxz") => unxz,
        Ok("lzma2") => lzma2,
        _ => panic!("TARGET: known are unxz lzma2"),
    };
    let _ = TARGET.set(target);
}

fuzz_target!(init: initialize(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        target(bytes);
    }
});
