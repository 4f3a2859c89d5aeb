//! kimage's boot stub for x86: unpacks a kernel and starts it. Built twice: for CPUs of 64 bits, which start kernels of 64
//! and of 32 bits, and for CPUs of 32 bits (`target_arch = "x86"`).
//!
//! `head.s` (`head32.s`) has the ways in and out, and calls two functions here: [`prepare`] where the loader put the image, and
//! [`unpack`] in the copy behind the kernel's place. What decides about memory, and what puts the kernel into place,
//! is the library's own code (`../../stub`), so that the packer and the tests run the same.
//!
//! Everything here runs with memory mapped to itself: an address is a physical address.
#![no_std]
#![no_main]

#[path = "../../stub/cmdline.rs"]
mod cmdline;
#[cfg_attr(not(feature = "unified"), allow(dead_code, reason = "for unified kernel images"))]
#[path = "../../stub/efi_text.rs"]
mod efi_text;
#[path = "../../stub/load.rs"]
mod load;
#[allow(dead_code, reason = "the packer's half")]
#[path = "../../stub/memory.rs"]
mod memory;
#[allow(dead_code, reason = "the packer's half")]
#[path = "../../stub/parameters.rs"]
mod parameters;
#[cfg(feature = "unified")]
#[path = "../../stub/sections.rs"]
mod sections;

mod boot_params;
mod console;
mod efi;
mod mem;
mod message;
#[cfg_attr(target_arch = "x86", path = "no_paging.rs")]
mod paging;
mod place;
mod random;
mod shared;

use boot_params::{BootParams, KASLR_FLAG, at};
use console::Part::{Hex, Text};
use console::halt;
use kimage_bootcodec as codec;
use memory::{STEP, Span, align_up};
#[cfg(target_arch = "x86_64")]
use parameters::BITS32;
use parameters::{CMDLINE_OVERRIDES, PLAIN, Parameters};
use shared::{CMDLINE_MAX, base, bytes_mut, code, memory_len, read_parameters};

/// Cargo is to know that it is used.
const _: &str = include_str!("../stub.ld");
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    include_str!("entry.s"),
    include_str!("data.s"),
    include_str!("head.s"),
    options(att_syntax, raw)
);
#[cfg(target_arch = "x86")]
core::arch::global_asm!(
    include_str!("entry.s"),
    include_str!("data.s"),
    include_str!("head32.s"),
    include_str!("efi32.s"),
    options(att_syntax, raw)
);

unsafe extern "C" {
    /// What [`prepare`] decided; its copy is read by [`unpack`].
    static mut decided: [u64; 4];
    static _edata: u8;
}

/// Where the loader put the image: looks at the memory, decides, copies. Returns where the copy of the stub is.
#[unsafe(no_mangle)]
extern "C" fn prepare(page: *mut u8, load: usize, own_tables: usize) -> usize {
    let load = load as u64;
    let params = unsafe { BootParams::new(page) };
    console::init(params);
    let p = read_parameters();
    // A loader maps what the protocol promises, and its own tables may lie where the kernel goes.
    let mut tables = if own_tables != 0 { paging::Tables::of_head(code(base())) } else { paging::Tables::new() };
    place::map_inputs(&mut tables, params, Span::new(load, p.file_len));
    tables.code(code(base()));
    tables.load();
    if !is_whole(&p, load) {
        halt(&[Text(DAMAGED)]);
    }
    let decision = place::decide(&p, params, load);
    tables.map(decision.at, p.init_size);
    let run = unsafe { copy(&p, &decision, load) };
    // The way there.
    tables.code(code(run));
    tables.load();
    run as usize
}

/// For EFI's way in: in the file the payload stands where the uninitialised data is in memory.
fn parts(_: &Parameters) -> u64 {
    unsafe extern "C" {
        static _early_end: u8;
    }
    base() + memory_len() - ((&raw const _early_end) as u64 - base())
}

/// What is said of a payload whose sum is wrong.
const DAMAGED: &str = "the kernel cannot be unpacked: its checksum is wrong";

