//! Small kernels of our own.

pub(crate) use crate::support::noise;
use kimage::codec::{Codec, Parameters};

/// The text that every Linux kernel has, as its compiler puts it: a text of its own with a line end.
pub(crate) const BANNER: &[u8] = b"Linux version 6.6.1 (u@h) (gcc 12) #1 SMP Mon Jan 1 00:00:00 UTC 2024\n\0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn word(self, value: u32) -> [u8; 4] {
        if self == Order::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub(crate) fn put(self, bytes: &mut [u8], at: usize, value: u32) {
        bytes[at..at + 4].copy_from_slice(&self.word(value));
    }
}

/// A flat kernel: something like code, the banner between NULs, something like data.
pub(crate) fn flat_kernel(len: usize) -> Vec<u8> {
    let mut kernel = [&noise(len / 4 - 1, 1)[..], &[0], BANNER].concat();
    let half = (kernel.len() + len) / 2;
    kernel.resize(half, 0);
    kernel.extend(noise(len - half, 2));
    kernel
}

pub(crate) fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec.compress(bytes, &Parameters::default(), &mut out).unwrap();
    out
}

/// A compressed kernel as kbuild links it in: all but gzip have the size behind them.
pub(crate) fn piggy(codec: Codec, kernel: &[u8]) -> Vec<u8> {
    let mut out = packed(codec, kernel);
    if codec != Codec::Gzip {
        out.extend(u32::try_from(kernel.len()).unwrap().to_le_bytes());
    }
    out
}

/// An ARM zImage: header, code that is none, `piggy`, and the table of `words` (empty for none) behind it.
pub(crate) fn zimage(order: Order, piggy: &[u8], table: &[u32]) -> Vec<u8> {
    let mut image = Vec::new();
    for _ in 0..8 {
        image.extend(order.word(0xe1a0_0000));
    }
    for value in [0xea00_0010, 0x016f_2818, 0, 0, 0x0403_0201, 0, 0] {
        image.extend(order.word(value));
    }
    for index in 0..200 {
        image.extend(order.word(0xe1a0_7001 + index));
    }
    image.extend_from_slice(piggy);
    let size_word = u32::try_from(image.len()).unwrap() - 4;
    image.resize(image.len().next_multiple_of(4), 0);
    if let [words, rest @ ..] = table {
        order.put(&mut image, 0x34, 0x4545_4545);
        let at = u32::try_from(image.len()).unwrap();
        order.put(&mut image, 0x38, at);
        for value in [*words, 0x5a53_4c4b, size_word].iter().chain(rest) {
            image.extend(order.word(*value));
        }
    }
    image.resize(image.len().next_multiple_of(8), 0);
    let len = u32::try_from(image.len()).unwrap();
    order.put(&mut image, 0x2c, len);
    image
}

/// A U-Boot legacy image of a kernel; `comp` is the header's number (`IH_COMP_LZMA` is 3).
pub(crate) fn uimage(data: &[u8], comp: u8) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    let mut image = vec![0; 64];
    image[..4].copy_from_slice(&0x2705_1956_u32.to_be_bytes());
    image[12..16].copy_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
    image[16..20].copy_from_slice(&0x8000_0000_u32.to_be_bytes());
    image[20..24].copy_from_slice(&0x8000_0000_u32.to_be_bytes());
    image[24..28].copy_from_slice(&crc(data));
    // Linux, MIPS, kernel.
    image[28..32].copy_from_slice(&[5, 5, 2, comp]);
    let header = crc(&image);
    image[4..8].copy_from_slice(&header);
    image.extend_from_slice(data);
    image
}

/// An S/390 bzImage: the channel commands that read it, the parameters at 0x10400, code that is none, and `rest`.
pub(crate) fn s390(rest: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 0x1_1000];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\0\x08\0\0\x80\0\x02\0\x02\0\0\x18\x60\0\0\x50\x02\0\0\x68\x60\0\0\x50");
    put(0x1_0008, b"S390EP\0\x01");
    put(0x1_0428, &0x1_0800_u64.to_be_bytes());
    put(0x1_0480, b"root=/dev/ram0 ro\0");
    put(0x1_0800, b"6.6.1 (u@h) #1 SMP\0");
    image.extend(noise(5000, 12));
    image.extend_from_slice(rest);
    image
}
