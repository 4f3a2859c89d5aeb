//! Layer 8: will it boot there? The memory that a boot really takes, on a board that a file describes.
//!
//! [`Board`] is what the file says ([`SHIPPED`] are there already), [`memory`] computes the uses of the memory by U-Boot's and the kernels' own rules,
//! [`lint`] compares them.

mod board;
mod memory;
mod rules;
mod shipped;

pub use board::{Area, Board, Environment, Loader};
pub use memory::{Role, Use};

pub(crate) use rules::RULES;
pub use shipped::SHIPPED;

use memory::Decoded;

use crate::bytes::{Align, len64};
use crate::codec::Codec;
use crate::error::Result;
use crate::finding::{Finding, Severity};
use crate::format::Format;
use crate::format::uimage::comp_word;

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
    let mut decoded = Decoded::default();
    let (mut uses, mut findings) = memory::boot(board, files, None, &mut decoded)?;
    findings.extend(limits(board, files));
    findings.extend(memory::other_configurations(files.image));
    // Each proposal stands on those before it, so that who follows them all gets there.
    let mut way = Way { board: board.clone(), load: None };
    for problem in &problems(board, &uses) {
        let help = proposal(&mut way, files, problem, &mut decoded)?;
        findings.push(problem.finding(board).with_help(help));
    }
    for finding in findings.iter_mut().filter(|finding| finding.rule == rules::ALIGN.id) {
        if let Some(help) = aligned(&mut way, files, &mut decoded)? {
            finding.help = help.into();
        }
    }
    uses.sort_by_key(|using| (using.start, using.size));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(Linted { board: board.name.clone(), memory: uses, findings })
}

/// Memory that cannot be used so.
struct Problem<'u> {
    one: &'u Use,
    /// What it shares memory with; `None`: it is outside of the RAM.
    other: Option<&'u Use>,
}

impl Problem<'_> {
    fn finding(&self, board: &Board) -> Finding {
        let one = self.one;
        match self.other {
            Some(other) => rules::OVERLAP.finding(format!("{one} and {other} overlap")),
            None => {
                let ram: Vec<String> = board.ram.iter().map(Area::to_string).collect();
                let message = format!("{one} is outside of the RAM ({})", ram.join(", "));
                rules::RAM.finding(message)
            }
        }
    }
}

fn problems<'u>(board: &Board, uses: &'u [Use]) -> Vec<Problem<'u>> {
    let inside = |using: &Use| board.ram.iter().any(|area| area.start <= using.start && using.end() <= area.end());
    let outside = uses.iter().filter(|using| !matches!(using.role, Role::Reserved | Role::Loader) && !inside(using));
    let mut found: Vec<_> = outside.map(|one| Problem { one, other: None }).collect();
    // Of device trees there can be thousands, and they may lie where others do: only the rest is looked at pair by pair.
    let is_tree = |(_, using): &(usize, &Use)| using.role == Role::DeviceTree;
    let (trees, others): (Vec<_>, Vec<_>) = uses.iter().enumerate().partition(is_tree);
    let mut pairs = Vec::new();
    for (index, (at, one)) in others.iter().enumerate() {
        let rest = others.iter().skip(index + 1).chain(&trees);
        let clashing = rest.filter(|(_, other)| one.overlaps(other) && clash(board, one, other));
        pairs.extend(clashing.map(|(other, _)| ((*at).min(*other), (*at).max(*other))));
    }
    pairs.sort_unstable();
    let both = |(one, other): (usize, usize)| Some(Problem { one: uses.get(one)?, other: Some(uses.get(other)?) });
    found.extend(pairs.into_iter().filter_map(both));
    found
}

