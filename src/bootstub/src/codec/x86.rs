//! The x86 branch converter of xz, backwards: calls and jumps had been made to name where they go, not how far, so that
//! the same target is the same bytes wherever it is called from.

/// Both 0xe8 (call) and 0xe9 (jump) are this, but for the lowest bit.
const CALL: u8 = 0xe8;
const LEN: usize = 5;

/// Is it what an address of ±16 MiB has for its highest byte?
fn is_sign(byte: u8) -> bool {
    byte == 0 || byte == 0xff
}

/// The next call or jump at or behind `at`: eight bytes at a time, for most are none.
fn find(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const CALLS: u64 = u64::from_ne_bytes([CALL; 8]);
    const BUT_LOWEST: u64 = u64::from_ne_bytes([0xfe; 8]);
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        // Bytes that are zero now were calls; the lowest that borrows is one.
        let word = (u64::from_le_bytes(*word) ^ CALLS) & BUT_LOWEST;
        let found = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| byte & 0xfe == CALL).map(|index| at + index)
}

/// Undoes it in all of `bytes`; the first stood at `start` for the converter.
///
/// What looks like a call inside another's address is most likely none. `near` has the bytes before one that looked
/// like a call and were not converted: bit 0 for the byte right before, up to bit 2.
pub fn undo(bytes: &mut [u8], start: u32) {
    let Some(last) = bytes.len().checked_sub(LEN) else { return };
    let (mut at, mut before, mut near) = (0, None, 0u32);
    while let Some(call) = find(bytes, at).filter(|call| *call <= last) {
        let gap = before.map_or(usize::MAX, |before| call - before);
        near = if gap > 3 { 0 } else { near << (gap - 1) & 7 };
        before = Some(call);
        at = call + 1;
        let Some((_, operand)) = bytes[call..call + LEN].split_first_mut() else { return };
        let Ok(operand) = <&mut [u8; 4]>::try_from(operand) else { return };
        // Which byte of the address the nearest of them would have for its highest.
        let highest = match near {
            0 => 0,
            1 => 1,
            2 | 3 => 2,
            _ => 3,
        };
        let is_call = match near {
            0 => true,
            1 | 2 | 4 => !is_sign(operand[3 - highest]),
            _ => false,
        };
        if !is_call || !is_sign(operand[3]) {
            near = near << 1 | 1;
            continue;
        }
        let here = start.wrapping_add(call as u32).wrapping_add(LEN as u32);
        let mut address = u32::from_le_bytes(*operand);
        let distance = loop {
            let distance = address.wrapping_sub(here);
            if near == 0 || !is_sign((distance >> (24 - 8 * highest)) as u8) {
                break distance;
            }
            address = distance ^ (!0u32 >> (8 * highest));
        };
        // 25 bits with a sign.
        *operand = ((distance << 7) as i32 >> 7).to_le_bytes();
        at = call + LEN;
    }
}
