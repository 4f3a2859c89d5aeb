//! ARM zImage: a decompressor that begins with its own header, optionally followed by device trees.
//!
//! Source: arch/arm/boot/compressed/head.S (`start`) and vmlinux.lds.S (`.table`), Linux 2.4 to 7.2.

use crate::bytes::{Cursor, Endian, Field, FieldError, len64, slice, slice_at};
use crate::codec::Codec;
use crate::elf::ARM_REMOVES;
use crate::finding::{Checks, Hex, Severity, rules};
use crate::format::fdt::{Behind, Dtb, FDT_MAGIC};
use crate::format::footprint::{Footprint, Stage};
use crate::format::pe;
use crate::format::zimage_stub::{PARAMETERS, StubImage};
use crate::layout::{self, Plan, Region, RegionKind, Reserver, usize_or_max};
use crate::payload::search::{Budget, Found, find_stream, kernel_end, size_behind, size_behind_zeros};
use crate::stub::arm::ArmParameters;
use crate::stub::builtin::ArmStub;
use crate::stub::{self, Stub};
use miette::Diagnostic;

/// The magic number at [`MAGIC_AT`].
pub(crate) const ZIMAGE_MAGIC: u32 = 0x016f_2818;
/// Its offset.
pub(crate) const MAGIC_AT: u64 = 0x24;
const START_AT: u64 = 0x28;
const END_AT: u64 = 0x2c;
const ENDIAN_AT: u64 = 0x30;
const ENDIAN_MARK: u32 = 0x0403_0201;
const TABLE_MARK_AT: u64 = 0x34;
const TABLE_MARK: u32 = 0x4545_4545;
const TABLE_AT: u64 = 0x38;
/// Where the branch over the header stands, and its upper byte.
const BRANCH_AT: u64 = 0x20;
const BRANCH: u32 = 0xea;
/// "KLSZ", the tag of the kernel size table.
const KLSZ: u32 = 0x5a53_4c4b;
/// Words in the table: as Linux 4.15 counts them, as Linux 5.7 does, and more than there will be for long.
const MIN_WORDS: u32 = 2;
const COUNTED_WORDS: u32 = 4;
const MAX_WORDS: u32 = 64;
/// MALLOC_SIZE (arch/arm/boot/compressed/Makefile).
const MALLOC: u32 = 65536;
/// Documentation/arch/arm/booting.rst: it must lie in the first 128 MiB of RAM.
const MAX_SIZE: u64 = 128 << 20;
/// The decompressor takes the next lower multiple of this for the start of the memory (head.S, AUTO_ZRELADDR).
const BANK: u64 = 128 << 20;
/// The 16 KiB of page tables below the kernel.
const PAGE_TABLES: u64 = 0x4000;
/// What the decompressor takes behind its image: BSS and stack (4 KiB each are plenty), and 64 KiB to allocate from.
const DECOMPRESSOR: u64 = 0x1_2000;
/// Bytes of the decompressor's code that moves it; no Linux has had more.
const RELOCATION: u64 = 0x1000;
/// Fields of the header.
pub(crate) const FIELDS: &[Field] =
    &[Field::new("start", START_AT, 4), Field::new("end", END_AT, 4), Field::new("endianness", ENDIAN_AT, 4)];
/// End of the fields that every zImage has.
const HEADER_LEN: u64 = 0x30;

/// The kernel size table that `vmlinux.lds.S` puts behind the code: how many words it has, its tag, where the size of the
/// kernel stands, the size of its BSS, from Linux 5.8 on TEXT_OFFSET and MALLOC_SIZE; a zero ends it.
///
/// As in an ATAG, the number counts itself and the tag: 4, or 6. Linux 4.15 to 5.6 wrote 2 in front of the same four words
/// ("ARM: 8970/1: decompressor: increase tag size"), counting those behind the tag alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeTable {
    /// File offset of its first word.
    pub at: u64,
    /// That word: how many 32-bit words it says to have.
    pub words: u32,
    /// File offset of the zero that ends it.
    pub end_at: u64,
    /// File offset of the 32-bit size of the decompressed kernel; the last four bytes of the payload.
    pub size_word_at: u64,
    /// Size of the decompressed kernel in bytes.
    pub kernel_size: u32,
    /// Size of its BSS in bytes.
    pub bss_size: u32,
    /// TEXT_OFFSET, from the start of RAM to the kernel, where the table goes on so far.
    pub text_offset: Option<u32>,
    /// MALLOC_SIZE, bytes of the decompressor's heap, where the table goes on so far.
    pub malloc_size: Option<u32>,
}