/// Must these two not share memory?
fn clash(board: &Board, one: &Use, other: &Use) -> bool {
    use Role::{Copied, DeviceTree, Image, Loader, Ramdisk, Reserved, Running, Unpacked};
    let either = |role: Role| one.role == role || other.role == role;
    let both = |a: Role, b: Role| (one.role, other.role) == (a, b) || (one.role, other.role) == (b, a);
    // The kernel is not started before U-Boot has done its work.
    if either(Loader) {
        return !either(Reserved) && !either(Running);
    }
    if either(Reserved) {
        return true;
    }
    // U-Boot copies tree and ramdisk out of the way before the kernel runs, unless it is told to leave them.
    if either(Running) {
        let guarded = one.guarded || other.guarded;
        return (either(DeviceTree) && (guarded || board.fdt_in_place()))
            || (either(Ramdisk) && (guarded || board.initrd_in_place()));
    }
    // What is only copied may be copied over itself.
    !both(Image, Copied) && !both(Unpacked, Copied) && one.role != other.role
}

/// What a proposal changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Kernel,
    Unpacked,
    DeviceTree,
    Ramdisk,
    /// The load address in the image.
    Load,
}

impl Change {
    /// What moves a piece of memory, the simplest first.
    fn of(role: Role) -> &'static [Change] {
        match role {
            Role::DeviceTree => &[Change::DeviceTree],
            Role::Ramdisk => &[Change::Ramdisk],
            Role::Image => &[Change::Kernel],
            Role::Copied | Role::Unpacked | Role::Running => &[Change::Unpacked, Change::Kernel, Change::Load],
            Role::Reserved | Role::Loader => &[],
        }
    }

    /// Does it move what is used so?
    fn moves(self, role: Role) -> bool {
        match self {
            Change::DeviceTree => role == Role::DeviceTree,
            Change::Ramdisk => role == Role::Ramdisk,
            Change::Unpacked | Change::Load => matches!(role, Role::Copied | Role::Unpacked | Role::Running),
            Change::Kernel => matches!(role, Role::Image | Role::Copied | Role::Unpacked | Role::Running),
        }
    }

    /// The board and the load address with the change made, and the words for it.
    fn made(self, board: &Board, to: u64) -> (Board, Option<u64>, String) {
        let mut board = board.clone();
        let env = &mut board.env;
        let (variable, name) = match self {
            Change::Kernel => (&mut env.kernel_addr_r, "kernel_addr_r"),
            Change::Unpacked => (&mut env.kernel_comp_addr_r, "kernel_comp_addr_r"),
            Change::DeviceTree => (&mut env.fdt_addr_r, "fdt_addr_r"),
            Change::Ramdisk => (&mut env.ramdisk_addr_r, "ramdisk_addr_r"),
            Change::Load => {
                return (board, Some(to), format!("make the image with the load address {to:#x} (`request.load`)"));
            }
        };
        *variable = Some(to);
        (board, None, format!("setenv {name} {to:#x}"))
    }
}

/// What was proposed so far, as if it were done.
struct Way {
    board: Board,
    load: Option<u64>,
}

impl Way {
    /// With the change made, and the words for it.
    fn with(&self, change: Change, to: u64) -> (Way, String) {
        let (board, load, words) = change.made(&self.board, to);
        (Way { board, load: load.or(self.load) }, words)
    }

    /// The uses of the memory, how many problems they have, and how many errors and warnings there are beside these.
    fn walk(&self, files: &Files<'_>, decoded: &mut Decoded) -> Result<(Vec<Use>, usize, [usize; 2])> {
        let (uses, findings) = memory::boot(&self.board, files, self.load, decoded)?;
        let count = |severity| findings.iter().filter(|finding| finding.severity >= severity).count();
        let problems = problems(&self.board, &uses).len();
        Ok((uses, problems, [count(Severity::Error), count(Severity::Warning)]))
    }
}

