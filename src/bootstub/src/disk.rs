//! kimage's boot sector and loader for PCs with a BIOS: all of it is assembly.
#![no_std]
#![no_main]

/// Cargo is to know that it is used.
const _: &str = include_str!("../disk.ld");
core::arch::global_asm!(include_str!("disk.s"), options(att_syntax, raw));
core::arch::global_asm!(include_str!("puts.s"), options(att_syntax, raw));

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
