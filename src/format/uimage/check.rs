//! What a legacy uImage claims, held against its bytes. What its data is, is for whoever has looked.

use super::{HEADER_LEN, UImage, kind, offset_of, rules};
use crate::bytes::len64;
use crate::finding::{Checks, Hex};
use crate::format::footprint::Stage;

impl UImage<'_> {
    /// Holds checksums, lengths, the table of files and the entry point to the rules.
    pub(crate) fn check(&self) -> Checks {
        let mut checks = Checks::default();
        let (header, data) = self.checksums();
        for (rule, field, (found, wanted)) in [(&rules::HCRC, "ih_hcrc", header), (&rules::DCRC, "ih_dcrc", data)] {
            checks.expect(rule, offset_of(field), found == wanted, Hex(found.into()), Hex(wanted.into()));
        }
        let header = self.header();
        let csf = header.kind == kind::FIRMWARE_IVT;
        // `ih_size` of this type counts the signature data, whether it is there yet or not.
        let data_end = self.data_end();
        let behind = len64(self.bytes).saturating_sub(data_end);
        checks.expect(&rules::SIZE, offset_of("ih_size"), behind == 0 || csf, behind, 0);
        if behind > 0 && csf {
            let what = "signatures of the boot ROM (HABv4)";
            checks.not_checked(&rules::CSF, data_end, format!("{behind} bytes, not checked"), what);
        }
        if super::is_listed(header.kind) {
            let end = HEADER_LEN + u64::from(self.size());
            let last = self.files.last().map_or(HEADER_LEN + 4, |range| range.end);
            // The last file is not padded, but some tools do.
            let kept = (last..last + 4).contains(&end);
            let wanted = format!("{end:#x}, the end of the data");
            checks.expect(&rules::TABLE, HEADER_LEN, kept, format!("files up to {last:#x}"), wanted);
        }
        self.check_entry(&mut checks);
        checks
    }

    fn check_entry(&self, checks: &mut Checks) {
        let (header, at) = (self.header(), offset_of("ih_ep"));
        let entry = u64::from(header.entry);
        let loaded = self.footprint(None).range(Stage::Loaded).filter(|_| header.comp == super::COMP_NONE);
        if let Some(loaded) = loaded.filter(|loaded| !loaded.contains(&entry)) {
            let wanted = format!("{:#x} to {:#x}", loaded.start, loaded.end);
            checks.expect(&rules::ENTRY, at, false, Hex(entry), wanted);
        } else if matches!(header.kind, kind::KERNEL | kind::KERNEL_NOLOAD) {
            let found = header.entered(self.files().next().unwrap_or(&[]), false);
            let (severity, why) = found.unwrap_or((rules::ENTRY.severity, ""));
            let first = header.load_address().unwrap_or(0);
            let wanted = format!("{first:#x}, its first byte: {why}");
            checks.expect_as(severity, &rules::ENTRY, at, found.is_none(), Hex(entry), wanted);
        }
    }
}
