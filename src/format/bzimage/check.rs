//! What a bzImage claims, held against its bytes and against the boot protocol.
//!
//! Source: Documentation/arch/x86/boot.rst and arch/x86/boot/header.S (before 2.6.24 bootsect.S and setup.S), Linux 2.2 to
//! 7.2. What is not Linux is held to the protocol alone: no build of a kernel says what else its header may have.

use super::parse::{BzImage, Setup, crc_of};
use super::raw::{
    FIELDS, LOADED_HIGH, XLF_5LEVEL, XLF_5LEVEL_ENABLED, XLF_CAN_BE_LOADED_ABOVE_4G, XLF_EFI_HANDOVER_32,
    XLF_EFI_HANDOVER_64, XLF_KERNEL_64, offset_of,
};
use super::standalone_image::{NO_RELEASE, StandaloneImage};
use crate::bytes::{Align, Cursor, len64, overwrite, slice};
use crate::finding::{Checks, Hex, Severity, rules};
use crate::format::pe::{Pe, unsigned};

rules! {
    /// What is looked at in the image alone. What its payload says is not: that is for whoever has decompressed it.
    pub(crate) RULES:
    CRC = "bzimage.crc32", Error, "CRC-32 at the end",
        "bytes changed after the image was built; no boot loader checks this CRC, so it may boot or crash",
        "copy the image again; if the change is yours, it can be ignored";
    LENGTH = "bzimage.length", Error, "end of the protected-mode code by setup_sects and syssize",
        "a boot loader loads too little or too much of the kernel",
        "copy the image again, whole";
    TRAILER = "bzimage.trailer", Error, "bytes behind the protected-mode code",
        "no boot loader loads them: either they are not part of the kernel, or syssize is wrong",
        "cut them off, or copy the image again";
    VERSION = "bzimage.version", Error, "version",
        "a boot loader fills in the header by the rules of another protocol version",
        "take the setup and the protected-mode code from the same build";
    JUMP = "bzimage.jump", Error, "jump",
        "a boot loader that enters the real-mode code runs into the middle of the header or of the code; others do \
         not look at it beyond the length of the header that it tells",
        "take the setup from the kernel's build";
    CONSTANT = "bzimage.constant", Error, "header field",
        "no kernel's build writes this value: the header was damaged or edited",
        "copy the image again; if the change is yours, know that no build has it";
    RDEV = "bzimage.rdev", Note, "header field",
        "not what a kernel's build writes unless it is told to, but what the command rdev could set; the command \
         line overrides it",
        "";
    ALIGNMENT = "bzimage.alignment", Error, "kernel_alignment",
        "a boot loader that relocates the kernel may put it where it cannot run",
        "build the image again; a header that was edited is to be put back";
    FLAGS = "bzimage.flags", Error, "xloadflags",
        "a boot loader may enter the kernel by an entry point that it does not have",
        "take the setup and the decompressor from the same build";
    HEAP = "bzimage.heap", Error, "heap_end_ptr",
        "the real-mode code takes memory for its heap that is not free",
        "build the image again; a header that was edited is to be put back";
    HANDOVER = "bzimage.handover", Error, "handover_offset",
        "a boot loader that uses the EFI handover protocol jumps to a place that is no code",
        "build the image again with the zoffset.h of this decompressor";
    pub(crate) INFO = "bzimage.kernel_info", Error, "kernel_info",
        "boot loaders that read it, as for setup_data above 2 MiB or for TXT, read something else",
        "build the image again with the zoffset.h of this decompressor";
    PAYLOAD = "bzimage.payload", Error, "payload_offset and payload_length",
        "boot loaders that unpack the kernel themselves (Xen, Cloud Hypervisor) fail; the kernel's own decompressor \
         does not look at them",
        "build the image again with the zoffset.h of this decompressor";
    TEXT = "bzimage.kernel_version", Error, "kernel_version",
        "boot loaders and `file` show a wrong version; it boots all the same",
        "take the setup from the kernel's build";
    CRC_SIGNED = "bzimage.crc32_signed", Note, "CRC-32 at the end",
        "this CRC was broken by signing, and is right without the signature; no boot loader checks it",
        "";
}

/// Does the decompressor in `image` stop at a kernel whose segments are not aligned to 2 MiB? Those of 64-bit kernels from Linux
/// 4.16 on do, and those of stable kernels before it that took the change (4.4.155, 4.9.154, 4.14.333): who looks has the words
/// to say so (arch/x86/boot/compressed/misc.c, `parse_elf`).
pub(crate) fn demands_large_alignment(image: &[u8]) -> bool {
    memchr::memmem::find(image, b"Alignment of LOAD segment isn't multiple of 2MB").is_some()
}

