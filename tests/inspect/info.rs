//! What `kimage info` and `kimage extract` say of real kernels, held against what else tells it: the files that the
//! kernel's build left behind, file(1), readelf, System.map, goblin, mkimage's own listing, the codecs' own commands.

use crate::files;
use crate::schema;
use crate::support::{self, Tree, assert_same, kimage, read, run, run_ok, stderr, stdout, tempdir, tool};
use goblin::pe::PE;
use object::{Object, ObjectSegment, ObjectSymbol};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::process::Command;

/// `kimage info --json` of one file, checked against the schema.
fn info(path: &Path) -> Value {
    let report: Value = serde_json::from_slice(&run_ok(kimage().args(["info", "--json"]).arg(path)).stdout).unwrap();
    schema::assert_valid(kimage::report::json_schema("info").unwrap(), &report);
    report["files"][0].clone()
}

/// The layer of that name.
#[track_caller]
fn layer<'v>(file: &'v Value, name: &str) -> &'v Value {
    let found = file["layers"].as_array().unwrap().iter().find(|layer| layer["name"] == name);
    found.unwrap_or_else(|| panic!("no layer {name} in {}", file["file"]))
}

fn fact(layer: &Value, name: &str) -> Value {
    layer["facts"][name]["value"].clone()
}

/// A number, which may be written as "0x…".
#[track_caller]
fn number(layer: &Value, name: &str) -> u64 {
    match fact(layer, name) {
        Value::String(text) => u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap(),
        Value::Number(value) => value.as_u64().unwrap(),
        other => panic!("{name} is {other}"),
    }
}

fn extract(path: &Path, part: &str) -> Vec<u8> {
    run_ok(kimage().arg("extract").arg(path).arg(part)).stdout
}

fn x86() -> impl Iterator<Item = &'static Tree> {
    support::x86_trees().into_iter()
}

fn arm() -> impl Iterator<Item = &'static Tree> {
    support::arm_trees().into_iter()
}

/// What `#define PREFIX_name 0x…` says.
fn offset(tree: &Tree, name: &str) -> Option<u64> {
    let text = fs::read_to_string(tree.path("arch/x86/boot/zoffset.h")).unwrap();
    let line = text.lines().find(|line| line.split(' ').nth(1) == Some(&format!("ZO_{name}")))?;
    u64::from_str_radix(line.split("0x").nth(1)?, 16).ok()
}

/// The compressed kernel of a tree, by its usual names.
fn packed(tree: &Tree) -> Vec<u8> {
    let dir = tree.path("arch/x86/boot/compressed");
    let names = ["gz", "bz2", "lzma", "xz", "lzo", "lz4", "zst"];
    names
        .iter()
        .map(|ext| dir.join(format!("vmlinux.bin.{ext}")))
        .find(|path| path.is_file())
        .map(|path| read(&path))
        .unwrap()
}

#[test]
fn x86_parts_are_the_files_of_the_build() {
    for tree in x86() {
        let image = tree.path("arch/x86/boot/bzImage");
        assert_same(&tree.name, &extract(&image, "vmlinux"), &tree.read("arch/x86/boot/compressed/vmlinux.bin"));
        assert_same(&tree.name, &extract(&image, "relocs"), &tree.read("arch/x86/boot/compressed/vmlinux.relocs"));
        assert_same(&tree.name, &extract(&image, "piggy"), &packed(tree));
        assert_same(&tree.name, &extract(&image, "config"), &tree.read(".config"));
        let setup = extract(&image, "setup");
        let bytes = read(&image);
        assert_same(&tree.name, &setup, &bytes[..(usize::from(bytes[0x1f1]) + 1) * 512]);
        let packed = packed(tree);
        let stream = extract(&image, "payload");
        // gzip's own end tells the size; the others have it behind them.
        let trailer = if packed.starts_with(&[0x1f, 0x8b]) { 0 } else { 4 };
        assert_same(&tree.name, &stream, &packed[..packed.len() - trailer]);
        let elf = object::File::parse(&*fs::read(tree.path("vmlinux")).unwrap()).map(|elf| built_in_initramfs(&elf));
        assert_same(&tree.name, &extract(&image, "initramfs"), &elf.unwrap());
    }
}