/// An ARM zImage, with the device trees behind it.
#[derive(Debug, Clone)]
pub struct ZImage<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    start: u32,
    end: u64,
    table: Option<SizeTable>,
    behind: Behind,
}

rules! {
    /// What is looked at in the image alone.
    pub(crate) RULES:
    pub(crate) LENGTH = "zimage.length", Error, "what follows the end by the header",
        "a decompressor that looks for an appended device tree (Linux 3.2 and newer, where it is configured) looks just there: \
         what is there is none, or is damaged",
        "cut it off, or append a device tree that is whole";
    DTB = "zimage.dtb", Warning, "place of the appended device tree",
        "the kernel's decompressor looks right behind the image and nowhere else: it does not find the tree",
        "append the device tree right behind the end of the zImage, without padding";
    TABLE = "zimage.table", Error, "size table",
        "boot loaders (kexec) reckon with a wrong size of the kernel: device tree or RAM disk may be overwritten",
        "take the zImage as it was built";
}

impl SizeTable {
    /// Bytes from the start of RAM to the kernel: TEXT_OFFSET, where the table says it (Linux 5.8 on); else the 32 KiB that nearly
    /// every machine had before.
    pub(crate) fn kernel_offset(&self) -> u64 {
        let said = self.text_offset.map(u64::from).filter(|offset| (0x4000..64 << 20).contains(offset));
        said.unwrap_or(0x8000)
    }

    /// Bytes of memory that the running kernel takes, its BSS included.
    pub(crate) fn memory(&self) -> u64 {
        u64::from(self.kernel_size) + u64::from(self.bss_size)
    }
}

/// What the decompressor takes for the start of the memory when its first byte is at `at`.
pub(crate) fn memory_start(at: u64) -> u64 {
    at / BANK * BANK
}

impl<'a> ZImage<'a> {
    /// True when the magic number stands in its place, in either byte order.
    pub(crate) fn detect(bytes: &[u8]) -> bool {
        magic_endian(bytes).is_some()
    }

