//! Module 9: the kernel's own build (kbuild), from the finished vmlinux on: what it compresses, wraps, links and hands from
//! link to link, done with a finished build folder as the kernel's Makefiles do it.
//!
//! [`build`] is the whole way. Its parts are commands of their own: [`Piggy`] (mkpiggy and the assembler), [`voffset_header`]
//! (`zoffset.h`, `voffset.h`); [`LinkCommand`] and [`tree`] read what the build folder keeps.

mod build;
mod error;
mod folder;
mod link;
mod object;
pub(crate) mod offsets;
mod piggy;
mod rebuild;
mod rules;
pub(crate) mod tree;
mod vmlinux;
mod words;
mod xz_wrap;

pub use build::{Built, Request, build};
pub use error::{Error, LinkError, Result};
pub use folder::{BuildFolder, Image, Place};
pub use link::LinkCommand;
pub(crate) use offsets::{VOFFSET, ZOFFSET, offsets};
pub use offsets::{voffset_header, zoffset_header};
pub use piggy::{Piggy, Target};
pub(crate) use rules::RULES;
pub use tree::zoffsets;
pub use vmlinux::{Listing, list, relocs, strip, system_map};

pub use crate::elf::{Lists, RelocOptions, RemoveList, StripOptions};
pub use crate::payload::RelocForm;
