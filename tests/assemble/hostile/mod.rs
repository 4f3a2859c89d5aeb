//! Damaged and hostile input: never a panic, never a wrong image without a word, never more memory or time than the
//! input is worth.
//!
//! - Cut inputs, at every length of the small ones and at every boundary of real kernels: an error that names field and
//!   offset, or the very image of the whole file (where only what nobody reads was cut away).
//! - Every value of every byte of the headers, absurd numbers in every field of an ELF file, random bytes behind each
//!   magic number: an error that says something, or an image below the limit.
//! - The command itself under the system's limits on memory and CPU time.
//! - The wrong file in the wrong place: an error whose help says what to do.

mod absurd;
mod changed;
mod cut;
mod limits;
mod wrong;

use crate::elf_builder::{
    Builder, GLOBAL, PT_LOAD, PT_TLS, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHT_PROGBITS, SHT_STRTAB, Section,
};
use crate::support::{self, corpus, run, stderr, tempdir, testdata, tool};
use kimage::assemble::{self, Assembled, CrcChoice, UImageRequest};
use kimage::bytes::{FieldError, help};
use kimage::codec::Codec;
use kimage::elf::{self, Elf, FlatOptions};
use kimage::error::{InputError, StubError};
use kimage::internals::Fit;
use kimage::internals::bzimage;
use kimage::internals::fdt::{Dtb, Flat, Node, Property, Strings};
use kimage::internals::image64::Image64;
use kimage::internals::pe::Pe;
use kimage::internals::uimage;
use kimage::internals::zimage::{self, ZImage};
use kimage::internals::{BzImage, Setup};
use kimage::internals::{Header, UImage, kind};
use kimage::internals::{VOFFSET, ZOFFSET};
use kimage::layout::Plan;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::process::Command;
use std::sync::OnceLock;

/// Images larger than this are refused, and none is written out.
const MAX_SIZE: u64 = 1 << 20;

/// The good inputs that the damaged ones are made from, and that stand beside them.
struct Good {
    vmlinux: Vec<u8>,
    setup: Vec<u8>,
    setup_elf: Vec<u8>,
    setup_5: Vec<u8>,
    setup_7: Vec<u8>,
    arm: Vec<u8>,
    bzimage: Vec<u8>,
    zimage: Vec<u8>,
    /// The zImage with two trees behind it.
    zimage_dtbs: Vec<u8>,
    uimage: Vec<u8>,
    multi: Vec<u8>,
    dtb: Vec<u8>,
    fit: Vec<u8>,
}

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let tiny = |name: &str| support::read(&testdata("tiny").join(name));
        let (vmlinux, setup, arm) = (tiny("vmlinux"), tiny("setup.bin"), tiny("arm-vmlinux"));
        // An empty reserve map, one root node without a name, no strings.
        let words = [0xd00d_feed, 72, 56, 72, 40, 17, 16, 0, 0, 16, 0, 0, 0, 0, 1, 0, 2, 9];
        let dtb: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
        let emit = |image: Assembled<'_>| {
            let mut out = Vec::new();
            image.emit(&mut out).unwrap();
            out
        };
        let wrap = |kind, files: &[&[u8]]| {
            let plans: Vec<Plan<'_>> = files.iter().map(|file| Plan::of("data", file)).collect();
            let name = uimage::name_bytes(b"name");
            let header = Header { time: 1, load: 2, entry: 3, os: 5, arch: 2, kind, comp: 0, name };
            let mut out = Vec::new();
            uimage::plan(None, &header, &plans).unwrap().emit(&mut out).unwrap();
            out
        };
        Good {
            bzimage: emit(assemble::bzimage(&vmlinux, &setup, CrcChoice::ByGeneration).unwrap()),
            zimage: emit(assemble::zimage(&arm, &[]).unwrap()),
            zimage_dtbs: emit(assemble::zimage(&arm, &[&dtb, &dtb]).unwrap()),
            uimage: wrap(kind::KERNEL, &[&dtb]),
            multi: wrap(kind::MULTI, &[b"one", b"four", &dtb]),
            setup_elf: tiny("setup.elf"),
            setup_5: tiny("setup-5.bin"),
            setup_7: tiny("setup-7.bin"),
            fit: small_fit(),
            vmlinux,
            setup,
            arm,
            dtb,
        }
    })
}

