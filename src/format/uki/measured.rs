//! What the stub of a unified kernel image has the TPM measure, as it is known from the stub in the file.
//!
//! Source: systemd 252 to 262 (src/fundamental/uki.c, earlier tpm-pcr.c; src/boot/stub.c, measure.c), read and run.

use super::super::cpio::{HEADER_LEN, TRAILER, header};
use super::super::pe::Pe;
use super::super::tpm::{Event, PerBank, PolicySignatures};
use super::{DTBAUTO, EFIFW, PCRSIG, PROFILE};
use crate::bytes::{self, slice, until_zero};
use crate::layout::usize_or_max;
use crate::sign::{Algorithm, PublicKey, Signer};
use crate::stub::sections::MEASURED;
use memchr::memmem;
use std::collections::{BTreeMap, HashSet};

/// The register of the image's own sections.
pub(crate) const IMAGE_PCR: u32 = 11;

/// The phases that systemd extends the register by, up to each of them: what systemd-measure takes.
pub(crate) const PHASES: [&str; 4] = [
    "enter-initrd",
    "enter-initrd:leave-initrd",
    "enter-initrd:leave-initrd:sysinit",
    "enter-initrd:leave-initrd:sysinit:ready",
];

/// The sections that stubs of systemd measure, in this order, by the first release of which that is known. Releases between two that
/// agree for an image do as they do.
const ORDERS: [(u32, &str); 5] = [
    (252, ".linux .osrel .cmdline .initrd .splash .dtb .pcrpkey"),
    (254, ".linux .osrel .cmdline .initrd .splash .dtb .uname .sbat .pcrpkey"),
    (255, ".linux .osrel .cmdline .initrd .splash .dtb .uname .sbat .pcrpkey"),
    (257, ".linux .osrel .cmdline .initrd .ucode .splash .dtb .uname .sbat .pcrpkey .profile .dtbauto .hwids"),
    (262, ".linux .osrel .cmdline .initrd .ucode .splash .dtb .uname .sbat .pcrpkey .profile .dtbauto .hwids .efifw"),
];

/// The stub of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stub {
    /// Its name and version, as it says them.
    pub(crate) name: Option<String>,
    /// The release of systemd.
    pub(crate) release: Option<u32>,
    /// The names in its own table of sections.
    table: Vec<String>,
}

/// A section of an image, or of one that is made.
#[derive(Debug, Clone)]
pub(crate) struct Section<'a> {
    pub(crate) name: String,
    /// What is in it, one behind the other.
    pub(crate) contents: Vec<&'a [u8]>,
    /// Zeros behind that in memory.
    pub(crate) zeros: u64,
}

impl Section<'_> {
    fn is_empty(&self) -> bool {
        self.zeros == 0 && self.contents.iter().all(|part| part.is_empty())
    }
}

impl Stub {
    /// What a program that is the base of an image, or is one, says of itself.
    pub(crate) fn of(pe: &Pe<'_>) -> Stub {
        let text = |name: &[u8]| {
            let contents = pe.section(name).and_then(|section| pe.contents(section));
            contents.map(|text| String::from_utf8_lossy(until_zero(text)).into_owned())
        };
        // `#### LoaderInfo: systemd-stub 257.13-1 ####`
        let magic = text(b".sdmagic").and_then(|text| {
            Some(text.split_once("LoaderInfo: ")?.1.split(" ####").next()?.to_owned()).filter(|name| !name.is_empty())
        });
        // `systemd-stub,1,The systemd Developers,systemd,257,https://systemd.io/`, in 252 and 254 `systemd,1,…`.
        let sbat = || {
            let text = text(b".sbat")?;
            let line = text.lines().find(|line| line.starts_with("systemd-stub,") || line.starts_with("systemd,"))?;
            Some(format!("systemd-stub {}", line.split(',').nth(4)?))
        };
        let name = magic.or_else(sbat);
        let release = name.as_deref().and_then(|name| name.strip_prefix("systemd-stub ")).and_then(release);
        Stub { name, release, table: table(pe).unwrap_or_default() }
    }

    /// Is it kimage's own?
    pub(crate) fn is_ours(&self) -> bool {
        self.name.as_deref().is_some_and(|name| name.starts_with("kimage "))
    }

    /// One of that release, whatever is in the file.
    pub(crate) fn of_release(release: u32) -> Stub {
        Stub { name: Some(format!("systemd-stub {release}")), release: Some(release), table: Vec::new() }
    }

