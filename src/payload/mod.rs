//! Layer 5: what an image carries.

mod agreement;
pub(crate) mod flat;
pub(crate) mod kernel;
mod reloc_bytes;
pub(crate) mod search;

pub use agreement::{Agreement, Share, points_into};
pub use reloc_bytes::{FoundRelocs, RelocForm, emit_relocs, parse_relocs, relocs_behind};
