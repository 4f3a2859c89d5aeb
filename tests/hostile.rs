//! Damaged and hostile input: never a panic, never a wrong image without a word, never more memory or time than the
//! input is worth.
//!
//! - Cut inputs, at every length of the small ones and at every boundary of real kernels: an error that names field and
//!   offset, or the very image of the whole file (where only what nobody reads was cut away).
//! - Every value of every byte of the headers, absurd numbers in every field of an ELF file, random bytes behind each
//!   magic number: an error that says something, or an image below the limit.
//! - The command itself under the system's limits on memory and CPU time.
//! - The wrong file in the wrong place: an error whose help says what to do.

#[path = "support/elf.rs"]
mod elf_builder;
mod support;

use elf_builder::{
    Builder, GLOBAL, PT_LOAD, PT_TLS, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHT_PROGBITS, SHT_STRTAB, Section,
};
use kimage::assemble::{self, Assembled, UImageRequest};
use kimage::bytes::FieldError;
use kimage::codec::Codec;
use kimage::elf::{self, Elf, FlatOptions};
use kimage::error::InputError;
use kimage::format::bzimage::{self, BzImage, CrcChoice, Setup};
use kimage::format::fdt::{Dtb, Flat, Node, Property, Strings};
use kimage::format::fit::Fit;
use kimage::format::image64::Image64;
use kimage::format::pe::PeHeader;
use kimage::format::uimage::{self, Header, UImage, kind};
use kimage::format::zimage::{self, ZImage};
use kimage::layout::Plan;
use kimage::stub::{self, VOFFSET, ZOFFSET};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::process::Command;
use std::sync::OnceLock;
use support::{corpus, run, stderr, tempdir, testdata, tool};

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
            uimage::plan(&header, &plans).unwrap().emit(&mut out).unwrap();
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
    flat.plan(flat.len().next_multiple_of(4)).unwrap().emit(&mut out).unwrap();
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
        let of_stub = |error: &stub::Error| match error {
            stub::Error::Elf(error) => of_elf(error),
            stub::Error::Kernel { .. } | stub::Error::NotADecompressor { .. } | stub::Error::NotLinked => (None, true),
            stub::Error::WrongCpu { .. } | stub::Error::MissingSymbol { .. } => (None, true),
            _ => (None, false),
        };
        let (inner, about_contents) = match &error {
            Input { source: InputError::Field(error), .. } | BzImage(bzimage::Error::Setup(error)) => {
                (Some(field(error)), false)
            }
            ZImage(zimage::Error::Field(error) | zimage::Error::Dtb { source: error, .. }) => {
                (Some(field(error)), false)
            }
            Input { source: InputError::Elf(error), .. } | kimage::Error::Elf(error) => of_elf(error),
            BzImage(bzimage::Error::Elf(error)) | ZImage(zimage::Error::Elf(error)) => of_elf(error),
            Input { source: InputError::Stub(error), .. } => of_stub(error),
            BzImage(bzimage::Error::Stub(error)) | ZImage(zimage::Error::Stub(error)) => of_stub(error),
            BzImage(bzimage::Error::MixedEntry { .. }) => (None, true),
            WrongInput { .. } | Underivable { .. } | Contradiction { .. } => (None, true),
            _ => (None, false),
        };
        let (text, help) = (error.to_string(), error.help().into_owned());
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
    ZOFFSETS "zoffset" |input| shown(stub::offsets(&Elf::parse(input)?, ZOFFSET, None)?);
    VOFFSETS "voffset" |input| shown(stub::offsets(&Elf::parse(input)?, VOFFSET, None)?);
    ELF "Elf::parse" |input| {
        let elf = Elf::parse(input)?;
        let (entry, span, release) = (elf.physical_entry(), elf.physical_span(), elf.release());
        for section in elf.sections() {
            elf.contents(section)?;
        }
        shown((elf.segments(), elf.sections(), elf.symbols()?.collect::<Vec<_>>(), entry, span, release))
    };
    BZIMAGE "BzImage::parse" |input| {
        let image = BzImage::parse(input)?;
        shown((image.regions(), image.payload(), image.crc32(), image.setup().kernel_version()))
    };
    SETUP_HEADER "Setup::parse" |input| {
        let setup = Setup::parse(input)?;
        let _ = (setup.kernel_version(), setup.release_numbers(), setup.padded_len());
        shown(setup.header())
    };
    ZIMAGE "ZImage::parse" |input| {
        let image = ZImage::parse(input)?;
        let payloads = image.payload_candidates(&[0x1f, 0x8b, 8]).map(<[u8]>::len).collect::<Vec<_>>();
        shown((image.regions(), image.table(), payloads))
    };
    UIMAGE "UImage::parse" |input| {
        let image = UImage::parse(input)?;
        shown((image.regions(), image.header(), image.files().collect::<Vec<_>>(), image.check()))
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
        shown((fit.regions()?, fit.check(), data, fit.default()))
    };
    PE "PeHeader::parse" |input| shown(PeHeader::parse(input)?);
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
            return;
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

