//! Every rule of the builders is broken by one change of a request or of a file that it gives, and no other rule is.

use crate::elf_builder::Builder;
use crate::files::blob;
use crate::support::{read, testdata};
use kimage::assemble::{self, Assembled, FitFile, FitOptions, FitRequest, Source, StandaloneRequest, UImageRequest};
use kimage::codec::{Codec, Parameters};
use kimage::elf::Elf;
use kimage::internals::fdt::{Node, Property};
use kimage::internals::{kind, tree};
use kimage::kbuild::{self, BuildFolder, Image, LinkCommand, Piggy, Place};
use kimage::{Error, Result};
use std::collections::BTreeMap;

/// Numbers of U-Boot's include/image.h.
const ARM: Option<u8> = Some(2);
const ARM64: Option<u8> = Some(22);
const TEE: Option<u8> = Some(26);
const KWBIMAGE: u8 = 9;

/// What the builder says, or refuses it for.
fn rules(made: Result<Assembled<'_>>) -> Vec<&'static str> {
    let findings = match made {
        Ok(made) => made.findings,
        Err(Error::Contradiction { findings }) => findings,
        Err(error) => panic!("{error}"),
    };
    findings.iter().map(|finding| finding.rule).collect()
}

fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec.compress(bytes, &Parameters::default(), &mut out).unwrap();
    out
}

fn made(made: Result<Assembled<'_>>) -> Vec<u8> {
    let mut out = Vec::new();
    made.unwrap().emit(&mut out).unwrap();
    out
}

fn zimage() -> Vec<u8> {
    made(assemble::zimage(&read(&testdata("tiny/arm-vmlinux")), &[]))
}

fn dtb() -> Vec<u8> {
    blob(&Node::new("").with(Property::string("compatible", "tiny,board")))
}

/// An arm64 `Image` of 4 KiB.
fn image64() -> Vec<u8> {
    let mut image = vec![0; 4096];
    image[16..24].copy_from_slice(&0x1000_u64.to_le_bytes());
    image[56..60].copy_from_slice(b"ARM\x64");
    image
}

/// A kernel's ELF file of one segment, linked to `vaddr` and loaded at `paddr`.
fn elf(is_64: bool, big_endian: bool, machine: u16, vaddr: u64, paddr: u64) -> Builder {
    let mut elf = Builder::new(is_64, big_endian, machine);
    elf.entry = vaddr;
    // Where the linker puts the program header.
    elf.skip(56);
    let mut text = b"Linux version 6.1.0-tiny (someone@somewhere) #1\n\0".to_vec();
    text.resize(0x1000, 0x11);
    let index = elf.section(".text", 1, 6, vaddr, &text);
    elf.segment(1, index..index + 1, paddr);
    elf
}

