//! Where fuzzing starts: small valid inputs of every format, made here, so that no time is lost on headers.

use crate::elf::{
    Builder, GLOBAL, PT_LOAD, PT_NOTE, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHT_NOTE, SHT_PROGBITS, Section,
};
use crate::simulated::{Load, elf as plain_elf, pack};
use crate::support::{read, testdata};
use crate::targets::{emitted, source};
use crate::{files, targets};
use kimage::assemble::{Algorithm, EfiSigning, External, StandaloneRequest, fit_from_source, sign_efi};
use kimage::bytes::Align;
use kimage::codec::{Codec, Parameters};
use kimage::internals::fdt::{Flat, Strings};
use kimage::internals::fit::Options;
use kimage::sign::PrivateKey;
use std::fs;
use std::io;
use std::path::Path;

/// Writes the seeds of that target.
pub fn write(target: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    of(target).iter().enumerate().try_for_each(|(index, seed)| fs::write(folder.join(format!("seed-{index}")), seed))
}

fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "inspect" => [images(), elves(), blobs()].concat(),
        "lint" => {
            chosen(&[&[0, 0], &[4, 1], &[5, 7], &[6, 3], &[7, 0], &[9, 3], &[10, 2]], &[images(), fits()].concat())
        }
        "elf" => [elves(), images().into_iter().filter(|image| image.starts_with(b"\x7fELF")).collect()].concat(),
        "images" => [
            chosen(&[&[0], &[2]], &elves()),
            chosen(&[&[1]], &["setup.bin", "setup.elf", "setup-5.bin", "setup-7.bin"].map(tiny)),
            chosen(&[&[2]], &[files::zimage()]),
            vec![halves(3, &tiny("arm-vmlinux"), &files::dtb()), halves(3, &files::zimage(), &files::dtb())],
        ]
        .concat(),
        "dts" => SOURCES.iter().map(|text| format!("/dts-v1/;\n{text}\n").into_bytes()).collect(),
        "fit" => [
            chosen(&[&[0, 0], &[2, 0], &[0x16, 0], &[0x2b, 0], &[0x21, 0], &[0x82, 0]], &[fits(), blobs()].concat()),
            chosen(&[&[0x40, 0], &[0x41, 0x7e], &[0x43, 0x19]], &kernels()),
        ]
        .concat(),
        "uimage" => {
            let all = [0x3f, 0, 2, 5, 2, 0, 1, 1];
            let cut = [0xff, 0x11, 22, 5, 2, 0, 8, 8];
            let multi = [0xbf, 0x20, 2, 5, 4, 1, 1, 2];
            chosen(
                &[&[0; 8], &all, &cut, &multi, &[0x80, 0x86, 0, 0, 0, 0, 0, 0], &[0, 4, 0, 0, 0, 0, 0, 0]],
                &kernels(),
            )
        }
        "codecs" => streams(),
        "pack" => {
            let texts: Vec<Vec<u8>> =
                [&b"bytes and bytes and bytes"[..], &files::cpio(), &[0; 3000]].map(<[u8]>::to_vec).into();
            (0..8)
                .flat_map(|codec| chosen(&[&[codec, 1, 0, 0x23], &[codec, 9, 0x83, 0x10], &[codec, 255, 2, 0]], &texts))
                .collect()
        }
        "texts" => TEXTS.iter().map(|(how, text)| [&[*how], text.as_bytes()].concat()).collect(),
        "standalone" => {
            let counts =
                [2, 0, 4, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 0, 100, 0, 200, 1, 0, 5, 6, 1, 0, 9, 2, 2, 2, 3, 1, 9];
            let made = (0..5).flat_map(|codec| {
                [0, 2, 0x30, 0x40]
                    .map(|how| [&[how, codec][..], &counts.repeat(2), b"console=ttyS0 and a disk"].concat())
            });
            let table = [0_u32, 0x20_0010, 0x20_0020].map(u32::to_le_bytes).concat();
            let given = chosen(&[&[1, 0, 0], &[5, 1, 0]], &elves());
            let with_table = elves().into_iter().map(|file| [&[3, 1, 3][..], &table, &file].concat());
            made.chain(given).chain(with_table).collect()
        }
        "unxz" => {
            let data = lzma2(&streams());
            let whole = chosen(&[&[0]], &packed_by(Codec::Xz));
            let made = chosen(&[&[0x80], &[0x81], &[0x87], &[0xa1], &[0xb7, 0, 4], &[0xa8]], &data);
            [whole, made, chosen(&[&[0x87]], &[data.concat()])].concat()
        }
        "lzma2" => lzma2(&streams()),
        "ungzip" => {
            let files = packed_by(Codec::Gzip);
            // Most have the short header; what cannot be inflated is a seed as well.
            let data: Vec<_> = files.iter().map(|file| file[10..file.len() - 8].to_vec()).collect();
            [chosen(&[&[0]], &files), chosen(&[&[0x80], &[0xbd]], &data)].concat()
        }
        "unlz4" => {
            let files = packed_by(Codec::Lz4Legacy);
            let data: Vec<_> = files.iter().filter_map(|file| file.get(8..).map(<[u8]>::to_vec)).collect();
            [chosen(&[&[1], &[2]], &files), chosen(&[&[0x80], &[0xc0]], &data)].concat()
        }
        "unzstd" => {
            let files = packed_by(Codec::Zstd);
            let data: Vec<_> = files.iter().map(|file| file[6..].to_vec()).collect();
            [chosen(&[&[0], &[20]], &files), chosen(&[&[0x80]], &data)].concat()
        }
        "unlzma" => {
            let files: Vec<_> =
                streams().into_iter().filter(|stream| Codec::detect(stream) == Some(Codec::Lzma)).collect();
            let data: Vec<_> = files.iter().map(|file| file[13..].to_vec()).collect();
            let properties: Vec<_> = files.iter().map(|file| [&file[..1], &file[13..]].concat()).collect();
            // A first chunk of LZMA2 is LZMA without a mark, of a length that is known.
            let known: Vec<_> = lzma2(&streams())
                .iter()
                .filter(|chunk| chunk[0] == 0xe0)
                .map(|chunk| {
                    let len = u16::from_be_bytes([chunk[1], chunk[2]]).wrapping_add(1).to_be_bytes();
                    let packed = usize::from(u16::from_be_bytes([chunk[3], chunk[4]])) + 1;
                    [&chunk[5..6], &len, &chunk[6..6 + packed]].concat()
                })
                .collect();
            let made = chosen(&[&[0x80]], &data);
            [chosen(&[&[0]], &files), made, chosen(&[&[0xc0]], &properties), chosen(&[&[0xe0]], &known)].concat()
        }
        "unlzo" => {
            let files = packed_by(Codec::Lzo);
            let block = |file: &Vec<u8>| {
                let len = u32::from_be_bytes(*file.get(42..)?.first_chunk()?) as usize;
                let data = file.get(50..50 + len)?;
                Some([&(len as u16).to_be_bytes(), data].concat())
            };
            let blocks: Vec<_> = files.iter().filter_map(block).collect();
            [chosen(&[&[2], &[20]], &files), chosen(&[&[0x80], &[0xb7]], &[&blocks[..], &[blocks.concat()]].concat())]
                .concat()
        }
        "sections" => {
            let program = program_in_memory(&[".linux", ".cmdline", ".profile", ".cmdline", ".profile", ".initrd"]);
            [&b"@1 quiet"[..], br"\EFI\Linux\a+3-1.efi", b"x.cred", b"y.raw", b"z.confext.raw"]
                .map(|options| [b"\x01", options, b"\0", &program].concat())
                .into()
        }
        _ => Vec::new(),
    }
}

