//! Device trees behind whatever can carry them: compressed kernels, `Image`, zImage, MIPS' flat kernels, boot images; with
//! the padding that build scripts and flash put between and behind them. The trees are dtc's where it is installed, the
//! streams are made by the library's codecs, the boot images by AOSP's mkbootimg.

use crate::files;
use crate::support::{self, assert_same, kimage, run, run_ok, stdout, tempdir, tool};
use kimage::codec::Codec;
use std::fs;
use std::path::Path;

/// Two trees of different length, neither of them a multiple of 8.
fn trees() -> [Vec<u8>; 2] {
    let source = |model: &str| format!("/dts-v1/;\n/ {{ compatible = \"acme,board\"; model = \"{model}\"; }};\n");
    let Some(dtc) = tool("dtc", "device-tree-compiler") else {
        let mut longer = files::dtb();
        // totalsize may be larger than the blocks need.
        longer.extend([0; 6]);
        let total = u32::try_from(longer.len()).unwrap();
        longer[4..8].copy_from_slice(&total.to_be_bytes());
        return [files::dtb(), longer];
    };
    ["One", "The second"].map(|model| {
        let dir = tempdir();
        let (dts, dtb) = (dir.path().join("dts"), dir.path().join("dtb"));
        fs::write(&dts, source(model)).unwrap();
        run_ok(std::process::Command::new(&dtc).args(["-q", "-O", "dtb", "-o"]).args([&dtb, &dts]));
        fs::read(&dtb).unwrap()
    })
}

/// An arm64 `Image` without BSS, 64 KiB long, with a banner.
fn image() -> Vec<u8> {
    let mut image = vec![0; 65536];
    image[..64].copy_from_slice(&files::image64(b"ARM\x64")[..64]);
    image[16..24].copy_from_slice(&65536_u64.to_le_bytes());
    // That of RISC-V has a version there.
    image[32..36].fill(0);
    banner(&mut image);
    image
}

/// A kernel without a header, as MIPS' vmlinux.bin is.
fn flat() -> Vec<u8> {
    let mut flat = vec![0x27; 4096];
    banner(&mut flat);
    flat
}

fn banner(kernel: &mut [u8]) {
    let text = b"\0Linux version 6.6.1 (user@host) (gcc 12) #1 SMP Mon Jan 1 00:00:00 UTC 2024\n\0";
    kernel[2047..2047 + text.len()].copy_from_slice(text);
}

/// `data` up to a multiple of `align`.
fn aligned(data: &[u8], align: usize, fill: u8) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(align), fill);
    data
}

fn extract(path: &Path, part: &str) -> Vec<u8> {
    run_ok(kimage().arg("extract").arg(path).arg(part)).stdout
}

/// Both trees are parts, and nothing that was wanted is damaged by them.
#[track_caller]
fn holds(what: &str, file: &[u8], trees: &[Vec<u8>], vmlinux: Option<&[u8]>) {
    let dir = tempdir();
    let path = dir.path().join("file");
    fs::write(&path, file).unwrap();
    let list = stdout(&run_ok(kimage().arg("extract").arg(&path)));
    let count = list.lines().filter(|line| line.starts_with("dtb[")).count();
    assert_eq!(count, trees.len(), "{what}: {list}");
    for (index, tree) in trees.iter().enumerate() {
        assert_same(what, &extract(&path, &format!("dtb[{index}]")), tree);
    }
    if let Some(vmlinux) = vmlinux {
        assert_same(what, &extract(&path, "vmlinux"), vmlinux);
    }
    let verified = run(kimage().arg("verify").arg(&path));
    assert_eq!(verified.status.code(), Some(0), "{what}: {}", stdout(&verified));
    run_ok(kimage().arg("map").arg(&path));
}

#[test]
fn behind_every_kernel_and_every_padding() {
    let both = trees();
    let [one, two] = &both;
    let image = image();
    let mut kernels = vec![("Image".to_owned(), image.clone()), ("zImage".to_owned(), files::zimage())];
    for codec in
        [Codec::Gzip, Codec::Lz4Legacy, Codec::Lz4Frame, Codec::Lzma, Codec::Xz, Codec::Zstd, Codec::Bzip2, Codec::Lzo]
    {
        kernels.push((format!("Image, {}", codec.name()), files::packed(codec, &image)));
    }
    for (name, kernel) in kernels {
        let vmlinux = name.starts_with("Image").then_some(&image[..]);
        let check = |what: &str, rest: Vec<u8>| {
            holds(&format!("{name}, {what}"), &[kernel.clone(), rest].concat(), &both, vmlinux);
        };
        check("back to back", [&one[..], two].concat());
        check("zeros behind", [&one[..], two, &[0; 4096]].concat());
        check("erased flash behind", [&one[..], two, &[0xff; 4096]].concat());
        for align in [4, 8, 2048, 4096] {
            for fill in [0, 0xff] {
                check(
                    &format!("padded to {align} with {fill}"),
                    [aligned(one, align, fill), aligned(two, align, fill)].concat(),
                );
            }
        }
    }
}

