//! What the packer tells the ARM boot stub, and how the stub decides where things go.
//!
//! `core` alone: the boot stub compiles this file too.

/// Where the parameters stand in an image: right behind the header of a zImage.
pub const AT: usize = 0x40;
/// How many words of 32 bits they have. Those from [`DECIDED`] on are the stub's.
pub const WORDS: usize = 24;
/// The first of the stub's.
pub const DECIDED: usize = 16;
/// Where the kernel size table stands, which boot loaders read: behind the parameters.
pub const TABLE_AT: usize = AT + WORDS * 4;
/// The first two words: `kimage`, then the version of the block.
pub const MAGIC: [u32; 2] = [u32::from_le_bytes(*b"kima"), u32::from_le_bytes(*b"ge\x00\x01")];

/// The payload is not compressed.
pub const PLAIN: u32 = 1 << 0;
/// `bss_len` is a guess.
pub const GUESSED_BSS: u32 = 1 << 1;

/// The kernel's page tables are in front of it: 16 KiB, and 4 KiB more with LPAE.
pub const TABLES: u32 = 0x5000;
/// The kernel's own decompressor takes the next lower multiple of this for the start of the memory.
pub const BANK: u32 = 128 << 20;
/// What a device tree may grow by, when a boot loader's tags are merged into it.
pub const GROWTH: u32 = 8 << 10;

/// What the packer tells the boot stub, in the order of the words behind [`MAGIC`]. All numbers are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct ArmParameters {
    /// [`PLAIN`] and the other.
    pub flags: u32,
    /// Where the compressed kernel begins, from the first byte of the image.
    pub payload_at: u32,
    /// Its length, without the size behind it.
    pub payload_len: u32,
    /// Bytes of the kernel.
    pub unpacked_len: u32,
    /// Bytes of memory that it takes behind these.
    pub bss_len: u32,
    /// Where it goes, from the start of the memory.
    pub text_offset: u32,
    /// Where it goes, whatever the start of the memory is; 0 when that decides.
    pub load_at: u32,
    /// Bytes of the image; an appended device tree begins here.
    pub image_len: u32,
    /// Working memory of the decompressor.
    pub heap_len: u32,
    /// Bytes of the stub in the file; the stub brings it along.
    pub stub_len: u32,
    /// Bytes of the stub in memory, its variables and its stack included; the stub brings it along.
    pub stub_memory: u32,
    /// What [`summed`] gives for all words of the kernel, little-endian, and one more with what is left of it, filled up with
    /// zeros.
    pub sum: [u32; 2],
}

/// The sum of words, and the sum of all these sums: what tells damage, at two instructions a word.
#[must_use]
pub const fn summed([sum, sums]: [u32; 2], word: u32) -> [u32; 2] {
    let sum = sum.wrapping_add(word);
    [sum, sums.wrapping_add(sum)]
}

/// File offsets of the last two in the stub.
pub const LENGTHS_AT: [usize; 2] = [AT + 11 * 4, AT + 12 * 4];

impl ArmParameters {
    /// As the stub reads them.
    pub const fn to_words(self) -> [u32; WORDS] {
        [
            MAGIC[0],
            MAGIC[1],
            self.flags,
            self.payload_at,
            self.payload_len,
            self.unpacked_len,
            self.bss_len,
            self.text_offset,
            self.load_at,
            self.image_len,
            self.heap_len,
            self.stub_len,
            self.stub_memory,
            self.sum[0],
            self.sum[1],
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]
    }

    /// `None` when the first words are not [`MAGIC`].
    pub const fn from_words(words: &[u32; WORDS]) -> Option<ArmParameters> {
        let [first, second, rest @ ..] = *words;
        if first != MAGIC[0] || second != MAGIC[1] {
            return None;
        }
        #[rustfmt::skip]
        let [
            flags, payload_at, payload_len, unpacked_len, bss_len, text_offset, load_at, image_len, heap_len, stub_len,
            stub_memory, sum, sums, ..
        ] = rest;
        Some(ArmParameters {
            flags,
            payload_at,
            payload_len,
            unpacked_len,
            bss_len,
            text_offset,
            load_at,
            image_len,
            heap_len,
            stub_len,
            stub_memory,
            sum: [sum, sums],
        })
    }
}

/// A piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Its first byte.
    pub start: u32,
    /// Behind its last byte.
    pub end: u32,
}

impl Span {
    /// None of it is in the other.
    const fn is_apart(self, other: Span) -> bool {
        self.end <= other.start || other.end <= self.start || self.start >= self.end || other.start >= other.end
    }
}

/// What a machine has in its memory, as far as boot loader and device tree tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    /// Memory; those behind the last are empty.
    pub memory: [Span; 8],
    /// The RAM disk.
    pub disk: Span,
    /// The boot loader's device tree or tags.
    pub tree: Span,
}

