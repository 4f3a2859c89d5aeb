//! Room 5: what the image carries, and how the kernel's own build wraps it.

pub mod link;
mod object;
pub mod piggy;
pub mod tree;
mod words;