#[test]
fn behind_a_padded_kernel() {
    let both = trees();
    let rest = both.concat();
    let image = image();
    // The Image says how much memory it needs: what is beyond that is not the kernel's.
    for align in [4, 8, 4096] {
        let file = [&image[..], &vec![0; align], &rest].concat();
        holds("Image and padding", &file, &both, Some(&image));
        let packed = [aligned(&files::gzip(&image), align, 0), rest.clone()].concat();
        holds("gzip and padding", &packed, &both, Some(&image));
    }
}

/// kernel-bin | append-dtb | lzma | uImage: OpenWrt's way.
#[test]
fn inside_a_compressed_kernel() {
    let both = trees();
    for kernel in [flat(), image()] {
        for with in [both.concat(), [aligned(&both[0], 8, 0), both[1].clone(), vec![0; 64]].concat()] {
            let all = [&kernel[..], &with].concat();
            holds("without a container", &all, &both, Some(&kernel));
            let packed = files::packed(Codec::Lzma, &all);
            holds("lzma", &packed, &both, Some(&kernel));
            holds(
                "uImage",
                &files::uimage(kimage::internals::kind::KERNEL, &[&files::gzip(&all)]),
                &both,
                Some(&kernel),
            );
        }
    }
    // A tree that was built into the kernel is the kernel's.
    let mut built_in = flat();
    built_in[100..100 + both[0].len()].copy_from_slice(&both[0]);
    holds("built in", &built_in, &[], Some(&built_in));
}

#[test]
fn several_in_one_file() {
    let both = trees();
    holds("trees alone", &both.concat(), &both, None);
    holds("trees alone, aligned", &[aligned(&both[0], 4096, 0), aligned(&both[1], 4096, 0xff)].concat(), &both, None);
}

#[test]
fn in_boot_images() {
    let Some(mkbootimg) = tool("mkbootimg", "mkbootimg") else { return };
    let both = trees();
    let image = image();
    let dir = tempdir();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let kernel = file("Image.gz-dtb", &[&files::gzip(&image)[..], &both[0], &both[1]].concat());
    let (ramdisk, plain) = (file("ramdisk", &files::cpio()), file("Image.gz", &files::gzip(&image)));
    let out = dir.path().join("out");
    for page in ["2048", "4096"] {
        let mut command = std::process::Command::new(&mkbootimg);
        command.args(["--pagesize", page, "--kernel"]).arg(&kernel).arg("--ramdisk").arg(&ramdisk).arg("-o").arg(&out);
        run_ok(&mut command);
        holds("boot.img", &fs::read(&out).unwrap(), &both, Some(&image));
    }
    for align in [1, 8, 2048] {
        let dtbs = file("dtbs", &[aligned(&both[0], align, 0), aligned(&both[1], align, 0)].concat());
        let mut command = std::process::Command::new(&mkbootimg);
        command.args(["--header_version", "2", "--kernel"]).arg(&plain).arg("--ramdisk").arg(&ramdisk);
        run_ok(command.arg("--dtb").arg(&dtbs).arg("-o").arg(&out));
        holds("boot.img, version 2", &fs::read(&out).unwrap(), &both, Some(&image));
        let mut command = std::process::Command::new(&mkbootimg);
        command.args(["--header_version", "4", "--vendor_ramdisk"]).arg(&ramdisk).arg("--dtb").arg(&dtbs);
        run_ok(command.arg("--vendor_boot").arg(&out));
        holds("vendor_boot", &fs::read(&out).unwrap(), &both, None);
    }
}

/// What was an error stays one.
#[test]
fn damage_is_found() {
    let [one, two] = trees();
    let dir = tempdir();
    let path = dir.path().join("file");
    let verify = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let output = run(kimage().arg("verify").arg(&path));
        (output.status.code(), stdout(&output))
    };
    let packed = files::gzip(&image());
    for cut in [1, 20, two.len() - 10] {
        let file = [&packed[..], &one, &two[..two.len() - cut]].concat();
        assert_eq!(verify(&file).0, Some(1), "cut by {cut}");
        let file = [&one[..], &two[..two.len() - cut]].concat();
        assert_eq!(verify(&file).0, Some(1), "trees alone, cut by {cut}");
    }
    let mut bad = [&packed[..], &one, &two].concat();
    bad[packed.len() + 60] ^= 0xff;
    assert_eq!(verify(&bad).0, Some(1));
    // The decompressor of a zImage finds a tree only where its own end is.
    let (code, text) = verify(&[&files::zimage()[..], &[0; 8], &one].concat());
    assert!(code == Some(0) && text.contains("zimage.dtb"), "{text}");
}

