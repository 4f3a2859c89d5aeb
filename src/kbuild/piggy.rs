//! The compressed kernel as assembler source (`piggy.S`) and as the object that the assembler makes of it (`piggy.o`).
//!
//! x86: `arch/x86/boot/compressed/mkpiggy.c`, Linux 2.6.31 to 7.2, whose symbols changed with the kernel's age; before it a linker
//! script, `vmlinux.scr`, around `ld -r --format binary`. ARM: the fixed
//! `arch/arm/boot/compressed/piggy.S`, whose object is [`Piggy::object`] for [`Target`]s of that CPU. Either decompressor
//! takes the uncompressed size from the last four bytes of the data, little-endian.

use super::object::{self, Base, Machine, ObjectSection, ObjectSymbol};
use super::{Error, Result};
use crate::arch::Arch;
use crate::assemble::packed_release;
use crate::bytes::{Cursor, Endian, FieldError, len64};
use crate::codec::Codec;
use crate::elf::{Elf, numbers};
use crate::finding::{Checks, Finding};
use crate::layout::Plan;
use ::object::elf as spec;

/// What the object is for.
#[derive(Debug, Clone)]
pub struct Target {
    arch: Arch,
    machine: Machine,
    /// Contents of `.ARM.attributes`; empty for no such section.
    attributes: Vec<u8>,
}

/// `.ARM.attributes` as `as -march=armv7-a -mfpu=vfp` writes them for a file without code (addenda to the ARM ABI,
/// "Build attributes"), after the two lengths: CPU name "7-A", architecture v7, profile A, ARM and Thumb-2 code, VFPv2.
const ARM_V7A: &[u8] = b"\x057-A\0\x06\x0a\x07A\x08\x01\x09\x02\x0a\x02";

impl Target {
    /// Objects as kbuild's assembler makes them for this CPU and byte order; for ARM of an ARMv7-A kernel.
    ///
    /// # Errors
    /// [`Error::WrongCpu`] for CPUs other than x86 and 32-bit ARM, and for big-endian x86.
    pub fn new(arch: Arch, endian: Endian) -> Result<Self> {
        let (is_64, flags, section_symbols) = match (arch, endian) {
            (Arch::X86, Endian::Little) => (false, 0, false),
            (Arch::X86_64, Endian::Little) => (true, 0, false),
            (Arch::Arm, _) => (false, spec::EF_ARM_EABI_VER5.0, true),
            (Arch::X86 | Arch::X86_64, Endian::Big) => {
                return Err(Error::WrongCpu { found: format!("big-endian {arch}") });
            }
            _ => return Err(Error::WrongCpu { found: arch.to_string() }),
        };
        let machine = arch.facts().elf_machines.first().copied().unwrap_or_default();
        let attributes = if arch == Arch::Arm { arm_attributes(endian) } else { Vec::new() };
        Ok(Target { arch, machine: Machine { is_64, endian, machine, flags, section_symbols }, attributes })
    }

    /// Objects that link with this one: its CPU and byte order, for ARM its ABI version and build attributes too.
    ///
    /// # Errors
    /// [`Error::WrongCpu`] as [`Target::new`], [`Error::Image`] when the attributes cannot be read.
    pub(crate) fn like(elf: &Elf<'_>) -> Result<Self> {
        let arch = elf.arch().ok_or_else(|| Error::WrongCpu {
            found: format!("an unknown CPU (e_machine {} at offset 0x12)", elf.machine()),
        })?;
        let mut target = Target::new(arch, elf.endian())?;
        if elf.is_64() != target.machine.is_64 {
            let bits = if elf.is_64() { 64 } else { 32 };
            return Err(Error::WrongCpu { found: format!("{arch} in a {bits}-bit ELF file") });
        }
        if arch == Arch::Arm {
            // The other flags say how a linked program was made.
            target.machine.flags = elf.header().e_flags.0 & spec::EF_ARM_EABIMASK;
            let section = elf.sections().iter().find(|section| section.kind == spec::SHT_ARM_ATTRIBUTES.0);
            target.attributes = section.map_or(Ok(Vec::new()), |section| elf.contents(section).map(<[u8]>::to_vec))?;
        }
        Ok(target)
    }