/// The way out: an address with which this problem is gone and no other has come, found by trying.
fn proposal(way: &mut Way, files: &Files<'_>, problem: &Problem<'_>, decoded: &mut Decoded) -> Result<String> {
    const NOT_SOUGHT: &str = "move it to where nothing is: among so many, kimage did not look for a place";
    if decoded.is_used_up() {
        return Ok(NOT_SOUGHT.to_owned());
    }
    let (uses, count, beside) = way.walk(files, decoded)?;
    let is_this = |it: &Problem<'_>| {
        it.one.what == problem.one.what && it.other.map(|other| &other.what) == problem.other.map(|other| &other.what)
    };
    if !problems(&way.board, &uses).iter().any(is_this) {
        return Ok("what is proposed for the others mends this too".to_owned());
    }
    let parts = [problem.other, Some(problem.one)].into_iter().flatten();
    // Device tree and ramdisk are moved before the kernel is.
    let mut changes: Vec<Change> = parts.flat_map(|using| Change::of(using.role)).copied().collect();
    changes.sort_by_key(|change| !matches!(change, Change::DeviceTree | Change::Ramdisk));
    let align = Align::new(PROPOSED).unwrap_or(Align::PAGE);
    // The nearest places behind something that is there; the start of a bank, where CPUs have their vectors and kernels
    // their first pages, when nothing else is left.
    let mut starts: Vec<u64> = uses.iter().filter_map(|using| align.up(using.end())).collect();
    starts.sort_unstable_by_key(|start| start.abs_diff(problem.one.start));
    starts.dedup();
    starts.extend(way.board.ram.iter().filter_map(|area| align.up(area.start)));
    // Rather a place that is free, and one that brings no warning.
    for (free, quiet) in [(true, true), (true, false), (false, false)] {
        for change in &changes {
            for start in &starts {
                if decoded.is_used_up() {
                    return Ok(NOT_SOUGHT.to_owned());
                }
                let (changed, words) = way.with(*change, *start);
                let Ok((uses, problems, [errors, warnings])) = changed.walk(files, decoded) else { continue };
                let [errors_before, warnings_before] = beside;
                let kept = problems < count && errors <= errors_before && (!quiet || warnings <= warnings_before);
                let moves = |using: &Use| change.moves(using.role);
                let is_free = || {
                    let left = self::problems(&changed.board, &uses);
                    !left.iter().any(|it| moves(it.one) || it.other.is_some_and(moves))
                };
                if kept && (!free || is_free()) {
                    *way = changed;
                    return Ok(words);
                }
            }
        }
    }
    let fixed = |using: &&Use| !matches!(using.role, Role::Reserved | Role::Loader);
    let moved = problem.other.filter(fixed).unwrap_or(problem.one);
    Ok(format!("make it smaller, or move what is in its way: no place in the RAM is free for its {} bytes", moved.size))
}

/// The way out for a kernel that must be started at a multiple of 2 MiB: the nearest one that brings no other problem.
fn aligned(way: &mut Way, files: &Files<'_>, decoded: &mut Decoded) -> Result<Option<String>> {
    const TRIES: u64 = 256;
    let (uses, count, [errors_before, _]) = way.walk(files, decoded)?;
    let place = |role| uses.iter().find(|using| using.role == role).map(|using| using.start);
    let (Some(image), Some(running)) = (place(Role::Image), place(Role::Running)) else { return Ok(None) };
    let align = Align::new(PROPOSED).unwrap_or(Align::PAGE);
    let Some(first) = align.up(running) else { return Ok(None) };
    for change in [Change::Unpacked, Change::Load, Change::Kernel] {
        // Where it is not moved, it is as far behind the image's first byte as it was.
        let behind = if change == Change::Kernel { running.saturating_sub(image) } else { 0 };
        for step in 0..TRIES {
            let to = first.saturating_add(step * PROPOSED).saturating_sub(behind);
            if decoded.is_used_up() || !way.board.ram.iter().any(|area| (area.start..area.end()).contains(&to)) {
                break;
            }
            let (changed, words) = way.with(change, to);
            let tried = changed.walk(files, decoded);
            if tried.is_ok_and(|(_, problems, [errors, _])| problems <= count && errors < errors_before) {
                *way = changed;
                return Ok(Some(words));
            }
        }
    }
    Ok(None)
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
            findings.push(rules::SIZE.finding(message));
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
        _ => "raw",
    }
}

/// U-Boot's word for a codec; its name where U-Boot has none.
fn codec_word(codec: Codec) -> &'static str {
    comp_word(codec).unwrap_or(codec.name())
}
