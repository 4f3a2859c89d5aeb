//! What the compiler expects of a C library. A loop in Rust could be turned into a call to itself.

use core::arch::asm;

/// Copies up to 16 bytes by their first and their last half, which may overlap.
macro_rules! both_ends {
    ($number:ty, $to:ident, $from:ident, $len:ident) => {{
        let last = $len - size_of::<$number>();
        let first_half = $from.cast::<$number>().read_unaligned();
        let last_half = $from.add(last).cast::<$number>().read_unaligned();
        $to.cast::<$number>().write_unaligned(first_half);
        $to.add(last).cast::<$number>().write_unaligned(last_half);
    }};
}

/// Matches are short, and a repeated instruction takes long to begin. (The decoder of gzip copies them itself.)
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    unsafe {
        match len {
            _ if cfg!(feature = "gzip") => copy(to, from, len),
            8..=16 => both_ends!(u64, to, from, len),
            4..8 => both_ends!(u32, to, from, len),
            2..4 => both_ends!(u16, to, from, len),
            1 => to.write(from.read()),
            _ => copy(to, from, len),
        }
    }
    to
}

/// Forwards, a byte at a time as far as anybody can see.
#[cfg(target_arch = "x86_64")]
unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
             options(nostack, preserves_flags));
    }
}

/// The same; CPUs of 32 bits copy words four times as fast as bytes. ESI is the compiler's: nobody else can name it, and
/// it may have any operand in it that has no register of its own.
#[cfg(target_arch = "x86")]
unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    unsafe {
        asm!("xchg esi, eax", "mov edx, ecx", "shr ecx, 2", "rep movsd", "mov ecx, edx", "and ecx, 3", "rep movsb",
             "mov esi, eax", inout("eax") from => _, inout("ecx") len => _, out("edx") _, inout("edi") to => _,
             options(nostack));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= len {
        unsafe { copy(to, from, len) };
        return to;
    }
    let (last_to, last_from) = (to.wrapping_add(len).wrapping_sub(1), from.wrapping_add(len).wrapping_sub(1));
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") len => _, inout("rdi") last_to => _, inout("rsi") last_from => _,
             options(nostack));
    }
    #[cfg(target_arch = "x86")]
    unsafe {
        asm!("xchg esi, eax", "std", "rep movsb", "cld", "mov esi, eax", inout("eax") last_from => _,
             inout("ecx") len => _, inout("edi") last_to => _, options(nostack));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") value as u8,
             options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "x86")]
    unsafe {
        asm!("rep stosb", inout("ecx") len => _, inout("edi") to => _, in("al") value as u8,
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