    /// Objects that link with the ELF file `bytes`, as [`Target::like`].
    ///
    /// # Errors
    /// As [`Target::like`], and [`Error::Image`] when it is no ELF file.
    pub fn like_file(bytes: &[u8]) -> Result<Self> {
        Target::like(&Elf::parse(bytes)?)
    }
}

/// The whole section: format version, its length, vendor, subsection for the file, its length, attributes.
fn arm_attributes(endian: Endian) -> Vec<u8> {
    let word = |value: u32| if endian == Endian::Big { value.to_be_bytes() } else { value.to_le_bytes() };
    // Lengths count themselves; the inner one its tag too.
    let inner = u32::try_from(ARM_V7A.len()).unwrap_or_default() + 5;
    [b"A", &word(inner + 10)[..], b"aeabi\0", b"\x01", &word(inner), ARM_V7A].concat()
}

/// A compressed kernel with its uncompressed size at the end.
#[derive(Debug, Clone, Copy)]
pub struct Piggy<'a> {
    data: &'a [u8],
    output_len: u32,
    /// The numbers of the kernel's release; high ones where it is not known.
    age: (u32, u32, u32),
    run_size: Option<u64>,
}

/// Releases whose mkpiggy wants `z_run_size`; stable ones of 3.14 to 3.17 may want it, too.
const RUN_SIZE: std::ops::Range<(u32, u32, u32)> = (3, 18, 0)..(4, 7, 0);

/// The first release with mkpiggy.
const MKPIGGY: (u32, u32, u32) = (2, 6, 31);

/// Bytes from the start of the file `vmlinux` to the end of .bss and .brk, as if they stood in it (Linux 4.0,
/// arch/x86/tools/calc_run_size.sh).
fn run_size(vmlinux: &Elf<'_>) -> Option<u64> {
    let (bss, brk) = (vmlinux.section(".bss")?, vmlinux.section(".brk")?);
    bss.offset.min(brk.offset).checked_add(bss.size)?.checked_add(brk.size)
}

impl<'a> Piggy<'a> {
    /// Reads the size from the last four bytes, as mkpiggy does, and from the banner of the kernel inside whose build it is; where
    /// there is none, that of a new one.
    ///
    /// # Errors
    /// [`Error::Field`] when there are fewer.
    pub fn new(data: &'a [u8]) -> Result<Self> {
        let release = Codec::detect(data).and_then(|codec| packed_release(codec, data));
        Ok(Piggy::of_a_new_one(data)?.of_release(release.as_deref()))
    }

    /// As the build of a new kernel makes it.
    pub(super) fn of_a_new_one(data: &'a [u8]) -> Result<Self> {
        let have = len64(data);
        let at = have.checked_sub(4).ok_or_else(|| {
            FieldError::truncated("output_len", 0, 4, have).with_help(
                "give the compressed kernel, with the 32-bit uncompressed size as its last four bytes: \
                 arch/x86/boot/compressed/vmlinux.bin.gz",
            )
        })?;
        let output_len = Cursor::little(data).u32("output_len", at)?;
        Ok(Piggy { data, output_len, age: (u32::MAX, 0, 0), run_size: None })
    }

    /// As the build of a kernel of this release makes it; by default as that of a new one.
    #[must_use]
    pub(crate) fn of_release(self, release: Option<&str>) -> Self {
        Piggy { age: release.and_then(numbers).unwrap_or(self.age), ..self }
    }

    /// As the build of the kernel `vmlinux`, an ELF file, makes it.
    ///
    /// # Errors
    /// [`Error::Image`] when it is none.
    pub fn of_kernel(self, vmlinux: &[u8]) -> Result<Self> {
        Ok(self.of(&Elf::parse(vmlinux)?, false))
    }

    /// The same; with `z_run_size` where it is known to be wanted, or the release tells.
    pub(super) fn of(self, vmlinux: &Elf<'_>, wants_run_size: bool) -> Self {
        let piggy = self.of_release(vmlinux.release().as_deref());
        let wants = wants_run_size || RUN_SIZE.contains(&piggy.age);
        piggy.with_run_size(run_size(vmlinux).filter(|_| wants))
    }

