//! EFI zboot images around kimage's own program: the header is Linux's, so that others take the kernel out by it; what firmware
//! could not start is refused. `tests/boot/zboot.rs` starts them.

use crate::files;
use crate::support::{assert_same, kimage, put, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::assemble::{ZbootRequest, zboot};
use kimage::codec::{Bcj, Codec, Parameters};
use kimage::{Error, Result};
use std::process::Command;

const ARM64: u16 = 0xaa64;
const RISCV64: u16 = 0x5064;
const LOONGARCH64: u16 = 0x6264;
const CODECS: [(Codec, &str, &str); 6] = [
    (Codec::Gzip, "gzip", "gzip"),
    (Codec::Lz4Legacy, "lz4", "lz4"),
    (Codec::Xz, "xz", "xz-utils"),
    (Codec::Zstd, "zstd", "zstd"),
    (Codec::Lzma, "lzma", "xz-utils"),
    (Codec::Lzo, "lzo", "lzop"),
];

fn request(codec: Codec) -> ZbootRequest<'static> {
    ZbootRequest {
        codec,
        parameters: Parameters { level: (codec != Codec::Lzo).then_some(1), ..Parameters::default() },
        ..ZbootRequest::default()
    }
}

fn made(kernel: &[u8], request: &ZbootRequest<'_>) -> Result<Vec<u8>> {
    let mut image = Vec::new();
    zboot(kernel, request)?.emit(&mut image)?;
    Ok(image)
}

fn word(image: &[u8], at: usize) -> usize {
    u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize
}

fn half(image: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(image[at..at + 2].try_into().unwrap()))
}

/// By the offsets of drivers/firmware/efi/libstub/zboot-header.S, as kexec and QEMU read them, and the codec's own command.
#[test]
fn others_take_the_kernel_out() {
    let dir = tempdir();
    for machine in [ARM64, RISCV64, LOONGARCH64] {
        let kernel = files::efi_image(machine);
        for (codec, name, package) in CODECS {
            let image = made(&kernel, &request(codec)).unwrap();
            assert_eq!(&image[..8], b"MZ\0\0zimg");
            assert_eq!(image[16..24], [0; 8]);
            assert_eq!(&image[24..24 + name.len() + 1], format!("{name}\0").as_bytes());
            assert_eq!(word(&image, 0x38), 0x8182_23cd);
            let (at, len) = (word(&image, 8), word(&image, 12));
            // Who takes the file as it is in memory finds the size behind the stream.
            let behind = if codec == Codec::Gzip { at + len - 4 } else { at + len };
            assert_eq!(word(&image, behind), kernel.len(), "{name}");
            let Some(tool) = tool(if name == "lzo" { "lzop" } else { name }, package) else { continue };
            let stream = put(dir.path(), name, &image[at..at + len]);
            let out = run_ok(Command::new(tool).arg("-dc").stdin(std::fs::File::open(stream).unwrap())).stdout;
            assert_same(name, &out, &kernel);
        }
    }
}

/// What firmware, shim and signing tools ask of sections (UEFI 2.10, 2.3; the PE specification).
#[test]
fn sections_are_in_order_and_protected() {
    const EXECUTE: usize = 1 << 29;
    const WRITE: usize = 1 << 31;
    let sbat = b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n";
    for machine in [ARM64, RISCV64, LOONGARCH64] {
        for (codec, name, _) in CODECS {
            let kernel = files::efi_image(machine);
            let image = made(&kernel, &ZbootRequest { sbat, ..request(codec) }).unwrap();
            let pe = word(&image, 0x3c);
            assert_eq!(half(&image, pe + 4), usize::from(machine));
            assert_eq!(half(&image, pe + 24), 0x20b);
            // CheckSum, TimeDateStamp; an EFI application; NX_COMPAT.
            assert_eq!([word(&image, pe + 24 + 64), word(&image, pe + 8)], [0, 0]);
            assert_eq!([half(&image, pe + 24 + 68), half(&image, pe + 24 + 70)], [10, 0x100]);
            let sections = pe + 24 + half(&image, pe + 20);
            let (mut file, mut memory, mut names) = (0x1000, 0x1000, Vec::new());
            for at in (0..half(&image, pe + 6)).map(|index| sections + 40 * index) {
                let [space, address, raw, from] = [8, 12, 16, 20].map(|field| word(&image, at + field));
                let flags = word(&image, at + 36);
                assert_eq!((address, from), (memory, file), "{name}");
                assert!(raw % 512 == 0 && flags & (EXECUTE | WRITE) != EXECUTE | WRITE);
                names.push((
                    String::from_utf8_lossy(&image[at..at + 8]).trim_end_matches('\0').to_owned(),
                    flags & EXECUTE != 0,
                ));
                if names.last().unwrap().0 == ".sbat" {
                    assert_eq!(&image[from..from + space], sbat);
                }
                memory = (address + space).next_multiple_of(0x1000);
                file = from + raw;
            }
            assert_eq!(
                names,
                [(".text", true), (".data", false), (".payload", false), (".sbat", false)]
                    .map(|(name, x)| (name.to_owned(), x))
            );
            assert_eq!((file, memory), (image.len(), word(&image, pe + 24 + 56)));
            // Nothing of the day or the machine is in it.
            assert_same(name, &made(&kernel, &ZbootRequest { sbat, ..request(codec) }).unwrap(), &image);
        }
    }
}