// --- cut inputs -----------------------------------------------------------------------------------------------------

/// Cut to each of `lengths`, the input is refused with field and offset, or gives what the whole one gives.
///
/// Below `known` bytes nobody can tell what it was meant to be: there the help must say what to give.
fn cut(door: Door, name: &str, input: &[u8], known: usize, lengths: impl IntoIterator<Item = usize>) {
    let whole = (door.open)(input).unwrap_or_else(|complaint| panic!("{name} into {}: {complaint:?}", door.name));
    for len in lengths {
        judge(
            door,
            || format!("{name} cut to {len} bytes"),
            &input[..len],
            |outcome| match outcome {
                Ok(made) => assert!(*made == whole, "cut to {len} bytes it gives something else than the whole"),
                Err(complaint) if len < known => {
                    assert!(complaint.names_offset() || !complaint.help.is_empty(), "{complaint:?}");
                }
                Err(complaint) => assert!(complaint.names_offset(), "{complaint:?}"),
            },
        );
    }
}

#[test]
fn small_inputs_cut_at_every_length() {
    let good = good();
    for (door, name, input, known) in [
        (VMLINUX, "vmlinux", &good.vmlinux, 4),
        (VMLINUX_5, "vmlinux", &good.vmlinux, 4),
        (ZOFFSETS, "vmlinux", &good.vmlinux, 0),
        (IMAGE, "vmlinux", &good.vmlinux, 4),
        (SETUP, "setup.elf", &good.setup_elf, 0),
        (IMAGE, "setup.elf", &good.setup_elf, 4),
        (SETUP, "setup.bin", &good.setup, 0),
        (SETUP, "setup-5.bin", &good.setup_5, 0),
        (SETUP, "setup-7.bin", &good.setup_7, 0),
        (SETUP_HEADER, "setup.bin", &good.setup, 0),
        (ARM, "arm-vmlinux", &good.arm, 4),
        (FLATTENED, "arm-vmlinux", &good.arm, 4),
        (IMAGE_FILLED, "arm-vmlinux", &good.arm, 4),
        (ELF, "arm-vmlinux", &good.arm, 0),
        (ARM, "zImage", &good.zimage, 0x28),
        (ZIMAGE, "zImage", &good.zimage, 0),
        (APPEND, "dtb", &good.dtb, 0),
        (DTB, "dtb", &good.dtb, 0),
        (BZIMAGE, "bzImage", &good.bzimage, 0),
        (UIMAGE, "uImage", &good.uimage, 0),
        (UIMAGE, "multi-file uImage", &good.multi, 0),
    ] {
        cut(door, name, input, known, 0..input.len());
    }
    // External data that is cut off is a finding: the tree can still be read.
    let fit = &good.fit;
    cut(FIT, "fit", fit, 0, 0..fit.len() - b"behind".len());
    assert_eq!(Fit::parse(&fit[..fit.len() - 1]).unwrap().check().iter().filter(|it| it.rule == "fit.data").count(), 1);
}

/// With the tables in front, cutting takes contents away. What nobody reads is not missed; all else is.
#[test]
fn contents_cut_at_every_length() {
    for (doors, name, input) in [
        (&[VMLINUX, VMLINUX_5, ZOFFSETS, IMAGE, IMAGE_FILLED][..], "vmlinux", &good().vmlinux),
        (&[SETUP, IMAGE, IMAGE_FILLED], "setup.elf", &good().setup_elf),
        (&[ARM, IMAGE, IMAGE_FILLED, FLATTENED], "arm-vmlinux", &good().arm),
    ] {
        let input = rearranged(input);
        for door in doors {
            cut(*door, name, &input, 4, 0..input.len());
            // Of the .comment at the end nobody wants to know, of the section names in front of it everybody.
            let names_end = input.len() - COMMENT_LEN;
            assert!((door.open)(&input[..names_end]).is_ok(), "{name} into {}", door.name);
            assert!((door.open)(&input[..names_end - 1]).is_err(), "{name} into {}", door.name);
        }
    }
}

/// Length of the `.comment` of [`rearranged`].
const COMMENT_LEN: usize = 500;

