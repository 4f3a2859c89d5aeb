//! `kimage edit`: what is built in is replaced where it stands, everything else stays as it was, and what cannot be is refused.
#![cfg(feature = "cli")]

use crate::files;
use crate::support::{assert_same, kimage, put, read, run, run_ok, stderr, tempdir, testdata};
use kimage::codec::{Codec, Parameters};
use kimage::edit::EditRequest;
use std::fs;
use std::path::Path;

/// A command line that a kernel has, and where its array ends.
const LINE: &str = r#"console=ttyS0 foo=\"a b\" \\"#;
const LINE_TEXT: &[u8] = br#"console=ttyS0 foo="a b" \"#;

/// A kernel without a header: banner, configuration, command line in an array of `line` bytes, a RAM disk with `room` bytes and
/// the word behind it that tells its size.
fn kernel(line: usize, room: usize, word: fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut out = b"code code code! Linux version 6.1.0-tiny (someone) #1\n\0".to_vec();
    out.resize(out.len().next_multiple_of(8), 0x90);
    out.extend(LINE_TEXT);
    out.resize(out.len() + line - LINE_TEXT.len(), 0);
    out.extend(b"IKCFG_ST");
    out.extend(files::gzip(
        format!("#\n# Automatically generated file; DO NOT EDIT.\n#\nCONFIG_RD_XZ=y\nCONFIG_CMDLINE=\"{LINE}\"\n")
            .as_bytes(),
    ));
    out.extend(b"IKCFG_ED");
    out.resize(out.len().next_multiple_of(8), 0x91);
    let at = out.len();
    out.extend(files::cpio());
    out.resize(at + room, 0);
    out.extend(word(room as u32));
    out.extend([0x92; 4000]);
    let mut noise = crate::support::Random(3);
    out.extend((0..20_000).map(|_| noise.below(256) as u8));
    out
}

/// The header of an arm64 Image, and a banner.
fn arm64() -> Vec<u8> {
    let mut image = files::image64(b"ARM\x64");
    image[32..36].fill(0);
    image
}

fn little(size: u32) -> Vec<u8> {
    size.to_le_bytes().to_vec()
}

/// An archive of one file.
fn archive(dir: &Path, len: usize) -> Vec<u8> {
    put(dir, "content", &vec![b'x'; len]);
    put(dir, "list", b"file /new content 644 0 0\n");
    run_ok(kimage().current_dir(dir).args(["cpio", "list", "-o", "new.cpio", "-q"]));
    let mut archive = read(&dir.join("new.cpio"));
    // The last name has its NUL.
    let end = archive.iter().rposition(|byte| *byte != 0).unwrap() + 2;
    archive.truncate(end.next_multiple_of(4));
    archive
}

/// Edits `image`; the new one, and what was said, or why not.
fn edit(dir: &Path, image: &[u8], options: &[&str]) -> Result<(Vec<u8>, String), String> {
    put(dir, "image", image);
    let _ = fs::remove_file(dir.join("out"));
    let output = run(kimage().current_dir(dir).args(["edit", "image", "-o", "out"]).args(options));
    let said = stderr(&output);
    match output.status.code() {
        Some(0) => Ok((read(&dir.join("out")), said)),
        _ => {
            assert!(!dir.join("out").exists());
            Err(said)
        }
    }
}

/// `verify` has nothing against it.
#[track_caller]
fn good(dir: &Path) {
    let verdict = run(kimage().current_dir(dir).args(["verify", "out"]));
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stdout));
}

fn part(dir: &Path, name: &str) -> Vec<u8> {
    run_ok(kimage().current_dir(dir).args(["extract", "out", name])).stdout
}

