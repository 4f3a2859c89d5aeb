//! kimage in build engines: what is listed in a depfile is what went in, the examples in testdata/pipelines run, and the same inputs
//! give the same bytes wherever and however they are built.

use crate::support::{self, kimage, kimage_path, run, run_ok, stderr, stdout, tempdir, testdata, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn example(name: &str) -> PathBuf {
    testdata("pipelines").join(name)
}

const SOURCE: &str = "/dts-v1/;\n/ {\n description = \"x\";\n images {\n  /include/ \"part.dtsi\"\n };\n configurations { default = \
                      \"c\"; c { kernel = \"kernel\"; }; };\n};\n";
const PART: &str = "kernel { data = /incbin/(\"a $kernel #1:b\\\\ c\"); type = \"kernel\"; arch = \"arm\"; os = \"linux\"; compression = \
                    \"none\"; load = <0>; entry = <0>; hash-1 { algo = \"sha256\"; }; };\n";

/// A name with all that Make and Ninja give a meaning to.
const KERNEL: &str = r"a $kernel #1:b\ c";

/// A folder with a FIT source that includes another text and a file with a difficult name, and a kernel.
fn sources(dir: &Path) {
    fs::write(dir.join("image.its"), SOURCE).unwrap();
    fs::write(dir.join("part.dtsi"), PART).unwrap();
    fs::write(dir.join(KERNEL), vec![5; 5000]).unwrap();
    fs::copy(testdata("tiny/arm-vmlinux"), dir.join("vmlinux")).unwrap();
}

/// Every command that writes a file can say what it read.
#[test]
fn every_building_command_has_a_depfile() {
    let dir = tempdir();
    let dir = dir.path();
    sources(dir);
    let tiny = testdata("tiny");
    let tiny = |name: &str| tiny.join(name).display().to_string();
    fs::write(dir.join("data"), vec![3; 999]).unwrap();
    let (vmlinux, setup, arm) = (tiny("vmlinux"), tiny("setup.bin"), tiny("arm-vmlinux"));
    for (args, inputs) in [
        (vec!["bzimage", &vmlinux, &setup], vec![&*vmlinux, &setup]),
        (vec!["zimage", &arm], vec![&arm]),
        (vec!["image", &vmlinux], vec![&vmlinux]),
        (vec!["uimage", "data", "-A", "mips", "-a", "0", "--tail", "part.dtsi"], vec!["data", "part.dtsi"]),
        (vec!["fit", "image.its"], vec!["image.its", "part.dtsi", "a\\ $$kernel\\ \\#1\\:b\\\\\\ c"]),
        (vec!["strip", &vmlinux], vec![&vmlinux]),
        (vec!["zoffset", &vmlinux], vec![&vmlinux]),
        (vec!["compress", "gzip", "data"], vec!["data"]),
        (vec!["piggy", "data"], vec!["data"]),
    ] {
        let mut command = kimage();
        run_ok(command.current_dir(dir).args(&args).args(["-o", "out put", "--depfile", "deps.d"]));
        let text = fs::read_to_string(dir.join("deps.d")).unwrap();
        let mut want = "out\\ put:".to_owned();
        inputs.iter().for_each(|input| want.push_str(&format!(" \\\n {input}")));
        want.push('\n');
        inputs.iter().for_each(|input| want.push_str(&format!("{input}:\n")));
        assert_eq!(text, want, "{args:?}");
    }
    let output = run(kimage().current_dir(dir).args(["compress", "gzip", "data", "--depfile", "none.d"]));
    assert!(!output.status.success() && stderr(&output).contains("name one with -o"), "{}", stderr(&output));
    assert!(!dir.join("none.d").exists());
}

/// The whole way from vmlinux reads a kernel's build folder: the objects of its link are listed too.
#[test]
fn the_build_folder_is_listed() {
    let Some(tree) = support::tree("6.1-x86_64") else { return };
    let dir = tempdir();
    let mut command = kimage();
    command.current_dir(dir.path()).arg("bzimage").arg(tree.path("vmlinux")).arg("--build-dir").arg(&tree.dir);
    let output = run(command.args(["-q", "-o", "bzImage", "--depfile", "deps.d"]));
    if !output.status.success() {
        support::missing(&format!("{}: {}", tree.name, stderr(&output)));
        return;
    }
    let text = fs::read_to_string(dir.path().join("deps.d")).unwrap();
    for file in ["vmlinux", ".config", "arch/x86/boot/compressed/head_64.o", "arch/x86/boot/setup.bin"] {
        assert!(text.contains(&tree.path(file).display().to_string()), "no {file} in\n{text}");
    }
}

/// Builds, does nothing when nothing changed, and builds again for each file that went in.
#[track_caller]
fn rebuilds(dir: &Path, build: &dyn Fn() -> String, did: &str) {
    assert!(build().contains(did));
    let built = fs::read(dir.join("image.itb")).unwrap();
    let again = build();
    assert!(!again.contains(did), "{again}");
    for (number, file) in ["part.dtsi", KERNEL, "image.its"].iter().enumerate() {
        let mut bytes = fs::read(dir.join(file)).unwrap();
        if *file == KERNEL {
            bytes.push(1)
        } else {
            bytes.push(b'\n')
        }
        fs::write(dir.join(file), bytes).unwrap();
        // Make and Ninja compare times; those of a file system may be coarse.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2 * (number as u64 + 1));
        fs::File::options().append(true).open(dir.join(file)).unwrap().set_modified(later).unwrap();
        let said = build();
        assert!(said.contains(did), "{file}: {said}");
        // The output must not look older than what was just given a time to come.
        fs::File::options().append(true).open(dir.join("image.itb")).unwrap().set_modified(later).unwrap();
    }
    assert!(fs::read(dir.join("image.itb")).unwrap() != built);
}

#[test]
fn make_builds_what_changed() {
    let Some(make) = tool("make", "make") else { return };
    let dir = tempdir();
    let dir = dir.path();
    sources(dir);
    fs::write(
        dir.join("Makefile"),
        format!("all: image.itb uImage\ninclude {}\n", example("make/kimage.mk").display()),
    )
    .unwrap();
    let build = || {
        let mut command = Command::new(&make);
        stdout(&run_ok(command.current_dir(dir).arg(format!("KIMAGE={}", kimage_path())).arg("UIMAGE_COMPRESS=lzma")))
    };
    rebuilds(dir, &build, " fit image.its");
    assert!(dir.join("uImage").is_file());
}

#[test]
fn ninja_builds_what_changed() {
    let Some(ninja) = tool("ninja", "ninja-build") else { return };
    let dir = tempdir();
    let dir = dir.path();
    sources(dir);
    let text = fs::read_to_string(example("ninja/build.ninja")).unwrap();
    fs::write(dir.join("build.ninja"), text.replace("kimage = kimage", &format!("kimage = {}", kimage_path())))
        .unwrap();
    let build = || stdout(&run_ok(Command::new(&ninja).current_dir(dir).arg("-v")));
    rebuilds(dir, &build, " fit image.its");
    assert!(dir.join("uImage").is_file());
}

/// A folder as Buildroot and Yocto have it: kernel, two device trees, ramdisk.
fn binaries(dir: &Path) -> bool {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return false };
    run_ok(kimage().arg("zimage").arg(testdata("tiny/arm-vmlinux")).arg("-q").arg("-o").arg(dir.join("zImage")));
    fs::write(dir.join("rootfs.cpio.gz"), vec![1; 100]).unwrap();
    for name in ["one", "two"] {
        fs::write(dir.join("x.dts"), format!("/dts-v1/; / {{ compatible = \"kimage,{name}\"; }};")).unwrap();
        run_ok(Command::new(&dtc).current_dir(dir).args(["-q", "-O", "dtb", "-o", &format!("{name}.dtb"), "x.dts"]));
    }
    true
}

