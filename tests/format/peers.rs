//! U-Boot's own tools by their names, beside the real ones: the same text on standard output, the same status, the same files.

use crate::fit_sign::{folder, keys, mkimages, signature, source};
use crate::support::{self, kimage, noise, put, read, run, run_ok, stderr, stdout, tempdir, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const EPOCH: &str = "1700000000";

/// A generator of numbers, with a seed of its own for each use: the table is the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'p>(&mut self, of: &[&'p str]) -> &'p str {
        of[self.roll(of.len())]
    }

    /// One time in so many.
    fn one_in(&mut self, count: usize) -> bool {
        self.roll(count) == 0
    }
}

/// A tool and its arguments.
type Line = (&'static str, Vec<String>);

fn line(tool: &'static str, words: &str) -> Line {
    (tool, words.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace('~', " ")).collect())
}

/// Two folders with the same files: one for each.
struct Pair {
    dir: tempfile::TempDir,
    mkimage: PathBuf,
    layout: Option<String>,
}

impl Pair {
    fn new(mkimage: &Path, layout: Option<String>) -> Pair {
        let pair = Pair { dir: tempdir(), mkimage: mkimage.to_owned(), layout };
        for side in ["ours", "theirs"] {
            let dir = pair.dir.path().join(side);
            fs::create_dir_all(dir.join("sub.d")).unwrap();
            let common = folder();
            for entry in fs::read_dir(common.path()).unwrap().map(Result::unwrap) {
                fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
            }
            fs::copy(common.path().join("ctl-plain.dtb"), dir.join("plain.dtb")).unwrap();
            put(&dir, "sub.d/board.dtb", &noise(301, 3));
            put(&dir, "xip.bin", &[vec![0xff; 64], noise(700, 5)].concat());
            put(&dir, "empty", b"");
            put(&dir, "junk", &noise(3000, 1));
            put(
                &dir,
                "tee.bin",
                &[&b"OPTE\x01\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\0"[..], &noise(90, 2)].concat(),
            );
            let signed = signature("sha256,rsa2048", "dev", "sign-images = \"kernel\", \"fdt\";");
            put(&dir, "plain.its", source("", "", "").as_bytes());
            put(&dir, "signed.its", source("", &signed, "").as_bytes());
            let image = signature("sha1,rsa2048", "prod", "");
            put(&dir, "both.its", source(&image, &signed, "conf-2 { kernel = \"kernel\"; };").as_bytes());
            let loads = "ramdisk = \"rd-1\"; loadables = \"rd-1\", \"rd-2\"; compatible = \"a,b\", \"c\"; firmware = \"kernel\";";
            put(&dir, "rich.its", source("", loads, "").replace("0x40008000", "1 0x40008000").as_bytes());
        }
        pair
    }

    fn run(&self, side: &str, (tool, arguments): &Line, zone: &str) -> Output {
        let dir = self.dir.path().join(side);
        let mut command = match side {
            "ours" => kimage(),
            _ if *tool == "mkimage" => Command::new(&self.mkimage),
            _ => Command::new(tool),
        };
        if side == "ours" {
            command.arg("as").args(self.layout.iter().flat_map(|layout| ["--layout", layout])).arg(tool);
        }
        run(command.current_dir(dir).env("SOURCE_DATE_EPOCH", EPOCH).env("TZ", zone).args(arguments))
    }

    /// Runs these lines with both; what is written is then the same.
    #[track_caller]
    fn same(&self, lines: &[Line], zone: &str) {
        let side = |name: &str| self.dir.path().join(name);
        for name in ["out", "part", "control.dtb"] {
            let _ = ["ours", "theirs"].map(|of| fs::remove_file(side(of).join(name)));
        }
        for of in ["ours", "theirs"] {
            fs::copy(side(of).join("plain.dtb"), side(of).join("control.dtb")).unwrap();
        }
        for line in lines {
            let what = format!("{} {:?} TZ={zone} {:?}", line.0, line.1, self.layout);
            let (ours, theirs) = (self.run("ours", line, zone), self.run("theirs", line, zone));
            let said = || format!("{what}\nours: {}theirs: {}", stderr(&ours), stderr(&theirs));
            assert_eq!(ours.status.code(), theirs.status.code(), "{}", said());
            assert_eq!(text(&ours), text(&theirs), "{}", said());
            // What mkimage leaves of a failure is no image.
            if !ours.status.success() {
                continue;
            }
            for name in ["out", "part", "control.dtb"] {
                let [ours, theirs] = ["ours", "theirs"].map(|of| fs::read(side(of).join(name)).ok());
                assert_eq!(ours.is_some(), theirs.is_some(), "{what}: {name}");
                support::assert_same(
                    &format!("{what}: {name}"),
                    &ours.unwrap_or_default(),
                    &theirs.unwrap_or_default(),
                );
            }
        }
    }
}