/// A FIT with one image in the tree and one behind it.
fn small_fit() -> Vec<u8> {
    let hash = Node::new("hash-1").with(Property::string("algo", "crc32")).with(Property::u32("value", 0x1234));
    let images = Node::new("images")
        .with_child(Node::new("one").with(Property::bytes("data", &b"inside"[..])).with_child(hash))
        .with_child(Node::new("two").with(Property::u32("data-offset", 0)).with(Property::u32("data-size", 6)));
    let configuration = Node::new("conf-1").with(Property::string("kernel", "one"));
    let root = Node::new("").with_child(images).with_child(Node::new("configurations").with_child(configuration));
    let mut out = Vec::new();
    let flat = Flat::new(&root, Strings::default()).unwrap();
    flat.plan(flat.size().next_multiple_of(4)).unwrap().emit(&mut out).unwrap();
    out.extend_from_slice(b"behind");
    out
}

/// An error, as far as it matters here.
#[derive(Debug)]
struct Complaint {
    text: String,
    help: String,
    field: Option<(String, u64)>,
    /// It is about what the input holds, not about where it is broken: it need not name an offset.
    about_contents: bool,
}

fn field(error: &FieldError) -> Complaint {
    let (text, help) = (error.to_string(), error.help.to_string());
    Complaint { text, help, field: Some((error.field.to_string(), error.at.0)), about_contents: false }
}

impl From<FieldError> for Complaint {
    fn from(error: FieldError) -> Complaint {
        field(&error)
    }
}

impl From<elf::Error> for Complaint {
    fn from(error: elf::Error) -> Complaint {
        kimage::Error::from(error).into()
    }
}

impl From<kimage::Error> for Complaint {
    fn from(error: kimage::Error) -> Complaint {
        use kimage::Error::{BzImage, Contradiction, Input, Underivable, WrongInput, ZImage};
        let of_elf = |error: &elf::Error| match error {
            elf::Error::Field(error) => (Some(field(error)), false),
            error => (None, of_contents(error)),
        };
        let of_stub = |error: &StubError| match error {
            StubError::Elf(error) | StubError::NotFlat(error) => of_elf(error),
            StubError::Kernel { .. } | StubError::NotADecompressor { .. } | StubError::NotLinked => (None, true),
            StubError::WrongCpu { .. } | StubError::NoSymbols { .. } | StubError::MissingSymbol { .. } => (None, true),
            _ => (None, false),
        };
        // Which of several inputs it is does not change what it says of the input.
        let told = if let kimage::Error::Part { source, .. } = &error { &**source } else { &error };
        let (inner, about_contents) = match told {
            Input { source: InputError::Field(error), .. } | BzImage(bzimage::Error::Setup(error)) => {
                (Some(field(error)), false)
            }
            ZImage(zimage::Error::Field(error) | zimage::Error::Dtb { source: error, .. }) => {
                (Some(field(error)), false)
            }
            Input { source: InputError::Elf(error) | InputError::SetupTooLarge(error), .. }
            | kimage::Error::Elf(error) => of_elf(error),
            Input { source: InputError::Stub(error), .. } => of_stub(error),
            BzImage(bzimage::Error::Stub(error)) | ZImage(zimage::Error::Stub(error)) => of_stub(error),
            BzImage(bzimage::Error::MixedEntry { .. }) => (None, true),
            WrongInput { .. } | Underivable { .. } | Contradiction { .. } => (None, true),
            _ => (None, false),
        };
        let (text, help) = (error.to_string(), help(&error));
        Complaint { text, help, field: inner.and_then(|inner| inner.field), about_contents }
    }
}

fn of_contents(error: &elf::Error) -> bool {
    use elf::Error::{NoSymbols, NothingToLoad, PadTooFar, SectionTooLarge, TooLarge};
    matches!(error, NoSymbols | NothingToLoad | PadTooFar { .. } | SectionTooLarge { .. } | TooLarge { .. })
}

