//! For 32-bit firmware that starts a 64-bit kernel ("mixed mode"): see `mixed.s`. Of the stub's own modules it has EFI's way
//! in; then it puts the image where it would be loaded to, ends boot services, and enters the boot stub in it.
#![no_std]
#![no_main]
#![allow(dead_code, reason = "the boot stub's share")]

#[path = "../../stub/cmdline.rs"]
mod cmdline;
#[path = "../../stub/efi_text.rs"]
mod efi_text;
#[path = "../../stub/memory.rs"]
mod memory;
#[path = "../../stub/parameters.rs"]
mod parameters;

mod boot_params;
mod console;
mod efi;
mod mem;
mod message;
#[path = "no_paging.rs"]
mod paging;
mod place;
mod random;
mod shared;

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use parameters::Parameters;
use place::Decision;
use shared::{CMDLINE_MAX, base, bytes_mut, memory_len};

/// Cargo is to know that it is used.
const _: &str = include_str!("../stub.ld");
core::arch::global_asm!(
    include_str!("data.s"),
    include_str!("mixed.s"),
    include_str!("efi32.s"),
    options(att_syntax, raw)
);

/// A boot loader has loaded the image by the boot protocol: as it is in the file.
static IS_FLAT: AtomicBool = AtomicBool::new(false);

/// Where the image's boot stub would begin, were all as in the file: this program stands between the two.
fn parts(p: &Parameters) -> u64 {
    base() + memory_len() - p.payload_at
}

/// The boot stub itself will look.
fn is_whole(_: &Parameters, _: u64) -> bool {
    true
}

const DAMAGED: &str = "";

/// Puts the image to the kernel's place: from there on the boot stub finds it. Returns where that is.
///
/// # Safety
/// The memory that was decided for is there, and nobody else's.
unsafe fn copy(p: &Parameters, decision: &Decision, parts: u64) -> u64 {
    // As a program, it has its uninitialised memory behind it.
    let stub = if IS_FLAT.load(Relaxed) { parts } else { base() - p.stub_len };
    let loader_at = p.payload_at - memory_len();
    unsafe {
        bytes_mut(decision.at, loader_at).copy_from_slice(bytes_mut(stub, loader_at));
        let rest = p.file_len - loader_at;
        bytes_mut(decision.at + loader_at, rest).copy_from_slice(bytes_mut(base(), rest));
    }
    decision.at
}
