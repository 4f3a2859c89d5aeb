//! ARM bootpImage: a zImage with an initial RAM disk, for boot loaders that know no RAM disks. Code in front of them brings the
//! disk to its place, adds it to the list of tags, and starts the kernel.
//!
//! The parts and what they do: arch/arm/boot/bootp/ (Linux 2.4 to 5.9); Documentation/arm/booting.rst (tags, registers).
//! The code is our own, or the kernel's, linked here from the object file that its build left.

use crate::arch::Arch;
use crate::bytes::{Cursor, Endian, len64};
use crate::elf::raw::{SHN_UNDEF, SHT_REL, SHT_RELA};
use crate::elf::{Elf, Kind, SymbolTable};
use crate::layout::{self, Plan, RegionKind, Reserver};
use miette::Diagnostic;

/// The code, in ARM's little-endian words; it runs wherever it is loaded.
///
/// `r3` is where it is loaded, `r4` its data, which goes to `r5` to `r9`.
const INIT: &[u32] = &[
    0xe24f_3008,
    0xe28f_4090,
    0xe894_03e0, // sub r3, pc, #8; adr r4, data; ldm r4, {r5-r9}
    // Words are copied: r5 from, r10 to, r11 how many bytes; backwards where the target is behind.
    0xe083_5005,
    0xe1a0_a006, // add r5, r3, r5; mov r10, r6
    0xe287_b003,
    0xe3cb_b003, // add r11, r7, #3; bic r11, r11, #3
    0xe15a_0005,
    0x0a00_0009,
    0x8a00_0004, // cmp r10, r5; beq tags; bhi backward
    0xe25b_b004,
    0x5495_c004,
    0x548a_c004, // forward: subs r11, r11, #4; ldrpl r12, [r5], #4; strpl r12, [r10], #4
    0x5aff_fffb,
    0xea00_0003, // bpl forward; b tags
    0xe25b_b004,
    0x5795_c00b,
    0x578a_c00b, // backward: subs r11, r11, #4; ldrpl r12, [r5, r11]; strpl r12, [r10, r11]
    0x5aff_fffb, // bpl backward
    // A list that does not begin with ATAG_CORE is begun anew.
    0xe598_a004,
    0xe594_b014,
    0xe1a0_2008, // tags: ldr r10, [r8, #4]; ldr r11, [r4, #20]; mov r2, r8
    0xe15a_000b,
    0x13a0_a002,
    0x13a0_c000,
    0x1888_1c00, // cmp r10, r11; movne r10, #2; movne r12, #0; stmne r8, {r10-r12}
    // The tag goes where the list ends, at a length of 0.
    0xe598_a000,
    0xe35a_0000,
    0x1088_810a,
    0x1aff_fffb, // next: ldr r10, [r8]; cmp r10, #0; addne r8, r8, r10, lsl #2; bne next
    0xe3a0_a004,
    0xe594_b018,
    0xe3a0_c000,
    0xe3a0_0000, // mov r10, #4; ldr r11, [r4, #24]; mov r12, #0; mov r0, #0
    0xe8a8_0c00,
    0xe8a8_00c0,
    0xe488_c004,
    0xe588_c000, // stm r8!, {r10, r11}; stm r8!, {r6, r7}; str r12, [r8], #4; str r12, [r8]
    0xe083_f009, // add pc, r3, r9
];
/// `ATAG_CORE` and `ATAG_INITRD2`.
const TAGS: [u32; 2] = [0x5441_0001, 0x5442_0005];
/// The data: where the disk is, goes to, its size, where the list of tags is, where the kernel is, [`TAGS`].
const DATA_WORDS: usize = 5 + TAGS.len();

/// Where things are in the memory of a board (`initrd_phys-y` and `params_phys-y` of its Makefile.boot).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    /// Physical address of the RAM disk.
    pub initrd: u32,
    /// Physical address of the list of tags, 0x100 behind the start of most boards' RAM.
    pub params: u32,
}

