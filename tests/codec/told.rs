//! What the library tells of streams: codec, the parameters that they were made with, the kernel's size trailer.

use kimage::codec::{Bcj, Codec, Literal, Parameters, size_trailer};

fn again(codec: Codec, parameters: &Parameters) -> Parameters {
    let mut out = Vec::new();
    // Enough for the window to matter, little enough to be quick.
    let data: Vec<u8> = (0..200_000_u32).flat_map(|n| (n % 977).to_le_bytes()).collect();
    codec.compress(&data, parameters, &mut out).unwrap();
    kimage::internals::parameters_of(codec, &out).unwrap()
}

#[test]
fn what_was_asked_for_is_found_again() {
    let literal = Literal { lc: Some(1), lp: Some(2), pb: Some(3) };
    let asked = Parameters { dictionary: Some(3 << 20), literal, ..Parameters::default() };
    assert_eq!(again(Codec::Lzma, &asked), asked);
    for bcj in [Bcj::None, Bcj::X86, Bcj::Arm, Bcj::ArmThumb, Bcj::Arm64, Bcj::PowerPc, Bcj::RiscV, Bcj::Sparc] {
        let asked = Parameters { bcj: Some(bcj), ..asked.clone() };
        assert_eq!(again(Codec::Xz, &asked), asked, "{bcj:?}");
    }
    let asked = Parameters { bcj: Some(Bcj::X86), split: true, threads: 2, ..asked };
    assert_eq!(again(Codec::Xz, &asked).dictionary, Some(3 << 20));
    for level in 1..=9 {
        let asked = Parameters { level: Some(level), ..Parameters::default() };
        assert_eq!(again(Codec::Bzip2, &asked), asked);
    }
    let asked = Parameters { dictionary: Some(1 << 20), ..Parameters::default() };
    let quick = Parameters { level: Some(3), ..asked.clone() };
    assert_eq!(again(Codec::Zstd, &quick), asked);
}

#[test]
fn damaged_headers_say_where() {
    for (codec, bytes, words) in [
        (Codec::Lzma, &b"\xff\0\0\x01\0"[..], "properties at offset 0x0"),
        (Codec::Lzma, b"\x5d\0", "dictionary size at offset 0x1"),
        (Codec::Bzip2, b"BZh", "block size at offset 0x3"),
        (Codec::Xz, b"\xfd7zXZ\0\0\x01....\x02\x00\x55\0", "filter id at offset 0xe"),
        (Codec::Xz, b"\xfd7zXZ\0\0\x01....\x02\x00\x21\x01", "dictionary size at offset 0x10"),
        (
            Codec::Xz,
            b"\xfd7zXZ\0\0\x01....\x02\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "block size at offset 0xe",
        ),
        (Codec::Zstd, b"\x28\xb5\x2f\xfd\x04", "Window_Descriptor at offset 0x5"),
    ] {
        let error = kimage::internals::parameters_of(codec, bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{codec:?}: {error}");
    }
}

#[test]
fn magics() {
    assert_eq!(Codec::detect(&[0x1f, 0x8b, 8, 0]), Some(Codec::Gzip));
    assert_eq!(Codec::detect(b"BZh91AY"), Some(Codec::Bzip2));
    assert_eq!(Codec::detect(b"BZhello"), None);
    assert_eq!(Codec::detect(&[0x02, 0x21, 0x4c, 0x18]), Some(Codec::Lz4Legacy));
    let lzma = [0x5d, 0, 0, 0, 4, 255, 255, 255, 255, 255, 255, 255, 255, 0];
    assert_eq!(Codec::detect(&lzma), Some(Codec::Lzma));
    // OpenWrt's lc=1, lp=2, pb=2.
    let openwrt = [0x6d, 0, 0, 0x80, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0];
    assert_eq!(Codec::detect(&openwrt), Some(Codec::Lzma));
    assert_eq!(Codec::detect(b"]hello, a text file"), None);
    assert_eq!(Codec::detect(b""), None);
}

#[test]
fn what_is_written_is_detected() {
    for codec in Codec::ALL {
        let mut packed = Vec::new();
        let level = Some(if codec == Codec::Lzo { 9 } else { 1 });
        codec.compress(b"some data", &Parameters { level, ..Parameters::default() }, &mut packed).unwrap();
        assert_eq!(Codec::detect(&packed), Some(codec));
        assert!(packed.starts_with(codec.magic()));
    }
}

#[test]
fn the_trailer_has_32_bits() {
    assert_eq!(size_trailer(0x0102_0304).unwrap(), [4, 3, 2, 1]);
    assert!(size_trailer(1 << 32).is_err());
}

#[test]
fn the_machine_chooses_the_converter() {
    let elf = |data: u8, machine: [u8; 2]| {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, data, 1];
        bytes.resize(18, 0);
        bytes.extend(machine);
        kimage::internals::converter_of(&bytes)
    };
    assert_eq!(elf(1, [62, 0]), Bcj::X86);
    assert_eq!(elf(2, [0, 20]), Bcj::PowerPc);
    assert_eq!(elf(1, [21, 0]), Bcj::None);
    assert_eq!(elf(1, [243, 0]), Bcj::RiscV);
    assert_eq!(kimage::internals::converter_of(b"\x7fELF\x02\x01"), Bcj::None);
    assert_eq!(kimage::internals::converter_of(b"MZ"), Bcj::None);
}