    /// The names of the sections that it measures, those of this image alone, in its order; `None` where that is not known.
    pub(crate) fn order(&self, sections: &[Section<'_>]) -> Option<Vec<&str>> {
        let is_there = |name: &&str| *name != PCRSIG && sections.iter().any(|one| one.name == *name);
        if self.is_ours() {
            return Some(MEASURED.into_iter().filter(is_there).collect());
        }
        if !self.table.is_empty() {
            return Some(self.table.iter().map(String::as_str).filter(is_there).collect());
        }
        let release = self.release?;
        let list = |(_, names): &(u32, &'static str)| names.split(' ').filter(is_there).collect::<Vec<_>>();
        let before = ORDERS.iter().rfind(|(first, _)| *first <= release).map(list)?;
        let after = ORDERS.iter().find(|(first, _)| *first >= release).map(list)?;
        (before == after).then_some(before)
    }

    /// Is a profile chosen by `@N` in front of the command line?
    pub(crate) fn knows_profiles(&self) -> bool {
        self.is_ours()
            || self.table.iter().any(|name| name == PROFILE)
            || self.release.is_some_and(|release| release >= 257)
    }

    /// Does the firmware start, and so measure, the kernel as a program of its own? From 258 on the stub does that itself.
    pub(crate) fn has_kernel_loaded(&self) -> Option<bool> {
        if self.is_ours() { Some(false) } else { self.release.map(|release| release < 258) }
    }
}

/// `257.13-1`: 257.
fn release(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The names that a stub knows, from its own table: pointers to texts, a null one behind the last.
fn table(pe: &Pe<'_>) -> Option<Vec<String>> {
    /// Places that are looked at, and names in a table.
    const MOST: usize = 16;
    const MOST_NAMES: u64 = 64;
    const FIRST: &[u8] = b"\0.linux\0";
    let bytes = pe.bytes();
    let width: u64 = if pe.is_plus { 8 } else { 4 };
    // What was added to the stub is none of its own.
    let own: Vec<_> = pe.sections.iter().take_while(|one| super::role_of(one.name()).is_none()).collect();
    let text_at = |address: u64| -> Option<&str> {
        let at = address.checked_sub(pe.image_base)?;
        let section = own.iter().find(|one| {
            let start = u64::from(one.virtual_address);
            (start..start + u64::from(one.raw_size)).contains(&at)
        })?;
        let place = at - u64::from(section.virtual_address) + u64::from(section.raw_at);
        // A section's name has 8 bytes at most.
        let text = slice(bytes, place, (section.file_range().end - place).min(9))?;
        let text = std::str::from_utf8(until_zero(text)).ok()?;
        (text.len() <= 8 && text.starts_with('.')).then_some(text)
    };
    let read_at = |place: u64| {
        slice(bytes, place, width).map(|raw| raw.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let names_at = |start: u64| -> Option<Vec<String>> {
        let mut names = Vec::new();
        for index in 0..MOST_NAMES {
            match read_at(start + index * width)? {
                0 => return Some(names).filter(|names: &Vec<String>| names.len() > 4),
                address => names.push(text_at(address)?.to_owned()),
            }
        }
        None
    };
    for section in &own {
        let contents = slice(bytes, section.raw_at.into(), section.raw_size.into()).unwrap_or_default();
        for at in memmem::find_iter(contents, FIRST).take(MOST) {
            let address = pe.image_base + u64::from(section.virtual_address) + u64::try_from(at).ok()? + 1;
            let pointer = address.to_le_bytes();
            let pointer = pointer.get(..usize::try_from(width).ok()?)?;
            for holder in &own {
                let contents = slice(bytes, holder.raw_at.into(), holder.raw_size.into()).unwrap_or_default();
                let places = memmem::find_iter(contents, pointer).take(MOST);
                let mut tables = places.filter_map(|at| names_at(u64::from(holder.raw_at) + u64::try_from(at).ok()?));
                if let Some(names) = tables.next() {
                    return Some(names);
                }
            }
        }
    }
    None
}

/// The sections of a program as they are in memory.
///
/// # Errors
/// What is wrong with one.
pub(crate) fn sections<'a>(pe: &Pe<'a>) -> Result<Vec<Section<'a>>, String> {
    /// No stub's builder makes a section larger in memory than in the file.
    const MOST_ZEROS: u64 = 256 << 20;
    let mut zeros = 0_u64;
    let mut section = |one: &super::PeSection| {
        let name = String::from_utf8_lossy(one.name()).into_owned();
        let len = one.raw_size.min(one.virtual_size);
        let Some(contents) = slice(pe.bytes(), one.raw_at.into(), len.into()) else {
            return Err(format!("the section {name} lies outside of the file"));
        };
        let behind = u64::from(one.virtual_size - len);
        zeros += behind;
        if zeros > MOST_ZEROS {
            return Err(format!("the section {name} has {behind} zeros in memory that are not in the file"));
        }
        Ok(Section { name, contents: vec![contents], zeros: behind })
    };
    pe.sections.iter().map(&mut section).collect()
}

/// The sections by profile: what all share, then each profile's.
#[derive(Debug)]
pub(crate) struct Groups<'s, 'a>(Vec<&'s [Section<'a>]>);

impl<'s, 'a> Groups<'s, 'a> {
    pub(crate) fn new(sections: &'s [Section<'a>]) -> Self {
        Groups(groups(sections))
    }

    /// How many profiles there are.
    pub(crate) fn profile_count(&self) -> usize {
        self.0.len() - 1
    }
}

/// The groups that the sections make; one at least.
fn groups<'s, 'a>(sections: &'s [Section<'a>]) -> Vec<&'s [Section<'a>]> {
    let mut groups = Vec::new();
    let mut rest = sections;
    loop {
        // The first of a profile's group is its `.profile`.
        let from = usize::from(!groups.is_empty());
        let next = rest.iter().skip(from).position(|one| one.name == PROFILE).map(|at| at + from);
        let (group, behind) = rest.split_at(next.unwrap_or(rest.len()));
        groups.push(group);
        if behind.is_empty() {
            return groups;
        }
        rest = behind;
    }
}

