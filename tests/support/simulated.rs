//! The memory of a machine that starts an image around kimage's own boot stub: a kernel for it, and what the stub's code,
//! which the packer shares, makes of the image.

#![allow(dead_code, unreachable_pub, reason = "a module of tests")]

use kimage::Error;
use kimage::assemble::{StandaloneRequest, bzimage_standalone};
use kimage::codec::Codec;
use kimage::internals::BzImage;
use load::{relocate, segments};
use memory::{Span, Taken, check_place};
use parameters::{LEN, MAGIC, PLAIN, Parameters, RELOCATABLE};
use std::ops::Range;

// What packer and boot stub share.
#[path = "../../src/stub/load.rs"]
pub mod load;
#[path = "../../src/stub/memory.rs"]
pub mod memory;
#[path = "../../src/stub/parameters.rs"]
pub mod parameters;

#[derive(Debug, Clone)]
pub struct Load {
    pub vaddr: u64,
    pub paddr: u64,
    pub bytes: Vec<u8>,
    pub memsz: u64,
}

/// An ELF file of these segments, in this order, with these program headers in this order.
pub fn elf(is_64: bool, entry: u64, loads: &[Load]) -> Vec<u8> {
    let word = |out: &mut Vec<u8>, value: u64| match is_64 {
        true => out.extend(value.to_le_bytes()),
        false => out.extend((value as u32).to_le_bytes()),
    };
    let (header, program) = if is_64 { (64_u16, 56_u16) } else { (52, 32) };
    let mut out = vec![0x7f, b'E', b'L', b'F', if is_64 { 2 } else { 1 }, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0];
    out.extend(if is_64 { 62_u16 } else { 3 }.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    word(&mut out, entry);
    word(&mut out, header.into());
    word(&mut out, 0);
    out.extend([0; 4]);
    for half in [header, program, loads.len() as u16, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    let mut offset = usize::from(header) + loads.len() * usize::from(program);
    for load in loads {
        out.extend(1_u32.to_le_bytes());
        if is_64 {
            out.extend(7_u32.to_le_bytes());
        }
        for value in [offset as u64, load.vaddr, load.paddr, load.bytes.len() as u64, load.memsz] {
            word(&mut out, value);
        }
        if !is_64 {
            out.extend(7_u32.to_le_bytes());
        }
        word(&mut out, 1);
        offset += load.bytes.len();
    }
    loads.iter().for_each(|load| out.extend(&load.bytes));
    out
}

/// What the stub would find and do; fails where it would refuse.
pub struct Simulated {
    pub parameters: Parameters,
    pub memory: Vec<u8>,
    pub entry: usize,
}

/// What the packer told the stub, and the offset in the file where it stands: behind `struct kernel_info`.
pub fn told(file: &[u8]) -> (Parameters, usize) {
    let magic = MAGIC.to_le_bytes();
    let is_there = |at: &usize| file[*at..].starts_with(&magic) && file[*at - 16..].starts_with(b"LToP");
    let at = (16..file.len() - LEN).step_by(16).find(is_there).expect("no parameters");
    let words: Vec<u64> =
        file[at..at + LEN].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    (Parameters::from_words(words[..].try_into().unwrap()).unwrap(), at)
}

/// Where the compressed kernel stands in the file, its size not counted.
pub fn payload(file: &[u8]) -> Range<usize> {
    let p = told(file).0;
    let start = (BzImage::parse(file).unwrap().setup().padded_len() + p.payload_at) as usize;
    start..start + p.payload_len as usize
}

pub fn simulate(file: &[u8], codec: Codec, load: u64, delta: u64) -> Simulated {
    let image = BzImage::parse(file).unwrap();
    let header = image.setup().header();
    let p = told(file).0;
    // The loader goes by the header.
    assert_eq!(u64::from(header.init_size.get()), p.init_size);
    assert_eq!(header.pref_address.get(), p.load_min);
    assert_eq!(u64::from(header.kernel_alignment.get()), p.align);
    assert_eq!(header.relocatable_kernel != 0, p.has(RELOCATABLE));
    assert_eq!(u64::from(header.syssize.get()) * 16, p.file_len);
    assert_eq!(file.len() as u64, image.setup().padded_len() + p.file_len);

    // There is memory for the file, and what init_size asks for, and not a byte more.
    let at = if p.has(RELOCATABLE) { load.next_multiple_of(p.align).max(p.load_min) } else { p.load_min };
    let ram = [Span::new(load, p.file_len), Span::new(at, p.init_size)];
    let around = [Span { start: 0, end: at.min(load) }, Span::new(at + p.init_size, 1 << 20)];
    let taken = around.map(|span| Taken { name: "something", span });
    let checked = |ram: &[Span], taken: &[Taken]| {
        check_place(&p, load, &|see| ram.iter().copied().for_each(see), &|see| taken.iter().copied().for_each(see))
    };
    assert_eq!(checked(&ram, &taken), Ok(at));
    let short = [Span::new(load, p.file_len), Span::new(at, p.init_size - 1)];
    assert!(checked(&short, &[]).is_err() || p.file_len + load >= at + p.init_size);

    let system = &file[image.setup().padded_len() as usize..];
    let payload = &system[p.payload_at as usize..][..p.payload_len as usize];
    let mut unpacked = Vec::new();
    assert_eq!(if p.has(PLAIN) { Codec::None } else { Codec::identify(payload).unwrap() }, codec);
    kimage::internals::decompress_one(codec, payload, p.unpacked_len, &mut unpacked).unwrap();
    assert_eq!(unpacked.len() as u64, p.unpacked_len);
    let mut memory = vec![0xaa; p.run_at as usize];
    memory[..unpacked.len()].copy_from_slice(&unpacked);
    let (image, table) = memory.split_at_mut(p.elf_len.max(p.span) as usize);
    let entry = segments(image, &p).unwrap();
    let table_len = p.unpacked_len.saturating_sub(p.elf_len.max(p.span)) as usize;
    relocate(image, &table[..table_len], &p, delta).unwrap();
    memory.truncate(p.span as usize);
    Simulated { parameters: p, memory, entry }
}

/// The memory that the program headers ask for.
pub fn wanted(loads: &[Load]) -> Vec<u8> {
    let start = loads.iter().map(|load| load.paddr).min().unwrap();
    let end = loads.iter().map(|load| load.paddr + load.memsz).max().unwrap();
    let mut memory = vec![0; (end - start) as usize];
    for load in loads {
        memory[(load.paddr - start) as usize..][..load.bytes.len()].copy_from_slice(&load.bytes);
    }
    memory
}

pub fn pack(kernel: &[u8], request: &StandaloneRequest<'_>) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    bzimage_standalone(kernel, request)?.emit(&mut out)?;
    Ok(out)
}
