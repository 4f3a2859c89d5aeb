//! Bytes to [`BzImage`].

use super::raw::{
    BOOT_FLAG, BOOT_PARAMS_HEADER_END, FIELDS, HDRS, HEADER_AT, LOADED_HIGH, SetupHeader, XLF_EFI_HANDOVER_32,
    XLF_EFI_HANDOVER_64, offset_of,
};
use crate::bytes::{Cursor, Field, FieldError, len64, slice, slice_at};
use crate::elf::numbers;
use crate::format::pe;
use crate::layout::{Region, RegionKind};
use std::sync::OnceLock;
use zerocopy::FromBytes;

/// A setup, as `setup.bin` has it or as it stands at the front of an image.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    bytes: &'a [u8],
    header: SetupHeader,
}

impl<'a> Setup<'a> {
    /// True when `bytes` carry the boot flag and `HdrS`.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        let cursor = Cursor::little(bytes);
        cursor.u16("boot_flag", offset_of("boot_flag")) == Ok(BOOT_FLAG)
            && cursor.u32("header", offset_of("header")) == Ok(HDRS)
    }

    /// Reads the header.
    ///
    /// # Errors
    /// A [`FieldError`] when `bytes` are shorter than 1024 bytes, or `boot_flag` or `header` are wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        const HELP: &str = "give arch/x86/boot/setup.bin or setup.elf of the kernel's build";
        let cursor = Cursor::little(bytes);
        let boot_flag = cursor.u16("boot_flag", offset_of("boot_flag")).map_err(|error| error.with_help(HELP))?;
        if boot_flag != BOOT_FLAG {
            return Err(FieldError::magic("boot_flag", offset_of("boot_flag"), boot_flag, BOOT_FLAG).with_help(HELP));
        }
        cursor.magic("header", offset_of("header"), HDRS).map_err(|error| error.with_help(HELP))?;
        cursor.take("setup", 0, 1024).map_err(|error| error.with_help(HELP))?;
        let raw = cursor.take("setup_header", HEADER_AT, size_of::<SetupHeader>() as u64)?;
        let header = SetupHeader::read_from_bytes(raw).map_err(|_| {
            FieldError::truncated("setup_header", HEADER_AT, size_of::<SetupHeader>() as u64, len64(raw))
        })?;
        Ok(Setup { bytes, header })
    }

    /// The bytes it was read from.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header. Fields that are younger than [`Setup::version`] have no meaning.
    pub fn header(&self) -> &SetupHeader {
        &self.header
    }

    /// Protocol version: 0x020f for 2.15.
    pub fn version(&self) -> u16 {
        self.header.version.get()
    }

    /// Does the header's protocol have the field that came with `version`?
    pub(crate) fn has(&self, version: u16) -> bool {
        self.version() >= version
    }

    /// The value of a field, which may be of a newer protocol.
    pub(crate) fn value(&self, field: &Field) -> u64 {
        let raw = slice(self.bytes, field.at, field.width).unwrap_or_default();
        raw.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// Where the fields of its protocol end.
    pub(super) fn header_end(&self) -> u64 {
        let fields = FIELDS.iter().filter(|field| self.has(field.since));
        fields.map(|field| field.at + field.width).max().unwrap_or(0)
    }

    /// The header's bytes, up to where its jump leads, as far as boot parameters have room for them (boot.rst, "32-bit
    /// Boot Protocol").
    pub(super) fn header_bytes(&self) -> &'a [u8] {
        let jump = slice(self.bytes, offset_of("jump") + 1, 1).and_then(<[u8]>::first).copied().unwrap_or_default();
        let end = (offset_of("header") + u64::from(jump)).min(BOOT_PARAMS_HEADER_END);
        slice(self.bytes, HEADER_AT, end.saturating_sub(HEADER_AT)).unwrap_or_default()
    }

    /// Is the bit `flag` of `xloadflags` set? `None` before protocol 2.12, which brought the field.
    pub(crate) fn xloadflag(&self, flag: u16) -> Option<bool> {
        self.has(0x20c).then(|| self.header.xloadflags.get() & flag != 0)
    }

    /// The entry points of the EFI handover protocol (2.11), by their flag in `xloadflags`, from the protected-mode code.
    pub(crate) fn handover_entries(&self) -> impl Iterator<Item = (u16, u64)> + use<> {
        let (offset, flags) = (u64::from(self.header.handover_offset.get()), self.header.xloadflags.get());
        let is_known = self.has(0x20b) && offset != 0;
        let entries = [(XLF_EFI_HANDOVER_32, offset), (XLF_EFI_HANDOVER_64, offset + 0x200)];
        entries.into_iter().filter(move |(flag, _)| is_known && flags & flag != 0)
    }

    /// Where the boot flag or `HdrS` stands that is missing, when the other of them is there.
    pub(crate) fn lost_magic(bytes: &[u8]) -> Option<u64> {
        let cursor = Cursor::little(bytes);
        let (flag_at, magic_at) = (offset_of("boot_flag"), offset_of("header"));
        let has_flag = cursor.u16("boot_flag", flag_at) == Ok(BOOT_FLAG);
        let has_magic = cursor.u32("header", magic_at) == Ok(HDRS);
        (has_flag != has_magic).then_some(if has_magic { flag_at } else { magic_at })
    }

    /// Where the payload stands when the protected-mode code is at `system`, by `payload_offset` and `payload_length` (protocol
    /// 2.08).
    pub(crate) fn payload_within(&self, system: std::ops::Range<u64>) -> Option<std::ops::Range<u64>> {
        payload_range(&self.header, self.version(), system.start, system.end)
    }

    /// The text that `kernel_version` points to: release, builder, build number and time. `None` when the pointer is
    /// 0 or leads out of the setup.
    pub fn kernel_version(&self) -> Option<&'a str> {
        let pointer = u64::from(self.header.kernel_version.get());
        // The pointer counts from 0x200, where the header's jump stands.
        let at = usize::try_from(pointer).ok().filter(|at| *at != 0)?.checked_add(0x200)?;
        let rest = self.bytes.get(at..)?;
        let end = memchr::memchr(0, rest)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }

    /// The first word of [`Setup::kernel_version`].
    pub(crate) fn release(&self) -> Option<&'a str> {
        self.kernel_version()?.split_whitespace().next()
    }

    /// Does it say that it is a Linux kernel's? `scripts/mkcompile_h` writes the text that `kernel_version` points to as
    /// `release (user@host) #build` since Linux 1.3, and kimage its own name in place of the person. What other programs
    /// that follow the boot protocol (memtest86+, iPXE, memdisk) write, only the protocol binds. The pointer itself may
    /// be damaged: the text is looked for.
    pub(crate) fn is_linux(&self) -> bool {
        const LONGEST: usize = 256;
        let len = self.padded_len().min(len64(self.bytes));
        let text = slice(self.bytes, 0, len).unwrap_or(&[]);
        let by_kimage = memchr::memmem::find(text, b" (kimage)\0").is_some();
        by_kimage
            || memchr::memmem::find_iter(text, b") #").any(|end| {
                let line = text.get(end.saturating_sub(LONGEST)..end).unwrap_or(&[]);
                line.rsplit(|byte| *byte == b'(').next().is_some_and(|person| person.contains(&b'@'))
            })
    }

    /// Does its code ask for an APM BIOS (`arch/x86/boot/apm.c`, before Linux 2.6.24 setup.S)? It compares what the BIOS
    /// answers with `PM`.
    pub(crate) fn asks_apm(&self) -> bool {
        const NEAR: usize = 6;
        let len = self.padded_len().min(len64(self.bytes));
        let code = slice(self.bytes, 0x200, len.saturating_sub(0x200)).unwrap_or(&[]);
        memchr::memmem::find_iter(code, &[0x4d, 0x50]).any(|at| {
            let before = code.get(at.saturating_sub(NEAR)..at).unwrap_or(&[]);
            // cmp of a word with a constant: any register or memory, or %ax.
            before.contains(&0x81) || before.last() == Some(&0x3d)
        })
    }

    /// `LOADED_HIGH`: the protected-mode code goes to 0x100000, as in every bzImage; a zImage's goes to 0x10000.
    pub(crate) fn is_loaded_high(&self) -> bool {
        self.header.loadflags & LOADED_HIGH != 0
    }

    /// Are `setup_sects` and `syssize` yet to be filled in by the kernel's build? bootsect.S and header.S leave 4 and 0x7f00
    /// up to Linux 2.6.29 (protocol 2.09), 0 and 0 up to 6.6.
    pub(crate) fn is_unassembled(&self) -> bool {
        match (self.header.setup_sects, self.header.syssize.get()) {
            (0, 0) => true,
            (4, 0x7f00) => self.version() <= 0x209,
            _ => false,
        }
    }

    /// The numbers of [`Setup::release`]: 5, 10 and 0 for `5.10-rc1`.
    pub(crate) fn release_numbers(&self) -> Option<(u32, u32, u32)> {
        numbers(self.release()?)
    }

    /// Is it whole? Nothing in the header says how long a setup is, but a kernel's setup will not run when the word at its
    /// own end is missing: `cmpl $0x5a5aaa55, setup_sig` in header.S, since Linux 2.6.24. A setup without that very
    /// instruction right behind its entry point passes.
    pub(super) fn check_end(&self) -> Result<(), FieldError> {
        const SIGNATURE: u32 = 0x5a5a_aa55;
        const HELP: &str = "the setup is truncated or damaged: copy it again from the build tree";
        let [0xeb, distance] = self.header.jump.to_bytes() else { return Ok(()) };
        let code = slice(self.bytes, 0x202 + u64::from(distance), 0x80).unwrap_or(&[]);
        // In 16-bit code: 32-bit comparison of the word at a 16-bit address with a constant.
        let compared = code.windows(9).find_map(|window| match window {
            [0x66, 0x81, 0x3e, a0, a1, constant @ ..] if *constant == SIGNATURE.to_le_bytes() => {
                Some(u16::from_le_bytes([*a0, *a1]))
            }
            _ => None,
        });
        let Some(at) = compared.map(u64::from) else { return Ok(()) };
        Cursor::little(self.bytes).magic("setup signature", at, SIGNATURE).map_err(|error| error.with_help(HELP))
    }

    /// Bytes of the kernel's command line with its NUL (`COMMAND_LINE_SIZE`): `cmdline_size` from protocol 2.06 on, 256 before.
    pub(crate) fn line_len(&self) -> u64 {
        if self.has(0x206) { u64::from(self.header.cmdline_size.get()) + 1 } else { 256 }
    }

    /// `setup_sects` as a number of sectors; 0 stands for 4.
    fn sectors(&self) -> u64 {
        match self.header.setup_sects {
            0 => 4,
            sectors => u64::from(sectors),
        }
    }

    /// Is the length of its code not known but for the lower 16 bits of its number of paragraphs?
    fn is_open_ended(&self) -> bool {
        !self.has(0x204) && self.is_loaded_high()
    }

    /// Bytes of the protected-mode code behind it in a file of `have` bytes, by `syssize`.
    fn system_len(&self, have: u64) -> u64 {
        // Before protocol 2.04 the field had 16 bits, which a bzImage's length overflows, and what follows it belonged to
        // something else: "not trusted for bzImage kernels" (boot.rst). Then the code goes to the end of the file.
        let paragraphs = self.header.syssize.get();
        match self.has(0x204) {
            true => u64::from(paragraphs) * 16,
            false if self.is_open_ended() => have.saturating_sub(self.padded_len()),
            false => u64::from(paragraphs & 0xffff) * 16,
        }
    }

    /// Length in bytes of the setup with its boot sector, as the header has it.
    pub fn padded_len(&self) -> u64 {
        (self.sectors() + 1) * 512
    }
}

