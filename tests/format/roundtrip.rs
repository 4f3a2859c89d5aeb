//! What a plan promises, a parser finds: `parse(emit(plan)).regions() == plan.regions()` for every container, and with
//! the regions the header's values and the very bytes that went in.
//!
//! - bzImage: every x86 tree of the corpus, the tiny kernel, and setups and decompressors of random shape;
//! - zImage: the corpus, the tiny kernel, and random ones, with up to four device trees behind them;
//! - uImage: random headers around one file, several files or a script. One changed byte anywhere in it is noticed.

use crate::elf_builder::{Builder, GLOBAL, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHT_PROGBITS};
use crate::support::{self, assert_same, noise, testdata};
use kimage::assemble::{self, Assembled, CrcChoice, Facts, Generation, UImageRequest};
use kimage::internals::BzImage;
use kimage::internals::uimage::{self, NAME_LEN};
use kimage::internals::zimage::ZImage;
use kimage::internals::{Header, UImage, kind};
use kimage::layout::{Emitted, Plan, Region};
use proptest::collection::vec;
use proptest::prelude::*;

/// `IH_TYPE_FIRMWARE_IVT`, `IH_TYPE_FDT_LEGACY` of U-Boot, include/image.h.
const FIRMWARE_IVT: u8 = 32;
const FDT_LEGACY: u8 = 42;

const CRCS: [CrcChoice; 3] = [CrcChoice::ByGeneration, CrcChoice::Yes, CrcChoice::No];

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

fn emitted(image: &Assembled<'_>) -> (Vec<u8>, Emitted) {
    let mut out = Vec::new();
    let emitted = image.emit(&mut out).unwrap();
    assert_eq!(out.len() as u64, image.plan.len());
    assert_eq!(emitted.len, image.plan.len());
    (out, emitted)
}

/// The regions lie one behind the other and leave nothing out.
#[track_caller]
fn assert_whole(regions: &[Region], len: usize) {
    let mut at = 0;
    for region in regions {
        assert_eq!(region.at.start, at, "{regions:#?}");
        assert!(region.at.end > at, "{regions:#?}");
        at = region.at.end;
    }
    assert_eq!(at, len as u64, "{regions:#?}");
}

/// The bytes of the region of that name.
fn region<'b>(regions: &[Region], name: &str, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let at = &regions.iter().find(|region| region.name == name)?.at;
    Some(&bytes[at.start as usize..at.end as usize])
}