/// A program as firmware has loaded it, whose sections hold four bytes each.
fn program_in_memory(names: &[&str]) -> Vec<u8> {
    const CONTENTS: usize = 0x180;
    let mut image = vec![b'x'; CONTENTS + 4 * names.len()];
    image[..CONTENTS].fill(0);
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(0x40, b"PE\0\0");
    put(0x46, &[names.len() as u8]);
    for (index, name) in names.iter().enumerate() {
        let at = 0x58 + 40 * index;
        put(at, name.as_bytes());
        put(at + 8, &4_u32.to_le_bytes());
        put(at + 12, &((CONTENTS + 4 * index) as u32).to_le_bytes());
    }
    image
}

fn chosen(how: &[&[u8]], files: &[Vec<u8>]) -> Vec<Vec<u8>> {
    how.iter().flat_map(|how| files.iter().map(|file| [how, &file[..]].concat())).collect()
}

fn tiny(name: &str) -> Vec<u8> {
    read(&testdata("tiny").join(name))
}

/// One choice and two files of the same length, for who cuts them in the middle.
fn halves(how: u8, first: &[u8], second: &[u8]) -> Vec<u8> {
    let half = first.len().max(second.len());
    let mut out = vec![how];
    out.extend(first);
    out.resize(1 + half, 0);
    out.extend(second);
    out.resize(1 + 2 * half, 0);
    out
}

