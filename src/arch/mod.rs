//! Layer 2: what differs from CPU to CPU. Facts only: no input, no output, no container.

pub(crate) mod x86;

use crate::bytes::Endian;

/// What kimage needs to know of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArchFacts {
    /// The name in kimage's messages.
    pub name: &'static str,
    /// `e_machine` values (gABI, "Machine"); the first is the current one.
    pub elf_machines: &'static [u16],
    /// ELF class that tells this CPU from another with the same `e_machine`; `None` when either will do.
    pub elf_is_64: Option<bool>,
    /// How GNU objcopy writes its ELF files; `None` where kimage was never compared with it.
    pub objcopy: Option<Objcopy>,
}

/// What GNU objcopy 2.40 does differently from CPU to CPU, found by comparing what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Objcopy {
    /// The page in bytes that it takes where no segment names one.
    pub page: u64,
    /// The relocations of `.plt` are told to be about `.got.plt`, or `.got`, and not about `.plt` itself.
    pub plt_is_got: bool,
    /// With `--strip-debug` every section of a file without relocations gets a symbol.
    pub section_symbols: bool,
}

const fn facts(name: &'static str, elf_machines: &'static [u16], elf_is_64: Option<bool>) -> ArchFacts {
    ArchFacts { name, elf_machines, elf_is_64, objcopy: None }
}

impl ArchFacts {
    const fn objcopy(self, page: u64, plt_is_got: bool, section_symbols: bool) -> ArchFacts {
        ArchFacts { objcopy: Some(Objcopy { page, plt_is_got, section_symbols }), ..self }
    }
}

