//! `kimage lint`: what it finds is so on a real U-Boot, and what it proposes works there.

mod support;

#[path = "support/boot.rs"]
mod machine;

use kimage::lint::{Board, Environment, Files, Linted, Role};
use machine::{Cpu, Machine, USER_OK, initrd, u_boot};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::{corpus, kimage, read, run, stderr, stdout, tempdir, testdata, tool};

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
    Board::parse(&format!("name = \"x\"\nsource = \"y\"\n{ram}[env]\n{env}{loader}")).unwrap()
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
    let want =
        [(Role::Copied, 0x4008_0000, 4096), (Role::Running, 0x4008_0000, 0x60_0000), (Role::Image, 0x4020_0000, 4096)];
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
    // The tree lies where the kernel runs, but U-Boot moves it first.
    assert_eq!(rules(&lint(&board, &image, 4096, 0)), [""; 0]);
    let in_place = Board { env: Environment { fdt_high: Some(u64::MAX), ..board.env.clone() }, ..board.clone() };
    assert_eq!(rules(&lint(&in_place, &image, 4096, 0)), ["lint.overlap"]);
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

/// uImages by the command: codecs, dictionary, what unpacks over itself, bootm_len.
#[test]
fn uimages() {
    let dir = tempdir();
    let dir = dir.path();
    fs::write(dir.join("flat"), vec![7; 3 << 20]).unwrap();
    let make = |name: &str, load: &str, codec: &str| {
        let options = ["-A", "arm", "-a", load, "--compress", codec, "-q", "-o", name];
        support::run_ok(kimage().current_dir(dir).arg("uimage").arg("flat").args(options));
        read(&dir.join(name))
    };
    let board = plain(&[("kernel_addr_r", 0x4100_0000), ("bootm_len", 0x40_0000)]);
    let rules_of = |board: &Board, image: &[u8]| {
        let linted = lint(board, image, 0, 0);
        rules(&linted).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rules_of(&board, &make("good", "40008000", "gzip")), [""; 0]);
    assert_eq!(rules_of(&board, &make("copied", "41000000", "none")), [""; 0]);
    assert_eq!(rules_of(&board, &make("over", "40f00000", "gzip")), ["lint.overlap"]);
    assert_eq!(rules_of(&board, &make("codec", "40008000", "zstd")), ["lint.codec"]);
    assert_eq!(rules_of(&board, &make("dict", "40008000", "lzma")), ["lint.codec", "lint.lzma-dictionary"]);
    let short = Board { env: Environment { bootm_len: Some(0x10_0000), ..board.env.clone() }, ..board.clone() };
    assert_eq!(rules_of(&short, &make("long", "40008000", "gzip")), ["lint.bootm-len"]);
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
        ("name = \"x\"\nsource = \"y\"\nram = []\nnonsense = 1", "nonsense"),
        ("name = \"x\"\nsource = \"y\"", "ram"),
    ] {
        let error = Board::parse(text).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

/// A ramdisk where the kernel unpacks itself: the board does not reach user space. What lint proposes boots.
#[test]
fn what_lint_says_is_so_on_the_board() {
    let Some(qemu) = tool("qemu-system-arm", "qemu-system-arm") else { return };
    let Some(rom) = u_boot("qemu_arm/u-boot.bin") else { return };
    let Some(tree) = corpus().iter().find(|tree| tree.is_arm()) else { return };
    let dir = tempdir();
    let dir = dir.path();
    let path = |name: &str| dir.join(name);
    support::run_ok(
        kimage().arg("zimage").arg(tree.path("arch/arm/boot/compressed/vmlinux")).arg("-o").arg(path("zImage")),
    );
    let big_endian = kimage::format::zimage::ZImage::parse(&read(&path("zImage"))).unwrap().is_big_endian();
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
        let mut command = Command::new(&qemu);
        command
            .args(["-M", "virt", "-m", "256", "-no-reboot", "-display", "none", "-serial", "stdio", "-bios"])
            .arg(&rom);
        for (file, at) in [("uImage", "0x44000000"), ("uInitrd", ramdisk)] {
            command.args(["-device", &format!("loader,file={},addr={at},force-raw=on", path(file).display())]);
        }
        let mut machine = Machine::start(ramdisk, &mut command);
        machine.prompt();
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
