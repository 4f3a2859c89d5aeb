//! xz: one stream, with the x86 branch converter or without, CRC-32 or none.

use lzma_rust2::{Read, XzReader};

pub fn decompress(input: &[u8], output: &mut [u8], heap: &'static mut [u8]) -> Result<(), &'static str> {
    crate::heap::give(heap);
    let mut reader = XzReader::new(input, false);
    let mut done = 0;
    while done < output.len() {
        match reader.read(&mut output[done..]) {
            Ok(0) => return Err("it is too short"),
            Ok(len) => done += len,
            Err(_) => return Err("it is damaged"),
        }
    }
    // The check of the last block and the index stand behind the data.
    match reader.read(&mut [0]) {
        Ok(0) => Ok(()),
        _ => Err("it is damaged"),
    }
}
