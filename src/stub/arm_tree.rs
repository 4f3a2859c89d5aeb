//! What the ARM boot stub reads of device trees and of a boot loader's tags, and writes into a device tree.
//!
//! `core` alone: the boot stub compiles this file too. It trusts no number that it reads. (Devicetree specification 0.4, chapter
//! 5; Documentation/arch/arm/booting.rst and arch/arm/include/uapi/asm/setup.h, Linux 6.1.)

use super::arm::{Machine, Span};

/// The first word of a device tree, big-endian.
pub const TREE_MAGIC: u32 = 0xd00d_feed;
const HEADER_LEN: usize = 40;
const VERSION: u32 = 17;
const OLDEST: u32 = 16;

const BEGIN: u32 = 1;
const END: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const FINISH: u32 = 9;

const CORE: u32 = 0x5441_0001;
const MEMORY: u32 = 0x5441_0002;
const DISK: u32 = 0x5442_0005;
const SERIAL: u32 = 0x5441_0006;
const COMMAND_LINE: u32 = 0x5441_0009;

/// Properties that may be new in a tree.
const NAMES: &[u8] = b"bootargs\0linux,initrd-start\0linux,initrd-end\0reg\0device_type\0serial-number\0";
/// Where a name begins there.
const BOOTARGS: u32 = 0;
const INITRD_START: u32 = 9;
const INITRD_END: u32 = 28;
const REG: u32 = 45;
const DEVICE_TYPE: u32 = 49;
const SERIAL_NUMBER: u32 = 61;

/// Where it begins among these names; behind all of them if it is none.
#[inline(never)]
fn place(name: &[u8], names: &[u8]) -> u32 {
    let mut at = 0;
    for known in names.split(|byte| *byte == 0) {
        if known == name {
            break;
        }
        at += known.len() as u32 + 1;
    }
    at
}

/// A big-endian word. Inlined, it would be a tenth of the boot stub, as would others here that must not be.
#[inline(never)]
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    be32(bytes, at).map(u32::swap_bytes)
}

fn size(word: u32) -> usize {
    usize::try_from(word).unwrap_or(usize::MAX)
}

/// The bytes before the first that is `end`.
#[inline(never)]
fn until(bytes: &[u8], end: u8) -> &[u8] {
    bytes.split(|byte| *byte == end).next().unwrap_or_default()
}

fn text(bytes: &[u8]) -> &[u8] {
    until(bytes, 0)
}

/// A device tree.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    bytes: &'a [u8],
    strings: &'a [u8],
}

/// What the structure consists of.
#[derive(Debug, Clone, Copy)]
enum Token<'a> {
    Begin(&'a [u8]),
    End,
    Property(&'a [u8], &'a [u8]),
}

struct Tokens<'a> {
    tree: Tree<'a>,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// `None` at the end, or where it is damaged.
    #[inline(never)]
    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.tree.bytes;
        loop {
            let word = be32(bytes, self.at)?;
            self.at += 4;
            match word {
                NOP => {}
                BEGIN => {
                    let name = text(bytes.get(self.at..)?);
                    self.at += (name.len() + 4) & !3;
                    return Some(Token::Begin(name));
                }
                END => return Some(Token::End),
                PROPERTY => {
                    let len = size(be32(bytes, self.at)?);
                    let name = text(self.tree.strings.get(size(be32(bytes, self.at + 4)?)..)?);
                    let start = self.at + 8;
                    let end = start.checked_add(len)?;
                    self.at = end.checked_add(3)? & !3;
                    return Some(Token::Property(name, bytes.get(start..end)?));
                }
                _ => return None,
            }
        }
    }
}

impl<'a> Tree<'a> {
    /// Reads the header.
    pub fn read(bytes: &'a [u8]) -> Option<Tree<'a>> {
        if be32(bytes, 0)? != TREE_MAGIC || be32(bytes, 20)? < OLDEST || be32(bytes, 24)? > VERSION {
            return None;
        }
        let bytes = bytes.get(..size(be32(bytes, 4)?))?;
        let strings = bytes.get(size(be32(bytes, 12)?)..)?;
        Some(Tree { bytes, strings: strings.get(..size(be32(bytes, 32)?))? })
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline(never)]
    fn tokens(self) -> Tokens<'a> {
        Tokens { tree: self, at: be32(self.bytes, 8).map_or(0, size) }
    }

