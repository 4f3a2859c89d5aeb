//! What `kimage compress` and `kimage decompress` say.

use super::*;

#[test]
fn the_command_says_what_is_out_of_range() {
    let dir = tempdir();
    let input = dir.path().join("data");
    fs::write(&input, b"some data").unwrap();
    let cases: [(&[&str], &str, &str); 9] = [
        (&["gzip", "--level", "10"], "--level 10 for gzip: allowed are 1 to 9", "change --level"),
        (&["lzma", "--dict-size", "1KiB"], "--dict-size 1024 for lzma: allowed are 4 KiB to 1536 MiB", "--dict-size"),
        (&["xz", "--dict-size", "8GiB"], "allowed are 4 KiB to 1536 MiB", "change --dict-size"),
        (&["zstd", "--dict-size", "3MiB"], "the powers of two from 1 KiB to 128 MiB", "change --dict-size"),
        (&["xz", "--lc", "3", "--lp", "2"], "--lp 2 for xz: allowed are 0 to 4 minus --lc", "change --lp"),
        (&["lzo", "--level", "1"], "--level 1 for lzo: allowed are only 9", "leave it out"),
        (&["bzip2", "--split"], "--split means nothing to bzip2", "it is for xz and zstd"),
        (&["zstd", "--best"], "--best means nothing to zstd", "it is for gzip"),
        (&["gzip", "--bcj", "arm"], "--bcj means nothing to gzip", "leave out --bcj"),
    ];
    for (args, error, help) in cases {
        let output = run(kimage().arg("compress").args(args).arg(&input));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty());
        assert!(said.contains(error) && said.contains(help), "{args:?}: {said}");
    }
}

#[test]
fn the_command_reports_what_follows_the_stream() {
    let dir = tempdir();
    let file = dir.path().join("packed");
    let data = synthetic(5000);
    let say = |packed: &[u8]| {
        fs::write(&file, packed).unwrap();
        let output = run_ok(kimage().arg("decompress").arg(&file));
        assert_eq!(output.stdout, data);
        stderr(&output)
    };
    for codec in Codec::ALL {
        let level = (codec != Codec::Lzo).then_some(1);
        let mut packed = pack(codec, &data, &Parameters { level, ..Parameters::default() });
        assert_eq!(say(&packed), "", "{}", codec.name());
        let end = packed.len();
        packed.extend(5000_u32.to_le_bytes());
        let want = format!("note: the 4 bytes at offset {end:#x} are the kernel's size trailer: 5000\n");
        assert_eq!(say(&packed), want);
        packed.splice(end.., *b"\xff\xff\xff\xffjunk!");
        let want =
            format!("9 bytes follow the {} stream, at offset {end:#x}: ff ff ff ff 6a 75 6e 6b ...", codec.name());
        assert!(say(&packed).contains(&want), "{}", say(&packed));
    }
    fs::write(&file, b"no stream at all").unwrap();
    let output = run(kimage().arg("decompress").arg(&file));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("found 6e 6f 20 73 74 72 65 61 at offset 0x0"), "{}", stderr(&output));
}

#[test]
fn split_prints_its_cost_and_best_excludes_level() {
    let dir = tempdir();
    let (input, output) = (dir.path().join("data"), dir.path().join("out"));
    fs::write(&input, synthetic(100_000)).unwrap();
    let mut command = kimage();
    command.args(["compress", "xz", "--split", "--split-cost", "-o"]).arg(&output).arg(&input);
    let said = stderr(&run_ok(&mut command));
    assert!(said.contains("1 piece: +") && said.contains("against one piece"), "{said}");
    assert!(said.ends_with("is ready\n"), "{said}");
    let said = |len| {
        fs::write(&input, vec![0; len]).unwrap();
        stderr(&run_ok(kimage().args(["compress", "zstd", "-l", "1", "--split", "-o"]).arg(&output).arg(&input)))
    };
    assert!(said(1000).starts_with("1 piece: data of up to 16 MiB is not split\n"));
    assert!(
        said(40 << 20)
            .starts_with("3 pieces of 16 MiB: whole x86-64 kernels grew by 0.07 to 0.17 percent; --split-cost")
    );
    let both = run(kimage().args(["compress", "gzip", "--best", "--level", "9"]).arg(&input));
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn the_release_is_found_in_every_codec() {
    let Some(tree) = tree("arm-gzip") else { return };
    let image = tree.read("arch/arm/boot/Image");
    let dir = tempdir();
    let input = dir.path().join("Image.packed");
    for codec in Codec::ALL {
        // U-Boot has no number for xz and reads the modern LZ4 frame only: warnings, and the name all the same.
        let level = (codec != Codec::Lzo).then_some(1);
        fs::write(&input, pack(codec, &image, &Parameters { level, threads: 2, ..Parameters::default() })).unwrap();
        let mut command = kimage();
        command.args(["uimage", "-A", "arm", "-a", "8000", "-o"]).arg(dir.path().join("uImage")).arg(&input);
        let said = stderr(&run_ok(&mut command));
        assert!(said.contains("name Linux-6.1."), "{}: {said}", codec.name());
    }
}

#[test]
fn lzop_kernels_reproduce_and_the_terminal_is_spared() {
    let data = synthetic(600_000);
    let once = pack(Codec::Lzo, &data, &with_threads(1));
    assert_eq!(once, pack(Codec::Lzo, &data, &with_threads(3)));
    // The time in the header, both words of it.
    assert_eq!(once[25..33], [0; 8]);
    let Some(script) = tool("script", "bsdutils") else { return };
    let dir = tempdir();
    let input = dir.path().join("data");
    fs::write(&input, &data).unwrap();
    let line = format!("{} compress gzip {}", support::kimage_path(), input.display());
    let output = run(Command::new(script).args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()));
    assert!(support::stdout(&output).contains("standard output is a terminal"), "{}", support::stdout(&output));
}