/// The parts do not make a bootpImage.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// An address that is not a word's.
    #[error("{field} is {value:#x}, wanted a multiple of 4")]
    #[diagnostic(help("give the address that the board's Makefile.boot has"))]
    Unaligned {
        /// Of what.
        field: &'static str,
        /// The address.
        value: u32,
    },
    /// The memory, or what counts it, has 32 bits.
    #[error("{what} of {len} bytes does not fit: it would end at {end:#x}, behind 32 bits of addresses")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its bytes.
        len: u64,
        /// Where it would end.
        end: u64,
    },
    /// The kernel's own code cannot be linked.
    #[error("init.o cannot be linked: {why}")]
    #[diagnostic(help("leave out the build folder: kimage has code of its own"))]
    Init {
        /// What stands in the way.
        why: String,
    },
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
}

/// Plans the image.
///
/// # Errors
/// [`Error`]: an address that is not a word's, parts that do not fit into 32 bits, an `init` that is not what links there.
pub(crate) fn plan<'a>(
    zimage: &'a [u8],
    initrd: &'a [u8],
    init: Option<&[u8]>,
    places: Places,
) -> Result<Plan<'a>, Error> {
    for (field, value) in [("initrd_phys", places.initrd), ("params_phys", places.params)] {
        if value % 4 != 0 {
            return Err(Error::Unaligned { field, value });
        }
    }
    let object = init.map(Init::of).transpose()?;
    let own_len = u64::try_from(size_of_val(INIT) + 4 * DATA_WORDS).unwrap_or(u64::MAX);
    let init_len = object.as_ref().map_or(own_len, |object| len64(&object.code));
    let disk_at = (init_len + len64(zimage)).next_multiple_of(4);
    let word = |what, at: u64, len: u64| {
        let end = at.saturating_add(len);
        u32::try_from(end).map_err(|_| Error::TooLarge { what, len, end })
    };
    word("the RAM disk", places.initrd.into(), len64(initrd))?;
    let data = [
        word("the zImage", disk_at, 0)?,
        places.initrd,
        word("the RAM disk", 0, len64(initrd))?,
        places.params,
        word("the code", 0, init_len)?,
    ];
    let own = || INIT.iter().chain(&data).chain(&TAGS).flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let [initrd_start, initrd_phys, initrd_size, params_phys, kernel_start] = data;
    let mut reserver = Reserver::new();
    reserver.bytes(match object {
        Some(object) => object.link(&[
            ("kernel_start", kernel_start),
            ("kernel_end", word("the zImage", init_len, len64(zimage))?),
            ("initrd_start", initrd_start),
            ("initrd_end", word("the RAM disk", disk_at, len64(initrd))?),
            ("initrd_size", initrd_size),
            ("initrd_phys", initrd_phys),
            ("params_phys", params_phys),
        ])?,
        None => own(),
    })?;
    reserver.region("init", 0, RegionKind::Code);
    reserver.bytes(zimage)?;
    reserver.region("zImage", init_len, RegionKind::Code);
    reserver.fill_to("the zImage", disk_at, 0)?;
    reserver.bytes(initrd)?;
    reserver.region("initrd", disk_at, RegionKind::Data);
    if init.is_some() {
        // The assembler fills a section of code up.
        reserver.fill_to("the RAM disk", reserver.at().next_multiple_of(4), 0)?;
    }
    Ok(reserver.finish())
}

/// The kernel's own code, which brings the disk to its place: `arch/arm/boot/bootp/init.o`.
struct Init<'a> {
    elf: Elf<'a>,
    /// `.start`, then `.text`, as `bootp.lds` has them.
    code: Vec<u8>,
    /// Each of these sections by its index, and where it is in the code.
    sections: Vec<(usize, u64)>,
}

/// Relocations of ARM (ELF for the Arm Architecture, "Relocation"): nothing to do; a word; a word that counts from its place;
/// branches.
const NOTHING: [u32; 2] = [0, 40];
const ABS32: u32 = 2;
const REL32: u32 = 3;
const BRANCHES: [u32; 3] = [1, 28, 29];

