//! Layer 5: what an image carries.

pub(crate) mod agreement;
pub(crate) mod flat;
pub(crate) mod kernel;
mod reloc_bytes;
pub(crate) mod search;

pub use agreement::points_into;
pub use reloc_bytes::{FoundRelocs, RelocForm, emit_relocs, parse_relocs, relocs_behind};
