//! `kimage lint`: what it finds is so on a real U-Boot, and what it proposes works there.

use crate::files;
use crate::machine::{self, Cpu, USER_OK, initrd};
use crate::support::{self, kimage, read, run, stderr, stdout, tempdir, testdata};
use kimage::internals::loader;
use kimage::lint::{Board, Environment, Files, Linted, Role};
use std::fs;
use std::path::Path;

fn boards() -> Vec<(String, Board)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lint/boards");
    let mut boards: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, Board::parse(&fs::read_to_string(path).unwrap()).unwrap())
        })
        .collect();
    boards.sort_by(|a, b| a.0.cmp(&b.0));
    boards
}

/// An arm64 or RISC-V `Image` of this many bytes in memory.
fn image64(magic: &[u8; 4], text_offset: u64, image_size: u64, flags: u64) -> Vec<u8> {
    let mut image = vec![0; 4096];
    image[8..16].copy_from_slice(&text_offset.to_le_bytes());
    image[16..24].copy_from_slice(&image_size.to_le_bytes());
    image[24..32].copy_from_slice(&flags.to_le_bytes());
    image[56..60].copy_from_slice(magic);
    image
}

fn lint(board: &Board, image: &[u8], dtb: usize, ramdisk: usize) -> Linted {
    let (dtb, ramdisk) = (vec![0; dtb], vec![0; ramdisk]);
    let some = |bytes| Some(bytes).filter(|bytes: &&[u8]| !bytes.is_empty());
    kimage::lint::lint(board, &Files { image, dtb: some(&dtb), ramdisk: some(&ramdisk) }).unwrap()
}

fn rules(linted: &Linted) -> Vec<&str> {
    linted.findings.iter().map(|finding| finding.rule).collect()
}

/// Each shipped board names its source, is in the command's list, and takes an image of usual size.
#[test]
fn shipped_boards() {
    let boards = boards();
    assert!(boards.len() >= 10);
    let list = stdout(&support::run_ok(kimage().args(["lint", "--board", "list"])));
    for (name, board) in &boards {
        assert!(board.source.contains("U-Boot") && board.source.len() > 60, "{name}: {}", board.source);
        assert!(list.contains(&format!("{name} ")), "{name} is not in the list");
        let shown = stdout(&support::run_ok(kimage().args(["lint", "--show", "--board", name])));
        assert_eq!(Board::parse(&shown).unwrap().name, board.name);
        let takes = |word: &str| board.loader.formats.iter().any(|format| format == word);
        let image = if takes("zimage") {
            let mut out = Vec::new();
            kimage::assemble::zimage(&read(&testdata("tiny/arm-vmlinux")), &[]).unwrap().emit(&mut out).unwrap();
            out
        } else if name.contains("riscv") || name.contains("vision") {
            image64(b"RSC\x05", 0x20_0000, 24 << 20, 0)
        } else if takes("image") {
            image64(b"ARM\x64", 0, 24 << 20, 0b1010)
        } else {
            continue;
        };
        let dtb = if board.env.fdt_addr_r.is_some() { 40_000 } else { 0 };
        let linted = lint(board, &image, dtb, 8 << 20);
        assert!(linted.findings.is_empty(), "{name}: {linted:#?}");
    }
}

fn plain(env: &[(&str, u64)]) -> Board {
    let env: String = env.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let ram = "[[ram]]\nstart = 0x40000000\nsize = 0x10000000\n";
    let loader = "[loader]\nformats = [\"uimage\", \"fit\", \"zimage\", \"image\"]\nlzma_dict_max = 0x10000\n";
    Board::parse(&format!("name = \"x\"\nsource = \"y\"\narch = \"arm64\"\n{ram}[env]\n{env}{loader}")).unwrap()
}