/// The same ELF file in another order: the header tables in front of all contents, `.comment` (longer) behind them.
fn rearranged(input: &[u8]) -> Vec<u8> {
    let [header, segments, sections, _] = elf_tables(input);
    let elf = goblin::elf::Elf::parse(input).unwrap();
    let is_64 = elf.is_64;
    let (word, phentsize, shentsize) = if is_64 { (8, 56, 64) } else { (4, 32, 40) };
    let get = |at: usize| input[at..at + word].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let shift = (segments.len() + sections.len()).next_multiple_of(16) as u64;
    let contents_end = elf.section_headers.iter().filter_map(|section| section.file_range()).map(|at| at.end).max();
    let mut out = [&input[header.clone()], &input[segments.clone()], &input[sections.clone()]].concat();
    out.resize(header.end + shift as usize, 0);
    out.extend_from_slice(&input[header.end..contents_end.unwrap()]);
    let comment_at = out.len() as u64;
    out.resize(out.len() + COMMENT_LEN, b'c');

    let mut set = |at: usize, value: u64| put(&mut out, false, (at, word), value);
    set(if is_64 { 32 } else { 28 }, header.end as u64);
    set(if is_64 { 40 } else { 32 }, (header.end + segments.len()) as u64);
    for (index, at) in segments.clone().step_by(phentsize).enumerate() {
        let field = if is_64 { 8 } else { 4 };
        set(header.end + index * phentsize + field, get(at + field) + shift);
    }
    for (index, at) in sections.clone().step_by(shentsize).enumerate() {
        let (offset, to) = (8 + 2 * word, header.end + segments.len() + index * shentsize);
        set(to + offset, get(at + offset) + shift);
        if elf.shdr_strtab.get_at(elf.section_headers[index].sh_name) == Some(".comment") {
            set(to + offset, comment_at);
            set(to + offset + word, COMMENT_LEN as u64);
        }
    }
    out
}

/// A zImage with trees is cut where a tree begins: that is a good zImage with fewer trees. Elsewhere it is a bad one.
#[test]
fn appended_trees_cut_at_every_length() {
    let (input, kernel, dtb) = (&good().zimage_dtbs, good().zimage.len(), good().dtb.len());
    for len in 0..input.len() {
        let whole_trees = [kernel, kernel + dtb].contains(&len);
        for (door, known) in [(ZIMAGE, 0), (ARM, 0x28), (DATA_DTB, 0x28)] {
            judge(
                door,
                || format!("zImage with trees cut to {len} bytes"),
                &input[..len],
                |outcome| match outcome {
                    Ok(made) => assert!(whole_trees && (door.name != ARM.name || *made == input[..len]), "accepted"),
                    Err(complaint) => {
                        assert!(!whole_trees && (complaint.names_offset() || len < known), "{complaint:?}")
                    }
                },
            );
        }
    }
}

/// Headers that are not a journey's input by themselves: absent before the magic number, the same behind their end.
#[test]
fn headers_cut_at_every_length() {
    let mut image64 = vec![7; 200];
    image64[56..60].copy_from_slice(b"ARM\x64");
    let whole = (IMAGE64.open)(&image64).unwrap();
    let pe = pe_setup();
    let sections = (PE.open)(&pe).unwrap();
    for len in 0..200 {
        let outcome = (IMAGE64.open)(&image64[..len]).unwrap();
        assert_eq!(outcome, if len < 60 { b"None".to_vec() } else { whole.clone() }, "cut to {len}");
    }
    for len in 0..0x400 {
        judge(
            PE,
            || format!("PE header cut to {len}"),
            &pe[..len],
            |outcome| match outcome {
                Ok(made) if len < 2 => assert_eq!(made, b"None"),
                Ok(made) => assert!(*made == sections && len >= PE_END, "cut to {len} bytes it is read"),
                Err(complaint) => assert!(complaint.names_offset() && len < PE_END, "{complaint:?}"),
            },
        );
    }
}

/// Data for a uImage is anything: it is wrapped as far as it is there, or its CPU is asked for.
#[test]
fn data_cut_at_every_length() {
    for input in [&good().zimage, &good().zimage_dtbs, &good().setup_elf, &good().bzimage, &good().dtb] {
        for len in 0..input.len() {
            judge(
                DATA,
                || format!("data cut to {len} bytes"),
                &input[..len],
                |outcome| {
                    if let Err(complaint) = outcome {
                        assert!(!complaint.help.is_empty(), "{complaint:?}");
                    }
                },
            );
        }
    }
}

/// Lengths at and around everything that the headers of an ELF file point to, and 200 others.
fn telling_lengths(input: &[u8]) -> BTreeSet<usize> {
    let mut lengths: BTreeSet<usize> = (0..200).map(|step| step * input.len() / 200).collect();
    let mut around = |at: usize| lengths.extend([at.saturating_sub(1), at, at + 1]);
    for edge in [0, 4, 16, 52, 64, 0x1f1, 0x1fe, 0x202, 0x26c, 0x28, 0x30, 0x3c, 0x400, input.len()] {
        around(edge);
    }
    if let Ok(elf) = goblin::elf::Elf::parse(input) {
        let header = elf.header;
        for index in 0..=usize::from(header.e_phnum) {
            around(header.e_phoff as usize + index * usize::from(header.e_phentsize));
        }
        for index in 0..=usize::from(header.e_shnum) {
            around(header.e_shoff as usize + index * usize::from(header.e_shentsize));
        }
        for section in elf.section_headers.iter().filter_map(|section| section.file_range()) {
            around(section.start);
            around(section.end);
        }
    }
    lengths.retain(|len| *len < input.len());
    lengths
}