/// A kernel of every kind.
fn kernels() -> Vec<Vec<u8>> {
    let image = files::image64(b"ARM\x64");
    let mut kernels =
        vec![files::kernel(), files::zimage(), image.clone(), files::image64(b"RSC\x05"), tiny("arm-vmlinux")];
    kernels.extend([files::dtb(), files::cpio(), [files::zimage(), files::dtb()].concat()]);
    kernels.extend(Codec::ALL.map(|codec| files::packed(codec, &image)));
    kernels.extend(elves());
    kernels
}

/// Every container, of every age and vendor.
fn images() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = files::all().into_iter().map(|(_, file)| file).collect();
    all.extend(["vmlinux", "kernel", "arm-vmlinux", "setup.elf", "setup.bin"].map(tiny));
    for codec in [Codec::None, Codec::Lz4Legacy, Codec::Gzip, Codec::Zstd, Codec::Xz] {
        let parameters = Parameters { level: (codec == Codec::Zstd).then_some(1), ..Parameters::default() };
        let request = StandaloneRequest {
            codec,
            parameters,
            cmdline: b"console=ttyS0",
            initrd: vec![b"a disk"],
            ..StandaloneRequest::default()
        };
        all.push(pack(&small_kernel(), &request).unwrap());
    }
    let sections: Vec<(&str, &[u8])> = vec![
        (".profile", b"ID=main\nTITLE=Main\n"),
        (".linux", &[0; 64]),
        (".ucode", b"070701"),
        (".pcrsig", b"{\"sha256\":[]}"),
        (".pcrpkey", b"-----BEGIN PUBLIC KEY-----\n"),
        (".hwids", &[0; 32]),
        (".dtbauto", b"\xd0\x0d\xfe\xed"),
        (".splash", b"BM"),
        (".profile", b"ID=other\n"),
    ];
    all.push(files::pe(&[], &sections));
    let key = PrivateKey::from_pem(&read(&testdata("keys/dev.key")), None).unwrap();
    let certificate = read(&testdata("keys/dev.pem"));
    let signing = EfiSigning {
        signer: &key,
        certificate: &certificate,
        others: &[],
        hash: Algorithm::Sha256,
        replace: false,
        checksum: true,
        sbat: None,
    };
    let program = files::pe(&[], &[(".text", &[0x90; 64]), (".sbat", b"sbat,1,\ntest,1\n")]);
    all.push(emitted(&sign_efi(&program, &signing).unwrap().plan));
    all.extend(vendors());
    // An initrd of several archives, and streams in streams.
    let archive = files::cpio();
    all.push([&archive[..], &[0; 12], &files::packed(Codec::Zstd, &archive), &files::gzip(&archive), b"junk"].concat());
    all.push(files::gzip(&files::packed(Codec::Xz, &files::gzip(&files::kernel()))));
    all.extend(fits());
    all
}