#[test]
fn uimages() {
    let plain = UImageRequest { arch: ARM64, load: Some(0x8000), ..UImageRequest::default() };
    let with = |change: &dyn Fn(&mut UImageRequest)| {
        let mut request = UImageRequest { arch: ARM64, load: Some(0x8000), ..UImageRequest::default() };
        change(&mut request);
        request
    };
    let data = vec![7; 3000];
    let made = |request: &UImageRequest, files: &[&[u8]]| rules(assemble::uimage(request, files, &[]));
    assert_eq!(made(&plain, &[&data]), [""; 0]);
    // The request.
    type Change = fn(&mut UImageRequest);
    let cases: [(&str, Change); 7] = [
        ("uimage.load", |request| request.load = None),
        ("uimage.address", |request| request.load = Some(1 << 32)),
        ("uimage.type", |request| request.kind = Some(KWBIMAGE)),
        ("uimage.name", |request| request.name = Some(vec![b'n'; 33])),
        ("uimage.xip", |request| request.xip = true),
        ("uimage.comp", |request| request.comp = Some(1)),
        ("uimage.entry", |request| request.entry = Some(0x7000)),
    ];
    for (rule, change) in cases {
        assert_eq!(made(&with(&change), &[&data]), [rule]);
    }
    let script = with(&|request| request.kind = Some(kind::SCRIPT));
    let compressed =
        UImageRequest { compress: Some(Codec::Gzip), ..with(&|request| request.kind = Some(kind::SCRIPT)) };
    assert_eq!((made(&script, &[&data]), made(&compressed, &[&data])), (vec![], vec!["uimage.compress"]));
    // The files.
    assert_eq!(made(&plain, &[b""]), ["uimage.empty"]);
    assert_eq!(made(&plain, &[&data, &data]), ["uimage.files"]);
    assert_eq!(made(&plain, &[&packed(Codec::Gzip, &data)]), [""; 0]);
    assert_eq!(made(&plain, &[&packed(Codec::Xz, &data)]), ["uimage.codec_unnamed"]);
    assert_eq!(made(&plain, &[&packed(Codec::Lz4Legacy, &data)]), ["uimage.lz4_legacy"]);
    let zimage = zimage();
    let arm = with(&|request| request.arch = ARM);
    assert_eq!(made(&arm, &[&zimage]), [""; 0]);
    assert_eq!(made(&arm, &[&zimage[..zimage.len() - 100]]), ["uimage.truncated"]);
    assert_eq!(made(&plain, &[&zimage]), ["uimage.arch"]);
    // An arm64 kernel that is not loaded, as it is and compressed.
    let noload =
        |compress| UImageRequest { load: None, compress, ..with(&|request| request.kind = Some(kind::KERNEL_NOLOAD)) };
    assert_eq!(made(&noload(None), &[&image64()]), [""; 0]);
    assert_eq!(made(&noload(Some(Codec::Gzip)), &[&image64()]), ["uimage.noload"]);
    // OP-TEE: `struct optee_header` begins with OPTE, and has the load address at 16.
    let tee = UImageRequest { os: TEE, load: None, ..with(&|request| request.arch = ARM) };
    let mut optee = vec![0; 100];
    optee[..4].copy_from_slice(b"OPTE");
    optee[16..20].copy_from_slice(&0x0e10_0000_u32.to_le_bytes());
    assert_eq!(made(&tee, &[&optee]), [""; 0]);
    optee[0] = 0;
    assert_eq!(made(&tee, &[&optee]), ["uimage.optee"]);
    // Two files of type multi begin at 64 + 12: 100 bytes of the first put the second on 8 bytes, 104 do not.
    let multi = with(&|request| request.kind = Some(kind::MULTI));
    assert_eq!(made(&multi, &[&[9; 100], &dtb()]), [""; 0]);
    assert_eq!(made(&multi, &[&[9; 104], &dtb()]), ["uimage.dtb_alignment"]);
}

#[test]
fn uimages_of_elf_files() {
    let made = |request: &UImageRequest, file: &[u8], trees: &[&[u8]]| rules(assemble::uimage(request, &[file], trees));
    let plain = UImageRequest::default();
    let arm64 = elf(true, false, 183, 0x20_0000, 0x20_0000).build();
    assert_eq!(made(&plain, &arm64, &[]), [""; 0]);
    assert_eq!(made(&UImageRequest { comp: Some(0), ..UImageRequest::default() }, &arm64, &[]), ["uimage.elf"]);
    // The sign extension of 0x8010_0000, in the unmapped segment of MIPS.
    let at = 0xffff_ffff_8010_0000;
    let mips =
        |is_64| elf(is_64, true, 8, if is_64 { at } else { 0x8010_0000 }, if is_64 { at } else { 0x8010_0000 }).build();
    assert_eq!(made(&plain, &mips(false), &[]), [""; 0]);
    assert_eq!(made(&plain, &mips(true), &[]), ["uimage.mips64"]);
    assert_eq!(made(&plain, &mips(false), &[&dtb()]), ["kernel.appended_dtb"]);
    // ARM's Linux names virtual addresses in both fields.
    let arm = |paddr| elf(false, false, 40, 0xc000_8000, paddr).build();
    let fit = |kernel: &[u8]| rules(assemble::fit(&FitRequest { kernel: Some(file(kernel)), ..fit_request() }));
    assert_eq!(fit(&arm(0x4000_8000)), [""; 0]);
    assert_eq!(fit(&arm(0xc000_8000)), ["kernel.virtual"]);
}

fn file(bytes: &[u8]) -> FitFile<'_> {
    FitFile { name: "file", bytes }
}

fn fit_request() -> FitRequest<'static> {
    FitRequest::default()
}