    /// With `z_run_size`, what the kernel takes of memory when it runs (Linux 3.18 to 4.6, arch/x86/tools/calc_run_size).
    #[must_use]
    pub fn with_run_size(self, run_size: Option<u64>) -> Self {
        Piggy { run_size, ..self }
    }

    /// The symbols that mkpiggy defines, with their values as it writes them.
    ///
    /// # Errors
    /// [`Error::NoMkpiggy`] for a kernel that is older, [`Error::NoRunSize`] where that is wanted.
    fn constants(&self) -> Result<Vec<(&'static str, u64, String)>> {
        if self.age < MKPIGGY {
            return Err(Error::NoMkpiggy);
        }
        let (ilen, olen) = (self.input_len(), u64::from(self.output_len));
        let decimal = |name, value: u64| (name, value, value.to_string());
        let mut constants = vec![decimal("z_input_len", ilen), decimal("z_output_len", olen)];
        if self.age < (4, 6, 0) {
            // What must lie between the two so that the data is not overwritten before it is read.
            let slack = if self.age < (2, 6, 38) { 32768 + 18 } else { 65536 + 128 };
            let offset = (olen.saturating_sub(ilen) + (olen >> 12) + slack).next_multiple_of(4096);
            constants.push(("z_extract_offset", offset, format!("{offset:#x}")));
            constants.push(("z_extract_offset_negative", offset.wrapping_neg(), format!("-{offset:#x}")));
        }
        if let Some(size) = self.run_size {
            constants.push(decimal("z_run_size", size));
        } else if RUN_SIZE.contains(&self.age) {
            return Err(Error::NoRunSize);
        }
        Ok(constants)
    }