/// Every way to say the size, and none.
#[test]
fn the_ram_disk_is_replaced_where_it_stands() {
    let dir = tempdir();
    let dir = dir.path();
    let words: [fn(u32) -> Vec<u8>; 5] = [
        little,
        |size| u64::from(size).to_le_bytes().to_vec(),
        |size| size.to_be_bytes().to_vec(),
        |size| u64::from(size).to_be_bytes().to_vec(),
        |_| vec![0x93; 8],
    ];
    let new = archive(dir, 33);
    for (index, word) in words.into_iter().enumerate() {
        let old = kernel(64, 512, word);
        let start = memchr::memmem::find(&old, b"070701").unwrap();
        let (image, said) = edit(dir, &old, &["--initramfs", "new.cpio"]).unwrap();
        // Without the word, the place is as long as what is in it.
        let room = if index == 4 { files::cpio().len() } else { 512 };
        assert!(
            said.contains(&format!("initramfs: {} bytes, in place of the one built in, which had {room}", new.len())),
            "{said}"
        );
        let mut want = old.clone();
        want[start..start + room].fill(0);
        want[start..start + new.len()].copy_from_slice(&new);
        if index < 4 {
            let word = word(new.len() as u32);
            want[start + room..start + room + word.len()].copy_from_slice(&word);
        }
        assert_same("the image", &image, &want);
        assert_same("the part", &part(dir, "initramfs"), &new);
        good(dir);
        // The place is still as large: something larger can come there again.
        if index < 4 {
            let larger = archive(dir, 230);
            let (_, said) = edit(dir, &image, &["--initramfs", "new.cpio"]).unwrap();
            assert!(said.contains("which had 512 bytes"), "{said}");
            assert_same("the larger", &part(dir, "initramfs"), &larger);
            archive(dir, 33);
        }
        // Too large as it is, and compressed by what the configuration says.
        archive(dir, 5000);
        let (_, said) = edit(dir, &old, &["--initramfs", "new.cpio"]).unwrap();
        assert!(said.contains("compressed: xz"), "{said}");
        assert_same("unpacked", &xz(&part(dir, "initramfs")), &archive(dir, 5000));
        archive(dir, 33);
    }
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    kimage::internals::decompress_one(Codec::Xz, bytes, 1 << 20, &mut out).unwrap();
    out
}

/// A zImage's and a bzImage's decompressor get as many bytes as before, whatever the codec.
#[test]
fn payloads_come_back_into_their_place() {
    let dir = tempdir();
    let dir = dir.path();
    let new = archive(dir, 33);
    let old = kernel(1024, 512, little);
    for codec in [Codec::Gzip, Codec::Bzip2, Codec::Lzma, Codec::Xz, Codec::Lzo, Codec::Zstd] {
        let image = with_payload(&old, codec);
        let (out, said) = edit(dir, &image, &["--initramfs", "new.cpio", "--cmdline", "quiet"]).unwrap();
        assert_eq!(out.len(), image.len());
        assert!(said.contains("for the image's own decompressor"), "{said}");
        assert_same(codec.name(), &part(dir, "initramfs"), &new);
        let kernel = part(dir, "vmlinux");
        assert_eq!(kernel.len(), old.len());
        assert!(memchr::memmem::find(&kernel, b"quiet\0\0\0").is_some());
        assert!(memchr::memmem::find(&kernel, LINE_TEXT).is_none());
        good(dir);
        // The padding counts: something else than zeros in it is found.
        let place = payload_at(&image);
        let stream = part(dir, "payload").len();
        if codec != Codec::Gzip && place.len() > stream + 8 {
            let mut damaged = out.clone();
            damaged[place.start + stream + 1] = 1;
            put(dir, "out", &damaged);
            let verdict = run(kimage().current_dir(dir).args(["verify", "out"]));
            assert!(!verdict.status.success(), "{}", codec.name());
        }
        // And once more, back.
        put(dir, "old.cpio", &files::cpio());
        let (_, said) = edit(dir, &out, &["--initramfs", "old.cpio"]).unwrap();
        assert!(said.contains("which had 512 bytes"), "{said}");
        assert_same("back", &part(dir, "initramfs"), &files::cpio());
    }
}