#[test]
fn fits() {
    let (data, tree, zimage) = (vec![7; 3000], dtb(), zimage());
    let [gzip, xz, lz4] = [Codec::Gzip, Codec::Xz, Codec::Lz4Legacy].map(|codec| packed(codec, &data));
    let loaded = |kernel| FitRequest { kernel: Some(file(kernel)), arch: ARM, load: Some(0x8000), ..fit_request() };
    assert_eq!(rules(assemble::fit(&loaded(&data))), [""; 0]);
    assert_eq!(rules(assemble::fit(&loaded(&gzip))), [""; 0]);
    assert_eq!(rules(assemble::fit(&loaded(&xz))), ["fit.codec_unnamed"]);
    assert_eq!(rules(assemble::fit(&loaded(&lz4))), ["fit.lz4_legacy"]);
    assert_eq!(rules(assemble::fit(&loaded(&zimage))), [""; 0]);
    assert_eq!(rules(assemble::fit(&loaded(&zimage[..zimage.len() - 100]))), ["fit.truncated"]);
    assert_eq!(rules(assemble::fit(&FitRequest { ramdisk: Some(file(b"")), ..loaded(&data) })), ["fit.empty"]);
    let fragment =
        Node::new("fragment").with(Property::string("target-path", "/")).with_child(Node::new("__overlay__"));
    let overlay = blob(&Node::new("").with_child(fragment));
    let overlaid =
        |dtb_load| FitRequest { dtbs: vec![file(&tree)], overlays: vec![file(&overlay)], dtb_load, ..loaded(&data) };
    assert_eq!(rules(assemble::fit(&overlaid(Some(0x10_0000)))), [""; 0]);
    assert_eq!(rules(assemble::fit(&overlaid(None))), ["fit.overlay"]);
}

/// From a tree source: a file shorter than it says, and a device tree directly behind an ARM kernel that looks there.
#[test]
fn fits_from_sources() {
    let options = FitOptions { external: Some(Default::default()), ..FitOptions::default() };
    let image = |name: &str, kind: &str, file: &str| {
        format!(
            "{name} {{ data = /incbin/({file}); type = \"{kind}\"; arch = \"arm\"; os = \"linux\"; compression = \"none\"; load = \
             <0x8000>; entry = <0x8000>; }};"
        )
    };
    let source = |images: &str| {
        let text = format!(
            "/dts-v1/; / {{ description = \"x\"; images {{ {images} }}; configurations {{ default = \"c\"; c {{ kernel = \"k\"; \
             fdt = \"t\"; }}; }}; }};"
        );
        Source::parse("a.its", text.as_bytes(), &mut |_, _| unreachable!()).unwrap()
    };
    let (kernel, tree) = (image("k", "kernel", "\"k\""), image("t", "flat_dt", "\"t\""));
    let mut data = zimage();
    assert_eq!(data.len() % 4, 0);
    let tree_bytes = dtb();
    let made = |images: &str, files: &[&[u8]]| {
        rules(assemble::fit_from_source(&source(images), files, None, None, &options, false))
    };
    assert_eq!(made(&format!("{tree} {kernel}"), &[&tree_bytes, &data]), [""; 0]);
    let behind = format!("{kernel} {tree}");
    assert_eq!(made(&behind, &[&data, &tree_bytes]), ["fit.appended_dtb"]);
    // A decompressor that does not look for a tree.
    let at = data.windows(4).position(|window| window == [0xd0, 0x0d, 0xfe, 0xed]).unwrap();
    data[at..at + 4].fill(0);
    assert_eq!(made(&behind, &[&data, &tree_bytes]), [""; 0]);
    let short = format!("{tree} {}", image("k", "kernel", "\"k\", 0, 0x10000"));
    assert_eq!(made(&short, &[&tree_bytes, &data]), ["dts.incbin"]);
}

#[test]
fn zimages() {
    let mut vmlinux = read(&testdata("tiny/arm-vmlinux"));
    assert_eq!(rules(assemble::zimage(&vmlinux, &[&dtb()])), [""; 0]);
    let at = vmlinux.windows(4).position(|window| window == [0xd0, 0x0d, 0xfe, 0xed]).unwrap();
    vmlinux[at..at + 4].fill(0);
    assert_eq!(rules(assemble::zimage(&vmlinux, &[])), [""; 0]);
    assert_eq!(rules(assemble::zimage(&vmlinux, &[&dtb()])), ["zimage.appended_dtb"]);
}