/// objcopy -O binary, cat, lzma, mkimage: what OpenWrt does for `CONFIG_MIPS_RAW_APPENDED_DTB`.
#[test]
fn appended_to_mips_kernels() {
    let Some(assembler) = tool("mips-linux-gnu-as", "binutils-mips-linux-gnu") else { return };
    let Some(linker) = tool("mips-linux-gnu-ld", "binutils-mips-linux-gnu") else { return };
    let Some(objcopy) = tool("mips-linux-gnu-objcopy", "binutils-mips-linux-gnu") else { return };
    let dir = tempdir();
    let path = |name: &str| dir.path().join(name);
    let trees = trees();
    fs::write(path("a.dtb"), &trees[0]).unwrap();
    fs::write(path("b.dtb"), &trees[1]).unwrap();
    let link = |tail: &str, name: &str| {
        let source = format!(
            ".globl kernel_entry\n.text\nkernel_entry: .word 0x3c088000\n.rept 64\n.word 0x25290001\n.endr\n.data\n\
             .asciz \"Linux version 6.6.1 (u@h) (gcc 12) #1 Mon Jan 1 00:00:00 UTC 2024\\n\"\n.balign 32\n{tail}\n"
        );
        fs::write(path("m.s"), source).unwrap();
        run_ok(std::process::Command::new(&assembler).arg("-EB").arg("-o").args([path("m.o"), path("m.s")]));
        let mut command = std::process::Command::new(&linker);
        command.args(["-EB", "-Ttext", "0x80100000", "-e", "kernel_entry", "-o"]).args([path(name), path("m.o")]);
        run_ok(&mut command);
    };
    link("", "plain");
    link(".globl __appended_dtb\n__appended_dtb:", "looks");
    link(".globl __appended_dtb\n__appended_dtb: .space 1024", "in-elf");
    run_ok(
        std::process::Command::new(&objcopy)
            .args(["-O", "binary", "-R", ".reginfo", "-R", ".MIPS.abiflags"])
            .args([path("looks"), path("flat")]),
    );
    let flat = fs::read(path("flat")).unwrap();
    for (kernel, note) in [("looks", false), ("plain", true)] {
        for compress in ["lzma", "gzip", "none"] {
            let mut command = kimage();
            command.arg("uimage").arg(path(kernel)).args(["--compress", compress, "--append-dtb"]).arg(path("a.dtb"));
            let output = run_ok(command.arg("--append-dtb").arg(path("b.dtb")).arg("-o").arg(path("u")));
            assert_eq!(support::stderr(&output).contains("CONFIG_MIPS_RAW_APPENDED_DTB"), note, "{kernel}");
            let load = run_ok(kimage().arg("info").arg(path("u")).args(["--field", "ih_load"])).stdout;
            assert_eq!(load, b"0x80100000\n");
            let wanted = [&flat[..], &trees[0], &trees[1]].concat();
            let data = fs::read(path("u")).unwrap()[64..].to_vec();
            let data = match compress {
                "none" => data,
                packer => {
                    fs::write(path("data"), &data).unwrap();
                    let file = fs::File::open(path("data")).unwrap();
                    run_ok(std::process::Command::new(packer).arg("-dc").stdin(file)).stdout
                }
            };
            assert_same(compress, &data, &wanted);
            holds(compress, &fs::read(path("u")).unwrap(), &trees, Some(&flat));
        }
    }
    let refused = |args: &[&str], words: &str| {
        let files: Vec<_> =
            args.iter().map(|arg| if arg.starts_with('-') { (*arg).into() } else { path(arg) }).collect();
        let output =
            run(kimage().arg("uimage").args(files).arg("--append-dtb").arg(path("a.dtb")).arg("-o").arg(path("x")));
        assert!(!output.status.success() && support::stderr(&output).contains(words), "{}", support::stderr(&output));
    };
    refused(&["in-elf"], "--update-section .appended_dtb");
    fs::write(path("k.lzma"), files::packed(Codec::Lzma, &flat)).unwrap();
    refused(&["k.lzma", "-Amips", "-a80100000"], "before it is compressed");
}
