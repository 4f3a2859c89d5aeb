//! No compression: what a kernel without a decompressor of its own carries.

use super::{Parameters, Result, Sink};
use crate::bytes::len64;
use std::io::Write;

pub(super) fn compress(bytes: &[u8], _parameters: &Parameters, out: &mut dyn Write) -> Result<()> {
    Ok(out.write_all(bytes)?)
}

pub(super) fn decompress(bytes: &[u8], sink: &mut Sink<'_>) -> Result<u64> {
    sink.put(bytes)?;
    Ok(len64(bytes))
}
