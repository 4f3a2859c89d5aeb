//! The sections of a unified kernel image as its boot stub finds them in memory: which it takes, which it measures in what
//! order, and what it makes of them for the kernel.
//!
//! `core` alone: the boot stub compiles this file too. It trusts no number of the headers.
//!
//! Source: <https://uapi-group.org/specifications/specs/unified_kernel_image/>, systemd-stub(7), and the PE specification.

use super::efi_text::number;

/// Sections that nothing takes: no kernel for a PC reads a device tree that its firmware has, nor is there firmware in an image.
pub const NOT_TAKEN: [&str; 4] = [".dtb", ".dtbauto", ".hwids", ".efifw"];

/// The sections that are measured into PCR 11, in this order, each where it is there: systemd-stub's since version 257, but for
/// those that it measures where they fit the hardware.
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

/// Files beside an image on its disk that reach user space in an archive of their own: what systemd-stub takes them for, and how
/// it measures the archive.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// The folder of the disk that they lie in; `None` for the image's own, `NAME.efi.extra.d`.
    pub folder: Option<&'static str>,
    /// How their names end, and how not.
    pub ending: &'static str,
    pub but: Option<&'static str>,
    /// Their folder in the archive, its mode and theirs.
    pub path: &'static str,
    pub modes: (u32, u32),
    /// The register, and the event's description.
    pub pcr: u32,
    pub event: &'static str,
}

/// Credentials of the image.
pub const CREDENTIALS: Beside = Beside {
    folder: None,
    ending: ".cred",
    but: None,
    path: ".extra/credentials",
    modes: (0o500, 0o400),
    pcr: 12,
    event: "Credentials initrd",
};

/// Credentials for all images of the disk.
pub const GLOBAL_CREDENTIALS: Beside = Beside {
    folder: Some(r"\loader\credentials"),
    path: ".extra/global_credentials",
    event: "Global credentials initrd",
    ..CREDENTIALS
};

/// System extensions.
pub const SYSEXTS: Beside = Beside {
    folder: None,
    ending: ".raw",
    but: Some(CONFEXTS.ending),
    path: ".extra/sysext",
    modes: (0o555, 0o444),
    pcr: 13,
    event: "System extension initrd",
};

/// Configuration extensions.
pub const CONFEXTS: Beside = Beside {
    folder: None,
    ending: ".confext.raw",
    but: None,
    path: ".extra/confext",
    modes: (0o555, 0o444),
    pcr: 12,
    event: "Configuration extension initrd",
};

/// Extensions for all images of the disk, which systemd-stub takes since 261 at the latest.
pub const GLOBAL_SYSEXTS: Beside = Beside {
    folder: Some(EXTENSIONS),
    path: ".extra/global_sysext",
    event: "Global system extension initrd",
    ..SYSEXTS
};

/// The same, for configuration.
pub const GLOBAL_CONFEXTS: Beside = Beside {
    folder: Some(EXTENSIONS),
    path: ".extra/global_confext",
    event: "Global configuration extension initrd",
    ..CONFEXTS
};

const EXTENSIONS: &str = r"\loader\extensions";

/// In the order that they are measured and unpacked in.
pub const BESIDE: [Beside; 6] = [CREDENTIALS, GLOBAL_CREDENTIALS, SYSEXTS, GLOBAL_SYSEXTS, CONFEXTS, GLOBAL_CONFEXTS];

/// How the name of an addon ends.
pub const ADDON: &str = ".addon.efi";

impl Beside {
    /// Is a file of this name one of them? Others than ASCII are not, nor is what Linux has no name for: what a damaged or hostile
    /// file system calls `../x.cred` would leave the folder of the archive, and by `\` that of the disk.
    pub fn takes(&self, name: &[u16]) -> bool {
        const NAME_MAX: usize = 255;
        name.len() <= NAME_MAX
            && name.iter().all(|unit| matches!(unit, 0x20..0x7f) && !matches!(unit, 0x2f | 0x5c))
            && ends_with(name, self.ending)
            && !self.but.is_some_and(|but| ends_with(name, but))
    }
}

/// Does a name of a file system that knows no capitals end so?
pub fn ends_with(name: &[u16], ending: &str) -> bool {
    let start = name.len().checked_sub(ending.len());
    start.and_then(|start| name.get(start..)).is_some_and(|end| {
        end.iter()
            .zip(ending.bytes())
            .all(|(unit, want)| u8::try_from(*unit).is_ok_and(|byte| byte.eq_ignore_ascii_case(&want)))
    })
}

/// Where a boot counter stands in the name of a file at the end of a path: `+3-1` of `\EFI\Linux\a+3-1.efi`, by which a boot loader
/// counts its tries. What belongs to the image has a name without it.
pub fn counter(path: &[u16]) -> Option<core::ops::Range<usize>> {
    let is = |wanted: u8| move |unit: &u16| *unit == u16::from(wanted);
    let name = path.iter().rposition(is(b'\\')).map_or(0, |at| at + 1);
    let start = name + path.get(name..)?.iter().position(is(b'+'))?;
    let digits = |at: usize| {
        let rest = path.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|unit| matches!(**unit, 0x30..=0x39)).count()
    };
    let mut end = digits(start + 1);
    if end == start + 1 {
        return None;
    }
    if path.get(end).is_some_and(is(b'-')) {
        let behind = digits(end + 1);
        if behind == end + 1 {
            return None;
        }
        end = behind;
    }
    path.get(end).is_none_or(is(b'.')).then_some(start..end)
}