#[test]
fn buildroot_script() {
    let dir = tempdir();
    let dir = dir.path();
    if !binaries(dir) {
        return;
    }
    let script = |board: &str| {
        let mut command = Command::new(example("buildroot/post-image.sh"));
        command.env("BINARIES_DIR", dir).env("KIMAGE", kimage_path()).env("KIMAGE_BOARD", board);
        run(command.env("KIMAGE_FIT_OPTIONS", "-E --hash crc32"))
    };
    let output = script("beaglebone-black");
    assert!(output.status.success(), "{}", stderr(&output));
    let bytes = fs::read(dir.join("image.itb")).unwrap();
    let fit = kimage::internals::Fit::parse(&bytes).unwrap();
    assert_eq!(kimage::internals::check_fit(&fit), []);
    assert_eq!((fit.configurations().count(), fit.images().count()), (2, 4));
    assert!(!script("no-such-board").status.success());
}

/// The shell function of the class, with BitBake's variables put in.
#[test]
fn yocto_class() {
    let dir = tempdir();
    let dir = dir.path();
    let out = dir.join("arch/arm/boot");
    fs::create_dir_all(out.join("dts")).unwrap();
    if !binaries(&out) {
        return;
    }
    fs::rename(out.join("one.dtb"), out.join("dts/one.dtb")).unwrap();
    let class = fs::read_to_string(example("yocto/classes/kernel-kimage.bbclass")).unwrap();
    let start = class.find("do_kimage_fit() {\n").unwrap() + "do_kimage_fit() {\n".len();
    let mut body = class[start..start + class[start..].find("\n}\n").unwrap()].to_owned();
    for (name, value) in [
        ("B", dir.to_str().unwrap()),
        ("KERNEL_OUTPUT_DIR", "arch/arm/boot"),
        ("KIMAGE_KERNEL", "zImage"),
        ("KERNEL_DEVICETREE", "one.dtb"),
        ("KIMAGE_FIT_OPTIONS", "-E"),
        ("KIMAGE_BOARD", "cubieboard"),
        ("KIMAGE", kimage_path()),
    ] {
        body = body.replace(&format!("${{{name}}}"), value);
    }
    assert!(!body.contains("${"), "{body}");
    run_ok(Command::new("sh").args(["-e", "-c", &body]));
    let bytes = fs::read(out.join("fitImage")).unwrap();
    assert_eq!(kimage::internals::check_fit(&kimage::internals::Fit::parse(&bytes).unwrap()), []);
}