/// What came of holding a bzImage to its CRC-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredCrc {
    /// File offset.
    pub at: u64,
    /// What stands there.
    pub stored: u32,
    /// What the bytes in front of it come to.
    pub computed: u32,
    /// What that means.
    pub state: CrcState,
}

/// Is a CRC that of the bytes?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrcState {
    /// There is none, as from Linux 6.15 on.
    None,
    /// Yes.
    Right,
    /// It was, before the image was signed for Secure Boot.
    BrokenBySigning,
    /// No.
    Wrong,
}

impl BzImage<'_> {
    /// Holds the image to the rules that need no decompression.
    pub(crate) fn check(&self) -> Checks {
        let mut checks = Checks::default();
        self.length(&mut checks);
        self.crc(&mut checks);
        if self.setup().is_linux() {
            header(self.setup(), StandaloneImage::find(self).is_some(), &mut checks);
        } else {
            foreign_header(self.setup(), &mut checks);
        }
        self.pointers(&mut checks);
        checks
    }

    /// Does an EFI signature follow the code?
    fn signature(&self) -> Option<Pe<'_>> {
        let pe = Pe::find(self.bytes())?;
        let range = pe.certificate_range()?;
        (range.start >= self.system_range().1 && range.end == len64(self.bytes())).then_some(pe)
    }

    fn length(&self, checks: &mut Checks) {
        let (start, end) = self.system_range();
        let len = len64(self.bytes());
        if !self.setup().has(0x204) && self.setup().is_loaded_high() {
            return self.length_of_16_bits(checks);
        }
        checks.expect(&LENGTH, offset_of("syssize"), start < end && end <= len, Hex(end), format!("at most {len:#x}"));
        if end == len {
            return;
        }
        let behind = slice(self.bytes(), end, len - end).unwrap_or(&[]);
        let certificates = self.signature().and_then(|pe| pe.certificate_range());
        let padding = |to: u64| slice(self.bytes(), end, to.saturating_sub(end)).unwrap_or(&[]).iter().all(|b| *b == 0);
        let (kept, severity) = match certificates {
            // sbsign begins the table at a multiple of 8. What is not Linux may have sections there, which firmware loads.
            Some(range) => {
                let is_section = !self.setup().is_linux() && self.sections_end() == Some(range.start);
                (is_section || range.start - end < 512 && padding(range.start), Severity::Error)
            }
            // What was read back from a partition ends with its last block.
            None if behind.iter().all(|byte| *byte == 0) && len64(behind) >= 512 => (false, Severity::Warning),
            // Sections of an EFI program, which firmware loads.
            None if !self.setup().is_linux() && self.sections_end() == Some(len) => (true, Severity::Warning),
            // Boot loaders that go by the file's length load them.
            None if !self.setup().is_linux() => (false, Severity::Warning),
            None => (false, Severity::Error),
        };
        let found = format!("{} bytes at {end:#x}", behind.len());
        checks.expect_as(severity, &TRAILER, end, kept, found, "none, or a table of certificates");
    }

    /// Where the last section of the EFI side ends in the file.
    fn sections_end(&self) -> Option<u64> {
        let pe = Pe::find(self.bytes())?;
        pe.sections.iter().map(|section| section.file_range().end).max()
    }

    /// Before protocol 2.04 a bzImage's `syssize` has the lower 16 bits of its length in paragraphs, and boot loaders go by the
    /// length of the file. Others than Linux have what they like there (memdisk: 0).
    fn length_of_16_bits(&self, checks: &mut Checks) {
        let (start, end) = self.system_range();
        let low = |paragraphs: u64| paragraphs & 0xffff;
        let (found, have) = (low(self.setup().header().syssize.get().into()), low((end - start).div_ceil(16)));
        if !self.setup().is_linux() {
            return;
        }
        // What was read back from a disk ends with its last block, in zeros.
        let further = have.wrapping_sub(found) & 0xffff;
        let behind = (further * 16).checked_sub(15).and_then(|len| slice(self.bytes(), end.checked_sub(len)?, len));
        if found != have && behind.is_some_and(|behind| behind.iter().all(|byte| *byte == 0)) {
            let found = format!("{} bytes of zeros or more", behind.map_or(0, len64));
            checks.expect_as(Severity::Warning, &TRAILER, end, false, found, "none");
            return;
        }
        let wanted = format!("{have:#x}, the lower 16 bits of the length up to the file's end, in paragraphs");
        checks.expect(&LENGTH, offset_of("syssize"), found == have, Hex(found), wanted);
    }

    /// The CRC-32 at the end of the protected-mode code, held against the bytes in front of it. `None` when there is none:
    /// the kernel's build writes it from Linux 2.6.26 (protocol 2.08) on, and other programs need not.
    pub fn check_crc(&self) -> Option<StoredCrc> {
        if !self.setup().has(0x208) {
            return None;
        }
        let (at, stored) = self.last_word()?;
        let computed = self.computed_crc();
        let state = match stored {
            0 => CrcState::None,
            _ if stored == computed => CrcState::Right,
            _ if self.unsigned_crc(at) == Some(stored) => CrcState::BrokenBySigning,
            _ if !self.setup().is_linux() => return None,
            _ => CrcState::Wrong,
        };
        Some(StoredCrc { at, stored, computed, state })
    }

    /// The image with these bytes at the file offset `at`, in place of as many: a CRC that was right is computed anew, and
    /// signatures are left out. `None` when there are not so many.
    pub(crate) fn with_bytes(&self, at: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed = self.bytes().to_vec();
        overwrite(&mut changed, at, bytes)?;
        let mut changed = unsigned(&changed).unwrap_or(changed);
        let kept = [CrcState::Right, CrcState::BrokenBySigning];
        if let Some(crc) = self.check_crc().filter(|crc| kept.contains(&crc.state)) {
            let computed = crc_of(slice(&changed, 0, crc.at)?);
            overwrite(&mut changed, crc.at, &computed.to_le_bytes())?;
        }
        Some(changed)
    }

    /// The CRC before a signature was added: without the fields that signing changes.
    fn unsigned_crc(&self, at: u64) -> Option<u32> {
        self.signature()?.unsigned(at).map(|bytes| crc_of(&bytes))
    }

    fn crc(&self, checks: &mut Checks) {
        let Some(StoredCrc { at, stored, computed, state }) = self.check_crc() else { return };
        match state {
            CrcState::None => {}
            CrcState::BrokenBySigning => {
                checks.expect(&CRC_SIGNED, at, false, Hex(stored.into()), format!("{computed:#x} of these bytes"));
            }
            CrcState::Right | CrcState::Wrong => {
                checks.expect(&CRC, at, state == CrcState::Right, Hex(stored.into()), Hex(computed.into()));
            }
        }
    }

    fn pointers(&self, checks: &mut Checks) {
        let (setup, header) = (self.setup(), self.setup().header());
        let (start, end) = self.system_range();
        let len = end - start;
        if setup.has(0x208) {
            let (at, size) = (u64::from(header.payload_offset.get()), u64::from(header.payload_length.get()));
            let found = format!("{at:#x} and {size}");
            let wanted = format!("a range inside the {len} bytes of protected-mode code");
            // Nothing else misses it.
            let is_none = at == 0 && size == 0;
            let kept = is_none && !setup.is_linux() || size > 0 && at + size <= len;
            let severity = if is_none { Severity::Warning } else { Severity::Error };
            checks.expect_as(severity, &PAYLOAD, offset_of("payload_offset"), kept, found, wanted);
        }
        let offset = u64::from(header.handover_offset.get());
        let is_said = setup.is_linux() || setup.has(0x20c) && header.xloadflags.get() & EFI_HANDOVER != 0;
        if setup.has(0x20b) && offset != 0 && is_said {
            let payload = u64::from(header.payload_offset.get());
            let entry = setup.handover_entries().last().map_or(offset, |(_, at)| at);
            let inside = payload..payload + u64::from(header.payload_length.get());
            let kept = entry < len && !inside.contains(&entry);
            let wanted = format!("below {len:#x}, outside of the payload");
            checks.expect(&HANDOVER, offset_of("handover_offset"), kept, Hex(offset), wanted);
        }
        if let Some(info) = self.kernel_info() {
            let found = format!("offset {:#x} with {:x}", info.at - start, info.magic);
            checks.expect(&INFO, offset_of("kernel_info_offset"), info.is_right(), found, "LToP and two sizes there");
        }
    }
}

