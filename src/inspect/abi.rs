//! What a kernel has for modules: the symbols that it exports, with the checksums of their types, its CPU and its vermagic.

use super::describe::PAYLOAD;
use super::{Kind, Layer, LayerId, Opened};
use crate::arch::Arch;
use crate::bytes::Endian;
use crate::elf::{Elf, Export, Kind as ElfKind, kernel_exports};
use crate::format::module::{kernel_vermagic, refuses_missing_namespaces};
use crate::format::{Format, symvers};
use std::collections::{BTreeMap, BTreeSet};

/// A CPU as ELF headers and the headers around kernels tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cpu {
    pub(super) arch: Arch,
    /// 64 bits or 32, and the byte order; of a flat kernel not known.
    pub(super) form: Option<(bool, Endian)>,
}

impl Cpu {
    pub(super) fn of(elf: &Elf<'_>) -> Option<Cpu> {
        Some(Cpu { arch: elf.arch()?, form: Some((elf.is_64(), elf.endian())) })
    }

    /// May a module for `other` run on it, as far as is known?
    pub(super) fn takes(&self, other: &Cpu) -> bool {
        self.arch == other.arch && (self.form == other.form || self.form.is_none() || other.form.is_none())
    }
}

impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((is_64, endian)) = self.form else { return self.arch.fmt(f) };
        let (bits, order) = (if is_64 { 64 } else { 32 }, if endian == Endian::Little { "little" } else { "big" });
        write!(f, "{}, {bits}-bit {order}-endian", self.arch)
    }
}

type Symbols = BTreeMap<Vec<u8>, Export>;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Abi {
    /// The layer that has it: the kernel, or the text of its build.
    pub(super) layer: LayerId,
    pub(super) cpu: Option<Cpu>,
    pub(super) vermagic: Option<String>,
    /// Does it refuse a module that imports no namespace of what it wants (CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS)?
    pub(super) wants_namespaces: Option<bool>,
    /// Each symbol of its own.
    pub(super) symbols: Symbols,
    /// Are all of them there?
    pub(super) is_whole: bool,
    /// The modules of its build whose exports are known, and those.
    pub(super) modules: BTreeSet<String>,
    pub(super) of_modules: Symbols,
}

impl Abi {
    /// That of a file: Module.symvers, or one with a kernel in it.
    pub(super) fn of(opened: &Opened<'_>) -> Option<Abi> {
        let file = opened.layer(LayerId(0)).filter(|layer| !layer.is_damaged())?;
        if file.kind == Kind::Known(Format::Symvers) {
            let exports = symvers::parse(opened.bytes(file)).ok()?;
            let known = |export: &symvers::Export<'_>| Export {
                crc: Some(export.crc).filter(|crc| *crc != 0),
                is_gpl: Some(export.is_gpl),
                namespace: export.namespace.as_bytes().to_vec(),
            };
            let (own, others): (Vec<_>, Vec<_>) = exports.iter().partition(|export| export.owner == symvers::KERNEL);
            let symbols = |exports: Vec<&symvers::Export<'_>>| {
                exports.into_iter().map(|export| (export.name.as_bytes().to_vec(), known(export))).collect()
            };
            let mut modules = symvers::owners(&exports);
            let is_whole = modules.remove(symvers::KERNEL);
            let (symbols, of_modules) = (symbols(own), symbols(others));
            let (layer, wants_namespaces) = (file.id, None);
            return Some(Abi {
                layer,
                cpu: None,
                vermagic: None,
                wants_namespaces,
                symbols,
                is_whole,
                modules,
                of_modules,
            });
        }
        let (layer, kernel) = kernel(opened)?;
        let elf = Elf::parse(kernel).ok();
        if elf.as_ref().is_some_and(|elf| elf.kind() == ElfKind::Relocatable) {
            return None;
        }
        let flat = opened.arch_of(layer).map(|arch| Cpu { arch, form: None });
        let cpu = elf.as_ref().map_or(flat, Cpu::of);
        let exports = kernel_exports(kernel, cpu.map(|cpu| cpu.arch)).unwrap_or_default();
        let (symbols, is_whole) = (exports.symbols, exports.is_whole);
        let (modules, of_modules) = Default::default();
        let (vermagic, wants_namespaces) = (kernel_vermagic(kernel), refuses_missing_namespaces(kernel));
        Some(Abi { layer, cpu, vermagic, wants_namespaces, symbols, is_whole, modules, of_modules })
    }

    /// Has any symbol a checksum?
    pub(super) fn has_checksums(&self) -> bool {
        self.symbols.values().chain(self.of_modules.values()).any(|export| export.crc.is_some())
    }
}

/// The kernel: the part of that name; without a banner, which makes it one, what a decompressor unpacks, or the ELF file
/// that was given for one.
pub(super) fn kernel<'o>(opened: &'o Opened<'_>) -> Option<(LayerId, &'o [u8])> {
    if let Some(part) = opened.parts().iter().find(|part| part.name == "vmlinux") {
        return Some((part.layer, opened.part_bytes(part)));
    }
    let mut payloads = opened.layers().iter().filter(|layer| layer.name == PAYLOAD);
    let layer = match payloads.next() {
        Some(Layer { id, kind: Kind::Known(Format::Compressed(_)), .. }) => opened.children(*id).next()?,
        Some(plain) => plain,
        None => opened.layer(LayerId(0)).filter(|layer| layer.kind == Kind::Known(Format::Elf))?,
    };
    Some((layer.id, opened.bytes(layer)))
}