    /// How many cells addresses and sizes have below the root.
    fn cells(&self) -> [usize; 2] {
        let count = |name: &[u8]| self.property(b"", name).map_or(1, |value| size(low(value)));
        [count(b"#address-cells"), count(b"#size-cells")]
    }

    /// Memory and RAM disk, by its nodes `memory` and `chosen`.
    pub fn tell(&self, machine: &mut Machine) {
        let cells = self.cells();
        let mut tokens = self.tokens();
        let mut depth = 0;
        let (mut is_memory, mut is_usable, mut banks) = (false, false, &[][..]);
        while let Some(token) = tokens.next() {
            match token {
                Token::Begin(_) => {
                    depth += 1;
                    (is_memory, is_usable, banks) = (false, false, &[]);
                }
                Token::End => {
                    while let Some(bank) = next_bank(&mut banks, cells).filter(|_| is_memory) {
                        machine.add(bank);
                    }
                    depth -= 1;
                    banks = &[];
                }
                Token::Property(name, value) if depth == 2 => match place(name, NAMES) {
                    DEVICE_TYPE => is_memory = text(value) == b"memory",
                    REG if !is_usable => banks = value,
                    _ if name == b"linux,usable-memory" => (banks, is_usable) = (value, true),
                    _ => {}
                },
                Token::Property(..) => {}
            }
        }
        let chosen = |name: &[u8]| self.property(b"/chosen", name).unwrap_or_default();
        machine.disk = Span { start: low(chosen(b"linux,initrd-start")), end: low(chosen(b"linux,initrd-end")) };
        // What a kernel that is started after a crash may use.
        let mut usable = chosen(b"linux,usable-memory-range");
        while let Some(usable) = next_bank(&mut usable, cells) {
            for bank in &mut machine.memory {
                *bank = Span { start: bank.start.max(usable.start), end: bank.end.min(usable.end) };
            }
        }
    }
}

/// What stands behind its address in [`Tree::console`]: a PL011, else an 8250, whose registers are `1 << SHIFT` bytes apart.
pub const PL011: u32 = 1 << 2;
/// See [`PL011`].
pub const SHIFT: u32 = 3;
/// `compatible` of a PL011, and of 8250s.
const UARTS: &[u8] = b"arm,pl011\0ns16550a\0ns16550\0snps,dw-apb-uart";
const UARTS_END: u32 = 44;

impl<'a> Tree<'a> {
    /// The value of a property of the node that has this path; the root's is empty. `None`, too, where addresses are not those
    /// of the CPU.
    #[inline(never)]
    fn property(&self, path: &[u8], name: &[u8]) -> Option<&'a [u8]> {
        let mut tokens = self.tokens();
        // Nodes that are open, and how many of them are those of the path.
        let (mut depth, mut found, mut rest) = (0, 0, path);
        loop {
            match tokens.next()? {
                Token::Begin(node) => {
                    let behind = if depth == 0 {
                        Some(rest)
                    } else {
                        rest.strip_prefix(b"/").and_then(|at| at.strip_prefix(node))
                    };
                    match behind {
                        Some(behind @ ([] | [b'/', ..])) if depth == found => (found, rest) = (found + 1, behind),
                        _ => {}
                    }
                    depth += 1;
                }
                Token::End => {
                    if depth == found {
                        return None;
                    }
                    depth -= 1;
                }
                Token::Property(one, value) if depth == found => match rest.is_empty() {
                    true if one == name => return Some(value),
                    false if one == b"ranges" && !value.is_empty() => return None,
                    _ => {}
                },
                Token::Property(..) => {}
            }
        }
    }

    /// Where the serial line is that `stdout-path` names, if that is a PL011 or an 8250 on buses that translate no addresses; a
    /// multiple of 8 with [`PL011`] or [`SHIFT`] added.
    #[inline(never)]
    pub fn console(&self) -> Option<u32> {
        // Rate and parity behind it.
        let name = until(text(self.property(b"/chosen", b"stdout-path")?), b':');
        let path = if name.starts_with(b"/") { name } else { text(self.property(b"/aliases", name)?) };
        let kind = match place(text(self.property(path, b"compatible")?), UARTS) {
            0 => PL011,
            1..UARTS_END => self.property(path, b"reg-shift").map_or(0, low) & SHIFT,
            _ => return None,
        };
        // It may be the upper half.
        let reg = self.property(path, b"reg")?;
        let address = be32(reg, 0).filter(|first| *first != 0).or_else(|| be32(reg, 4))?;
        (address % 8 == 0).then_some(address | kind)
    }
}