/// What a zImage's own decompressor cannot take goes into one around kimage's boot stub: another codec or level, and a payload that
/// grows. Once more, it stays there.
#[test]
fn zimages_are_wrapped_anew() {
    let dir = tempdir();
    let dir = dir.path();
    let old = kernel(1024, 512, little);
    let image = with_payload(&old, Codec::Lzo);
    for (options, codec) in
        [(&["--compress", "xz"][..], "xz"), (&["--level", "1"], "xz"), (&["--compress", "none"], "none")]
    {
        let (out, said) = edit(dir, &image, options).unwrap();
        assert!(said.contains("wrapped anew, with kimage's own boot stub: its own decompressor"), "{said}");
        assert_same(codec, &part(dir, "vmlinux"), &old);
        good(dir);
        let info = crate::support::stdout(&run_ok(kimage().current_dir(dir).args(["info", "out"])));
        assert!(info.contains(&format!("kimage, {codec}")), "{info}");
        put(dir, "new.cpio", &files::cpio());
        let (_, said) = edit(dir, &out, &["--initramfs", "new.cpio"]).unwrap();
        assert!(said.contains("wrapped anew\n"), "{said}");
        assert_same("initramfs", &part(dir, "initramfs"), &files::cpio());
        good(dir);
    }
    // What does not shrink any more.
    put(dir, "noise.cpio", &files::cpio_of(&[("noise", 0o100_644, &crate::support::noise(200, 3))]));
    let (_, said) = edit(dir, &with_payload(&old, Codec::Xz), &["--initramfs", "noise.cpio"]).unwrap();
    assert!(said.contains("wrapped anew, with kimage's own boot stub: the payload, compressed anew, has"), "{said}");
    good(dir);
}

/// A zImage without size table, with this payload: the parts in front and behind are testdata's.
fn with_payload(kernel: &[u8], codec: Codec) -> Vec<u8> {
    let tiny = files::zimage();
    let mut out = tiny[..0x34].to_vec();
    out.resize(0x200, 0x55);
    out.extend(files::packed(codec, kernel));
    if codec != Codec::Gzip {
        // Room for what may be a little longer, as an edit before may have left it.
        out.extend([0; 99]);
        out.extend((kernel.len() as u32).to_le_bytes());
    }
    out.extend([0x55; 64]);
    out.resize(out.len().next_multiple_of(4), 0x55);
    let (start, end) = (0_u32, out.len() as u32);
    out[0x28..0x2c].copy_from_slice(&start.to_le_bytes());
    out[0x2c..0x30].copy_from_slice(&end.to_le_bytes());
    out
}

fn payload_at(image: &[u8]) -> std::ops::Range<usize> {
    let end = image.iter().rposition(|byte| *byte != 0x55).unwrap() + 1;
    0x200..end
}

#[test]
fn command_lines_are_found_once_or_not_at_all() {
    let dir = tempdir();
    let dir = dir.path();
    // No array is known of an arm64 kernel: there is room for as much as the old text has.
    let mut image = arm64();
    image.extend(kernel(LINE_TEXT.len() + 1, 512, little));
    let (out, said) = edit(dir, &image, &["--cmdline", "console=ttyAMA0"]).unwrap();
    assert!(said.contains(&format!("which has room for {} bytes", LINE_TEXT.len())), "{said}");
    let at = memchr::memmem::find(&image, LINE_TEXT).unwrap();
    let mut want = image.clone();
    want[at..at + LINE_TEXT.len()].fill(0);
    want[at..at + 15].copy_from_slice(b"console=ttyAMA0");
    assert_same("the text", &out, &want);
    let longer = "x".repeat(LINE_TEXT.len() + 1);
    let said = edit(dir, &image, &["--cmdline", &longer]).unwrap_err();
    assert!(said.contains("cmdline: 26 bytes, and the kernel's own has room for 25"), "{said}");
    // Twice, and in no configuration.
    image.extend(LINE_TEXT);
    image.extend([0, 1]);
    let said = edit(dir, &image, &["--cmdline", "x"]).unwrap_err();
    assert!(said.contains("is in it 2 times"), "{said}");
    let said = edit(dir, &files::image64(b"ARM\x64"), &["--cmdline", "x"]).unwrap_err();
    assert!(said.contains("no CONFIG_IKCONFIG"), "{said}");
}

