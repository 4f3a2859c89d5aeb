//! What a PE header claims, held against the file.
//!
//! Source: the PE Format specification; what UEFI firmware makes of it: EDK2, MdePkg/Library/BasePeCoffLib.

use super::file::{NX_COMPAT, Pe, PeSection, SECTION_EXECUTE, SECTION_WRITE};
use crate::bytes::{Cursor, len64};
use crate::finding::{Checks, Hex, Severity, rules};

rules! {
    /// What is looked at.
    pub(crate) RULES:
    SECTIONS = "pe.sections", Error, "section table",
        "UEFI firmware refuses the image, or loads a section from the wrong place",
        "take the image as it was built; a tool that added a section made it wrong";
    ALIGNMENT = "pe.alignment", Error, "alignment",
        "strict UEFI firmware and signing tools refuse the image",
        "build it again with a linker or objcopy that keeps SectionAlignment and FileAlignment";
    SIZES = "pe.sizes", Error, "size",
        "UEFI firmware sets aside too little memory for the image, or signs and hashes other bytes than the header \
         says",
        "take the image as it was built; a tool that changed it left the size as it was";
    ENTRY = "pe.entry", Error, "AddressOfEntryPoint",
        "UEFI firmware jumps to a place that is no code",
        "take the image as it was built";
    KERNEL = "pe.constant", Error, "PE header field",
        "no kernel's build writes this value: the header was damaged or edited",
        "take the image as it was built; if the change is yours, know that no kernel has it";
    SUBSYSTEM = "pe.subsystem", Error, "Subsystem",
        "UEFI firmware does not start it",
        "build the image again; Subsystem is 10 in an EFI application";
    NX = "pe.nx", Warning, "NX_COMPAT",
        "firmware that keeps its promise of write-xor-execute memory refuses the image",
        "clear NX_COMPAT, or link the sections apart";
}

