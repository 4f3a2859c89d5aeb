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

/// Numbers of the specification that `object` has as types of their own.
macro_rules! numbers {
    ($($type:ty: $($name:ident)*;)*) => { $($(pub(crate) const $name: $type = spec::$name.0;)*)* };
}
numbers! {
    u32: SHT_NULL SHT_PROGBITS SHT_SYMTAB SHT_SYMTAB_SHNDX SHT_GROUP SHT_STRTAB SHT_RELA SHT_REL SHT_HASH SHT_DYNAMIC
        SHT_NOTE SHT_DYNSYM SHT_GNU_HASH SHT_GNU_VERDEF SHT_GNU_VERNEED SHT_GNU_VERSYM SHT_INIT_ARRAY SHT_FINI_ARRAY
        SHT_PREINIT_ARRAY;
    u32: PF_X PF_W PF_R;
    u32: PT_NULL PT_TLS PT_DYNAMIC PT_INTERP PT_NOTE PT_PHDR PT_GNU_EH_FRAME PT_GNU_STACK PT_GNU_RELRO;
    u64: SHF_WRITE SHF_EXECINSTR SHF_TLS SHF_INFO_LINK SHF_LINK_ORDER SHF_COMPRESSED SHF_GROUP SHF_MERGE SHF_STRINGS;
    u16: SHN_UNDEF SHN_ABS SHN_COMMON SHN_XINDEX;
    u8: STB_LOCAL STB_GLOBAL STB_WEAK STB_GNU_UNIQUE;
    u8: STT_NOTYPE STT_FUNC STT_OBJECT STT_COMMON STT_SECTION STT_FILE STT_GNU_IFUNC STT_TLS;
}

/// Types from here on are an operating system's or a CPU's.
pub(crate) const SHT_LOOS: u32 = 0x6000_0000;
pub(crate) const PN_XNUM: u16 = spec::PN_XNUM;
pub(crate) use super::SHT_NOBITS;
/// What [`super::Symbol::section`] adds to reserved section indices.
pub(crate) const RESERVED: u32 = 0xffff_0000;
pub(crate) const SHN_LORESERVE: u16 = spec::SHN_LORESERVE;

/// Sections of MIPS that name others (binutils 2.40, include/elf/mips.h).
pub(crate) const SHT_MIPS_LIBLIST: u32 = 0x7000_0000;
pub(crate) const SHT_MIPS_GPTAB: u32 = 0x7000_0003;
pub(crate) const SHT_MIPS_CONTENT: u32 = 0x7000_000c;
pub(crate) const SHT_MIPS_SYMBOL_LIB: u32 = 0x7000_0020;
pub(crate) const SHT_MIPS_EVENTS: u32 = 0x7000_0021;
pub(crate) const SHT_MIPS_XHASH: u32 = 0x7000_002b;

/// The byte order in the words of the `object` crate.
pub(super) fn order(endian: Endian) -> Endianness {
    match endian {
        Endian::Little => Endianness::Little,
        Endian::Big => Endianness::Big,
    }
}