    /// The section of the data.
    fn section(&self, arch: Arch) -> &'static str {
        match (self.age, arch) {
            ((2, 6, ..=19) | (..=1, ..) | (2, ..=5, _), _) => ".data",
            ((2, 6, ..=25), Arch::X86) => ".data.compressed",
            ((2, 6, ..=25), _) => ".text.compressed",
            ((2, 6, ..=34), _) => ".rodata.compressed",
            _ => ".rodata..compressed",
        }
    }

    /// Bytes of the compressed kernel, the size at its end included.
    pub(crate) fn input_len(&self) -> u64 {
        len64(self.data)
    }

    /// Bytes that it says to become.
    pub(crate) fn output_len(&self) -> u32 {
        self.output_len
    }

    /// What is noticed of it.
    pub fn findings(&self) -> Vec<Finding> {
        self.check().into_findings()
    }

    /// Does the size at the end look like one? mkpiggy does not ask, and the kernel then dies in its decompressor.
    pub(crate) fn check(&self) -> Checks {
        let at = self.input_len().saturating_sub(4);
        let help = "the uncompressed size must follow the compressed data, as 32 bits, little-endian \
                    (gzip ends in it; for the others kbuild appends it, as `kimage compress` does with `request.with_size`)";
        let mut findings = Vec::new();
        let mut warn = |message: String| {
            findings.push(super::rules::OUTPUT_LEN.finding(message).at(at).with_help(help));
        };
        let codec = Codec::detect(self.data);
        // An .xz file alone ends in its footer magic (xz file format 1.2.0, 2.1.2.4).
        if codec == Some(Codec::Xz) && self.data.ends_with(b"YZ") {
            warn("the file ends where the .xz stream ends: its last four bytes are not the uncompressed size".into());
        } else if u64::from(self.output_len) < self.input_len().saturating_sub(4) && codec.is_some() {
            warn(format!(
                "the last four bytes say {} bytes uncompressed, fewer than the {} bytes compressed",
                self.output_len,
                self.input_len()
            ));
        }
        findings.into()
    }

    /// `piggy.S` as mkpiggy prints it; `path` is the file's name for `.incbin`, from where the assembler runs.
    ///
    /// # Errors
    /// [`Error::NoMkpiggy`], [`Error::NoRunSize`]; [`Error::Path`] when the path has a quote, a backslash or a line end in it, which mkpiggy would pass on to say
    /// something else to the assembler.
    pub fn text(&self, path: &[u8]) -> Result<Vec<u8>> {
        for (byte, what) in
            [(b'"', "double quote"), (b'\\', "backslash"), (b'\n', "line end"), (b'\r', "line end"), (0, "zero byte")]
        {
            if path.contains(&byte) {
                return Err(Error::Path { what });
            }
        }
        let (ilen, olen) = (self.input_len(), self.output_len);
        let constants =
            self.constants()?.into_iter().map(|(name, _, text)| format!(".globl {name}\n{name} = {text}\n"));
        let before = [
            format!(".section \"{}\",\"a\",@progbits\n", self.section(Arch::X86)),
            constants.collect(),
            ".globl input_data, input_data_end\ninput_data:\n.incbin \"".to_owned(),
        ]
        .concat();
        let end = "\"\ninput_data_end:\n";
        if self.age < (5, 10, 0) {
            return Ok([before.as_bytes(), path, end.as_bytes()].concat());
        }
        let after = format!(
            "{end}\
             .section \".rodata\",\"a\",@progbits\n\
             .globl input_len\n\
             input_len:\n\
             \t.long {ilen}\n\
             .globl output_len\n\
             output_len:\n\
             \t.long {olen}\n"
        );
        Ok([before.as_bytes(), path, after.as_bytes()].concat())
    }

    /// `piggy.o` as `as` makes it, ready for the linker. The data is borrowed.
    ///
    /// # Errors
    /// [`Error::NoRunSize`], [`Error::Field`] when the data outgrows the 32-bit `input_len`, [`Error::Object`] when the object does its fields.
    pub fn object(&self, target: &Target) -> Result<Plan<'a>> {
        let max = u64::from(u32::MAX);
        let value = self.input_len();
        let input_len = u32::try_from(value).map_err(|_| {
            FieldError::range("input_len", 0, value, 4..=max)
                .with_help("the decompressor counts in 32 bits: no kernel of this size can be booted")
        })?;
        let alloc = spec::SHF_ALLOC.0;
        let data = |name| ObjectSection { name, kind: spec::SHT_PROGBITS.0, flags: alloc, bytes: self.data.into() };
        let symbol = |name, value, base| ObjectSymbol { name, value, base };
        let (start, end) = ("input_data", "input_data_end");
        if target.arch == Arch::Arm {
            let mut sections = vec![data(".piggydata")];
            if !target.attributes.is_empty() {
                sections.push(ObjectSection {
                    name: ".ARM.attributes",
                    kind: spec::SHT_ARM_ATTRIBUTES.0,
                    flags: 0,
                    bytes: target.attributes.clone().into(),
                });
            }
            let symbols = [symbol(start, 0, Base::Section(0)), symbol(end, value, Base::Section(0))];
            return object::plan(target.machine, sections, &symbols).map_err(Error::Object);
        }
        // 32-bit files have 32 bits of a negative number.
        let mask = if target.machine.is_64 { u64::MAX } else { u32::MAX.into() };
        let name = self.section(target.arch);
        if self.age < MKPIGGY {
            let bytes = [&input_len.to_le_bytes()[..], self.data].concat().into();
            let flags = spec::SHF_ALLOC.0 | spec::SHF_WRITE.0;
            let section = ObjectSection { name, kind: spec::SHT_PROGBITS.0, flags, bytes };
            let places = [("input_len", 0), ("output_len", value), (start, 4), (end, value + 4)];
            let has_size = self.age >= (2, 6, 20);
            let places = places.into_iter().filter(|(name, _)| has_size || *name != "output_len");
            let symbols: Vec<ObjectSymbol> = places.map(|(name, at)| symbol(name, at, Base::Section(0))).collect();
            return object::plan(target.machine, vec![section], &symbols).map_err(Error::Object);
        }
        let constants =
            self.constants()?.into_iter().map(|(name, value, _)| symbol(name, value & mask, Base::Absolute));
        let places = [symbol(start, 0, Base::Section(0)), symbol(end, value, Base::Section(0))];
        let mut symbols: Vec<ObjectSymbol> = constants.chain(places).collect();
        if self.age < (5, 10, 0) {
            return object::plan(target.machine, vec![data(name)], &symbols).map_err(Error::Object);
        }
        let lens = [input_len.to_le_bytes(), self.output_len.to_le_bytes()].concat();
        let rodata = ObjectSection { name: ".rodata", kind: spec::SHT_PROGBITS.0, flags: alloc, bytes: lens.into() };
        symbols.extend([symbol("input_len", 0, Base::Section(1)), symbol("output_len", 4, Base::Section(1))]);
        object::plan(target.machine, vec![data(name), rodata], &symbols).map_err(Error::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(plan: &Plan<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        plan.emit(&mut out).unwrap();
        out
    }

    /// The numbers of piggy.S of published trees: Linux 3.14.8, 3.13, and of piggy.o of 2.6.34.7.
    #[test]
    fn what_lies_between_the_data_and_the_kernel() {
        for (release, ilen, olen, offset) in [
            ("3.14.8", 5_544_650, 18_733_240, 0xca_6000),
            ("3.13.0-rc4linyt+", 0x4f_9f4d, 0xa9_e12c, 0x5b_5000),
            ("2.6.34.7", 0x29_f79c, 0x55_2e90, 0x2b_c000),
        ] {
            let mut data = vec![0; ilen];
            data[ilen - 4..].copy_from_slice(&u32::to_le_bytes(olen));
            let constants = Piggy::new(&data).unwrap().of_release(Some(release)).constants().unwrap();
            assert_eq!(constants[2].1, offset, "{release}");
            assert_eq!(constants[3].2, format!("-{offset:#x}"));
        }
    }

    #[test]
    fn the_text_of_each_age() {
        let piggy = Piggy::new(b"payload\x09\0\0\0").unwrap();
        let text = |release, size| {
            piggy.of_release(Some(release)).with_run_size(size).text(b"x").map(|text| String::from_utf8(text).unwrap())
        };
        assert!(matches!(text("2.6.30", None), Err(Error::NoMkpiggy)));
        assert!(matches!(text("4.2.3", None), Err(Error::NoRunSize)));
        assert!(text("4.2.3", Some(77)).unwrap().contains("z_run_size = 77\n.globl input_data, input_data_end\n"));
        assert!(text("2.6.34", None).unwrap().starts_with(".section \".rodata.compressed\",\"a\""));
        let middle = text("4.14.333", None).unwrap();
        assert!(!middle.contains("z_extract") && middle.ends_with(".incbin \"x\"\ninput_data_end:\n"), "{middle}");
        assert_eq!(text("5.10.0", None).unwrap(), String::from_utf8(piggy.text(b"x").unwrap()).unwrap());
    }

    /// `vmlinux.scr` of Linux 2.6.20 to 2.6.30: the length in front of the data, the size in its last word.
    #[test]
    fn the_object_before_mkpiggy() {
        for (release, arch, name) in [
            ("2.6.11", Arch::X86, ".data"),
            ("2.6.22.6", Arch::X86, ".data.compressed"),
            ("2.6.22.6", Arch::X86_64, ".text.compressed"),
            ("2.6.26.5", Arch::X86, ".rodata.compressed"),
        ] {
            let piggy = Piggy::new(b"payload\x09\0\0\0").unwrap().of_release(Some(release));
            let object = bytes(&piggy.object(&Target::new(arch, Endian::Little).unwrap()).unwrap());
            let elf = Elf::parse(&object).unwrap();
            // as leaves an empty one of its own.
            let is_it = |one: &&crate::elf::Section<'_>| one.name == name.as_bytes() && one.size > 0;
            let section = elf.sections().iter().find(is_it).unwrap();
            assert_eq!(elf.contents(section).unwrap(), b"\x0b\0\0\0payload\x09\0\0\0");
            let value =
                |name: &str| elf.symbols().unwrap().find(|one| one.name == name.as_bytes()).map(|one| one.value);
            assert_eq!((value("input_data"), value("input_data_end")), (Some(4), Some(15)));
            assert_eq!(value("output_len"), (release != "2.6.11").then_some(11));
        }
    }
}