/// What each command says of them.
#[test]
fn the_other_commands_know_it() {
    let dir = tempdir();
    for machine in [ARM64, RISCV64, LOONGARCH64] {
        let kernel = files::efi_image(machine);
        let plain = put(dir.path(), "Image", &kernel);
        for (codec, name, _) in CODECS {
            let mut command = kimage();
            command.current_dir(dir.path()).args(["zboot", "Image", "--compress", name]);
            let said = stderr(&run_ok(&mut command));
            let arch = match machine {
                ARM64 => "arm64",
                RISCV64 => "RISC-V",
                _ => "LoongArch",
            };
            assert!(said.contains(&format!("Kernel is 6.12.0-tiny ({arch}), {} bytes", kernel.len())), "{said}");
            let made = dir.path().join("vmlinuz.efi");
            let info = stdout(&run_ok(kimage().arg("info").arg(&made)));
            for words in ["EFI zboot image", name, "6.12.0-tiny", "efi_nx_compat          yes"] {
                assert!(info.contains(words), "{words}: {info}");
            }
            let out = dir.path().join("out");
            run_ok(kimage().arg("extract").arg(&made).arg("vmlinux").arg("-o").arg(&out));
            assert_same(name, &std::fs::read(&out).unwrap(), &kernel);
            // No finding beside those of the made-up kernel.
            let findings = |path: &std::path::Path| -> Vec<String> {
                let text = run(kimage().args(["verify", "--json"]).arg(path));
                let json: serde_json::Value = serde_json::from_slice(&text.stdout).unwrap();
                let all = json["files"][0]["findings"].as_array().unwrap().iter();
                all.map(|finding| finding["rule"].to_string() + &finding["message"].to_string()).collect()
            };
            let known = findings(&plain);
            assert!(findings(&made).iter().all(|finding| known.contains(finding)), "{:?}", findings(&made));
            let map = stdout(&run_ok(kimage().arg("map").arg(&made)));
            assert!(map.contains("payload") && map.contains("decompressor"), "{map}");
            // A byte of the payload.
            let mut damaged = std::fs::read(&made).unwrap();
            let middle = word(&damaged, 8) + word(&damaged, 12) / 2;
            damaged[middle] ^= 0x10;
            if !matches!(codec, Codec::Lz4Legacy | Codec::Lzma) {
                let damaged = put(dir.path(), "damaged", &damaged);
                assert_eq!(run(kimage().arg("verify").arg(&damaged)).status.code(), Some(1), "{name}");
            }
        }
    }
}