/// The bytes between `__initramfs_start` and `__initramfs_size`, as long as the latter says.
fn built_in_initramfs(elf: &object::File<'_>) -> Vec<u8> {
    let address = |name: &str| elf.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap().address();
    let at =
        |address: u64, len: u64| elf.segments().find_map(|segment| segment.data_range(address, len).ok()?).unwrap();
    let size = u32::from_le_bytes(at(address("__initramfs_size"), 4).try_into().unwrap());
    at(address("__initramfs_start"), size.into()).to_vec()
}

#[test]
fn x86_fields_are_those_of_the_build() {
    for tree in x86() {
        let path = tree.path("arch/x86/boot/bzImage");
        let image = info(&path);
        let name = &tree.name;
        let outer = layer(&image, "file");
        assert_eq!(outer["format"], "bzimage", "{name}");
        for (field, symbol) in [("payload_offset", "input_data"), ("payload_length", "z_input_len")] {
            assert_eq!(Some(number(outer, field)), offset(tree, symbol), "{name} {field}");
        }
        assert_eq!(Some(number(outer, "kernel_info_offset")), offset(tree, "kernel_info"), "{name}");
        assert_eq!(Some(number(layer(&image, "payload"), "decompressed_size")), offset(tree, "z_output_len"), "{name}");
        if let Some(file) = tool("file", "file") {
            let said = stdout(&run_ok(Command::new(file).arg("-b").arg(&path)));
            let release = fact(outer, "release");
            assert!(said.contains(&format!("version {} ", release.as_str().unwrap())), "{name}: {said}");
            assert_eq!(layer(&image, "vmlinux")["facts"]["release"]["value"], release, "{name}");
        }
        let kernel = layer(&image, "vmlinux");
        let vmlinux = tree.path("vmlinux");
        if let Some(readelf) = tool("readelf", "binutils") {
            let notes = stdout(&run(Command::new(&readelf).arg("-nW").arg(&vmlinux)));
            let id = notes.split("Build ID: ").nth(1).and_then(|rest| rest.split_whitespace().next());
            assert_eq!(fact(kernel, "build_id").as_str(), id, "{name}");
            let header = stdout(&run_ok(Command::new(&readelf).arg("-hW").arg(&vmlinux)));
            let entry = header.split("Entry point address:").nth(1).and_then(|rest| rest.split_whitespace().next());
            assert_eq!(fact(kernel, "entry").as_str(), entry, "{name}");
        }
        let config = tree.read(".config");
        let set = config.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"CONFIG_")).count();
        let layers = image["layers"].as_array().unwrap();
        let text = layers.iter().find(|layer| layer["format"] == "config").unwrap();
        assert_eq!(number(text, "options"), set as u64, "{name}");
        let is_64 = layer(&image, "vmlinux")["facts"]["bits"]["value"] == 64;
        assert_eq!(fact(outer, "arch"), if is_64 { "x86-64" } else { "i386" }, "{name}");
        // Words of the table, less the zero before each list.
        let relocs = layer(&image, "relocs");
        let lists = fact(relocs, "lists").as_array().unwrap().len() as u64;
        let table = tree.read("arch/x86/boot/compressed/vmlinux.relocs").len() as u64;
        assert_eq!(number(relocs, "relocs"), table / 4 - lists, "{name}");
    }
}

/// CRC: computed here by its definition; Linux 6.15 took it away.
#[test]
fn x86_crc_is_told_from_none() {
    for tree in x86() {
        let bytes = tree.read("arch/x86/boot/bzImage");
        let image = info(&tree.path("arch/x86/boot/bzImage"));
        let (body, stored) = bytes.split_at(bytes.len() - 4);
        let right = !crc32fast::hash(body) == u32::from_le_bytes(stored.try_into().unwrap());
        let meaning = layer(&image, "file")["facts"]["crc32"]["meaning"].as_str().unwrap();
        assert_eq!(meaning == "right", right, "{}: {meaning}", tree.name);
    }
}