/// Is the payload as it was packed? Of those that have no sum themselves, the packer has told one.
fn is_whole(p: &Parameters, parts: u64) -> bool {
    #[cfg(feature = "lz4")]
    if p.has(parameters::SUMMED) {
        return codec::xxh64::xxh64(unsafe { bytes_mut(parts + p.payload_at, p.payload_len) }) == p.payload_sum;
    }
    let _ = (p, parts);
    true
}

/// Copies the stub, what it unpacks and the built-in RAM disk to behind the kernel's place. Returns where the copy of the
/// stub is. `parts`: what the places of payload and RAM disk count from.
///
/// The payload is left where it is when nothing goes there; and so is a kernel that is not compressed, but for the relocation
/// table behind it.
///
/// # Safety
/// The memory that was decided for is there, mapped, and nobody else's.
unsafe fn copy(p: &Parameters, decision: &place::Decision, parts: u64) -> u64 {
    let run = decision.at + p.run_at;
    let to = payload_to(run);
    let from = parts + p.payload_at;
    let is_free = !Span::new(from, p.payload_len).overlaps(&Span::new(decision.at, p.init_size));
    let (payload, stays) = match (p.has(PLAIN), is_free) {
        (true, _) => (from, table_at(p).min(p.payload_len)),
        (false, true) => (from, p.payload_len),
        (false, false) => (to, 0),
    };
    unsafe {
        (&raw mut decided).write_volatile([decision.at, decision.delta, u64::from(decision.random), payload]);
        let stub_len = (&raw const _edata) as u64 - base();
        bytes_mut(run, stub_len).copy_from_slice(bytes_mut(base(), stub_len));
        // The command line stands right behind the payload and its size trailer.
        let len = p.cmdline_at + p.cmdline_len - p.payload_at - stays;
        bytes_mut(to + stays, len).copy_from_slice(bytes_mut(from + stays, len));
        if p.initrd_len != 0 {
            let to = decision.at + p.initrd_to;
            bytes_mut(to, p.initrd_len).copy_from_slice(bytes_mut(parts + p.initrd_at, p.initrd_len));
        }
    }
    run
}

/// Where the relocation table stands in what was unpacked: the packer has made the ELF file no shorter than the kernel's
/// memory when a table follows.
fn table_at(p: &Parameters) -> u64 {
    p.elf_len.max(p.span)
}

/// Where the payload goes, behind a stub that runs at `run`.
fn payload_to(run: u64) -> u64 {
    align_up(run + memory_len(), STEP).unwrap_or(u64::MAX)
}

/// How head.s is to enter the kernel, in RAX and RDX.
#[cfg(target_arch = "x86_64")]
#[repr(C)]
struct Entry {
    at: u64,
    in_32_bits: u64,
}

/// The kernel's entry point, in EAX.
#[cfg(target_arch = "x86")]
type Entry = usize;

