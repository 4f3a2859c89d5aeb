//! The numbers of the ELF specification that kimage acts on, taken from `object`.

use crate::bytes::Endian;
use object::Endianness;
use object::elf as spec;

/// Offsets in the file header that both classes share (gABI, "ELF Header").
pub(crate) const EI_CLASS: u64 = 4;
pub(crate) const EI_DATA: u64 = 5;
pub(crate) const EI_VERSION: u64 = 6;
pub(crate) const E_TYPE: u64 = 16;
pub(crate) const E_MACHINE: u64 = 18;
pub(crate) const E_ENTRY: u64 = 24;

pub(crate) const PN_XNUM: u16 = spec::PN_XNUM;
pub(crate) use super::SHT_NOBITS;
pub(crate) const SHT_NULL: u32 = spec::SHT_NULL.0;
pub(crate) const SHT_PROGBITS: u32 = spec::SHT_PROGBITS.0;
pub(crate) const SHT_SYMTAB: u32 = spec::SHT_SYMTAB.0;
pub(crate) const SHT_SYMTAB_SHNDX: u32 = spec::SHT_SYMTAB_SHNDX.0;
pub(crate) const SHT_GROUP: u32 = spec::SHT_GROUP.0;
pub(crate) const SHF_WRITE: u64 = spec::SHF_WRITE.0;
pub(crate) const SHF_EXECINSTR: u64 = spec::SHF_EXECINSTR.0;
pub(crate) const SHF_TLS: u64 = spec::SHF_TLS.0;
pub(crate) const PF_X: u32 = spec::PF_X.0;
pub(crate) const PF_W: u32 = spec::PF_W.0;
pub(crate) const PF_R: u32 = spec::PF_R.0;
pub(crate) const PT_NULL: u32 = spec::PT_NULL.0;
pub(crate) const PT_TLS: u32 = spec::PT_TLS.0;
/// What [`super::Symbol::section`] adds to reserved section indices.
pub(crate) const RESERVED: u32 = 0xffff_0000;
pub(crate) const SHN_UNDEF: u16 = spec::SHN_UNDEF.0;
pub(crate) const SHN_ABS: u16 = spec::SHN_ABS.0;
pub(crate) const SHN_COMMON: u16 = spec::SHN_COMMON.0;
pub(crate) const SHN_LORESERVE: u16 = spec::SHN_LORESERVE;
pub(crate) const SHN_XINDEX: u16 = spec::SHN_XINDEX.0;
pub(crate) const STB_LOCAL: u8 = spec::STB_LOCAL.0;
pub(crate) const STB_GLOBAL: u8 = spec::STB_GLOBAL.0;
pub(crate) const STB_WEAK: u8 = spec::STB_WEAK.0;
pub(crate) const STB_GNU_UNIQUE: u8 = spec::STB_GNU_UNIQUE.0;
pub(crate) const STT_NOTYPE: u8 = spec::STT_NOTYPE.0;
pub(crate) const STT_FUNC: u8 = spec::STT_FUNC.0;
pub(crate) const STT_OBJECT: u8 = spec::STT_OBJECT.0;
pub(crate) const STT_COMMON: u8 = spec::STT_COMMON.0;
pub(crate) const STT_SECTION: u8 = spec::STT_SECTION.0;
pub(crate) const STT_FILE: u8 = spec::STT_FILE.0;
pub(crate) const STT_GNU_IFUNC: u8 = spec::STT_GNU_IFUNC.0;

pub(crate) const SHT_STRTAB: u32 = spec::SHT_STRTAB.0;
pub(crate) const SHT_RELA: u32 = spec::SHT_RELA.0;
pub(crate) const SHT_REL: u32 = spec::SHT_REL.0;
pub(crate) const SHT_HASH: u32 = spec::SHT_HASH.0;
pub(crate) const SHT_DYNAMIC: u32 = spec::SHT_DYNAMIC.0;
pub(crate) const SHT_NOTE: u32 = spec::SHT_NOTE.0;
pub(crate) const SHT_DYNSYM: u32 = spec::SHT_DYNSYM.0;
pub(crate) const SHT_GNU_HASH: u32 = spec::SHT_GNU_HASH.0;
pub(crate) const SHT_GNU_VERDEF: u32 = spec::SHT_GNU_VERDEF.0;
pub(crate) const SHT_GNU_VERNEED: u32 = spec::SHT_GNU_VERNEED.0;
pub(crate) const SHT_GNU_VERSYM: u32 = spec::SHT_GNU_VERSYM.0;
pub(crate) const SHF_INFO_LINK: u64 = spec::SHF_INFO_LINK.0;
pub(crate) const SHF_LINK_ORDER: u64 = spec::SHF_LINK_ORDER.0;
pub(crate) const SHF_COMPRESSED: u64 = spec::SHF_COMPRESSED.0;
pub(crate) const SHF_GROUP: u64 = spec::SHF_GROUP.0;
pub(crate) const SHF_MERGE: u64 = spec::SHF_MERGE.0;
pub(crate) const SHF_STRINGS: u64 = spec::SHF_STRINGS.0;
pub(crate) const PT_DYNAMIC: u32 = spec::PT_DYNAMIC.0;
pub(crate) const PT_INTERP: u32 = spec::PT_INTERP.0;
/// Sections of MIPS that name others (binutils 2.40, include/elf/mips.h).
pub(crate) const SHT_MIPS_LIBLIST: u32 = 0x7000_0000;
pub(crate) const SHT_MIPS_GPTAB: u32 = 0x7000_0003;
pub(crate) const SHT_MIPS_CONTENT: u32 = 0x7000_000c;
pub(crate) const SHT_MIPS_SYMBOL_LIB: u32 = 0x7000_0020;
pub(crate) const SHT_MIPS_EVENTS: u32 = 0x7000_0021;
pub(crate) const SHT_MIPS_XHASH: u32 = 0x7000_002b;
pub(crate) const PT_NOTE: u32 = spec::PT_NOTE.0;
pub(crate) const PT_PHDR: u32 = spec::PT_PHDR.0;
pub(crate) const PT_GNU_EH_FRAME: u32 = spec::PT_GNU_EH_FRAME.0;
pub(crate) const PT_GNU_STACK: u32 = spec::PT_GNU_STACK.0;
pub(crate) const PT_GNU_RELRO: u32 = spec::PT_GNU_RELRO.0;
pub(crate) const SHT_INIT_ARRAY: u32 = spec::SHT_INIT_ARRAY.0;
pub(crate) const SHT_FINI_ARRAY: u32 = spec::SHT_FINI_ARRAY.0;
pub(crate) const SHT_PREINIT_ARRAY: u32 = spec::SHT_PREINIT_ARRAY.0;
pub(crate) const STT_TLS: u8 = spec::STT_TLS.0;

/// The byte order in the words of the `object` crate.
pub(super) fn order(endian: Endian) -> Endianness {
    match endian {
        Endian::Little => Endianness::Little,
        Endian::Big => Endianness::Big,
    }
}