#[test]
fn efi_side_is_that_of_goblin() {
    for tree in x86() {
        let bytes = tree.read("arch/x86/boot/bzImage");
        let image = info(&tree.path("arch/x86/boot/bzImage"));
        let outer = layer(&image, "file");
        if !bytes.starts_with(b"MZ") {
            assert_eq!(fact(outer, "efi_entry"), Value::Null, "{}", tree.name);
            continue;
        }
        let pe = PE::parse(&bytes).unwrap();
        assert_eq!(number(outer, "efi_entry"), u64::from(pe.entry), "{}", tree.name);
        assert_eq!(number(outer, "efi_image_base"), pe.image_base, "{}", tree.name);
        let sections = fact(outer, "efi_sections");
        for (row, want) in sections.as_array().unwrap().iter().zip(&pe.sections) {
            assert_eq!(row["name"], want.name().unwrap(), "{}", tree.name);
            assert_eq!(row["size"], want.size_of_raw_data, "{}", tree.name);
            assert_eq!(row["offset"], format!("{:#x}", want.pointer_to_raw_data), "{}", tree.name);
            assert_eq!(row["address"], format!("{:#x}", want.virtual_address), "{}", tree.name);
        }
        assert_eq!(sections.as_array().unwrap().len(), pe.sections.len(), "{}", tree.name);
        let mut hasher = Sha256::new();
        pe.authenticode_ranges().for_each(|range| hasher.update(range));
        let want: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(fact(outer, "authenticode_sha256"), want, "{}", tree.name);
        let sbat = tree.path("sbat.csv");
        if sbat.is_file() {
            assert_same(&tree.name, &extract(&tree.path("arch/x86/boot/bzImage"), "sbat"), &read(&sbat));
        }
    }
}

#[test]
fn arm_parts_are_the_files_of_the_build() {
    for tree in arm() {
        let path = tree.path("arch/arm/boot/zImage");
        let image = tree.read("arch/arm/boot/Image");
        assert_same(&tree.name, &extract(&path, "vmlinux"), &image);
        assert_same(&tree.name, &extract(&path, "piggy"), &tree.read("arch/arm/boot/compressed/piggy_data"));
        assert_same(&tree.name, &extract(&path, "config"), &tree.read(".config"));
        assert_eq!(number(layer(&info(&path), "file"), "kernel_size"), image.len() as u64, "{}", tree.name);
    }
}

/// Without the table only a scan finds the kernel, and the report says so.
#[test]
fn arm_without_size_table_is_scanned() {
    for tree in arm() {
        let dir = tempdir();
        let path = dir.path().join("zImage");
        let mut image = tree.read("arch/arm/boot/zImage");
        image[0x34..0x3c].fill(0);
        fs::write(&path, &image).unwrap();
        assert_same(&tree.name, &extract(&path, "vmlinux"), &tree.read("arch/arm/boot/Image"));
        assert_eq!(layer(&info(&path), "payload")["found_by"], "scan", "{}", tree.name);
        assert_eq!(layer(&info(&tree.path("arch/arm/boot/zImage")), "payload")["found_by"], "header", "{}", tree.name);
    }
}

#[test]
fn appended_device_trees_come_back() {
    for tree in arm() {
        let folder = fs::read_dir(tree.path("arch/arm/boot/dts")).unwrap();
        let mut dtbs: Vec<_> =
            folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some()).collect();
        dtbs.sort();
        let dir = tempdir();
        let path = dir.path().join("zImage-dtb");
        let all: Vec<u8> = dtbs.iter().flat_map(|path| read(path)).collect();
        fs::write(&path, [tree.read("arch/arm/boot/zImage"), all].concat()).unwrap();
        for (index, dtb) in dtbs.iter().enumerate() {
            assert_same(&tree.name, &extract(&path, &format!("dtb[{index}]")), &read(dtb));
        }
        let output = run_ok(kimage().arg("extract").arg(&path).arg("--all").arg(dir.path().join("parts")));
        assert!(stderr(&output).contains("dtb-0 is ready"), "{}", stderr(&output));
        assert_same(&tree.name, &read(&dir.path().join("parts/dtb-0")), &read(&dtbs[0]));
    }
}

