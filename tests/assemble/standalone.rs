//! The packer's side of images around kimage's own boot stub: what is planned for any ELF file passes the stub's own checks,
//! and comes out of its own loader as the ELF file asks for.
//!
//! The stub's code for that is what packer and stub share (`src/stub`), so the memory is a simulated one.

use crate::simulated::load::{relocate, segments};
use crate::simulated::parameters::{BITS32, Parameters, RELOCATABLE, RELOCS};
use crate::simulated::{Load, elf, pack, simulate, wanted};
use crate::support::{self, Tree, read, testdata};
use kimage::assemble::{Firmware, StandaloneRequest};
use kimage::bytes::help;
use kimage::codec::{Bcj, Codec, Parameters as CodecParameters};
use kimage::elf::Elf;
use kimage::internals::BzImage;
use kimage::internals::payload::relocs_behind;
use proptest::prelude::*;

const CODECS: [Codec; 5] = [Codec::Lz4Legacy, Codec::Gzip, Codec::Zstd, Codec::Xz, Codec::None];

fn request(codec: Codec) -> StandaloneRequest<'static> {
    let parameters = CodecParameters { level: (codec == Codec::Zstd).then_some(1), ..CodecParameters::default() };
    StandaloneRequest { codec, parameters, ..StandaloneRequest::default() }
}

prop_compose! {
    /// Segments that do not overlap, in any order, with holes between them.
    fn loads()(
        start in 256_u64..0x4000,
        parts in prop::collection::vec((0_u64..5, 0_u64..4096, 0_usize..9000, 0_u64..9000, any::<u8>()), 1..6),
        turn in any::<prop::sample::Index>(),
    ) -> Vec<Load> {
        let mut at = start << 12;
        let mut loads = Vec::new();
        for (pages, offset, len, more, byte) in parts {
            at += (pages << 12) + offset;
            let bytes = (0..len).map(|index| byte.wrapping_mul(index as u8) ^ (index >> 7) as u8).collect();
            let memsz = len as u64 + more;
            loads.push(Load { vaddr: at, paddr: at, bytes, memsz });
            at += memsz;
        }
        let turn = turn.index(loads.len());
        loads.rotate_left(turn);
        loads
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Any kernel, any codec, wherever the loader puts the file.
    #[test]
    fn comes_out_as_it_went_in(
        loads in loads(),
        is_64 in any::<bool>(),
        codec in prop::sample::select(&CODECS[..]),
        at in any::<prop::sample::Index>(),
        offset in any::<u64>(),
        load in 0x10_0000_u64..0x100_0000,
        cmdline in "[a-z= ]{0,40}",
        disks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..3),
    ) {
        let live: Vec<Load> = loads.iter().filter(|load| load.memsz > 0).cloned().collect();
        prop_assume!(!live.is_empty());
        let entered = &live[at.index(live.len())];
        let entry = entered.paddr + offset % entered.memsz;
        let file = elf(is_64, entry, &loads);
        let mut request = request(codec);
        request.cmdline = cmdline.as_bytes();
        request.initrd = disks.iter().map(|disk| &disk[..]).collect();
        let image = pack(&file, &request).unwrap();
        // An image that is not to be moved may be loaded below its kernel only.
        let load = load.min(live.iter().map(|load| load.paddr).min().unwrap()) & !4095;
        let simulated = simulate(&image, codec, load, 0);
        let p = simulated.parameters;
        prop_assert_eq!(p.has(BITS32), !is_64);
        prop_assert!(!p.has(RELOCATABLE) && !p.has(RELOCS));
        prop_assert_eq!(p.load_min + simulated.entry as u64, entry);
        prop_assert!(simulated.memory == wanted(&live));
        let system = &image[BzImage::parse(&image).unwrap().setup().padded_len() as usize..];
        prop_assert_eq!(&system[p.cmdline_at as usize..][..p.cmdline_len as usize], cmdline.as_bytes());
        let disk = &system[p.initrd_at as usize..][..p.initrd_len as usize];
        let joined: Vec<u8> = match &disks[..] {
            [] => vec![],
            [init @ .., last] => {
                let mut joined: Vec<u8> = Vec::new();
                for disk in init {
                    joined.extend(disk);
                    joined.resize(joined.len().next_multiple_of(4), 0);
                }
                joined.extend(last);
                joined
            }
        };
        prop_assert_eq!(disk, &joined[..]);
        // Wrapped once more, it is the same kernel.
        let again = pack(&image, &StandaloneRequest { codec: Codec::None, ..StandaloneRequest::default() }).unwrap();
        prop_assert!(simulate(&again, Codec::None, load, 0).memory == simulated.memory);
    }

    /// Files with anything in them are refused, or make an image that the stub takes.
    #[test]
    fn damaged_kernels(
        loads in loads(),
        is_64 in any::<bool>(),
        changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = elf(is_64, loads[0].paddr, &loads);
        for (at, byte) in changes {
            let len = file.len();
            file[at % len] = byte;
        }
        file.truncate(file.len() - cut.index(file.len()) % 64);
        let request = StandaloneRequest { max_memory: 64 << 20, ..request(Codec::Lz4Legacy) };
        if let Ok(image) = pack(&file, &request) {
            simulate(&image, Codec::Lz4Legacy, 0x10_0000, 0);
        }
    }

    /// The stub trusts neither the payload nor the table.
    #[test]
    fn the_loader_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        table in prop::collection::vec(0_u32..0x30, 0..20),
        numbers in prop::collection::vec(0_u64..0x300, 4),
        is_64 in any::<bool>(),
    ) {
        let mut bytes = bytes;
        let head = [0x7f, b'E', b'L', b'F', if is_64 { 2 } else { 1 }, 1];
        let len = bytes.len().min(head.len());
        bytes[..len].copy_from_slice(&head[..len]);
        let p = Parameters {
            flags: RELOCS | if is_64 { 0 } else { BITS32 },
            load_min: numbers[0],
            span: numbers[1],
            elf_len: numbers[2],
            ..Parameters::default()
        };
        let table: Vec<u8> = table.iter().flat_map(|word| word.to_le_bytes()).collect();
        let _ = segments(&mut bytes, &p);
        let _ = relocate(&mut bytes, &table, &p, numbers[3] + 1);
    }
}