#[test]
fn corpus_inputs_cut_where_it_hurts() {
    for tree in corpus() {
        let mut files: Vec<(Door, &str, usize)> = vec![(IMAGE_LARGE, "vmlinux", 4), (VOFFSETS, "vmlinux", 0)];
        if tree.is_x86() {
            let compressed = "arch/x86/boot/compressed/vmlinux";
            files.extend([(IMAGE_LARGE, compressed, 4), (ZOFFSETS, compressed, 0)]);
            files.extend([(IMAGE, "arch/x86/boot/setup.elf", 4), (BZIMAGE, "arch/x86/boot/bzImage", 0)]);
        } else {
            let compressed = "arch/arm/boot/compressed/vmlinux";
            files.extend([(ARM, compressed, 4), (ARM, "arch/arm/boot/zImage", 0x28)]);
            files.extend([(APPEND, "arch/arm/boot/dts/vexpress-v2p-ca9.dtb", 0)]);
        }
        for (door, file, known) in files {
            let input = tree.read(file);
            cut(door, &format!("{} {file}", tree.name), &input, known, telling_lengths(&input));
        }
        if tree.is_x86() {
            bzimage_cut_where_it_hurts(tree);
        }
    }
}

/// As [`IMAGE`], for real kernels: of the image only the plan is compared.
const IMAGE_LARGE: Door =
    Door { name: "image", open: |input| shown(assemble::image(input, &FlatOptions::default())?.plan.regions()) };

/// Setup and decompressor of one build, each cut in turn.
fn bzimage_cut_where_it_hurts(tree: &support::Tree) {
    let boot = |file: &str| tree.read(&format!("arch/x86/boot/{file}"));
    let (vmlinux, want) = (boot("compressed/vmlinux"), boot("bzImage"));
    for setup in ["setup.bin", "setup.elf"] {
        let setup = boot(setup);
        let lengths = telling_lengths(&setup);
        // All that stands at the end of a setup: the last sector's worth of bytes, one by one.
        for len in lengths.into_iter().chain(setup.len() - 512..setup.len()) {
            refused(
                &tree.name,
                "setup",
                len,
                assemble::bzimage(&vmlinux, &setup[..len], CrcChoice::ByGeneration),
                &want,
            );
        }
        for len in telling_lengths(&vmlinux) {
            refused(
                &tree.name,
                "vmlinux",
                len,
                assemble::bzimage(&vmlinux[..len], &setup, CrcChoice::ByGeneration),
                &want,
            );
        }
    }
}

/// The image of a cut input is refused, or it is `want`.
#[track_caller]
fn refused(tree: &str, what: &str, len: usize, image: kimage::Result<Assembled<'_>>, want: &[u8]) {
    match image {
        Ok(image) => {
            let mut out = Vec::new();
            image.emit(&mut out).unwrap();
            support::assert_same(&format!("{tree}: {what} cut to {len}"), &out, want);
        }
        Err(error) => {
            let complaint = Complaint::from(error);
            complaint.check();
            assert!(complaint.names_offset() || len < 4, "{tree}: {what} cut to {len}: {complaint:?}");
        }
    }
}

// --- changed bytes --------------------------------------------------------------------------------------------------

/// Values that a hostile byte is most likely to have: the ends, the signs, and one bit away.
fn telling(old: u8) -> Vec<u8> {
    vec![0, 1, 0x7f, 0x80, 0xfe, 0xff, old ^ 1, old ^ 4, old ^ 0x80, old.wrapping_add(1), old.wrapping_sub(1)]
}