/// Either entry point of the EFI handover protocol.
const EFI_HANDOVER: u16 = XLF_EFI_HANDOVER_32 | XLF_EFI_HANDOVER_64;

/// Up to Linux 3.2 the build put the device of the building machine's root into the image; 3.6 has the next protocol.
pub(crate) const LAST_ROOT_DEV: u16 = 0x20a;

/// A field, what is allowed by the protocol's version, and in words.
type Allowed = (&'static str, fn(u64, u16) -> bool, &'static str);

/// What every kernel's header.S or setup.S puts there. Fields for the boot loader are zero in a file.
const CONSTANTS: &[Allowed] = &[
    // rdev could set it when it meant something.
    ("ram_size", |v, version| v == 0 || version < 0x208, "0"),
    ("realmode_swtch", |v, _| v == 0, "0"),
    ("start_sys_seg", |v, _| v == 0x1000, "0x1000"),
    ("type_of_loader", |v, _| v == 0, "0"),
    ("setup_move_size", |v, _| v == 0x8000, "0x8000"),
    ("ramdisk_image", |v, _| v == 0, "0"),
    ("ramdisk_size", |v, _| v == 0, "0"),
    // Up to 2.4 a far pointer into setup.S, which is at 0x9020:0.
    ("bootsect_kludge", |v, version| v == 0 || version <= 0x203 && v >> 16 == 0x9020, "0"),
    ("ext_loader_ver", |v, _| v == 0, "0"),
    ("ext_loader_type", |v, _| v == 0, "0"),
    ("cmd_line_ptr", |v, _| v == 0, "0"),
    (
        "initrd_addr_max",
        // x86_64 up to 2.6.22 had no limit.
        |v, version| {
            matches!(v, 0x7fff_ffff | 0x37ff_ffff | 0x1fff_ffff | 0x2fff_ffff | 0x5fff_ffff | 0x67ff_ffff)
                || v == 0xffff_ffff && version < 0x208
        },
        "0x7fffffff or 0x37ffffff",
    ),
    ("relocatable_kernel", |v, _| v <= 1, "0 or 1"),
    ("cmdline_size", |v, _| v == 255 || v >= 2047 && (v + 1).is_power_of_two(), "2047"),
    ("hardware_subarch", |v, _| v == 0, "0"),
    ("hardware_subarch_data", |v, _| v == 0, "0"),
    ("setup_data", |v, _| v == 0, "0"),
];

