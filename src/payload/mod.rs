//! Room 5: what an image carries, and how the kernel's own build wraps it.

mod agreement;
pub mod flat;
pub mod kernel;
pub mod link;
mod object;
pub mod piggy;
mod reloc_bytes;
pub mod search;
pub mod tree;
mod words;
mod xz_wrap;

pub use agreement::{Agreement, Share, points_into};
pub use reloc_bytes::{FoundRelocs, RelocForm, emit_relocs, parse_relocs, relocs_behind};
pub use xz_wrap::{XzWrap, is_thumb};
