//! `cargo bench --bench ratios [-- --quick] [NAME…]`: kimage and the programs it replaces, alternately in one run.
//!
//! Prints wall time, CPU time, peak memory and the ratios that are the project's goals. A slow ratio is a number in a
//! report; an output that differs from the peer's is a failure.

#[path = "common/generate.rs"]
mod generate;
#[path = "common/machine.rs"]
mod machine;
#[path = "common/measure.rs"]
mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use generate::ElfFile;
use measure::{Contender, measure};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// What this program is when it is its own child.
const AS: &str = "--as";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match args.split_first() {
        Some((first, rest)) if first == AS => act(rest),
        _ => Bench::new(&args).and_then(|bench| bench.run()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The programs that stand beside kimage without being on every machine.
fn act(args: &[OsString]) -> io::Result<()> {
    let wrong = || io::Error::other("wrong arguments");
    let (role, args) = args.split_first().ok_or_else(wrong)?;
    match (role.to_str(), args) {
        (Some("start"), []) => Ok(()),
        // Touches the corpus, so that it is unpacked: in a child, since that takes memory.
        (Some("unpack"), []) => {
            support::corpus();
            Ok(())
        }
        (Some("hash"), [file, out]) => {
            let hash = kimage::assemble::Algorithm::Sha256.hash(&fs::read(file)?);
            fs::write(out, hash)
        }
        (Some("plain"), [out, len, inputs @ ..]) => {
            let len = len.to_str().and_then(|len| len.parse().ok()).ok_or_else(wrong)?;
            plain(out, len, inputs)
        }
        (Some("copy"), [file, at, len, out]) => {
            let number = |text: &OsStr| text.to_str().and_then(|text| text.parse().ok()).ok_or_else(wrong);
            copy(file, number(at)?, number(len)?, out)
        }
        (Some("build"), [setup, system, out]) => tools_build(setup, system, out),
        _ => Err(wrong()),
    }
}

/// The minimal program: reads its inputs, writes as many bytes as kimage does.
fn plain(out: &OsStr, len: usize, inputs: &[OsString]) -> io::Result<()> {
    let inputs = inputs.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?;
    let mut out = File::create(out)?;
    let mut left = len;
    for input in &inputs {
        let turn = &input[..left.min(input.len())];
        out.write_all(turn)?;
        left -= turn.len();
    }
    out.write_all(&vec![0; left])
}

/// What a flat image costs at least: the loaded part of the generated kernels lies in one piece, which the system
/// copies without showing it to this program.
fn copy(file: &OsStr, at: u64, len: u64, out: &OsStr) -> io::Result<()> {
    let mut file = File::open(file)?;
    file.seek(io::SeekFrom::Start(at))?;
    io::copy(&mut file.take(len), &mut File::create(out)?).map(drop)
}

/// Stands in for `arch/x86/boot/tools/build` of Linux 6.7 to 6.14: pads the setup to pages, replaces the last 4 bytes
/// of the system by the CRC, which it computes a byte at a time, as that tool does.
fn tools_build(setup: &OsStr, system: &OsStr, out: &OsStr) -> io::Result<()> {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        (0..8).fold(byte as u32, |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    let (mut setup, system) = (fs::read(setup)?, File::open(system)?);
    setup.resize(setup.len().next_multiple_of(4096), 0);
    let len = system.metadata()?.len().saturating_sub(4);
    let mut system = io::Cursor::new(setup).chain(system.take(len));
    let mut out = File::create(out)?;
    let (mut crc, mut block) = (u32::MAX, vec![0; 64 << 10]);
    loop {
        let count = system.read(&mut block)?;
        if count == 0 {
            return out.write_all(&crc.to_le_bytes());
        }
        let piece = &block[..count];
        crc = piece.iter().fold(crc, |crc, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)]);
        out.write_all(piece)?;
    }
}

/// What is compared in a ratio.
#[derive(Clone, Copy)]
enum Metric {
    Wall,
    Cpu,
}

/// kimage's `metric` is to be at most `at_most` times the peer's.
struct Goal {
    metric: Metric,
    peer: &'static str,
    at_most: f64,
}

const fn goal(metric: Metric, peer: &'static str, at_most: f64) -> Goal {
    Goal { metric, peer, at_most }
}

/// What kimage's peak of memory, beyond what the program itself takes, is to stay below.
#[derive(Clone, Copy)]
enum Memory {
    /// No goal.
    Any,
    /// Bytes of all inputs, and those of the output.
    InputAndOutput(u64),
    /// The output's bytes and so many MiB: what is not needed is not read.
    OutputAndMiB(u64),
    /// So many MiB, however large the output.
    MiB(u64),
}

struct Bench {
    dir: tempfile::TempDir,
    me: PathBuf,
    names: Vec<String>,
    quick: bool,
    /// Not under `cargo bench`: only shows that everything runs.
    smoke: bool,
    /// Peak memory of a kimage that does nothing.
    start_peak: u64,
}

impl Bench {
    fn new(args: &[OsString]) -> io::Result<Bench> {
        let args: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
        Ok(Bench {
            dir: tempfile::Builder::new().prefix("kimage-ratios-").tempdir()?,
            me: std::env::current_exe()?,
            names: args.iter().filter(|arg| !arg.starts_with('-')).map(|arg| (*arg).to_owned()).collect(),
            quick: args.contains(&"--quick"),
            smoke: !args.contains(&"--bench"),
            start_peak: 0,
        })
    }

    fn run(mut self) -> io::Result<()> {
        Command::new(&self.me).args([AS, "unpack"]).status()?;
        let tools = [("objcopy", "-V"), ("llvm-objcopy", "-V"), ("mkimage", "-V"), ("cp", "--version")];
        machine::print(self.dir.path(), &tools);
        println!("| case | program | wall min ms | median ms | CPU min ms | peak MiB |");
        println!("|---|---|---:|---:|---:|---:|");
        let mut ratios = self.start()?;
        ratios += &self.bzimages()?;
        ratios += &self.uimage()?;
        ratios += &self.fit()?;
        ratios += &self.sign_efi()?;
        ratios += &self.sign_fit()?;
        ratios += &self.uki()?;
        ratios += &self.debug_kernels()?;
        ratios += &self.extracts()?;
        if self.smoke {
            println!("\nEverything runs, and outputs agree. For ratios: cargo bench --bench ratios");
            return Ok(());
        }
        println!(
            "\n| case | kimage to | wall min | wall median | wall, middle half of the turns | CPU min | goal | |\n|---|---|---:|---:|---|---:|---|---|"
        );
        print!("{ratios}");
        Ok(())
    }

    /// How long a process takes to start and end, and its memory: no work can cost less.
    fn start(&mut self) -> io::Result<String> {
        let dir = self.dir.path().join("start");
        let mut contenders = vec![
            Contender::new("kimage --version", &dir, Path::new(support::kimage_path()), &["--version".into()])?,
            Contender::new("plain, doing nothing", &dir, &self.me, &[AS.into(), "start".into()])?.uncompared(),
        ];
        if let Some(program) = support::tool("true", "coreutils") {
            contenders.push(Contender::new("true", &dir, &program, &[])?.uncompared());
        }
        let ratios = self.case("start", &mut contenders, 100, Memory::Any, &[])?;
        self.start_peak = contenders[0].peak();
        Ok(ratios)
    }

    /// The bzImage against the rest of the kernel's build.
    fn bzimages(&self) -> io::Result<String> {
        let mut ratios = String::new();
        // The first two end with tools/build, the last with dd and cat.
        for (case, tree) in [
            ("bzimage 6.1", "linux-6.1-x86_64-xz"),
            ("bzimage 6.12", "linux-6.12-x86_64-lz4"),
            ("bzimage 7.2", "linux-7.2-x86_64-zstd"),
        ] {
            if let Some(tree) = support::tree(tree) {
                let boot = tree.path("arch/x86/boot");
                let len = fs::metadata(boot.join("bzImage"))?.len();
                ratios += &self.bzimage(case, &boot.join("compressed/vmlinux"), &boot.join("setup.elf"), len)?;
            }
        }
        // The corpus kernels are small; this is the size of a distribution's.
        let elf = ElfFile::decompressor(if self.smoke { 1 << 20 } else { 12 << 20 });
        let (vmlinux, setup) = (self.dir.path().join("vmlinux"), self.dir.path().join("setup.elf"));
        elf.write(create(&vmlinux)?)?;
        ElfFile::setup(&elf).write(create(&setup)?)?;
        ratios += &self.bzimage("bzimage 12 MiB", &vmlinux, &setup, 16384 + elf.flat_len())?;
        Ok(ratios)
    }

    /// `len`: bytes of the bzImage.
    fn bzimage(&self, case: &'static str, vmlinux: &Path, setup: &Path, len: u64) -> io::Result<String> {
        if !self.wants(case) {
            return Ok(String::new());
        }
        const GOALS: &[Goal] = &[goal(Metric::Wall, "plain", 1.5), goal(Metric::Wall, "chain", 1.0 / 5.0)];
        // arch/x86/boot/Makefile, without the shells and the fixdep that kbuild runs around each of these.
        const CHAIN: &str = concat!(
            "set -e; objcopy -O binary \"$2\" setup.bin; ",
            "objcopy -O binary -R .note -R .comment -S \"$1\" vmlinux.bin; ",
            r#"nm "$1" | sed -n -e 's/^\([0-9a-fA-F]*\) [a-zA-Z] \(startup_32\|startup_64\|efi.._stub_entry\|"#,
            r#"efi\(32\)\?_pe_entry\|input_data\|kernel_info\|_end\|_ehead\|_text\|_e\?data\|z_.*\)$/"#,
            "#define ZO_\\2 0x\\1/p' >zoffset.h; ",
        );
        const WITH_TOOL: &str = "\"$3\" --as build setup.bin vmlinux.bin out";
        const WITHOUT: &str = "(dd if=setup.bin bs=4k conv=sync status=none; cat vmlinux.bin) >out";
        let dir = self.dir.path().join(case);
        let kimage = Contender::new(
            "kimage",
            &dir,
            Path::new(support::kimage_path()),
            &words(["bzimage".as_ref(), vmlinux.as_ref(), setup.as_ref(), "-o".as_ref(), "out".as_ref()]),
        )?;
        let size = fs::metadata(setup)?.len() + fs::metadata(vmlinux)?.len();
        let plain = self.plain(&dir, len, &[setup, vmlinux])?;
        let mut contenders = vec![kimage, plain];
        let tools = [("objcopy", "binutils"), ("nm", "binutils"), ("sed", "sed"), ("sh", "dash")];
        if tools.iter().all(|(tool, package)| support::tool(tool, package).is_some()) {
            let last = if case.contains("7.2") { WITHOUT } else { WITH_TOOL };
            contenders.push(Contender::new(
                "chain",
                &dir,
                Path::new("/bin/sh"),
                &words([
                    "-c".as_ref(),
                    format!("{CHAIN}{last}").as_ref(),
                    "sh".as_ref(),
                    vmlinux.as_ref(),
                    setup.as_ref(),
                    self.me.as_ref(),
                ]),
            )?);
        }
        self.case(case, &mut contenders, 60, Memory::InputAndOutput(size), GOALS)
    }

    /// The uImage of a kernel that was not compressed.
    fn uimage(&self) -> io::Result<String> {
        const CASE: &str = "uimage 33 MB";
        const GOALS: &[Goal] = &[goal(Metric::Wall, "cp", 1.2), goal(Metric::Cpu, "mkimage", 1.0 / 3.0)];
        if !self.wants(CASE) {
            return Ok(String::new());
        }
        let (dir, data) = (self.dir.path().join("uimage"), self.dir.path().join("Image"));
        let size = if self.smoke { 1 << 20 } else { 33_000_000 };
        let mut file = create(&data)?;
        generate::noise(1, size, |block| file.write_all(block))?;
        file.flush()?;
        let options = "-A arm -O linux -T kernel -C none -a 0x8000 -e 0x8000 -n bench".split(' ').map(OsStr::new);
        let kimage =
            ["uimage".as_ref(), data.as_ref(), "-o".as_ref(), "out".as_ref()].into_iter().chain(options.clone());
        let mut contenders = vec![
            Contender::new("kimage", &dir, Path::new(support::kimage_path()), &words(kimage))?,
            self.plain(&dir, size + 64, &[&data])?,
        ];
        if let Some(program) = support::tool("mkimage", "u-boot-tools") {
            let args = options.chain(["-d".as_ref(), data.as_ref(), "out".as_ref()]);
            contenders.push(Contender::new("mkimage", &dir, &program, &words(args))?);
        }
        if let Some(program) = support::tool("cp", "coreutils") {
            contenders
                .push(Contender::new("cp", &dir, &program, &words([data.as_ref(), "out".as_ref()]))?.uncompared());
        }
        let ratios = self.case(CASE, &mut contenders, 30, Memory::InputAndOutput(size), GOALS)?;
        fs::remove_file(data)?;
        Ok(ratios)
    }

    /// A FIT with the kernel behind its tree, on pages: what the kernel can copy, or share, without anybody looking.
    fn fit(&self) -> io::Result<String> {
        const CASE: &str = "fit -E 33 MB";
        if !self.wants(CASE) {
            return Ok(String::new());
        }
        let (dir, data) = (self.dir.path().join("fit"), self.dir.path().join("Image"));
        let size = if self.smoke { 1 << 20 } else { 33_000_000 };
        let mut file = create(&data)?;
        generate::noise(1, size, |block| file.write_all(block))?;
        file.flush()?;
        let options = "fit -E -B 1000 --hash none -A arm -a 8000 -e 8000 -o out --kernel".split(' ').map(OsStr::new);
        let args = words(options.chain([data.as_ref()]));
        let mut contenders = vec![Contender::new("kimage", &dir, Path::new(support::kimage_path()), &args)?];
        if let Some(program) = support::tool("cp", "coreutils") {
            contenders
                .push(Contender::new("cp", &dir, &program, &words([data.as_ref(), "out".as_ref()]))?.uncompared());
        }
        let goals = [goal(Metric::Wall, "cp", 1.2)];
        let ratios = self.case(CASE, &mut contenders, 30, Memory::OutputAndMiB(8), &goals)?;
        fs::remove_file(data)?;
        Ok(ratios)
    }

    /// Reads a file and hashes it: what a signature of it costs at least.
    fn hash(&self, dir: &Path, file: &Path) -> io::Result<Contender> {
        let args = words([AS.as_ref(), "hash".as_ref(), file.as_ref(), "out".as_ref()]);
        Ok(Contender::new("hash", dir, &self.me, &args)?.uncompared())
    }

    /// An EFI program signed for Secure Boot.
    fn sign_efi(&self) -> io::Result<String> {
        const CASE: &str = "sign EFI 60 MB";
        if !self.wants(CASE) {
            return Ok(String::new());
        }
        let (dir, program) = (self.dir.path().join("sign-efi"), self.dir.path().join("program.efi"));
        let size: u32 = if self.smoke { 1 << 20 } else { 60 << 20 };
        // One section behind 1 KiB of headers (PE32+, x86-64).
        let mut head = vec![0; 0x400];
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &[0x40]);
        put(0x40, b"PE\0\0\x64\x86\x01");
        put(0x54, &[0xa0, 0, 6, 2, 0x0b, 2]);
        for (at, value) in
            [(16, 0x1000), (20, 0x1000), (32, 0x1000), (36, 0x200), (56, size + 0x1000), (60, 0x400), (68, 10)]
        {
            put(0x58 + at, &u32::to_le_bytes(value));
        }
        put(0x58 + 108, &[6]);
        put(0xf8, b".text");
        for (at, value) in [(8, size), (12, 0x1000), (16, size), (20, 0x400), (36, 0x6000_0020)] {
            put(0xf8 + at, &u32::to_le_bytes(value));
        }
        let mut file = create(&program)?;
        file.write_all(&head)?;
        generate::noise(2, u64::from(size), |block| file.write_all(block))?;
        file.flush()?;
        let (key, certificate) = (support::testdata("keys/dev.key"), support::testdata("keys/dev.pem"));
        let options = ["--key".as_ref(), key.as_os_str(), "--cert".as_ref(), certificate.as_ref()];
        let args = ["sign".as_ref(), program.as_os_str(), "-o".as_ref(), "out".as_ref()].into_iter().chain(options);
        let kimage = Contender::new("kimage", &dir, Path::new(support::kimage_path()), &words(args))?.uncompared();
        let mut contenders = vec![kimage, self.hash(&dir, &program)?];
        if let Some(tool) = support::tool("sbsign", "sbsigntool") {
            let output = ["--output".as_ref(), "out".as_ref(), program.as_os_str()];
            contenders
                .push(Contender::new("sbsign", &dir, &tool, &words(options.into_iter().chain(output)))?.uncompared());
        }
        let goals = [goal(Metric::Wall, "sbsign", 1.0)];
        let ratios = self.case(CASE, &mut contenders, 18, Memory::InputAndOutput(size.into()), &goals)?;
        fs::remove_file(program)?;
        Ok(ratios)
    }

    /// A FIT that is built and signed, and one that is verified.
    fn sign_fit(&self) -> io::Result<String> {
        const CASES: [&str; 2] = ["fit signed 30 MB", "verify FIT 30 MB"];
        if !CASES.into_iter().any(|case| self.wants(case)) {
            return Ok(String::new());
        }
        let folder = self.dir.path().join("fit-source");
        fs::create_dir_all(folder.join("keys"))?;
        let (data, source, signed) = (folder.join("Image"), folder.join("image.its"), folder.join("signed.itb"));
        let size = if self.smoke { 1 << 20 } else { 30_000_000 };
        let mut file = create(&data)?;
        generate::noise(3, size, |block| file.write_all(block))?;
        file.flush()?;
        let text = format!(
            "/dts-v1/;\n/ {{ description = \"bench\"; images {{ kernel {{ description = \"k\"; data = /incbin/(\"{}\");\n\
             type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; compression = \"none\"; load = <0x80000>; entry = <0x80000>;\n\
             hash {{ algo = \"sha256\"; }}; }}; }}; configurations {{ default = \"c\"; c {{ description = \"c\"; kernel = \"kernel\";\n\
             signature {{ algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; sign-images = \"kernel\"; }}; }}; }}; }};\n",
            data.display()
        );
        fs::write(&source, text)?;
        fs::copy(support::testdata("keys/dev.key"), folder.join("keys/dev.key"))?;
        let keys = folder.join("keys");
        let kimage = Path::new(support::kimage_path());
        support::run_ok(support::kimage().arg("fit").arg(&source).arg("--keys").arg(&keys).arg("-o").arg(&signed));
        let mut ratios = String::new();
        if self.wants(CASES[0]) {
            let dir = self.dir.path().join("fit-signed");
            let args =
                ["fit".as_ref(), source.as_os_str(), "--keys".as_ref(), keys.as_ref(), "-o".as_ref(), "out".as_ref()];
            let mut contenders = vec![Contender::new("kimage", &dir, kimage, &words(args))?.uncompared()];
            if let Some(tool) = support::tool("mkimage", "u-boot-tools") {
                let args = ["-f".as_ref(), source.as_os_str(), "-k".as_ref(), keys.as_ref(), "out".as_ref()];
                // Its FIT has the time of day in it.
                contenders.push(Contender::new("mkimage", &dir, &tool, &words(args))?.uncompared());
            }
            if let Some(tool) = support::tool("cp", "coreutils") {
                let args = words([data.as_os_str(), "out".as_ref()]);
                contenders.push(Contender::new("cp", &dir, &tool, &args)?.uncompared());
            }
            contenders.push(self.hash(&dir, &data)?);
            let goals = [goal(Metric::Wall, "mkimage", 1.0 / 3.0), goal(Metric::Wall, "cp", 1.1)];
            ratios += &self.case(CASES[0], &mut contenders, 18, Memory::InputAndOutput(size), &goals)?;
        }
        if self.wants(CASES[1]) {
            let dir = self.dir.path().join("fit-verified");
            let key = support::testdata("keys/dev.pem");
            // What it says is the output: none of the others says the same.
            let line = ["-c".as_ref(), "\"$@\" >out".as_ref(), "sh".as_ref(), kimage.as_os_str(), "verify".as_ref()];
            let line = line.into_iter().chain([signed.as_os_str(), "--key".as_ref(), key.as_ref()]);
            let ours = Contender::new("kimage", &dir, Path::new("/bin/sh"), &words(line))?.uncompared();
            let mut contenders = vec![ours, self.hash(&dir, &signed)?];
            ratios += &self.case(CASES[1], &mut contenders, 18, Memory::Any, &[])?;
        }
        fs::remove_dir_all(folder)?;
        Ok(ratios)
    }

    /// A unified image with a RAM disk of a distribution's installer, beside what ukify of the same release makes.
    fn uki(&self) -> io::Result<String> {
        const CASE: &str = "uki 500 MB";
        if !self.wants(CASE) {
            return Ok(String::new());
        }
        let ukify = support::cache().join("ukify/usr");
        let (script, stub) = (ukify.join("bin/ukify"), ukify.join("lib/systemd/boot/efi/linuxx64.efi.stub"));
        if !script.is_file() || !stub.is_file() {
            support::missing("no ukify (sh tests/fetch-ukify.sh)");
            return Ok(String::new());
        }
        let (dir, disk) = (self.dir.path().join("uki"), self.dir.path().join("initrd"));
        let linux = self.dir.path().join("linux.efi");
        support::run_ok(support::kimage().arg("bzimage").arg(support::testdata("tiny/kernel")).arg("-o").arg(&linux));
        let mut file = create(&disk)?;
        generate::noise(4, if self.smoke { 1 << 20 } else { 500_000_000 }, |block| file.write_all(block))?;
        file.flush()?;
        let paths = [("linux", &linux), ("initrd", &disk), ("stub", &stub)];
        let mut options = paths.map(|(name, path)| format!("--{name}={}", path.display()).into()).to_vec();
        options.extend(["--os-release=", "--uname=", "--cmdline=quiet", "--output=out"].map(OsString::from));
        let args = [vec!["uki".into()], options.clone()].concat();
        let mut contenders = vec![Contender::new("kimage", &dir, Path::new(support::kimage_path()), &args)?];
        // Debian's Python has what ukify imports; another one may be the first on PATH.
        let args = [vec![script.into(), "build".into()], options].concat();
        contenders.push(Contender::new("ukify", &dir, Path::new("/usr/bin/python3"), &args)?);
        if let Some(program) = support::tool("cp", "coreutils") {
            let args = words([disk.as_ref(), "out".as_ref()]);
            contenders.push(Contender::new("cp", &dir, &program, &args)?.uncompared());
        }
        let goals = [goal(Metric::Wall, "cp", 1.3), goal(Metric::Wall, "ukify", 1.0)];
        let ratios = self.case(CASE, &mut contenders, 9, Memory::MiB(32), &goals)?;
        fs::remove_file(disk)?;
        Ok(ratios)
    }

    /// A kernel with debug information, without and with relocations: its flat image, its payload, its table.
    fn debug_kernels(&self) -> io::Result<String> {
        let size = |full: u64| if self.smoke { full << 10 } else { full << 20 };
        let symbols = if self.smoke { 200 } else { 200_000 };
        let vmlinux = self.dir.path().join("vmlinux");
        let mut ratios = String::new();
        if self.wants("image") {
            let elf = ElfFile::debug_kernel(size(40), size(500), symbols);
            elf.write(create(&vmlinux)?)?;
            ratios += &self.image("image", &vmlinux, &elf)?;
        }
        let cases = ["image with relocs", "strip", "relocs"];
        if cases.into_iter().any(|case| self.wants(case)) {
            let elf = ElfFile::debug_kernel(size(50), size(240), symbols).kept_relocations();
            elf.write(create(&vmlinux)?)?;
            for case in cases.into_iter().filter(|case| self.wants(case)) {
                ratios += &match case {
                    "strip" => self.strip(&vmlinux, &elf)?,
                    "relocs" => self.relocs(&vmlinux)?,
                    _ => self.image(case, &vmlinux, &elf)?,
                };
            }
        }
        if vmlinux.exists() {
            fs::remove_file(vmlinux)?;
        }
        Ok(ratios)
    }

    /// What it costs at least to write the loaded part of a generated kernel.
    fn copy(&self, dir: &Path, vmlinux: &Path, elf: &ElfFile) -> io::Result<Contender> {
        let (at, len) = (generate::FLAT_AT.to_string(), elf.flat_len().to_string());
        let copy = [AS.as_ref(), "copy".as_ref(), vmlinux.as_ref(), OsStr::new(&at), OsStr::new(&len), "out".as_ref()];
        Contender::new("copy", dir, &self.me, &words(copy))
    }

    fn image(&self, case: &'static str, vmlinux: &Path, elf: &ElfFile) -> io::Result<String> {
        const GOALS: &[Goal] =
            &[goal(Metric::Wall, "objcopy", 1.0 / 3.0), goal(Metric::Wall, "llvm-objcopy", 1.0 / 10.0)];
        let dir = self.dir.path().join(case);
        let args = words(["image".as_ref(), vmlinux.as_ref(), "-o".as_ref(), "out".as_ref()]);
        let mut contenders = vec![
            Contender::new("kimage", &dir, Path::new(support::kimage_path()), &args)?,
            self.copy(&dir, vmlinux, elf)?,
        ];
        for (tool, package) in [("objcopy", "binutils"), ("llvm-objcopy", "llvm")] {
            if let Some(program) = support::tool(tool, package) {
                let args = words(["-O".as_ref(), "binary".as_ref(), vmlinux.as_ref(), "out".as_ref()]);
                contenders.push(Contender::new(tool, &dir, &program, &args)?);
            }
        }
        let size = fs::metadata(vmlinux)?.len();
        self.case(case, &mut contenders, 12, Memory::InputAndOutput(size), GOALS)
    }

    /// The smaller ELF file that a bzImage carries.
    fn strip(&self, vmlinux: &Path, elf: &ElfFile) -> io::Result<String> {
        const GOALS: &[Goal] =
            &[goal(Metric::Wall, "objcopy", 1.0 / 3.0), goal(Metric::Wall, "llvm-objcopy", 1.0 / 10.0)];
        let dir = self.dir.path().join("strip");
        let args = words(["strip".as_ref(), vmlinux.as_ref(), "-o".as_ref(), "out".as_ref()]);
        let mut contenders = vec![
            Contender::new("kimage", &dir, Path::new(support::kimage_path()), &args)?,
            self.copy(&dir, vmlinux, elf)?.uncompared(),
        ];
        for (tool, package) in [("objcopy", "binutils"), ("llvm-objcopy", "llvm")] {
            if let Some(program) = support::tool(tool, package) {
                let options = ["-R", ".comment", "-S"].into_iter().map(OsStr::new);
                let args = words(options.chain([vmlinux.as_ref(), "out".as_ref()]));
                let contender = Contender::new(tool, &dir, &program, &args)?;
                // LLVM lays an ELF file out in another way.
                contenders.push(if tool == "objcopy" { contender } else { contender.uncompared() });
            }
        }
        self.case("strip", &mut contenders, 12, Memory::OutputAndMiB(32), GOALS)
    }

    /// The table of relocations against the kernel's own tool, which no package has.
    fn relocs(&self, vmlinux: &Path) -> io::Result<String> {
        const GOALS: &[Goal] = &[goal(Metric::Wall, "relocs", 1.0 / 3.0)];
        let dir = self.dir.path().join("relocs");
        let mut args = words(["relocs".as_ref(), vmlinux.as_ref(), "-o".as_ref(), "out".as_ref()]);
        let tool = support::corpus().iter().find_map(support::Tree::relocs_tool);
        if tool.is_none() {
            support::no_relocs_tool();
        }
        if let Some(tool) = &tool {
            // Linux 7.2's makes two lists of this kernel, those before it three, of which one is empty.
            let table = support::run_ok(Command::new(tool).arg(vmlinux)).stdout;
            let zeros = table.chunks(4).filter(|word| **word == [0; 4]).count();
            args.extend(words(["--lists".as_ref(), zeros.to_string().as_ref()]));
        }
        let mut contenders = vec![Contender::new("kimage", &dir, Path::new(support::kimage_path()), &args)?];
        if let Some(tool) = tool {
            contenders.push(Contender::new("relocs", &dir, &tool, &words([vmlinux.as_ref()]))?.writing_stdout());
        }
        self.case("relocs", &mut contenders, 12, Memory::OutputAndMiB(32), GOALS)
    }

    /// The ELF file in Debian's kernels, one of each codec, against the kernel's script.
    fn extracts(&self) -> io::Result<String> {
        let mut ratios = String::new();
        for (case, folder, command) in [
            ("extract xz", "bookworm-amd64-amd64", &["xz", "-dc"][..]),
            ("extract lz4", "bookworm-amd64-cloud-amd64", &["lz4", "-dcq"]),
            ("extract zstd", "trixie-amd64-cloud-amd64", &["zstd", "-dcq", "--long=31"]),
        ] {
            if self.wants(case) {
                if let Some(image) = support::debian_kernel(folder) {
                    ratios += &self.extract(case, &image, command)?;
                }
            }
        }
        Ok(ratios)
    }

    /// `command`: what decompresses the payload, which is the least that the script does.
    fn extract(&self, case: &'static str, image: &Path, command: &[&str]) -> io::Result<String> {
        const GOALS: &[Goal] = &[goal(Metric::Wall, "script", 1.0 / 5.0), goal(Metric::Wall, "command", 1.0)];
        let (dir, payload) = (self.dir.path().join(case), self.dir.path().join("payload"));
        let kimage = Path::new(support::kimage_path());
        let args = ["extract".as_ref(), image.as_ref(), "vmlinux".as_ref(), "-o".as_ref(), "out".as_ref()];
        let mut contenders = vec![Contender::new("kimage", &dir, kimage, &words(args))?.uncompared()];
        // Both leave the relocation table behind the ELF file.
        let mut shell = |name, args: Vec<&OsStr>| {
            let line = ["-c".as_ref(), "\"$@\" >out".as_ref(), "sh".as_ref()].into_iter().chain(args);
            Contender::new(name, &dir, Path::new("/bin/sh"), &words(line)).map(|one| contenders.push(one.uncompared()))
        };
        if let Some(script) = support::extract_vmlinux() {
            shell("script", vec!["sh".as_ref(), script.as_os_str(), image.as_ref()])?;
        }
        if support::tool(command[0], command[0]).is_some() {
            support::run_ok(support::kimage().args(["extract", "-o"]).args([&payload, image]).arg("payload"));
            shell("command", command.iter().map(OsStr::new).chain([payload.as_os_str()]).collect())?;
        }
        let input = fs::metadata(image)?.len();
        self.case(case, &mut contenders, 18, Memory::InputAndOutput(input), GOALS)
    }

    fn plain(&self, dir: &Path, len: u64, inputs: &[&Path]) -> io::Result<Contender> {
        let len = len.to_string();
        let head = [AS.as_ref(), "plain".as_ref(), "out".as_ref(), OsStr::new(&len)];
        let args = words(head.into_iter().chain(inputs.iter().map(|path| path.as_os_str())));
        Ok(Contender::new("plain", dir, &self.me, &args)?.uncompared())
    }

    /// Is this one of the cases asked for?
    fn wants(&self, case: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| case.starts_with(name))
    }

    /// Measures and prints one case; returns its lines of the table of ratios.
    fn case(
        &self,
        case: &str,
        contenders: &mut [Contender],
        count: usize,
        memory: Memory,
        goals: &[Goal],
    ) -> io::Result<String> {
        let count = match (self.smoke, self.quick) {
            (true, _) => 1,
            (false, true) => count.div_ceil(6),
            (false, false) => count,
        };
        let output = measure(contenders, count)?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        for contender in contenders.iter() {
            let (min, median) = contender.wall();
            let peak = contender.peak() as f64 / f64::from(1 << 20);
            let (name, cpu) = (contender.name, ms(contender.cpu()));
            println!("| {case} | {name} | {:.2} | {:.2} | {cpu:.2} | {peak:.1} |", ms(min), ms(median));
        }
        let mut ratios = String::new();
        let Some((kimage, peers)) = contenders.split_first() else { return Ok(ratios) };
        for goal in goals {
            let Some(peer) = peers.iter().find(|peer| peer.name == goal.peer) else { continue };
            let over = |ours: Duration, theirs: Duration| ours.as_secs_f64() / theirs.as_secs_f64();
            let (ours, theirs) = (kimage.wall(), peer.wall());
            let (wall, median, cpu) = (over(ours.0, theirs.0), over(ours.1, theirs.1), over(kimage.cpu(), peer.cpu()));
            let (low, high) = kimage.middle_half(peer);
            let (what, ratio) = match goal.metric {
                Metric::Wall => ("wall", wall),
                Metric::Cpu => ("CPU", cpu),
            };
            let verdict = if ratio <= goal.at_most { "reached" } else { "**missed**" };
            let (name, at_most) = (peer.name, goal.at_most);
            ratios += &format!(
                "| {case} | {name} | {wall:.3} | {median:.3} | {low:.2} to {high:.2} | {cpu:.3} | {what} at most {at_most:.3} | {verdict} |\n"
            );
        }
        let (peer, allowed) = match memory {
            Memory::Any => return Ok(ratios),
            Memory::InputAndOutput(input) => ("input + output".to_owned(), input + output),
            Memory::OutputAndMiB(more) => (format!("output + {more} MiB"), output + (more << 20)),
            Memory::MiB(all) => (format!("{all} MiB"), all << 20),
        };
        let ratio = kimage.peak().saturating_sub(self.start_peak) as f64 / allowed as f64;
        let verdict = if ratio <= 1.0 { "reached" } else { "**missed**" };
        ratios += &format!("| {case} | {peer} | | | | | memory {ratio:.3}, at most 1 | {verdict} |\n");
        Ok(ratios)
    }
}

fn words<'w>(words: impl IntoIterator<Item = &'w OsStr>) -> Vec<OsString> {
    words.into_iter().map(OsStr::to_owned).collect()
}

fn create(path: &Path) -> io::Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(path)?))
}