/// A zboot image of Linux's build, a compressed Image, an ELF file: the same kernel comes out.
#[test]
fn kernels_come_out_of_what_is_around_them() {
    let kernel = files::efi_image(ARM64);
    let wanted = made(&kernel, &request(Codec::Gzip)).unwrap();
    let mut signed = kernel.clone();
    let end = signed.len() as u32;
    let directory = 64 + 24 + 112 + 4 * 8;
    signed[directory..directory + 4].copy_from_slice(&end.to_le_bytes());
    signed[directory + 4..directory + 8].copy_from_slice(&16_u32.to_le_bytes());
    signed.extend([16, 0, 0, 0, 0, 2, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let packed = files::packed(Codec::Zstd, &kernel);
    let zimg = files::pe(
        &[(4, b"zimg"), (8, &0x400_u32.to_le_bytes()), (12, &(packed.len() as u32).to_le_bytes()), (0x18, b"zstd22")],
        &[(".gzdata", &[&packed[..], &(kernel.len() as u32).to_le_bytes()].concat())],
    );
    let own = made(&kernel, &request(Codec::Xz)).unwrap();
    for (what, input, rules) in [
        ("gzip", files::gzip(&kernel), &[][..]),
        ("zstd", packed.clone(), &[]),
        ("zboot", zimg, &["zboot.program"]),
        ("our own", own, &["zboot.program"]),
        ("signed", signed.clone(), &["zboot.signature"]),
    ] {
        let assembled = zboot(&input, &request(Codec::Gzip)).unwrap();
        let found: Vec<&str> = assembled.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(found, rules, "{what}");
        assert_same(what, &made(&input, &request(Codec::Gzip)).unwrap(), &wanted);
    }
}

#[test]
fn what_firmware_could_not_start_is_refused() {
    let change = |at: usize, bytes: &[u8]| {
        let mut kernel = files::efi_image(ARM64);
        kernel[at..at + bytes.len()].copy_from_slice(bytes);
        kernel
    };
    let whole = files::efi_image(ARM64);
    let pe = 64;
    let mut narrow = files::efi_image(0x5032);
    narrow[56..60].copy_from_slice(b"RSC\x05");
    narrow[pe + 24..pe + 26].copy_from_slice(&0x10b_u16.to_le_bytes());
    for (what, input, words) in [
        ("a PC's kernel", files::bzimage(), "kimage bzimage"),
        ("an ARM zImage", files::zimage(), "kimage zimage"),
        ("without EFI stub", files::image64(b"ARM\x64"), "CONFIG_EFI=y"),
        ("cut off", whole[..whole.len() - 0x400].to_vec(), "cut off"),
        ("device tree behind", [whole.clone(), files::dtb()].concat(), "device trees behind it"),
        ("section moves", change(pe + 24 + 152 + 12, &0x1000_u32.to_le_bytes()), "moved into place"),
        ("entry outside", change(pe + 24 + 16, &0x1000_0000_u32.to_le_bytes()), "moved into place"),
        ("too little memory", change(pe + 24 + 56, &0x1000_u32.to_le_bytes()), "moved into place"),
        ("32 bits", narrow, "CONFIG_EFI_ZBOOT"),
        ("nothing", Vec::new(), "an empty file"),
    ] {
        let error = made(&input, &request(Codec::Gzip)).unwrap_err();
        let text =
            format!("{error} {}", miette::Diagnostic::help(&error).map_or(String::new(), |help| help.to_string()));
        assert!(text.contains(words), "{what}: {text}");
    }
    for codec in [Codec::None, Codec::Bzip2, Codec::Lz4Frame] {
        assert!(matches!(made(&whole, &request(codec)), Err(Error::NoBootStub { .. })), "{codec:?}");
    }
    let with = |kernel: &[u8], bcj| {
        let parameters = Parameters { bcj: Some(bcj), ..Parameters::default() };
        made(kernel, &ZbootRequest { parameters, ..request(Codec::Xz) })
    };
    let riscv = files::efi_image(RISCV64);
    for (kernel, bcj, is_for) in [
        (&whole, Bcj::Arm64, true),
        (&whole, Bcj::X86, false),
        (&whole, Bcj::RiscV, false),
        (&riscv, Bcj::RiscV, true),
        (&riscv, Bcj::None, true),
        (&files::efi_image(LOONGARCH64), Bcj::X86, false),
    ] {
        assert_eq!(with(kernel, bcj).is_ok(), is_for, "{bcj:?}");
    }
    let small = ZbootRequest { max_size: 0x1000, ..request(Codec::Gzip) };
    assert!(made(&files::gzip(&whole), &small).is_err());
    for codec in ["none", "bzip2"] {
        let refused = run(kimage().args(["zboot", "Image", "--compress", codec]));
        assert_eq!(refused.status.code(), Some(2), "{codec}");
        assert!(stderr(&refused).contains("[possible values: zstd, lz4, gzip, xz, lzma, lzo]"), "{}", stderr(&refused));
    }
}

/// Another codec, and a payload that has no place where the old one was: kimage's program takes the place of Linux's.
#[test]
fn edit_packs_anew() {
    let dir = tempdir();
    let kernel = files::efi_image(ARM64);
    let packed = files::packed(Codec::Lz4Legacy, &kernel);
    let linux = files::pe(
        &[(4, b"zimg"), (8, &0x400_u32.to_le_bytes()), (12, &(packed.len() as u32).to_le_bytes()), (0x18, b"lz4")],
        &[(".gzdata", &[&packed[..], &(kernel.len() as u32).to_le_bytes()].concat())],
    );
    let own = made(&kernel, &request(Codec::Zstd)).unwrap();
    for (name, image, codec, wrapped) in
        [("linux", &linux, Codec::Gzip, true), ("own", &own, Codec::Xz, false), ("same", &own, Codec::Zstd, false)]
    {
        put(dir.path(), name, image);
        let mut command = kimage();
        command.current_dir(dir.path()).args([
            "edit",
            name,
            "--level",
            "1",
            "--compress",
            codec.name(),
            "--json",
            "-o",
            "out",
        ]);
        let json: serde_json::Value = serde_json::from_slice(&run_ok(&mut command).stdout).unwrap();
        assert_eq!(json["image"]["wrapped"], wrapped, "{json}");
        let out = std::fs::read(dir.path().join("out")).unwrap();
        assert_same(name, &out, &made(&kernel, &request(codec)).unwrap());
    }
}