/// The lower half of a number of one or two cells.
#[inline(never)]
fn low(value: &[u8]) -> u32 {
    value.len().checked_sub(4).and_then(|at| be32(value, at)).unwrap_or(0)
}

/// The first of some addresses with their sizes, as far as 32 bits reach; nothing where it is further up.
#[inline(never)]
fn next_bank(rest: &mut &[u8], [address, len]: [usize; 2]) -> Option<Span> {
    if !matches!((address, len), (1..=2, 1..=2)) {
        return None;
    }
    let (entry, behind) = rest.split_at_checked(4 * (address + len))?;
    *rest = behind;
    let (start, size) = entry.split_at(4 * address);
    if address == 2 && be32(start, 0) != Some(0) {
        return Some(Span::default());
    }
    let is_long = len == 2 && be32(size, 0) != Some(0);
    let end = if is_long { u32::MAX } else { low(start).saturating_add(low(size)) };
    Some(Span { start: low(start), end })
}

/// What a boot loader tells by tags.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tags<'a> {
    /// Memory and RAM disk.
    pub machine: Machine,
    /// The command line.
    pub command_line: &'a [u8],
    /// The number of the board.
    ///
    /// Its upper half, and its lower.
    pub serial: Option<[u32; 2]>,
    /// Bytes of the list.
    pub len: usize,
}

impl<'a> Tags<'a> {
    /// Reads a list of tags, up to where it ends or goes on behind `bytes`.
    pub fn read(bytes: &'a [u8]) -> Option<Tags<'a>> {
        let mut tags = Tags::default();
        if le32(bytes, 4)? != CORE {
            return None;
        }
        loop {
            let (len, tag) = (size(le32(bytes, tags.len)?), le32(bytes, tags.len + 4)?);
            if len < 2 {
                return Some(tags);
            }
            let end = tags.len.checked_add(len.checked_mul(4)?)?;
            let Some(data) = bytes.get(tags.len + 8..end) else { return Some(tags) };
            let words = le32(data, 0).zip(le32(data, 4));
            match (tag, words) {
                (MEMORY, Some((size, start))) => tags.machine.add(Span { start, end: start.saturating_add(size) }),
                (DISK, Some((start, size))) => tags.machine.disk = Span { start, end: start.saturating_add(size) },
                (SERIAL, Some((low, high))) => tags.serial = Some([high, low]),
                (COMMAND_LINE, _) => tags.command_line = text(data),
                _ => {}
            }
            tags.len = end;
        }
    }
}

/// Writes front to back.
struct Out<'o> {
    bytes: &'o mut [u8],
    at: usize,
}

impl Out<'_> {
    #[inline(never)]
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.bytes.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    #[inline(never)]
    fn word(&mut self, word: u32) -> Option<()> {
        self.put(&word.to_be_bytes())
    }

    #[inline(never)]
    fn align(&mut self) -> Option<()> {
        self.put([0; 3].get(..self.at.wrapping_neg() & 3)?)
    }

    fn begin(&mut self, name: &[u8]) -> Option<()> {
        self.word(BEGIN)?;
        self.put(name)?;
        self.put(&[0])?;
        self.align()
    }

    #[inline(never)]
    fn property(&mut self, name_at: u32, values: [&[u8]; 2]) -> Option<()> {
        self.word(PROPERTY)?;
        self.word(u32::try_from(values[0].len() + values[1].len()).ok()?)?;
        self.word(name_at)?;
        values.iter().try_for_each(|value| self.put(value))?;
        self.align()
    }
}