/// What is computed for each kind of kernel, from the documents' numbers by hand.
#[test]
fn the_memory_of_each_kernel() {
    let env = [("kernel_addr_r", 0x4020_0000), ("kernel_comp_addr_r", 0x4800_0000), ("kernel_comp_size", 0x10_0000)];
    let board = plain(&env);
    let uses = |image: &[u8]| {
        let uses = lint(&board, image, 0, 0).memory;
        uses.into_iter().map(|using| (using.role, using.start, using.size)).collect::<Vec<_>>()
    };
    // arm64: anywhere, with text_offset; without flag 3, at the start of the RAM.
    let anywhere = image64(b"ARM\x64", 0, 0x60_0000, 8);
    assert_eq!(uses(&anywhere), [(Role::Image, 0x4020_0000, 4096), (Role::Running, 0x4020_0000, 0x60_0000)]);
    let low = image64(b"ARM\x64", 0x8_0000, 0x60_0000, 0);
    // U-Boot moves image_size bytes (cmd/booti.c), however long the file is.
    let want = [
        (Role::Copied, 0x4008_0000, 0x60_0000),
        (Role::Running, 0x4008_0000, 0x60_0000),
        (Role::Image, 0x4020_0000, 4096),
    ];
    assert_eq!(uses(&low), want);
    // Compressed: at kernel_comp_addr_r.
    let mut packed = Vec::new();
    kimage::codec::Codec::Gzip.compress(&anywhere, &Default::default(), &mut packed).unwrap();
    let running = uses(&packed).iter().find(|using| using.0 == Role::Running).copied();
    assert_eq!(running, Some((Role::Running, 0x4800_0000, 0x60_0000)));
}

#[test]
fn each_rule() {
    let board = plain(&[("kernel_addr_r", 0x4020_0000), ("fdt_addr_r", 0x4021_0000), ("ramdisk_addr_r", 0x4fff_0000)]);
    let image = image64(b"ARM\x64", 0, 0x60_0000, 8);
    // The tree lies where the kernel runs: booti refuses that. bootm moves it first, unless it is to stay in place.
    assert_eq!(rules(&lint(&board, &image, 4096, 0)), ["lint.overlap"]);
    let mut header = Vec::new();
    let request = kimage::assemble::UImageRequest { load: Some(0x4080_0000), ..Default::default() };
    kimage::assemble::uimage(&request, &[&image], &[]).unwrap().emit(&mut header).unwrap();
    let board_of = |fdt_high| Board {
        env: Environment { fdt_addr_r: Some(0x4090_0000), fdt_high, ..board.env.clone() },
        ..board.clone()
    };
    assert_eq!(rules(&lint(&board_of(None), &header, 4096, 0)), [""; 0]);
    assert_eq!(rules(&lint(&board_of(Some(u64::MAX)), &header, 4096, 0)), ["lint.overlap"]);
    // The ramdisk reaches over the end of the RAM.
    let linted = lint(&board, &image, 0, 0x10_0000);
    assert_eq!(rules(&linted), ["lint.ram"]);
    assert!(linted.findings[0].help.starts_with("setenv ramdisk_addr_r 0x4"), "{linted:#?}");
    // Nothing fits.
    let linted = lint(&board, &image, 0, 300 << 20);
    assert!(linted.findings.iter().any(|finding| finding.help.contains("no place in the RAM")), "{linted:#?}");
    let small = Board { kernel_max: Some(4000), ..board.clone() };
    assert_eq!(rules(&lint(&small, &image, 0, 0)), ["lint.size"]);
    let mut fit_only = board.clone();
    fit_only.loader.formats = vec!["fit".to_owned()];
    assert_eq!(rules(&lint(&fit_only, &image, 0, 0)), ["lint.format"]);
    let nowhere = plain(&[]);
    assert_eq!(rules(&lint(&nowhere, &image, 4096, 0)), ["lint.env", "lint.env"]);
}

