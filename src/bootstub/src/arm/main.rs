//! kimage's boot stub for ARM: unpacks a kernel and starts it.
//!
//! `head.s` has the ways in and out, and calls two functions here: [`decide`] where the loader put the image, and [`unpack`] in
//! the copy of the stub behind it. Where things go, and what becomes of device trees, is the library's own code (`../../../stub`),
//! so that the packer and the tests run the same.
#![no_std]
#![no_main]

#[allow(dead_code, reason = "the packer's half")]
#[path = "../../../stub/arm.rs"]
mod arm;
#[path = "../../../stub/arm_tree.rs"]
mod arm_tree;
mod console;
mod mem;

use arm::{ArmParameters, GROWTH, Machine, PLAIN, Span, TABLES};
use arm_tree::{TREE_MAGIC, Tags, Tree, be32};
use console::halt;
use kimage_bootcodec::decompress;

core::arch::global_asm!(include_str!("head.s"), options(raw));

/// A boot loader's list of tags is no longer.
const TAGS_MAX: u32 = 16 << 10;
/// A device tree is no longer.
const TREE_MAX: u32 = 16 << 20;

/// # Safety
/// Nobody else uses this memory.
unsafe fn bytes_mut(start: u32, len: u32) -> &'static mut [u8] {
    unsafe { core::slice::from_raw_parts_mut(start as *mut u8, len as usize) }
}

fn bytes(start: u32, len: u32) -> &'static [u8] {
    unsafe { bytes_mut(start, len) }
}

/// What the packer wrote, behind the magic number.
fn parameters(image: u32) -> &'static ArmParameters {
    // SAFETY: any words are parameters, and nobody writes them any more.
    unsafe { &*((image + arm::AT as u32 + 8) as *const ArmParameters) }
}

/// The device tree at an address, if there is one.
fn tree_at(at: u32) -> Option<Tree<'static>> {
    if at == 0 || at % 4 != 0 || be32(bytes(at, 4), 0)? != TREE_MAGIC {
        return None;
    }
    let len = be32(bytes(at, 8), 4)?;
    if len > TREE_MAX { None } else { Tree::read(bytes(at, len)) }
}

/// The boot loader's tags, if it has some.
fn tags_at(at: u32) -> Option<Tags<'static>> {
    // They have no magic number to begin with, and address 0 is memory on some boards.
    if at % 4 != 0 { None } else { Tags::read(bytes(at, TAGS_MAX)) }
}

/// Where the loader put the image: finds memory and decides. Writes where kernel, image, memory and the copy of the stub are,
/// and whether caches can be turned on at once. Returns how many bytes are to be moved.
#[unsafe(no_mangle)]
extern "C" fn decide(base: u32, boot: u32, out: &mut [u32; 5]) -> u32 {
    let p = parameters(base);
    let appended = tree_at(base + p.image_len);
    let tree_len = appended.map_or(0, |tree| tree.len() as u32);
    let mut machine = Machine::default();
    let given = tree_at(boot);
    if let Some(tree) = given {
        machine.tree = Span { start: boot, end: boot + tree.len() as u32 };
    }
    // As the kernel has it, an appended tree stands for the boot loader's.
    match (appended.or(given), if given.is_none() { tags_at(boot) } else { None }) {
        (tree, Some(tags)) => {
            machine = tags.machine;
            machine.tree = Span { start: boot, end: boot + tags.len as u32 };
            if machine.memory[0].end == 0 {
                let disk = machine.disk;
                tree.iter().for_each(|tree| tree.tell(&mut machine));
                machine.disk = disk;
            }
        }
        (Some(tree), None) => tree.tell(&mut machine),
        (None, None) => {}
    }
    let decision =
        arm::decide(p, &machine, base, tree_len).unwrap_or_else(|fault| halt(fault.text(), appended.or(given)));
    let tables = Span { start: decision.kernel - TABLES, end: decision.kernel };
    let [.., end] = arm::work(p, arm::behind(base + p.image_len + tree_len), tree_len);
    let is_free = end <= tables.start || tables.end <= base;
    *out = [decision.kernel, decision.image, decision.memory, decision.run, is_free.into()];
    if decision.image == base { 0 } else { p.image_len + tree_len }
}

/// In the copy: unpacks the kernel, and merges tags into an appended device tree. Returns what the kernel gets, and in the
/// upper half the end of the memory that was written.
#[unsafe(no_mangle)]
extern "C" fn unpack(image: u32, boot: u32, kernel: u32, run: u32) -> u64 {
    let p = parameters(image);
    let tree_at_end = image + p.image_len;
    let appended = tree_at(tree_at_end);
    let tree_len = appended.map_or(0, |tree| tree.len() as u32);
    let [tree_to, heap_at, end] = arm::work(p, run, tree_len);
    let (given, mut tree) = (tree_at(boot), boot);
    if let Some(appended) = appended {
        tree = tree_at_end;
        if let Some(tags) = if given.is_none() { tags_at(boot) } else { None } {
            let to = unsafe { bytes_mut(tree_to, tree_len + GROWTH) };
            if arm_tree::merged(&appended, &tags, to).is_some() {
                tree = tree_to;
            }
        }
    }
    let payload = bytes(image + p.payload_at, p.payload_len);
    let unpacked = unsafe { bytes_mut(kernel, p.unpacked_len) };
    let result = if p.flags & PLAIN != 0 {
        match payload.len() == unpacked.len() {
            true => {
                unpacked.copy_from_slice(payload);
                Ok(())
            }
            false => Err("wrong length"),
        }
    } else {
        decompress(payload, unpacked, unsafe { bytes_mut(heap_at, p.heap_len) })
    };
    if let Err(why) = result {
        halt(why, appended.or(given));
    }
    if p.flags & PLAIN == 0 {
        // SAFETY: any bytes are words; the kernel begins at a multiple of 4.
        let (_, words, rest) = unsafe { unpacked.align_to::<u32>() };
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let sum = mem::summed(words);
        if arm::summed(sum, u32::from_le_bytes(last)) != p.sum {
            halt("its checksum is wrong", appended.or(given));
        }
    }
    u64::from(tree) | u64::from(end) << 32
}
