//! Numbers that an attacker cannot guess, as far as a CPU without a running system has them.

use core::arch::x86_64::{__cpuid, _rdtsc};

fn rdrand() -> Option<u64> {
    if __cpuid(1).ecx & 1 << 30 == 0 {
        return None;
    }
    for _ in 0..10 {
        let (value, good): (u64, u8);
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) good, options(nomem, nostack));
        }
        if good != 0 {
            return Some(value);
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

/// A generator that begins with everything there is: RDRAND, the time stamp counter, the boot parameters.
pub struct Random(u64);

impl Random {
    pub fn new(seed: &[u8]) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for chunk in seed.chunks_exact(8) {
            let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            state = mix(state.rotate_left(7) ^ word);
        }
        Random(state)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = mix(self.0 ^ unsafe { _rdtsc() });
        self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ rdrand().unwrap_or(0));
        self.0
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }
}