/// Every byte of `range` is given every value (or the telling ones).
fn change(doors: &[Door], name: &str, input: &[u8], range: Range<usize>, all: bool) {
    let mut bytes = input.to_vec();
    for at in range {
        let old = bytes[at];
        let values = if all { (0..=255).collect() } else { telling(old) };
        for value in values.into_iter().filter(|value| *value != old) {
            bytes[at] = value;
            for door in doors {
                attempt(*door, || format!("{name} with {value:#04x} at {at:#x}"), &bytes);
            }
        }
        bytes[at] = old;
    }
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

#[test]
fn every_byte_of_x86_elf_headers() {
    let good = good();
    for (doors, name, input) in
        [(&[VMLINUX, IMAGE_FILLED][..], "vmlinux", &good.vmlinux), (&[SETUP, IMAGE], "setup.elf", &good.setup_elf)]
    {
        let [header, segments, sections, symbols] = elf_tables(input);
        change(doors, name, input, header, true);
        change(doors, name, input, segments, true);
        change(doors, name, input, sections, false);
        change(&[ZOFFSETS], name, input, symbols.start..symbols.start + 200, false);
    }
}

#[test]
fn every_byte_of_arm_elf_headers() {
    let input = &good().arm;
    let [header, segments, sections, symbols] = elf_tables(input);
    change(&[ARM, ELF, DATA], "arm-vmlinux", input, header, true);
    change(&[ARM, ELF], "arm-vmlinux", input, segments, true);
    change(&[ARM, ELF], "arm-vmlinux", input, sections, false);
    change(&[ARM], "arm-vmlinux", input, symbols.start..symbols.start + 200, false);
    // The zImage header and the size table, where the decompressor has them.
    change(&[ARM], "arm-vmlinux", input, 0x1024..0x1040, true);
    change(&[ARM], "arm-vmlinux", input, 0x11bc..0x11d8, true);
}

#[test]
fn every_byte_of_setup_and_pe_headers() {
    let good = good();
    for (name, input) in [("setup.bin", &good.setup), ("setup-5.bin", &good.setup_5), ("setup-7.bin", &good.setup_7)] {
        change(&[SETUP, SETUP_HEADER], name, input, 0x1f1..0x26c, true);
    }
    change(&[SETUP], "setup.bin", &good.setup, 0x26c..good.setup.len(), false);
    let pe = pe_setup();
    change(&[PE], "PE setup", &pe, 0..PE_END, true);
    change(&[SETUP], "PE setup", &pe, 0..PE_END, false);
    change(&[BZIMAGE], "bzImage", &good.bzimage, 0x1f1..0x26c, true);
}

#[test]
fn every_byte_of_the_other_headers() {
    let good = good();
    change(&[ZIMAGE, ARM, DATA], "zImage", &good.zimage, 0x20..0x40, true);
    change(&[ZIMAGE, ARM, DATA], "zImage", &good.zimage, 0x1bc..0x1d8, true);
    change(&[ZIMAGE, ARM], "zImage", &good.zimage, 0..good.zimage.len(), false);
    let trees = good.zimage.len()..good.zimage_dtbs.len();
    change(&[ZIMAGE, ARM, DATA_DTB], "zImage with trees", &good.zimage_dtbs, trees, true);
    change(&[UIMAGE, DATA], "uImage", &good.uimage, 0..64, true);
    change(&[UIMAGE], "multi-file uImage", &good.multi, 0..good.multi.len(), true);
    change(&[DTB, APPEND], "dtb", &good.dtb, 0..good.dtb.len(), true);
    change(&[DTB, FIT], "fit", &good.fit, 0..good.fit.len(), true);
    let mut image64 = vec![7; 200];
    image64[56..60].copy_from_slice(b"RSC\x05");
    change(&[IMAGE64, DATA], "Image", &image64, 0..64, true);
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

// --- absurd numbers -------------------------------------------------------------------------------------------------

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

/// Every number of the headers and of the symbol table.
fn numbers(input: &[u8], is_64: bool) -> Vec<Number> {
    let word = if is_64 { 8 } else { 4 };
    let header = [2, 2, 4, word, word, word, 4, 2, 2, 2, 2, 2, 2];
    let segment: &[usize] = if is_64 { &[4, 4, 8, 8, 8, 8, 8, 8] } else { &[4; 8] };
    let section = [4, 4, word, word, word, word, 4, 4, word, word];
    let symbol: &[usize] = if is_64 { &[4, 1, 1, 2, 8, 8] } else { &[4, 4, 4, 1, 1, 2] };
    let [_, segments, sections, symbols] = elf_tables(input);
    let mut found = Vec::new();
    for (range, widths) in
        [(16..if is_64 { 64 } else { 52 }, &header[..]), (segments, segment), (sections, &section), (symbols, symbol)]
    {
        let (mut at, mut widths) = (range.start, widths.iter().cycle());
        while at < range.end {
            let width = *widths.next().unwrap();
            found.push((at, width));
            at += width;
        }
    }
    found
}

fn put(bytes: &mut [u8], big_endian: bool, (at, width): Number, value: u64) {
    let (be, le) = (value.to_be_bytes(), value.to_le_bytes());
    bytes[at..at + width].copy_from_slice(if big_endian { &be[8 - width..] } else { &le[..width] });
}

/// Numbers at the ends of every width, and around the length of a file.
fn absurd(len: u64) -> [u64; 20] {
    [
        0,
        1,
        len - 1,
        len,
        len + 1,
        0x7fff,
        0x8000,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_f000,
        0xffff_ffff,
        0x1_0000_0000,
        1 << 40,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - 0xfff,
        u64::MAX - 0x1000,
        u64::MAX - 1,
        u64::MAX,
    ]
}

const ELF_DOORS: [Door; 6] = [IMAGE, IMAGE_FILLED, VMLINUX_5, ARM, ELF, DATA];

#[test]
fn absurd_numbers_in_every_field() {
    for (is_64, big_endian, machine) in VARIANTS {
        let input = program(is_64, big_endian, machine);
        assert!((IMAGE.open)(&input).is_ok() && (ELF.open)(&input).is_ok());
        let mut bytes = input.clone();
        for (at, width) in numbers(&input, is_64) {
            for value in absurd(input.len() as u64) {
                put(&mut bytes, big_endian, (at, width), value);
                for door in ELF_DOORS {
                    attempt(door, || format!("machine {machine}: {value:#x} as {width} bytes at {at:#x}"), &bytes);
                }
            }
            bytes.copy_from_slice(&input);
        }
    }
}

fn quiet(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(quiet(4000))]

    /// Several at once: what one check catches may hide what the next one misses.
    #[test]
    fn absurd_numbers_in_several_fields(
        variant in prop::sample::select(&VARIANTS[..]),
        changes in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u64>()), 2..7),
    ) {
        let (is_64, big_endian, machine) = variant;
        let mut bytes = program(is_64, big_endian, machine);
        let (numbers, len) = (numbers(&bytes, is_64), bytes.len() as u64);
        for (number, value, random) in changes {
            let choices = absurd(len);
            // Some are not absurd, only wrong.
            let value = choices.get(value.index(choices.len() + 6)).copied().unwrap_or(random % (2 * len));
            put(&mut bytes, big_endian, numbers[number.index(numbers.len())], value);
        }
        for door in ELF_DOORS {
            attempt(door, || format!("several fields of machine {machine}"), &bytes);
        }
    }

    #[test]
    fn random_bytes_behind_each_magic(head in 0..MAGICS.len(), tail in vec(any::<u8>(), 0..2500), small in any::<bool>()) {
        let mut bytes = tail;
        if small {
            // Zeros and small numbers get further than noise.
            bytes.iter_mut().enumerate().filter(|(at, _)| at % 4 != 0).for_each(|(_, byte)| *byte = 0);
        }
        for (at, magic) in MAGICS[head] {
            let end = at + magic.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at..end].copy_from_slice(magic);
        }
        for door in DOORS {
            attempt(*door, || format!("random bytes behind magic {head}"), &bytes);
        }
    }
}