    /// Reads the header, the size table and the headers of appended device trees.
    ///
    /// # Errors
    /// A [`FieldError`] when the magic number is missing, when start and end do not fit the file, when the table
    /// points out of the image, or when what follows the image is neither a device tree nor padding.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let image = Self::parse_alone(bytes)?;
        if let Some(rest) = &image.behind.rest {
            let behind = slice_at(bytes, rest).unwrap_or(&[]);
            if let Err(mut error) = Dtb::parse_at(behind, rest.start) {
                let index = image.behind.trees.len();
                error.field = format!("appended device tree {index}: {}", error.field).into();
                let help = "what follows the end of the zImage must be device tree blobs, one behind the other";
                return Err(error.with_help(help));
            }
        }
        Ok(image)
    }

    /// Reads header and size table, and what is behind the image: that may be anything.
    ///
    /// # Errors
    /// As [`ZImage::parse`], for the image itself.
    pub(crate) fn parse_alone(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let image = Self::parse_head(bytes)?;
        Ok(ZImage { behind: Behind::read(bytes, image.end), ..image })
    }

    fn parse_head(bytes: &'a [u8]) -> Result<Self, FieldError> {
        const HELP: &str = "give arch/arm/boot/zImage, or arch/arm/boot/compressed/vmlinux to make one";
        let have = len64(bytes);
        let endian = magic_endian(bytes).unwrap_or(Endian::Little);
        let cursor = Cursor::new(bytes, endian);
        cursor.magic("magic", MAGIC_AT, ZIMAGE_MAGIC).map_err(|error| error.with_help(HELP))?;
        cursor.take("zImage header", 0, HEADER_LEN).map_err(|error| error.with_help(HELP))?;
        let start = cursor.u32("start", START_AT)?;
        let stop = cursor.u32("end", END_AT)?;
        let min = u64::from(start) + HEADER_LEN;
        if u64::from(stop) < min {
            return Err(FieldError::range("end", END_AT, stop, min..=u64::from(start) + have).with_help(HELP));
        }
        let end = u64::from(stop - start);
        if end > have {
            return Err(FieldError::truncated("end", END_AT, end, have)
                .with_help("the zImage is cut off: copy it again from the build tree"));
        }
        let mark = cursor.u32("endianness mark", ENDIAN_AT).unwrap_or(0);
        // In a BE8 image the header's words are little-endian and only this one shows the data's order.
        let big_endian = endian == Endian::Big || mark == ENDIAN_MARK.swap_bytes();
        let table = size_table(&cursor, start, end)?;
        Ok(ZImage { bytes, big_endian, start, end, table, behind: Behind::default() })
    }

    /// Length in bytes of the zImage that begins `bytes`, by its header and its PE header; `None` where they do not have all
    /// of it, or do not begin with a branch over the header and have no mark in it.
    pub(crate) fn announced_len(bytes: &'a [u8]) -> Option<u64> {
        let image = Self::parse_head(bytes).ok()?;
        let word = |at| Cursor::new(bytes, magic_endian(bytes)?).u32("zImage", at).ok();
        let is_branch = word(BRANCH_AT).is_some_and(|word| word >> 24 == BRANCH);
        let is_marked = word(ENDIAN_AT).is_some_and(|mark| mark == ENDIAN_MARK || mark == ENDIAN_MARK.swap_bytes());
        (is_branch || is_marked).then(|| pe::announced_len(bytes).map_or(image.end, |len| len.max(image.end)))
    }

    /// Does the kernel run big-endian?
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// Are its own words big-endian, too (BE32)? In BE8, which ARMv6 and newer have, only the kernel's data are.
    pub(crate) fn is_old_big_endian(&self) -> bool {
        magic_endian(self.bytes) == Some(Endian::Big)
    }

    /// The link address of its first byte; 0 in images that run anywhere.
    pub(crate) fn start(&self) -> u32 {
        self.start
    }

    /// Length in bytes of the zImage proper: the offset of `_edata`, where the first appended device tree begins.
    pub fn kernel_len(&self) -> u64 {
        self.end
    }

    /// The kernel size table, which zImages have since Linux 4.15.
    pub fn table(&self) -> Option<SizeTable> {
        self.table
    }

    /// The appended device trees, the padding around them and what else is there, by file offset. The decompressor finds
    /// a tree that begins just at [`ZImage::kernel_len`], and no other.
    pub fn behind(&self) -> &Behind {
        &self.behind
    }

    /// Does something stand behind it that begins as a device tree, and is none that can be read?
    pub(crate) fn has_damaged_dtb(&self) -> bool {
        let rest = self.behind.rest.as_ref().and_then(|rest| slice_at(self.bytes, rest));
        rest.is_some_and(|rest| rest.starts_with(&FDT_MAGIC.to_be_bytes()))
    }

    /// Where the compressed kernel can begin: by the table it ends behind the size word, and it begins at a magic number
    /// of a codec before that. Candidates in file order; the caller must decode to be sure.
    pub fn payload_candidates(&self, magic: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let end = self.payload_end();
        let inside = slice(self.bytes, 0, end).unwrap_or(&[]);
        memchr::memmem::find_iter(inside, magic).filter_map(move |at| inside.get(at..)).collect::<Vec<_>>().into_iter()
    }

    /// The file offset behind the compressed kernel, its size word included; without a table, that of the image's end.
    pub(crate) fn payload_end(&self) -> u64 {
        self.table.map_or(self.end, |table| (table.size_word_at + 4).min(self.end))
    }

    /// The size table tells the end of the payload and nothing its beginning: the stream that decodes to the right size and
    /// ends at the right place is it. Without a table, one that decodes to something with a kernel's banner in it, or that has
    /// its size behind it.
    pub(crate) fn find_payload(&self, left: u64, budget: &Budget) -> Option<Found> {
        let inside = slice(self.bytes, 0, self.payload_end())?;
        // No more than the table asks for, and a byte that tells that there is more.
        let limit = self.table().map_or(left, |table| left.min(u64::from(table.kernel_size) + 1));
        let budget = (limit, budget);
        find_stream(inside, len64(inside), &Codec::ALL, budget, |codec, at, tried| match self.table() {
            Some(table) => {
                let end = table.size_word_at + 4;
                // gzip's own end is the size; the others have it behind them.
                let rest = slice(self.bytes, at.end, end.saturating_sub(at.end)).unwrap_or(&[]);
                let is_padded = || size_behind_zeros(rest, tried.inflated.produced) == Some(len64(rest));
                let fits = at.end == end || at.end == table.size_word_at || is_padded();
                (fits && tried.inflated.produced == u64::from(table.kernel_size)).then_some(end)
            }
            None => size_behind(self.bytes, codec, at, tried).or_else(|| kernel_end(self.bytes, codec, at, tried)),
        })
    }

    /// The memory that it takes when its first byte is at `at`, with what is behind it: the kernel goes to the start of
    /// the memory, its page tables in front of it.
    pub(crate) fn footprint(&self, at: u64) -> Footprint {
        let mut footprint = Footprint::default();
        let end = footprint.add(Stage::Loaded, "zImage", at, self.end, RegionKind::Payload);
        let behind = len64(self.bytes).saturating_sub(self.end);
        let end = footprint.add(Stage::Loaded, "device trees", end, behind, RegionKind::Data);
        let end = footprint.add(Stage::Loaded, "BSS, heap, stack", end, DECOMPRESSOR, None);
        let Some(table) = self.table else {
            footprint.unknown =
                Some("the zImage has no size table (Linux before 4.15): how much it unpacks is not known");
            return footprint;
        };
        let stub = StubImage::find(self.bytes);
        let fixed = stub.map(|stub| u64::from(stub.parameters.load_at)).filter(|at| *at != 0);
        let kernel = fixed.unwrap_or_else(|| memory_start(at).saturating_add(table.kernel_offset()));
        let tables = kernel.saturating_sub(PAGE_TABLES);
        footprint.add(Stage::Running, "page tables", tables, PAGE_TABLES, None);
        let bss = footprint.add(Stage::Running, "kernel", kernel, table.kernel_size.into(), RegionKind::Code);
        footprint.add(Stage::Running, "BSS", bss, table.bss_size.into(), None);
        if let Some(stub) = stub {
            stub.footprint(at, behind, &mut footprint);
            return footprint;
        }
        // head.S: in the way of what it unpacks, which has no BSS yet, the decompressor first moves itself behind it. A device
        // tree that is appended is kept out of a BSS that is longer than the decompressor in front of it.
        let has_tree = self.behind.trees.first().is_some_and(|tree| tree.start == self.end);
        let grown = if has_tree { u64::from(table.bss_size).saturating_sub(self.end) } else { 0 };
        let out = bss.saturating_add(grown);
        if at < out && tables < end {
            let moved = out.saturating_add(self.relocation_code().unwrap_or(RELOCATION)) & !0xff;
            let end = footprint.add(Stage::Decompressing, "zImage, moved", moved, self.end, RegionKind::Payload);
            let end = footprint.add(Stage::Decompressing, "device trees", end, behind, RegionKind::Data);
            footprint.add(Stage::Decompressing, "BSS, heap, stack", end, DECOMPRESSOR, None);
        }
        footprint
    }

    /// The number that head.S adds to the end of the kernel before it moves itself behind, which is the length of the code that
    /// does so: `add r10, r10, #N; bic r10, r10, #255`, as ARM or as Thumb-2 code (Arm ARM, A5.2.4 and A6.3.2).
    fn relocation_code(&self) -> Option<u64> {
        let cursor = Cursor::new(self.bytes, magic_endian(self.bytes)?);
        (HEADER_LEN..RELOCATION.min(self.end)).step_by(2).find_map(|at| {
            let word = |at: u64| cursor.u32("head.S", at).ok();
            let half = |at: u64| cursor.u16("head.S", at).ok();
            let number = match (word(at)?, word(at + 4)?) {
                (add, 0xe3ca_a0ff) if add >> 12 == 0xe28aa => (add & 0xff).rotate_right(add >> 7 & 0x1e),
                _ => match [half(at)?, half(at + 2)?, half(at + 4)?, half(at + 6)?].map(u32::from) {
                    [add, low, 0xf02a, 0x0aff] if add & !0x400 == 0xf10a && low & 0x8f00 == 0x0a00 => {
                        let rotation = (add >> 10 & 1) << 4 | (low >> 12 & 7) << 1 | (low >> 7 & 1);
                        (low & 0x7f | 0x80).rotate_right(rotation)
                    }
                    _ => return None,
                },
            };
            Some(number.into()).filter(|number| *number <= RELOCATION)
        })
    }

    /// What the image consists of.
    pub fn regions(&self) -> Vec<Region> {
        let mut regions = vec![Region::new("zImage", 0..self.end, RegionKind::Code)];
        regions.extend(self.behind.regions(0));
        regions
    }
}

