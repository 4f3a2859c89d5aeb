//! LZMA alone: properties, the sizes of dictionary and data, one stream with a mark at its end. There is no checksum. (The LZMA
//! specification of the LZMA SDK.)

#[allow(dead_code, reason = "the half of xz")]
#[path = "lzma2.rs"]
mod lzma2;

pub use lzma2::Models;

const HEADER_LEN: usize = 13;

#[inline(never)]
pub fn decompress(input: &[u8], output: &mut [u8], _heap: &'static mut [u8]) -> Result<(), &'static str> {
    static mut MODELS: Models = Models::ZERO;
    unpack(unsafe { &mut *core::ptr::addr_of_mut!(MODELS) }, input, output)
}

/// What `input` unpacks to must be as long as `output`, and nothing may stand behind it.
pub fn unpack(models: &mut Models, input: &[u8], output: &mut [u8]) -> Result<(), &'static str> {
    let (header, stream) = input.split_first_chunk::<HEADER_LEN>().ok_or("it is truncated")?;
    // That of the dictionary does not matter: it is all that was unpacked.
    let [properties, _, _, _, _, size @ ..] = header;
    let size = u64::from_le_bytes(*size);
    let is_marked = size == u64::MAX;
    if !is_marked && size != output.len() as u64 {
        return Err("it is too short");
    }
    lzma2::unpack_alone(models, *properties, stream, output, is_marked).ok_or("it is damaged")
}