#[test]
fn openwrt_recipe() {
    let Some(make) = tool("make", "make") else { return };
    let dir = tempdir();
    let dir = dir.path();
    fs::write(dir.join("kernel.in"), vec![9; 3000]).unwrap();
    // As OpenWrt's image.mk runs the steps of a recipe, each with its words in $(1).
    let text = format!(
        "include {}\nLINUX_KARCH := mips\nKERNEL_LOADADDR := 0x80060000\nVERSION_DIST := OpenWrt\nLINUX_VERSION := 6.6.1\n\
         UIMAGE_MAGIC := 0x33373033\nout: kernel.in\n\tcp $< $@\n\t$(call Build/kimage-uImage,none --align 64k --fill 0xff)\n\
         \t$(call Build/kimage-fakehdr,)\n",
        example("openwrt/kimage.mk").display()
    );
    fs::write(dir.join("Makefile"), text).unwrap();
    run_ok(Command::new(make).current_dir(dir).arg(format!("KIMAGE={}", kimage_path())).arg("out"));
    let bytes = fs::read(dir.join("out")).unwrap();
    assert_eq!(bytes.len(), (64 << 10) + 64);
    assert_eq!((&bytes[..4], &bytes[64 << 10..(64 << 10) + 4]), (&b"3703"[..], &b"3703"[..]));
    assert_eq!(&bytes[32..51], b"OpenWrt Linux-6.6.1");
}

/// Every builder, each writing one file.
const BUILDS: &[&str] = &[
    "fit image.its",
    "fit image.its -E -B 1000",
    "fit --kernel vmlinux --compress zstd --dtb one.dtb --dtb two.dtb --hash sha256,crc32",
    "bzimage T/vmlinux T/setup.bin",
    "bzimage T/kernel",
    "bzimage T/kernel --compress xz --cmdline quiet",
    "zimage vmlinux --append-dtb one.dtb",
    "image vmlinux",
    "uimage vmlinux",
    "uimage vmlinux --compress bzip2",
    "uimage vmlinux --compress lzma --align 4k",
    "uimage vmlinux --compress lzo",
    "uimage vmlinux --compress lz4",
    "uimage vmlinux --compress zstd",
    "uimage -A arm -T multi -C none data one.dtb",
    "strip T/vmlinux",
    "zoffset T/vmlinux",
    "piggy data",
    "piggy data --object --arch x86_64",
    "compress gzip data -j N",
    "compress xz data -j N",
    "compress zstd --split data -j N",
    "compress lz4 data -j N",
    "compress bzip2 data -j N",
    "compress lzo data -j N",
];