fn magic_endian(bytes: &[u8]) -> Option<Endian> {
    [Endian::Little, Endian::Big]
        .into_iter()
        .find(|endian| Cursor::new(bytes, *endian).u32("magic", MAGIC_AT) == Ok(ZIMAGE_MAGIC))
}

/// Where the magic number should be of what has the mark of a size table, and no other number there.
pub(super) fn lost_magic(bytes: &[u8]) -> Option<u64> {
    (Cursor::little(bytes).u32("table mark", TABLE_MARK_AT) == Ok(TABLE_MARK)).then_some(MAGIC_AT)
}

impl ZImage<'_> {
    /// Holds header, size table and what is behind the image to the rules. That there is a kernel in it is for whoever has
    /// looked for it.
    pub(crate) fn check(&self) -> Checks {
        let mut checks = Checks::default();
        let (behind, end) = (&self.behind, self.end);
        let rest = behind.rest.as_ref();
        let found = rest.map_or(String::new(), |rest| format!("{} bytes at {:#x}", rest.end - rest.start, rest.start));
        // Without a tree there the kernel takes that of its boot loader: whatever else is there does no harm.
        let severity = if self.has_damaged_dtb() { Severity::Error } else { Severity::Warning };
        checks.expect_as(severity, &LENGTH, END_AT, rest.is_none(), found, "nothing, device trees, or padding");
        if let Some(first) = behind.trees.first() {
            let found = format!("padding, and the first device tree at {:#x}", first.start);
            checks.expect(&DTB, first.start, first.start == end, found, format!("a device tree at {end:#x}"));
        }
        self.check_table(&mut checks);
        if let Some(stub) = StubImage::find(self.bytes) {
            let of_table =
                |value: fn(&SizeTable) -> u32| self.table.as_ref().map_or(0, |table| u64::from(value(table)));
            let sizes = [of_table(|table| table.kernel_size), of_table(|table| table.bss_size)];
            let text_offset = of_table(|table| table.text_offset.unwrap_or(0));
            stub.check([self.end, sizes[0], sizes[1], text_offset, self.payload_end()], &mut checks);
        }
        checks
    }

    fn check_table(&self, checks: &mut Checks) {
        let endian = magic_endian(self.bytes).unwrap_or(Endian::Little);
        let cursor = Cursor::new(self.bytes, endian);
        let word = |at: u64| cursor.u32("zImage", at).unwrap_or(0);
        let tag = if endian == Endian::Little { KLSZ.to_le_bytes() } else { KLSZ.to_be_bytes() };
        let has_tag = memchr::memmem::find_iter(self.bytes, &tag).any(|at| at % 4 == 0);
        let mark = word(ENDIAN_AT);
        let is_mark = mark == ENDIAN_MARK || mark == ENDIAN_MARK.swap_bytes();
        let kept = is_mark || self.table.is_none() && !has_tag;
        let found = format!("endianness mark {mark:#x}");
        checks.expect(&TABLE, ENDIAN_AT, kept, found, Hex(ENDIAN_MARK.into()));
        let Some(table) = self.table else {
            let found = format!("its tag, and no mark at {TABLE_MARK_AT:#x} that says where it is");
            checks.expect(&TABLE, TABLE_MARK_AT, !has_tag, found, Hex(TABLE_MARK.into()));
            return;
        };
        let (at, words) = (table.at, table.words);
        checks.expect(&TABLE, at, matches!(words, 2 | 4 | 6), format!("{words} words"), "2, 4 or 6");
        let last = word(table.end_at);
        checks.expect(&TABLE, at, last == 0, format!("{last:#x} at its end"), "0");
        if let (Some(text), Some(malloc)) = (table.text_offset, table.malloc_size) {
            // PAGE_OFFSET + TEXT_OFFSET, where the page tables must fit below.
            let kept = text % 0x8000 == 0 && text < 64 << 20;
            let found = format!("TEXT_OFFSET {text:#x}");
            checks.expect(&TABLE, at + 16, kept, found, "a multiple of 0x8000 below 64 MiB");
            checks.expect(&TABLE, at + 20, malloc == MALLOC, format!("MALLOC_SIZE {malloc}"), MALLOC);
        }
    }
}