/// Standard output. Where a script's further files are, mkimage tells as an address of its own memory; and it says that it failed whenever it
/// starts again with more room for the keys.
fn text(output: &Output) -> String {
    let lines = stdout(output);
    let lines: String = lines
        .lines()
        .filter(|line| !line.starts_with("Failed to add verification data"))
        .map(|line| format!("{line}\n"))
        .collect();
    let lines = lines.lines().map(|line| if line.starts_with("    Offset = 0x") { "    Offset" } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

const ZONES: [&str; 3] = ["UTC0", "XYZ-5:30", "EST5EDT,M3.2.0,M11.1.0"];

fn words(of: &[&str]) -> Vec<String> {
    of.iter().map(|word| (*word).to_owned()).collect()
}

/// A line that makes a legacy image, and lines that look at it.
fn legacy(dice: &mut Dice) -> Vec<Line> {
    let kind = dice.pick(&[
        "kernel",
        "ramdisk",
        "multi",
        "script",
        "firmware",
        "standalone",
        "filesystem",
        "kernel_noload",
        "firmware_ivt",
        "KERNEL",
    ]);
    let os = dice.pick(&["linux", "linux", "u-boot", "tee", "openbsd", "Linux"]);
    let kind = if os == "tee" { "kernel" } else { kind };
    let mut groups: Vec<Vec<String>> = Vec::new();
    if !dice.one_in(6) {
        let arch = dice.pick(&["arm", "arm64", "mips", "ppc", "x86_64", "riscv", "ARM"]);
        groups.push(words(&[dice.pick(&["-A", "--architecture"]), arch]));
    }
    groups.push(words(&["-O", os]));
    groups.push(words(&["-T", kind]));
    if !dice.one_in(4) {
        groups.push(words(&["-C", dice.pick(&["none", "gzip", "lzma", "zstd", "lz4"])]));
    }
    let is_listed = ["multi", "script"].contains(&kind);
    let is_xip = dice.one_in(6) && !is_listed && os != "tee" && kind != "firmware_ivt";
    if is_xip {
        groups.push(words(&["-x"]));
    }
    let data = match os {
        "tee" => "tee.bin",
        _ if is_xip => "xip.bin",
        _ if is_listed => dice.pick(&["kernel.bin", "kernel.bin:rd.bin", "rd.bin:fdt.bin:junk"]),
        _ => dice.pick(&["kernel.bin", "rd.bin", "junk", "sub.d/board.dtb"]),
    };
    groups.push(match dice.roll(3) {
        0 => words(&["-d", data]),
        1 => vec![format!("-d{data}")],
        _ => vec![format!("--image={data}")],
    });
    if !dice.one_in(3) {
        groups.push(words(&["-a", dice.pick(&["80008000", "0x80008000", "0", "ffffffff80100000", "-1", "+10"])]));
    }
    if dice.one_in(2) {
        groups.push(words(&["-e", dice.pick(&["80008040", "0X1000", "ffffffff"])]));
    }
    if !dice.one_in(4) {
        groups.push(words(&["-n", dice.pick(&["", "name", "a name", "exactly thirty-two bytes are here", "ümläut"])]));
    }
    if dice.one_in(5) {
        groups.push(words(&[dice.pick(&["-v", "-q", "-R", "-E"])]));
        if groups.last().is_some_and(|last| last[0] == "-R") {
            groups.last_mut().unwrap().push("second".into());
        }
    }
    // In any order, the image's name too.
    let image = words(&["out"]);
    groups.insert(dice.roll(groups.len() + 1), image);
    let swap = dice.roll(groups.len());
    groups.swap(0, swap);
    let listing = match dice.roll(4) {
        0 => "-l out".to_owned(),
        1 => "out -l".to_owned(),
        2 => "-ql out".to_owned(),
        _ if kind == "script" => "--list out".to_owned(),
        _ => format!("-T {kind} -l out"),
    };
    let number = dice.roll(3);
    let mut lines = vec![("mkimage", groups.concat()), line("mkimage", &listing)];
    // Of that one dumpimage reads more than there is.
    if kind != "firmware_ivt" {
        lines.push(line("dumpimage", &format!("-T {kind} -p {number} -o part out")));
    }
    lines.push(line("dumpimage", "-l out"));
    lines
}

fn placing(dice: &mut Dice) -> &'static str {
    dice.pick(&["", "", "-E", "-E -B 1000", "-E -p 3000", "-EB20", "-p 3000"])
}

/// A line that makes a FIT of options alone.
fn auto(dice: &mut Dice, newer: bool) -> Vec<Line> {
    let kind = dice.pick(&[
        "kernel",
        "kernel",
        "kernel_noload",
        "ramdisk",
        "firmware",
        "standalone",
        "script",
        "fpga",
        "multi",
    ]);
    let mut text = format!("-f auto -T {kind} -d {}", dice.pick(&["kernel.bin", "rd.bin"]));
    text += dice.pick(&["", " -A arm", " -A arm64 -O linux"]);
    text += dice.pick(&["", " -C none", " -C lz4"]);
    text += dice.pick(&["", " -a 80008000", " -a 80008000 -e 80008040", " -e 10", " -a 10 -x"]);
    text += dice.pick(&["", " -n name", " -n a~longer~name~of~more~than~thirty-two~bytes"]);
    text += dice.pick(&["", " -b plain.dtb", " -b plain.dtb -b sub.d/board.dtb", " -b rd.bin -b kernel.bin -b junk"]);
    // Two images of one name, else.
    text += dice.pick(&["", " -i rd.bin"]);
    text += &format!(" {}", placing(dice));
    if keys().is_some() && dice.one_in(3) {
        text += " -g dev -o sha256,rsa2048 -k KEYS";
        text += dice.pick(&["", " -K control.dtb -r", " -c comment"]);
        if newer && dice.one_in(2) {
            text = text.replace("-f auto", "-f auto-conf");
        }
    }
    vec![
        line("mkimage", &format!("{text} out")),
        line("mkimage", "-l out"),
        line("dumpimage", "-T flat_dt -p 1 -o part out"),
    ]
}

/// A line that makes a FIT of a source, and one that makes it again.
fn sourced(dice: &mut Dice) -> Vec<Line> {
    let its = dice.pick(&["plain.its", "signed.its", "both.its", "rich.its"]);
    let dtc = dice.pick(&["", "", "-D -I~dts~-O~dtb~-p~2000"]);
    let sign = |dice: &mut Dice| match keys() {
        Some(_) => dice.pick(&["", "-k KEYS", "-k KEYS -K control.dtb -r", "-k KEYS -K control.dtb -c a~comment"]),
        None => "",
    };
    let first = format!("{dtc} -f {its} {} {} out", placing(dice), sign(dice));
    let again = format!("-F {} {} {} out", dice.pick(&["", "-t"]), dice.pick(&["", "-E"]), sign(dice));
    let mut lines = vec![line("mkimage", &first), line("mkimage", "-l out")];
    // mkimage 2023.01 takes nothing in that -p has put somewhere.
    if !first.contains("-E -p") {
        lines.push(line("mkimage", &again));
    }
    // mkimage 2023.01 leaves the old offsets beside data that it takes in, which dumpimage then believes.
    if !first.contains("-E") || again.contains("-E") {
        lines.push(line("dumpimage", &format!("-T flat_dt -p {} -o part out", dice.roll(5))));
    }
    lines
}

fn with_keys(mut lines: Vec<Line>) -> Vec<Line> {
    let keys = keys().map(|keys| keys.to_str().unwrap()).unwrap_or_default();
    for word in lines.iter_mut().flat_map(|line| &mut line.1) {
        *word = word.replace("KEYS", keys);
    }
    lines
}

/// What both refuse, with the same status.
const WRONG: &[&str] = &[
    "mkimage ",
    "mkimage -l",
    "mkimage -Q out",
    "mkimage -A nothing -d kernel.bin out",
    "mkimage -O nothing -d kernel.bin out",
    "mkimage -C nothing -d kernel.bin out",
    "mkimage -T nothing -d kernel.bin out",
    "mkimage -a 12x -d kernel.bin out",
    "mkimage -e 0x -d kernel.bin out",
    "mkimage -d kernel.bin",
    "mkimage -d nothing out",
    "mkimage -d empty out",
    "mkimage -d sub.d out",
    "mkimage -T multi -d kernel.bin:nothing out",
    "mkimage -T script out",
    "mkimage -T flat_dt -d kernel.bin out",
    "mkimage -l -d kernel.bin out",
    "mkimage -x -d kernel.bin out",
    "mkimage -x -d rd.bin out",
    "mkimage -l nothing",
    "mkimage -T kernel -l junk",
    "mkimage -T ramdisk -l rd.bin",
    "mkimage -T flat_dt -l junk",
    "mkimage -T flat_dt -l plain.dtb",
    "mkimage -T kernel -l plain.dtb",
    "mkimage -f nothing.its out",
    "mkimage -f junk out",
    "mkimage -f plain.its -d kernel.bin out",
    "mkimage -f auto out",
    "mkimage -f auto -d nothing out",
    "mkimage -f auto -d kernel.bin -b nothing out",
    "mkimage -F nothing",
    "mkimage -F junk",
    "mkimage -F plain.dtb",
    "mkimage -f plain.its -E -p 10 out",
    "mkimage -T imximage -d kernel.bin out",
    "mkimage -T list",
    "mkimage -V",
    "mkimage -lV",
    "dumpimage ",
    "dumpimage -h",
    "dumpimage -V",
    "dumpimage -Q",
    "dumpimage -l",
    "dumpimage -l nothing",
    "dumpimage -l -o part out",
    "dumpimage -o part junk",
    "dumpimage -T kernel junk",
    "dumpimage -T nothing -o part junk",
    "dumpimage -T kernel -o part junk",
    "dumpimage -T kernel -o part rd.bin",
    "dumpimage -T flat_dt -o part junk",
    "dumpimage -p x -T kernel -o part junk",
];

/// As the build systems of distributions call it; the words that they fill in are filled in here. OpenWrt's include/image-commands.mk
/// was read at commit 00012f20c5f2. Of Buildroot's ramdisk, appended tree and Xvisor, and of Yocto's oe_mkimage, fitImage and concat_dtb,
/// copies of the commands were read whose files and releases the search did not name. The others are from memory. OpenWrt's `-M` is not
/// known to the mkimages compared here.
const CALLS: &[(&str, &[&str])] = &[
    (
        "Linux, scripts/Makefile.lib (cmd_uimage)",
        &[
            "mkimage -A arm -O linux -C none -T kernel -a 0x80008000 -e 0x80008000 -n Linux-6.1.0 -d kernel.bin out",
            "mkimage -A mips -O linux -C gzip -T kernel -a 0xffffffff80100000 -e 0xffffffff80574230 -n Linux-6.1.0 -d kernel.bin out",
        ],
    ),
    ("Buildroot, fs/cpio/cpio.mk (ROOTFS_CPIO_UBOOT_MKIMAGE)", &["mkimage -A arm -T ramdisk -C none -d rd.bin out"]),
    (
        "Buildroot, linux/linux.mk (LINUX_APPEND_DTB)",
        &[
            "mkimage -A arm -O linux -C none -T kernel -a 0x8000 -e 0x8000 -n Linux-6.1.0 -d kernel.bin out",
            "mkimage -l out",
            "mkimage -A arm -O linux -T kernel -C none -n Linux-6.1.0 -a 00008000 -e 00008000 -d kernel.bin out",
        ],
    ),
    (
        "Buildroot, package/uboot-tools/uboot-tools.mk",
        &["mkimage -C none -A arm -T script -d rd.bin out", "mkimage -f plain.its out"],
    ),
    (
        "Buildroot, boot/xvisor/xvisor.mk",
        &["mkimage -A arm -O linux -T kernel -C none -a 0x00008000 -e 0x00008000 -n Xvisor -d kernel.bin out"],
    ),
    (
        "OpenWrt, include/image-commands.mk (Build/uImage)",
        &[
            "mkimage -A mips -O linux -T kernel -C lzma -a 0x80060000 -e 0x80060000 -n MIPS~OpenWrt~Linux-5.15.150 -d kernel.bin out",
        ],
    ),
    (
        "OpenWrt, include/image-commands.mk (Build/fit)",
        &[
            "mkimage -f plain.its out",
            "mkimage -E -B 0x1000 -f plain.its out",
            "mkimage -E -B 0x1000 -p 0x1000 -f plain.its out",
        ],
    ),
    (
        "OpenWrt, include/image-commands.mk (Build/append-uImage-fakehdr)",
        &["mkimage -A mips -O linux -T filesystem -C none -n OpenWrt~fake~filesystem -d empty -s out"],
    ),
    (
        "OpenWrt, target/linux/apm821xx (create-uImage-dtb, append-rootfshdr)",
        &[
            "mkimage -A ppc -O linux -T kernel -C none -n PPC~OpenWrt~Linux-5.15.150 -d sub.d/board.dtb out",
            "mkimage -A ppc -O linux -T filesystem -C lzma -a 0 -e 0 -n root.squashfs -d junk out",
        ],
    ),
    (
        "Yocto, meta/classes-recipe/kernel-uimage.bbclass",
        &[
            "mkimage -A arm -O linux -T kernel -C gzip -a 0x20008000 -e 0x20008000 -n Poky/6.6.21+git/qemuarm -d kernel.bin out",
        ],
    ),
    (
        "Yocto, meta/classes-recipe/image_types.bbclass (oe_mkimage)",
        &["mkimage -A arm -O linux -T ramdisk -C gzip -n core-image-minimal -d rd.bin out"],
    ),
    (
        "Yocto, meta/classes-recipe/kernel-fitimage.bbclass",
        &[
            "mkimage -D -I~dts~-O~dtb~-p~2000 -f signed.its out",
            "mkimage -D -I~dts~-O~dtb~-p~2000 -F -k KEYS -K control.dtb -r out",
            "mkimage -F -k KEYS -r out",
        ],
    ),
    (
        "Yocto, meta/classes-recipe/uboot-sign.bbclass (concat_dtb)",
        &[
            "mkimage -D -I~dts~-O~dtb~-p~2000 -f auto -k KEYS -o sha256,rsa2048 -g dev -K control.dtb -d /dev/null -r out",
        ],
    ),
    (
        "Chromium OS of others, postmarketOS: one FIT for many boards",
        &[
            "mkimage -D -I~dts~-O~dtb~-p~2048 -f auto -A arm64 -O linux -T kernel -C lz4 -a 0 -d kernel.bin -b plain.dtb -b sub.d/board.dtb -i rd.bin out",
        ],
    ),
    (
        "Debian, flash-kernel (mkimage_kernel, mkimage_initrd, mkimage_script)",
        &[
            "mkimage -A arm -O linux -T kernel -C none -a 0x00008000 -e 0x00008000 -n kernel~6.1.0-18-marvell -d kernel.bin out",
            "mkimage -A arm -O linux -T ramdisk -C none -a 0x0 -e 0x0 -n ramdisk~6.1.0-18-marvell -d rd.bin out",
            "mkimage -A arm64 -O linux -T script -C none -a 0x0 -e 0x0 -n bootscript -d rd.bin out",
        ],
    ),
];

fn of(text: &str) -> Line {
    let (tool, words) = text.split_once(' ').unwrap();
    line(if tool == "mkimage" { "mkimage" } else { "dumpimage" }, words)
}

/// A table of generated command lines with a fixed seed: a sample, with --full some hundred of each kind.
#[test]
fn generated_command_lines() {
    let all = mkimages();
    let (Some(own), Some(_)) = (all.first(), tool("dumpimage", "u-boot-tools")) else { return }; // no gap: mkimages() and tool() say so
    let pair = Pair::new(own, None);
    let count = if support::full() { 150 } else { 9 };
    let mut dice = Dice(20_261_130);
    let mut lines = 0;
    for index in 0..count {
        let zone = ZONES[index % ZONES.len()];
        for made in [legacy(&mut dice), auto(&mut dice, false), sourced(&mut dice)] {
            pair.same(&with_keys(made.clone()), zone);
            lines += made.len();
        }
    }
    assert!(lines >= count * 10, "{lines}");
}

/// The same with other releases' text and bytes, mkimage alone.
#[test]
fn generated_command_lines_of_other_releases() {
    let all = mkimages();
    for mkimage in all.iter().skip(1) {
        let version = stdout(&run(Command::new(mkimage).arg("-V")));
        let layout = version.trim().rsplit(' ').next().unwrap().to_owned();
        let pair = Pair::new(mkimage, Some(layout));
        let mut dice = Dice(7);
        for _ in 0..if support::full() { 60 } else { 2 } {
            for made in [legacy(&mut dice), auto(&mut dice, true), sourced(&mut dice)] {
                let made: Vec<Line> = made.into_iter().filter(|line| line.0 == "mkimage").collect();
                pair.same(&with_keys(made), "UTC0");
            }
        }
    }
}

#[test]
fn what_both_refuse() {
    let all = mkimages();
    let (Some(own), Some(_)) = (all.first(), tool("dumpimage", "u-boot-tools")) else { return }; // no gap: mkimages() and tool() say so
    let pair = Pair::new(own, None);
    for text in WRONG {
        pair.same(&[of(text)], "UTC0");
    }
}

#[test]
fn calls_of_build_systems() {
    let all = mkimages();
    let Some(own) = all.first().filter(|_| keys().is_some()) else { return }; // no gap: mkimages() and keys() say so
    let pair = Pair::new(own, None);
    for (_, calls) in CALLS {
        let lines: Vec<Line> = calls.iter().map(|text| of(text)).collect();
        pair.same(&with_keys(lines), "UTC0");
    }
}

/// What mkimage passes over and kimage does not, as docs/peers.md has it.
#[test]
fn what_kimage_alone_refuses() {
    let Some(keys) = keys() else { return }; // no gap: keys() says so
    let dir = folder();
    let dir = dir.path();
    put(dir, "signed.its", source("", &signature("sha256,rsa2048", "dev", ""), "").as_bytes());
    let peer = |tool: &str, words: &str| {
        let mut command = kimage();
        run(command.current_dir(dir).env("SOURCE_DATE_EPOCH", EPOCH).args(["as", tool]).args(words.split(' ')))
    };
    let refused = |tool: &str, words: &str, said: &str| {
        let output = peer(tool, words);
        assert!(!output.status.success() && output.stdout.is_empty(), "{words}: {output:?}");
        assert!(stderr(&output).contains(said), "{words}: {}", stderr(&output));
        assert!(!dir.join("out").exists(), "{words}");
    };
    refused("mkimage", "-l kernel.bin", "ih_magic");
    refused("mkimage", "-l .", "is a folder");
    refused("mkimage", "-T imximage -n cfg -d kernel.bin out", "imximage (Freescale i.MX Boot Image) is a type");
    refused("mkimage", "-f signed.its -k nowhere out", "nowhere/dev.key is not there");
    refused("mkimage", "-f signed.its -N other -k keys out", "stands in for pkcs11 alone");
    refused("mkimage", "-D -R~8 -f signed.its out", "dtc's");
    refused("dumpimage", "-l kernel.bin", "ih_magic");
    // A FIT whose signature was asked for and not made says so.
    let output = peer("mkimage", "-f signed.its out");
    assert!(output.status.success() && stdout(&output).contains("Sign value:   unavailable"), "{output:?}");
    // Keys of a control device tree: U-Boot takes what no key is required for; kimage does not.
    let control = read(&dir.join("ctl-plain.dtb"));
    put(dir, "control.dtb", &control);
    let keys = keys.to_str().unwrap();
    let signed = format!("-F -k {keys} -K control.dtb -r out");
    assert!(peer("mkimage", &signed).status.success());
    let check = |words: &str| peer("fit_check_sign", words);
    let good = check("-f out -k control.dtb");
    assert!(good.status.success() && stderr(&good).contains("Signature check OK"), "{}", stderr(&good));
    assert!(check("-f out -k control.dtb -c conf-1").status.success());
    assert_eq!(check("-f out -k control.dtb -c nothing").status.code(), Some(1));
    assert_eq!(check("-f out").status.code(), Some(1));
    let mut bad = read(&dir.join("out"));
    let at = memchr::memmem::find(&bad, &noise(5001, 7)).unwrap();
    bad[at] ^= 1;
    put(dir, "bad", &bad);
    let output = check("-f bad -k control.dtb");
    assert!(output.status.code() == Some(1) && stderr(&output).contains("Signature check bad"), "{}", stderr(&output));
    // fit_info's text is that of fit_info 2023.01, built from U-Boot's sources, for the same file.
    let output = peer("fit_info", "-f out -n /images/kernel -p description");
    let found = stdout(&output);
    assert!(found.starts_with("NAME: kernel\nLEN: 2\nOFF: "), "{found}");
    let at: usize = found.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(&read(&dir.join("out"))[at..at + 2], b"k\0");
    let output = peer("fit_info", "-f out -n /nothing -p x");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), "/nothing not found."));
    assert_eq!(peer("fit_info", "-f out -n / -p nothing").status.code(), Some(1));
    // fdt_add_pubkey puts in what `kimage pubkey` does, which is compared with mkimage -K elsewhere.
    put(dir, "one.dtb", &control);
    put(dir, "two.dtb", &control);
    let output = peer("fdt_add_pubkey", &format!("-a sha256,rsa2048 -k {keys} -n dev -r conf one.dtb"));
    assert!(output.status.success() && output.stdout.is_empty(), "{}", stderr(&output));
    let mut ours = kimage();
    ours.current_dir(dir).args([
        "pubkey",
        "two.dtb",
        "--key-dir",
        keys,
        "--key-name",
        "dev",
        "--algo",
        "sha256,rsa2048",
    ]);
    run_ok(ours.args(["--required", "conf", "-o", "two.dtb"]));
    support::assert_same("fdt_add_pubkey", &read(&dir.join("one.dtb")), &read(&dir.join("two.dtb")));
    assert_eq!(peer("fdt_add_pubkey", "-n dev").status.code(), Some(1));
}