/// The sections of a boot: which the stub finds by each name.
#[derive(Debug, Clone)]
pub(crate) struct Boot<'s, 'a> {
    /// The profile, where the image has some.
    pub(crate) profile: Option<usize>,
    sections: Vec<&'s Section<'a>>,
    /// The device trees of which one may fit the hardware.
    trees: Vec<&'s Section<'a>>,
}

impl<'s, 'a> Boot<'s, 'a> {
    /// Those of a profile, 0 where there is none. `None` if the image does not have it.
    pub(crate) fn new(groups: &Groups<'s, 'a>, profile: usize) -> Option<Boot<'s, 'a>> {
        let (base, profiles) = groups.0.split_first()?;
        let own = match profiles.get(profile) {
            Some(group) => group,
            None if profile == 0 => &[][..],
            None => return None,
        };
        let mut names = HashSet::new();
        let all = own.iter().chain(*base).filter(|one| !one.is_empty() && one.name != DTBAUTO);
        let sections = all.filter(|one| names.insert(&one.name)).collect();
        let trees = |group: &'s [Section<'a>]| -> Vec<_> {
            group.iter().filter(|one| one.name == DTBAUTO && !one.is_empty()).collect()
        };
        let of_profile = trees(own);
        let trees = if of_profile.is_empty() { trees(base) } else { of_profile };
        Some(Boot { profile: (!profiles.is_empty()).then_some(profile), sections, trees })
    }

    /// How many device trees wait for their hardware.
    pub(crate) fn tree_count(&self) -> usize {
        self.trees.len()
    }

    pub(crate) fn section(&self, name: &str) -> Option<&'s Section<'a>> {
        self.sections.iter().find(|one| one.name == name).copied()
    }

    /// Is there firmware that waits for its hardware? Whether that is measured is not known.
    pub(crate) fn has_firmware(&self) -> bool {
        self.section(EFIFW).is_some()
    }

    /// Has the register extended by the sections, in the stub's order; `tree` is the device tree that fits. Gives each step.
    pub(crate) fn measure(
        &self,
        order: &[&str],
        tree: Option<usize>,
        hashes: &mut Hashes<'s>,
    ) -> (PerBank, Vec<Event>) {
        let mut register = PerBank::zero(hashes.banks);
        let mut events = Vec::new();
        for name in order.iter().filter(|name| **name != EFIFW) {
            let section = match (*name, tree) {
                (DTBAUTO, Some(index)) => self.trees.get(index).copied(),
                (DTBAUTO, None) => None,
                (name, _) => self.section(name),
            };
            let Some(section) = section else { continue };
            let name_digests = PerBank::hash(hashes.banks, &[name.as_bytes(), &[0]], 0);
            let digests = hashes.of(section);
            for (of, digests) in [("the section's name", name_digests), ("the section", digests)] {
                register.extend(&digests);
                events.push(Event {
                    pcr: IMAGE_PCR,
                    profile: self.profile,
                    dtbauto: tree,
                    kind: "EV_IPL",
                    event: (*name).to_owned(),
                    of: of.to_owned(),
                    digests,
                    values: register.clone(),
                });
            }
        }
        (register, events)
    }
}