/// Reads a bzImage back; `payload` is what its header must lead to.
#[track_caller]
fn bzimage_comes_back(what: &str, image: &Assembled<'_>, payload: &[u8]) {
    let (bytes, emitted) = emitted(image);
    let parsed = BzImage::parse(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(parsed.regions(), image.plan.regions(), "{what}");
    assert_eq!(parsed.crc32(), emitted.crc32, "{what}");
    assert_whole(&parsed.regions(), bytes.len());
    let region = |name| region(&parsed.regions(), name, &bytes);
    assert_eq!(region("crc32"), emitted.crc32.map(u32::to_le_bytes).as_ref().map(<[u8; 4]>::as_slice), "{what}");
    if let Some(crc) = emitted.crc32 {
        assert_eq!(crc, !crc32fast::hash(&bytes[..bytes.len() - 4]), "{what}");
    }
    assert_same(what, region("payload").unwrap_or(&[]), payload);
    assert_eq!(parsed.payload(), region("payload"), "{what}");
    let Facts::BzImage { setup_padded: padded, protocol, ref kernel_version, .. } = image.facts else { unreachable!() };
    assert_eq!(region("setup").map(<[u8]>::len), usize::try_from(padded).ok(), "{what}");
    // Builders before protocol 2.08 counted the last paragraph and did not fill it (corpus-old, 2.6.23 to 2.6.25).
    let system = bytes.len() as u64 - padded;
    assert_eq!(u64::from(parsed.setup().header().syssize.get()), system.div_ceil(16), "{what}");
    assert!(system % 16 == 0 || protocol < 0x208 && emitted.crc32.is_none(), "{what}");
    assert_eq!(parsed.setup().version(), protocol, "{what}");
    assert_eq!(parsed.setup().kernel_version(), kernel_version.as_deref(), "{what}");
    for patch in &image.patches {
        let at = usize::try_from(patch.offset).unwrap();
        let width = usize::from(patch.width);
        assert_eq!(bytes[at..at + width], patch.new.to_le_bytes()[..width], "{what}: {patch:?}");
    }
}

#[test]
fn bzimage_of_the_corpus() {
    for tree in support::x86_trees().into_iter() {
        let boot = tree.path("arch/x86/boot");
        let vmlinux = tree.read("arch/x86/boot/compressed/vmlinux");
        let codec = tree.name.rsplit('-').next().unwrap();
        let suffix =
            [("gzip", "gz"), ("zstd", "zst")].iter().find(|(name, _)| *name == codec).map_or(codec, |(_, s)| s);
        let packed = support::read(&boot.join(format!("compressed/vmlinux.bin.{suffix}")));
        for setup in ["setup.bin", "setup.elf"] {
            let setup = support::read(&boot.join(setup));
            for crc in CRCS {
                let image = assemble::bzimage(&vmlinux, &setup, crc).unwrap();
                bzimage_comes_back(&format!("{} {crc:?}", tree.name), &image, &packed);
            }
        }
    }
}

#[test]
fn bzimage_of_the_tiny_kernel() {
    let tiny = |name: &str| support::read(&testdata("tiny").join(name));
    let vmlinux = tiny("vmlinux");
    // Where `readelf -S` of the committed file shows .rodata..compressed.
    let payload = &vmlinux[0x128f..][..0x211];
    for (setup, generation) in [
        ("setup-5.bin", Generation::Patched),
        ("setup.bin", Generation::Padded),
        ("setup.elf", Generation::Padded),
        ("setup-7.bin", Generation::Plain),
    ] {
        let bytes = tiny(setup);
        for crc in CRCS {
            let image = assemble::bzimage(&vmlinux, &bytes, crc).unwrap();
            let Facts::BzImage { generation: found, .. } = image.facts else { unreachable!() };
            assert_eq!(found, generation, "{setup}");
            bzimage_comes_back(&format!("{setup} {crc:?}"), &image, payload);
        }
    }
}

/// What a decompressor and its setup are made from.
#[derive(Debug, Clone)]
struct X86 {
    is_64: bool,
    generation: Generation,
    /// Bytes of head, payload, code, data, BSS.
    sizes: [usize; 5],
    setup_len: usize,
    protocol: u16,
    /// EFI: no PE header, one, one with `.compat` (mixed mode), one with `.bss` (Linux before 5.7).
    pe: u8,
    message: bool,
    crc: CrcChoice,
    seed: u64,
}

fn x86() -> impl Strategy<Value = X86> {
    let generation = prop_oneof![Just(Generation::Patched), Just(Generation::Padded), Just(Generation::Plain)];
    let sizes = (1..2000_usize, 1..70_000_usize, 0..5000_usize, 1..3000_usize, 0..100_000_usize);
    let crc = prop_oneof![Just(CRCS[0]), Just(CRCS[1]), Just(CRCS[2])];
    let rest = (0x800..32_000_usize, 0x200..0x210_u16, 0..4_u8, any::<bool>(), crc, any::<u64>());
    (any::<bool>(), generation, sizes, rest).prop_map(|(is_64, generation, sizes, rest)| {
        let (setup_len, protocol, pe, message, crc, seed) = rest;
        let sizes = [sizes.0, sizes.1, sizes.2, sizes.3, sizes.4];
        X86 { is_64, generation, sizes, setup_len, protocol, pe, message, crc, seed }
    })
}

impl X86 {
    fn payload(&self) -> Vec<u8> {
        noise(self.sizes[1], self.seed)
    }

    /// What a reader can find: protocols before 2.08 do not say where the payload is.
    fn shown(&self) -> Vec<u8> {
        if self.protocol < 0x208 { Vec::new() } else { self.payload() }
    }

    /// Length of the flat system: with fields that were assembled, whole paragraphs, of which the CRC takes the end.
    fn system(&self) -> usize {
        let len: usize = self.sizes[..4].iter().sum();
        if self.generation == Generation::Patched { len } else { (len + 4).next_multiple_of(16) }
    }

    fn vmlinux(&self) -> Vec<u8> {
        let mut elf = Builder::new(self.is_64, false, if self.is_64 { 62 } else { 3 });
        let [head, payload, code, data, bss] = self.sizes;
        let data = data + self.system() - self.sizes[..4].iter().sum::<usize>();
        let (code_at, data_at) = (head + payload, head + payload + code);
        let (end, bss_end) = (data_at + data, data_at + data + bss);
        let x = SHF_ALLOC | SHF_EXECINSTR;
        elf.section(".head.text", SHT_PROGBITS, x, 0, &noise(head, self.seed + 1));
        elf.section(".rodata..compressed", SHT_PROGBITS, SHF_ALLOC, head as u64, &self.payload());
        elf.section(".text", SHT_PROGBITS, x, code_at as u64, &noise(code, self.seed + 2));
        elf.section(".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, data_at as u64, &noise(data, self.seed + 3));
        elf.nobits(".bss", SHF_ALLOC | SHF_WRITE, end as u64, bss as u64);
        elf.segment(PT_LOAD, 1..6, 0);
        elf.section(".comment", SHT_PROGBITS, 0, 0, b"compiler");
        elf.section(".note", SHT_PROGBITS, SHF_ALLOC, 0, b"left out");
        for (name, value, section) in [
            ("startup_32", 0, 1),
            ("startup_64", 0x200, 1),
            ("input_data", head, 2),
            ("_ehead", head, 1),
            ("z_input_len", payload, SHN_ABS),
            ("_edata", end, 4),
            ("_end", bss_end, 5),
            ("kernel_info", data_at, 4),
            ("efi_pe_entry", code_at, 3),
            ("efi32_pe_entry", code_at + 8, 3),
            // Mixed mode wants these two 0x200 apart.
            ("efi32_stub_entry", code_at, 3),
            ("efi64_stub_entry", code_at + 0x200, 3),
        ] {
            elf.symbol(name, value as u64, GLOBAL, section);
        }
        elf.build()
    }

    fn setup(&self) -> Vec<u8> {
        let mut bytes = noise(self.setup_len, self.seed + 4);
        bytes[..0x400].fill(0);
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        if self.message {
            put(8, b"Use a boot loader");
        }
        if self.pe > 0 {
            // MS-DOS header, PE header with an optional header of 0x60 bytes, section table.
            let names = [&b".setup"[..], b".reloc", b".text", if self.pe == 2 { b".compat" } else { b".bss" }];
            let count = if self.pe == 1 { 3 } else { 4 };
            put(0, b"MZ");
            put(0x3c, &0x40_u32.to_le_bytes());
            put(0x40, b"PE\0\0");
            put(0x46, &[count, 0]);
            put(0x54, &[0x60, 0]);
            for (index, name) in names[..usize::from(count)].iter().enumerate() {
                put(0x40 + 24 + 0x60 + 40 * index, name);
            }
        }
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &self.protocol.to_le_bytes());
        put(0x20e, &0x100_u16.to_le_bytes());
        put(0x211, &[1]);
        let release: &[u8] = match self.generation {
            Generation::Patched => b"5.10.0 (made up)\0",
            Generation::Padded => b"6.14.9-rc1+ (made up)\0",
            Generation::Plain => b"6.15.0 (made up)\0",
        };
        put(0x300, release);
        if self.generation != Generation::Patched {
            put(0x1f1, &[(self.setup_len.div_ceil(4096) * 8 - 1) as u8]);
            put(0x1f4, &(self.system() as u32 / 16).to_le_bytes());
        }
        put(0x248, &(self.sizes[0] as u32).to_le_bytes());
        put(0x24c, &(self.sizes[1] as u32).to_le_bytes());
        put(0x260, &0x80_0000_u32.to_le_bytes());
        bytes
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn bzimage_of_any_shape(parts in x86()) {
        let (vmlinux, setup) = (parts.vmlinux(), parts.setup());
        let image = assemble::bzimage(&vmlinux, &setup, parts.crc).unwrap_or_else(|error| panic!("{error}"));
        let Facts::BzImage { generation, system_size: system, .. } = image.facts else { unreachable!() };
        prop_assert_eq!((generation, system), (parts.generation, parts.system() as u64));
        bzimage_comes_back("generated", &image, &parts.shown());
        // The parts are in it, byte for byte, but for header fields and the CRC.
        let (bytes, _) = emitted(&image);
        prop_assert_eq!(&bytes[0x26c..setup.len()], &setup[0x26c..]);
        let start = (usize::from(bytes[0x1f1]) + 1) * 512;
        let want = [noise(parts.sizes[0], parts.seed + 1), parts.payload(), noise(parts.sizes[2], parts.seed + 2)].concat();
        assert_same("system", &bytes[start..start + want.len()], &want);
    }
}

/// A device tree: one root node without a name, `padding` bytes behind its strings.
fn dtb(padding: usize, seed: u64) -> Vec<u8> {
    let total = 72 + padding as u32;
    // Header, empty reserve map, BEGIN_NODE "", END_NODE, END.
    let words = [0xd00d_feed, total, 56, 72, 40, 17, 16, 0, 0, 16, 0, 0, 0, 0, 1, 0, 2, 9];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    bytes.extend(noise(padding, seed));
    bytes
}

/// Reads a zImage back: the kernel and every tree are where the plan has them.
#[track_caller]
fn zimage_comes_back(what: &str, image: &Assembled<'_>, kernel: &[u8], trees: &[Vec<u8>]) -> Vec<u8> {
    let (bytes, emitted) = emitted(image);
    assert_eq!(emitted.crc32, None);
    let parsed = ZImage::parse(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(parsed.regions(), image.plan.regions(), "{what}");
    assert_whole(&parsed.regions(), bytes.len());
    assert_eq!(parsed.kernel_len(), kernel.len() as u64, "{what}");
    assert_same(what, region(&parsed.regions(), "zImage", &bytes).unwrap(), kernel);
    assert_eq!(parsed.behind().trees.len(), trees.len(), "{what}");
    for (index, tree) in trees.iter().enumerate() {
        assert_eq!(region(&parsed.regions(), &format!("dtb[{index}]"), &bytes), Some(&tree[..]), "{what}");
    }
    bytes
}

#[test]
fn zimage_of_the_corpus_and_the_tiny_kernel() {
    let mut kernels = Vec::new();
    for tree in support::arm_trees().into_iter() {
        let boot = "arch/arm/boot";
        let dtbs =
            ["vexpress-v2p-ca9.dtb", "vexpress-v2p-ca15_a7.dtb"].map(|name| tree.read(&format!("{boot}/dts/{name}")));
        let vmlinux = tree.read(&format!("{boot}/compressed/vmlinux"));
        kernels.push((tree.name.clone(), vmlinux, tree.read(&format!("{boot}/zImage")), dtbs.to_vec()));
    }
    let tiny = support::read(&testdata("tiny").join("arm-vmlinux"));
    // The one PT_LOAD of the committed file, as `readelf -l` shows it.
    let flat = tiny[0x1000..][..0x2e8].to_vec();
    kernels.push(("tiny".to_owned(), tiny, flat, vec![dtb(0, 0), dtb(5, 1)]));
    for (name, vmlinux, kernel, trees) in &kernels {
        for count in 0..=trees.len() {
            let given: Vec<&[u8]> = trees[..count].iter().map(Vec::as_slice).collect();
            let image = assemble::zimage(vmlinux, &given).unwrap();
            let bytes = zimage_comes_back(name, &image, kernel, &trees[..count]);
            // The same trees behind the finished zImage.
            let again = assemble::zimage(&bytes, &given).unwrap();
            zimage_comes_back(name, &again, kernel, &[&trees[..count], &trees[..count]].concat());
        }
    }
}

/// What an ARM decompressor is made from.
#[derive(Debug, Clone)]
struct Arm {
    big_endian: bool,
    /// A big-endian kernel with a little-endian header (BE8, ARMv6 and later).
    be8: bool,
    start: u32,
    table: Option<(u32, u32)>,
    /// Bytes of code behind the header, of the payload, of the BSS.
    sizes: [usize; 3],
    seed: u64,
}

impl Arm {
    /// Flat image and ELF file.
    fn build(&self) -> (Vec<u8>, Vec<u8>) {
        let [code, payload, bss] = self.sizes;
        let len = 0x40 + 0x14 + code + payload + 4;
        let word = |value: u32| {
            if self.big_endian && !self.be8 { value.to_be_bytes() } else { value.to_le_bytes() }
        };
        let mut flat = noise(len, self.seed);
        let mut put = |at: usize, value: [u8; 4]| flat[at..at + 4].copy_from_slice(&value);
        put(0x24, word(0x016f_2818));
        put(0x28, word(self.start));
        put(0x2c, word(self.start + len as u32));
        let mark = 0x0403_0201_u32;
        put(0x30, if self.big_endian { mark.to_be_bytes() } else { mark.to_le_bytes() });
        put(0x34, word(if self.table.is_some() { 0x4545_4545 } else { 0 }));
        if let Some((kernel, bss)) = self.table {
            put(0x38, word(self.start + 0x40));
            for (index, value) in [4, 0x5a53_4c4b, (len - 4) as u32, bss, 0].into_iter().enumerate() {
                put(0x40 + 4 * index, word(value));
            }
            put(len - 4, kernel.to_le_bytes());
        }
        let mut elf = Builder::new(false, self.big_endian, 40);
        let (split, start) = (0x54 + code, u64::from(self.start));
        elf.section(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, start, &flat[..split]);
        elf.section(".piggydata", SHT_PROGBITS, SHF_ALLOC, start + split as u64, &flat[split..]);
        elf.nobits(".bss", SHF_ALLOC | SHF_WRITE, start + len as u64, bss as u64);
        elf.segment(PT_LOAD, 1..4, start);
        elf.section(".comment", SHT_PROGBITS, SHF_ALLOC, 0, b"left out");
        elf.symbol("input_data", start + split as u64, GLOBAL, 2);
        elf.symbol("_edata", start + len as u64, GLOBAL, 2);
        (flat, elf.build())
    }
}

fn arm() -> impl Strategy<Value = Arm> {
    let start = prop_oneof![Just(0_u32), Just(0x6000_8000), 0..0x7fff_ffff_u32];
    let sizes = (0..4000_usize, 0..60_000_usize, 0..10_000_usize);
    (any::<bool>(), any::<bool>(), start, any::<Option<(u32, u32)>>(), sizes, any::<u64>()).prop_map(
        |(big_endian, be8, start, table, (code, payload, bss), seed)| {
            // With be8 alone there is nothing to tell.
            Arm { big_endian, be8: be8 && big_endian, start, table, sizes: [code, payload, bss], seed }
        },
    )
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn zimage_of_any_shape(parts in arm(), paddings in vec(0..9000_usize, 0..5), split in 0..5_usize) {
        let (flat, elf) = parts.build();
        let trees: Vec<Vec<u8>> = paddings.iter().map(|padding| dtb(*padding, parts.seed)).collect();
        let given: Vec<&[u8]> = trees.iter().map(Vec::as_slice).collect();
        let image = assemble::zimage(&elf, &given).unwrap_or_else(|error| panic!("{error}"));
        let bytes = zimage_comes_back("generated", &image, &flat, &trees);
        let parsed = ZImage::parse(&bytes).unwrap();
        prop_assert_eq!(parsed.is_big_endian(), parts.big_endian);
        prop_assert_eq!(parsed.table().map(|table| (table.kernel_size, table.bss_size)), parts.table);
        prop_assert_eq!(parsed.table().is_none_or(|table| table.size_word_at == flat.len() as u64 - 4), true);

        // In two steps: some trees, then the others.
        let (first, second) = given.split_at(split.min(given.len()));
        let (half, _) = emitted(&assemble::zimage(&elf, first).unwrap());
        let whole = assemble::zimage(&half, second).unwrap();
        let again = zimage_comes_back("in two steps", &whole, &flat, &trees);
        assert_same("in two steps", &again, &bytes);
    }
}

fn header() -> impl Strategy<Value = Header> {
    let kinds =
        prop_oneof![Just(kind::KERNEL), Just(kind::KERNEL_NOLOAD), Just(FDT_LEGACY), Just(FIRMWARE_IVT), any::<u8>()];
    let name = prop_oneof![vec(1..255_u8, 0..=NAME_LEN), Just(vec![b'x'; NAME_LEN])];
    (any::<[u32; 3]>(), any::<[u8; 3]>(), kinds, name).prop_map(
        |([time, load, entry], [os, arch, comp], kind, name)| Header {
            time,
            load,
            entry,
            os,
            arch,
            kind,
            comp,
            name: uimage::name_bytes(&name),
        },
    )
}

/// Reads a uImage back: header, files, checksums. That of type firmware_ivt is data, padding up to a page of the file
/// (each byte the low one of its offset) and a table of 32 bytes; `ih_size` counts 0x2040 bytes that are signed later.
#[track_caller]
fn uimage_comes_back(header: &Header, plan: &Plan<'_>, files: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    plan.emit(&mut bytes).unwrap();
    let parsed = UImage::parse(&bytes).unwrap_or_else(|error| panic!("{header:?}: {error}"));
    assert_eq!(parsed.regions(), plan.regions(), "{header:?}");
    let kind = if header.kind == FDT_LEGACY { kind::FLAT_DT } else { header.kind };
    assert_eq!(parsed.header(), Header { kind, ..*header });
    let mut files = files.to_vec();
    let mut size = bytes.len() as u32 - 64;
    if kind == FIRMWARE_IVT {
        size += 0x2040;
        let end = bytes.len() - 32;
        assert!(end % 4096 == 0 && end - files[0].len() - 64 < 4096, "{header:?}");
        let padding = files[0].len() + 64..end;
        files[0].extend(padding.map(|at| at as u8));
        assert_eq!(region(&parsed.regions(), "ivt", &bytes), Some(&bytes[end..]));
    }
    if files.len() == 1 {
        // Several are aligned: between them nothing is named.
        assert_whole(&parsed.regions(), bytes.len());
    }
    assert_eq!(parsed.files().collect::<Vec<_>>(), files, "{header:?}");
    for (index, file) in files.iter().enumerate().filter(|(_, file)| !file.is_empty()) {
        let listed = [kind::MULTI, kind::SCRIPT].contains(&header.kind);
        let name = if listed { format!("data[{index}]") } else { "data".to_owned() };
        assert_eq!(region(&parsed.regions(), &name, &bytes), Some(&file[..]), "{header:?}");
    }
    assert_eq!(support::wrong_checksums(&bytes), Vec::<&str>::new(), "{header:?}");
    // The fields where U-Boot's image.h has them.
    let be32 = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!([0, 8, 12, 16, 20].map(be32), [0x2705_1956, header.time, size, header.load, header.entry]);
    assert_eq!(bytes[28..32], [header.os, header.arch, kind, header.comp]);
    assert_eq!(bytes[32..64], header.name);
    assert_eq!(be32(24), crc32fast::hash(&bytes[64..]));
    bytes
}

/// One changed byte must not pass.
#[track_caller]
fn change_is_noticed(image: &[u8], at: usize, xor: u8) {
    let mut bad = image.to_vec();
    bad[at] ^= xor;
    if UImage::parse(&bad).is_ok() {
        let found = support::wrong_checksums(&bad);
        assert!(!found.is_empty(), "byte {at:#x} changed by {xor:#04x} of {image:02x?}");
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn uimage_of_one_file(header in header(), len in 0..70_000_usize, flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 20)) {
        let header = Header { kind: if [kind::MULTI, kind::SCRIPT].contains(&header.kind) { 2 } else { header.kind }, ..header };
        let data = noise(len, header.time.into());
        let plan = uimage::plan(None, &header, &[Plan::of("data", &data)]).unwrap();
        let image = uimage_comes_back(&header, &plan, std::slice::from_ref(&data));
        for (at, xor) in flips {
            change_is_noticed(&image, at.index(image.len()), xor);
        }
    }

    #[test]
    fn uimage_of_several_files(
        header in header(),
        lens in vec(prop_oneof![1..10_usize, 1..9000_usize], 1..=6),
        flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 20),
    ) {
        let header = Header { kind: kind::MULTI, ..header };
        let files: Vec<Vec<u8>> = lens.iter().enumerate().map(|(index, len)| noise(*len, index as u64)).collect();
        let plans: Vec<Plan<'_>> = files.iter().map(|file| Plan::of("data", file)).collect();
        let plan = uimage::plan(None, &header, &plans).unwrap();
        let image = uimage_comes_back(&header, &plan, &files);
        for (at, xor) in flips {
            change_is_noticed(&image, at.index(image.len()), xor);
        }
    }

    /// Through the whole pipeline, with everything given: nothing of the data may leak into the header.
    #[test]
    fn uimage_by_request(header in header(), len in 1..5000_usize, script in any::<bool>(), count in 1..=6_usize) {
        let kind = match (script, count) {
            (true, _) => kind::SCRIPT,
            (false, 1) => kind::KERNEL,
            _ => kind::MULTI,
        };
        let name_len = header.name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN);
        let request = UImageRequest {
            arch: Some(header.arch),
            os: Some(header.os),
            kind: Some(kind),
            comp: Some(header.comp),
            load: Some(header.load.into()),
            entry: Some(header.entry.into()),
            name: Some(header.name[..name_len].to_vec()),
            time: header.time,
            force: true,
            ..UImageRequest::default()
        };
        let count = if script { 1 } else { count };
        let files: Vec<Vec<u8>> = (0..count).map(|index| noise(len + index, index as u64)).collect();
        let given: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let image = assemble::uimage(&request, &given, &[]).unwrap();
        uimage_comes_back(&Header { kind, ..header }, &image.plan, &files);
    }
}

/// Every byte of a small image, every other value.
#[test]
fn any_change_of_a_uimage_is_noticed() {
    let header =
        Header { time: 1, load: 2, entry: 3, os: 5, arch: 2, kind: 2, comp: 0, name: uimage::name_bytes(b"name") };
    for (kind, files) in [
        (kind::KERNEL, vec![noise(30, 1)]),
        (kind::MULTI, vec![noise(3, 1), noise(8, 2), noise(1, 3)]),
        (kind::SCRIPT, vec![noise(9, 1)]),
    ] {
        let plans: Vec<Plan<'_>> = files.iter().map(|file| Plan::of("data", file)).collect();
        let header = Header { kind, ..header };
        let image = uimage_comes_back(&header, &uimage::plan(None, &header, &plans).unwrap(), &files);
        for at in 0..image.len() {
            (1..=255).for_each(|xor| change_is_noticed(&image, at, xor));
        }
    }
}