/// A flat kernel without symbols says nothing of its BSS.
#[test]
fn zimages_around_the_built_in_stub() {
    let request = assemble::ZImageRequest::default();
    let vmlinux = elf(false, false, 40, 0xc000_8000, 0xc000_8000).build();
    assert_eq!(rules(assemble::zimage_standalone(&vmlinux, &request)), [""; 0]);
    let flat = b"Linux version 6.1.0 (me@here)\0";
    assert_eq!(rules(assemble::zimage_standalone(flat, &request)), ["zimage.flat"]);
}

#[test]
fn bzimages_around_the_built_in_stub() {
    let vmlinux = elf(true, false, 62, 0x100_0000, 0x100_0000).build();
    let made = |kaslr| {
        rules(assemble::bzimage_standalone(&vmlinux, &StandaloneRequest { kaslr, ..StandaloneRequest::default() }))
    };
    assert_eq!(made(false), [""; 0]);
    assert_eq!(made(true), ["bzimage.no_relocs"]);
}

/// What a kernel's build compresses already: a table stands behind the ELF file, a zero and the places of its pointers.
#[test]
fn payloads() {
    let made = |bytes: &[u8]| {
        let findings = assemble::payload(bytes).unwrap().findings;
        findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    let mut kernel = elf(false, false, 3, 0xc100_0000, 0x100_0000).build();
    let at = kernel.windows(4).position(|window| window == [0x11; 4]).unwrap();
    kernel[at..at + 4].copy_from_slice(&0xc100_0000_u32.to_le_bytes());
    let place = 0xc100_0000 + u32::try_from(at - 52 - 56).unwrap();
    assert_eq!(made(&[kernel, [0, place].map(u32::to_le_bytes).concat()].concat()), ["payload.ready"]);
    assert_eq!(made(&read(&testdata("tiny/kernel"))), ["payload.no_relocs"]);
    // Nor has it relocations.
    assert_eq!(made(&read(&testdata("tiny/vmlinux"))), ["payload.decompressor", "payload.no_relocs"]);
    assert_eq!(made(&packed(Codec::Gzip, &image64())), ["payload.compressed"]);
    assert_eq!(made(&image64()), [""; 0]);
}

/// A kernel with its relocation entries (`--emit-relocs`); the one in it is of this type.
fn with_relocation(kind: u64) -> Vec<u8> {
    let at = 0xffff_ffff_8100_0000_u64;
    let mut elf = elf(true, false, 62, at, 0x100_0000);
    elf.entry = 0x100_0000;
    elf.symbol("_text", at, 0x10, 1);
    let entry = [at + 0x100, 1 << 32 | kind, 0].map(u64::to_le_bytes).concat();
    let index = elf.section(".rela.text", 4, 0, 0, &entry);
    let symbols = elf.sections.len() as u32;
    let section = &mut elf.sections[index];
    (section.link, section.info, section.entsize) = (symbols, 1, 24);
    elf.build()
}

/// arch/x86/tools/relocs.c takes R_X86_64_64 (1), and none of 16 bits (12).
#[test]
fn a_kernel_that_cannot_be_moved() {
    let made = |kind| {
        let request = StandaloneRequest { kaslr: false, ..StandaloneRequest::default() };
        rules(assemble::bzimage_standalone(&with_relocation(kind), &request))
    };
    assert_eq!(made(1), [""; 0]);
    assert_eq!(made(12), ["bzimage.not_movable"]);
}

/// A bzImage whose protected-mode code is the kernel itself (tccboot), with a setup that asks for an APM BIOS or does not:
/// `cmp $0x504d,%bx` (setup.S of Linux 2.4).
#[test]
fn a_kernel_without_elf_headers() {
    let image = |setup: &[u8]| {
        let mut file = vec![0; 1024 + 4096];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x1f1, &[1]);
        put(0x1f4, &[0, 1]);
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x2e]);
        put(0x202, b"HdrS\x03\x02");
        put(0x211, &[1]);
        put(0x214, &0x10_0000_u32.to_le_bytes());
        put(0x300, setup);
        put(1024, b"Linux version 2.4.18 (someone@somewhere) #1\n\0");
        file
    };
    let made = |setup: &[u8]| {
        let request = StandaloneRequest { kaslr: false, ..StandaloneRequest::default() };
        rules(assemble::bzimage_standalone(&image(setup), &request))
    };
    assert_eq!(made(&[]), ["bzimage.flat"]);
    assert_eq!(made(&[0x81, 0xfb, 0x4d, 0x50]), ["bzimage.apm", "bzimage.flat"]);
}

