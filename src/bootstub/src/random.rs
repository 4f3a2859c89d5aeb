//! Numbers that an attacker cannot guess, as far as a CPU without a running system has them.

#[cfg(target_arch = "x86")]
use core::arch::x86::{__cpuid, _rdtsc};
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__cpuid, _rdtsc};

/// The time stamp counter, which every CPU of 64 bits has.
#[cfg(target_arch = "x86_64")]
fn time() -> u64 {
    unsafe { _rdtsc() }
}

/// The features that CPUID tells of: EDX and ECX. Zeros for a 486 without it.
#[cfg(target_arch = "x86")]
fn features() -> (u32, u32) {
    const ID: u32 = 1 << 21;
    let changed: u32;
    unsafe {
        core::arch::asm!(
            "pushfd", "pop {0}", "mov {1}, {0}", "xor {0}, {id}", "push {0}", "popfd", "pushfd", "pop {0}", "push {1}",
            "popfd", "xor {0}, {1}", out(reg) changed, out(reg) _, id = const ID,
        );
    }
    if changed & ID == 0 {
        return (0, 0);
    }
    let found = __cpuid(1);
    (found.edx, found.ecx)
}

/// The time stamp counter; without one the timer has to do.
#[cfg(target_arch = "x86")]
fn time() -> u64 {
    const TSC: u32 = 1 << 4;
    if features().0 & TSC != 0 { unsafe { _rdtsc() } } else { 0 }
}

/// The count of the PC's timer, which goes by a clock of its own; and how long ports took to tell.
fn timer() -> u64 {
    let (low, high): (u8, u8);
    unsafe {
        // Latches the count of the first channel.
        core::arch::asm!("out 0x43, al", in("al") 0u8, options(nostack, preserves_flags));
        core::arch::asm!("in al, 0x40", out("al") low, options(nostack, preserves_flags));
        core::arch::asm!("in al, 0x40", out("al") high, options(nostack, preserves_flags));
    }
    u64::from(u16::from_le_bytes([low, high])) ^ time().rotate_left(32)
}

#[cfg(target_arch = "x86_64")]
fn has_rdrand() -> bool {
    __cpuid(1).ecx & 1 << 30 != 0
}

#[cfg(target_arch = "x86")]
fn has_rdrand() -> bool {
    features().1 & 1 << 30 != 0
}

fn rdrand() -> Option<u64> {
    if !has_rdrand() {
        return None;
    }
    for _ in 0..10 {
        let (value, good): (usize, u8);
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) good, options(nomem, nostack));
        }
        if good != 0 {
            return Some(value as u64);
        }
    }
    None
}

/// Mixes all bits of a number into all others (splitmix64's finish).
fn mix(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// A generator that begins with everything there is, as Linux's own decompressor does: RDRAND, the time stamp counter, the timer
/// of the PC where there is no RDRAND, and the seeds: the boot parameters, with the memory map in them, and what EFI has.
pub struct Random(u64);

impl Random {
    /// Of the seeds, whole words count.
    pub fn new(seeds: [&[u8]; 2]) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for chunk in seeds.into_iter().flat_map(|seed| seed.chunks_exact(8)) {
            let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            state = mix(state.rotate_left(7) ^ word);
        }
        Random(state)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = mix(self.0 ^ time());
        self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ rdrand().unwrap_or_else(timer));
        self.0
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }
}
