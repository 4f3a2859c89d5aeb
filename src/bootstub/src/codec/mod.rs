//! The decompressors of the boot stubs. What they unpack into is all the memory that they need, but for tables; they trust
//! nothing of what they unpack.
#![no_std]

#[cfg(any(feature = "gzip", feature = "xz"))]
#[path = "crc32.rs"]
pub mod crc32;
/// For payloads that have no sum of their own.
#[cfg(feature = "lz4")]
#[path = "xxh64.rs"]
pub mod xxh64;

#[cfg(feature = "gzip")]
#[path = "gzip.rs"]
mod codec;
#[cfg(feature = "lz4")]
#[path = "lz4.rs"]
mod codec;
#[cfg(feature = "lzma")]
#[path = "lzma.rs"]
mod codec;
#[cfg(feature = "lzo")]
#[path = "lzo.rs"]
mod codec;
#[cfg(feature = "xz")]
#[path = "xz.rs"]
mod codec;
#[cfg(feature = "zstd")]
#[path = "zstd.rs"]
mod codec;

#[cfg(any(
    feature = "gzip",
    feature = "lz4",
    feature = "lzma",
    feature = "lzo",
    feature = "xz",
    feature = "zstd"
))]
pub use codec::decompress;