/// The same tree with what the tags tell: the command line in place of the tree's, the RAM disk, the memory, the serial number.
/// Returns its length; `None` where it does not fit, or is damaged.
#[inline(never)]
pub fn merged(tree: &Tree<'_>, tags: &Tags<'_>, out: &mut [u8]) -> Option<usize> {
    let mut out = Out { bytes: out, at: HEADER_LEN };
    // The reservations, at a multiple of 8, end with an empty one.
    let reservations_at = out.at;
    for entry in tree.bytes.get(size(be32(tree.bytes, 16)?)..)?.chunks_exact(16) {
        out.put(entry)?;
        if entry == [0; 16] {
            break;
        }
    }
    let start = out.at;
    let names = u32::try_from(tree.strings.len()).ok()?;
    let has_memory = tags.machine.memory.iter().any(|bank| bank.start < bank.end);
    let (mut depth, cells) = (0, tree.cells());
    let (mut at_chosen, mut at_memory) = (false, false);
    let (mut chosen, mut memory) = (false, !has_memory);
    let mut tokens = tree.tokens();
    loop {
        let at = tokens.at;
        let Some(token) = tokens.next() else { break };
        let copied = tree.bytes.get(at..tokens.at)?;
        match token {
            Token::Begin(name) => {
                depth += 1;
                out.put(copied)?;
                at_chosen = depth == 2 && name == b"chosen";
                at_memory = depth == 2 && !memory && (name == b"memory" || name.starts_with(b"memory@"));
                if depth == 1 {
                    if let Some(serial) = tags.serial {
                        let mut digits = [0; 17];
                        for (index, digit) in digits.iter_mut().take(16).enumerate() {
                            let half = (serial[index / 8] >> (28 - index % 8 * 4)) as u8 & 15;
                            *digit = half + if half < 10 { b'0' } else { b'a' - 10 };
                        }
                        out.property(names + SERIAL_NUMBER, [&digits, &[]])?;
                    }
                }
                if at_chosen {
                    chosen = true;
                    put_chosen(&mut out, tags, names)?;
                }
                if at_memory {
                    memory = true;
                    put_memory(&mut out, tags, names, cells)?;
                }
            }
            Token::End => {
                if depth == 1 && !chosen {
                    out.begin(b"chosen")?;
                    put_chosen(&mut out, tags, names)?;
                    out.word(END)?;
                }
                if depth == 1 && !memory {
                    out.begin(b"memory")?;
                    out.property(names + DEVICE_TYPE, [b"memory", &[0]])?;
                    put_memory(&mut out, tags, names, cells)?;
                    out.word(END)?;
                }
                depth -= 1;
                out.put(copied)?;
                (at_chosen, at_memory) = (false, false);
            }
            Token::Property(name, _) => {
                let name = place(name, NAMES);
                let is_replaced = match name {
                    BOOTARGS => at_chosen && !tags.command_line.is_empty(),
                    INITRD_START | INITRD_END => at_chosen && tags.machine.disk.end != 0,
                    REG => at_memory && depth == 2,
                    SERIAL_NUMBER => depth == 1 && tags.serial.is_some(),
                    _ => false,
                };
                if !(is_replaced && depth <= 2) {
                    out.put(copied)?;
                }
            }
        }
    }
    if depth != 0 {
        return None;
    }
    out.word(FINISH)?;
    let structure_len = out.at - start;
    let strings_at = out.at;
    out.put(tree.strings)?;
    out.put(NAMES)?;
    out.align()?;
    let total = out.at;
    let words = [
        TREE_MAGIC,
        u32::try_from(total).ok()?,
        u32::try_from(start).ok()?,
        u32::try_from(strings_at).ok()?,
        u32::try_from(reservations_at).ok()?,
        VERSION,
        OLDEST,
        be32(tree.bytes, 28)?,
        u32::try_from(total - strings_at).ok()?,
        u32::try_from(structure_len).ok()?,
    ];
    out.at = 0;
    words.into_iter().try_for_each(|word| out.word(word))?;
    Some(total)
}

#[inline(never)]
fn put_chosen(out: &mut Out<'_>, tags: &Tags<'_>, names: u32) -> Option<()> {
    if !tags.command_line.is_empty() {
        out.property(names + BOOTARGS, [tags.command_line, &[0]])?;
    }
    let disk = tags.machine.disk;
    if disk.end != 0 {
        out.property(names + INITRD_START, [&disk.start.to_be_bytes(), &[]])?;
        out.property(names + INITRD_END, [&disk.end.to_be_bytes(), &[]])?;
    }
    Some(())
}

#[inline(never)]
fn put_memory(out: &mut Out<'_>, tags: &Tags<'_>, names: u32, [address, len]: [usize; 2]) -> Option<()> {
    if !matches!((address, len), (1..=2, 1..=2)) {
        return None;
    }
    let mut value = [0; 8 * 16];
    let mut at = 0;
    for bank in tags.machine.memory.iter().filter(|bank| bank.start < bank.end) {
        for (cells, number) in [(address, bank.start), (len, bank.end - bank.start)] {
            at += 4 * cells;
            value.get_mut(at - 4..at)?.copy_from_slice(&number.to_be_bytes());
        }
    }
    out.property(names + REG, [value.get(..at)?, &[]])
}
