//! The CPU of code without any header, by the instructions that functions end with.

use crate::arch::Arch;
use crate::bytes::{Cursor, Endian, len64, slice};

/// An instruction that returns: the bits that count, what they are, and the length in bytes.
type Return = (u32, u32, u64);

/// Each CPU's returns, as the compilers and the kernels' assembler sources write them. The architecture manuals; binutils
/// 2.40, opcodes/.
const RETURNS: &[(Arch, &[Return])] = &[
    (Arch::Arm, ARM),
    (Arch::Arm, THUMB),
    (Arch::Arm64, &[(u32::MAX, 0xd65f_03c0, 4), (u32::MAX, 0xd65f_0bff, 4)]),
    (Arch::Riscv, &[(u32::MAX, 0x0000_8067, 4), (u32::MAX, 0x8082, 2)]),
    (Arch::LoongArch, &[(u32::MAX, 0x4c00_0020, 4)]),
    (Arch::Mips, &[(u32::MAX, 0x03e0_0008, 4), (u32::MAX, 0x03e0_0009, 4)]),
    (Arch::PowerPc, &[(u32::MAX, 0x4e80_0020, 4)]),
    (Arch::M68k, &[(u32::MAX, 0x4e75, 2)]),
    (Arch::MicroBlaze, &[(u32::MAX, 0xb60f_0008, 4)]),
    (Arch::Sh, &[(u32::MAX, 0x000b, 2)]),
    (Arch::Arc, &[(u32::MAX, 0x7ee0, 2)]),
    (Arch::Nios2, &[(u32::MAX, 0xf800_283a, 4)]),
    (Arch::OpenRisc, &[(u32::MAX, 0x4400_4800, 4)]),
    (Arch::Sparc, &[(u32::MAX, 0x81c3_e008, 4), (u32::MAX, 0x81c7_e008, 4)]),
    (Arch::S390, &[(u32::MAX, 0x07fe, 2)]),
];
/// `bx lr`, `mov pc, lr`, and loads of several registers, `pc` among them, from `sp` or `fp`.
const ARM: &[Return] = &[
    (u32::MAX, 0xe12f_ff1e, 4),
    (u32::MAX, 0xe1a0_f00e, 4),
    (0xffff_8000, 0xe8bd_8000, 4),
    (0xffff_8000, 0xe89d_8000, 4),
    (0xffff_8000, 0xe91b_8000, 4),
];
/// `bx lr`, and `pop` of `pc` with the registers that compilers save.
const THUMB: &[Return] = &[
    (u32::MAX, 0x4770, 2),
    (u32::MAX, 0xbd10, 2),
    (u32::MAX, 0xbd38, 2),
    (u32::MAX, 0xbd70, 2),
    (u32::MAX, 0xbdf0, 2),
    (u32::MAX, 0xbdf8, 2),
];

/// What functions' ends tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) arch: Arch,
    /// The instructions' byte order, which need not be the data's (BE8 of ARM).
    pub(super) endian: Endian,
    /// ARM's Thumb instructions.
    pub(super) is_thumb: bool,
}

/// The CPU whose returns stand in front of the most of `functions`, which are offsets in `bytes`. A few of each thousand
/// places look like another CPU's.
pub(super) fn code(bytes: &[u8], functions: &[u64], is_64: bool) -> Option<Code> {
    const SAMPLE: usize = 4096;
    const LEAST: usize = 16;
    let functions: Vec<u64> = functions.iter().step_by((functions.len() / SAMPLE).max(1)).copied().collect();
    let count = |endian, returns: &[Return]| {
        functions.iter().filter(|at| returns.iter().any(|it| is_behind(bytes, endian, it, **at))).count()
    };
    let x86 = (Arch::X86, Endian::Little, functions.iter().filter(|at| is_behind_x86(bytes, **at)).count());
    let orders = [Endian::Little, Endian::Big].into_iter();
    let others = orders
        .flat_map(|endian| RETURNS.iter().map(move |(arch, all)| (*arch, endian, *all)))
        .map(|(arch, endian, returns)| (arch, endian, count(endian, returns)));
    let mut all: Vec<_> = others.chain([x86]).collect();
    all.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    let [(arch, endian, most), (_, _, second), ..] = *all else { return None };
    let is_sure = most >= LEAST && most >= functions.len() / 16 && most / 2 > second;
    is_sure.then(|| Code {
        arch: match arch {
            Arch::Mips if is_64 => Arch::Mips64,
            Arch::Sparc if is_64 => Arch::Sparc64,
            Arch::X86 if is_64 => Arch::X86_64,
            arch => arch,
        },
        endian,
        is_thumb: arch == Arch::Arm && count(endian, THUMB) > most / 2,
    })
}

/// Does this instruction stand shortly in front of the function at `at`? Between them are alignment, the delay slot of a
/// return, constants.
fn is_behind(bytes: &[u8], endian: Endian, (mask, value, len): &Return, at: u64) -> bool {
    const BEFORE: u64 = 24;
    let before = at.checked_sub(BEFORE).and_then(|start| slice(bytes, start, BEFORE)).unwrap_or_default();
    let cursor = Cursor::new(before, endian);
    let mut places = (0..len64(before) / len).map(|index| index * len);
    places.any(|at| {
        let word = if *len == 4 { cursor.u32("code", at).ok() } else { cursor.u16("code", at).ok().map(u32::from) };
        word.is_some_and(|word| word & mask == *value)
    })
}

/// x86 has instructions of any length: `ret` is the last byte in front of the alignment, which is filled with `nop` and `lea`
/// of any length.
fn is_behind_x86(bytes: &[u8], at: u64) -> bool {
    const ALIGN: u64 = 16;
    let before = at.checked_sub(ALIGN).and_then(|start| slice(bytes, start, ALIGN)).unwrap_or_default();
    const FILL: &[u8] = b"\x90\xcc\0\x66\x2e\x0f\x1f\x40\x44\x80\x84\x8d\xb4\xb6\xbc\xbf\x74\x76\x26\x27\x89\xf6";
    before.iter().rev().find(|byte| !FILL.contains(byte)) == Some(&0xc3)
}