/// What the formats are known by, each a list of bytes and where they stand.
const MAGICS: &[&[(usize, &[u8])]] = &[
    &[],
    &[(0, b"\x7fELF")],
    // Tables at a small offset with entries of the right size: half the way in.
    &[
        (0, b"\x7fELF\x02\x01\x01\0"),
        (32, &[64, 0, 0, 0, 0, 0, 0, 0]),
        (40, &[200, 0, 0, 0, 0, 0, 0, 0]),
        (52, &[64, 0, 56, 0, 2, 0, 64, 0, 4, 0, 3, 0]),
    ],
    &[
        (0, b"\x7fELF\x01\x02\x01\0"),
        (18, &[0, 40]),
        (28, &[0, 0, 0, 60, 0, 0, 0, 200]),
        (40, &[0, 52, 0, 32, 0, 3, 0, 40, 0, 5, 0, 2]),
    ],
    &[(0x1fe, b"\x55\xaa"), (0x202, b"HdrS")],
    &[(0, b"MZ"), (0x3c, &[0x40, 0, 0, 0]), (0x40, b"PE\0\0"), (0x1fe, b"\x55\xaa"), (0x202, b"HdrS")],
    &[(0, b"MZ"), (0x3c, &[0x40, 0, 0, 0]), (0x40, b"PE\0\0"), (0x46, &[3, 0]), (0x54, &[0x60, 0])],
    &[(0x24, &[0x18, 0x28, 0x6f, 0x01])],
    &[(0x24, &[0x01, 0x6f, 0x28, 0x18]), (0x28, &[0, 0, 0, 0, 0, 0, 2, 0])],
    &[(0x24, &[0x18, 0x28, 0x6f, 0x01]), (0x28, &[0, 0, 0, 0, 0, 2, 0, 0]), (0x34, b"EEEE\x40\0\0\0"), (0x44, b"KLSZ")],
    &[(0, &[0x27, 0x05, 0x19, 0x56])],
    &[(0, &[0x27, 0x05, 0x19, 0x56]), (12, &[0, 0, 0, 100]), (30, &[kind::MULTI])],
    &[(0, &[0xd0, 0x0d, 0xfe, 0xed])],
    &[(0, &[0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0, 100])],
    &[(56, b"ARM\x64")],
    &[(56, b"RSC\x05")],
    &[(0, &[0x1f, 0x8b, 8, 0])],
    &[(0, &[0x5d, 0, 0, 0, 4])],
];

// --- memory and time ------------------------------------------------------------------------------------------------