impl Machine {
    fn banks(&self) -> impl Iterator<Item = Span> {
        self.memory.iter().copied().filter(|bank| bank.start < bank.end)
    }

    /// Adds memory, if there is room for it.
    pub fn add(&mut self, bank: Span) {
        if let Some(free) = self.memory.iter_mut().find(|bank| bank.start >= bank.end) {
            *free = bank;
        }
    }

    /// The start of the memory: the kernel's own decompressor takes `guess`, if there is memory, and its lowest else.
    fn start(&self, guess: u32) -> u32 {
        if self.banks().any(|bank| bank.start <= guess && guess < bank.end) {
            return guess;
        }
        let lowest = self.banks().map(|bank| bank.start).min();
        lowest.and_then(|lowest| rounded_up(lowest, 2 << 20)).unwrap_or(guess)
    }

    /// Is all of it memory, or not known?
    fn has(&self, span: Span) -> bool {
        let mut at = span.start;
        while let Some(bank) = self.banks().find(|bank| bank.start <= at && at < bank.end) {
            at = bank.end;
            if at >= span.end {
                return true;
            }
        }
        self.banks().next().is_none()
    }
}

/// Where all goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The kernel.
    pub kernel: u32,
    /// The image, which may have to be moved.
    pub image: u32,
    /// The start of the memory.
    pub memory: u32,
    /// The stub that unpacks, behind the image and its device tree.
    pub run: u32,
    /// Behind all that is used.
    pub end: u32,
}

/// Why the kernel cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Memory ends before.
    Memory,
    /// The RAM disk would be overwritten.
    Disk,
    /// The device tree would be overwritten.
    Tree,
}

impl Fault {
    /// For the screen.
    pub const fn text(self) -> &'static str {
        match self {
            Fault::Memory => "too little memory",
            Fault::Disk => "the RAM disk lies where the kernel goes",
            Fault::Tree => "the device tree lies where the kernel goes",
        }
    }
}

/// The next multiple of a power of two. (`u32::checked_next_multiple_of` brings a division along, which no ARMv5 has.)
fn rounded_up(at: u32, to: u32) -> Option<u32> {
    Some(at.checked_add(to - 1)? & !(to - 1))
}

/// The next multiple of 64, with at least that much between.
pub const fn behind(at: u32) -> u32 {
    at.saturating_add(127) & !63
}

/// Where what follows the stub goes that runs at `run`: the device tree that is written, then the decompressor's memory.
#[inline(never)]
pub const fn work(p: &ArmParameters, run: u32, tree_len: u32) -> [u32; 3] {
    let tree = behind(run.saturating_add(p.stub_memory));
    let heap = behind(tree.saturating_add(if tree_len == 0 { 0 } else { tree_len.saturating_add(GROWTH) }));
    [tree, heap, heap.saturating_add(p.heap_len)]
}

/// Decides for an image that lies at `base`, with a device tree of `tree_len` bytes behind it.
///
/// # Errors
/// [`Fault`].
pub fn decide(p: &ArmParameters, machine: &Machine, base: u32, tree_len: u32) -> Result<Decision, Fault> {
    let memory = machine.start(base & !(BANK - 1));
    let kernel = if p.load_at == 0 { memory.saturating_add(p.text_offset) } else { p.load_at };
    let end = kernel.checked_add(p.unpacked_len).and_then(|end| end.checked_add(p.bss_len)).ok_or(Fault::Memory)?;
    let end = rounded_up(end, 4096).ok_or(Fault::Memory)?;
    let taken = Span { start: kernel.saturating_sub(TABLES), end };
    let sure = Span { start: kernel, end: if p.flags & GUESSED_BSS == 0 { end } else { kernel + p.unpacked_len } };
    if !machine.has(sure) {
        return Err(Fault::Memory);
    }
    if !machine.disk.is_apart(sure) {
        return Err(Fault::Disk);
    }
    if !machine.tree.is_apart(sure) {
        return Err(Fault::Tree);
    }
    let file = p.image_len.saturating_add(tree_len);
    let place = |image: u32| {
        let run = behind(image.saturating_add(file));
        let [.., end] = work(p, run, tree_len);
        (run, Span { start: image, end })
    };
    // What moves up must not run over the code that moves it.
    let above = end.max(rounded_up(base.saturating_add(p.stub_len), 4096).ok_or(Fault::Memory)?);
    let mut image = base;
    // Out of the way of one it may get into that of another, but never down.
    for _ in 0..4 {
        let (run, used) = place(image);
        let mut next = image;
        for what in &[taken, machine.disk, machine.tree] {
            if !used.is_apart(*what) {
                next = next.max(what.end).max(above);
            }
        }
        if next == image {
            return match machine.has(used) {
                true => Ok(Decision { kernel, image, memory, run, end: used.end }),
                false => Err(Fault::Memory),
            };
        }
        image = rounded_up(next, 4096).ok_or(Fault::Memory)?;
    }
    Err(Fault::Memory)
}
