//! The boards that come with kimage. Each file names the source of its numbers.

/// Name and text of each board file, by name; [`Board::parse`](super::Board::parse) reads the text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("amlogic-meson64", include_str!("boards/amlogic-meson64.toml")),
    ("beaglebone-black", include_str!("boards/beaglebone-black.toml")),
    ("cubieboard", include_str!("boards/cubieboard.toml")),
    ("pine64", include_str!("boards/pine64.toml")),
    ("qemu-arm-virt", include_str!("boards/qemu-arm-virt.toml")),
    ("qemu-arm64-virt", include_str!("boards/qemu-arm64-virt.toml")),
    ("qemu-malta", include_str!("boards/qemu-malta.toml")),
    ("qemu-riscv64-virt", include_str!("boards/qemu-riscv64-virt.toml")),
    ("raspberry-pi-2", include_str!("boards/raspberry-pi-2.toml")),
    ("raspberry-pi-3-arm64", include_str!("boards/raspberry-pi-3-arm64.toml")),
    ("rk3399", include_str!("boards/rk3399.toml")),
    ("stm32mp157-dk", include_str!("boards/stm32mp157-dk.toml")),
    ("visionfive-2", include_str!("boards/visionfive-2.toml")),
];
