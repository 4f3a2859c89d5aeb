//! Compressors and decompressors, beside the commands that they replace.

mod oracles; // each reads what the other wrote; same bytes where promised; hostile streams fail in bounded memory
mod told; // a stream tells codec and parameters; damaged headers say where
mod unlz4; // the boot stubs' LZ4 decoder unpacks what lz4 packs, any sequences as liblz4, and stops at damage; its sum
mod unlzma; // zboot's LZMA decoder unpacks what liblzma packs and stops at damage
mod unlzo; // zboot's LZO decoder unpacks what lzop packs and stops at damage
mod unxz; // the boot stub's xz decoder unpacks what liblzma packs and stops at damage
mod unzstd; // the boot stub's zstd decoder unpacks what libzstd packs and stops at damage

#[path = "../support/mod.rs"]
mod support;
// The file of the boot stub that its xz decoder expects at the root of a crate.
#[path = "../../src/bootstub/src/codec/crc32.rs"]
#[allow(unsafe_code, unreachable_pub, clippy::incompatible_msrv, reason = "the stub's own file")]
#[allow(clippy::deref_addrof, clippy::missing_transmute_annotations, reason = "the stub's own file")]
mod crc32;