/// Hashes of sections, each made once.
#[derive(Debug)]
pub(crate) struct Hashes<'s> {
    pub(crate) banks: &'s [Algorithm],
    made: BTreeMap<*const (), PerBank>,
}

impl<'s> Hashes<'s> {
    pub(crate) fn new(banks: &'s [Algorithm]) -> Self {
        Hashes { banks, made: BTreeMap::new() }
    }

    fn of(&mut self, section: &'s Section<'_>) -> PerBank {
        let key = std::ptr::from_ref(section).cast();
        let make = || PerBank::hash(self.banks, &section.contents, section.zeros);
        self.made.entry(key).or_insert_with(make).clone()
    }
}

/// A key that signs what the register comes to.
#[derive(Clone, Copy)]
pub struct PcrKey<'k> {
    /// Has the key, which is RSA.
    pub signer: &'k dyn Signer,
    /// The public key that belongs to it.
    pub public: &'k PublicKey,
    /// Up to which phases: words with colons between them; none for systemd's four.
    pub phases: &'k [&'k str],
}

impl std::fmt::Debug for PcrKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcrKey").field("public", self.public).field("phases", &self.phases).finish_non_exhaustive()
    }
}

/// What stands in `.pcrsig` of a boot, and how many policies are signed there: JSON as ukify writes it. Where device trees wait for their
/// hardware, it is signed for each of them, as ukify does.
///
/// # Errors
/// [`crate::sign::Error`] of what signs.
pub(crate) fn signatures<'s>(
    boot: &Boot<'s, '_>,
    order: &[&str],
    keys: &[PcrKey<'_>],
    hashes: &mut Hashes<'s>,
) -> Result<PolicySignatures, crate::sign::Error> {
    let mut made = PolicySignatures::default();
    let trees: Vec<_> = match boot.tree_count() {
        0 => vec![None],
        count => (0..count).map(Some).collect(),
    };
    for tree in trees {
        let (register, _) = boot.measure(order, tree, hashes);
        for key in keys {
            let phases: &[&str] = if key.phases.is_empty() { &PHASES } else { key.phases };
            for phase in phases {
                made.sign(IMAGE_PCR, &after(&register, hashes.banks, phase), (key.signer, key.public))?;
            }
        }
    }
    Ok(made)
}

/// The register after these phases.
pub(crate) fn after(register: &PerBank, banks: &[Algorithm], phases: &str) -> PerBank {
    let mut register = register.clone();
    words(phases).for_each(|word| register.extend(&PerBank::hash(banks, &[word.as_bytes()], 0)));
    register
}

/// The words of a path of phases: `enter-initrd:leave-initrd`.
pub(crate) fn words(phases: &str) -> impl Iterator<Item = &str> {
    phases.split(':').filter(|word| !word.is_empty())
}

/// cpio archives as systemd's stub makes them of credentials and extensions: `files` in the folder `prefix`.
pub(crate) fn archive(prefix: &str, folder_mode: u32, file_mode: u32, files: &[(&str, &[u8])]) -> Vec<u8> {
    const FOLDER: u32 = 0o40000;
    const FILE: u32 = 0o100_000;
    let mut out = Vec::new();
    let mut put = |name: &str, mode: u32, inode: u32, data: &[u8]| {
        let [data_len, name_len] = [data.len(), name.len() + 1].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        let mut head = header([inode, mode, 0, 0, 1, 0, data_len, 0, 0, 0, 0, name_len, 0], name.as_bytes());
        // Only the header of the last has capital letters.
        let digits = head.iter_mut().take(if name.as_bytes() == TRAILER { 0 } else { usize_or_max(HEADER_LEN) });
        digits.for_each(|digit| digit.make_ascii_lowercase());
        out.extend(head);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
    };
    let mut inode = 0;
    let mut next = || {
        inode += 1;
        inode
    };
    for (at, _) in prefix.match_indices('/').chain([(prefix.len(), "")]) {
        let mode = if at == prefix.len() { folder_mode } else { 0o555 };
        put(prefix.get(..at).unwrap_or_default(), FOLDER | mode, next(), &[]);
    }
    let mut files = files.to_vec();
    files.sort_by_cached_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
    for (name, data) in files {
        put(&format!("{prefix}/{name}"), FILE | file_mode, next(), data);
    }
    put("TRAILER!!!", 0, 0, &[]);
    out
}