impl<'a> Init<'a> {
    fn of(object: &'a [u8]) -> Result<Init<'a>, Error> {
        let failed = |why: &str| Error::Init { why: why.to_owned() };
        let elf = Elf::parse(object).map_err(|error| failed(&error.to_string()))?;
        if elf.kind() != Kind::Relocatable || elf.arch() != Some(Arch::Arm) {
            return Err(failed("it is no object file for ARM"));
        }
        let (mut code, mut sections) = (Vec::new(), Vec::new());
        for name in [".start", ".text"] {
            for (index, section) in
                elf.sections().iter().enumerate().filter(|(_, section)| section.name == name.as_bytes())
            {
                let at = len64(&code);
                if at % section.align.max(1) != 0 || section.size % 4 != 0 {
                    return Err(failed(&format!("section {name} is not made of words")));
                }
                code.extend_from_slice(elf.contents(section).map_err(|error| failed(&error.to_string()))?);
                sections.push((index, at));
            }
        }
        Ok(Init { elf, code, sections })
    }

    /// The code, with the values of what stands outside of it.
    fn link(self, outside: &[(&str, u32)]) -> Result<Vec<u8>, Error> {
        let Init { elf, mut code, sections } = self;
        let failed = |why: String| Error::Init { why };
        let place = |index: u32| sections.iter().find(|(own, _)| u32::try_from(*own) == Ok(index)).map(|(_, at)| *at);
        for relocs in elf.sections().iter().filter(|section| matches!(section.kind, SHT_REL | SHT_RELA)) {
            let Some(base) = place(relocs.info) else { continue };
            let read = || Some((SymbolTable::new(&elf).ok()?, Cursor::new(elf.contents(relocs).ok()?, elf.endian())));
            let (table, cursor) = read()
                .filter(|_| relocs.kind == SHT_REL)
                .ok_or_else(|| failed("its relocations cannot be read".to_owned()))?;
            for entry in (0..cursor.len() / 8).map(|index| index * 8) {
                let word = |at| cursor.u32("r_info", at).map_err(|error| failed(error.to_string()));
                let (at, info) = (base + u64::from(word(entry)?), word(entry + 4)?);
                if NOTHING.contains(&(info & 0xff)) {
                    continue;
                }
                let symbol = table.get(info >> 8).unwrap_or_default();
                let name = String::from_utf8_lossy(table.name(info >> 8, &symbol).unwrap_or_default()).into_owned();
                let known = outside.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
                let own = place(symbol.shndx.into()).and_then(|base| u32::try_from(base + symbol.value).ok());
                let value = own
                    .or(known.filter(|_| symbol.shndx == SHN_UNDEF))
                    .ok_or_else(|| failed(format!("symbol {name} is not known")))?;
                let found =
                    Cursor::new(&code, elf.endian()).u32("word", at).map_err(|error| failed(error.to_string()))?;
                let here = u32::try_from(at).unwrap_or(u32::MAX);
                let new = match info & 0xff {
                    ABS32 => found.wrapping_add(value),
                    REL32 => found.wrapping_add(value).wrapping_sub(here),
                    kind if BRANCHES.contains(&kind) && value % 4 == 0 => {
                        // 24 bits of words; the code is far smaller than what they reach.
                        let distance = (found << 2).wrapping_add(value).wrapping_sub(here) >> 2;
                        found & 0xff00_0000 | distance & 0x00ff_ffff
                    }
                    kind => return Err(failed(format!("relocation {kind} against {name} is not known"))),
                };
                let bytes = if elf.endian() == Endian::Little { new.to_le_bytes() } else { new.to_be_bytes() };
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                code.iter_mut().skip(start).zip(bytes).for_each(|(slot, byte)| *slot = byte);
            }
        }
        Ok(code)
    }
}
