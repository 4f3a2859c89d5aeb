//! What the compiler expects of a C library. A loop in Rust could be turned into a call to itself.

use core::arch::asm;

/// What the string instructions move at a time.
const WORD: usize = size_of::<usize>();

/// Copies up to 16 bytes by their first and their last half, which may overlap; all is read before anything is written.
macro_rules! both_ends {
    ($number:ty, $to:ident, $from:ident, $len:ident) => {{
        let last = $len - size_of::<$number>();
        let first_half = $from.cast::<$number>().read_unaligned();
        let last_half = $from.add(last).cast::<$number>().read_unaligned();
        $to.cast::<$number>().write_unaligned(first_half);
        $to.add(last).cast::<$number>().write_unaligned(last_half);
    }};
}

/// Much that is copied is short, and a repeated instruction takes long to begin.
#[inline(always)]
unsafe fn short(to: *mut u8, from: *const u8, len: usize) {
    unsafe {
        match len {
            8..=16 => both_ends!(u64, to, from, len),
            4..8 => both_ends!(u32, to, from, len),
            2..4 => both_ends!(u16, to, from, len),
            1 => to.write(from.read()),
            _ => (),
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    match len {
        17.. => unsafe { copy(to, from, len) },
        _ => unsafe { short(to, from, len) },
    }
    to
}

/// More than a word, forwards; the last one again with those before it.
#[inline(always)]
unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    unsafe {
        // Read first: when the places overlap, it may be written to.
        let last = from.add(len - WORD).cast::<usize>().read_unaligned();
        #[cfg(target_arch = "x86_64")]
        asm!("rep movsq", inout("rcx") len / WORD => _, inout("rdi") to => _, inout("rsi") from => _,
             options(nostack, preserves_flags));
        // ESI is the compiler's: nobody else can name it, and it may have any operand in it that has no register of its own.
        #[cfg(target_arch = "x86")]
        asm!("xchg esi, eax", "rep movsd", "mov esi, eax", inout("eax") from => _, inout("ecx") len / WORD => _,
             inout("edi") to => _, options(nostack, preserves_flags));
        to.add(len - WORD).cast::<usize>().write_unaligned(last);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    unsafe {
        if len <= 16 {
            short(to, from, len);
        } else if (to as usize).wrapping_sub(from as usize) >= len {
            copy(to, from, len);
        } else {
            let first = from.cast::<usize>().read_unaligned();
            let last = len - WORD;
            #[cfg(target_arch = "x86_64")]
            asm!("std", "rep movsq", "cld", inout("rcx") len / WORD => _, inout("rdi") to.add(last) => _,
                 inout("rsi") from.add(last) => _, options(nostack));
            #[cfg(target_arch = "x86")]
            asm!("xchg esi, eax", "std", "rep movsd", "cld", "mov esi, eax", inout("eax") from.add(last) => _,
                 inout("ecx") len / WORD => _, inout("edi") to.add(last) => _, options(nostack));
            to.cast::<usize>().write_unaligned(first);
        }
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    unsafe {
        let (mut at, word) = (to, usize::from(value as u8) * (usize::MAX / 0xff));
        #[cfg(target_arch = "x86_64")]
        asm!("rep stosq", inout("rcx") len / WORD => _, inout("rdi") at, in("rax") word, options(nostack, preserves_flags));
        #[cfg(target_arch = "x86")]
        asm!("rep stosd", inout("ecx") len / WORD => _, inout("edi") at, in("eax") word, options(nostack, preserves_flags));
        #[cfg(target_arch = "x86_64")]
        asm!("rep stosb", inout("rcx") len % WORD => _, inout("rdi") at => _, in("al") value as u8,
             options(nostack, preserves_flags));
        #[cfg(target_arch = "x86")]
        asm!("rep stosb", inout("ecx") len % WORD => _, inout("edi") at => _, in("al") value as u8,
             options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    for index in 0..len {
        // Volatile, or the compiler makes this loop a call to memcmp.
        let (a, b) = unsafe { (a.add(index).read_volatile(), b.add(index).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    unsafe { memcmp(a, b, len) }
}