/// Links, and the program called by them; without SOURCE_DATE_EPOCH the time is now, as mkimage has it.
#[test]
fn links_to_the_tools() {
    let dir = tempdir();
    let links =
        |folder: &str, options: &[&str]| run(kimage().current_dir(dir.path()).args(["links", folder]).args(options));
    assert!(!links("tools", &[]).status.success());
    fs::create_dir(dir.path().join("tools")).unwrap();
    fs::write(dir.path().join("tools/dumpimage"), "mine").unwrap();
    let output = links("tools", &[]);
    assert!(!output.status.success() && stderr(&output).contains("--force"), "{}", stderr(&output));
    assert!(!dir.path().join("tools/mkimage").exists());
    assert!(links("tools", &["--force"]).status.success());
    assert!(links("tools", &[]).status.success());
    put(dir.path(), "data", b"data");
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32;
    let mut command = Command::new(dir.path().join("tools/mkimage"));
    command
        .current_dir(dir.path())
        .env_remove("SOURCE_DATE_EPOCH")
        .args(["-A", "arm", "-C", "none", "-d", "data", "out"]);
    let output = run_ok(&mut command);
    assert!(stdout(&output).starts_with("Image Name:   \nCreated:      "), "{}", stdout(&output));
    let image = read(&dir.path().join("out"));
    let time = u32::from_be_bytes(image[8..12].try_into().unwrap());
    assert!((before..before + 60).contains(&time), "{time} {before}");
    let mut command = Command::new(dir.path().join("tools/mkimage"));
    let output = run(command.env("KIMAGE_LAYOUT", "2025.01").arg("-V"));
    assert_eq!(stdout(&output), "mkimage version 2025.01\n");
    let mut command = Command::new(dir.path().join("tools/mkimage"));
    let output = run(command.env("KIMAGE_LAYOUT", "2019").arg("-V"));
    assert!(!output.status.success() && stderr(&output).contains("KIMAGE_LAYOUT"), "{}", stderr(&output));
}