fn small_kernel() -> Vec<u8> {
    let banner = b"Linux version 6.1.0-tiny (someone) #1\n\0".to_vec();
    plain_elf(true, 0x20_0000, &[Load { vaddr: 0x20_0000, paddr: 0x20_0000, bytes: banner, memsz: 8192 }])
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Headers of vendors, with kernels and trees behind them.
fn vendors() -> Vec<Vec<u8>> {
    let (kernel, tree) = (files::gzip(&files::image64(b"ARM\x64")), files::dtb());
    let padded = |bytes: &[u8], len: usize| {
        let mut bytes = bytes.to_vec();
        bytes.resize(len, 0);
        bytes
    };
    let size = tree.len() as u32;
    let table = |magic: &[u8; 4], entry: &[u32]| {
        let count = [u32::from_le_bytes(*magic), entry.len() as u32 / 4, 1];
        [padded(&words(&[&count[..], entry].concat()), 2048), tree.clone()].concat()
    };
    let mut all = vec![
        table(b"QCDT", &[126, 8, 0, 2048, size]),
        table(b"DTBH", &[1, 2, 3, 4, 5, 2048, size, 0x20]),
        [padded(&[&words(&[0x5888_1688, kernel.len() as u32])[..], b"KERNEL"].concat(), 512), kernel.clone()].concat(),
    ];
    let mut trx = [b"HDR0".to_vec(), words(&[28 + kernel.len() as u32, 0, 1 << 16, 28, 0, 0])].concat();
    trx.extend(&kernel);
    let sum = !crc32fast::hash(&trx[12..]);
    trx[8..12].copy_from_slice(&sum.to_le_bytes());
    all.push(trx);
    let mut tplink = padded(b"\x01\0\0\0OpenWrt", 512);
    for (at, value) in [(0x74, 0x8006_0000), (0x78, 0x8006_0000), (0x80, 512), (0x84, kernel.len() as u32)] {
        tplink[at..at + 4].copy_from_slice(&u32::to_be_bytes(value));
    }
    all.push([tplink, kernel.clone(), b"hsqs".to_vec()].concat());
    let mut cros = padded(b"CHROMEOS", 4096);
    let body = 8192 + 4096;
    for (at, value) in
        [(16, 2048), (2048, 2048), (2088, 7), (2096, 0x10_0000), (2104, 0x10_2000), (2112, 0), (2136, body)]
    {
        cros[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
    }
    all.push([cros, padded(&kernel, 4096), padded(b"console=tty0", body as usize - 4096)].concat());
    let mut rpi = vec![0; 0x8000];
    rpi[..4].copy_from_slice(&[6, 0, 0, 0xea]);
    rpi[0x100..0x118].copy_from_slice(&words(&[5, 0x5441_0001, 0, 0, 0, 0]));
    all.push([rpi, files::zimage()].concat());
    all
}

/// ELF files of both classes and byte orders, with sections, symbols, notes and relocations, and one of an old decompressor.
fn elves() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (is_64, big_endian, machine) in [
        (true, false, 62),
        (false, false, 3),
        (false, false, 40),
        (true, true, 21),
        (false, true, 8),
        (true, false, 183),
    ] {
        let base = if machine == 62 { 0xffff_ffff_8120_0000 } else { 0xc020_0000 };
        let (rel, entry_size) = if is_64 { (4, 24) } else { (9, 8) };
        let mut elf = Builder::new(is_64, big_endian, machine);
        elf.entry = 0x20_0000;
        elf.section(
            ".text",
            SHT_PROGBITS,
            SHF_ALLOC | SHF_EXECINSTR,
            base,
            b"code Linux version 6.1.0 (a@b) #1\n\0pads",
        );
        let note = [4, 4, 3].map(|word: u32| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() });
        elf.section(".notes", SHT_NOTE, SHF_ALLOC, base + 0x28, &[&note.concat()[..], b"GNU\0ID!!"].concat());
        elf.section(".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, base + 0x1000, &[0; 64]);
        elf.nobits(".bss", SHF_ALLOC | SHF_WRITE, base + 0x1040, 0x800);
        elf.segment(PT_LOAD, 1..5, 0x20_0000);
        elf.segment(PT_NOTE, 2..3, 0x20_0028);
        elf.section(".comment", SHT_PROGBITS, 0x30, 0, b"GCC\0");
        elf.section(".debug_info", SHT_PROGBITS, 0, 0, b"debug");
        // An address in .data, of a symbol, and one of the other widths.
        let (mut relocations, kinds): (Vec<u8>, &[u64]) = (Vec::new(), if is_64 { &[1, 10, 2] } else { &[1, 2, 2] });
        for (index, kind) in kinds.iter().enumerate() {
            let (at, symbol) = (base + 0x1000 + 8 * index as u64, 1 + index as u64);
            let fields = if is_64 { vec![at, symbol << 32 | kind, 4] } else { vec![at, symbol << 8 | kind] };
            for field in fields {
                let width = if is_64 { 8 } else { 4 };
                let bytes = field.to_be_bytes();
                relocations.extend(bytes[8 - width..].iter().rev().copied().collect::<Vec<u8>>());
            }
        }
        if big_endian {
            relocations.clear();
        }
        let (offset, size) = (elf.at(), relocations.len() as u64);
        let name = if is_64 { ".rela.data" } else { ".rel.data" };
        elf.section(".spare", SHT_PROGBITS, 0, 0, &relocations);
        let link = elf.sections.len() as u32 + 1;
        elf.header(Section {
            name: name.into(),
            kind: rel,
            offset,
            size,
            link,
            info: 3,
            entsize: entry_size,
            flags: 0x40,
            addr: 0,
        });
        for (name, offset, section) in [
            ("_text", 0, 1),
            ("startup_32", 0, 1),
            ("input_data", 8, 1),
            ("input_data_end", 16, 1),
            ("_end", 0x1840, 4),
            ("_edata", 0x1040, 3),
        ] {
            elf.symbol(name, base + offset, GLOBAL | 1, section);
        }
        elf.symbol("local", base + 4, 2, 1);
        elf.symbol("z_output_len", 0x1234, GLOBAL, SHN_ABS);
        all.push(elf.build());
        elf.symbols.clear();
        all.push(elf.build());
    }
    all.push(small_kernel());
    all.push(plain_elf(
        false,
        0x30_0010,
        &[0x30_0000, 0x10_0000].map(|at| Load { vaddr: at, paddr: at, bytes: vec![7; 100], memsz: 500 }),
    ));
    all
}

/// The streams of every codec, packed in the ways that there are.
fn streams() -> Vec<Vec<u8>> {
    let text = b"some text, and some text again; and text, text, text";
    let mut noise = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(0x915f_77f5).wrapping_add(1);
        (noise >> 24) as u8
    })
    .take(300)
    .collect();
    let mut all = Vec::new();
    for codec in Codec::ALL {
        for data in [&b""[..], text, &text.repeat(40), &[&[0; 70_000][..], &noise].concat(), &tiny("kernel")] {
            all.push(files::packed(codec, data));
        }
        all.push([files::packed(codec, text), files::packed(codec, b"another"), b"junk".to_vec()].concat());
    }
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    all.push([skippable.clone(), files::packed(Codec::Zstd, text), skippable.clone()].concat());
    all.push([skippable, files::packed(Codec::Lz4Frame, text)].concat());
    let mut named = vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 2, 0, b'x', b'y'];
    named.extend(b"name\0comment\0\0\0");
    named.extend(&files::gzip(text)[10..]);
    all.push(named);
    let openwrt = Parameters {
        level: Some(1),
        literal: kimage::codec::Literal { lc: Some(1), lp: Some(2), pb: Some(2) },
        ..Parameters::default()
    };
    for codec in [Codec::Lzma, Codec::Xz] {
        let mut out = Vec::new();
        codec.compress(text, &openwrt, &mut out).unwrap();
        all.push(out);
    }
    all
}