/// Compressed by itself, with trees behind it, in a uImage: all around it follows.
#[test]
fn what_is_around_a_kernel_follows() {
    let dir = tempdir();
    let dir = dir.path();
    let new = archive(dir, 33);
    let mut image = arm64();
    image.extend(kernel(64, 512, little));
    for codec in [Codec::Gzip, Codec::Xz, Codec::Zstd] {
        let mut stream = Vec::new();
        codec.compress(&image, &Default::default(), &mut stream).unwrap();
        let with_tree = [stream.clone(), files::dtb()].concat();
        edit(dir, &with_tree, &["--initramfs", "new.cpio"]).unwrap();
        assert_same("behind", &part(dir, "dtb"), &files::dtb());
        assert_same("the part", &part(dir, "initramfs"), &new);
        good(dir);
    }
    // By another codec: U-Boot's header says so.
    put(dir, "plain", &image);
    run_ok(kimage().current_dir(dir).args([
        "uimage",
        "plain",
        "-a",
        "80000",
        "--compress",
        "gzip",
        "-q",
        "-o",
        "uImage",
    ]));
    let uimage = [read(&dir.join("uImage")), vec![0xff; 100]].concat();
    let (out, _) = edit(dir, &uimage, &["--initramfs", "new.cpio", "--compress", "zstd"]).unwrap();
    assert_same("the part", &part(dir, "initramfs"), &new);
    good(dir);
    assert!(out.len() == uimage.len() && out.ends_with(&[0xff; 100]));
    let field = run_ok(kimage().current_dir(dir).args(["info", "out", "--field", "ih_comp"])).stdout;
    assert!(String::from_utf8_lossy(&field).contains("zstd"), "{field:?}");
    // A file system behind it does not move, and nothing is written over it.
    let (with_fs, end) = ([&uimage[..], b"hsqs", &[7; 500]].concat(), uimage.len());
    let (out, _) = edit(dir, &with_fs, &["--initramfs", "new.cpio"]).unwrap();
    assert_same("behind", &out[end..], &with_fs[end..]);
    let said = edit(dir, &with_fs, &["--compress", "none"]).err().unwrap();
    assert!(said.contains("and what is behind it begins at"), "{said}");
}

