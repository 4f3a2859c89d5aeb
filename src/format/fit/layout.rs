//! What the bytes of mkimage's FITs depend on, release by release.
//!
//! Source: U-Boot's tools/fit_image.c of the releases named here, and FITs of mkimage 2021.01, 2023.01, 2023.10, 2024.01,
//! 2025.01, 2025.07, 2025.10, 2026.01, 2026.04 and 2026.10-rc5 beside one another. The differences between releases:
//!
//! | from    | what it does otherwise |
//! |---------|------------------------|
//! | 2023.04 | names the checks of `-f auto` without numbers, knows `auto-conf` (`fit_add_hash_or_sign`) |
//! | 2024.01 | clears the bytes between a tree and its aligned end, where data is behind the tree (`fit_extract_data`, commit 0cf1a136d86); takes the offset or position out where data is taken in again (`fit_import_data`, 4860ee9b09e) |
//! | 2024.04 | says of what fit_check_sign would load where to (boot/image.c, `print_decomp_msg`) |
//! | 2024.10 | signs a script unasked, too (`fit_config_get_image_list`, 6074f6e8578) |
//! | 2025.01 | takes no notice of a word for padding that it does not know, until no key holds (boot/image-fit-sig.c, `fit_image_setup_verify`) |
//! | 2025.04 | says of what fit_check_sign would load for which phase, and unpacks no device tree there (boot/image-fit.c, `fit_image_load`) |
//! | 2025.10 | makes room for 128 bytes a hash and 1024 a signature at once, then in steps of 1024 (`fit_estimate_hash_sig_size`, 7d4eacb0e68) |
//! | 2026.01 | takes the size out, too, where data is taken in again (b3ab77345e3) |
//! | 2026.01 | names the main image of `-f auto` as a loadable where there is no device tree, too (`fit_write_configs`) |
//! | 2026.04 | says 16 as the last compatible version of a tree of `-f auto`, and not 2 (libfdt's `fdt_finish`) |
//! | 2026.04 | lists `compatible` of configurations (boot/image-fit.c, `fit_conf_print`) |
//! | 2026.04 | aligns device trees behind the tree to 8 where no alignment is asked for (`fit_extract_data`) |
//! | 2026.04 | checks what a signature has to cover, not what it says that it covers (boot/image-fit-sig.c, `fit_config_check_sig`) |
//! | 2026.07 | names the configuration alone of which no signature holds (boot/image-fit-sig.c, `fit_config_verify_key`) |
//! | 2026.10 | makes hash trees, and room for 256 bytes of each (`fit_image_process_verity`) |
//! | 2026.10 | lists `default` wherever the node /configurations is (`fit_print_contents`), and hash trees (`fit_image_print_dm_verity`) |

use super::signature::SIGNATURE;
use super::verity::VERITY;
use crate::format::fdt::Node;
use std::fmt;
use std::str::FromStr;

/// By how much mkimage enlarges the tree, which it has packed first, until time and hashes fit into it.
pub(super) const STEP: u64 = 1024;

/// A hash is taken to need so much from 2025.10 on.
const HASH_ESTIMATE: u64 = 128;

/// A hash tree's node is taken to need so much from 2026.10 on.
const VERITY_ESTIMATE: u64 = 256;

/// A signature that is made is taken to need so much from 2025.10 on.
const SIGNATURE_ESTIMATE: u64 = 1024;

/// The first and the last release whose bytes were compared.
const FIRST: (u16, u16) = (2021, 1);
const LAST: (u16, u16) = (2026, 10);

/// A release of mkimage, as year and month, whose bytes a FIT is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FitLayout {
    release: (u16, u16),
    /// The number of a release candidate, which signatures name; 0 is the release itself.
    candidate: u8,
}

/// Is the image a device tree, as mkimage sees it?
pub(super) fn is_tree(image: &Node<'_>) -> bool {
    image.property("type").is_some_and(|kind| *kind.value == *b"flat_dt\0")
}

impl Default for FitLayout {
    /// 2023.01, that of Debian 12.
    fn default() -> Self {
        FitLayout { release: (2023, 1), candidate: 0 }
    }
}

/// `2023.01`, as `signer-version` has it.
impl fmt::Display for FitLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.release.0, self.release.1)?;
        if self.candidate > 0 { write!(f, "-rc{}", self.candidate) } else { Ok(()) }
    }
}

/// The layout of a release of U-Boot, `2025.01` (January, April, July or October), or of a candidate for it (`2025.01-rc3`); a
/// year alone stands for its last release. The error says what is wanted in place of what is no release, or one that was not
/// looked at.
impl FromStr for FitLayout {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<FitLayout, &'static str> {
        FitLayout::from_release(text)
            .ok_or("wanted a release of U-Boot from 2021.01 to 2026.10, or a year for its last release")
    }
}

impl FitLayout {
    pub(crate) fn from_release(text: &str) -> Option<FitLayout> {
        let (text, candidate) = text.split_once("-rc").map_or((text, "0"), |(text, number)| (text, number));
        let (year, month) = text.split_once('.').unwrap_or((text, "10"));
        let is_number = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(year, 4) || !is_number(month, 2) || !is_number(candidate, 1) {
            return None;
        }
        let release = (year.parse().ok()?, month.parse().ok()?);
        let is_known = (FIRST..=LAST).contains(&release) && matches!(release.1, 1 | 4 | 7 | 10);
        is_known.then_some(FitLayout { release, candidate: candidate.parse().ok()? })
    }