fn x86_trees() -> impl Iterator<Item = &'static Tree> {
    support::x86_trees().into_iter()
}

/// The kernel's own payload, moved by hand by the rule of its own decompressor, is what comes out of ours.
#[test]
fn kernels_are_moved_as_linux_moves_them() {
    for tree in x86_trees() {
        let own = tree.read("arch/x86/boot/bzImage");
        let mut payload = Vec::new();
        let packed = BzImage::parse(&own).unwrap();
        let packed = packed.payload().unwrap();
        kimage::internals::decompress_one(Codec::identify(packed).unwrap(), packed, 1 << 30, &mut payload).unwrap();
        let elf = Elf::parse(&payload).unwrap();
        let is_64 = elf.is_64();
        let loads: Vec<Load> = elf
            .segments()
            .iter()
            .filter(|segment| segment.kind == 1)
            .map(|segment| Load {
                vaddr: segment.vaddr,
                paddr: segment.paddr,
                bytes: payload[segment.offset as usize..][..segment.filesz as usize].to_vec(),
                memsz: segment.memsz,
            })
            .collect();
        let mut memory = wanted(&loads);
        let delta = 0x1280_0000_u64;
        let start = loads.iter().map(|load| load.paddr).min().unwrap();
        let (map, found) = (loads[0].vaddr - loads[0].paddr, relocs_behind(&elf).unwrap());
        if let Some(found) = &found {
            let place = |word: u32| {
                let address = if is_64 { i64::from(word as i32) as u64 } else { u64::from(word) };
                (address - map - start) as usize
            };
            for (list, width, negative) in [
                (&found.table.addresses32, 4, false),
                (&found.table.inverse32, 4, true),
                (&found.table.addresses64, 8, false),
            ] {
                for at in list.iter().map(|word| place(*word)) {
                    let mut raw = [0; 8];
                    raw[..width].copy_from_slice(&memory[at..at + width]);
                    let value = u64::from_le_bytes(raw);
                    let value = if negative { value.wrapping_sub(delta) } else { value.wrapping_add(delta) };
                    memory[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                }
            }
        }
        for source in [&own, &read(&tree.path("vmlinux"))] {
            // 7.2's vmlinux has lost its relocations, and 6.12's may have.
            let without = pack(source, &request(Codec::Lz4Legacy)).unwrap();
            let image = simulate(&without, Codec::Lz4Legacy, 0x10_0000, delta);
            if image.parameters.has(RELOCS) == found.is_some() {
                assert!(image.memory == memory, "{}", tree.name);
            }
            assert_eq!(image.entry as u64 + start, elf.entry(), "{}", tree.name);
        }
    }
}

/// Every refusal names what is wrong, and what to do.
#[test]
fn refusals() {
    let load = |paddr, memsz| Load { vaddr: paddr, paddr, bytes: vec![0x90; 16], memsz };
    let good = [load(0x20_0000, 4096)];
    let mut arm = elf(false, 0x20_0000, &good);
    arm[18] = 40;
    let mut object = elf(true, 0x20_0000, &good);
    object[16] = 1;
    let mut program = elf(true, 0x20_0000, &[load(0x20_0000, 4096), load(0x30_0000, 16)]);
    program[64 + 56] = 3;
    let mut truncated = elf(true, 0x20_0000, &good);
    truncated.pop();
    for (file, says) in [
        (elf(true, 0x20_0000, &[load(0x9_0000, 4096)]), "below 1 MiB"),
        (elf(true, 0x20_0000, &[load(0x20_0000, 4097), load(0x20_1000, 16)]), "overlap at physical address 0x201000"),
        (elf(true, 0x40_0000, &good), "entry point 0x400000"),
        (elf(true, 0x20_0000, &[]), "no PT_LOAD"),
        (elf(true, 0x20_0000, &[load(0x20_0000, 16), load(0x2_0000_0000, 16)]), "`request.max_memory`"),
        (elf(true, 0x20_0000, &[load(0x20_0000, 3)]), "p_filesz is more than p_memsz"),
        (arm, "is for ARM"),
        (object, "not linked yet"),
        (program, "PT_INTERP"),
        (truncated, "ends too early: 136 bytes needed, 135 there"),
        (b"hello, world".to_vec(), "no kernel file"),
        (read(&testdata("tiny/vmlinux")), "a decompressor with a kernel in it"),
    ] {
        let error = pack(&file, &request(Codec::Gzip)).unwrap_err();
        let all = format!("{error}: {}", help(&error));
        assert!(all.contains(says), "{says}: {all}");
        assert!(!help(&error).is_empty(), "{all}");
    }
    let kernel = elf(true, 0x20_0000, &good);
    let for_arm = CodecParameters { bcj: Some(Bcj::Arm), ..CodecParameters::default() };
    for (request, says) in [
        (StandaloneRequest { parameters: for_arm, ..request(Codec::Xz) }, "branch converter of another CPU"),
        (StandaloneRequest { cmdline: &[b'a'; 2048], ..request(Codec::Gzip) }, "the kernel reads at most 2047"),
        (
            StandaloneRequest { initrd: vec![&[0; 2 << 20]], max_memory: 2 << 20, ..request(Codec::Gzip) },
            "`request.max_memory`",
        ),
        (StandaloneRequest { relocs: Some(&[0; 8]), ..request(Codec::Bzip2) }, "take gzip, lz4, xz or zstd"),
        (StandaloneRequest { relocs: Some(&[0; 5]), ..request(Codec::Gzip) }, "vmlinux.relocs"),
        (
            StandaloneRequest { firmware: Some(Firmware::Ia32), ..request(Codec::Gzip) },
            "firmware ia32: leave `request.firmware` out",
        ),
    ] {
        let error = pack(&kernel, &request).unwrap_err();
        assert!(format!("{error}: {}", help(&error)).contains(says), "{says}: {error}: {}", help(&error));
    }
}

/// What the stub would stop at is refused: a table that names what is not in the kernel, given or behind it.
#[test]
fn tables_of_other_kernels() {
    for is_64 in [false, true] {
        let at = 0x20_0000;
        let kernel = elf(is_64, at, &[Load { vaddr: at, paddr: at, bytes: vec![0x90; 64], memsz: 4096 }]);
        let table = |address: u32| {
            let lists = if is_64 { vec![0, address, 0, 0x20_0010] } else { vec![0, address] };
            lists.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
        };
        let last = 0x20_1000 - if is_64 { 8 } else { 4 };
        for (address, is_inside) in
            [(0x20_0000, true), (last, true), (last + 1, false), (0x1f_ffff, false), (0xf000_0000, false)]
        {
            let table = table(address);
            let given = StandaloneRequest { relocs: Some(&table), ..request(Codec::None) };
            for made in [pack(&kernel, &given), pack(&[&kernel[..], &table].concat(), &request(Codec::None))] {
                match made {
                    Ok(image) if is_inside => {
                        assert!(simulate(&image, Codec::None, 0x10_0000, 0x40_0000).parameters.has(RELOCS))
                    }
                    Err(error) if !is_inside => {
                        assert!(error.to_string().contains("not in the kernel's memory"), "{error}")
                    }
                    other => panic!("{address:#x}: {:?}", other.map(|image| image.len())),
                }
            }
        }
    }
}

/// The loader of Firecracker and Cloud Hypervisor takes the image: it reads the header and puts the rest at 1 MiB.
#[test]
#[cfg(target_arch = "x86_64")]
fn linux_loader_loads_it() {
    use linux_loader::loader::{KernelLoader, bzimage::BzImage as Loader};
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    let kernel = read(&testdata("tiny/kernel"));
    for codec in CODECS {
        let image = pack(&kernel, &request(codec)).unwrap();
        let memory: GuestMemoryMmap<()> = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
        let mut file = std::io::Cursor::new(&image);
        let highmem = GuestAddress(0x10_0000);
        let loaded = Loader::load(&memory, None, &mut file, Some(highmem)).unwrap();
        assert_eq!(loaded.kernel_load, highmem);
        let header = loaded.setup_header.unwrap();
        let ours = BzImage::parse(&image).unwrap();
        assert_eq!({ header.init_size }, ours.setup().header().init_size.get());
        assert_eq!({ header.pref_address }, 0x20_0000);
        let system = &image[ours.setup().padded_len() as usize..];
        let mut there = vec![0; system.len()];
        memory.read_slice(&mut there, highmem).unwrap();
        assert!(there == system);
    }
}