/// UTF-16 with a NUL, as firmware has texts.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    [bytes::utf16(text), vec![0; 2]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::hex;
    use crate::format::tpm::policy;

    fn section<'a>(name: &str, contents: &'a [u8]) -> Section<'a> {
        Section { name: name.to_owned(), contents: vec![contents], zeros: 0 }
    }

    /// go-ukify's known policies (pkg/measure/measure_test.go): each section holds its name.
    #[test]
    fn known_images() {
        let names = [".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey"];
        let sections: Vec<_> = names.iter().rev().map(|name| section(name, name.as_bytes())).collect();
        let banks = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
        let mut hashes = Hashes::new(&banks);
        let boot = Boot::new(&Groups::new(&sections), 0).unwrap();
        let stub = Stub::of_release(255);
        let (mut register, events) = boot.measure(&stub.order(&sections).unwrap(), None, &mut hashes);
        assert_eq!(events.len(), 18);
        for word in words("enter-initrd:leave-initrd:enter-machined") {
            register.extend(&PerBank::hash(&banks, &[word.as_bytes()], 0));
        }
        let policies: Vec<_> = register.0.iter().map(|(bank, value)| hex(&policy(*bank, 11, value))).collect();
        let wanted = [
            "88b9f03a2edc4960894b5fa460169282749aff60d0b491ca71a2bde937f63f28",
            "532380d1bfae365cca029f2e4a57601d528a346bfd9feae1e1f3f994260fb56d",
            "2ea15476710c3d5e2ac70b6cee68a6a7619c91f69cf2d1387ad567f3fb5076fe",
        ];
        assert_eq!(policies, wanted);
    }

    /// Between two releases that agree for an image, what they do is known; behind the last, and where they differ, it is not.
    #[test]
    fn releases() {
        let plain = [section(".linux", b"x"), section(".cmdline", b"y")];
        let order =
            |release, sections: &[Section<'_>]| Stub::of_release(release).order(sections).map(|names| names.join(" "));
        for release in 252..=262 {
            assert_eq!(order(release, &plain).as_deref(), Some(".linux .cmdline"), "{release}");
        }
        assert_eq!((order(251, &plain), order(263, &plain)), (None, None));
        let with_uname = [section(".uname", b"z"), section(".linux", b"x")];
        assert_eq!(order(252, &with_uname).as_deref(), Some(".linux"));
        assert_eq!(order(253, &with_uname), None);
        assert_eq!(order(256, &with_uname).as_deref(), Some(".linux .uname"));
        assert_eq!(order(259, &[section(".efifw", b"z")]), None);
    }

    /// What a profile has takes the place of what all share; of two with one name the first counts; an empty one is not there.
    #[test]
    fn profiles() {
        let all = [
            section(".linux", b"k"),
            section(".cmdline", b"base"),
            section(".cmdline", b"second"),
            section(".profile", b"ID=a"),
            section(".profile", b"ID=b"),
            section(".cmdline", b""),
            section(".cmdline", b"own"),
            section(".dtbauto", b"t"),
        ];
        let all = Groups::new(&all);
        assert_eq!(all.profile_count(), 2);
        let text = |profile, name| Boot::new(&all, profile).unwrap().section(name).map(|one| one.contents[0]);
        assert_eq!((text(0, ".profile"), text(0, ".cmdline")), (Some(&b"ID=a"[..]), Some(&b"base"[..])));
        assert_eq!((text(1, ".profile"), text(1, ".cmdline")), (Some(&b"ID=b"[..]), Some(&b"own"[..])));
        assert_eq!((text(1, ".linux"), text(1, ".dtbauto")), (Some(&b"k"[..]), None));
        assert!(Boot::new(&all, 2).is_none());
        assert_eq!([0, 1].map(|profile| Boot::new(&all, profile).unwrap().tree_count()), [0, 1]);
        let alone = [section(".linux", b"k")];
        let alone = Groups::new(&alone);
        assert!(Boot::new(&alone, 0).is_some_and(|boot| boot.profile.is_none()));
        assert!(Boot::new(&alone, 1).is_none());
    }
}