/// Where the specifications have the fields that errors name; two places for the two classes of ELF.
const PLACES: &[(&str, &[u64])] = &[
    ("e_ident[EI_MAG]", &[0]),
    ("e_ident[EI_CLASS]", &[4]),
    ("e_ident[EI_DATA]", &[5]),
    ("e_ident[EI_VERSION]", &[6]),
    ("e_phoff", &[28, 32]),
    ("e_shoff", &[32, 40]),
    ("e_phentsize", &[42, 54]),
    ("e_phnum", &[44, 56]),
    ("e_shentsize", &[46, 58]),
    ("e_shnum", &[48, 60]),
    ("e_shstrndx", &[50, 62]),
    ("setup_sects", &[0x1f1]),
    ("syssize", &[0x1f4]),
    ("boot_flag", &[0x1fe]),
    ("header", &[0x202, 0]),
    ("init_size", &[0x260]),
    ("handover_offset", &[0x264]),
    ("kernel_info_offset", &[0x268]),
    ("e_lfanew", &[0x3c]),
    ("magic", &[0x24, 0]),
    ("start", &[0x28]),
    ("end", &[0x2c]),
    ("table offset", &[0x38]),
    ("ih_magic", &[0]),
    ("ih_size", &[12]),
    ("totalsize", &[4]),
    ("off_dt_struct", &[8]),
    ("off_dt_strings", &[12]),
    ("off_mem_rsvmap", &[16]),
    ("version", &[20]),
    ("last_comp_version", &[24]),
    ("zImage header", &[0]),
    ("fdt_header", &[0]),
    ("setup", &[0]),
];

impl Complaint {
    #[track_caller]
    fn check(&self) {
        // A terminal obeys what a file has put into a name.
        let shown = [&self.text, &self.help];
        assert!(!self.text.is_empty() && !shown.iter().any(|text| text.contains(char::is_control)), "{self:?}");
        match &self.field {
            Some((name, at)) => {
                assert!(self.text.contains(&format!("{name} at offset {at:#x}: ")), "{self:?}");
                match PLACES.iter().find(|(field, _)| field == name) {
                    Some((_, places)) => assert!(places.contains(at), "{self:?} stands at {places:x?}"),
                    // Offset 0 of whatever else is a number that was never filled in.
                    None => assert!(*at != 0 || name == "PE signature" || name.starts_with("section "), "{self:?}"),
                }
            }
            None => assert!(self.about_contents || self.names_offset(), "{self:?} names no offset"),
        }
    }

    fn names_offset(&self) -> bool {
        self.text.contains("offset 0x")
    }
}

/// What is made of an input, or the complaint about it.
type Outcome = Result<Vec<u8>, Complaint>;

/// A way into the library.
#[derive(Clone, Copy)]
struct Door {
    name: &'static str,
    open: fn(&[u8]) -> Outcome,
}

fn made(image: kimage::Result<Assembled<'_>>) -> Outcome {
    let image = image?;
    if image.plan.len() > MAX_SIZE {
        return Ok(format!("an image of {} bytes", image.plan.len()).into_bytes());
    }
    let mut out = Vec::new();
    image.emit(&mut out)?;
    assert_eq!(out.len() as u64, image.plan.len());
    Ok(out)
}

fn shown(what: impl std::fmt::Debug) -> Outcome {
    Ok(format!("{what:?}").into_bytes())
}

macro_rules! doors {
    ($($const:ident $name:literal $open:expr;)*) => {
        $(const $const: Door = Door { name: $name, open: $open };)*
        const DOORS: &[Door] = &[$($const),*];
    };
}