impl Pe<'_> {
    /// Holds the headers to the rules. `is_kernel`: a kernel's own header.S made it, as in bzImage, zImage and `Image`.
    pub(crate) fn check(&self, is_kernel: bool) -> Checks {
        let mut checks = Checks::default();
        // Linux 3.3 and 3.4: one section for the file with its headers, one inside it.
        if is_kernel && self.is_one_piece() {
            self.check_signature(&mut checks);
            self.check_one_piece(&mut checks);
            return checks;
        }
        // Firmware starts programs that are laid out less strictly than a kernel (systemd-boot 252).
        let strict = if is_kernel { Severity::Error } else { Severity::Warning };
        self.check_sections(strict, &mut checks);
        self.check_sizes(strict, &mut checks);
        self.check_subsystem(&mut checks);
        let (at, entry) = (self.place("AddressOfEntryPoint"), self.value("AddressOfEntryPoint"));
        let holds = |section: &PeSection| section.flags & SECTION_EXECUTE != 0 && memory(section).contains(&entry);
        let kept = self.sections.iter().any(holds);
        checks.expect(&ENTRY, at, kept, Hex(entry), "an address inside an executable section");
        let both = SECTION_EXECUTE | SECTION_WRITE;
        let mixed = self.sections.iter().find(|section| section.flags & both == both);
        if self.value("DllCharacteristics") & u64::from(NX_COMPAT) != 0 {
            let found = mixed.map_or(String::new(), |section| format!("section {} is both", name(section)));
            let (at, wanted) = (self.place("DllCharacteristics"), "no section that is both writable and executable");
            checks.expect(&NX, at, mixed.is_none(), found, wanted);
        }
        self.check_signature(&mut checks);
        if is_kernel {
            self.check_kernel(&mut checks);
        }
        checks
    }

    fn check_subsystem(&self, checks: &mut Checks) {
        let subsystem = self.value("Subsystem");
        let is_efi = (10..=12).contains(&subsystem);
        checks.expect(&SUBSYSTEM, self.place("Subsystem"), is_efi, subsystem, "10 (EFI application)");
    }

    fn check_sections(&self, strict: Severity, checks: &mut Checks) {
        let len = len64(self.bytes());
        let (file, alignment) = (self.value("FileAlignment"), self.value("SectionAlignment"));
        let (mut raw_end, mut memory_end) = (self.headers_end(), 0);
        let by_file: Vec<&PeSection> = self.sections.iter().filter(|section| section.raw_size > 0).collect();
        for section in &by_file {
            let range = section.file_range();
            let found = format!("{} at {:#x} to {:#x}", name(section), range.start, range.end);
            let wanted = format!("a range behind {raw_end:#x}, inside the file's {len:#x} bytes");
            checks.expect(&SECTIONS, section.at + 20, range.start >= raw_end && range.end <= len, found, wanted);
            raw_end = raw_end.max(range.end);
            if file.is_power_of_two() {
                let found = format!("{} at {:#x}", name(section), section.raw_at);
                let wanted = format!("a multiple of FileAlignment, {file:#x}");
                let kept = u64::from(section.raw_at) % file == 0;
                checks.expect_as(strict, &ALIGNMENT, section.at + 20, kept, found, wanted);
            }
        }
        let mut behind: &[u8] = &[];
        for section in &self.sections {
            let range = memory(section);
            let found = format!("{} at {:#x} to {:#x} in memory", name(section), range.start, range.end);
            let wanted = format!("behind {memory_end:#x}");
            // systemd's stub 252 has 256 bytes for `.sbat`, which ukify's text is longer than: what it loses in memory is read from
            // the file alone, by shim.
            let severity = if behind == b".sbat" { strict } else { Severity::Error };
            checks.expect_as(severity, &SECTIONS, section.at + 12, range.start >= memory_end, found, wanted);
            behind = section.name();
            memory_end = memory_end.max(range.end);
            // The build that put a `.bss` behind the others did not align it, or any, to what it wrote as SectionAlignment.
            if !alignment.is_power_of_two() || strict == Severity::Error && self.bss().is_some() {
                continue;
            }
            let kept = u64::from(section.virtual_address) % alignment == 0;
            let found = format!("{} at {:#x} in memory", name(section), section.virtual_address);
            let wanted = format!("a multiple of SectionAlignment, {alignment:#x}");
            checks.expect_as(strict, &ALIGNMENT, section.at + 12, kept, found, wanted);
        }
    }

    fn check_sizes(&self, strict: Severity, checks: &mut Checks) {
        let (file, memory_alignment) = (self.value("FileAlignment"), self.value("SectionAlignment"));
        let kept = file.is_power_of_two() && (0x20..=0x10000).contains(&file);
        let found = format!("FileAlignment {file:#x}");
        checks.expect(&ALIGNMENT, self.place("FileAlignment"), kept, found, "a power of two from 0x200 to 0x10000");
        let kept = memory_alignment.is_power_of_two() && memory_alignment >= file;
        let found = format!("SectionAlignment {memory_alignment:#x}");
        let wanted = "a power of two, not less than FileAlignment";
        checks.expect(&ALIGNMENT, self.place("SectionAlignment"), kept, found, wanted);
        let end = self.sections.iter().map(|section| memory(section).end).max().unwrap_or(0);
        let size = self.value("SizeOfImage");
        // The specification wants a multiple of SectionAlignment; loaders take what the sections need.
        let rounded = end.checked_next_multiple_of(memory_alignment.max(1)).unwrap_or(end);
        let found = format!("SizeOfImage {size:#x}");
        let severity = if size < end { Severity::Error } else { strict };
        // Others may ask for more memory than their sections take.
        let kept = size == end || size == rounded || strict < Severity::Error && size > end;
        let wanted = format!("{end:#x}, the end of the sections");
        checks.expect_as(severity, &SIZES, self.place("SizeOfImage"), kept, found, wanted);
        let headers = self.value("SizeOfHeaders");
        let first = self.sections.iter().filter(|section| section.raw_size > 0).map(|section| section.raw_at).min();
        let first = first.map_or(len64(self.bytes()), u64::from);
        let kept = (self.headers_end()..=first).contains(&headers);
        let found = format!("SizeOfHeaders {headers:#x}");
        let wanted = format!("{:#x} to {first:#x}", self.headers_end());
        checks.expect(&SIZES, self.place("SizeOfHeaders"), kept, found, wanted);
    }

    fn equal(&self, checks: &mut Checks, field: &str, at: u64, found: u64, wanted: &[u64]) {
        let text: Vec<String> = wanted.iter().map(|value| format!("{value:#x}")).collect();
        checks.expect(&KERNEL, at, wanted.contains(&found), format!("{field} {found:#x}"), text.join(" or "));
    }

    /// The same for a field of the table.
    fn field(&self, checks: &mut Checks, name: &str, wanted: &[u64]) {
        self.equal(checks, name, self.place(name), self.value(name), wanted);
    }

    /// What header.S (zImage: efi-header.S) makes of the layout: sections in the file as in memory, one behind the other.
    fn check_kernel(&self, checks: &mut Checks) {
        let optional = self.optional_at();
        let cursor = Cursor::little(self.bytes());
        let word = |at: u64| u64::from(cursor.u32("PE header", at).unwrap_or(0));
        let directories = optional + if self.is_plus { 112 } else { 96 };
        self.field(checks, "TimeDateStamp", &[0]);
        self.field(checks, "PointerToSymbolTable", &[0]);
        self.field(checks, "NumberOfSymbols", &[0, 1]);
        let bits = if self.is_plus { 0x206 } else { 0x306 };
        self.field(checks, "Characteristics", &[bits]);
        self.equal(checks, "linker version", self.place("MajorLinkerVersion"), word(optional) >> 16, &[0x1402]);
        let bss = self.bss().map_or(0, |bss| u64::from(bss.virtual_size));
        self.field(checks, "SizeOfUninitializedData", &[bss]);
        let at = self.place("MajorOperatingSystemVersion");
        self.equal(checks, "operating system version", at, word(at), &[0]);
        self.field(checks, "MajorImageVersion", &[0, 1, 2, 3]);
        self.field(checks, "MinorImageVersion", &[0, 1]);
        let at = self.place("MajorSubsystemVersion");
        self.equal(checks, "subsystem version", at, word(at), &[0]);
        self.field(checks, "Win32VersionValue", &[0]);
        self.field(checks, "DllCharacteristics", &[0, NX_COMPAT.into()]);
        for at in (self.place("SizeOfStackReserve")..directories - 4).step_by(4) {
            self.equal(checks, "size of stack or heap, or LoaderFlags", at, word(at), &[0]);
        }
        let count = word(directories - 4);
        self.equal(checks, "NumberOfRvaAndSizes", directories - 4, count, &[6, 7]);
        let len = self.sections.first().map_or(0, |first| first.at.saturating_sub(optional));
        let wanted = [directories - optional + 8 * count];
        self.equal(checks, "SizeOfOptionalHeader", self.place("SizeOfOptionalHeader"), len, &wanted);
        for index in (0..count.min(6)).filter(|index| *index != 4) {
            let at = directories + 8 * index;
            self.equal(checks, "data directory address", at, word(at), &[0]);
            self.equal(checks, "data directory size", at + 4, word(at + 4), &[0]);
        }
        let code =
            self.sections.iter().find(|section| section.flags & 0x20 != 0).map(|section| section.virtual_address);
        let base = u64::from(code.unwrap_or(0));
        let size = self.value("SizeOfImage");
        self.field(checks, "BaseOfCode", &[base]);
        let data = self.sections.last().filter(|section| section.flags & SECTION_WRITE != 0 && !section.is_bss());
        let data_size = data.map_or(0, |section| u64::from(section.virtual_size));
        self.field(checks, "SizeOfInitializedData", &[data_size]);
        let code_size = size.saturating_sub(base).saturating_sub(data_size).saturating_sub(bss);
        self.field(checks, "SizeOfCode", &[code_size]);
        if self.is_plus {
            // Before Linux 6.7 x86 kernels had their load address there, and sections aligned to 32 bytes.
            let low = self.value("FileAlignment") < 0x200 && self.image_base & 0xffff == 0;
            self.equal(checks, "ImageBase", self.image_base_place().0, if low { 0 } else { self.image_base }, &[0]);
        } else {
            let data_at = data.map_or(0, |section| u64::from(section.virtual_address));
            self.equal(checks, "BaseOfData", optional + 24, word(optional + 24), &[0, data_at]);
            self.equal(checks, "ImageBase", self.image_base_place().0, word(self.image_base_place().0) & 0xffff, &[0]);
        }
        let first = self.sections.first().map_or(0, |section| u64::from(section.raw_at));
        self.field(checks, "SizeOfHeaders", &[first]);
        let mut end = first;
        for (index, section) in self.sections.iter().enumerate() {
            let is_last = index + 1 == self.sections.len();
            if section.is_bss() {
                self.equal(checks, "VirtualAddress", section.at + 12, section.virtual_address.into(), &[end]);
            } else {
                let wanted = [section.raw_at.into()];
                self.equal(checks, "VirtualAddress", section.at + 12, section.virtual_address.into(), &wanted);
                self.equal(checks, "PointerToRawData", section.at + 20, section.raw_at.into(), &[end]);
                end = section.file_range().end;
            }
            if !is_last {
                let wanted = [section.virtual_size.into()];
                self.equal(checks, "SizeOfRawData", section.at + 16, section.raw_size.into(), &wanted);
            }
            for at in [24, 28, 32] {
                let at = section.at + at;
                self.equal(checks, "relocations and line numbers of a section", at, word(at), &[0]);
            }
            let text = section.name().strip_prefix(b".").unwrap_or(b"0");
            let padding = section.name.get(section.name().len()..).unwrap_or(&[]);
            let kept = !text.is_empty() && text.iter().all(u8::is_ascii_lowercase) && padding.iter().all(|b| *b == 0);
            let name = if kept { 0 } else { word(section.at) };
            self.equal(checks, "name of a section that begins with", section.at, name, &[0]);
            // Code, data that may go, data; with the alignment bits that kernels up to 6.6 set.
            let known = [0x6000_0020, 0x6050_0020, 0x4000_0040, 0x4200_0040, 0x4210_0040, 0xc000_0040, 0xc800_0080];
            self.equal(checks, "Characteristics of a section", section.at + 36, section.flags.into(), &known);
        }
    }
}