/// A whole bzImage.
#[derive(Debug, Clone)]
pub struct BzImage<'a> {
    bytes: &'a [u8],
    setup: Setup<'a>,
    system: (u64, u64),
    /// The CRC-32 of all in front of the last four bytes of code, once somebody asked.
    crc: OnceLock<u32>,
}

impl<'a> BzImage<'a> {
    /// Reads an image.
    ///
    /// # Errors
    /// What [`Setup::parse`] says, and a [`FieldError`] when `setup_sects` or `syssize` promise more than there is.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let setup = Setup::parse(bytes)?;
        let start = setup.padded_len();
        let have = len64(bytes);
        let len = setup.system_len(have);
        // Paragraphs are rounded up; the kernel's build fills up the last one since Linux 2.6.26 (protocol 2.08).
        let is_padded = setup.has(0x208) && setup.is_linux();
        let lacks = (start + len).saturating_sub(have);
        let end = if !is_padded && lacks < 16 { (start + len).min(have) } else { start + len };
        for (field, need) in [("setup_sects", start), ("syssize", end)] {
            if need > have || (field == "syssize" && end <= start) {
                let help = if setup.is_unassembled() {
                    "this is a setup.bin alone, whose setup_sects and syssize the kernel's build is yet to fill in, or the \
                     image is cut off"
                } else {
                    "the image is cut off, or this is a setup.bin alone"
                };
                return Err(FieldError::truncated(field, offset_of(field), need.max(start + 1), have).with_help(help));
            }
        }
        Ok(BzImage { bytes, setup, system: (start, end), crc: OnceLock::new() })
    }

    /// Length in bytes of the image that begins `bytes`, by its header and its PE header, whether they are all there or not;
    /// `None` of what says no version of the kernel.
    pub(crate) fn announced_len(bytes: &'a [u8]) -> Option<u64> {
        let setup = Setup::parse(bytes).ok().filter(|setup| setup.version() >> 8 == 2 && !setup.is_unassembled())?;
        // Compressed data may have the header as it was, and not what it leads to.
        setup.kernel_version().filter(|text| !text.is_empty() && text.chars().all(|c| !c.is_control()))?;
        let len = setup.padded_len().saturating_add(setup.system_len(len64(bytes)));
        Some(pe::announced_len(bytes).map_or(len, |signed| signed.max(len)))
    }

    /// Does the header that begins `bytes` have the lower bits of its length alone?
    pub(crate) fn is_open_ended(bytes: &'a [u8]) -> bool {
        Setup::parse(bytes).is_ok_and(|setup| setup.is_open_ended())
    }

    /// The least length of such an image with room for all up to `end`.
    pub(crate) fn end_behind(bytes: &'a [u8], end: u64) -> Option<u64> {
        const WRAP: u64 = 16 << 16;
        let setup = Setup::parse(bytes).ok()?;
        let least = setup.padded_len() + u64::from(setup.header.syssize.get() & 0xffff) * 16;
        Some(least + end.saturating_sub(least).div_ceil(WRAP) * WRAP)
    }

    /// The same image, whose CRC was computed before ([`Self::computed_crc`]).
    pub(crate) fn with_crc(self, computed: Option<u32>) -> Self {
        BzImage { crc: computed.map_or_else(OnceLock::new, OnceLock::from), ..self }
    }

    /// The CRC-32 of all in front of the last four bytes of code. It takes a pass over the image, the first time.
    pub(crate) fn computed_crc(&self) -> u32 {
        let body = self.system.1.saturating_sub(4);
        *self.crc.get_or_init(|| crc_of(slice(self.bytes, 0, body).unwrap_or(&[])))
    }

    /// The last four bytes of code, where a CRC-32 stands if there is one, and their file offset.
    pub(super) fn last_word(&self) -> Option<(u64, u32)> {
        let at = self.system.1.checked_sub(4)?;
        Some((at, Cursor::little(self.bytes).u32("CRC-32", at).ok()?))
    }

    /// The setup in front.
    pub fn setup(&self) -> &Setup<'a> {
        &self.setup
    }

    /// The whole file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the protected-mode code stands in the file: from the end of the setup, `syssize` paragraphs; before protocol
    /// 2.04 up to the end of the file, if it is a bzImage.
    pub fn system_range(&self) -> (u64, u64) {
        self.system
    }

    /// The CRC-32 at the very end, when it is right.
    pub fn crc32(&self) -> Option<u32> {
        let (_, stored) = self.last_word().filter(|_| self.system.1 == len64(self.bytes))?;
        (stored == self.computed_crc()).then_some(stored)
    }

    /// The compressed kernel, by `payload_offset` and `payload_length` (protocol 2.08).
    pub fn payload(&self) -> Option<&'a [u8]> {
        let at = self.setup.payload_within(self.system.0..self.system.1)?;
        slice_at(self.bytes, &at)
    }

    /// What the image consists of.
    pub fn regions(&self) -> Vec<Region> {
        self.regions_with_crc(self.crc32().is_some())
    }

    /// What the image consists of, when it ends in a CRC-32 or does not: without a look at its bytes.
    pub(crate) fn regions_with_crc(&self, crc: bool) -> Vec<Region> {
        regions(&self.setup.header, self.system.0, self.system.1, len64(self.bytes), crc)
    }
}

