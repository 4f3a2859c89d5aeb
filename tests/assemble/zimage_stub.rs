//! zImages around kimage's own boot stub: header and size table by hand, what the stub decides about memory, and the device
//! tree that it writes, read by kimage's own reader, which shares nothing with it.

use crate::elf_builder::{Builder, SHF_ALLOC, SHF_EXECINSTR, SHT_PROGBITS};
use crate::files::blob;
use crate::support::noise;
use arm::{ArmParameters, Decision, Fault, Machine, Span, decide};
use kimage::assemble::{ZImageRequest, zimage_standalone};
use kimage::bytes::help;
use kimage::codec::Codec;
use kimage::internals::fdt::{Dtb, Node, Property};

// What packer and boot stub share.
#[allow(dead_code, unreachable_pub, reason = "the packer's half")]
#[path = "../../src/stub/arm.rs"]
mod arm;
#[allow(dead_code, unreachable_pub, reason = "the boot stub's half")]
#[path = "../../src/stub/arm_tree.rs"]
mod arm_tree;

const BSS: u64 = 0x1234;

/// A kernel's ELF file, linked to 0xc0208000, and what is to be unpacked of it.
fn elf(big_endian: bool) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = b"\x00\x00\xa0\xe1Linux version 6.1.0 (me@here)\0".to_vec();
    bytes.extend(noise(5000, 7));
    bytes.resize(0x1400, 0);
    let mut elf = Builder::new(false, big_endian, 40);
    elf.entry = 0xc020_8000;
    let text = elf.section(".head.text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0xc020_8000, &bytes);
    let bss = elf.nobits(".bss", SHF_ALLOC | 1, 0xc020_8000 + bytes.len() as u64, BSS);
    elf.segment(1, text..bss + 1, 0xc020_8000);
    (elf.build(), bytes)
}