impl Pe<'_> {
    /// The header of Linux 3.3 and 3.4: `.text` is the file, `.reloc` a few bytes of the setup.
    fn check_one_piece(&self, checks: &mut Checks) {
        let size = self.value("SizeOfImage");
        let [text, rest @ ..] = self.sections.as_slice() else { return };
        self.field(checks, "SizeOfCode", &[size]);
        self.field(checks, "SizeOfInitializedData", &[0]);
        self.field(checks, "SizeOfUninitializedData", &[0]);
        self.field(checks, "BaseOfCode", &[0]);
        self.field(checks, "SectionAlignment", &[0x1000]);
        self.field(checks, "FileAlignment", &[0x200]);
        self.field(checks, "SizeOfHeaders", &[0x200]);
        self.equal(checks, "VirtualSize", text.at + 8, text.virtual_size.into(), &[size]);
        self.equal(checks, "SizeOfRawData", text.at + 16, text.raw_size.into(), &[size]);
        for section in rest {
            let range = section.file_range();
            let found = format!("{} at {:#x} to {:#x}", name(section), range.start, range.end);
            let kept = range.end <= size && section.virtual_address == section.raw_at;
            checks.expect(&SECTIONS, section.at + 20, kept, found, "a range inside the file, the same in memory");
        }
        self.check_subsystem(checks);
        let (at, entry) = (self.place("AddressOfEntryPoint"), self.value("AddressOfEntryPoint"));
        let kept = (self.headers_end()..size).contains(&entry);
        checks.expect(&ENTRY, at, kept, Hex(entry), "an address inside the image, behind the headers");
    }
}

fn memory(section: &PeSection) -> std::ops::Range<u64> {
    let start = u64::from(section.virtual_address);
    start..start + u64::from(section.virtual_size)
}

fn name(section: &PeSection) -> String {
    String::from_utf8_lossy(section.name()).escape_debug().to_string()
}