/// The command on a file, with 256 MiB of address space and 10 seconds: it ends by itself, with a word if it fails.
#[track_caller]
fn within_limits(what: &str, args: &[&str], input: &[u8]) -> bool {
    let Some(prlimit) = tool("prlimit", "util-linux") else { return false };
    let dir = tempdir();
    let path = dir.path().join("input");
    fs::write(&path, input).unwrap();
    let mut command = Command::new(prlimit);
    command.args(["--as=268435456", "--cpu=10", "--core=0", "--"]).arg(support::kimage_path());
    let output = run(command.args(args).arg(&path).args(["-o", "/dev/null"]));
    let said = stderr(&output);
    match output.status.code() {
        Some(0) => true,
        Some(1) => {
            assert!(said.contains("error"), "{what} {args:?}: {said}");
            false
        }
        _ => panic!("{what} {args:?}: {} {said}", output.status),
    }
}

/// A number in a header is no reason to allocate.
#[test]
fn no_memory_for_a_headers_number() {
    let image = ["image"].as_slice();
    for (is_64, big_endian, machine) in VARIANTS {
        let input = program(is_64, big_endian, machine);
        let [_, segments, sections, symbols] = elf_tables(&input);
        let (word, shentsize) = if is_64 { (8, 64) } else { (4, 40) };
        let symtab = sections.clone().step_by(shentsize).rev().nth(2).unwrap();
        let section = |index: usize, field: usize| (sections.start + index * shentsize + field, word);
        let (sh_addr, sh_offset, sh_size) = (8 + word, 8 + 2 * word, 8 + 3 * word);
        let (paddr, memsz) = if is_64 { (24, 40) } else { (12, 20) };
        let counts = if is_64 { 56 } else { 44 };
        for (what, number, value) in [
            ("e_shnum", (counts + 4, 2), 0xffff),
            ("e_shnum", (counts + 4, 2), 0),
            ("e_phnum", (counts, 2), 0xffff),
            ("sh_size of section 0", section(0, sh_size), u64::MAX),
            ("sh_size of .text", section(1, sh_size), u64::MAX),
            ("sh_size of .bss", section(4, sh_size), u64::MAX),
            ("sh_size of .bss", section(4, sh_size), 0x3fff_ffff),
            ("sh_size of .symtab", (symtab + sh_size, word), u64::MAX / 2),
            ("sh_offset of .data", section(3, sh_offset), u64::MAX),
            ("sh_addr of .data", section(3, sh_addr), u64::MAX),
            ("sh_addr of .data", section(3, sh_addr), 0x3fff_0000),
            ("p_paddr", (segments.start + paddr, word), u64::MAX),
            ("p_paddr", (segments.start + paddr, word), 0x3fff_0000),
            ("p_memsz", (segments.start + memsz, word), u64::MAX),
            ("st_name", (symbols.start + 24, 4), u64::MAX),
        ] {
            let mut bytes = input.clone();
            put(&mut bytes, big_endian, number, value);
            let what = format!("machine {machine}, {what} {value:#x}");
            within_limits(&what, image, &bytes);
            match machine {
                40 => within_limits(&what, &["zimage"], &bytes),
                _ => within_limits(&what, &["uimage", "-A", "arm"], &bytes),
            };
        }
    }
}

