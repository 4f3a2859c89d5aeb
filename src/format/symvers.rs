//! Module.symvers: what a kernel and its modules export to modules, as modpost writes it (scripts/mod/modpost.c, `write_dump`).
//!
//! A line each, in fields between tabs: checksum, name, who exports it, `EXPORT_SYMBOL` and its kin, and from 5.4 on a namespace
//! (in 5.4 before the module).

use std::collections::BTreeSet;

/// Who exports the kernel's own.
pub(crate) const KERNEL: &str = "vmlinux";

/// A line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Export<'a> {
    /// The checksum; 0 in a build without CONFIG_MODVERSIONS.
    pub crc: u32,
    pub name: &'a str,
    /// `vmlinux`, or the path of a module in the build.
    pub owner: &'a str,
    /// `EXPORT_SYMBOL_GPL` and its kin.
    pub is_gpl: bool,
    /// The namespace that a module has to import; empty for none.
    pub namespace: &'a str,
}

impl<'a> Export<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let crc = u32::from_str_radix(fields.first()?.strip_prefix("0x")?, 16).ok()?;
        let kind = fields.iter().position(|field| field.starts_with("EXPORT_")).filter(|kind| *kind >= 3)?;
        let (name, owner) = (*fields.get(1)?, *fields.get(kind - 1)?);
        let is_gpl = fields.get(kind)?.contains("GPL");
        let namespace = if kind == 4 { fields.get(2) } else { fields.get(kind + 1) }.copied().unwrap_or_default();
        Some(Export { crc, name, owner, is_gpl, namespace }).filter(|_| !name.is_empty() && !owner.is_empty())
    }
}

/// Does a file begin with such a line?
pub(crate) fn detect(bytes: &[u8]) -> bool {
    const LONGEST: usize = 1024;
    let line = bytes.get(..LONGEST).unwrap_or(bytes).split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.len() < LONGEST && std::str::from_utf8(line).is_ok_and(|line| Export::parse(line).is_some())
}

/// The lines, up to the first that is none, and where that stands: a text, and nothing of it is believed in part.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Export<'_>>, u64> {
    let mut at = 0;
    let mut found = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        found.push(std::str::from_utf8(text).ok().and_then(Export::parse).ok_or(at)?);
        at += crate::bytes::len64(line);
    }
    Ok(found)
}

/// The names of those who export something, as `lsmod` has them.
pub(crate) fn owners(exports: &[Export<'_>]) -> BTreeSet<String> {
    let name = |owner: &str| owner.rsplit('/').next().unwrap_or(owner).trim_end_matches(".ko").replace('-', "_");
    exports.iter().map(|export| name(export.owner)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of Linux 6.1, 5.4 and 4.19, and what is none.
    #[test]
    fn every_order_of_fields() {
        let text = "0x4c9d28b0\tphys_base\tvmlinux\tEXPORT_SYMBOL\t\n0xdbfe2e46\tusb_a\tUSB_STORAGE\tdrivers/usb/storage/usb-b\t\
                    EXPORT_SYMBOL_GPL\n0x00000000\told\tfs/x/old\tEXPORT_SYMBOL\n";
        let all = parse(text.as_bytes()).unwrap();
        assert_eq!(
            all[0],
            Export { crc: 0x4c9d_28b0, name: "phys_base", owner: "vmlinux", is_gpl: false, namespace: "" }
        );
        assert_eq!((all[1].owner, all[1].is_gpl, all[1].namespace), ("drivers/usb/storage/usb-b", true, "USB_STORAGE"));
        let newer = parse(b"0x1\ta\tvmlinux\tEXPORT_SYMBOL_GPL\tEXPORTED\n").unwrap();
        assert_eq!((newer[0].is_gpl, newer[0].namespace), (true, "EXPORTED"));
        assert_eq!(owners(&all).into_iter().collect::<Vec<_>>(), ["old", "usb_b", "vmlinux"]);
        assert!(detect(text.as_bytes()) && !detect(b"0x1\tname\tEXPORT_SYMBOL\n") && !detect(b""));
        assert_eq!(parse(b"0x1\ta\tvmlinux\tEXPORT_SYMBOL\nrest"), Err(28));
    }
}
