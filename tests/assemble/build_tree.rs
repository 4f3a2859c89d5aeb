//! What a kernel's build folder says of itself: voffset.h, codec, thin archives, what is missing, which linker it wants.

use crate::elf_builder::{Builder, GLOBAL, SHF_ALLOC, SHT_PROGBITS};
use crate::files;
use crate::support::{kimage, put, run_ok, stdout, tempdir, tool};
use kimage::codec::Codec;
use kimage::internals::tree::{check_linker, codec, missing_files, thin_members, voffsets};
use kimage::kbuild::LinkCommand;
use std::process::Command;

#[test]
fn voffset_lines() {
    let text = b"#define VO__end _AC(0xffffffff81a1c000,UL)\n#define VO__text 0xc1000000\n\n";
    let want = [("_end".to_owned(), 0xffff_ffff_81a1_c000), ("_text".to_owned(), 0xc100_0000)];
    assert_eq!(voffsets(text).unwrap(), want);
    for (text, words) in [
        (&b"\n"[..], "has no #define"),
        (b"#define VO__end 0x1\n#define ZO__end 0x1\n", "at offset 0x14: `#define ZO__end 0x1`"),
        (b"#define VO__end _AC(0x,UL)", "wanted #define"),
        (b"#define VO__end _AC(0x+1,UL)", "wanted #define"),
        (b"#define VO__end _AC(0x12345678123456781,UL)", "wanted #define"),
        (b"#define VO_\xff 0", "wanted #define"),
    ] {
        let error = voffsets(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// What stood in place of zoffset.h from 2.6.26 to 2.6.30: nm's lines, with one zero in front where there were some.
#[test]
fn offsets_of_before_zoffset() {
    let Some(nm) = tool("nm", "binutils") else { return };
    let dir = tempdir();
    for (release, is_64, at) in
        [("2.6.26.5", false, 0x4ab3), ("2.6.30", true, 0x10_4ab3), ("2.6.26", false, 0xc010_0000)]
    {
        let mut elf = Builder::new(is_64, false, if is_64 { 62 } else { 3 });
        let banner = format!("Linux version {release} (a@b) (gcc) #1 SMP\n\0");
        elf.section(".rodata.compressed", SHT_PROGBITS, SHF_ALLOC, at, &files::gzip(banner.as_bytes()));
        for (name, value) in [("input_data", at), ("input_data_end", at + 77), ("startup_32", 0), ("z_input_len", 77)] {
            elf.symbol(name, value, GLOBAL, 1);
        }
        let file = put(dir.path(), "vmlinux", &elf.build());
        let said = stdout(&run_ok(Command::new(&nm).arg(&file)));
        let line = |line: &str| {
            let (value, name) = (line.split(' ').next()?, line.rsplit(' ').next()?);
            let digits = value.trim_start_matches('0');
            let digits = if digits.len() < value.len() { format!("0{digits}") } else { digits.to_owned() };
            name.starts_with("input_data").then(|| format!("#define {name} 0x{digits}\n"))
        };
        let want: String = said.lines().filter_map(line).collect();
        assert!(want.contains("input_data_end 0x"), "{said}");
        assert_eq!(stdout(&run_ok(kimage().arg("zoffset").arg(&file))), want, "{release}");
    }
}

#[test]
fn codecs() {
    let piggy = |path: &str| format!("\n.incbin \"{path}\"\n").into_bytes();
    let of = |path: Option<&str>, config: &str| codec(path.map(piggy).as_deref(), Some(config.as_bytes()));
    assert_eq!(of(Some("a/vmlinux.bin.zst"), "").unwrap(), Some(Codec::Zstd));
    assert_eq!(of(Some("a/piggy_data"), "CONFIG_X=y\nCONFIG_KERNEL_XZ=y\n").unwrap(), Some(Codec::Xz));
    assert_eq!(of(None, "CONFIG_KERNEL_LZ4=y").unwrap(), Some(Codec::Lz4Legacy));
    assert_eq!(of(None, "CONFIG_KERNEL_UNCOMPRESSED=y").unwrap(), None);
    for (path, config, words) in [
        (Some("a.gz"), "CONFIG_KERNEL_XZ=y", "piggy.S includes a.gz, but .config says CONFIG_KERNEL_XZ=y"),
        (Some("piggy_data"), "# CONFIG_KERNEL_XZ is not set\nCONFIG_KERNEL_MODE_NEON=y", ".config has no"),
        (Some(""), "CONFIG_KERNEL_XZ=y", "piggy.S has no .incbin"),
    ] {
        let error = of(path, config).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

fn header(name: &str, size: usize) -> String {
    format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644)
}

#[test]
fn thin_archives() {
    let names = "mem.stub.o/\nsub/long-name.stub.o/\n";
    let (map, table) = (header("/", 3), header("//", names.len()));
    let good =
        ["!<thin>\n", &map, "abc\n", &table, names, "\n", &header("/0", 77), &header("/12", 5), &header("a.o/", 9)];
    let good = if names.len() % 2 == 0 { good.concat().replacen("/\n\n", "/\n", 1) } else { good.concat() };
    assert_eq!(thin_members(good.as_bytes()).unwrap(), ["mem.stub.o", "sub/long-name.stub.o", "a.o"]);
    assert!(thin_members(b"!<arch>\nanything").unwrap().is_empty());
    for cut in 9..good.len() {
        // Each member's header is whole, or it is an error; never a panic.
        let _ = thin_members(&good.as_bytes()[..cut]);
    }
    // A member of an archive that is inside, by GNU ar's `T` with an archive that is not thin.
    let inside = good.replace(&format!("{:<16}", "/12"), &format!("{:<16}", "/12:132"));
    assert_eq!(thin_members(inside.as_bytes()).unwrap(), ["mem.stub.o", "sub/long-name.stub.o", "a.o"]);
    // What is wrong, and where it stands: behind the 8 bytes of the magic number.
    for (bad, words) in [
        (header("/99", 1), "at offset 0x8: `/99`, wanted ar_name"),
        (header("/x", 1), "at offset 0x8: `/x`, wanted ar_name"),
        (header("", 1), "at offset 0x8: ``, wanted ar_name"),
        (header("/", 99), "ar_size at offset 0x44: the input ends too early"),
        (header("a.o/", 1).replace('`', "x"), "at offset 0x42: `x\\n`, wanted ar_fmag"),
        (header("a.o/", 1).replacen("1  ", "0x1", 1), "at offset 0x38: `0x1`, wanted ar_size"),
    ] {
        let error = thin_members(["!<thin>\n", &bad].concat().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}, wanted {words}");
    }
}

#[test]
fn files_and_linkers() {
    let text = "cmd_arch/arm/v := a-ld -T s.lds x.o piggy.o lib/lib.a -o arch/arm/v";
    let link = LinkCommand::parse(text.as_bytes(), None).unwrap();
    let thin = ["!<thin>\n", &header("a.o/", 9), &header("b.o/", 9)].concat().into_bytes();
    let missing =
        missing_files(&link, |_| Some(thin.clone()), |path| ["s.lds", "lib/lib.a", "lib/b.o"].contains(&path));
    assert_eq!(missing.unwrap(), ["x.o", "lib/a.o"]);

    let x86 = "GNU ld (GNU Binutils) 2.40\n  Supported emulations:\n   elf_x86_64\n   elf_i386\n";
    let arm = "GNU ld 2.40\n  Supported emulations:\n   armelf\n   armelfb\n";
    let finding = check_linker(x86, &link).unwrap();
    assert!(finding.message.contains("a-ld does not know the emulation armelf_linux_eabi, only elf_x86_64, elf_i386"));
    assert_eq!(check_linker(arm, &link), None);
    assert_eq!(check_linker("LLD 14.0.6 (compatible with GNU linkers)", &link), None);
    let link = LinkCommand::parse(b"cmd_v := ld -m elf_i386 -T s piggy.o -o v", None).unwrap();
    assert_eq!(check_linker(x86, &link), None);
    assert!(check_linker(arm, &link).is_some());
}