/// A zImage is flattened in memory; its load addresses must not say how much.
#[test]
fn no_memory_for_a_scattered_zimage() {
    for distance in [0x1000_0000_u64, 0x3000_0000, 0x7000_0000] {
        let mut elf = Builder::new(false, false, 40);
        let mut text = vec![0; 0x40];
        for (at, word) in [(0x24, 0x016f_2818), (0x28, 0), (0x2c, distance as u32 + 4)] {
            text[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        elf.section(".text", SHT_PROGBITS, SHF_ALLOC, 0, &text);
        elf.section(".data", SHT_PROGBITS, SHF_ALLOC, distance, &[1; 4]);
        elf.symbol("input_data", 0, GLOBAL, 1);
        elf.symbol("_edata", distance + 4, GLOBAL, 2);
        assert!(!within_limits(&format!("data at {distance:#x}"), &["zimage"], &elf.build()));
    }
}

/// Empty sections grow into the gaps behind them; 65000 of them are no reason to think for minutes.
#[test]
fn many_empty_sections_take_no_time() {
    let mut elf = Builder::new(true, false, 62);
    for index in 0..65_000 {
        elf.section("", SHT_PROGBITS, SHF_ALLOC, 0x1000 + 2 * index, &[]);
    }
    elf.section(".data", SHT_PROGBITS, SHF_ALLOC, 0x30_0000, b"end");
    let bytes = elf.build();
    within_limits("empty sections", &["image"], &bytes);
    assert!(within_limits("empty sections", &["image", "--gap-fill", "7"], &bytes));
    // One byte each, every one over the one before.
    let mut elf = Builder::new(true, false, 62);
    for index in 0..60_000 {
        elf.section("", SHT_PROGBITS, SHF_ALLOC, 0x10_0000 - index, &[index as u8; 9]);
    }
    assert!(within_limits("overlapping sections", &["image", "--gap-fill", "7", "--pad-to", "0x200000"], &elf.build()));
}

/// Headers and symbols that all name the same megabytes, sections that all have the same contents.
#[test]
fn shared_names_and_contents_take_no_time() {
    let shared = |kind: u32, flags: u64| {
        let mut elf = Builder::new(true, false, 62);
        elf.section(".text", SHT_PROGBITS, SHF_ALLOC, 0, &vec![b'x'; 8 << 20]);
        let (offset, size) = (elf.sections[1].offset, 8 << 20);
        for _ in 0..60_000 {
            elf.header(Section { kind, flags, offset, size, ..Section::default() });
        }
        elf
    };
    // Every section name, and every symbol's name, is all of .text.
    let mut elf = shared(SHT_STRTAB, 0);
    (0..400_000).for_each(|_| elf.symbol("", 0, GLOBAL, 1));
    let mut bytes = elf.build();
    let [_, _, sections, _] = elf_tables(&bytes);
    bytes[62..64].copy_from_slice(&1_u16.to_le_bytes());
    within_limits("shared section names", &["image"], &bytes);
    let mut bytes = elf.build();
    // sh_offset and sh_size of .text go to .strtab, the last but one.
    let (text, strtab) = (sections.start + 64, sections.end - 2 * 64);
    bytes.copy_within(text + 24..text + 40, strtab + 24);
    within_limits("shared symbol names", &["zoffset"], &bytes);
    // No banner anywhere, but it must be looked for.
    let bytes = shared(SHT_PROGBITS, SHF_ALLOC).build();
    within_limits("shared contents", &["uimage"], &bytes);
    within_limits("shared contents", &["image"], &bytes);
}

/// A zImage full of gzip's magic number, each of which could begin the payload.
#[test]
fn many_payloads_take_no_time() {
    let mut bytes = [0x1f, 0x8b, 8].repeat(700_000);
    for (at, word) in [(0x24, 0x016f_2818_u32), (0x28, 0), (0x2c, bytes.len() as u32)] {
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    assert!(within_limits("gzip magics", &["uimage"], &bytes));
}

// --- the wrong file -------------------------------------------------------------------------------------------------

#[test]
fn the_wrong_file_gets_help() {
    let good = good();
    let mut image64 = vec![7; 200];
    image64[56..60].copy_from_slice(b"ARM\x64");
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let files: [(&str, &[u8]); 17] = [
        ("nothing", b""),
        ("one byte", b"\x7f"),
        ("text", b"#!/bin/sh\necho this is no kernel\n"),
        ("zeros", &[0; 4096]),
        ("gzip", &gzip),
        ("Image", &image64),
        ("vmlinux", &good.vmlinux),
        ("arm-vmlinux", &good.arm),
        ("setup.elf", &good.setup_elf),
        ("setup.bin", &good.setup),
        ("setup-7.bin", &good.setup_7),
        ("bzImage", &good.bzimage),
        ("zImage", &good.zimage),
        ("zImage with trees", &good.zimage_dtbs),
        ("uImage", &good.uimage),
        ("multi-file uImage", &good.multi),
        ("dtb", &good.dtb),
    ];
    let refused = |what: String, result: kimage::Result<Assembled<'_>>, fits: bool| match result {
        Ok(_) => assert!(fits, "{what} was accepted"),
        Err(error) => {
            assert!(!fits, "{what}: {error}");
            let complaint = Complaint::from(error);
            complaint.check();
            assert!(!complaint.help.is_empty(), "{what}: {complaint:?}");
        }
    };
    for (name, file) in files {
        for (other_name, other) in files {
            let fits = name == "vmlinux" && ["setup.bin", "setup-7.bin", "setup.elf"].contains(&other_name);
            let what = format!("kimage bzimage {name} {other_name}");
            refused(what, assemble::bzimage(file, other, CrcChoice::ByGeneration), fits);
            let arm = ["arm-vmlinux", "zImage", "zImage with trees"].contains(&name);
            let what = format!("kimage zimage {name} --append-dtb {other_name}");
            refused(what, assemble::zimage(file, &[other]), arm && other_name == "dtb");
            let what = format!("kimage uimage {name} --append-dtb {other_name}");
            let result = assemble::uimage(&UImageRequest::default(), &[file], &[other]);
            refused(what, result, name.starts_with("zImage") && other_name == "dtb");
        }
        let arm = ["arm-vmlinux", "zImage", "zImage with trees"].contains(&name);
        refused(format!("kimage zimage {name}"), assemble::zimage(file, &[]), arm);
        let elf = ["vmlinux", "arm-vmlinux", "setup.elf"].contains(&name);
        refused(format!("kimage image {name}"), assemble::image(file, &FlatOptions::default()), elf);
        // Any data is good whose CPU shows: that of a device tree, a text or a compressed nothing does not.
        let shows = elf || arm || ["Image", "setup.bin", "setup-7.bin", "bzImage"].contains(&name);
        refused(format!("kimage uimage {name}"), assemble::uimage(&UImageRequest::default(), &[file], &[]), shows);
    }
}