/// What rdev may have set. `SVGA_MODE` of the Makefile, too, may ask for the video mode.
const FREE: &[Allowed] = &[
    ("root_flags", |v, _| v == 1, "1"),
    ("ram_size", |v, _| v == 0, "0"),
    ("vid_mode", |v, version| v == 0xffff || version < 0x208 && v >= 0xfffd, "0xffff"),
    ("root_dev", |v, version| v == 0 || version <= LAST_ROOT_DEV, "0"),
];

/// `mov %ds,%ax; mov %ax,%es; cld`: how `start_of_setup` begins.
const START: &[u8] = &[0x8c, 0xd8, 0x8e, 0xc0, 0xfc];

/// `standalone`: our own boot stub follows, which takes what no kernel's decompressor does.
fn header(setup: &Setup<'_>, standalone: bool, checks: &mut Checks) {
    let value = |name: &str| {
        let field = FIELDS.iter().find(|field| field.name == name && setup.has(field.since))?;
        Some((field.at, setup.value(field)))
    };
    let version = setup.version();
    let is_known = (0x200..=0x20f).contains(&version);
    checks.expect(&VERSION, offset_of("version"), is_known, Hex(version.into()), "0x200 to 0x20f");
    let area = slice(setup.bytes(), 0x202, 0x100).unwrap_or(&[]);
    let begins = area.windows(START.len()).position(|window| window == START);
    // Others write such headers too, with values of their own.
    let strict = if begins.is_some() { Severity::Error } else { Severity::Warning };
    if let Some((at, jump)) = value("jump") {
        let target = 0x202 + (jump >> 8);
        let least = setup.header_end();
        let real = begins.and_then(|begins| u64::try_from(begins).ok()).map(|begins| 0x202 + begins);
        let kept = jump & 0xff == 0xeb && real.map_or(target >= least, |real| target == real);
        let wanted = format!("0xeb and the distance to {:#x}", real.unwrap_or(least));
        checks.expect(&JUMP, at, kept, Hex(jump), wanted);
        // Every byte of the header in front of the code is a field, and vice versa.
        if let (Some(real), 0x20f) = (real, version) {
            checks.expect(&VERSION, offset_of("version"), real == least, "2.15", format!("a header up to {real:#x}"));
        } else if let Some(real) = real {
            let wanted = format!("the version whose header ends at {real:#x}");
            // A header that is longer is one of a younger protocol, unless it says nothing there.
            let mut younger = FIELDS.iter().filter(|field| !setup.has(field.since) && field.at < real);
            let says_nothing = younger.all(|field| setup.value(field) == 0);
            let kept = real < least + 4 || real < least + 8 && says_nothing;
            checks.expect(&VERSION, offset_of("version"), kept, Hex(version.into()), wanted);
        }
    }
    for (name, allowed, wanted) in CONSTANTS {
        if let Some((at, value)) = value(name) {
            let found = format!("{name} {value:#x}");
            checks.expect_as(strict, &CONSTANT, at, allowed(value, version), found, wanted);
        }
    }
    for (name, allowed, wanted) in FREE {
        if let Some((at, value)) = value(name) {
            checks.expect(&RDEV, at, allowed(value, version), format!("{name} {value:#x}"), wanted);
        }
    }
    load_fields(setup, strict, checks);
    heap(setup, checks);
    alignment(setup, standalone, checks);
    flags(setup, begins.is_some(), standalone, checks);
    if let Some(pointer) = Some(setup.header().kernel_version.get()).filter(|pointer| *pointer != 0) {
        let text = setup.kernel_version().unwrap_or_default();
        let kept = text.starts_with(|c: char| c.is_ascii_digit()) || standalone && text == NO_RELEASE;
        let found = format!("{pointer:#x}, where {:?} stands", text.chars().take(20).collect::<String>());
        checks.expect_as(strict, &TEXT, offset_of("kernel_version"), kept, found, "a text that begins with a release");
    }
}

