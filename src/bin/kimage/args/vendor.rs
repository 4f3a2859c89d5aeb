//! The options of `uimage` for vendors' boot loaders.

use super::{byte, hex, size};
use clap::Args;
use std::path::PathBuf;

/// What some vendors' boot loaders want. The boards are those of OpenWrt's recipes (target/linux/*/image).
#[derive(Debug, Args)]
#[command(next_help_heading = "For vendors' boot loaders")]
pub(crate) struct Vendor {
    /// Another magic number: 0x33373033 for Netgear WNDR3700v4, 0x36303030 for R6100, 0x83800000 for Zyxel GS1900-48,
    /// 0x93001250 for XGS1250-12, 0x12291000 for Youku X2 and YK-L1
    #[arg(long, value_name = "HEX", value_parser = hex32)]
    pub(crate) magic: Option<u32>,
    /// The 32 bytes of the name, hexadecimal, zeros behind it: for loaders that keep versions and sizes there
    #[arg(long, value_name = "HEX", value_parser = name_bytes, conflicts_with_all = ["name", "truncate_name"])]
    pub(crate) name_bytes: Option<[u8; 32]>,
    /// No data, only a header: Netgear's loaders look for one in front of the root file system (DM200, EX2700, WNDR4700)
    #[arg(long, conflicts_with_all = ["data", "compress", "append_dtb", "xip"])]
    pub(crate) empty: bool,
    /// Put this file at the very end, behind the padding; no checksum covers it
    #[arg(long, value_name = "FILE")]
    pub(crate) tail: Option<PathBuf>,
    /// Pad the file to a multiple of this, a power of two: flash blocks, as 64k
    #[arg(long, value_name = "SIZE", value_parser = align)]
    pub(crate) align: Option<kimage::bytes::Align>,
    /// Pad the file to this length
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) pad_to: Option<u64>,
    /// Pad with this byte [default: 0x00]
    #[arg(long, value_name = "BYTE", value_parser = byte, default_value = "0", hide_default_value = true)]
    pub(crate) fill: u8,
}

pub(super) fn hex32(text: &str) -> Result<u32, String> {
    u32::try_from(hex(text)?).map_err(|_| "wanted 32 bits, hexadecimal".to_owned())
}

fn name_bytes(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "wanted up to 32 bytes, as pairs of hexadecimal digits".to_owned();
    let mut name = [0; 32];
    if text.len() % 2 != 0 || text.len() > 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (index, byte) in name.iter_mut().enumerate().take(text.len() / 2) {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
    }
    Ok(name)
}

fn align(text: &str) -> Result<kimage::bytes::Align, String> {
    kimage::bytes::Align::new(size(text)?).ok_or_else(|| "wanted a power of two, as 64k".to_owned())
}