/// A uImage of a zImage of a kernel: all the way in.
#[test]
fn uimage_fields_are_those_of_mkimage() {
    let (Some(mkimage), Some(tree)) = (tool("mkimage", "u-boot-tools"), support::tree("arm")) else { return };
    let dir = tempdir();
    let path = dir.path().join("uImage");
    let zimage = tree.path("arch/arm/boot/zImage");
    let mut command = Command::new(&mkimage);
    command.args(["-A", "arm", "-O", "linux", "-T", "kernel", "-C", "none", "-a", "80008000", "-e", "80008040"]);
    run_ok(command.args(["-n", "my board", "-d"]).arg(&zimage).arg(&path).env("SOURCE_DATE_EPOCH", "1700000000"));
    let said = stdout(&run_ok(Command::new(&mkimage).arg("-l").arg(&path).env("TZ", "UTC")));
    let image = info(&path);
    let outer = layer(&image, "file");
    for (line, text) in [
        ("Image Name:   ", fact(outer, "ih_name").as_str().unwrap().to_owned()),
        ("Load Address: ", format!("{:08x}", number(outer, "ih_load"))),
        ("Entry Point:  ", format!("{:08x}", number(outer, "ih_ep"))),
        ("Data Size:    ", format!("{} Bytes", number(outer, "ih_size"))),
        ("Image Type:   ", outer["title"].as_str().unwrap().strip_prefix("U-Boot uImage: ").unwrap().to_owned()),
    ] {
        assert!(said.contains(&format!("{line}{text}")), "{line}{text}\n{said}");
    }
    assert_eq!(outer["facts"]["ih_time"]["meaning"], "2023-11-14 22:13:20 UTC");
    assert!(said.contains("Tue Nov 14 22:13:20 2023"), "{said}");
    for check in ["ih_hcrc", "ih_dcrc"] {
        assert_eq!(outer["facts"][check]["meaning"], "right");
    }
    assert_same("kernel", &extract(&path, "kernel"), &read(&zimage));
    assert_same("vmlinux", &extract(&path, "vmlinux"), &tree.read("arch/arm/boot/Image"));
    // A vendor's magic number.
    let mut bytes = read(&path);
    bytes[..4].copy_from_slice(&[0x56, 0x19, 0x05, 0x27]);
    fs::write(&path, &bytes).unwrap();
    // Unknown, it is data with a zImage in the middle.
    let unknown: Value = serde_json::from_slice(&run_ok(kimage().args(["info", "--json"]).arg(&path)).stdout).unwrap();
    let layers = &unknown["files"][0]["layers"];
    assert_eq!((&layers[0]["format"], &layers[1]["format"]), (&"data".into(), &"zimage".into()));
    let output = run_ok(kimage().args(["info", "--magic", "56190527", "--field", "ih_load"]).arg(&path));
    assert_eq!(stdout(&output), "0x80008000\n");
}

#[test]
fn multi_uimage_has_its_files() {
    let Some(mkimage) = tool("mkimage", "u-boot-tools") else { return };
    let dir = tempdir();
    let files = [b"first file".to_vec(), vec![7; 1001], b"#!/bin/sh\n".to_vec()];
    let paths: Vec<_> = (0..files.len()).map(|index| dir.path().join(format!("f{index}"))).collect();
    paths.iter().zip(&files).for_each(|(path, file)| fs::write(path, file).unwrap());
    let list = paths.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>().join(":");
    let path = dir.path().join("multi");
    run_ok(Command::new(&mkimage).args(["-A", "arm", "-T", "multi", "-C", "none", "-n", "m", "-d", &list]).arg(&path));
    for (index, file) in files.iter().enumerate() {
        assert_eq!(&extract(&path, &format!("image[{index}]")), file);
    }
}