const FOLDER: u32 = 0o40000;
const FILE: u32 = 0o100_000;

/// Hands out what stands in front of an entry's contents in a cpio archive, piece by piece; the name has pieces, too. As systemd-stub
/// makes it, by which user space looks for it.
fn head(inode: u32, mode: u32, name: &[&[u8]], len: usize, put: &mut dyn FnMut(&[u8])) {
    let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let name_len = name.iter().map(|piece| piece.len()).sum::<usize>() + 1;
    put(b"070701");
    for field in [inode, mode, 0, 0, 1, 0, number(len), 0, 0, 0, 0, number(name_len), 0] {
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
    name.iter().for_each(|piece| put(piece));
    put(b"\0");
    put(filling(110 + name_len));
}

/// The zeros behind so many bytes of an archive.
pub fn filling(len: usize) -> &'static [u8] {
    b"\0\0\0\0".get(..len.wrapping_neg() % 4).unwrap_or_default()
}

/// Begins an archive with a folder, and those that it lies in. Returns the number of the entry to come.
pub fn folders(path: &str, mode: u32, put: &mut dyn FnMut(&[u8])) -> u32 {
    let mut inode = 0;
    for (at, byte) in path.bytes().chain([b'/']).enumerate() {
        if byte == b'/' {
            inode += 1;
            let mode = FOLDER | if at == path.len() { mode } else { 0o555 };
            head(inode, mode, &[path.as_bytes().get(..at).unwrap_or_default()], 0, put);
        }
    }
    inode + 1
}

/// What stands in front of a file's contents; [`filling`] stands behind them.
pub fn file(inode: u32, mode: u32, path: [&[u8]; 2], len: usize, put: &mut dyn FnMut(&[u8])) {
    let [folder, name] = path;
    head(inode, FILE | mode, &[folder, b"/", name], len, put);
}

/// Ends an archive.
pub fn trailer(put: &mut dyn FnMut(&[u8])) {
    head(0, 0, &[b"TRAILER!!!"], 0, put);
}

/// Hands out a cpio archive with one file, whose name is a folder's and its own, piece by piece.
pub fn archive(path: &str, contents: &[u8], put: &mut dyn FnMut(&[u8])) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let inode = folders(folder, 0o555, put);
    file(inode, 0o444, [folder.as_bytes(), name.as_bytes()], contents.len(), put);
    put(contents);
    put(filling(contents.len()));
    trailer(put);
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

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn a_boot_counter_is_no_part_of_the_name() {
        for (path, want) in [
            (r"\EFI\Linux\a+3-1.efi", r"\EFI\Linux\a.efi"),
            ("a+12.efi", "a.efi"),
            ("a+3", "a"),
            (r"\x+1\a.efi", r"\x+1\a.efi"),
            ("a+.efi", "a+.efi"),
            ("a+3-.efi", "a+3-.efi"),
            ("a+3b.efi", "a+3b.efi"),
            ("a+b+3.efi", "a+b+3.efi"),
            ("", ""),
        ] {
            let mut name = wide(path);
            if let Some(range) = counter(&name) {
                name.drain(range);
            }
            assert_eq!(String::from_utf16(&name).unwrap(), want, "{path}");
        }
    }

    #[test]
    fn files_beside_an_image() {
        let takes = |kind: Beside, name: &str| kind.takes(&wide(name));
        assert!(takes(CREDENTIALS, "a.cred") && takes(CREDENTIALS, "A.CRED") && takes(CREDENTIALS, ".cred"));
        assert!(takes(SYSEXTS, "a.raw") && takes(SYSEXTS, "a.sysext.raw") && takes(CONFEXTS, "a.confext.raw"));
        assert!(!takes(SYSEXTS, "a.confext.RAW") && !takes(CREDENTIALS, "a.raw") && !takes(CREDENTIALS, "cred"));
        assert!(!takes(CREDENTIALS, "\u{e4}.cred"));
        // What would leave the folder in the archive, or that of the disk.
        for name in ["../a", "a/b", r"..\a", "\0", "\n", "\x7f"] {
            assert!(
                !takes(CREDENTIALS, &format!("{name}.cred")) && !takes(GLOBAL_SYSEXTS, &format!("{name}.raw")),
                "{name:?}"
            );
        }
        let long = |len: usize| "a".repeat(len - 5) + ".cred";
        assert!(takes(CREDENTIALS, &long(255)) && !takes(CREDENTIALS, &long(256)));
        assert!(ends_with(&wide("x.Addon.EFI"), ADDON) && !ends_with(&wide("addon.efi"), ADDON));
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
