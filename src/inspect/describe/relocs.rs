//! The relocation table behind an x86 kernel.

use super::Described;
use crate::bytes::{FieldError, len64};
use crate::elf::{RelocKind, RelocTable};
use crate::inspect::{Fact, Kind, Row, Value};
use crate::layout::RegionKind;
use crate::payload::{FoundRelocs, parse_relocs};

/// Is this a table, of a kernel of either class?
pub(super) fn detect(bytes: &[u8]) -> bool {
    parse(bytes).is_ok()
}

fn parse(bytes: &[u8]) -> Result<FoundRelocs, FieldError> {
    // The number of lists tells the class: one in 32-bit kernels, more in 64-bit ones.
    parse_relocs(bytes, 0, true).or_else(|_| parse_relocs(bytes, 0, false))
}

pub(super) fn describe(bytes: &[u8]) -> Result<Described, FieldError> {
    let FoundRelocs { table, .. } = parse(bytes)?;
    let mut described = Described::new(Kind::Relocs, "relocation table");
    described.regions = crate::layout::Region::whole(bytes, "relocs", RegionKind::Data);
    let RelocTable { kind, addresses32, inverse32, addresses64, .. } = &table;
    let count = |list: &[u32]| u64::try_from(list.len()).unwrap_or(u64::MAX);
    let all = count(addresses32) + count(inverse32) + count(addresses64);
    described.facts.push(Fact::number("relocs", all).meaning("addresses to be changed, in all lists"));
    let lists: &[(&str, &[u32])] = match kind {
        RelocKind::Kernel64(crate::elf::Lists::Three) => {
            &[("addresses64", addresses64), ("inverse32", inverse32), ("addresses32", addresses32)]
        }
        RelocKind::Kernel64(_) => &[("addresses64", addresses64), ("addresses32", addresses32)],
        _ => &[("addresses32", addresses32)],
    };
    let rows =
        lists.iter().map(|(name, list)| {
            let mut row = vec![("list", (*name).into()), ("count", Value::Number(count(list)))];
            // What the table holds are the low 32 bits of virtual addresses.
            let ends = list.first().zip(list.last());
            row.extend(ends.into_iter().flat_map(|(first, last)| {
                [("first", Value::Hex((*first).into())), ("last", Value::Hex((*last).into()))]
            }));
            Row(row)
        });
    described.facts.push(Fact::new("lists", Value::Table(rows.collect())));
    described.part("relocs", 0..len64(bytes));
    Ok(described)
}