fn made(kernel: &[u8], codec: Codec) -> Vec<u8> {
    let mut image = Vec::new();
    zimage_standalone(kernel, &ZImageRequest { codec, ..ZImageRequest::default() }).unwrap().emit(&mut image).unwrap();
    image
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// arch/arm/boot/compressed/head.S and vmlinux.lds.S, Linux 6.1.
#[test]
fn header_and_size_table() {
    let (vmlinux, kernel) = elf(false);
    for codec in [Codec::None, Codec::Lz4Legacy, Codec::Gzip, Codec::Xz] {
        let image = made(&vmlinux, codec);
        let head = [0x20, 0x24, 0x28, 0x2c, 0x30, 0x34].map(|at| word(&image, at));
        assert_eq!(head[0] >> 24, 0xea, "a branch");
        assert_eq!(head[1..], [0x016f_2818, 0, image.len() as u32, 0x0403_0201, 0x4545_4545]);
        let table = word(&image, 0x38) as usize;
        let size_at = word(&image, table + 8) as usize;
        let words: Vec<u32> = (0..7).map(|index| word(&image, table + 4 * index)).collect();
        assert_eq!(words, [6, 0x5a53_4c4b, size_at as u32, BSS as u32, 0x20_8000, 65536, 0]);
        assert_eq!(word(&image, size_at) as usize, kernel.len(), "{}", codec.name());
        assert!((size_at + 4..size_at + 12).contains(&image.len()));
        // The boot stub: what the payload is behind.
        let most = if codec == Codec::Xz { 18 << 10 } else { 12 << 10 };
        assert!(word(&image, 0x4c) <= most, "{}: {} bytes", codec.name(), word(&image, 0x4c));
        if codec == Codec::None {
            assert_eq!(image[size_at - kernel.len()..size_at], kernel);
        }
    }
}

/// BE8, as ARMv6 and newer have it: the mark alone is big-endian. BE32 is refused.
#[test]
fn big_endian_kernels() {
    let (mut vmlinux, _) = elf(true);
    let refused = zimage_standalone(&vmlinux, &ZImageRequest::default()).unwrap_err();
    assert!(refused.to_string().contains("BE32") && help(&refused).contains("own build"), "{refused}");
    // e_flags: EF_ARM_BE8.
    vmlinux[0x24..0x28].copy_from_slice(&0x0080_0000_u32.to_be_bytes());
    let image = made(&vmlinux, Codec::Gzip);
    assert_eq!([0x24, 0x30].map(|at| word(&image, at)), [0x016f_2818, 0x0102_0304]);
}

#[test]
fn zstd_is_refused() {
    let (vmlinux, _) = elf(false);
    let request = ZImageRequest { codec: Codec::Zstd, ..ZImageRequest::default() };
    assert!(zimage_standalone(&vmlinux, &request).unwrap_err().to_string().contains("zstd on ARM"));
}

const MIB: u32 = 1 << 20;
const P: ArmParameters = ArmParameters {
    flags: 0,
    payload_at: 0x2000,
    payload_len: MIB,
    unpacked_len: 4 * MIB,
    bss_len: MIB,
    text_offset: 0x8000,
    load_at: 0,
    image_len: MIB + 0x2008,
    heap_len: 0,
    stub_len: 0x2000,
    stub_memory: 0x8000,
    sum: [0; 2],
};

fn machine(memory: &[(u32, u32)], disk: (u32, u32), tree: (u32, u32)) -> Machine {
    let span = |(start, end)| Span { start, end };
    let mut machine = Machine { disk: span(disk), tree: span(tree), ..Machine::default() };
    memory.iter().for_each(|bank| machine.add(span(*bank)));
    machine
}

/// Where kernel and image go, for an image that lies at `base`.
fn places(machine: &Machine, base: u32) -> Result<(u32, u32), Fault> {
    let found = decide(&P, machine, base, 0)?;
    let Decision { kernel, image, run, end, .. } = found;
    // Nothing of what is used lies in the kernel or in what else there is.
    assert!(run >= image + P.image_len && end >= run + P.stub_memory);
    let used = image..end;
    for taken in [Span { start: kernel - 0x5000, end: kernel + 5 * MIB }, machine.disk, machine.tree] {
        let apart = taken.end <= used.start || used.end <= taken.start || taken.start >= taken.end;
        assert!(apart, "{found:x?} {taken:x?}");
    }
    Ok((kernel, image))
}

#[test]
fn where_things_go() {
    let none = (0, 0);
    let unknown = machine(&[], none, none);
    // In the kernel's way, behind it, in front of it.
    assert_eq!(places(&unknown, 0x4001_0000), Ok((0x4000_8000, 0x4050_8000)));
    assert_eq!(places(&unknown, 0x4100_0000), Ok((0x4000_8000, 0x4100_0000)));
    assert_eq!(places(&unknown, 0x4050_0000), Ok((0x4000_8000, 0x4050_8000)));
    // 128 MiB further on another bank begins, unless the device tree knows of no memory there.
    assert_eq!(places(&unknown, 0x4800_0000), Ok((0x4800_8000, 0x4850_8000)));
    let small = machine(&[(0x4020_0000, 0x4420_0000)], none, none);
    assert_eq!(places(&small, 0x4300_0000), Ok((0x4020_8000, 0x4300_0000)));
    assert_eq!(decide(&P, &machine(&[(0x4000_0000, 0x4040_0000)], none, none), 0x4001_0000, 0), Err(Fault::Memory));
    // For the kernel there is memory, for image and stub behind it there is none; two banks are one.
    assert_eq!(places(&machine(&[(0x4000_0000, 0x4058_0000)], none, none), 0x4001_0000), Err(Fault::Memory));
    let banks = [(0x4000_0000, 0x4058_0000), (0x4058_0000, 0x4080_0000)];
    assert_eq!(places(&machine(&banks, none, none), 0x4001_0000), Ok((0x4000_8000, 0x4050_8000)));
    // A RAM disk or a device tree where the image would go is gone round, where the kernel goes it is said.
    let disk = (0x4052_0000, 0x4070_0000);
    assert_eq!(places(&machine(&[], disk, none), 0x4001_0000), Ok((0x4000_8000, 0x4070_0000)));
    assert_eq!(places(&machine(&[], disk, (0x4078_0000, 0x4078_1000)), 0x4001_0000), Ok((0x4000_8000, 0x4078_1000)));
    assert_eq!(places(&machine(&[], (0x4040_0000, 0x4041_0000), none), 0x4001_0000), Err(Fault::Disk));
    assert_eq!(places(&machine(&[], none, (0x4040_0000, 0x4041_0000)), 0x4001_0000), Err(Fault::Tree));
}

fn tags() -> Vec<u8> {
    let mut words: Vec<u32> = vec![5, 0x5441_0001, 0, 4096, 0];
    words.extend([4, 0x5441_0002, 0x0600_0000, 0x6000_0000]);
    words.extend([4, 0x5441_0002, 0x0200_0000, 0x8000_0000]);
    words.extend([4, 0x5442_0005, 0x6100_0000, 0x12345]);
    words.extend([4, 0x5441_0006, 0x89ab_cdef, 0x0123_4567]);
    words.extend([5, 0x5441_0009, u32::from_le_bytes(*b"a=1 "), u32::from_le_bytes(*b"b=2\0"), 0, 0, 0]);
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn tags_in_a_device_tree() {
    let bytes = tags();
    let tags = arm_tree::Tags::read(&bytes).unwrap();
    assert_eq!((tags.command_line, tags.serial), (&b"a=1 b=2"[..], Some([0x0123_4567, 0x89ab_cdef])));
    let cells =
        |root: Node<'static>| root.with(Property::u32("#address-cells", 2)).with(Property::u32("#size-cells", 1));
    let bare = blob(&cells(Node::new("")).with_child(Node::new("soc").with(Property::string("reg", "kept"))));
    let memory =
        Node::new("memory@0").with(Property::string("device_type", "memory")).with(Property::string("reg", "x"));
    let chosen = Node::new("chosen").with(Property::string("bootargs", "old")).with(Property::string("rest", "kept"));
    let full = blob(&cells(Node::new("")).with_child(chosen).with_child(memory));
    for (blob, memory) in [(bare, "memory"), (full, "memory@0")] {
        let tree = arm_tree::Tree::read(&blob).unwrap();
        let mut out = vec![0xff; blob.len() + 1024];
        let len = arm_tree::merged(&tree, &tags, &mut out).unwrap();
        let whole = Dtb::parse_at(&out[..len], 0).unwrap();
        let read = whole.tree().unwrap();
        let value = |node: &str, name: &str| {
            let path = format!("/{node}");
            let below = read.root().children().find(|one| one.path() == path);
            let node = if node.is_empty() { read.root() } else { below.unwrap() };
            let found: Vec<_> = node.properties().iter().filter(|one| one.name == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0].value.to_vec()
        };
        assert_eq!(value("chosen", "bootargs"), b"a=1 b=2\0");
        assert_eq!(value("chosen", "linux,initrd-start"), 0x6100_0000_u32.to_be_bytes());
        assert_eq!(value("chosen", "linux,initrd-end"), 0x6101_2345_u32.to_be_bytes());
        assert_eq!(value("", "serial-number"), b"0123456789abcdef\0");
        let banks = [0, 0x6000_0000, 0x0600_0000, 0, 0x8000_0000, 0x0200_0000_u32];
        assert_eq!(value(memory, "reg"), banks.map(u32::to_be_bytes).concat());
        assert_eq!(value(memory, "device_type"), b"memory\0");
        // What the stub reads of it afterwards.
        let mut machine = Machine::default();
        arm_tree::Tree::read(&out[..len]).unwrap().tell(&mut machine);
        assert_eq!(machine.disk, Span { start: 0x6100_0000, end: 0x6101_2345 });
        assert_eq!(machine.memory[1], Span { start: 0x8000_0000, end: 0x8200_0000 });
        // Cut off anywhere, it is refused or read as far as it goes; nothing is written outside.
        for cut in 0..blob.len() {
            if let Some(tree) = arm_tree::Tree::read(&blob[..cut]) {
                arm_tree::merged(&tree, &tags, &mut out[..cut]);
            }
        }
        assert_eq!(arm_tree::merged(&tree, &tags, &mut out[..len - 1]), None);
    }
}
