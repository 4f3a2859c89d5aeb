//! What a finished kernel build folder says of itself, and whether a vmlinux belongs in it.
//!
//! A kernel that is wrapped again gets that folder's decompressor, into which its addresses (`voffset.h`) and its codec
//! (`CONFIG_KERNEL_…`) are compiled. Everything here takes the texts and bytes of files and opens none.

use super::{Error, LinkCommand, Result, rules};
use crate::arch::Arch;
use crate::bytes::{Cursor, len64};
use crate::codec::Codec;
use crate::elf::Elf;
use crate::finding::Finding;
use object::archive::{Header, TERMINATOR, THIN_MAGIC};
use object::pod::from_bytes;
use std::borrow::Cow;
use std::mem::{offset_of, size_of};

/// The lines of a text with their offsets; what is no UTF-8 is shown as well as it can be.
fn lines(text: &[u8]) -> impl Iterator<Item = (u64, Cow<'_, str>)> {
    let mut at = 0;
    text.split(|byte| *byte == b'\n').map(move |line| {
        let start = at;
        at += len64(line) + 1;
        (start, String::from_utf8_lossy(line))
    })
}

/// The symbols of `voffset.h`, with the kernel's addresses that are compiled into the decompressor.
///
/// # Errors
/// [`Error::Line`] for a line that is no such `#define`, [`Error::Lacks`] when there is none at all.
pub fn voffsets(text: &[u8]) -> Result<Vec<(String, u64)>> {
    defines(text, "voffset.h", "#define VO_", "#define VO_… _AC(0x…,UL)")
}

/// The symbols of `zoffset.h`, with the decompressor's addresses that are compiled into the setup.
///
/// # Errors
/// As [`voffsets`].
pub fn zoffsets(text: &[u8]) -> Result<Vec<(String, u64)>> {
    defines(text, "zoffset.h", "#define ZO_", "#define ZO_… 0x…")
}

fn defines(text: &[u8], file: &'static str, lead: &str, want: &'static str) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for (at, line) in lines(text) {
        if line.trim().is_empty() {
            continue;
        }
        let value = line.strip_prefix(lead).and_then(|rest| {
            let (name, value) = rest.split_once(' ')?;
            let value = value.strip_prefix("_AC(").and_then(|value| value.strip_suffix(",UL)")).unwrap_or(value);
            let digits = value.strip_prefix("0x")?;
            // from_str_radix would take a sign.
            let plain = !name.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            Some((name.to_owned(), u64::from_str_radix(digits, 16).ok().filter(|_| plain)?))
        });
        let found_line = || line.chars().take(80).collect();
        found.push(value.ok_or_else(|| Error::Line { file, at, found: found_line(), want })?);
    }
    if found.is_empty() {
        return Err(Error::Lacks { file, want });
    }
    Ok(found)
}

/// Compares the addresses that are compiled into the decompressor with those of `vmlinux`.
///
/// # Errors
/// As [`voffsets`], and [`Error::Image`] when the kernel has no readable symbols.
pub fn check_voffsets(text: &[u8], vmlinux: &Elf<'_>) -> Result<Vec<Finding>> {
    let help = "this vmlinux is of another build than the folder: the decompressor there would unpack it to the wrong \
                place; give the folder that it was built in, or run make there";
    let mut wanted: Vec<(String, u64, Option<u64>)> =
        voffsets(text)?.into_iter().map(|(name, value)| (name, value, None)).collect();
    for symbol in vmlinux.symbols()?.filter(|symbol| symbol.is_defined() && !symbol.is_debugging()) {
        for (name, value, found) in &mut wanted {
            // A name may stand for several local symbols; one that agrees is the one that nm printed.
            if symbol.name == name.as_bytes() && *found != Some(*value) {
                *found = Some(symbol.value);
            }
        }
    }
    let message = |(name, value, found): (String, u64, Option<u64>)| match found {
        Some(found) if found == value => None,
        Some(found) => Some(format!("{name} is at {found:#x} in this vmlinux, voffset.h has it at {value:#x}")),
        None => Some(format!("this vmlinux has no symbol {name}, which voffset.h has at {value:#x}")),
    };
    let finding = |text| rules::VOFFSET.finding(text).with_help(help);
    Ok(wanted.into_iter().filter_map(message).map(finding).collect())
}