/// arch/x86/boot/mkpiggy.c takes the last four bytes for the size.
#[test]
fn the_size_behind_a_compressed_kernel() {
    let check =
        |bytes: &[u8]| Piggy::new(bytes).unwrap().findings().iter().map(|finding| finding.rule).collect::<Vec<_>>();
    let data = vec![7; 100_000];
    let stream = packed(Codec::Xz, &data);
    assert_eq!(check(&[&stream[..], &100_000_u32.to_le_bytes()].concat()), [""; 0]);
    assert_eq!(check(&stream), ["piggy.output_len"]);
}

/// What the build folder says, held against the kernel and the linker.
#[test]
fn build_folders() {
    let link = LinkCommand::parse(b"cmd_v := ld -m elf_x86_64 -T s piggy.o -o v", None).unwrap();
    let mut kernel = elf(true, false, 62, 0x100_0000, 0x100_0000);
    kernel.symbol("_text", 0x100_0000, 0x10, 1);
    let bytes = kernel.build();
    let parsed = Elf::parse(&bytes).unwrap();
    assert_eq!(tree::check_voffsets(b"#define VO__text 0x0000000001000000\n", &parsed).unwrap(), []);
    let found = tree::check_voffsets(b"#define VO__text 0x0000000001200000\n", &parsed).unwrap();
    assert_eq!(found[0].rule, "tree.voffset");
    assert_eq!(tree::check_cpu(&parsed, &link), None);
    let other = elf(false, false, 40, 0xc000_8000, 0xc000_8000).build();
    assert_eq!(tree::check_cpu(&Elf::parse(&other).unwrap(), &link).unwrap().rule, "tree.cpu");
    // The last lines of `ld -V`.
    assert_eq!(tree::check_linker("GNU ld\n  Supported emulations:\n   elf_x86_64\n   elf_i386\n", &link), None);
    let found = tree::check_linker("GNU ld\n  Supported emulations:\n   armelf_linux_eabi\n", &link);
    assert_eq!(found.unwrap().rule, "tree.linker");
}

/// A build folder in memory, whose linker says `warnings`.
struct Folder {
    files: BTreeMap<&'static str, Vec<u8>>,
    warnings: &'static str,
}

impl BuildFolder for Folder {
    type File = Vec<u8>;
    type Error = kbuild::Error;

    fn read(&self, name: &str) -> std::result::Result<Option<Vec<u8>>, kbuild::Error> {
        Ok(self.files.get(name).cloned())
    }

    fn has(&self, _: &str) -> bool {
        true
    }

    fn linker_version(&self, _: &LinkCommand) -> std::result::Result<String, kbuild::Error> {
        Ok("GNU ld\n  Supported emulations:\n   armelf_linux_eabi\n   elf_x86_64\n".to_owned())
    }

    fn link(&self, _: &LinkCommand, _: &[u8]) -> std::result::Result<(Vec<u8>, String), kbuild::Error> {
        Ok((read(&testdata("tiny/arm-vmlinux")), self.warnings.to_owned()))
    }

    fn at(&self, _: Place<'_>, error: kbuild::Error) -> kbuild::Error {
        error
    }
}

