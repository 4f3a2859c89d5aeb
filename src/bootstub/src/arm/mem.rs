//! What the compiler expects of a C library, by the names of ARM's EABI and by C's. A loop in Rust could be turned into a call
//! to itself.

core::arch::global_asm!(include_str!("mem.s"), options(raw));
