//! CRC-32 of gzip (RFC 1952), four bytes at a time: byte by byte, a large kernel's would take as long as LZ4 takes.

/// Reversed, as the bits of each byte are.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Four tables of what a byte does to the sum that many bytes later; made at run time, for the file has no room.
static mut TABLES: [u32; 4 * 256] = [0; 4 * 256];

pub fn crc32(bytes: &[u8]) -> u32 {
    let tables = unsafe { &mut *core::ptr::addr_of_mut!(TABLES) };
    for index in 0..tables.len() {
        tables[index] = match index.checked_sub(256) {
            None => (0..8).fold(index as u32, |sum, _| sum >> 1 ^ POLYNOMIAL & (sum & 1).wrapping_neg()),
            Some(before) => tables[before] >> 8 ^ tables[tables[before] as usize & 0xff],
        };
    }
    let mut sum = !0;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word) ^ sum;
        let of = |byte: usize| tables[(3 - byte) * 256 + ((word >> (8 * byte)) as usize & 0xff)];
        sum = of(0) ^ of(1) ^ of(2) ^ of(3);
    }
    for byte in rest {
        sum = sum >> 8 ^ tables[(sum as u8 ^ byte) as usize];
    }
    !sum
}
