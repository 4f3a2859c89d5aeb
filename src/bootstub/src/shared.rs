//! What the boot stub and the program for mixed mode both begin with.

use crate::console::Part::Text;
use crate::console::halt;
use crate::memory::Span;
use crate::parameters::{self, Parameters};

unsafe extern "C" {
    #[link_name = "parameters"]
    static WORDS: [u64; parameters::WORDS];
    static _end: u8;
}

/// The longest command line of a kernel, with its zero (`COMMAND_LINE_SIZE`).
pub const CMDLINE_MAX: usize = 2048;

/// What the packer wrote.
pub fn read_parameters() -> Parameters {
    // Not known to the compiler, and so not taken for what the linker had.
    Parameters::from_words(unsafe { &WORDS }).unwrap_or_else(|| halt(&[Text("this stub has no parameters")]))
}

/// From the stub's first byte in memory to behind its last.
pub fn memory_len() -> u64 {
    (&raw const _end) as u64 - base()
}

/// The code of the stub that is, or is going to be, at `base`.
pub fn code(base: u64) -> Span {
    unsafe extern "C" {
        static _data: u8;
    }
    Span::new(base, (&raw const _data) as u64 - self::base())
}

pub fn base() -> u64 {
    unsafe extern "C" {
        static startup_32: u8;
    }
    (&raw const startup_32) as u64
}

/// # Safety
/// Nobody else uses this memory.
pub unsafe fn bytes_mut(start: u64, len: u64) -> &'static mut [u8] {
    unsafe { core::slice::from_raw_parts_mut(start as *mut u8, len as usize) }
}
