//! Room 5: what an image carries, and how the kernel's own build wraps it.

pub mod link;
mod object;
pub mod piggy;
mod reloc_bytes;
pub mod tree;
mod words;

pub use reloc_bytes::{RelocForm, emit_relocs};
