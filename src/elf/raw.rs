//! The numbers of the ELF specification that this room acts on, taken from `object`.

use object::elf as spec;

pub(crate) const SHT_NULL: u32 = spec::SHT_NULL.0;
pub(crate) const SHT_SYMTAB: u32 = spec::SHT_SYMTAB.0;
pub(crate) const SHT_SYMTAB_SHNDX: u32 = spec::SHT_SYMTAB_SHNDX.0;
pub(crate) const SHT_GROUP: u32 = spec::SHT_GROUP.0;
pub(crate) const SHF_WRITE: u64 = spec::SHF_WRITE.0;
pub(crate) const SHF_EXECINSTR: u64 = spec::SHF_EXECINSTR.0;
pub(crate) const SHF_TLS: u64 = spec::SHF_TLS.0;
pub(crate) const PT_TLS: u32 = spec::PT_TLS.0;
/// Added to reserved section indices.
pub(crate) const RESERVED: u32 = 0xffff_0000;
pub(crate) const SHN_UNDEF: u32 = spec::SHN_UNDEF.0 as u32;
pub(crate) const SHN_ABS: u32 = RESERVED | spec::SHN_ABS.0 as u32;
pub(crate) const SHN_COMMON: u32 = RESERVED | spec::SHN_COMMON.0 as u32;
pub(crate) const SHN_LORESERVE: u16 = spec::SHN_LORESERVE;
pub(crate) const SHN_XINDEX: u16 = spec::SHN_XINDEX.0;
pub(crate) const STB_LOCAL: u8 = spec::STB_LOCAL.0;
pub(crate) const STB_WEAK: u8 = spec::STB_WEAK.0;
pub(crate) const STB_GNU_UNIQUE: u8 = spec::STB_GNU_UNIQUE.0;
pub(crate) const STT_OBJECT: u8 = spec::STT_OBJECT.0;
pub(crate) const STT_COMMON: u8 = spec::STT_COMMON.0;
pub(crate) const STT_SECTION: u8 = spec::STT_SECTION.0;
pub(crate) const STT_FILE: u8 = spec::STT_FILE.0;
pub(crate) const STT_GNU_IFUNC: u8 = spec::STT_GNU_IFUNC.0;
