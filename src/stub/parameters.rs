//! What the packer tells the boot stub: a block of words in the stub's own bytes, at its symbol `parameters`.
//!
//! `core` alone: the boot stub compiles this file too.

/// How many words the block has.
pub const WORDS: usize = 24;
/// The block's length in bytes.
pub const LEN: usize = WORDS * 8;
/// The first word of a block, filled in or not: `kimage`, then the version of the block.
pub const MAGIC: u64 = u64::from_le_bytes(*b"kimage\x00\x01");

/// The kernel may be put elsewhere than at [`Parameters::load_min`].
pub const RELOCATABLE: u64 = 1 << 0;
/// It is entered by the 32-bit boot protocol.
pub const BITS32: u64 = 1 << 1;
/// A relocation table stands behind the kernel.
pub const RELOCS: u64 = 1 << 2;
/// The table may be used to choose addresses at random.
pub const KASLR: u64 = 1 << 3;
/// The payload is not compressed.
pub const PLAIN: u64 = 1 << 4;
/// The built-in command line is the whole one.
pub const CMDLINE_OVERRIDES: u64 = 1 << 5;
/// The kernel can take over when the CPU has five levels of page tables on.
pub const FIVE_LEVELS: u64 = 1 << 6;
/// [`Parameters::payload_sum`] is there: the payload has no sum of its own.
pub const SUMMED: u64 = 1 << 7;
/// Firmware is asked to overwrite the memory at the next start, as a kernel with `CONFIG_RESET_ATTACK_MITIGATION` asks it.
pub const MEMORY_OVERWRITE: u64 = 1 << 8;

/// What the packer tells the boot stub. All numbers are bytes; `…_at` counts from the first byte of the stub, in the
/// file and in the memory that the loader put it into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parameters {
    /// [`RELOCATABLE`] and the others.
    pub flags: u64,
    /// Where the compressed kernel begins.
    pub payload_at: u64,
    /// Its length, without the size trailer.
    pub payload_len: u64,
    /// Bytes that come out of it: an ELF file, and its relocation table.
    pub unpacked_len: u64,
    /// Bytes of the ELF file; the relocation table begins here.
    pub elf_len: u64,
    /// The lowest physical address of the kernel as it was linked.
    pub load_min: u64,
    /// The kernel may be put at multiples of this.
    pub align: u64,
    /// From the kernel's first byte to behind its last, uninitialised data included.
    pub span: u64,
    /// Virtual minus physical address of the kernel as it was linked.
    pub virt_offset: u64,
    /// Where the stub runs, from the kernel's first byte.
    pub run_at: u64,
    /// Where the built-in RAM disk goes, from the kernel's first byte.
    pub initrd_to: u64,
    /// All that is needed, from the kernel's first byte.
    pub init_size: u64,
    /// Working memory of the decompressor.
    pub heap_len: u64,
    /// Length of stub, payload and all else that the loader loads.
    pub file_len: u64,
    /// Where the built-in command line begins, right behind the payload.
    pub cmdline_at: u64,
    /// Its length; 0 when there is none.
    pub cmdline_len: u64,
    /// Where the built-in RAM disk begins.
    pub initrd_at: u64,
    /// Its length; 0 when there is none.
    pub initrd_len: u64,
    /// The stub in memory, stack and page tables included; the stub knows, others do not.
    pub stub_len: u64,
    /// XXH64 of the payload, without the size trailer; with the flag [`SUMMED`] alone.
    pub payload_sum: u64,
}

impl Parameters {
    /// As the stub reads them.
    pub const fn to_words(self) -> [u64; WORDS] {
        [
            MAGIC,
            self.flags,
            self.payload_at,
            self.payload_len,
            self.unpacked_len,
            self.elf_len,
            self.load_min,
            self.align,
            self.span,
            self.virt_offset,
            self.run_at,
            self.initrd_to,
            self.init_size,
            self.heap_len,
            self.file_len,
            self.cmdline_at,
            self.cmdline_len,
            self.initrd_at,
            self.initrd_len,
            self.stub_len,
            self.payload_sum,
            0,
            0,
            0,
        ]
    }

    /// `None` when the first word is not [`MAGIC`].
    pub const fn from_words(words: &[u64; WORDS]) -> Option<Parameters> {
        let [magic, rest @ ..] = *words;
        if magic != MAGIC {
            return None;
        }
        #[rustfmt::skip]
        let [
            flags, payload_at, payload_len, unpacked_len, elf_len, load_min, align, span, virt_offset, run_at,
            initrd_to, init_size, heap_len, file_len, cmdline_at, cmdline_len, initrd_at, initrd_len, stub_len, payload_sum, ..
        ] = rest;
        Some(Parameters {
            flags,
            payload_at,
            payload_len,
            unpacked_len,
            elf_len,
            load_min,
            align,
            span,
            virt_offset,
            run_at,
            initrd_to,
            init_size,
            heap_len,
            file_len,
            cmdline_at,
            cmdline_len,
            initrd_at,
            initrd_len,
            stub_len,
            payload_sum,
        })
    }

    /// Is this flag set?
    pub const fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        let mut words = [0; WORDS];
        for (value, word) in (100..).zip(words.iter_mut().take(21)) {
            *word = value;
        }
        assert_eq!(Parameters::from_words(&words), None);
        words[0] = MAGIC;
        assert_eq!(Parameters::from_words(&words).unwrap().to_words(), words);
    }
}
