//! Room 8: will it boot there? The memory that a boot really takes, on a board that a file describes.
//!
//! [`Board`] is what the file says ([`SHIPPED`] are there already), [`memory`] computes the uses of the memory by U-Boot's and the kernels' own rules,
//! [`lint`] compares them.

mod board;
mod memory;
mod shipped;

pub use board::{Area, Board, Environment, Loader};
pub use memory::{Role, Use, memory};
pub use shipped::SHIPPED;

use crate::bytes::{Align, len64};
use crate::codec::Codec;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::format::Format;

/// What is to be booted.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// The image: uImage, FIT, zImage, Image (also compressed) or bzImage.
    pub image: &'a [u8],
    /// The device tree that the boot script loads to `fdt_addr_r`.
    pub dtb: Option<&'a [u8]>,
    /// The ramdisk that it loads to `ramdisk_addr_r`.
    pub ramdisk: Option<&'a [u8]>,
}

/// What came of it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Linted {
    /// The board.
    pub board: String,
    /// What uses the memory, by address.
    pub memory: Vec<Use>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Granule of proposed addresses: what every script in the field keeps to, and enough for arm64 and RISC-V.
const PROPOSED: u64 = 2 << 20;

/// Checks the boot of `files` on `board`.
///
/// # Errors
/// [`crate::Error`] when the image is damaged; what is not right for the board is a finding.
pub fn lint(board: &Board, files: &Files<'_>) -> Result<Linted> {
    let (mut uses, mut findings) = memory(board, files)?;
    findings.extend(limits(board, files));
    for area in &board.reserved {
        uses.push(Use { what: area.name.clone(), start: area.start, size: area.size, role: Role::Reserved });
    }
    for using in uses.iter().filter(|using| using.role != Role::Reserved) {
        let inside = |area: &Area| area.start <= using.start && using.end() <= area.start.saturating_add(area.size);
        if !board.ram.iter().any(inside) {
            let ram: Vec<String> = board.ram.iter().map(Area::to_string).collect();
            let message = format!("{using} is outside of the RAM ({})", ram.join(", "));
            findings.push(Finding::new("lint.ram", Severity::Error, message).with_help(proposal(board, &uses, using)));
        }
    }
    for (index, one) in uses.iter().enumerate() {
        for other in uses.iter().skip(index + 1) {
            if one.overlaps(other) && clash(board, one, other) {
                let message = format!("{one} and {other} overlap");
                let movable = if other.role.variable().is_some() { other } else { one };
                let help = proposal(board, &uses, movable);
                findings.push(Finding::new("lint.overlap", Severity::Error, message).with_help(help));
            }
        }
    }
    uses.sort_by_key(|using| (using.start, using.size));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(Linted { board: board.name.clone(), memory: uses, findings })
}

/// Must these two not share memory?
fn clash(board: &Board, one: &Use, other: &Use) -> bool {
    use Role::{Copied, DeviceTree, Image, Ramdisk, Reserved, Running, Unpacked};
    let either = |role: Role| one.role == role || other.role == role;
    let both = |a: Role, b: Role| (one.role, other.role) == (a, b) || (one.role, other.role) == (b, a);
    if either(Reserved) {
        return true;
    }
    // U-Boot copies tree and ramdisk out of the way before the kernel runs, unless it is told to leave them.
    if either(Running) {
        return (either(DeviceTree) && board.env.fdt_in_place()) || (either(Ramdisk) && board.env.initrd_in_place());
    }
    // What is only copied may be copied over itself.
    !both(Image, Copied) && !both(Unpacked, Copied) && one.role != other.role
}

/// Where else it could go.
fn proposal(board: &Board, uses: &[Use], movable: &Use) -> String {
    let Some(variable) = movable.role.variable() else {
        return "change the load address of the image, or the addresses of what is in its way".to_owned();
    };
    let others: Vec<&Use> = uses.iter().filter(|using| using.role != movable.role).collect();
    let free = |start: u64| {
        let candidate = Use { start, ..movable.clone() };
        let fits = |area: &Area| area.start <= start && candidate.end() <= area.start.saturating_add(area.size);
        board.ram.iter().any(fits) && !others.iter().any(|other| other.overlaps(&candidate))
    };
    let align = Align::new(PROPOSED).unwrap_or(Align::PAGE);
    // The nearest place behind something that is there, or at the start of a bank.
    let starts = others.iter().map(|other| other.end()).chain(board.ram.iter().map(|area| area.start));
    let found = starts.filter_map(|start| align.up(start)).filter(|start| free(*start)).min();
    match found {
        Some(start) => format!("setenv {variable} {start:#x}"),
        None => format!("make it smaller: no place in the RAM is free for its {} bytes", movable.size),
    }
}

/// What the loader can, and what fits the flash.
fn limits(board: &Board, files: &Files<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let size = len64(files.image);
    let mut limits: Vec<(String, u64)> =
        board.kernel_max.map(|max| ("the kernel".to_owned(), max)).into_iter().collect();
    limits.extend(
        board.flash.iter().filter(|area| area.name == "kernel").map(|area| ("partition kernel".into(), area.size)),
    );
    for (what, max) in limits {
        if size > max {
            let message = format!("the image has {size} bytes, {what} may have {max}");
            let help = "compress it harder (xz, lzma), or leave drivers out";
            findings.push(Finding::new("lint.size", Severity::Error, message).with_help(help));
        }
    }
    findings
}

/// A word of the loader's lists for what an image is.
fn format_word(format: Option<Format>) -> &'static str {
    match format {
        Some(Format::UImage) => "uimage",
        Some(Format::Fit) => "fit",
        Some(Format::ZImage) => "zimage",
        Some(Format::Image64(_)) => "image",
        Some(Format::BzImage) => "bzimage",
        Some(Format::Elf) => "elf",
        Some(Format::Compressed(_)) => "image",
        Some(Format::Zboot | Format::Uki | Format::Pe) => "efi",
        Some(Format::Android) => "android",
        Some(Format::Fdt | Format::Cpio) | None => "raw",
    }
}

/// U-Boot's word for a codec.
fn codec_word(codec: Codec) -> &'static str {
    match codec {
        Codec::Lz4Frame | Codec::Lz4Legacy => "lz4",
        codec => codec.name(),
    }
}