/// A FIT with its data inside, and one with the data behind the tree, as dumpimage reads them.
#[test]
fn fit_images_are_those_of_dumpimage() {
    let (Some(mkimage), Some(dumpimage)) = (tool("mkimage", "u-boot-tools"), tool("dumpimage", "u-boot-tools")) else {
        return;
    };
    if tool("dtc", "device-tree-compiler").is_none() {
        return;
    }
    let dir = tempdir();
    fs::write(dir.path().join("kernel"), vec![0x11; 5000]).unwrap();
    fs::write(dir.path().join("rd"), vec![0x22; 333]).unwrap();
    fs::write(
        dir.path().join("a.its"),
        r#"/dts-v1/;
/ { description = "two images"; #address-cells = <1>;
  images {
    kernel-1 { description = "the kernel"; data = /incbin/("kernel"); type = "kernel"; arch = "arm"; os = "linux";
      compression = "none"; load = <0x80008000>; entry = <0x80008040>;
      hash-1 { algo = "crc32"; }; hash-2 { algo = "sha1"; }; hash-3 { algo = "sha256"; }; };
    ramdisk-1 { data = /incbin/("rd"); type = "ramdisk"; arch = "arm"; os = "linux"; compression = "none";
      hash-1 { algo = "md5"; }; };
  };
  configurations { default = "conf-1";
    conf-1 { description = "all"; kernel = "kernel-1"; ramdisk = "ramdisk-1"; }; };
};"#,
    )
    .unwrap();
    for external in [false, true] {
        let path = dir.path().join("fit");
        let mut command = Command::new(&mkimage);
        command.current_dir(dir.path()).args(["-f", "a.its"]);
        if external {
            command.arg("-E");
        }
        run_ok(command.arg(&path).env("SOURCE_DATE_EPOCH", "1700000000"));
        let image = info(&path);
        let outer = layer(&image, "file");
        assert_eq!(outer["format"], "fit");
        assert_eq!(fact(outer, "default"), "conf-1");
        assert_eq!(fact(outer, "images")[0]["external"], external);
        for (index, part) in ["kernel", "initramfs"].into_iter().enumerate() {
            let want = dir.path().join("dumped");
            let mut command = Command::new(&dumpimage);
            command.args(["-T", "flat_dt", "-p", &index.to_string(), "-o"]).arg(&want).arg(&path);
            run_ok(&mut command);
            assert_same(part, &extract(&path, part), &read(&want));
            assert_same(part, &extract(&path, &format!("image[{index}]")), &read(&want));
        }
        let said = stdout(&run_ok(Command::new(&dumpimage).arg("-l").arg(&path)));
        let hashes = fact(outer, "hashes");
        for hash in hashes.as_array().unwrap() {
            assert_eq!(hash["check"], "right", "{hash}");
            assert!(said.contains(hash["value"].as_str().unwrap()), "{hash}\n{said}");
        }
        assert_eq!(hashes.as_array().unwrap().len(), 4);
        // A byte of the kernel changed: three hashes are wrong.
        let mut bytes = read(&path);
        let at = memchr::memmem::find(&bytes, &[0x11; 64]).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let image = info(&path);
        let checks = fact(layer(&image, "file"), "hashes");
        assert_eq!(checks.as_array().unwrap().iter().filter(|hash| hash["check"] == "wrong").count(), 3);
    }
}

#[test]
fn device_trees_are_told_by_their_root() {
    for tree in arm() {
        let folder = fs::read_dir(tree.path("arch/arm/boot/dts")).unwrap();
        let Some(fdtget) = tool("fdtget", "device-tree-compiler") else { return };
        for path in folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some()) {
            let want = stdout(&run_ok(Command::new(&fdtget).arg(&path).args(["/", "model"])));
            assert_eq!(fact(layer(&info(&path), "file"), "model"), want.trim_end(), "{}", path.display());
        }
    }
}

#[test]
fn initramfs_is_listed_as_cpio_lists_it() {
    let Some(cpio) = tool("cpio", "cpio") else { return };
    let dir = tempdir();
    fs::create_dir_all(dir.path().join("root/bin")).unwrap();
    fs::write(dir.path().join("root/init"), b"#!/bin/sh\n").unwrap();
    let script = "cd root && find . | LC_ALL=C sort | cpio -o -H newc > ../rd 2>/dev/null; cd ..; gzip -9nk rd; cat rd rd.gz > both";
    run_ok(Command::new("sh").current_dir(dir.path()).args(["-c", script]));
    let listed = stdout(&run_ok(Command::new(cpio).arg("-t").stdin(fs::File::open(dir.path().join("rd")).unwrap())));
    let image = info(&dir.path().join("both"));
    let outer = layer(&image, "file");
    assert_eq!(outer["format"], "cpio");
    assert_eq!(number(outer, "entries"), listed.lines().count() as u64);
    let first = fact(outer, "first_entries");
    assert_eq!(
        first.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(),
        listed.lines().collect::<Vec<_>>()
    );
    // The compressed archive behind it, found without a scan: only zeros are between.
    let inner = image["layers"].as_array().unwrap().iter().filter(|layer| layer["format"] == "cpio").count();
    assert_eq!(inner, 2);
}