/// zboot images, boot images and FITs: the kernel in them is changed, and what their own tools write stands around it.
#[test]
fn containers_take_the_kernel_back() {
    let dir = tempdir();
    let dir = dir.path();
    let new = archive(dir, 33);
    let mut image = arm64();
    image.extend(kernel(64, 512, little));
    put(dir, "plain", &image);
    put(dir, "packed", &files::gzip(&image));
    put(dir, "ramdisk", &files::cpio());
    let edited = |options: &[&str]| {
        let changed = edit(dir, &image, options).unwrap().0;
        (changed.clone(), edit(dir, &files::gzip(&image), options).unwrap().0)
    };
    let options = ["--initramfs", "new.cpio"];
    let (plain, packed) = edited(&options);
    // A FIT, by mkimage's own layouts: what comes out is the FIT of the changed kernel.
    for more in [&[][..], &["-E"], &["-E", "-B", "1000"], &["-E", "-p", "10000"], &["--layout", "2026", "-E"]] {
        let fit = |kernel: &[u8]| {
            put(dir, "packed", kernel);
            let mut command = kimage();
            command.current_dir(dir).env("SOURCE_DATE_EPOCH", "1700000000");
            command.args(["fit", "--kernel", "packed", "-A", "arm64", "-a", "80000", "-q", "-o", "fit"]).args(more);
            run_ok(&mut command);
            read(&dir.join("fit"))
        };
        let (old, wanted) = (fit(&files::gzip(&image)), fit(&packed));
        let (out, _) = edit(dir, &old, &options).unwrap();
        assert_same(&format!("FIT {more:?}"), &out, &wanted);
        assert_same("the part", &part(dir, "initramfs"), &new);
        // Damage is not taken along, and what mkimage did not write is not made anew.
        let mut odd = old.clone();
        let at = odd.windows(9).position(|it| it == b"timestamp").unwrap();
        odd[at] = b'T';
        let said = edit(dir, &odd, &options).unwrap_err();
        assert!(said.contains("help: "), "{said}");
    }
    // Boot images of each version, by mkbootimg where it is there.
    let Some(mkbootimg) = crate::support::tool("mkbootimg", "mkbootimg") else { return };
    for version in ["0", "1", "2", "3", "4"] {
        let boot = |kernel: &[u8]| {
            put(dir, "kernel", kernel);
            let mut command = std::process::Command::new(&mkbootimg);
            command.current_dir(dir).args(["--kernel", "kernel", "--ramdisk", "ramdisk", "--cmdline", "quiet"]);
            put(dir, "tree", &files::dtb());
            if version == "2" {
                command.args(["--dtb", "tree"]);
            }
            // Debian's knows no version 4: that is one more word, in which the length of a certificate stands.
            let known = if version == "4" { "3" } else { version };
            run_ok(command.args(["--header_version", known, "-o", "boot.img"]));
            let mut boot = read(&dir.join("boot.img"));
            if version == "4" {
                boot[20..24].copy_from_slice(&1584_u32.to_le_bytes());
                boot[40] = 4;
            }
            boot
        };
        for (old, changed) in [(&image, &plain), (&files::gzip(&image), &packed)] {
            let (old, wanted) = (boot(old), boot(changed));
            let (out, _) = edit(dir, &old, &options).unwrap();
            assert_same(&format!("boot.img {version}"), &out, &wanted);
            good(dir);
            let (out, _) = edit(dir, &[&old[..], &[0; 8192]].concat(), &options).unwrap();
            // It keeps the length of its partition.
            let mut padded = wanted.clone();
            padded.resize(old.len() + 8192, 0);
            assert_same("of a partition", &out, &padded);
            let said = edit(dir, &[&old[..], &[1; 8192]].concat(), &options).unwrap_err();
            assert!(said.contains("avbtool erase_footer"), "{said}");
        }
    }
    // A zboot image: its program unpacks as many bytes as before.
    let mut zboot = vec![0; 0x1000];
    zboot[..8].copy_from_slice(b"MZ\0\0zimg");
    let stream = files::gzip(&image);
    for (at, word) in [(8, 0x1000), (12, stream.len() as u32), (0x3c, 0x40)] {
        zboot[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    zboot[0x18..0x1c].copy_from_slice(b"gzip");
    zboot.extend(&stream);
    match edit(dir, &zboot, &options) {
        Ok((out, _)) => {
            assert_eq!((out.len(), &out[..0x1000]), (zboot.len(), &zboot[..0x1000]));
            assert_same("the part", &part(dir, "initramfs"), &new);
        }
        Err(said) => panic!("{said}"),
    }
}

/// A stream that does not say how much it holds is unpacked as far as it is worth, not for ever.
#[test]
fn a_stream_without_a_size_has_a_bound() {
    let mut image = arm64();
    image.extend(kernel(64, 512, little));
    image.resize(3 << 20, 0);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::Write::write_all(&mut encoder, &image).unwrap();
    let stream = encoder.finish().unwrap();
    let with = |undeclared| {
        let limits = kimage::inspect::Limits { undeclared, ..Default::default() };
        kimage::edit::edit(&stream, &EditRequest { cmdline: Some(b"x"), limits, ..EditRequest::default() })
    };
    assert!(with(8 << 20).is_ok());
    assert!(with(2 << 20).unwrap_err().to_string().contains("more than"), "{:?}", with(2 << 20).err());
}

/// An image around kimage's boot stub keeps what it had, but for what is asked for.
#[test]
fn stubs_keep_what_they_had() {
    let dir = tempdir();
    let dir = dir.path();
    put(dir, "kernel", &files::kernel());
    put(dir, "disk", &files::cpio());
    let make = ["bzimage", "kernel", "-q", "-o", "first", "--cmdline", "a=1", "--cmdline-override", "--initrd", "disk"];
    run_ok(kimage().current_dir(dir).args(make).args(["--no-efi", "--crc", "yes"]));
    let first = read(&dir.join("first"));
    let new = archive(dir, 10);
    edit(dir, &first, &["--initramfs", "new.cpio"]).unwrap();
    assert_same("the image's own", &part(dir, "initramfs"), &files::cpio());
    assert_same("the kernel's", &part(dir, "initramfs[1]"), &new);
    assert_same("the line", &part(dir, "cmdline"), b"a=1");
    edit(dir, &first, &["--cmdline", "b=2"]).unwrap();
    assert_same("another line", &part(dir, "cmdline"), b"b=2");
    // The same as if it had been made so.
    let (out, _) = edit(dir, &first, &["--compress", "xz"]).unwrap();
    run_ok(kimage().current_dir(dir).args(make).args(["--no-efi", "--crc", "yes", "--compress", "xz"]));
    assert_same("by another codec", &out, &read(&dir.join("first")));
    // What does not fit comes in front of the image's own.
    archive(dir, 40_000);
    edit(dir, &first, &["--initramfs", "new.cpio"]).unwrap();
    assert_same("both", &part(dir, "initramfs"), &[read(&dir.join("new.cpio")), files::cpio()].concat());
}

/// A bzImage with this payload, and a CRC at its end.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut image = files::bzimage();
    let word = |image: &[u8], at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
    let start = (usize::from(image[0x1f1]) + 1) * 512 + word(&image, 0x248);
    let end = start + word(&image, 0x24c);
    image.truncate(image.len() - 4);
    image.splice(start..end, payload.iter().copied());
    image.resize((image.len() + 4).next_multiple_of(16) - 4, 0);
    let system = image.len() + 4 - (usize::from(image[0x1f1]) + 1) * 512;
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image[0x1f4..0x1f8].copy_from_slice(&(system as u32 / 16).to_le_bytes());
    let crc = !crc32fast::hash(&image);
    image.extend(crc.to_le_bytes());
    image
}

/// A kernel's own image changes in its payload and its CRC, and nowhere else.
#[test]
fn a_kernels_own_image_keeps_its_decompressor() {
    let dir = tempdir();
    let dir = dir.path();
    let new = archive(dir, 10);
    let payload = files::gzip(&files::kernel());
    let image = bzimage(&payload);
    let (out, said) = edit(dir, &image, &["--initramfs", "new.cpio"]).unwrap();
    assert!(said.contains("for the image's own decompressor"), "{said}");
    assert_same("the part", &part(dir, "initramfs"), &new);
    let start = memchr::memmem::find(&image, &payload).unwrap();
    let (end, last) = (start + payload.len(), image.len() - 4);
    assert_same("in front", &out[..start], &image[..start]);
    assert_same("behind", &out[end..last], &image[end..last]);
    assert_same("the CRC", &out[last..], &(!crc32fast::hash(&out[..last])).to_le_bytes());
    assert!(out[last..] != image[last..]);
    // A wrong one stays wrong, and a command line that the kernel has not is the boot stub's.
    let mut wrong = image.clone();
    wrong[last] ^= 1;
    assert_same("wrong", &edit(dir, &wrong, &["--initramfs", "new.cpio"]).unwrap().0[last..], &wrong[last..]);
    let (_, said) = edit(dir, &image, &["--cmdline", "a b"]).unwrap();
    assert!(said.contains("with kimage's own boot stub: cmdline: the kernel has none of its own"), "{said}");
    assert_same("the line", &part(dir, "cmdline"), b"a b");
    let json = run_ok(kimage().current_dir(dir).args(["edit", "image", "--level", "1", "--json", "-o", "out"])).stdout;
    assert!(String::from_utf8_lossy(&json).contains("\"wrapped\": true"), "{json:?}");
}

/// Whatever an image says: an answer or a refusal, and what comes out can be read again.
#[test]
fn damaged_images_are_edited_or_refused() {
    let dir = tempdir();
    let archive = archive(dir.path(), 33);
    let dtb = files::dtb();
    let old = kernel(1024, 512, little);
    let images = [
        with_payload(&old, Codec::Gzip),
        with_payload(&old, Codec::Zstd),
        bzimage(&files::gzip(&files::kernel())),
        [arm64(), old.clone()].concat(),
        files::uimage(2, &[&files::gzip(&old)]),
        files::bzimage(),
    ];
    let mut random = crate::support::Random(5);
    let (mut edited, mut refused) = (0, 0);
    for round in 0..60 {
        for image in &images {
            let mut image = image.clone();
            for _ in 0..=round % 3 {
                // Headers first.
                let at = random.below(if round % 2 == 0 { 0x300 } else { image.len() }).min(image.len() - 1);
                image[at] = random.below(256) as u8;
            }
            image.truncate(if round % 5 == 0 { random.below(image.len()) } else { image.len() });
            let request = EditRequest {
                initramfs: (round % 4 != 3).then_some(&archive),
                cmdline: (round % 3 == 0).then_some(b"x=1"),
                dtb: (round % 7 == 0).then_some(&dtb),
                codec: (round % 11 == 0).then_some(Codec::Gzip),
                parameters: Parameters { threads: 1, ..Parameters::default() },
                max_memory: 1 << 30,
                ..EditRequest::default()
            };
            match kimage::edit::edit(&image, &request) {
                Ok(new) => {
                    edited += 1;
                    let mut bytes = Vec::new();
                    new.emit(&mut bytes).unwrap();
                    kimage::inspect::open(&bytes, &Default::default()).unwrap();
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains("not what went in"), "{error}");
                }
            }
        }
    }
    assert!(edited > 30 && refused > 30, "{edited} edited, {refused} refused");
}