/// Makes [`Arch`] with the facts of each, in the order in which [`Arch::from_elf_machine`] asks.
macro_rules! arches {
    ($(#[$doc:meta])* { $($(#[$arch_doc:meta])* $arch:ident = $facts:expr;)* }) => {
        $(#[$doc])*
        pub enum Arch { $($(#[$arch_doc])* $arch,)* }

        const ALL: &[Arch] = &[$(Arch::$arch),*];

        impl Arch {
            /// The facts of this CPU, in one place.
            pub(crate) const fn facts(self) -> ArchFacts {
                match self { $(Arch::$arch => $facts,)* }
            }
        }
    };
}
arches! {
    /// A CPU family that Linux runs on.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    {
        /// 32-bit x86.
        X86 = facts("i386", &[3], None).objcopy(0x1000, true, false);
        /// 64-bit x86.
        X86_64 = facts("x86-64", &[62], None).objcopy(0x1000, true, false);
        /// 32-bit ARM.
        Arm = facts("ARM", &[40], None).objcopy(0x1000, true, true);
        /// 64-bit ARM.
        Arm64 = facts("arm64", &[183], None).objcopy(0x1_0000, true, true);
        /// RISC-V, 32 or 64 bit.
        Riscv = facts("RISC-V", &[243], None).objcopy(0x1000, true, true);
        /// LoongArch, 32 or 64 bit.
        LoongArch = facts("LoongArch", &[258], None);
        /// MIPS, 64 bit.
        Mips64 = facts("MIPS64", &[8], Some(true)).objcopy(0x1_0000, false, true);
        /// MIPS, 32 bit.
        Mips = facts("MIPS", &[8, 10], None).objcopy(0x1_0000, false, true);
        /// PowerPC, 32 or 64 bit.
        PowerPc = facts("PowerPC", &[20, 21], None).objcopy(0x1_0000, false, true);
        /// Motorola 68000.
        M68k = facts("m68k", &[4], None).objcopy(0x2000, true, true);
        /// Xilinx MicroBlaze.
        MicroBlaze = facts("MicroBlaze", &[189, 0xbaab], None);
        /// Tensilica Xtensa.
        Xtensa = facts("Xtensa", &[94, 0xabc7], None);
        /// SuperH.
        Sh = facts("SuperH", &[42], None).objcopy(0x1_0000, true, true);
        /// ARC.
        Arc = facts("ARC", &[93, 195, 45], None).objcopy(0x2000, true, true);
        /// Nios II.
        Nios2 = facts("Nios II", &[113], None);
        /// OpenRISC 1000.
        OpenRisc = facts("OpenRISC", &[92], None);
        /// SPARC, 64 bit.
        Sparc64 = facts("SPARC64", &[43], None).objcopy(0x10_0000, false, true);
        /// SPARC, 32 bit.
        Sparc = facts("SPARC", &[2, 18], None).objcopy(0x1_0000, false, true);
        /// IBM S/390.
        S390 = facts("S/390", &[22], None).objcopy(0x1000, true, true);
    }
}

impl Arch {
    /// Does the kernel's build compress a stripped ELF file for this CPU? For the others it compresses a flat binary.
    ///
    /// Linux 6.1: arch/x86/boot/compressed/Makefile, arch/powerpc/boot/wrapper, arch/m68k/Makefile,
    /// arch/sparc/boot/Makefile.
    pub(crate) const fn compresses_elf(self) -> bool {
        matches!(self, Arch::X86 | Arch::X86_64 | Arch::PowerPc | Arch::M68k | Arch::Sparc | Arch::Sparc64)
    }

    /// Loaded sections that are none of a flat kernel: the linker script of the kernel drops them, a plain link leaves
    /// them at addresses of their own.
    ///
    /// Linux 6.1: arch/mips/boot/Makefile (`drop-sections`) and arch/mips/kernel/vmlinux.lds.S (`/DISCARD/`).
    pub(crate) const fn left_out_of_flat(self) -> &'static [&'static str] {
        match self {
            Arch::Mips | Arch::Mips64 => &[".reginfo", ".MIPS.abiflags", ".MIPS.options", ".options", ".note", ".pdr"],
            _ => &[],
        }
    }

    /// The `e_machine` and `e_flags` of an ELF file for a kernel of which only the CPU is known: the newest ABI and the most
    /// instructions, so that disassemblers know them all (binutils 2.40, include/elf/).
    pub(crate) fn elf_ids(self, is_64: bool, endian: Endian) -> (u16, u32) {
        let machines = self.facts().elf_machines;
        let first = machines.first().copied().unwrap_or(0);
        match self {
            // EF_ARM_EABI_VER5.
            Arch::Arm => (first, 0x0500_0000),
            // E_MIPS_ARCH_32R2 and E_MIPS_ABI_O32, E_MIPS_ARCH_64R2; EF_MIPS_NOREORDER.
            Arch::Mips => (first, 0x7000_1001),
            Arch::Mips64 => (first, 0x8000_0001),
            // EF_RISCV_RVC.
            Arch::Riscv => (first, 1),
            // EF_LOONGARCH_ABI_DOUBLE_FLOAT, EF_LOONGARCH_OBJABI_V1.
            Arch::LoongArch => (first, 0x43),
            // Another number for 64 bits, of which little-endian kernels have version 2 of the ABI.
            Arch::PowerPc if is_64 => {
                (machines.last().copied().unwrap_or(first), if endian == Endian::Little { 2 } else { 0 })
            }
            // EF_SH4.
            Arch::Sh => (first, 9),
            _ => (first, 0),
        }
    }

    /// The CPU of an ELF file with this `e_machine` and class.
    pub(crate) fn from_elf_machine(machine: u16, is_64: bool) -> Option<Arch> {
        ALL.iter().copied().find(|arch| {
            let facts = arch.facts();
            facts.elf_machines.contains(&machine) && facts.elf_is_64.is_none_or(|want| want == is_64)
        })
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.facts().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arch_is_found_by_its_own_machine() {
        for &arch in ALL {
            let facts = arch.facts();
            let is_64 = facts.elf_is_64.unwrap_or(false);
            assert_eq!(Arch::from_elf_machine(facts.elf_machines[0], is_64), Some(arch), "{arch}");
        }
        assert_eq!(Arch::from_elf_machine(8, true), Some(Arch::Mips64));
        assert_eq!(Arch::from_elf_machine(8, false), Some(Arch::Mips));
        assert_eq!(Arch::from_elf_machine(0, false), None);
    }
}
