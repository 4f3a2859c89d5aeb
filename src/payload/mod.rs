//! Layer 5: what an image carries.

mod agreement;
pub mod flat;
pub mod kernel;
mod reloc_bytes;
pub mod search;

pub use agreement::{Agreement, Share, points_into};
pub use reloc_bytes::{FoundRelocs, RelocForm, emit_relocs, parse_relocs, relocs_behind};