    /// Old bytes stay between the tree and its aligned end.
    pub(super) fn leaves_old_bytes(self) -> bool {
        self.release < (2024, 1)
    }

    /// The alignment in bytes of an image of that `type` behind the tree, where none is asked for.
    pub(super) fn alignment(self, image: &Node<'_>) -> u64 {
        if is_tree(image) && self.release >= (2026, 4) { 8 } else { 4 }
    }

    /// By how much the packed tree is enlarged at first, for time, hashes and signatures.
    pub(super) fn first_room(self, root: &Node<'_>, signs: bool) -> u64 {
        if self.release < (2025, 10) {
            return 0;
        }
        // mkimage goes by name and depth alone.
        let third = root.children.iter().flat_map(|first| &first.children).flat_map(|second| &second.children);
        third.fold(0, |sum, node| {
            let signature = if signs && node.name.starts_with(SIGNATURE) { SIGNATURE_ESTIMATE } else { 0 };
            let hash = if node.name.starts_with("hash") { HASH_ESTIMATE } else { 0 };
            let verity = if node.name == VERITY && self.release >= LAST { VERITY_ESTIMATE } else { 0 };
            sum.saturating_add(hash + signature + verity)
        })
    }

    /// What the signature of a configuration covers that does not say so itself.
    pub(super) fn signed_roles(self) -> &'static [&'static str] {
        if self.release >= (2024, 10) { &["kernel", "fdt", "script"] } else { &["kernel", "fdt"] }
    }

    /// The hash and the signature of `-f auto` are called `hash-1` and `signature-1`.
    pub(crate) fn numbers_checks(self) -> bool {
        self.release < (2023, 4)
    }

    /// The `last_comp_version` of what libfdt's sequential writer makes (`fdt_finish`).
    pub(super) fn written_for(self) -> u32 {
        if self.release >= (2026, 4) { 16 } else { 2 }
    }

    /// `-f auto` names the main image among the loadables of a configuration without device tree.
    pub(crate) fn loads_main_image_twice(self) -> bool {
        self.release >= (2026, 1)
    }

    /// `mkimage -l` shows `compatible`.
    pub(crate) fn lists_compatible(self) -> bool {
        self.release >= (2026, 4)
    }

    /// `mkimage -l` looks for `default` in /configurations, and not in what follows /images; and shows hash trees.
    pub(crate) fn lists_all(self) -> bool {
        self.release >= (2026, 10)
    }

    /// fit_check_sign says where to it would load an image.
    pub(crate) fn says_where_to(self) -> bool {
        self.release >= (2024, 4)
    }

    /// fit_check_sign refuses a signature whose padding it does not know before it looks at the keys.
    pub(crate) fn knows_padding_first(self) -> bool {
        self.release < (2025, 1)
    }

    /// fit_check_sign says for which phase an image is that it would load, takes images of type tfa-bl31 in any role, and does not
    /// unpack device trees.
    pub(crate) fn says_phase(self) -> bool {
        self.release >= (2025, 4)
    }

    /// What a signature covers is made of the configuration, and not read from `hashed-nodes`.
    pub(crate) fn rebuilds_coverage(self) -> bool {
        self.release >= (2026, 4)
    }

    /// fit_check_sign names the configuration alone of which no signature holds.
    pub(crate) fn names_configuration_alone(self) -> bool {
        self.release >= (2026, 7)
    }

    /// The properties that go when data is taken back into the tree.
    pub(super) fn forgotten_places(self) -> &'static [&'static str] {
        let all = &["data-position", "data-offset", "data-size"];
        match (self.release >= (2024, 1), self.release >= (2026, 1)) {
            (false, _) => &[],
            (true, false) => &["data-position", "data-offset"],
            (true, true) => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first release of U-Boot's tags that has each of the commits named above.
    #[test]
    fn when_it_changed() {
        let of = |release| FitLayout::from_release(release).unwrap();
        for (before, from, count) in [("2023.10", "2024.01", (0, 2)), ("2025.10", "2026.01", (2, 3))] {
            assert_eq!((of(before).forgotten_places().len(), of(from).forgotten_places().len()), count);
        }
        assert_eq!((of("2024.07").signed_roles().len(), of("2024.10").signed_roles().len()), (2, 3));
    }

    #[test]
    fn releases() {
        let known = |text: &str| FitLayout::from_release(text).map(|layout| layout.release);
        assert_eq!(known("2021.01"), Some((2021, 1)));
        assert_eq!(known("2026.10"), Some((2026, 10)));
        assert_eq!(known("2025"), Some((2025, 10)));
        let named = |text: &str| FitLayout::from_release(text).map(|layout| layout.to_string());
        assert_eq!(named("2026.10-rc5").as_deref(), Some("2026.10-rc5"));
        assert_eq!(named("2023.01").as_deref(), Some("2023.01"));
        assert_eq!(known("2023.01"), Some(FitLayout::default().release));
        for text in [
            "",
            "2020.10",
            "2027.01",
            "2025.1",
            "2025.02",
            "2025.13",
            "25.01",
            "2025.01-rc",
            "2025.01-rc10",
            "+025.01",
            "2025.+1",
        ] {
            assert_eq!(known(text), None, "{text}");
        }
    }
}
