//! Room 5: what the image carries, and how the kernel's own build wraps it.

mod object;
pub mod piggy;
