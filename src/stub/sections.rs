//! The sections of a unified kernel image as its boot stub finds them in memory: which it takes, which it measures in what
//! order, and what it makes of them for the kernel.
//!
//! `core` alone: the boot stub compiles this file too. It trusts no number of the headers.
//!
//! Source: <https://uapi-group.org/specifications/specs/unified_kernel_image/>, systemd-stub(7), and the PE specification.

/// The sections that are measured into PCR 11, in this order, each where it is there: systemd-stub's since version 257.
/// `.dtbauto` and `.efifw` are not: nothing on a PC takes any of them.
pub const MEASURED: [&str; 12] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile",
    ".hwids",
];

/// Sections that reach user space as files of the folder `.extra` of a RAM disk, in this order.
pub const EXTRA: [(&str, &str); 4] = [
    (".pcrsig", ".extra/tpm2-pcr-signature.json"),
    (".pcrpkey", ".extra/tpm2-pcr-public-key.pem"),
    (".osrel", ".extra/os-release"),
    (".profile", ".extra/profile"),
];

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    usize::try_from(bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))).ok()
}

/// The sections of a program in memory.
#[derive(Clone, Copy)]
pub struct Sections<'m> {
    image: &'m [u8],
    table: &'m [u8],
}

impl<'m> Sections<'m> {
    /// Of a program as the firmware has loaded it, its headers included; `None` when they are not there, or a section lies
    /// outside of it.
    pub fn of(image: &'m [u8]) -> Option<Sections<'m>> {
        let header = image.get(number::<4>(image, 0x3c)?..)?;
        if !image.starts_with(b"MZ") || !header.starts_with(b"PE\0\0") {
            return None;
        }
        let table = header.get(number::<2>(header, 20)?.checked_add(24)?..)?;
        let table = table.get(..number::<2>(header, 6)?.checked_mul(40)?)?;
        let sections = Sections { image, table };
        sections.all().all(|section| sections.contents(section).is_some()).then_some(sections)
    }

    fn all(&self) -> impl Iterator<Item = &'m [u8]> {
        self.table.chunks_exact(40)
    }

    /// `VirtualSize` bytes: what the file has no bytes for is zero there.
    fn contents(&self, section: &[u8]) -> Option<&'m [u8]> {
        let (len, at) = (number::<4>(section, 8)?, number::<4>(section, 12)?);
        self.image.get(at..at.checked_add(len)?)
    }

    /// The sections of this name that are not empty, each with the profile that it is of.
    fn named(&self, name: &str) -> impl Iterator<Item = (Option<usize>, &'m [u8])> {
        let is = move |section: &[u8], name: &str| {
            let (found, rest) = section.split_at_checked(name.len()).unwrap_or_default();
            found == name.as_bytes() && (name.len() == 8 || rest.first() == Some(&0))
        };
        let mut profiles: usize = 0;
        self.all().filter_map(move |section| {
            profiles += usize::from(is(section, ".profile"));
            let contents = self.contents(section).filter(|contents| !contents.is_empty() && is(section, name))?;
            Some((profiles.checked_sub(1), contents))
        })
    }

    /// Is there a profile of this number? There is always one: number 0 may be what has no profile.
    pub fn has_profile(&self, profile: usize) -> bool {
        profile == 0 || self.named(".profile").any(|(found, _)| found == Some(profile))
    }

    /// The first section of this name in the profile, or else among those that all share.
    pub fn find(&self, name: &str, profile: usize) -> Option<&'m [u8]> {
        let first = |wanted| self.named(name).find(|(found, _)| *found == wanted).map(|(_, contents)| contents);
        first(Some(profile)).or_else(|| first(None))
    }
}

/// The profile that load options choose by `@` and its number as the first word, and what remains of them.
pub fn choice(options: &[u8]) -> (usize, &[u8]) {
    let Some(text) = options.strip_prefix(b"@") else { return (0, options) };
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(len).unwrap_or_default();
    let rest = match rest {
        [b' ', rest @ ..] => rest,
        [] => rest,
        // A word that begins so.
        _ => return (0, options),
    };
    let value = |value: usize, digit: &u8| value.checked_mul(10)?.checked_add(usize::from(digit.wrapping_sub(b'0')));
    match digits.iter().try_fold(0, value) {
        Some(number) if len > 0 => (number, rest),
        _ => (0, options),
    }
}

/// Writes a command line up to its first zero as it is used: control characters are blanks, none at its ends. Returns how many
/// bytes, and whether that is all of it.
pub fn tidy(text: &[u8], out: &mut [u8]) -> (usize, bool) {
    let is_blank = |byte: &u8| *byte <= b' ';
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let start = text.iter().take_while(|byte| is_blank(byte)).count();
    let end = text.len() - text.iter().rev().take_while(|byte| is_blank(byte)).count();
    let text = text.get(start..end).unwrap_or_default();
    let pairs = text.iter().zip(out.iter_mut()).map(|(from, to)| *to = (*from).max(b' '));
    let len = pairs.count();
    (len, len == text.len())
}