doors! {
    VMLINUX "bzimage VMLINUX" |input| made(assemble::bzimage(input, &good().setup, CrcChoice::ByGeneration));
    VMLINUX_5 "bzimage VMLINUX, old setup" |input| made(assemble::bzimage(input, &good().setup_5, CrcChoice::No));
    SETUP "bzimage SETUP" |input| made(assemble::bzimage(&good().vmlinux, input, CrcChoice::ByGeneration));
    ARM "zimage VMLINUX" |input| made(assemble::zimage(input, &[]));
    APPEND "zimage --append-dtb DTB" |input| made(assemble::zimage(&good().arm, &[input]));
    IMAGE "image" |input| {
        let made = made(assemble::image(input, &FlatOptions { max_size: MAX_SIZE, ..FlatOptions::default() }))?;
        assert!(made.len() as u64 <= MAX_SIZE);
        Ok(made)
    };
    IMAGE_FILLED "image --gap-fill --pad-to" |input| {
        let rest = FlatOptions::default();
        let options = FlatOptions { gap_fill: Some(0x5a), pad_to: Some(0x3000), max_size: MAX_SIZE, ..rest };
        let image = made(assemble::image(input, &options))?;
        assert!(image.len() as u64 <= MAX_SIZE);
        Ok(image)
    };
    DATA "uimage DATA" |input| {
        let image = made(assemble::uimage(&UImageRequest::default(), &[input], &[]))?;
        // Data is wrapped as it is: what was cut away is not missed. A kernel is flattened first.
        assert!(image[64..] == *input || Elf::detect(input));
        shown("wrapped")
    };
    FLATTENED "uimage VMLINUX" |input| {
        let request = UImageRequest { load: Some(0), compress: Some(Codec::None), ..UImageRequest::default() };
        made(assemble::uimage(&request, &[input], &[]))
    };
    DATA_DTB "uimage DATA --append-dtb" |input| {
        made(assemble::uimage(&UImageRequest::default(), &[input], &[&good().dtb]))?;
        shown("wrapped")
    };
    ZOFFSETS "zoffset" |input| shown(kimage::internals::offsets(&Elf::parse(input)?, ZOFFSET, None)?);
    VOFFSETS "voffset" |input| shown(kimage::internals::offsets(&Elf::parse(input)?, VOFFSET, None)?);
    ELF "Elf::parse" |input| {
        let elf = Elf::parse(input)?;
        let (entry, span) = (elf.physical_entry(), kimage::internals::elf::physical_span(&elf));
        for section in elf.sections() {
            elf.contents(section)?;
        }
        shown((elf.segments(), elf.sections(), elf.symbols()?.collect::<Vec<_>>(), entry, span))
    };
    BZIMAGE "BzImage::parse" |input| {
        let image = BzImage::parse(input)?;
        shown((image.regions(), image.payload(), image.crc32(), image.setup().kernel_version()))
    };
    SETUP_HEADER "Setup::parse" |input| {
        let setup = Setup::parse(input)?;
        let _ = (setup.kernel_version(), setup.padded_len());
        shown(setup.header())
    };
    ZIMAGE "ZImage::parse" |input| {
        let image = ZImage::parse(input)?;
        let payloads = image.payload_candidates(&[0x1f, 0x8b, 8]).map(<[u8]>::len).collect::<Vec<_>>();
        shown((image.regions(), image.table(), payloads))
    };
    UIMAGE "UImage::parse" |input| {
        let image = UImage::parse(input)?;
        shown((image.regions(), image.header(), image.files().collect::<Vec<_>>()))
    };
    DTB "Dtb::parse" |input| {
        let blob = Dtb::parse_at(input, 0)?;
        let tree = blob.tree()?;
        let nodes = tree.nodes().map(|node| (node.path(), node.properties().to_vec())).collect::<Vec<_>>();
        shown((blob.bytes(), nodes, blob.reservations()?, blob.regions()?))
    };
    FIT "Fit::parse" |input| {
        let fit = Fit::parse(input)?;
        let data = fit.images().map(|image| image.data()).collect::<Vec<_>>();
        shown((fit.regions()?, kimage::internals::check_fit(&fit), data, fit.default()))
    };
    PE "Pe::parse_if_mz" |input| shown(Pe::parse_if_mz(input)?.map(|pe| (pe.at, pe.sections)));
    IMAGE64 "Image64::detect" |input| shown(Image64::detect(input));
}

/// Prints the input when the test ends in a panic meanwhile.
struct Trying<'a, F: Fn() -> String> {
    door: &'static str,
    what: F,
    input: &'a [u8],
}

impl<F: Fn() -> String> Drop for Trying<'_, F> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return; // no gap: all is well
        }
        let kept = std::env::temp_dir().join(format!("kimage-hostile-{}", std::process::id()));
        eprintln!("input: {} into {}, kept as {}", (self.what)(), self.door, kept.display());
        let _ = fs::write(&kept, self.input);
        if self.input.len() <= 4096 {
            eprintln!("its bytes: {:02x?}", self.input);
        }
    }
}