/// The same build in two folders, with another locale, time zone, umask, home, host name, user, time and number of threads.
#[test]
fn the_same_bytes_everywhere() {
    let big: Vec<u8> = (0..2_000_000_u32).flat_map(|n| (n / 7).wrapping_mul(n).to_le_bytes()).collect();
    let trees = ["one", "two"].map(|name| {
        let mut root = kimage::internals::fdt::Node::new("");
        root.set(kimage::internals::fdt::Property::string("compatible", &format!("kimage,{name}")));
        let flat = kimage::internals::fdt::Flat::new(&root, Default::default()).unwrap();
        let mut out = Vec::new();
        flat.plan(0).unwrap().emit(&mut out).unwrap();
        (format!("{name}.dtb"), out)
    });
    // Who may do so gives the second build another host name.
    let unshare = ["--uts", "sh", "-c", "hostname elsewhere && exec sh -c \"$0\"", "true"];
    let renames = run(Command::new("unshare").args(unshare)).status.success();
    if !renames {
        eprintln!("not allowed to change the host name: built twice with the same");
    }
    let built = |environment: &[(&str, &str)], umask: &str, threads: &str, elsewhere: bool| {
        let dir = tempdir();
        let dir = dir.path().join(if elsewhere { "another folder, deeper/down" } else { "x" });
        fs::create_dir_all(&dir).unwrap();
        sources(&dir);
        fs::write(dir.join("data"), &big).unwrap();
        trees.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
        let mut script = format!("umask {umask}; set -e\n");
        for (number, build) in BUILDS.iter().enumerate() {
            let build = build
                .replace("T/", &format!("{}/", testdata("tiny").display()))
                .replace("-j N", &format!("-j {threads}"));
            script.push_str(&format!("{} {build} -o out-{number}\n", kimage_path()));
        }
        let mut command = Command::new(if elsewhere && renames { "unshare" } else { "sh" });
        match elsewhere && renames {
            true => command.args(&unshare[..4]).arg(script),
            false => command.arg("-c").arg(script),
        };
        command.current_dir(&dir).env_remove("SOURCE_DATE_EPOCH").envs(environment.iter().copied());
        run_ok(&mut command);
        (0..BUILDS.len()).map(|number| fs::read(dir.join(format!("out-{number}"))).unwrap()).collect::<Vec<_>>()
    };
    let one = built(&[("LC_ALL", "C"), ("TZ", "UTC"), ("HOME", "/root")], "022", "1", false);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let environment = [("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Asia/Kathmandu"), ("HOME", "/nowhere"), ("USER", "x")];
    let two = built(&environment, "077", "2", true);
    for ((one, two), build) in one.iter().zip(&two).zip(BUILDS) {
        support::assert_same(build, two, one);
    }
}

/// Shells read the completions, man formats the pages, and every command is in both.
#[test]
fn completions_and_manual() {
    let help = stdout(&run_ok(kimage().arg("--help")));
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split_whitespace().next().filter(|_| !line.starts_with(' ')))
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 12, "{commands:?}");
    let dir = tempdir();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run_ok(kimage().args(["completions", shell])));
        for command in &commands {
            assert!(script.contains(command), "{shell}: no {command}");
        }
        assert!(!script.contains("bench-one") && !script.contains("bench__one"), "{shell}: a hidden command");
        let file = dir.path().join(shell);
        fs::write(&file, script).unwrap();
        if let Some(program) = tool(shell, shell) {
            run_ok(Command::new(program).arg("-n").arg(&file));
        }
    }
    if let Some(bash) = tool("bash", "bash") {
        for (words, offered) in [
            ("kimage uima", "uimage"),
            ("kimage uimage --compre", "--compression --compress"),
            ("kimage uimage --compress l", "lzma lzo lz4"),
            ("kimage fit --ker", "--kernel"),
            ("kimage completions ba", "bash"),
        ] {
            let script = format!(
                "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
                 _kimage kimage \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[*]}}\"",
                dir.path().join("bash").display()
            );
            assert_eq!(stdout(&run_ok(Command::new(&bash).args(["-c", &script]))).trim(), offered, "{words}");
        }
    }
    let pages = dir.path().join("man");
    fs::create_dir(&pages).unwrap();
    run_ok(kimage().args(["man", "--dir"]).arg(&pages));
    assert_eq!(fs::read_dir(&pages).unwrap().count(), commands.len() + 1);
    for command in &commands {
        let page = fs::read_to_string(pages.join(format!("kimage-{command}.1"))).unwrap();
        assert!(page.contains(".TH ") && page.contains(".SH DESCRIPTION"), "{command}");
        assert_eq!(page, stdout(&run_ok(kimage().args(["man", command]))));
    }
    // As man itself formats them, with every warning that there is.
    if let Some(groff) = tool("groff", "groff-base") {
        for page in fs::read_dir(&pages).unwrap() {
            let output =
                run_ok(Command::new(&groff).args(["-ww", "-man", "-Tutf8", "-P-cbou"]).arg(page.unwrap().path()));
            assert_eq!(stderr(&output), "");
            assert!(stdout(&output).contains("SYNOPSIS"));
        }
    }
}