/// Makes a cpio archive with one file, whose name is a folder's and its own, and hands it out piece by piece: as systemd-stub
/// makes it, by which user space looks for it.
pub fn archive(path: &str, contents: &[u8], put: &mut dyn FnMut(&[u8])) {
    const FOLDER: u32 = 0o40555;
    const FILE: u32 = 0o100444;
    let folder = path.split('/').next().unwrap_or_default();
    let nothing: &[u8] = &[];
    for (inode, mode, name, data) in
        [(1, FOLDER, folder, nothing), (2, FILE, path, contents), (0, 0, "TRAILER!!!", nothing)]
    {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let name_len = len(name.as_bytes()) + 1;
        put(b"070701");
        for field in [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, name_len, 0] {
            let mut digits = [b'0'; 8];
            let mut rest = field;
            for digit in digits.iter_mut().rev() {
                let [value, ..] = (rest & 15).to_le_bytes();
                // The one number in capitals.
                let letters = if mode == 0 { b'A' } else { b'a' };
                *digit = if value < 10 { b'0' + value } else { letters + value - 10 };
                rest >>= 4;
            }
            put(&digits);
        }
        let zeros = |len: usize| b"\0\0\0\0".get(..len.wrapping_neg() % 4).unwrap_or_default();
        put(name.as_bytes());
        put(b"\0");
        put(zeros(110 + name.len() + 1));
        put(data);
        put(zeros(data.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program in memory: headers of 0x400 bytes, then each section with its length.
    fn program(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut image = vec![0; 0x400];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &[0x40]);
        put(0x40, b"PE\0\0");
        put(0x46, &[sections.len() as u8, 0]);
        put(0x54, &[0x10, 0]);
        let mut to = 0x400_u32;
        for (index, (name, contents)) in sections.iter().enumerate() {
            let at = 0x40 + 24 + 0x10 + 40 * index;
            put(at, name.as_bytes());
            put(at + 8, &(contents.len() as u32).to_le_bytes());
            put(at + 12, &to.to_le_bytes());
            to += contents.len() as u32;
        }
        for (_, contents) in sections {
            image.extend(*contents);
        }
        image
    }

    #[test]
    fn profiles_override_what_all_share() {
        let image = program(&[
            (".linux", b"kernel"),
            (".cmdline", b"shared"),
            (".cmdline", b"second"),
            (".uname", b""),
            (".profile", b"ID=a"),
            (".cmdline", b"of a"),
            (".profile", b"ID=b"),
            (".initrd", b"of b"),
        ]);
        let sections = Sections::of(&image).unwrap();
        let find = |name, profile| sections.find(name, profile).map(|found| str::from_utf8(found).unwrap());
        assert_eq!([find(".cmdline", 0), find(".cmdline", 1)], [Some("of a"), Some("shared")]);
        assert_eq!([find(".profile", 0), find(".profile", 1)], [Some("ID=a"), Some("ID=b")]);
        assert_eq!([find(".initrd", 0), find(".initrd", 1)], [None, Some("of b")]);
        assert_eq!([find(".linux", 1), find(".uname", 0), find(".lin", 0)], [Some("kernel"), None, None]);
        assert_eq!([0, 1, 2].map(|number| sections.has_profile(number)), [true, true, false]);
        assert!(Sections::of(&program(&[])).unwrap().has_profile(0));
    }

    #[test]
    fn headers_that_lie_are_none() {
        let image = program(&[(".linux", b"kernel")]);
        assert!(Sections::of(&image).is_some());
        // Cut off anywhere, and each byte of the headers wrong.
        assert!((0..image.len()).all(|len| Sections::of(&image[..len]).is_none()));
        for at in 0..0x100 {
            let mut image = image.clone();
            image[at] ^= 0xff;
            let _ = Sections::of(&image).map(|sections| sections.find(".linux", 0));
        }
        for at in [0, 0x3f, 0x40, 0x47, 0x54 + 1, 0x68 + 11, 0x68 + 15] {
            let mut image = image.clone();
            image[at] ^= 0xff;
            assert!(Sections::of(&image).is_none(), "{at:#x}");
        }
    }

    #[test]
    fn a_number_chooses_a_profile() {
        for (options, want) in [
            ("", (0, "")),
            ("quiet", (0, "quiet")),
            ("@1", (1, "")),
            ("@12 quiet", (12, "quiet")),
            ("@1  quiet", (1, " quiet")),
            ("@", (0, "@")),
            ("@ x", (0, "@ x")),
            ("@1x", (0, "@1x")),
            ("@99999999999999999999999", (0, "@99999999999999999999999")),
        ] {
            assert_eq!(choice(options.as_bytes()), (want.0, want.1.as_bytes()), "{options}");
        }
    }

    #[test]
    fn command_lines_are_tidied() {
        let mut out = [0; 9];
        for (text, want) in
            [(&b" a\tb \n\0x"[..], &b"a b"[..]), (b"", b""), (b" \0", b""), (b"0123456789", b"012345678")]
        {
            let (len, is_all) = tidy(text, &mut out);
            assert_eq!((&out[..len], is_all), (want, text.len() < 10));
        }
    }

    /// As systemd-stub 252 and 261 make it, byte for byte.
    #[test]
    fn an_archive_of_one_file() {
        let mut made = Vec::new();
        archive(".extra/profile", b"ID=a\n", &mut |piece| made.extend_from_slice(piece));
        let head = |inode: u8, mode: &str, len: u8, name: &str| {
            let zero = "00000000";
            let of_name = if inode == 0 { "0000000B".to_owned() } else { format!("{:08x}", name.len() + 1) };
            let links = "00000001";
            format!(
                "070701{inode:08x}{mode}{zero}{zero}{links}{zero}{len:08x}{zero}{zero}{zero}{zero}{of_name}{zero}{name}\0"
            )
        };
        let folder = head(1, "0000416d", 0, ".extra") + "\0\0\0";
        let file = head(2, "00008124", 5, ".extra/profile") + "\0\0\0ID=a\n\0\0\0";
        let end = head(0, "00000000", 0, "TRAILER!!!") + "\0\0\0";
        assert_eq!(String::from_utf8(made).unwrap(), folder + &file + &end);
    }
}