/// What comes of entering a zImage `offset` bytes behind its first byte, which is not 0.
///
/// arch/arm/boot/compressed/head.S, Linux 2.4 to 7.2: eight words of no effect, a branch over the header, then within four words
/// (`setend`, `mrs`, `bl`, `mov`, `mov`) what saves the registers that the boot loader hands over. A Thumb-2 kernel
/// (CONFIG_THUMB2_KERNEL) changes its state by `sub pc, pc, #3` in the eighth word.
pub(super) fn entered(bytes: &[u8], offset: u64) -> (Severity, &'static str) {
    const TO_THUMB: u32 = 0xe24f_f003;
    const SAVED_WITHIN: i64 = 0x10;
    let cursor = Cursor::new(bytes, magic_endian(bytes).unwrap_or(Endian::Little));
    let word = |at: u64| cursor.u32("zImage", at).unwrap_or(0);
    let thumb_at = (0..BRANCH_AT).step_by(4).find(|at| word(*at) == TO_THUMB);
    if thumb_at.is_some_and(|at| offset > at) {
        return (Severity::Error, "from there on it is Thumb code, but it is entered as ARM code");
    }
    if offset % 4 != 0 {
        return (Severity::Warning, "that is in the middle of an instruction");
    }
    if offset <= BRANCH_AT {
        return (Severity::Warning, "it starts all the same, by instructions without effect");
    }
    let branch = word(BRANCH_AT);
    if branch >> 24 != BRANCH {
        return (Severity::Warning, "that is behind the branch over its header");
    }
    // A signed number of words in 24 bits, counted from two instructions further on.
    let words = i64::from(branch & 0x00ff_ffff) - if branch & 0x0080_0000 == 0 { 0 } else { 1 << 24 };
    let target = i64::try_from(BRANCH_AT).unwrap_or(0) + 8 + 4 * words;
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    if offset < target {
        (Severity::Error, "its header is there, which is no code")
    } else if offset <= target + SAVED_WITHIN {
        (Severity::Warning, "that is behind the branch over its header")
    } else {
        (Severity::Error, "it would lose the device tree, whose address its first instructions save")
    }
}

