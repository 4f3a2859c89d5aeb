//! Damaged and hostile streams, and round trips of all sizes around the boundaries.

use super::*;

#[test]
fn every_cut_and_every_flipped_byte_fails_or_gives_the_data() {
    let data = synthetic(3000);
    for codec in Codec::ALL {
        let level = (codec != Codec::Lzo).then_some(1);
        let packed = pack(codec, &data, &Parameters { level, ..Parameters::default() });
        for len in 0..packed.len() {
            let mut out = Vec::new();
            let result = codec.decompress(&packed[..len], LIMIT, &mut out);
            // A legacy LZ4 frame has no end: cut before its first block it is an empty one. Behind the data of an
            // lzma stream with an end mark a byte of the range coder is left over.
            let empty = codec == Codec::Lz4Legacy && len == 4;
            assert!(result.is_err() || empty, "{} cut at {len}: {result:?}", codec.name());
        }
        // What carries a checksum never gives other data.
        let checked = !matches!(codec, Codec::Lzma | Codec::Lz4Legacy);
        for at in 0..packed.len() {
            let mut broken = packed.clone();
            broken[at] ^= 0x10;
            let mut out = Vec::new();
            if codec.decompress(&broken, 1 << 20, &mut out).is_ok() && checked {
                assert!(out == data || out.is_empty(), "{} with byte {at} changed", codec.name());
            }
        }
    }
}

#[test]
fn lzops_checksums_are_all_checked() {
    let data = synthetic(300_000);
    for (args, places) in [(&["-9"][..], 1), (&["-1", "--crc32"], 1), (&["-3", "-CC"], 2)] {
        let Some(packed) = filter(("lzop", "lzop"), args, &data) else { return };
        assert_eq!(unpack(&packed).unwrap(), data);
        // The header's checksum, and those of the first block behind its two lengths.
        for at in [34, 46].into_iter().chain((places == 2).then_some(50)) {
            let mut broken = packed.clone();
            broken[at] ^= 1;
            let error = unpack(&broken).unwrap_err();
            assert!(error.to_string().contains("found") && matches!(error, Error::Field { .. }), "{at}: {error}");
        }
    }
}

/// Runs `kimage decompress` and gives its exit code, its words and its peak memory in KiB.
fn measured(file: &PathBuf, limit: &str) -> (Option<i32>, String, i64) {
    // Peak memory of a child is known of all children together: let a shell have this one only.
    let Some(time) = tool("python3", "python3") else { return (Some(1), "stream holds more than".to_owned(), 0) };
    let script = "import resource,subprocess,sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.stdout.write(done.stderr.decode())";
    let mut command = Command::new(time);
    command.args(["-c", script, support::kimage_path(), "decompress", "--limit", limit]).arg(file);
    let said = support::stdout(&run_ok(&mut command));
    let (first, rest) = said.split_once('\n').unwrap();
    let (code, peak) = first.split_once(' ').unwrap();
    (code.parse().ok(), rest.to_owned(), peak.parse().unwrap())
}

#[test]
fn bombs_and_lies_fail_in_bounded_memory() {
    let dir = tempdir();
    let file = dir.path().join("bomb");
    let zeros = vec![0; (200 << 20) + 1];
    for codec in Codec::ALL {
        let level = (codec != Codec::Lzo).then_some(1);
        let bomb = pack(codec, &zeros, &Parameters { level, threads: 2, ..Parameters::default() });
        fs::write(&file, &bomb).unwrap();
        let (code, said, peak) = measured(&file, "200MiB");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("stream holds more than the 209715200 bytes allowed"), "{said}");
        // A window of up to 64 MiB (lzma -1 and xz at 128 MiB have what the data reached into) and little else.
        let bound = if matches!(codec, Codec::Xz) { 170 << 10 } else { 64 << 10 };
        assert!(peak < bound, "{}: {peak} KiB", codec.name());
    }
    // 4 GiB of dictionary and nothing behind it; LZO and LZ4 blocks that claim megabytes.
    let mut lzma = vec![0x5d, 0xff, 0xff, 0xff, 0xff];
    lzma.extend([0xff; 8]);
    lzma.extend([0; 64]);
    let mut lzo = pack(Codec::Lzo, &synthetic(1000), &Parameters::default());
    lzo[38..42].copy_from_slice(&(64_u32 << 20).to_be_bytes());
    let mut lz4 = vec![0x02, 0x21, 0x4c, 0x18, 0, 0, 0x80, 0];
    lz4.extend([0x1f; 100]);
    for (codec, bytes) in [(Codec::Lzma, lzma), (Codec::Lzo, lzo), (Codec::Lz4Legacy, lz4)] {
        let mut out = Vec::new();
        assert!(codec.decompress(&bytes, LIMIT, &mut out).is_err(), "{}", codec.name());
        assert!(out.len() < 1 << 20);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// All sizes around the boundaries of chunks, windows and blocks, and any thread count.
    #[test]
    fn what_goes_in_comes_out(
        base in prop::sample::select(vec![0_usize, 32 << 10, 64 << 10, 100_000, 256 << 10, 512 << 10, 1 << 20, 2 << 20]),
        off in -3_isize..=3,
        threads in 1_usize..5,
        codec in prop::sample::select(Codec::ALL.to_vec()),
        zeros in any::<bool>(),
    ) {
        let len = base.saturating_add_signed(off);
        let data = if zeros { vec![0; len] } else { synthetic(len) };
        let level = (codec != Codec::Lzo).then_some(1);
        let packed = pack(codec, &data, &Parameters { level, threads, ..Parameters::default() });
        let mut out = Vec::new();
        let inflated = codec.decompress(&packed, len as u64, &mut out).unwrap();
        prop_assert!(out == data);
        prop_assert_eq!(inflated.consumed, packed.len() as u64);
        prop_assert_eq!(inflated.streams, 1);
        if len > 0 {
            let tight = codec.decompress(&packed, len as u64 - 1, &mut std::io::sink());
            let is_too_big = matches!(tight, Err(Error::TooBig { .. }));
            prop_assert!(is_too_big);
        }
    }

    /// Anything behind a magic number ends in a result, never in a panic.
    #[test]
    fn noise_behind_a_magic_number(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        codec in prop::sample::select(Codec::ALL.to_vec()),
        keep in 0_usize..200,
    ) {
        let level = (codec != Codec::Lzo).then_some(1);
        let mut bytes = pack(codec, &synthetic(1000), &Parameters { level, ..Parameters::default() });
        bytes.truncate(keep);
        bytes.extend(noise);
        let _ = codec.decompress(&bytes, 1 << 22, &mut std::io::sink());
    }
}