/// In the copy: unpacks the kernel, puts it into place, tells it what it must know.
#[unsafe(no_mangle)]
extern "C" fn unpack(page: *mut u8, run: usize) -> Entry {
    let run = run as u64;
    let params = unsafe { BootParams::new(page) };
    console::init(params);
    let p = read_parameters();
    let [at, delta, random, payload_at] = unsafe { (&raw const decided).read_volatile() };
    let mut tables = paging::Tables::new();
    place::map_inputs(&mut tables, params, Span::new(at, p.init_size));
    tables.map(payload_at, p.payload_len);
    tables.code(code(run));
    tables.load();

    let behind = payload_to(run);
    let cmdline_at = behind + (p.cmdline_at - p.payload_at);
    let heap_at = align_up(cmdline_at + p.cmdline_len, STEP).unwrap_or(u64::MAX);
    let heap = unsafe { bytes_mut(heap_at, p.heap_len) };
    let table_len = p.unpacked_len.saturating_sub(table_at(&p));
    let fault = |fault: load::Fault| -> ! { halt(&[Text(fault.text())]) };
    let (entry, image, table) = if p.has(PLAIN) {
        let entry = unsafe { move_plain(&p, payload_at, at) }.unwrap_or_else(|error| fault(error));
        let table = unsafe { bytes_mut(behind + table_at(&p), table_len) };
        (entry, unsafe { bytes_mut(at, p.span) }, table)
    } else {
        let payload = unsafe { bytes_mut(payload_at, p.payload_len) };
        let kernel = unsafe { bytes_mut(at, p.run_at) };
        if let Err(why) = codec::decompress(payload, &mut kernel[..p.unpacked_len as usize], heap) {
            halt(&[Text("the kernel cannot be unpacked: "), Text(why)]);
        }
        let (image, table) = kernel.split_at_mut(table_at(&p) as usize);
        let entry = load::segments(image, &p).unwrap_or_else(|error| fault(error));
        (entry, image, &mut table[..table_len as usize])
    };
    load::relocate(image, table, &p, delta).unwrap_or_else(|error| fault(error));

    let flags = params.u8(at::LOADFLAGS) & !KASLR_FLAG;
    params.set_u8(at::LOADFLAGS, if random != 0 { flags | KASLR_FLAG } else { flags });
    let verbose = cmdline::value(params.cmdline(CMDLINE_MAX), b"earlyprintk=").is_some();
    pass_built_in(&p, params, cmdline_at, at);
    if verbose {
        console::line(&[Text("kernel at "), Hex(at), Text(", moved by "), Hex(delta)]);
    }
    #[cfg(target_arch = "x86_64")]
    if !p.has(BITS32) {
        // Until it has tables of its own, which segments it executes and writes is its own affair.
        tables.map_kernel(at, p.init_size);
        tables.load();
    }
    #[cfg(target_arch = "x86_64")]
    return Entry { at: at + entry as u64, in_32_bits: u64::from(p.has(BITS32)) };
    #[cfg(target_arch = "x86")]
    return at as usize + entry;
}

/// Moves the segments of an ELF file to their places, once, though the file may reach into the kernel's memory. Between the
/// segments stays what stands there. Returns the entry point.
///
/// # Safety
/// Nobody else uses this memory, and the stub runs elsewhere.
unsafe fn move_plain(p: &Parameters, file: u64, at: u64) -> Result<usize, load::Fault> {
    let headers = load::Headers::read(unsafe { bytes_mut(file, p.payload_len) }, p)?;
    if p.payload_len != p.unpacked_len || !headers.in_one_piece() {
        return Err(load::Fault::Segment);
    }
    let places = |load: &load::Load| ((file + load.from as u64) as *const u8, (at + load.to as u64) as *mut u8);
    let move_one = |load: &load::Load| {
        let (from, to) = places(load);
        unsafe { from.copy_to(to, load.filesz) }
    };
    // None may run over one that still waits.
    match headers.loads().next().map(places) {
        Some((from, to)) if from < to => headers.loads().rev().for_each(move_one),
        _ => headers.loads().for_each(move_one),
    }
    for load in headers.loads() {
        unsafe { places(load).1.add(load.filesz).write_bytes(0, load.memsz - load.filesz) };
    }
    Ok(headers.entry)
}

/// Command line and RAM disk that are built in.
fn pass_built_in(p: &Parameters, params: BootParams, text_at: u64, at: u64) {
    static mut CMDLINE: [u8; CMDLINE_MAX] = [0; CMDLINE_MAX];
    if p.cmdline_len != 0 || p.has(CMDLINE_OVERRIDES) {
        let built_in: &[u8] = unsafe { bytes_mut(text_at, p.cmdline_len) };
        let loader = if p.has(CMDLINE_OVERRIDES) { &[] } else { params.cmdline(CMDLINE_MAX) };
        let buffer = unsafe { &mut *core::ptr::addr_of_mut!(CMDLINE) };
        // What the loader says comes last, and so wins. One zero is left at the end.
        let mut room = buffer[..CMDLINE_MAX - 1].iter_mut();
        for part in [built_in, if loader.is_empty() { b"" } else { b" " }, loader] {
            part.iter().zip(&mut room).for_each(|(from, to)| *to = *from);
        }
        params.set_cmdline_at(buffer.as_ptr() as u64);
    }
    if p.initrd_len != 0 {
        params.set_ramdisk(Span::new(at + p.initrd_to, p.initrd_len));
    }
}
