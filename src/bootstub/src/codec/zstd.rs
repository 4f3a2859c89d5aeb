//! zstd: RFC 8878, straight into the kernel's place.

use structured_zstd::decoding::{ContentChecksum, FrameDecoder};

#[inline(never)]
pub fn decompress(input: &[u8], output: &mut [u8], heap: &'static mut [u8]) -> Result<(), &'static str> {
    crate::heap::give(heap);
    let mut decoder = FrameDecoder::new();
    decoder.set_content_checksum(ContentChecksum::Verify);
    let len = decoder.decode_all(input, output).map_err(|_| "it is damaged")?;
    if len != output.len() {
        return Err("it is too short");
    }
    Ok(())
}