fn size_table(cursor: &Cursor<'_>, start: u32, end: u64) -> Result<Option<SizeTable>, FieldError> {
    if cursor.u32("table mark", TABLE_MARK_AT) != Ok(TABLE_MARK) {
        return Ok(None);
    }
    const HELP: &str = "the extension table does not belong to this zImage: it was cut or changed after the link";
    let inside = |field, at: u64, value: u64| {
        if value.saturating_add(4) > end {
            return Err(FieldError::range(field, at, value, HEADER_LEN..=end.saturating_sub(4)).with_help(HELP));
        }
        Ok(value)
    };
    // Its value is a link address, like start and end.
    let at = u64::from(cursor.u32("table offset", TABLE_AT)?.wrapping_sub(start));
    let at = inside("table offset", TABLE_AT, at)?;
    let words = cursor.u32("table size", at)?;
    let tag = cursor.u32("table tag", at + 4)?;
    if tag != KLSZ {
        return Err(FieldError::magic("table tag", at + 4, tag, KLSZ).with_help(HELP));
    }
    if !(MIN_WORDS..=MAX_WORDS).contains(&words) {
        return Err(FieldError::range("table size", at, words, MIN_WORDS.into()..=MAX_WORDS.into()).with_help(HELP));
    }
    // Fewer than there must be are those behind the tag.
    let last = at + 4 * u64::from(words.max(COUNTED_WORDS));
    let further = |index: u32| {
        let value = (words > index).then(|| cursor.u32("size table", at + 4 * u64::from(index)));
        value.transpose()
    };
    let word = u64::from(cursor.u32("size word offset", at + 8)?);
    let size_word_at = inside("size word offset", at + 8, word)?;
    // The word itself is the compressor's trailer: little-endian in every image.
    let raw = cursor.take("kernel size", size_word_at, 4)?;
    let kernel_size = Cursor::little(raw).u32("kernel size", 0)?;
    Ok(Some(SizeTable {
        at,
        words,
        end_at: last,
        size_word_at,
        kernel_size,
        bss_size: cursor.u32("kernel bss size", at + 12)?,
        text_offset: further(4)?,
        malloc_size: further(5)?,
    }))
}