/// Opens the door and lets `check` judge what comes out.
fn judge(door: Door, what: impl Fn() -> String, input: &[u8], check: impl FnOnce(&Outcome)) {
    let trying = Trying { door: door.name, what, input };
    let outcome = (door.open)(input);
    if let Err(complaint) = &outcome {
        complaint.check();
    }
    check(&outcome);
    drop(trying);
}

/// Any answer will do, as long as it is one.
fn attempt(door: Door, what: impl Fn() -> String, input: &[u8]) {
    judge(door, what, input, |_| {});
}

/// Ranges of ELF header, program headers, section headers and symbol table.
fn elf_tables(input: &[u8]) -> [Range<usize>; 4] {
    let elf = goblin::elf::Elf::parse(input).unwrap();
    let header = elf.header;
    let (phoff, shoff) = (header.e_phoff as usize, header.e_shoff as usize);
    let symbols = elf.section_headers.iter().find(|section| section.sh_type == goblin::elf::section_header::SHT_SYMTAB);
    [
        0..usize::from(header.e_ehsize),
        phoff..phoff + usize::from(header.e_phnum) * usize::from(header.e_phentsize),
        shoff..shoff + usize::from(header.e_shnum) * usize::from(header.e_shentsize),
        symbols.and_then(|section| section.file_range()).unwrap_or(0..0),
    ]
}

/// Where the section table of [`pe_setup`] ends.
const PE_END: usize = 0x40 + 24 + 0x60 + 4 * 40;

/// The old setup with the EFI side that its `tools/build` filled in: MS-DOS and PE header, four sections.
fn pe_setup() -> Vec<u8> {
    let mut bytes = good().setup_5.clone();
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x46, &[4, 0]);
    put(0x54, &[0x60, 0]);
    for (index, name) in [&b".setup\0\0"[..], b".reloc\0\0", b".text\0\0\0", b".bss\0\0\0\0"].iter().enumerate() {
        put(0x40 + 24 + 0x60 + 40 * index, name);
    }
    bytes
}

/// A small program of any class and byte order that is everything at once, as far as that goes: a decompressor of its
/// CPU, with segments, thread-local data and symbols.
fn program(is_64: bool, big_endian: bool, machine: u16) -> Vec<u8> {
    let mut elf = Builder::new(is_64, big_endian, machine);
    let mut text = vec![0x11; 0x60];
    for (at, word) in [(0x24, 0x016f_2818_u32), (0x28, 0x1000), (0x2c, 0x1000 + 0x100)] {
        text[at..at + 4].copy_from_slice(&if big_endian { word.to_be_bytes() } else { word.to_le_bytes() });
    }
    elf.section(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0x1000, &text);
    elf.section(".tdata", SHT_PROGBITS, SHF_ALLOC | SHF_TLS | SHF_WRITE, 0x1060, &[0x22; 0x20]);
    elf.section(".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0x1080, &[0x33; 0x80]);
    elf.nobits(".bss", SHF_ALLOC | SHF_WRITE, 0x1100, 0x400);
    elf.segment(PT_LOAD, 1..3, 0x1000);
    elf.segment(PT_LOAD, 3..5, 0x1080);
    elf.segment(PT_TLS, 2..3, 0x1060);
    elf.section(".comment", SHT_PROGBITS, 0, 0, b"nobody reads this");
    for (name, value, section) in [
        ("input_data", 0x1000, 1),
        ("z_input_len", 0x60, 0xfff1),
        ("_end", 0x1500, 4),
        ("_edata", 0x1100, 3),
        ("_ehead", 0x20, 1),
        ("efi_pe_entry", 0x10, 1),
        ("efi64_stub_entry", 0x210, 1),
        ("kernel_info", 0x30, 1),
        ("_text", 0x1000, 1),
    ] {
        elf.symbol(name, value, GLOBAL, section);
    }
    elf.build()
}

const VARIANTS: [(bool, bool, u16); 5] =
    [(true, false, 62), (false, false, 3), (false, false, 40), (false, true, 40), (true, true, 0x1234)];

/// A number in an ELF file: offset and width.
type Number = (usize, usize);

fn put(bytes: &mut [u8], big_endian: bool, (at, width): Number, value: u64) {
    let (be, le) = (value.to_be_bytes(), value.to_le_bytes());
    bytes[at..at + width].copy_from_slice(if big_endian { &be[8 - width..] } else { &le[..width] });
}