fn compressed(codec: Codec) -> Vec<u8> {
    let mut out = Vec::new();
    codec.compress(&files::cpio(), &Default::default(), &mut out).unwrap();
    out
}

#[test]
fn what_cannot_be_is_refused() {
    let dir = tempdir();
    let dir = dir.path();
    archive(dir, 600);
    put(dir, "dtb", &files::dtb());
    put(dir, "noise", &[&[0][..], &[7; 99]].concat());
    let flat = || {
        let mut image = arm64();
        image.extend(kernel(64, 512, |_| vec![0x93; 8]));
        image
    };
    let twice = [flat(), files::cpio(), vec![0x94; 16]].concat();
    for (image, options, why) in [
        (flat(), &["--dtb", "dtb"][..], "dtb: no kernel but that of an ARM zImage looks for one behind it"),
        (flat(), &["--compress", "xz"], "codec: this kernel is not compressed"),
        (
            flat(),
            &["--initramfs", "noise"],
            "noise: this is no kernel file that kimage knows; wanted a cpio archive, compressed or not",
        ),
        (twice, &["--initramfs", "new.cpio"], "there are several archives in this kernel"),
        (files::zimage(), &["--initramfs", "new.cpio"], "no RAM disk was found in this kernel"),
        (files::dtb(), &["--initramfs", "new.cpio"], "this is a device tree blob; wanted a bzImage, zImage or Image"),
        (files::zboot(), &["--compress", "xz"], "a kernel without EFI stub"),
        (files::uimage(4, &[b"one", b"two"]), &["--cmdline", "x"], "this is a uImage of several files"),
        (read(&testdata("tiny/kernel")), &["--cmdline", "x"], "this is an ELF file; wanted a bzImage, zImage or Image"),
    ] {
        let said = edit(dir, &image, options).unwrap_err();
        assert!(said.contains(why) && said.contains("help: "), "{said}");
    }
    // What the kernel would panic at, as its built-in RAM disk.
    let packed = files::gzip(&files::cpio());
    let cut = files::cpio_of(&[("init", 0o100_755, &[b'x'; 99])]);
    for (ramdisk, why) in [
        (files::gzip(b"a text"), "wanted a cpio archive, compressed or not"),
        (packed[..packed.len() - 9].to_vec(), "initramfs: the archive: "),
        (cut[..150].to_vec(), "initramfs: "),
        ([files::cpio(), b"junk".to_vec()].concat(), "initramfs: the archive: "),
        (compressed(Codec::Lz4Frame), "the archive: a segment in lz4's newer frame format"),
        // Its configuration has CONFIG_RD_XZ alone.
        (packed, "the kernel does not unpack gzip"),
    ] {
        put(dir, "ramdisk", &ramdisk);
        let said = edit(dir, &flat(), &["--initramfs", "ramdisk"]).unwrap_err();
        assert!(said.contains(why) && said.contains("help: "), "{said}");
    }
    // Images in images without an end.
    let (mut streams, mut uimages) = (b"text".to_vec(), b"text".to_vec());
    for at in 0..500 {
        uimages = files::uimage(2, &[&uimages]);
        if at < 20 {
            streams = files::gzip(&streams);
        }
    }
    for image in [streams, uimages] {
        let said = edit(dir, &image, &["--cmdline", "x"]).unwrap_err();
        assert!(said.contains("a file with many images one in the other"), "{said}");
    }
    let mut random = crate::support::Random(9);
    put(dir, "content", &(0..900).map(|_| random.below(256) as u8).collect::<Vec<_>>());
    run_ok(kimage().current_dir(dir).args(["cpio", "list", "-o", "new.cpio", "-q"]));
    let said = edit(dir, &flat(), &["--initramfs", "new.cpio"]).unwrap_err();
    assert!(said.contains("bytes, and the one built into the kernel has room for 3"), "{said}");
    // Nothing asked for is no edit.
    assert_eq!(run(kimage().current_dir(dir).args(["edit", "image", "-o", "out"])).status.code(), Some(2));
}