/// Suffix of the compressed kernel and last part of the configuration's option, for each codec; `None` is uncompressed.
const CODECS: &[(&str, &str, Option<Codec>)] = &[
    (".gz", "GZIP", Some(Codec::Gzip)),
    (".bz2", "BZIP2", Some(Codec::Bzip2)),
    (".lzma", "LZMA", Some(Codec::Lzma)),
    (".xz", "XZ", Some(Codec::Xz)),
    (".lzo", "LZO", Some(Codec::Lzo)),
    (".lz4", "LZ4", Some(Codec::Lz4Legacy)),
    (".zst", "ZSTD", Some(Codec::Zstd)),
    (".bin", "UNCOMPRESSED", None),
];

/// The file that `piggy.S` includes, from the build folder.
///
/// # Errors
/// [`Error::Lacks`] when it includes none.
pub fn incbin(piggy_s: &[u8]) -> Result<String> {
    let path = lines(piggy_s).find_map(|(_, line)| {
        let rest = line.trim_start().strip_prefix(".incbin")?;
        let (path, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        Some(path.to_owned())
    });
    path.filter(|path| !path.is_empty()).ok_or(Error::Lacks { file: "piggy.S", want: ".incbin \"…\"" })
}

/// Is the option, named without its `CONFIG_`, built in by `.config`?
pub fn is_set(config: &[u8], option: &str) -> bool {
    let line = format!("CONFIG_{option}=y");
    lines(config).any(|(_, other)| other.trim_end() == line)
}

/// The codec that the tree's decompressor understands: by the name that `piggy.S` includes (x86), else by `.config`
/// (ARM, whose file is always called `piggy_data`). `None` for a kernel that is not compressed. Never by what files
/// happen to lie in the folder: those of earlier configurations stay there.
///
/// # Errors
/// [`Error::TwoCodecs`] when both tell, and not the same; [`Error::Lacks`] when none tells.
pub fn codec(piggy_s: Option<&[u8]>, config: Option<&[u8]>) -> Result<Option<Codec>> {
    let path = piggy_s.map(incbin).transpose()?.unwrap_or_default();
    let by_path = CODECS.iter().find(|(suffix, ..)| path.ends_with(suffix));
    let chosen = |name: &str| is_set(config.unwrap_or_default(), &format!("KERNEL_{name}"));
    let by_config = CODECS.iter().find(|(_, name, _)| chosen(name));
    match (by_path, by_config) {
        (Some(by_path), Some(by_config)) if by_path != by_config => Err(Error::TwoCodecs { path, config: by_config.1 }),
        (Some((.., codec)), _) | (None, Some((.., codec))) => Ok(*codec),
        (None, None) => Err(Error::Lacks { file: ".config", want: "CONFIG_KERNEL_GZIP=y or other codec" }),
    }
}

/// ARM: the value of `_kernel_bss_size`, bytes from `__bss_start` to `__bss_stop` (`arch/arm/boot/compressed/Makefile`,
/// `KBSS_SZ`).
///
/// # Errors
/// [`Error::Image`] without symbols, [`Error::Lacks`] without those two in the right order.
pub fn kernel_bss_size(vmlinux: &Elf<'_>) -> Result<u64> {
    let (mut start, mut stop) = (None, None);
    for symbol in vmlinux.symbols()? {
        match symbol.name {
            b"__bss_start" => start = Some(symbol.value),
            b"__bss_stop" => stop = Some(symbol.value),
            _ => {}
        }
    }
    let size = start.zip(stop).and_then(|(start, stop)| stop.checked_sub(start));
    size.ok_or(Error::Lacks { file: "vmlinux", want: "symbol __bss_start with __bss_stop behind it" })
}

/// Is `vmlinux` for the CPU that the tree's link command links for?
pub fn check_cpu(vmlinux: &Elf<'_>, link: &LinkCommand) -> Option<Finding> {
    let (found, want) = (vmlinux.arch(), link.arch()?);
    let name =
        |arch: Option<Arch>| arch.map_or_else(|| format!("e_machine {}", vmlinux.machine()), |arch| arch.to_string());
    (found != Some(want)).then(|| {
        let message = format!("this vmlinux is for {}, the build folder links for {want}", name(found));
        rules::CPU.finding(message)
    })
}

/// Can this linker link for the tree's CPU? `version` is what it prints for `-V`. A linker that lists no emulations there
/// (lld) knows all of them.
pub fn check_linker(version: &str, link: &LinkCommand) -> Option<Finding> {
    let (_, list) = version.split_once("Supported emulations:")?;
    let mut known = list.split_whitespace();
    let (want, good) = match link.emulation() {
        Some(want) => (want, known.any(|name| name == want)),
        // Without -m the linker's own CPU decides; bare-metal linkers' names have no _linux_eabi.
        None if link.arch() == Some(Arch::Arm) => ("armelf_linux_eabi", known.any(|name| name.starts_with("armelf"))),
        None => return None,
    };
    (!good).then(|| {
        let linker = link.linker();
        let knows = list.split_whitespace().collect::<Vec<_>>().join(", ");
        rules::LINKER.finding(format!("the linker {linker} does not know the emulation {want}, only {knows}")).with_help(
            "name a linker for this CPU with `request.linker`, as arm-linux-gnueabihf-ld (Debian: binutils-arm-linux-gnueabihf)",
        )
    })
}

/// The files that the link reads and that are not there, from the build folder: script, objects, archives and the
/// members of thin archives. `archive` reads an archive, `exists` tells whether a file is there.
///
/// # Errors
/// As [`thin_members`].
pub fn missing_files(
    link: &LinkCommand,
    archive: impl Fn(&str) -> Option<Vec<u8>>,
    exists: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let mut missing: Vec<String> = link.reads().filter(|path| !exists(path)).map(str::to_owned).collect();
    for path in link.archives() {
        let Some(bytes) = archive(path) else { continue };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for member in thin_members(&bytes)? {
            let member =
                if member.starts_with('/') || folder.is_empty() { member } else { format!("{folder}/{member}") };
            if !exists(&member) {
                missing.push(member);
            }
        }
    }
    Ok(missing)
}

/// The members of a thin archive, from the archive's own folder; none for other archives, which hold theirs. kbuild's
/// `lib.a` is thin: the objects stay where they are.
///
/// Read by the structures of the `object` crate (GNU's ar.h), not by its reader: that one does not know the names of
/// members of an archive inside, and does not tell where an error is.
///
/// # Errors
/// [`Error::Line`] for a member's header that says nothing useful, [`Error::Field`] when the archive is truncated.
pub fn thin_members(archive: &[u8]) -> Result<Vec<String>> {
    if !archive.starts_with(&THIN_MAGIC) {
        return Ok(Vec::new());
    }
    const HEADER: u64 = size_of::<Header>() as u64;
    let cursor = Cursor::little(archive);
    let (mut members, mut names): (_, &[u8]) = (Vec::new(), &[]);
    let mut at = len64(&THIN_MAGIC);
    while at < cursor.len() {
        let start = at;
        let header = cursor.take("ar_hdr", start, HEADER)?;
        let Ok((header, _)) = from_bytes::<Header>(header) else { break };
        let wrong = |field: usize, text: &[u8], want| Error::Line {
            file: "the thin archive",
            at: start.saturating_add(u64::try_from(field).unwrap_or(u64::MAX)),
            found: text.escape_ascii().to_string(),
            want,
        };
        if header.terminator != TERMINATOR {
            return Err(wrong(offset_of!(Header, terminator), &header.terminator, "ar_fmag, `\\n"));
        }
        let size = header.size.trim_ascii_end();
        let size =
            decimal(size).ok_or_else(|| wrong(offset_of!(Header, size), size, "ar_size, a decimal number of bytes"))?;
        let name = header.name.trim_ascii_end();
        at = start + HEADER;
        // Only the tables lie in the archive itself, each padded to an even size.
        if matches!(name, b"/" | b"//" | b"/SYM64/") {
            let table = cursor.take("ar_size", at, size)?;
            if name == b"//" {
                names = table;
            }
            at = at.saturating_add(size).saturating_add(size % 2);
            continue;
        }
        let member = match name.strip_prefix(b"/") {
            None => Some(name),
            // `/INDEX` in the table of names, `/INDEX:OFFSET` for a member of an archive inside.
            Some(index) => index.split(|byte| *byte == b':').next().and_then(decimal).and_then(|start| {
                let rest = names.get(usize::try_from(start).ok()?..)?;
                rest.split(|byte| *byte == b'\n').next()
            }),
        };
        let member = member.map(|member| member.strip_suffix(b"/").unwrap_or(member));
        let member = member.and_then(|member| std::str::from_utf8(member).ok()).filter(|member| !member.is_empty());
        let want = "ar_name, a file name in UTF-8 or an index into the table of names";
        members.push(member.ok_or_else(|| wrong(offset_of!(Header, name), name, want))?.to_owned());
    }
    Ok(members)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}
