//! Skippable frames of zstd and LZ4: what their own commands pass over, kimage passes over.

use super::*;
use kimage::codec::Inflated;

/// A skippable frame of kind 0 to 15 around `data`.
fn skippable(kind: u8, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap().to_le_bytes();
    [&[0x50 | kind, 0x2a, 0x4d, 0x18], &len, data].concat()
}

fn frame(codec: Codec, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec.compress(data, &Parameters { level: Some(3), ..Parameters::default() }, &mut out).unwrap();
    out
}

fn unpacked(bytes: &[u8]) -> Result<(Vec<u8>, Inflated), Error> {
    let mut out = Vec::new();
    let inflated = Codec::identify(bytes)?.decompress(bytes, u64::MAX, &mut out)?;
    Ok((out, inflated))
}

const CODECS: [(Codec, &str); 2] = [(Codec::Zstd, "zstd"), (Codec::Lz4Frame, "lz4")];

#[test]
fn frames_are_passed_over_as_the_commands_do() {
    let dir = tempdir();
    for (codec, command) in CODECS {
        let (one, two) = (frame(codec, b"some data, "), frame(codec, b"and more of it"));
        let skip = [skippable(0, b"who knows"), skippable(15, b""), skippable(7, &[0xfd; 70_000])];
        for (pieces, data) in [
            (vec![&skip[0], &one], "some data, "),
            (vec![&skip[0], &skip[1], &skip[2], &one, &two], "some data, and more of it"),
            (vec![&one, &skip[2], &two], "some data, and more of it"),
            (vec![&one, &skip[0], &skip[1], &two, &skip[2], &skip[1]], "some data, and more of it"),
        ] {
            let packed: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            let (out, inflated) = unpacked(&packed).unwrap();
            assert_same(command, &out, data.as_bytes());
            assert_eq!(inflated.consumed, packed.len() as u64);
            assert_eq!(inflated.streams, if data.len() > 12 { 2 } else { 1 });
            let file = dir.path().join("packed");
            fs::write(&file, &packed).unwrap();
            if let Some(tool) = tool(command, command) {
                assert_same(
                    command,
                    &run_ok(Command::new(tool).args(["-q", "-dc"]).arg(&file)).stdout,
                    data.as_bytes(),
                );
            }
            let output = run_ok(kimage().arg("decompress").arg(&file));
            assert_same(command, &output.stdout, data.as_bytes());
            assert_eq!(stderr(&output), "");
        }
        // The first stream alone, and its parameters.
        let packed = [&skip[0][..], &one, &two].concat();
        let mut out = Vec::new();
        let inflated = kimage::internals::decompress_one(codec, &packed, u64::MAX, &mut out).unwrap();
        assert_eq!((out.as_slice(), inflated.consumed), (&b"some data, "[..], (skip[0].len() + one.len()) as u64));
        assert_eq!(
            kimage::internals::parameters_of(codec, &packed).unwrap(),
            kimage::internals::parameters_of(codec, &one).unwrap()
        );
        // The kernel's size trailer is still seen behind them.
        let packed = [&one[..], &skip[0], &11_u32.to_le_bytes()].concat();
        fs::write(dir.path().join("packed"), &packed).unwrap();
        let output = run_ok(kimage().arg("decompress").arg(dir.path().join("packed")));
        assert!(stderr(&output).contains("the kernel's size trailer: 11"), "{}", stderr(&output));
    }
}

#[test]
fn pzstd_puts_one_in_front() {
    let Some(pzstd) = tool("pzstd", "zstd") else { return };
    let dir = tempdir();
    let data: Vec<u8> = (0..3_000_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
    fs::write(dir.path().join("data"), &data).unwrap();
    run_ok(Command::new(pzstd).current_dir(dir.path()).args(["-q", "-p", "2", "data", "-o", "packed"]));
    let packed = support::read(&dir.path().join("packed"));
    assert!((0x50..0x60).contains(&packed[0]));
    assert_same("pzstd", &unpacked(&packed).unwrap().0, &data);
}

#[test]
fn frames_that_are_cut_or_alone_are_no_streams() {
    let skip = skippable(3, b"twelve bytes");
    for (codec, _) in CODECS {
        let one = frame(codec, b"data");
        // Behind the stream: not whole, so not a part of it.
        for len in 1..skip.len() {
            let (out, inflated) = unpacked(&[&one[..], &skip[..len]].concat()).unwrap();
            assert_eq!((out.as_slice(), inflated.consumed), (&b"data"[..], one.len() as u64));
        }
        // An error behind one tells where it is in the file.
        let mut packed = [&skip[..], &one].concat();
        let cut = packed.len() - 3;
        packed.truncate(cut);
        match unpacked(&packed) {
            Err(Error::Truncated { at, .. }) => assert!(at.0 > skip.len() as u64 && at.0 <= cut as u64, "{at}"),
            other => panic!("{other:?}"),
        }
    }
    // Alone, or in front of another codec's stream: nobody can tell.
    let gzip = frame(Codec::Gzip, b"data");
    for bytes in [skip.clone(), skip.repeat(1000), [&skip[..], &gzip].concat(), skip[..9].to_vec()] {
        assert!(matches!(unpacked(&bytes), Err(Error::Unknown { .. })));
    }
    let dir = tempdir();
    fs::write(dir.path().join("skip"), &skip).unwrap();
    let output = run(kimage().arg("decompress").arg(dir.path().join("skip")));
    assert!(stderr(&output).contains("53 2a 4d 18"), "{}", stderr(&output));
}
