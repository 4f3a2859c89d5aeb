//! `.hwids`: which device tree is for which hardware. A table of devices, one for each identifier (CHID), up to one that is all
//! zeros, then the strings that they point to.
//!
//! Source: systemd 257, src/boot/chid.h (`Device`, `DEVICE_TYPE_DEVICETREE`).

use crate::bytes::{FieldError, count64};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a device: descriptor, identifier, offsets of its name and of the device tree's `compatible`.
const DEVICE_LEN: u32 = 28;
/// The type of a device, in the upper four bits of its descriptor, whose others are its length.
const DEVICE_TREE: u32 = 1;

#[derive(serde::Deserialize)]
struct Described {
    name: String,
    compatible: String,
    hwids: Vec<String>,
}

/// The identifier as a number, as its text has its digits.
fn identifier(text: &str) -> Option<u128> {
    let text = text.strip_prefix("urn:").unwrap_or(text);
    let text = text.strip_prefix("uuid:").unwrap_or(text).trim_matches(['{', '}']).replace('-', "");
    let is_right = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(&text, 16).ok().filter(|_| is_right)
}

/// As an EFI_GUID lies in memory: the first three of its numbers little-endian.
fn guid(id: u128) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = id.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

/// The section for these descriptions, JSON objects.
///
/// # Errors
/// Which of them is none, and why.
pub(crate) fn table(descriptions: &[&[u8]]) -> Result<Vec<u8>, (usize, FieldError)> {
    let mut strings = BTreeSet::new();
    let mut devices: Vec<((String, String), BTreeSet<u128>)> = Vec::new();
    for (index, text) in descriptions.iter().enumerate() {
        let wrong =
            |field: &'static str, at: u64, found: u64, want| (index, FieldError::unknown(field, at, found, want));
        let described: Described = serde_json::from_slice(text).map_err(|error| {
            let line = u64::try_from(error.line()).unwrap_or(0);
            let want = "a JSON object with \"name\", \"compatible\" and \"hwids\" (the offset is its line)";
            wrong("description of a device", line, 0, want)
        })?;
        let mut ids = BTreeSet::new();
        for (number, id) in described.hwids.iter().enumerate() {
            let number = count64(number);
            ids.insert(
                identifier(id).ok_or_else(|| wrong("hwids", number, 0, "identifiers of 32 hexadecimal digits"))?,
            );
        }
        let key = (described.name, described.compatible);
        strings.extend([key.0.clone(), key.1.clone()]);
        match devices.iter_mut().find(|(there, _)| *there == key) {
            Some((_, there)) => there.extend(ids),
            None => devices.push((key, ids)),
        }
    }
    let count = devices.iter().map(|(_, ids)| ids.len()).sum::<usize>() + 1;
    let fits = |value: usize| {
        let most = u64::from(u32::MAX);
        u32::try_from(value).map_err(|_| (0, FieldError::range("length of .hwids", 0, count64(value), 0..=most)))
    };
    let base = fits(count)?.saturating_mul(DEVICE_LEN);
    let (mut texts, mut places) = (Vec::new(), BTreeMap::new());
    for text in &strings {
        places.insert(text, base.saturating_add(fits(texts.len())?));
        texts.extend_from_slice(text.as_bytes());
        texts.push(0);
    }
    let mut out = Vec::new();
    for ((name, compatible), ids) in &devices {
        for id in ids {
            out.extend_from_slice(&(DEVICE_LEN | DEVICE_TREE << 28).to_le_bytes());
            out.extend_from_slice(&guid(*id));
            for text in [name, compatible] {
                out.extend_from_slice(&places.get(text).copied().unwrap_or(0).to_le_bytes());
            }
        }
    }
    out.extend_from_slice(&[0; DEVICE_LEN as usize]);
    out.extend_from_slice(&texts);
    Ok(out)
}
