//! LZ4's frame format, as `lz4 -9` writes it: the one that U-Boot reads.

use super::sink::ErrorCapture;
use super::{Codec, Parameters, Result, Sink};
use crate::bytes::len64;
use lz4::{BlockMode, BlockSize, ContentChecksum, Decoder, EncoderBuilder, liblz4::BlockChecksum};
use std::io::Write;

pub(super) fn compress(bytes: &[u8], parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    let level = parameters.level(Codec::Lz4Frame, 9, 1..=12, "1 to 12")?;
    let mut capture = ErrorCapture::new(out);
    let done = EncoderBuilder::new()
        .level(level)
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Independent)
        .block_checksum(BlockChecksum::NoBlockChecksum)
        .checksum(ContentChecksum::ChecksumEnabled)
        .auto_flush(true)
        .build(&mut capture)
        .and_then(|mut encoder| {
            let written = bytes.chunks(4 << 20).try_for_each(|block| encoder.write_all(block));
            written.and_then(|()| encoder.finish().1)
        });
    capture.result(Codec::Lz4Frame, done)
}

/// Checks the checksums of header, blocks and data, as far as the frame has them.
pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    let mut decoder = Decoder::new(bytes).map_err(|error| sink.damaged(0, error.to_string()))?;
    let used = sink.take(&mut decoder, |decoder| len64(bytes) - len64(decoder.reader()))?;
    // The decoder takes the end of the input for the end of the frame.
    match decoder.finish() {
        (_, Ok(())) => Ok(used),
        (_, Err(_)) => Err(sink.truncated(used)),
    }
}
