//! The branch converters of xz for ARM, arm64 and RISC-V, backwards: calls had been made to name where they go, not how far, so
//! that the same target is the same bytes wherever it is called from. (xz-file-format.txt 1.2.1, 5.3.2; each stub has its CPU's.)

/// `bytes` has a word at `at`.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

/// ARM: `BL` at multiples of 4.
#[allow(dead_code, reason = "each stub has its CPU's")]
pub fn arm(bytes: &mut [u8], start: u32) {
    let mut here = start.wrapping_add(8);
    for instruction in bytes.as_chunks_mut::<4>().0 {
        let word = u32::from_le_bytes(*instruction);
        if word >> 24 == 0xeb {
            let words = (word << 2).wrapping_sub(here) >> 2 & 0xff_ffff;
            *instruction = (word & 0xff00_0000 | words).to_le_bytes();
        }
        here = here.wrapping_add(4);
    }
}

/// Thumb: the pair of `BL`.
#[allow(dead_code, reason = "each stub has its CPU's")]
pub fn arm_thumb(bytes: &mut [u8], start: u32) {
    let mut at = 0;
    while at + 4 <= bytes.len() {
        let pair = word(bytes, at);
        if pair & 0xf800_f800 != 0xf800_f000 {
            at += 2;
            continue;
        }
        let target = (pair & 0x7ff) << 12 | (pair >> 16 & 0x7ff) << 1;
        let halves = target.wrapping_sub(start.wrapping_add(at as u32).wrapping_add(4)) >> 1;
        let pair = 0xf800_f000 | halves >> 11 & 0x7ff | (halves & 0x7ff) << 16;
        bytes[at..at + 4].copy_from_slice(&pair.to_le_bytes());
        at += 4;
    }
}

/// arm64: `BL`, and `ADRP` of ±512 MiB.
#[allow(dead_code, reason = "each stub has its CPU's")]
pub fn arm64(bytes: &mut [u8], start: u32) {
    let mut here = start;
    for instruction in bytes.as_chunks_mut::<4>().0 {
        let word = u32::from_le_bytes(*instruction);
        if word >> 26 == 0x25 {
            let words = word.wrapping_sub(here >> 2) & 0x03ff_ffff;
            *instruction = (0x9400_0000 | words).to_le_bytes();
        } else if word & 0x9f00_0000 == 0x9000_0000 {
            let page = word >> 29 & 3 | word >> 3 & 0x001f_fffc;
            if page.wrapping_add(0x0002_0000) & 0x001c_0000 == 0 {
                let pages = page.wrapping_sub(here >> 12);
                let sign = (pages & 0x0002_0000).wrapping_neg() & 0x00e0_0000;
                let new = word & 0x9000_001f | (pages & 3) << 29 | (pages & 0x0003_fffc) << 3 | sign;
                *instruction = new.to_le_bytes();
            }
        }
        here = here.wrapping_add(4);
    }
}

/// RISC-V: `JAL` with `ra` or `t0`, and `AUIPC` with the instruction that uses it. A pair that was converted has an `AUIPC` to `x2`
/// in front, which compilers do not write, with the register of the right one in its last bits and the address, big-endian, behind; what looked
/// so by itself has been hidden the other way round.
#[allow(dead_code, reason = "each stub has its CPU's")]
pub fn riscv(bytes: &mut [u8], start: u32) {
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let here = start.wrapping_add(at as u32);
        let first = word(bytes, at);
        if first & 0xdff == 0xef {
            let [_, one, two, three] = first.to_le_bytes().map(u32::from);
            let target = (one & 0xf0) << 13 | two << 9 | three << 1;
            let away = target.wrapping_sub(here);
            let new = [
                0xef,
                one & 0x0f | away >> 8 & 0xf0,
                away >> 16 & 0x0f | away >> 7 & 0x10 | away << 4 & 0xe0,
                away >> 4 & 0x7f | away >> 13 & 0x80,
            ];
            bytes[at..at + 4].copy_from_slice(&new.map(|byte| byte as u8));
            at += 4;
            continue;
        }
        if first & 0x7f != 0x17 {
            at += 2;
            continue;
        }
        let second = word(bytes, at + 4);
        let (one, two);
        if first & 0xe80 != 0 {
            if (first << 8 ^ second.wrapping_sub(3)) & 0xf8003 != 0 {
                at += 6;
                continue;
            }
            one = 0x17 | 2 << 7 | second << 12;
            two = (first & 0xffff_f000).wrapping_add(second >> 20);
        } else {
            let register = first >> 27;
            if first.wrapping_sub(0x3117) << 18 >= register & 0x1d {
                at += 4;
                continue;
            }
            let away = second.swap_bytes().wrapping_sub(here);
            one = 0x17 | register << 7 | away.wrapping_add(0x800) & 0xffff_f000;
            two = first >> 12 | away << 20;
        }
        bytes[at..at + 4].copy_from_slice(&one.to_le_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&two.to_le_bytes());
        at += 8;
    }
}