fn packed_by(codec: Codec) -> Vec<Vec<u8>> {
    streams().into_iter().filter(|stream| stream.starts_with(codec.magic())).collect()
}

/// What stands between the headers of the block and the index.
fn lzma2(streams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = vec![b"\x01\0\x04plain\x02\0\x01!!\0".to_vec()];
    for stream in streams.iter().filter(|stream| stream.starts_with(Codec::Xz.magic())) {
        let Some(rest) = stream.get(12..) else { continue };
        let header = (usize::from(rest[0]) + 1) * 4;
        let Some(data) = rest.get(header..).filter(|_| rest[0] != 0) else { continue };
        let mut len = 0;
        while let Some(control) = data.get(len).filter(|control| **control != 0) {
            let two = |at: usize| usize::from(u16::from_be_bytes([data[at], data[at + 1]])) + 1;
            len += match control {
                1 | 2 => 3 + two(len + 1),
                0xc0.. => 6 + two(len + 3),
                _ => 5 + two(len + 3),
            };
        }
        all.push(data[..=len].to_vec());
    }
    all
}

/// Compiled trees.
fn blobs() -> Vec<Vec<u8>> {
    let mut all = vec![files::dtb()];
    for text in SOURCES {
        let text = format!("/dts-v1/;\n{text}\n");
        let source = source(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        let files = vec![&b"bytes of a file"[..]; source.files().len()];
        let Ok(resolved) = kimage::internals::resolved(&source, &files) else { panic!("{text}") };
        let flat =
            Flat::new(&resolved.root, Strings::default()).unwrap().with_reservations(&resolved.reservations).unwrap();
        all.push(emitted(&flat.plan(flat.size()).unwrap()));
        all.push(emitted(&flat.plan(flat.size() + 64).unwrap()));
    }
    all
}

/// FITs out of the sources that are some, with their data inside and behind them.
fn fits() -> Vec<Vec<u8>> {
    let (kernel, tree, disk) = (files::gzip(&files::image64(b"ARM\x64")), files::dtb(), files::cpio());
    let mut all = vec![files::fit(false), files::fit(true)];
    for text in SOURCES.iter().filter(|text| text.contains("configurations")) {
        let text = format!("/dts-v1/;\n{text}\n");
        let source = source(text.as_bytes()).unwrap();
        let files: Vec<&[u8]> = source
            .files()
            .iter()
            .map(|file| match &*file.name {
                "kernel" => &kernel[..],
                "dtb" => &tree,
                _ => &disk,
            })
            .collect();
        let external = Some(External { align: Align::new(8), ..External::default() });
        let placed = Some(External { align: Align::new(4), position: Some(0x1000), ..External::default() });
        for external in [None, external, placed] {
            let options = Options { time: 1_700_000_000, external, unsigned: true, ..Options::default() };
            if let Ok(made) = fit_from_source(&source, &files, None, None, &options, true) {
                all.push(emitted(&made.plan));
            }
        }
    }
    assert!(all.len() > 8, "the sources are FITs");
    assert!(targets::INCLUDED.contains("inner"));
    all
}

/// Everything that a source may have; what has `configurations` in it is a FIT.
const SOURCES: &[&str] = &[
    "/ { };",
    "/ { a; b = \"text\"; c = \"two\", \"strings\"; d = \"\"; e = \"tab\\t nl\\n q\\\" \\101\\7 \\x41 \\a\\b\\v\\f\\r\"; };",
    "/ { a = <1 0x2 03 4U 5UL 0X6ULL>; b = <(-1) 0xffffffff (1 + 2 * 3)>; c = <>; d = <'a' ('b' + 1) '\\n'>; };",
    "/ { a = <(1 << 31) (7 / 2) (7 % 4) (~0) (!0) (1 ? 2 : 3) (1 || 0 && 0) (6 & 3 | 8 ^ 1) (1 < 2) (2 <= 1) (3 > 2) (3 >= 4) (1 == 1) (1 != 1) (8 >> 1)>; };",
    "/ { a = /bits/ 8 <1 2 255 (-1)>; b = /bits/ 16 <1 0xffff>; c = /bits/ 64 <1 0xffffffffffffffff>; d = /bits/ 32 <1>; };",
    "/ { a = [00 11 aB cd]; b = [0011abCD]; c = []; d = [00], <1>, \"x\"; };",
    "/memreserve/ 0x1000 0x2000; /memreserve/ 0xffffffff00000000 (4096 * 2);\n/ { a; };",
    "/ { l1: n1 { a = <&l2>; b = &l2; c = <1 &l1 2>; }; l2: n2 { d = <&{/n1}>; e = &{/n1x/x}; }; n1x { x { }; }; };",
    "/ { l: n { phandle = <1>; }; m: m { a = <&l &m &o>; }; o: o { linux,phandle = <7>; }; };",
    "/ { x: a { p = <1>; q; n { }; }; };\n&x { p = <2>; r; /delete-property/ q; /delete-node/ n; };\n&{/a} { s; };",
    "/ { a { }; x: b { }; c { }; };\n/delete-node/ &x;\n/delete-node/ &{/c};",
    "/ { a; b { c; }; d { }; };\n/ { /delete-property/ a; /delete-node/ b; };",
    "/ { /omit-if-no-ref/ a: a { }; b: b { c = <&b>; }; };\n/omit-if-no-ref/ &b;",
    "// line\n/* block\n over lines */ / { a /* b */ = <1>; };\n# 1 \"foo.its\"\n#line 2 \"bar\"\n",
    "/ { l1: a = l2: <l3: 1 l4: 2 l5:> l6: , l7: [l8: 00 l9: 11 l10:] l11:; };",
    "/ { #address-cells = <1>; a,b.c_d+e*f?g#h-i; n@1f,0 { reg = <0x1f 0>; }; cpus { cpu@3 { reg = <3>; }; }; };",
    "/ { data = /incbin/(\"one\"), \"x\"; two = /incbin/(\"one\", 4, 8); three = /incbin/(\"two\", (2 * 4), 0x4); };",
    "/ { b = <1>; a { /include/ \"a\" }; };",
    r#"/ { description = "one"; #address-cells = <1>; images { kernel { description = "k"; data = /incbin/("kernel"); type = "kernel"; arch = "arm64"; os = "linux"; compression = "gzip"; load = <0x80000>; entry = <0x80000>; hash-1 { algo = "crc32"; }; hash-2 { algo = "sha256"; }; }; }; configurations { default = "c"; c { description = "c"; kernel = "kernel"; }; }; };"#,
    r#"/ { description = "more"; #address-cells = <2>; images { kernel { data = /incbin/("kernel"); type = "kernel_noload"; arch = "arm64"; os = "linux"; compression = "none"; load = <0 0>; entry = <0 0>; hash { algo = "md5"; }; signature-1 { algo = "sha256,rsa2048"; key-name-hint = "dev"; }; }; fdt-1 { data = /incbin/("dtb"); type = "flat_dt"; arch = "arm64"; compression = "none"; hash { algo = "crc16-ccitt"; }; }; fdt-2 { data = /incbin/("dtb"); type = "flat_dt"; compression = "none"; load = <0 0x4000>; hash { algo = "sha512"; uboot-ignore; }; }; ramdisk { data = /incbin/("disk"); type = "ramdisk"; os = "linux"; compression = "none"; }; }; configurations { default = "a"; a { kernel = "kernel"; fdt = "fdt-1"; ramdisk = "ramdisk"; compatible = "tiny,board"; }; b { kernel = "kernel"; fdt = "fdt-1", "fdt-2"; loadables = "ramdisk"; signature { algo = "sha1,rsa2048"; key-name-hint = "dev"; sign-images = "kernel", "fdt"; }; }; }; };"#,
    r#"/ { description = "rest"; images { script { data = "echo"; type = "script"; compression = "none"; hash-1 { algo = "sha1"; }; hash-2 { algo = "sha384"; }; }; fw { data = [00 11 22]; type = "firmware"; arch = "arm"; os = "u-boot"; compression = "none"; load = <1>; }; fpga { data = <1 2>; type = "fpga"; compression = "lzma"; compatible = "u-boot,fpga-legacy"; }; setup { data = "x"; type = "x86_setup"; }; sw { data = "y"; type = "standalone"; }; }; configurations { default = "c"; c { script = "script"; firmware = "fw"; fpga = "fpga"; setup = "setup"; standalone = "sw"; loadables = "fw", "sw"; }; }; };"#,
    r#"/ { images { a { data = "x"; type = "x86_setup"; cipher { algo = "aes128"; key-name-hint = "k"; }; }; b { data = "y"; dm-verity { algo = "sha256"; }; }; }; };"#,
];

/// Texts, and which of the readers gets them.
const TEXTS: &[(u8, &str)] = &[
    (
        0,
        "savedcmd_arch/x86/boot/compressed/vmlinux := ld -m elf_x86_64 --no-ld-generated-unwind-info -pie --no-dynamic-linker --orphan-handling=error -z noexecstack --no-warn-rwx-segments -T arch/x86/boot/compressed/vmlinux.lds arch/x86/boot/compressed/kernel_info.o arch/x86/boot/compressed/head_64.o arch/x86/boot/compressed/piggy.o drivers/firmware/efi/libstub/lib.a -o arch/x86/boot/compressed/vmlinux\n",
    ),
    (
        4,
        "cmd_arch/arm/boot/compressed/vmlinux := arm-linux-gnueabihf-ld -EL --defsym _kernel_bss_size=1234 -p -z norelro -T arch/arm/boot/compressed/vmlinux.lds arch/arm/boot/compressed/head.o arch/arm/boot/compressed/piggy.o 'a b.o' -o arch/arm/boot/compressed/vmlinux; echo \\\n done\n",
    ),
    (1, "#define VO__text _AC(0xffffffff81000000,UL)\n#define VO__end _AC(0xffffffff82000000,UL)\n"),
    (1, "#define ZO__end 0x00000000007a2000\n#define ZO_input_data 0x00000000000002d3\n#define ZO_z_output_len 0x1a\n"),
    (
        1,
        ".section \".rodata..compressed\",\"a\",@progbits\n.globl z_input_len\nz_input_len = 12\n.incbin \"arch/x86/boot/compressed/vmlinux.bin.xz\"\ninput_data_end:\n",
    ),
    (1, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_KERNEL_XZ=y\nCONFIG_KERNEL_LZ4=y\n"),
    (
        1,
        "!<thin>\n/               0           0     0     0       4         `\n\0\0\0\0//                                              16        `\nfile.o/\nother.o/ /0              0           0     0     644     10        `\n",
    ),
    (
        2,
        "name = \"a\"\nsource = \"b\"\narch = \"arm\"\nkernel_max = 5\n[[ram]]\nname = \"dram\"\nstart = 0x40000000\nsize = 0x10000000\n[[reserved]]\nstart = 0\nsize = 1\n[[flash]]\nname = \"kernel\"\nstart = 0\nsize = 9\n[env]\nkernel_addr_r = 1\nfdt_high = 0xffffffff\n[loader]\nplace = { start = 1, size = 2 }\ncodecs = [\"none\"]\nformats = [\"fit\"]\n",
    ),
    (
        3,
        "arch=arm\nkernel_addr_r=0x40400000\nfdt_addr_r=40000000\nfdt_high=0xffffffff\nbootm_len=0x4000000\nfdtcontroladdr=4ee00000\nramdisk_addr_r=x\nkernel_comp_size=4000000\n\nEnvironment size: 3/4 bytes\n",
    ),
];