/// The parts do not make a zImage.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// A header field is impossible.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Field(#[from] FieldError),
    /// The decompressor is none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stub(#[from] stub::Error),
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
    /// The device tree given is damaged.
    #[error("device tree {index}: {source}")]
    #[diagnostic(forward(source))]
    Dtb {
        /// Which of those given, from 0.
        index: usize,
        /// What is wrong with it.
        source: FieldError,
    },
    /// A file that is longer than its tree says.
    #[error("device tree {index}: totalsize at offset 0x4 says {totalsize} bytes, the file has {have}")]
    #[diagnostic(help(
        "a decompressor reads what follows totalsize as the next tree: cut the file, or give each tree apart"
    ))]
    DtbTail {
        /// Which of those given, from 0.
        index: usize,
        /// Bytes by its header.
        totalsize: u64,
        /// Bytes given.
        have: u64,
    },
    /// The decompressor's header and its symbols disagree.
    #[error(
        "the image ends at {end:#x} by the zImage header (offset 0x2c), at {edata:#x} by the symbol _edata, and is {len:#x} long"
    )]
    #[diagnostic(help(
        "an appended device tree must begin at the end that the header names: give the decompressor as linked"
    ))]
    Length {
        /// `end` - `start` of the header.
        end: u64,
        /// `_edata`, from the start of the image.
        edata: u64,
        /// Length of the flat image.
        len: u64,
    },
}

/// What the header of a zImage and its size table have to say of an image around our own boot stub, whose other words are there:
/// at which file offset stand which words. `size_word_at` is where the size of the kernel stands.
fn header(p: &ArmParameters, size_word_at: u64, big_endian: bool) -> [(u64, Vec<u32>); 3] {
    let mark = if big_endian { ENDIAN_MARK.swap_bytes() } else { ENDIAN_MARK };
    let size_word_at = u32::try_from(size_word_at).unwrap_or(u32::MAX);
    [
        (END_AT, vec![p.image_len]),
        (ENDIAN_AT, vec![mark]),
        (PARAMETERS.end, vec![6, KLSZ, size_word_at, p.bss_len, p.text_offset, MALLOC, 0]),
    ]
}

/// A compressed kernel, and what is known of it.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Its bytes, with the size behind them.
    pub(crate) bytes: Vec<u8>,
    /// How many of them are the size's that the codec has not itself.
    pub(crate) trailer: u64,
    /// Who unpacks it.
    pub(crate) stub: ArmStub,
    /// What the stub is told: flags, and sizes and places of the kernel.
    pub(crate) parameters: ArmParameters,
    /// Does it run big-endian?
    pub(crate) big_endian: bool,
}