/// What the protocol demands of any program's header. A header that ends before its version's fields do is read as it is by
/// boot loaders that look at its length only.
fn foreign_header(setup: &Setup<'_>, checks: &mut Checks) {
    let (header, version) = (setup.header(), setup.version());
    let is_known = version >= 0x200;
    checks.expect(&VERSION, offset_of("version"), is_known, Hex(version.into()), "0x200 or more");
    let least = setup.header_end();
    let jump = u64::from(header.jump.get());
    let kept = jump & 0xff != 0xeb || 0x202 + (jump >> 8) >= least;
    let wanted = format!("0xeb and a distance to {least:#x} or more");
    checks.expect_as(Severity::Warning, &JUMP, offset_of("jump"), kept, Hex(jump), wanted);
    if setup.has(0x205) && header.relocatable_kernel != 0 {
        let alignment = header.kernel_alignment.get();
        let kept = alignment.is_power_of_two();
        checks.expect(&ALIGNMENT, offset_of("kernel_alignment"), kept, Hex(alignment.into()), "a power of two");
    }
    if header.kernel_version.get() != 0 {
        let found = Hex(header.kernel_version.get().into());
        let kept = setup.kernel_version().is_some();
        let wanted = "a pointer to a text in the setup";
        checks.expect_as(Severity::Warning, &TEXT, offset_of("kernel_version"), kept, found, wanted);
    }
}

fn load_fields(setup: &Setup<'_>, strict: Severity, checks: &mut Checks) {
    let header = setup.header();
    let high = setup.is_loaded_high();
    // The other bits are for the boot loader, and for the kernel's own use.
    let kept = header.loadflags & !LOADED_HIGH == 0;
    let found = format!("loadflags {:#x}", header.loadflags);
    checks.expect_as(strict, &CONSTANT, offset_of("loadflags"), kept, found, "0x1 (LOADED_HIGH)");
    let code = header.code32_start.get();
    let want = if high { 0x10_0000 } else { 0x1000 };
    let found = format!("code32_start {code:#x}");
    checks.expect_as(strict, &CONSTANT, offset_of("code32_start"), code == want, found, Hex(want.into()));
    if let Ok(sentinel) = Cursor::little(setup.bytes()).u16("sentinel", 0x1ef) {
        if setup.has(0x20c) {
            let found = format!("sentinel {sentinel:#x}");
            checks.expect_as(strict, &CONSTANT, 0x1ef, sentinel == 0xffff, found, "0xffff");
        }
    }
}