/// The CRC-32 that the kernel's build writes: without the inversion at the end (arch/x86/boot/tools/build.c).
pub(super) fn crc_of(bytes: &[u8]) -> u32 {
    #[cfg(test)]
    CRCS.with(|count| count.set(count.get() + 1));
    !crc32fast::hash(bytes)
}

#[cfg(test)]
thread_local! {
    /// How many CRCs this thread computed.
    pub(crate) static CRCS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn payload_range(header: &SetupHeader, version: u16, start: u64, end: u64) -> Option<std::ops::Range<u64>> {
    let at = start + u64::from(header.payload_offset.get());
    let stop = at + u64::from(header.payload_length.get());
    (version >= 0x208 && at < stop && stop <= end).then_some(at..stop)
}

/// Cuts an image into its regions, by the numbers in its header: the same for one that is read and one that is planned.
pub(super) fn regions(header: &SetupHeader, start: u64, end: u64, len: u64, crc: bool) -> Vec<Region> {
    let mut regions = Vec::new();
    let mut push = |name: &'static str, from: u64, to: u64, kind| {
        if from < to {
            regions.push(Region::new(name, from..to, kind));
        }
    };
    push("setup", 0, start, RegionKind::Header);
    // The CRC ends the file, which is not always where syssize ends (a signature may follow).
    let code_end = if crc && end == len { end - 4 } else { end };
    match payload_range(header, header.version.get(), start, end) {
        Some(payload) => {
            push("head", start, payload.start, RegionKind::Code);
            push("payload", payload.start, payload.end, RegionKind::Payload);
            push("decompressor", payload.end, code_end, RegionKind::Code);
        }
        None => push("system", start, code_end, RegionKind::Code),
    }
    push("crc32", code_end, end, RegionKind::Digest);
    push("trailer", end, len, RegionKind::Data);
    regions
}