/// Plans a zImage around our own boot stub, with `dtbs` behind it.
///
/// # Errors
/// [`Error`]: a damaged device tree, or more than a zImage can have.
pub(crate) fn plan_packed<'a>(packed: Packed, dtbs: &[&'a [u8]]) -> Result<Plan<'a>, Error> {
    let stub = packed.stub;
    let payload_len = len64(&packed.bytes);
    let stub_len = len64(&stub.bytes);
    let payload_end = stub_len + payload_len;
    let image_len = payload_end.next_multiple_of(8);
    if image_len > MAX_SIZE {
        return Err(FieldError::range("end", END_AT, image_len, 0..=MAX_SIZE).into());
    }
    let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let parameters = ArmParameters {
        payload_at: word(stub_len),
        payload_len: word(payload_len - packed.trailer),
        image_len: word(image_len),
        stub_len: word(stub_len),
        stub_memory: word(stub.memory),
        ..packed.parameters
    };
    let mut head = stub.bytes;
    let mut put = |at: u64, words: &[u32]| {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        head.iter_mut().skip(usize_or_max(at)).zip(bytes).for_each(|(to, byte)| *to = byte);
    };
    put(PARAMETERS.start, &parameters.to_words());
    for (at, words) in header(&parameters, payload_end - 4, packed.big_endian) {
        put(at, &words);
    }
    let mut reserver = Reserver::new();
    reserver.bytes(head)?;
    reserver.bytes(packed.bytes)?;
    reserver.fill_to("the payload", image_len, 0)?;
    reserver.region("zImage", 0, RegionKind::Code);
    append_dtbs(&mut reserver, 0, dtbs)?;
    Ok(reserver.finish())
}

/// Plans the zImage of a linked decompressor: `objcopy -O binary -R .comment -S`, with `dtbs` behind it.
///
/// # Errors
/// [`Error`]: no zImage header at the front, header and length that disagree, a damaged device tree.
pub(crate) fn plan<'a>(stub: &Stub<'a>, dtbs: &[&'a [u8]]) -> Result<Plan<'a>, Error> {
    let flat = stub.flat(&ARM_REMOVES, MAX_SIZE)?;
    let (base, flat) = (flat.base.0, flat.plan);
    // The header is in the first section; the table somewhere in the code. A zImage is a few megabytes.
    let bytes = flat.bytes();
    let image = ZImage::parse_head(&bytes)?;
    // Where the decompressor looks for an appended tree: header, symbol and length must name the same place.
    let edata = stub.need("_edata", "is where an appended device tree must begin")?.wrapping_sub(base);
    if image.end != flat.len() || edata != flat.len() {
        return Err(Error::Length { end: image.end, edata, len: flat.len() });
    }
    let mut reserver = Reserver::new();
    reserver.append(&flat)?;
    reserver.region("zImage", 0, RegionKind::Code);
    append_dtbs(&mut reserver, 0, dtbs)?;
    Ok(reserver.finish())
}

/// Plans an existing zImage with further device trees behind those it has.
///
/// # Errors
/// [`Error::Dtb`] and [`Error::DtbTail`] for a tree that is damaged or has something behind it.
pub(crate) fn plan_append<'a>(image: &ZImage<'a>, dtbs: &[&'a [u8]]) -> Result<Plan<'a>, Error> {
    let mut reserver = Reserver::new();
    // A tree goes right behind the kernel, or behind the last tree: the rest of a flash block is left out.
    let end = image.behind.trees.last().map_or(image.end, |tree| tree.end);
    for region in image.regions().into_iter().filter(|region| region.at.start < end) {
        let start = reserver.at();
        reserver.bytes(slice_at(image.bytes, &region.at).unwrap_or(&[]))?;
        reserver.region(region.name, start, region.kind);
    }
    append_dtbs(&mut reserver, image.behind.trees.len(), dtbs)?;
    Ok(reserver.finish())
}

/// Holds each of `dtbs` to be one whole device tree and nothing else: what reads appended trees takes what follows
/// `totalsize` for the next one.
///
/// # Errors
/// [`Error::Dtb`] and [`Error::DtbTail`].
pub(crate) fn whole_trees(dtbs: &[&[u8]]) -> Result<(), Error> {
    for (index, bytes) in dtbs.iter().enumerate() {
        let dtb = Dtb::parse_at(bytes, 0).map_err(|source| Error::Dtb { index, source })?;
        if dtb.bytes().len() != bytes.len() {
            return Err(Error::DtbTail { index, totalsize: len64(dtb.bytes()), have: len64(bytes) });
        }
    }
    Ok(())
}

fn append_dtbs<'a>(reserver: &mut Reserver<'a>, first: usize, dtbs: &[&'a [u8]]) -> Result<(), Error> {
    whole_trees(dtbs)?;
    for (index, bytes) in dtbs.iter().enumerate() {
        let start = reserver.at();
        reserver.bytes(*bytes)?;
        reserver.region(format!("dtb[{}]", first + index), start, RegionKind::Data);
    }
    Ok(())
}
