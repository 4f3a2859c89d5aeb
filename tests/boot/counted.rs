//! The loader's side, measured: instructions executed from the entry of an image (a bzImage's of 32 bits) to the kernel's first one. The count
//! is exact; the stub needs no more of them than the goals say.

use crate::counting::{Row, arms, counting_arm, counting_pc, instructions, pcs};
use crate::machine::pc;
use crate::support::{put, tempdir};
use std::path::{Path, PathBuf};

/// A boot sector of known length: from its first byte to behind the last, by arithmetic.
#[test]
fn a_program_of_known_length() {
    let Some(qemu) = counting_pc() else { return };
    let (turns, bytes) = (1000_u16, 300_u16);
    #[rustfmt::skip]
    let code = [
        &[0xfa][..],                     // 7c00: cli
        &[0x31, 0xc0],                   // 7c01: xor ax, ax
        &[0x8e, 0xc0],                   // 7c03: mov es, ax
        &[0xb9], &turns.to_le_bytes(),   // 7c05: mov cx, turns
        &[0x40],                         // 7c08: inc ax
        &[0xe2, 0xfd],                   // 7c09: loop 7c08
        &[0xbf, 0x00, 0x80],             // 7c0b: mov di, 8000
        &[0xb9], &bytes.to_le_bytes(),   // 7c0e: mov cx, bytes
        &[0xf3, 0xaa],                   // 7c11: rep stosb
        &[0x0f, 0x0b, 0x90, 0xeb, 0xfd], // 7c13: ud2; never came to
    ];
    let mut sector = code.concat();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    let dir = tempdir();
    let disk = put(dir.path(), "disk", &sector);
    let mut command = pc(&qemu, "pc", "Nehalem-v1", 1, 64);
    command.arg("-drive").arg(format!("format=raw,file={},if=ide", disk.display()));
    // Four, two a turn, two, and the string's: one a byte, and the look that finds nothing left.
    let wanted = 4 + 2 * u64::from(turns) + 2 + u64::from(bytes) + 1;
    for (from, to) in [("0x7c00", "0x7c13"), ("bytes:fa31c08ec0b9", "0x7c13"), ("0x7c00", "bytes:0f0b")] {
        assert_eq!(instructions(from, to, &command), wanted, "{from} to {to}");
    }
    assert_eq!(instructions("0x7c05", "0x7c0b", &command), 1 + 2 * u64::from(turns));
}

/// Every codec with the kernel of the corpus that has it, and none: no more than the goals.
#[test]
fn no_more_than_the_goals() {
    let dir = tempdir();
    let of = |qemu: Option<PathBuf>, rows: fn(&Path, &Path) -> Vec<Row>| qemu.map(|qemu| rows(&qemu, dir.path()));
    for row in [of(counting_pc(), pcs), of(counting_arm(), arms)].into_iter().flatten().flatten() {
        assert!(row.ratio() <= row.goal, "{}: {} of {}, more than {}", row.name, row.ours, row.theirs, row.goal);
    }
}