fn built(folder: &Folder, image: Image, vmlinux: &[u8], payload: Option<&[u8]>) -> Vec<&'static str> {
    let payload = payload.map(|payload| (payload, "given".to_owned()));
    let parameters = &|parameters| parameters;
    let request = kbuild::Request { image, vmlinux, unstripped: None, linker: None, payload, parameters };
    let findings = match kbuild::build(&request, folder) {
        Ok(built) => built.findings,
        Err(kbuild::Error::Refused { findings }) => findings,
        // How far the x86 folder goes that has no setup.
        Err(kbuild::Error::NoFile { file }) if file.contains("setup.bin") => Vec::new(),
        Err(error) => panic!("{error}"),
    };
    findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn kernels_of_build_folders() {
    let mut kernel = elf(false, false, 40, 0xc000_8000, 0xc000_8000);
    kernel.symbol("__bss_start", 0xc000_9000, 0x10, 1);
    kernel.symbol("__bss_stop", 0xc000_a000, 0x10, 1);
    let kernel = kernel.build();
    let link = "cmd_arch/arm/boot/compressed/vmlinux := arm-linux-gnueabihf-ld --defsym _kernel_bss_size=1 -T arch/arm/boot/compressed/vmlinux.lds \
                arch/arm/boot/compressed/piggy.o -o arch/arm/boot/compressed/vmlinux\n";
    let folder = |config: &str, warnings, more: &[(&'static str, Vec<u8>)]| Folder {
        files: [(".config", config.into()), ("arch/arm/boot/compressed/.vmlinux.cmd", link.into())]
            .into_iter()
            .chain(more.iter().cloned())
            .collect(),
        warnings,
    };
    const GZIP: &str = "CONFIG_KERNEL_GZIP=y\n";
    let made = |folder: &Folder, payload: Option<&[u8]>| built(folder, Image::ZImage, &kernel, payload);
    let plain = folder(GZIP, "", &[]);
    assert_eq!(made(&plain, None), [""; 0]);
    assert_eq!(made(&folder("CONFIG_KERNEL_GZIP=y\nCONFIG_XIP_KERNEL=y\n", "", &[]), None), ["tree.xip"]);
    assert_eq!(made(&folder(GZIP, "warning: missing .note.GNU-stack section", &[]), None), ["tree.link"]);
    let other = [("arch/arm/boot/compressed/piggy_data", packed(Codec::Gzip, b"another kernel"))];
    assert_eq!(made(&folder(GZIP, "", &other), None), ["tree.stream"]);
    assert_eq!(made(&plain, Some(&packed(Codec::Xz, b"a kernel"))), ["tree.payload"]);
    assert_eq!(made(&plain, Some(&packed(Codec::Gzip, b"another kernel"))), ["tree.payload"]);
}

/// As arch/x86/tools/relocs.c writes it: a zero before each list. The addresses of one table are in the kernel.
#[test]
fn relocations_of_build_folders() {
    let mut kernel = elf(true, false, 62, 0xffff_ffff_8100_0000, 0x100_0000);
    kernel.symbol("_text", 0xffff_ffff_8100_0000, 0x10, 1);
    let mut kernel = kernel.build();
    let headers = u64::from_le_bytes(kernel[32..40].try_into().unwrap()) as usize;
    kernel.copy_within(headers..headers + 56, 64);
    kernel[32..40].copy_from_slice(&64_u64.to_le_bytes());
    // A pointer into the kernel.
    let at = kernel.windows(8).position(|window| window == [0x11; 8]).unwrap();
    kernel[at..at + 8].copy_from_slice(&0xffff_ffff_8100_0000_u64.to_le_bytes());
    let place = 0x8100_0000 + u32::try_from(at - 64 - 56).unwrap();
    let link = "cmd_arch/x86/boot/compressed/vmlinux := ld -m elf_x86_64 -T arch/x86/boot/compressed/vmlinux.lds arch/x86/boot/compressed/piggy.o \
                -o arch/x86/boot/compressed/vmlinux\n";
    let folder = |address: u32| Folder {
        files: [
            (".config", "CONFIG_KERNEL_GZIP=y\nCONFIG_X86_NEED_RELOCS=y\n".into()),
            ("arch/x86/boot/compressed/.vmlinux.cmd", link.into()),
            ("arch/x86/boot/compressed/piggy.S", ".incbin \"arch/x86/boot/compressed/vmlinux.bin.gz\"\n".into()),
            ("arch/x86/boot/voffset.h", "#define VO__text 0xffffffff81000000\n".into()),
            ("arch/x86/boot/compressed/vmlinux.relocs", [0, address, 0].map(u32::to_le_bytes).concat()),
        ]
        .into_iter()
        .collect(),
        warnings: "",
    };
    assert_eq!(built(&folder(place), Image::BzImage, &kernel, None), [""; 0]);
    assert_eq!(built(&folder(0x9000_0000), Image::BzImage, &kernel, None), ["tree.relocs"]);
}