/// The code that makes the stack says where the setup ends: `mov $_end,%dx` in front of `testb $0x80,loadflags`, and
/// some bytes behind it `add $STACK_SIZE,%dx`. The heap goes up to what is left for the stack.
fn heap(setup: &Setup<'_>, checks: &mut Checks) {
    const TEST: &[u8] = &[0xf6, 0x06, 0x11, 0x02, 0x80];
    if !setup.has(0x201) {
        return;
    }
    let at = offset_of("heap_end_ptr");
    let found = u64::from(setup.header().heap_end_ptr.get());
    let code = slice(setup.bytes(), 0x240, 0x200).unwrap_or(&[]);
    let test = code.windows(TEST.len()).position(|window| window == TEST);
    let end = test.and_then(|test| match code.get(test.checked_sub(3)?..test)? {
        [0xba, low, high] => Some(u64::from(u16::from_le_bytes([*low, *high]))),
        _ => None,
    });
    let stack = test.and_then(|test| {
        code.get(test..test + 32)?.windows(4).find_map(|window| match window {
            [0x81, 0xc2, low, high] => Some(u64::from(u16::from_le_bytes([*low, *high]))),
            _ => None,
        })
    });
    if let Some((end, stack)) = end.zip(stack) {
        let want = (end + stack).saturating_sub(0x200);
        checks.expect(&HEAP, at, found == want, Hex(found), Hex(want));
    }
}

fn alignment(setup: &Setup<'_>, standalone: bool, checks: &mut Checks) {
    let header = setup.header();
    if !setup.has(0x205) || header.relocatable_kernel == 0 {
        return;
    }
    let alignment = u64::from(header.kernel_alignment.get());
    let kept = alignment.is_power_of_two() && alignment >= Align::PAGE.bytes();
    checks.expect(&ALIGNMENT, offset_of("kernel_alignment"), kept, Hex(alignment), "a power of two from 0x1000 on");
    if !setup.has(0x20a) {
        return;
    }
    let min = header.min_alignment;
    // MIN_KERNEL_ALIGN (asm/boot.h): a large page in 64-bit kernels, two pages in the others.
    // Our own stub takes no less than what the kernel asks for.
    let own = [u8::try_from(alignment.trailing_zeros()).unwrap_or(0)];
    let wants: &[u8] = match setup.xloadflag(XLF_KERNEL_64) {
        _ if standalone => &own,
        Some(true) => &[21],
        Some(false) => &[12, 13],
        None => &[12, 13, 21],
    };
    let kept = wants.contains(&min) && 1_u64.checked_shl(min.into()).is_some_and(|least| least <= alignment);
    let found = format!("min_alignment {min} for {alignment:#x}");
    checks.expect(&ALIGNMENT, offset_of("min_alignment"), kept, found, format!("one of {wants:?}"));
    let address = header.pref_address.get();
    let kept = alignment > 0 && address % alignment == 0;
    let found = format!("pref_address {address:#x}");
    checks.expect(&ALIGNMENT, offset_of("pref_address"), kept, found, format!("a multiple of {alignment:#x}"));
}

/// `xloadflags` in header.S.
fn flags(setup: &Setup<'_>, is_linux: bool, standalone: bool, checks: &mut Checks) {
    if !setup.has(0x20c) {
        return;
    }
    let (header, at) = (setup.header(), offset_of("xloadflags"));
    let flags = header.xloadflags.get();
    let mut wants = |kept: bool, wanted: &str| checks.expect(&FLAGS, at, kept, Hex(flags.into()), wanted);
    let is_64 = flags & XLF_KERNEL_64 != 0;
    wants(flags >> 8 == 0, "no bits above 7, which mean nothing");
    wants(is_64 || flags & 0xff & !XLF_EFI_HANDOVER_32 == 0, "bit 0 (XLF_KERNEL_64) with bits 1, 3 to 7");
    let above = is_64 && header.relocatable_kernel != 0;
    let has = flags & XLF_CAN_BE_LOADED_ABOVE_4G != 0;
    // Our stub puts a kernel that must not be moved where it belongs, wherever it is loaded itself.
    let kept = standalone || above == has || !has && !is_linux;
    wants(kept, "bit 1 (XLF_CAN_BE_LOADED_ABOVE_4G) in relocatable 64-bit kernels only");
    let kept = flags & XLF_5LEVEL_ENABLED == 0 || flags & XLF_5LEVEL != 0;
    wants(kept, "bit 5 (XLF_5LEVEL) with bit 6 (XLF_5LEVEL_ENABLED)");
    // Before Linux 6.2 the flags followed the EFI stub, and the offset with them.
    let handover = flags & EFI_HANDOVER != 0;
    wants(header.handover_offset.get() == 0 || handover, "an EFI handover flag with a handover_offset");
    wants(header.handover_offset.get() != 0 || !handover, "a handover_offset with an EFI handover flag");
}