/// What is known of a file's format only: no configuration, no place, no size, and a place that loses RAM.
#[test]
fn rules_of_single_formats() {
    let named = |wanted: &str| files::all().into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    let board = plain(&[("kernel_addr_r", 0x4100_0000)]);
    let mut fit = named("fit");
    let at = fit.windows(14).position(|window| window == b"configurations").unwrap();
    fit[at] = b'k';
    assert_eq!(rules(&lint(&board, &fit, 0, 0)), ["lint.fit"]);
    // One for other boot loaders, as that of U-Boot itself is: `bootm` finds no kernel in it.
    let mut fit = named("fit");
    let at = fit.windows(8).rposition(|window| window == b"\0kernel\0").unwrap();
    fit[at + 1..at + 7].copy_from_slice(b"script");
    assert_eq!(rules(&lint(&board, &fit, 0, 0)), ["lint.fit"]);
    // A second device tree that is copied somewhere makes a second configuration that takes memory.
    let (kernel, tree) = (image64(b"ARM\x64", 0, 0x60_0000, 8), named("dtb"));
    let file = |bytes| kimage::assemble::FitFile { name: "file", bytes };
    let configured = |count: usize| {
        let request = kimage::assemble::FitRequest {
            kernel: Some(file(&kernel)),
            dtbs: vec![file(&tree); count],
            load: Some(0x4200_0000),
            dtb_load: Some(0x4300_0000),
            ..Default::default()
        };
        let mut out = Vec::new();
        kimage::assemble::fit(&request).unwrap().emit(&mut out).unwrap();
        out
    };
    assert_eq!(rules(&lint(&board, &configured(1), 0, 0)), [""; 0]);
    assert_eq!(rules(&lint(&board, &configured(2), 0, 0)), ["lint.configuration"]);
    // ARM, 128 MiB and more above the start of the RAM: the kernel rounds down to 0x4800_0000 (head.S, arch/arm/boot/compressed).
    let arm = Board { arch: "arm".to_owned(), ..board };
    let placed = |kernel_addr_r| Board {
        env: Environment { kernel_addr_r: Some(kernel_addr_r), ..arm.env.clone() },
        ..arm.clone()
    };
    assert_eq!(rules(&lint(&placed(0x47f0_0000), &named("zimage"), 0, 0)), [""; 0]);
    assert_eq!(rules(&lint(&placed(0x4800_0000), &named("zimage"), 0, 0)), ["lint.zimage_bank"]);
    assert_eq!(rules(&lint(&arm, &named("zimage-scan"), 0, 0)), ["lint.zimage"]);
    let mut noload = Vec::new();
    let (kind, comp) = (Some(kimage::internals::kind::KERNEL_NOLOAD), Some(1));
    let request = kimage::assemble::UImageRequest { arch: Some(2), kind, comp, ..Default::default() };
    let packed = files::gzip(&named("zimage"));
    kimage::assemble::uimage(&request, &[&packed], &[]).unwrap().emit(&mut noload).unwrap();
    assert_eq!(rules(&lint(&arm, &noload, 0, 0)), ["lint.noload_place"]);
}

