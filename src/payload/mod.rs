//! Room 5: what an image carries.

mod reloc_bytes;

pub use reloc_bytes::{RelocForm, emit_relocs};