#[test]
fn unknown_files_fail_and_say_what_was_looked_for() {
    let dir = tempdir();
    let path = dir.path().join("letter.txt");
    fs::write(&path, b"Dear reader,\n").unwrap();
    let output = run(kimage().arg("info").arg(&path));
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("begins with 44 65 61 72") && said.contains("looked for: x86 bzImage"), "{said}");
    // With others, the document is whole and the status is still 1.
    let good = support::testdata("tiny/vmlinux");
    let output = run(kimage().args(["info", "--json"]).args([&path, &good]));
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    schema::assert_valid(kimage::report::json_schema("info").unwrap(), &report);
    assert!(report["files"][0]["error"].is_string());
    assert_eq!(report["files"][1]["layers"][0]["format"], "elf");
    assert_eq!(run(kimage().arg("extract").arg(&path)).status.code(), Some(1));
}

/// A field of the outermost header costs no decompression, and a missing part names those that are there.
#[test]
fn fields_and_parts_by_name() {
    let Some(tree) = support::tree("6.1-x86_64") else { return };
    let path = tree.path("arch/x86/boot/bzImage");
    let field = |name: &str| stdout(&run_ok(kimage().args(["info", "--field", name]).arg(&path)));
    assert_eq!(field("protocol"), "2.15\n");
    assert_eq!(field("boot_flag"), "0xaa55\n");
    assert_eq!(field("vmlinux.build_id"), field("build_id"));
    assert_eq!(field("payload.decompressed_size"), field("decompressed_size"));
    let output = run(kimage().args(["info", "--field", "colour"]).arg(&path));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there are: "), "{}", stderr(&output));
    let output = run(kimage().arg("extract").arg(&path).arg("dtb"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("it has: setup, "), "{}", stderr(&output));
}

/// What comes out of a damaged stream is no part: none is written, the others are, and the status is 1. The stream itself is
/// there to be looked at.
#[test]
fn no_part_comes_out_of_a_damaged_stream() {
    let dir = tempdir();
    let (whole, flat) = (dir.path().join("kernel.gz"), dir.path().join("kernel"));
    // A flat kernel, which nothing but its stream can tell to be damaged.
    fs::write(&flat, [files::image64(b"ARM\x64"), vec![0x5a; 100_000]].concat()).unwrap();
    run_ok(Command::new("gzip").arg("-k").arg(&flat));
    let bytes = read(&whole);
    let wrong_crc = [&bytes[..bytes.len() - 8], &[!bytes[bytes.len() - 8]], &bytes[bytes.len() - 7..]].concat();
    run_ok(kimage().arg("extract").arg(&whole).arg("vmlinux").arg("-o").arg(dir.path().join("good")));
    assert_same("the kernel", &read(&dir.path().join("good")), &read(&flat));
    for (what, bytes) in [("crc", &wrong_crc[..]), ("cut", &bytes[..bytes.len() - 20])] {
        let (path, part) = (dir.path().join(what), dir.path().join("part"));
        fs::write(&path, bytes).unwrap();
        for symbols in [&[][..], &["--symbols"]] {
            let output = run(kimage().arg("extract").arg(&path).arg("vmlinux").args(symbols).arg("-o").arg(&part));
            assert_eq!((output.status.code(), part.exists()), (Some(1), false), "{what}: {}", stderr(&output));
            assert!(stderr(&output).contains("damaged"), "{what}: {}", stderr(&output));
        }
        let output = run(kimage().arg("system-map").arg(&path).arg("-o").arg(&part));
        assert_eq!((output.status.code(), part.exists()), (Some(1), false), "{what}: {}", stderr(&output));
        assert!(stderr(&output).contains("damaged"), "{what}: {}", stderr(&output));
        let folder = dir.path().join(format!("{what}-parts"));
        let output = run(kimage().arg("extract").arg(&path).arg("--all").arg(&folder));
        assert_eq!(output.status.code(), Some(1), "{what}: {}", stderr(&output));
        assert_same("the stream", &read(&folder.join("payload")), bytes);
        assert!(!folder.join("vmlinux").exists(), "{what}");
    }
}

/// `--all` writes under its own names, through no link, and nowhere else.
#[test]
fn all_parts_stay_in_their_folder() {
    let Some(tree) = support::tree("arm") else { return };
    let dir = tempdir();
    let parts = dir.path().join("parts");
    fs::create_dir(&parts).unwrap();
    let outside = dir.path().join("outside");
    fs::write(&outside, b"untouched").unwrap();
    std::os::unix::fs::symlink(&outside, parts.join("config")).unwrap();
    let output = run(kimage().arg("extract").arg(tree.path("arch/arm/boot/zImage")).arg("--all").arg(&parts));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is in the way"), "{}", stderr(&output));
    assert_eq!(read(&outside), b"untouched");
}

/// Every protocol version: the fields it has, and no others. Before 2.08 no header leads to the payload; a zImage is told
/// from a bzImage by where it is loaded.
#[test]
fn every_protocol_version() {
    // Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header": fields that each version brought.
    let news: [(u16, &[&str]); 13] = [
        (
            0x200,
            &[
                "jump",
                "header",
                "version",
                "realmode_swtch",
                "start_sys_seg",
                "kernel_version",
                "type_of_loader",
                "loadflags",
                "setup_move_size",
                "code32_start",
                "ramdisk_image",
                "ramdisk_size",
                "bootsect_kludge",
            ],
        ),
        (0x201, &["heap_end_ptr"]),
        (0x202, &["cmd_line_ptr", "ext_loader_ver", "ext_loader_type"]),
        (0x203, &["initrd_addr_max"]),
        (0x205, &["kernel_alignment", "relocatable_kernel"]),
        (0x206, &["cmdline_size"]),
        (0x207, &["hardware_subarch", "hardware_subarch_data"]),
        (0x208, &["payload_offset", "payload_length"]),
        (0x209, &["setup_data"]),
        (0x20a, &["min_alignment", "pref_address", "init_size"]),
        (0x20b, &["handover_offset"]),
        (0x20c, &["xloadflags"]),
        (0x20f, &["kernel_info_offset"]),
    ];
    let Some(tree) = support::tree("6.1-x86_64") else { return };
    let dir = tempdir();
    let path = dir.path().join("image");
    let bytes = tree.read("arch/x86/boot/bzImage");
    let kernel = tree.read("arch/x86/boot/compressed/vmlinux.bin");
    for version in 0x200..=0x20f_u16 {
        let mut image = bytes.clone();
        image[0x206..0x208].copy_from_slice(&version.to_le_bytes());
        let low = version < 0x202;
        if low {
            image[0x211] &= !1;
        }
        fs::write(&path, &image).unwrap();
        let report = info(&path);
        let outer = layer(&report, "file");
        let name = if low { "x86 zImage" } else { "x86 bzImage" };
        assert_eq!(outer["title"], format!("{name}, boot protocol 2.{:02}", version & 0xff));
        for (since, fields) in news {
            for field in fields {
                assert_eq!(fact(outer, field).is_null(), since > version, "{field} in {version:#x}");
            }
        }
        let found_by = if version < 0x208 { "scan" } else { "header" };
        // Before 2.04 syssize has 16 bits: this image is larger, and cut off there.
        if version >= 0x204 {
            assert_eq!(layer(&report, "payload")["found_by"], found_by, "{version:#x}");
            assert_same(&tree.name, &extract(&path, "vmlinux"), &kernel);
        }
    }
}

/// The RAM disk of a container comes before the one that is built into its kernel.
#[test]
fn android_images_are_those_of_mkbootimg() {
    let (Some(mkbootimg), Some(tree)) = (tool("mkbootimg", "mkbootimg"), support::tree("arm")) else { return };
    let dir = tempdir();
    let (path, ramdisk) = (dir.path().join("boot.img"), dir.path().join("rd"));
    fs::write(&ramdisk, vec![0x5a; 12345]).unwrap();
    let kernel = tree.path("arch/arm/boot/zImage");
    for version in ["0", "1", "2", "3"] {
        let mut command = Command::new(&mkbootimg);
        command.args(["--header_version", version, "--cmdline", "console=ttyAMA0 quiet", "--kernel"]).arg(&kernel);
        if version == "2" {
            command.arg("--dtb").arg(&ramdisk);
        }
        run_ok(command.arg("--ramdisk").arg(&ramdisk).arg("-o").arg(&path));
        assert_same(version, &extract(&path, "kernel"), &read(&kernel));
        assert_same(version, &extract(&path, "initramfs"), &read(&ramdisk));
        assert_eq!(extract(&path, "cmdline"), b"console=ttyAMA0 quiet");
        assert_eq!(layer(&info(&path), "file")["title"], format!("Android boot image, header version {version}"));
        // mkbootimg's own digest of the sections; from version 3 on there is none.
        let verdict = || stdout(&run_ok(kimage().arg("verify").arg(&path)));
        assert!(!verdict().contains("[android.id]"), "{version}: {}", verdict());
        let mut damaged = read(&path);
        damaged[576] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_eq!(verdict().contains("[android.id]"), ["0", "1", "2"].contains(&version), "{version}: {}", verdict());
    }
    let mut command = Command::new(&mkbootimg);
    command
        .args(["--header_version", "3", "--vendor_cmdline", "quiet", "--pagesize", "4096", "--vendor_boot"])
        .arg(&path);
    let dtb = dir.path().join("dtb");
    fs::write(&dtb, files::dtb()).unwrap();
    run_ok(command.arg("--vendor_ramdisk").arg(&ramdisk).arg("--dtb").arg(&dtb));
    assert_same("vendor ramdisk", &extract(&path, "initramfs"), &read(&ramdisk));
    assert_same("vendor dtb", &extract(&path, "dtb"), &files::dtb());
    assert_eq!(extract(&path, "cmdline"), b"quiet");
    assert_eq!(layer(&info(&path), "file")["title"], "Android vendor boot image, header version 3");
}

/// systemd's own stub, with sections added as the UKI specification has it.
#[test]
fn ukis_give_back_what_objcopy_put_in() {
    let stub = Path::new("/usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    if !stub.is_file() {
        support::missing("no linuxx64.efi.stub (apt-get install systemd-boot-efi)");
        return;
    }
    let (Some(objcopy), Some(tree)) = (tool("objcopy", "binutils"), support::tree("6.1-x86_64")) else { return };
    let dir = tempdir();
    let kernel = tree.path("arch/x86/boot/bzImage");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let initrd = file("initrd", &[0x5a; 12345]);
    let sections = [
        (".osrel", file("osrel", b"ID=test\n"), "0x20000"),
        (".cmdline", file("cmdline", b"console=ttyS0 quiet"), "0x30000"),
        (".uname", file("uname", b"6.1.0"), "0x40000"),
        (".linux", kernel.clone(), "0x2000000"),
        (".initrd", initrd.clone(), "0x3000000"),
    ];
    let path = dir.path().join("uki.efi");
    let mut command = Command::new(objcopy);
    for (name, contents, address) in &sections {
        command.arg("--add-section").arg(format!("{name}={}", contents.display()));
        command.arg("--change-section-vma").arg(format!("{name}={address}"));
    }
    run_ok(command.arg(stub).arg(&path));
    let parts = [("osrel", 0), ("cmdline", 1), ("uname", 2), ("kernel", 3), ("initramfs", 4)];
    for (part, index) in parts {
        assert_same(part, &extract(&path, part), &read(&sections[index].1));
    }
    assert_eq!(layer(&info(&path), "file")["format"], "uki");
    assert_same("vmlinux", &extract(&path, "vmlinux"), &tree.read("arch/x86/boot/compressed/vmlinux.bin"));
}