/// uImages by the command: codecs, dictionary, what unpacks over itself, bootm_len.
#[test]
fn uimages() {
    let dir = tempdir();
    let dir = dir.path();
    fs::write(dir.join("flat"), vec![7; 3 << 20]).unwrap();
    let make = |name: &str, load: &str, codec: &str| {
        let options = ["-A", "arm64", "-a", load, "--compress", codec, "-q", "-o", name];
        support::run_ok(kimage().current_dir(dir).arg("uimage").arg("flat").args(options));
        read(&dir.join(name))
    };
    let board = plain(&[("kernel_addr_r", 0x4100_0000), ("bootm_len", 0x40_0000)]);
    let rules_of = |board: &Board, image: &[u8]| {
        let linted = lint(board, image, 0, 0);
        rules(&linted).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // What is in them has no header to say more.
    assert_eq!(rules_of(&board, &make("good", "40008000", "gzip")), ["lint.bss"]);
    assert_eq!(rules_of(&board, &make("copied", "41000000", "none")), ["lint.bss"]);
    assert_eq!(rules_of(&board, &make("over", "40f00000", "gzip")), ["lint.overlap", "lint.bss"]);
    assert_eq!(rules_of(&board, &make("codec", "40008000", "zstd")), ["lint.codec", "lint.bss"]);
    let dict = rules_of(&board, &make("dict", "40008000", "lzma"));
    assert_eq!(dict, ["lint.codec", "lint.lzma_dictionary", "lint.bss"]);
    let short = Board { env: Environment { bootm_len: Some(0x10_0000), ..board.env.clone() }, ..board.clone() };
    assert_eq!(rules_of(&short, &make("long", "40008000", "gzip")), ["lint.bootm_len", "lint.bss"]);
    let other = Board { arch: "mips".to_owned(), ..board.clone() };
    assert_eq!(rules_of(&other, &make("other", "40008000", "gzip")), ["lint.arch"]);
}

/// A kernel that is not loaded: arm64's goes to the start of the RAM, compressed it does not start (as seen in
/// `tests/boot/boards.rs`), others stay behind the header.
#[test]
fn noload() {
    let dir = tempdir();
    let dir = dir.path();
    let board = plain(&[("kernel_addr_r", 0x4100_0000)]);
    let linted = |board: &Board, image: &[u8], codec: &str| {
        fs::write(dir.join("Image"), image).unwrap();
        let options = ["-T", "kernel_noload", "--compress", codec, "-q", "-o", "uImage"];
        support::run_ok(kimage().current_dir(dir).arg("uimage").arg("Image").args(options));
        lint(board, &read(&dir.join("uImage")), 0, 0)
    };
    let arm64 = image64(b"ARM\x64", 0x8_0000, 0x60_0000, 8);
    let plain_kernel = linted(&board, &arm64, "none");
    assert_eq!(rules(&plain_kernel), [""; 0]);
    let running = plain_kernel.memory.iter().find(|using| using.role == Role::Running).unwrap();
    assert_eq!((running.start, running.size), (0x4008_0000, 0x60_0000));
    assert_eq!(rules(&linted(&board, &arm64, "gzip")), ["lint.noload"]);
    // RISC-V maps its first page by a large one, and U-Boot leaves it 64 bytes behind one.
    let riscv = Board { arch: "riscv".to_owned(), ..board };
    let found = linted(&riscv, &image64(b"RSC\x05", 0x20_0000, 0x60_0000, 0), "none");
    assert_eq!(rules(&found), ["lint.align"]);
    // 64 bytes of header stand in front.
    assert_eq!(found.findings[0].help, "setenv kernel_addr_r 0x411fffc0");
    let there = Board { env: Environment { kernel_addr_r: Some(0x411f_ffc0), ..riscv.env.clone() }, ..riscv };
    assert_eq!(rules(&lint(&there, &read(&dir.join("uImage")), 0, 0)), [""; 0]);
}

/// All ones of 32 bits keep nothing in place on a 64-bit board (as seen in `tests/boot/boards.rs`).
#[test]
fn all_ones_have_the_width_of_an_address() {
    let mut board = plain(&[("fdt_high", 0xffff_ffff)]);
    assert!(!loader(&board).1);
    board.arch = "arm".to_owned();
    assert!(matches!(loader(&board), (_, true, false)));
    board.env.fdt_high = Some(u64::MAX);
    assert!(loader(&board).1);
    board.arch = "riscv".to_owned();
    assert!(loader(&board).1);
}

/// Absurd addresses and sizes, and images cut off or changed anywhere: an answer or an error, never a panic.
#[test]
fn nothing_makes_it_panic() {
    let mut images = files::all().into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    images.push(image64(b"ARM\x64", u64::MAX, u64::MAX, 8));
    images.push(image64(b"ARM\x64", u64::MAX, 0, 0));
    images.push(image64(b"RSC\x05", 1, u64::MAX, 0));
    let numbers = [0, 1, 0x4000_0000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
    let some = numbers.iter().map(|number| Some(*number));
    for image in &images {
        for ((kernel, tree), arch) in some
            .clone()
            .flat_map(|a| some.clone().map(move |b| (a, b)))
            .zip(["arm", "arm64", "riscv", "mips", "x86"].into_iter().cycle())
        {
            let mut board = plain(&[]);
            board.arch = arch.to_owned();
            board.ram[0] = kimage::lint::Area { name: String::new(), start: tree.unwrap(), size: u64::MAX };
            board.reserved.push(kimage::lint::Area { name: "r".into(), start: kernel.unwrap(), size: 4096 });
            board.env = Environment { fdt_addr_r: tree, ramdisk_addr_r: tree, kernel_addr_r: kernel, ..board.env };
            board.env = Environment { kernel_comp_addr_r: kernel, fdt_high: tree, initrd_high: kernel, ..board.env };
            board.loader.codecs = ["gzip", "lzma", "lz4", "zstd", "none"].map(str::to_owned).to_vec();
            let files = Files { image, dtb: Some(b"x"), ramdisk: Some(&[0; 5000]) };
            // Cut off, changed, whole.
            let _ = kimage::lint::lint(&board, &files);
            let mut bad = image.clone();
            for at in (0..image.len().min(256)).step_by(7) {
                bad[at] ^= 0xff;
                let _ = kimage::lint::lint(&board, &Files { image: &bad, ..files });
                let _ = kimage::lint::lint(&board, &Files { image: &image[..at], ..files });
                bad[at] ^= 0xff;
            }
        }
    }
}

/// Every proposal does what it says: followed one after the other they lead to a board that boots.
#[test]
fn proposals_lead_out() {
    let mut zimage = Vec::new();
    kimage::assemble::zimage(&read(&testdata("tiny/arm-vmlinux")), &[]).unwrap().emit(&mut zimage).unwrap();
    let arm64 = image64(b"ARM\x64", 0, 24 << 20, 0b1010);
    let mut packed = Vec::new();
    kimage::codec::Codec::Gzip.compress(&arm64, &Default::default(), &mut packed).unwrap();
    let riscv = image64(b"RSC\x05", 0x20_0000, 24 << 20, 0);
    let mut followed = 0;
    for (name, board) in boards() {
        let images: &[&[u8]] = match &*board.arch {
            "arm" => &[&zimage],
            "arm64" => &[&arm64, &packed],
            "riscv" => &[&riscv],
            _ => continue,
        };
        let ram = &board.ram[0];
        // At the start of the RAM, on each other, across its end, far outside.
        let places = [ram.start, ram.start + (4 << 20), ram.start + ram.size - 4096, u64::MAX - 4096];
        for (image, number) in images.iter().flat_map(|image| (0..64).map(move |number| (image, number))) {
            let (kernel, tree, ramdisk) = (places[number % 4], places[number / 4 % 4], places[number / 16]);
            let mut board = board.clone();
            (board.env.kernel_addr_r, board.env.fdt_addr_r) = (Some(kernel), Some(tree));
            (board.env.ramdisk_addr_r, board.env.kernel_comp_addr_r) = (Some(ramdisk), Some(kernel));
            (board.env.fdt_high, board.env.initrd_high) = (Some(u64::MAX), Some(u64::MAX));
            let mut errors = usize::MAX;
            loop {
                let linted = lint(&board, image, 40_000, 8 << 20);
                let count = linted.findings.iter().filter(|it| ["lint.overlap", "lint.ram"].contains(&it.rule)).count();
                assert!(count < errors, "{name}: {linted:#x?}");
                // no gap: all are resolved
                let Some(first) = linted.findings.iter().find(|it| ["lint.overlap", "lint.ram"].contains(&it.rule))
                else {
                    break;
                };
                errors = count;
                let words: Vec<&str> = first.help.split(' ').collect();
                let ["setenv", variable, value] = words[..] else { panic!("{name}: {linted:#x?}") };
                assert_eq!(
                    board
                        .env
                        .read(&format!("{variable}={value}\nfdt_high=ffffffffffffffff\ninitrd_high=ffffffffffffffff")),
                    []
                );
                followed += 1;
            }
        }
    }
    assert!(followed > 500, "{followed}");
}

#[test]
fn printenv_wins() {
    let mut env = Environment { kernel_addr_r: Some(1), fdt_high: Some(u64::MAX), ..Environment::default() };
    let findings = env
        .read("arch=arm\nkernel_addr_r=0x42000000\r\nfdtaddr=88000000\nramdisk_addr_r=${other}\nbootm_len=4000000\n");
    assert_eq!(
        (env.kernel_addr_r, env.fdt_addr_r, env.bootm_len),
        (Some(0x4200_0000), Some(0x8800_0000), Some(0x400_0000))
    );
    // Not set there: U-Boot moves the tree.
    assert_eq!((env.fdt_high, env.ramdisk_addr_r), (None, None));
    assert_eq!(findings.len(), 1);
    assert!(findings[0].message.contains("ramdisk_addr_r=${other}"));
    for (text, words) in [
        ("name = 1", "name"),
        ("name = \"x\"\nsource = \"y\"\narch = \"arm\"\nram = []\nnonsense = 1", "nonsense"),
        ("name = \"x\"\nsource = \"y\"\narch = \"arm\"", "ram"),
        ("name = \"x\"\nsource = \"y\"\narch = \"armv7\"\nram = []", "no CPU that mkimage knows; those are"),
    ] {
        let error = Board::parse(text).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

/// What `printenv` says on three real U-Boots is what their board files say.
#[test]
fn a_real_printenv() {
    let boards = boards();
    for (name, machine) in [
        ("qemu-arm-virt", machine::Board::arm()),
        ("qemu-arm64-virt", machine::Board::arm64(256)),
        ("qemu-riscv64-virt", machine::Board::riscv64(256)),
    ] {
        let Some(machine) = machine else { continue }; // no gap: what makes it says so
        let mut machine = machine.start(name, &[]);
        let mut env = Environment::default();
        assert_eq!(env.read(&machine.ask("printenv")), []);
        let board = &boards.iter().find(|board| board.0 == name).unwrap().1;
        // CONFIG_SYS_BOOTM_LEN is no variable there. `fdt_addr` is QEMU's own tree, which these boards do not boot with.
        let fdt_addr_r = if board.arch == "riscv" { board.env.fdt_addr_r } else { env.fdt_addr_r };
        let fdtcontroladdr = env.fdtcontroladdr;
        let want = Environment { bootm_len: None, fdt_addr_r, fdtcontroladdr, ..board.env.clone() };
        // Where U-Boot itself is: its device tree is at the bottom of it, but for the stack.
        let file = board.loader.place.clone().unwrap();
        let found = loader(&Board { env: env.clone(), ..board.clone() }).0.unwrap();
        assert!(
            found.start.abs_diff(file.start) <= 0x8000 && found.start + found.size == file.start + file.size,
            "{name}: {found} {file}"
        );
        assert_eq!(env, want, "{name}");
        if board.arch != "riscv" {
            assert_eq!(env.fdt_addr_r, Some(0x4000_0000));
        }
    }
}

/// A ramdisk where the kernel unpacks itself: the board does not reach user space. What lint proposes boots.
#[test]
fn what_lint_says_is_so_on_the_board() {
    let Some(board) = machine::Board::arm() else { return };
    let Some(tree) = support::tree("arm") else { return };
    let dir = tempdir();
    let dir = dir.path();
    let path = |name: &str| dir.join(name);
    support::run_ok(
        kimage().arg("zimage").arg(tree.path("arch/arm/boot/compressed/vmlinux")).arg("-o").arg(path("zImage")),
    );
    let big_endian = kimage::internals::zimage::ZImage::parse(&read(&path("zImage"))).unwrap().is_big_endian();
    fs::write(path("initrd"), initrd(if big_endian { Cpu::ArmBe8 } else { Cpu::Arm })).unwrap();
    support::run_ok(kimage().current_dir(dir).args(["uimage", "zImage", "-q"]));
    let options = ["uimage", "initrd", "-A", "arm", "-T", "ramdisk", "-C", "none", "-q", "-o", "uInitrd"];
    support::run_ok(kimage().current_dir(dir).args(options));

    let lint = |ramdisk: &str| {
        let env = format!("kernel_addr_r=44000000\nramdisk_addr_r={ramdisk}\ninitrd_high=ffffffff\n");
        fs::write(path("printenv"), env).unwrap();
        let mut command = kimage();
        command.current_dir(dir).args(["lint", "uImage", "--board", "qemu-arm-virt", "--uboot-env", "printenv"]);
        let output = run(command.args(["--ramdisk", "uInitrd"]));
        (output.status.success(), stderr(&output))
    };
    let boots = |ramdisk: &str| {
        let ramdisk_at = u64::from_str_radix(ramdisk.trim_start_matches("0x"), 16).unwrap();
        let loaded = [(&*path("uImage"), 0x4400_0000), (&path("uInitrd"), ramdisk_at)];
        let mut machine = board.start(ramdisk, &loaded);
        machine.ask("setenv bootargs console=ttyAMA0 panic=-1; setenv initrd_high ffffffff");
        machine.leave(&format!("bootm 0x44000000 {ramdisk} ${{fdtcontroladdr}}"))
    };
    let (good, said) = lint("0x40200000");
    assert!(
        !good && said.contains("the running kernel (0x40004000..") && said.contains("and the ramdisk (0x40200000"),
        "{said}"
    );
    boots("0x40200000").never_says(USER_OK);
    let proposed = said.lines().find_map(|line| line.split("setenv ramdisk_addr_r ").nth(1)).unwrap();
    let (good, said) = lint(proposed);
    assert!(good, "{said}");
    boots(proposed).says(&[USER_OK]);
}
